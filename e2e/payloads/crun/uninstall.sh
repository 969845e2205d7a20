#!/bin/sh
# Takes back what install.sh did. It may be run again at any time.
set -eu
on_host() { nsenter -t 1 -m -p -- "$@"; }
fail() { echo "$*" >&2; exit 1; }
. /payload/containerd.sh

echo "$(date -u +%FT%TZ) uninstall $LONGSHORE_REVISION on $NODE_NAME" >> "${RUN_LOG:-/dev/null}"
if handler_there; then
  remove_handler
  restart_containerd
fi
# /opt/crun is mounted here, so the host removes it.
rm -rf /host/opt/crun/*
on_host rmdir /opt/crun
echo "crun is uninstalled"
