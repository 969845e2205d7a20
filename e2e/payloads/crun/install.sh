#!/bin/sh
# Installs crun on a node with containerd: artifacts to /opt/crun, a handler into containerd's configuration, a restart. It may be
# run again at any time: where everything is in place it changes nothing and restarts nothing.
set -eu
on_host() { nsenter -t 1 -m -p -- "$@"; }
fail() { echo "$*" >&2; exit 1; }
. /payload/containerd.sh

home=/host/opt/crun
echo "$(date -u +%FT%TZ) install $LONGSHORE_REVISION on $NODE_NAME" >> "${RUN_LOG:-/dev/null}"

# A new file beside the old one and a rename: a container that starts meanwhile finds the one or the other.
mkdir -p $home/lib
for file in /payload/lib/* /payload/crun.bin /payload/crun; do
  target=$home/${file#/payload/}
  cmp -s "$file" "$target" && continue
  cp "$file" "$target.new"
  mv -f "$target.new" "$target"
done
cp /payload/VERSION $home/VERSION

if handler_in_place; then
  echo "crun $(cat /payload/VERSION) is in place"
  exit 0
fi
add_handler
restart_containerd
echo "crun $(cat /payload/VERSION) is installed"
