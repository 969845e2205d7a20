# The handler in containerd's configuration: a drop-in where containerd merges them (2.0 and later, with an import), and a marked
# part of config.toml elsewhere: an imported file replaces the whole table of the CRI plugin in containerd 1.
config=/host/etc/containerd/config.toml
dropin=/host/etc/containerd/conf.d/crun.toml

merges_dropins() {
  on_host containerd --version | grep -q 'containerd/v2\|v2\.' && grep -q '^imports = .*conf\.d' $config
}

handler() { # the CRI plugin's table, the quotes of its name included
  cat <<CONFIG
[plugins.$1.containerd.runtimes.crun]
  runtime_type = "io.containerd.runc.v2"
  [plugins.$1.containerd.runtimes.crun.options]
    BinaryName = "/opt/crun/crun"
CONFIG
}

handler_there() {
  [ -e $dropin ] || grep -q '^# crun: begin' $config
}

handler_in_place() {
  if merges_dropins; then
    { echo 'version = 3'; handler "'io.containerd.cri.v1.runtime'"; } | cmp -s - $dropin
  else
    grep -q '^# crun: begin' $config
  fi
}

add_handler() {
  if merges_dropins; then
    { echo 'version = 3'; handler "'io.containerd.cri.v1.runtime'"; } > $dropin.new
    mv -f $dropin.new $dropin
  else
    { cat $config; echo '# crun: begin'; handler '"io.containerd.grpc.v1.cri"'; echo '# crun: end'; } > $config.new
    cat $config.new > $config
    rm $config.new
  fi
}

remove_handler() {
  rm -f $dropin
  if grep -q '^# crun: begin' $config; then
    sed '/^# crun: begin/,/^# crun: end/d' $config > $config.new
    cat $config.new > $config
    rm $config.new
  fi
}

restart_containerd() {
  on_host systemctl restart containerd
  tries=0
  until on_host ctr version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 60 ] || fail "containerd on $NODE_NAME does not answer a minute after its restart"
    sleep 0.5
  done
}
