# shellcheck shell=bash
# A sandbox server behind links of 40 ms round trip, for the benchmarks that need one: include it after lib.sh, then
# `link_up NAME`. Sets directory and laptop, works in the laptop's repository, and takes all of it away at the end.

programs=${programs-} # those under test

# link_up NAME - the sandbox bench-NAME-PID, its servers behind relays. Nobody's home, lock or journal takes part.
link_up() {
  local name=bench-$1-$$ host real
  directory=$(mktemp -d)
  # The sandbox is in the home that this was started in.
  sandbox=(env HOME="$HOME" XDG_STATE_HOME="${XDG_STATE_HOME:-$HOME/.local/state}" "$(dirname "$here")/sandbox")
  relays=()
  # shellcheck disable=SC2064 # the name as it is now
  trap "link_down $name" EXIT
  "${sandbox[@]}" up --name "$name" >"$directory/up" 2>&1 || {
    cat "$directory/up" >&2
    fail 'no sandbox'
  }
  eval "$("${sandbox[@]}" env --name "$name")"
  laptop=$(dirname "$CM_SSH_CONFIG")/laptop
  export HOME=$directory XDG_STATE_HOME=$directory/state XDG_RUNTIME_DIR=$directory/run CM_ACTOR=bench
  PATH=$programs:$(dirname "$here"):$PATH
  export PATH
  export CM_LOCK_FILE=$directory/lock LOCK_FILE=$directory/runbook.lock GIT_CONFIG_GLOBAL=$directory/gitconfig
  mkdir -m 700 "$directory/run"
  git config --file "$directory/gitconfig" user.name bench
  git config --file "$directory/gitconfig" user.email bench@example.org
  unset CM_CONFIG CM_LOG CM_LOCK_NONCE CM_RUN_ID SLACK_DEPLOY_WEBHOOK
  for host in platform:$PLATFORM_VPS_IP runners:$RUNNERS_VPS_IP; do
    real=$(ssh -F "$CM_SSH_CONFIG" -G "${host#*:}" | sed -n 's/^port //p')
    relay "${host%%:*}" "$real"
    printf 'Host %s\n  Port %s\n  HostKeyAlias [127.0.0.1]:%s\n' "${host#*:}" "$port" "$real"
  done >"$directory/relayed"
  cat "$directory/relayed" "$CM_SSH_CONFIG" >"$directory/ssh_config"
  export CM_SSH_CONFIG=$directory/ssh_config GIT_SSH_COMMAND="ssh -F $directory/ssh_config"
  cd "$laptop" || fail "no $laptop"
}

link_down() {
  [[ ${#relays[@]} -eq 0 ]] || kill "${relays[@]}" 2>/dev/null || :
  "${sandbox[@]}" down --name "$1" >/dev/null 2>&1 || :
  rm -rf "$directory"
}

# relay NAME PORT - a link to a port of this machine; sets port, and adds to relays.
relay() {
  python3 "$here/relay.py" "$2" "$directory" "$1" &
  relays+=($!)
  until [[ -s $directory/$1.port ]]; do sleep 0.05; done
  port=$(cat "$directory/$1.port")
}

# counts - connections to the first server and round trips on its link, so far.
counts() {
  rm -f "$directory/platform.counts"
  kill -USR1 "${relays[0]}"
  until [[ -s $directory/platform.counts ]]; do sleep 0.02; done
  cat "$directory/platform.counts"
}

# disconnect - the next program logs in again, as the first one of a run does.
disconnect() {
  local socket
  for socket in "$XDG_RUNTIME_DIR"/cm/ssh-*; do
    [[ ! -S $socket ]] || ssh -F "$CM_SSH_CONFIG" -S "$socket" -O exit server 2>/dev/null || :
  done
}

# over COMMAND... - on the first server, by a connection that stays open; fresh, by one of its own.
over() { ssh -F "$CM_SSH_CONFIG" -S "$directory/peer" -o ControlMaster=auto -o ControlPersist=60 "$DEPLOY_USER@$PLATFORM_VPS_IP" "$@"; }
fresh() { ssh -F "$CM_SSH_CONFIG" -o ControlMaster=no -o ControlPath=none "$DEPLOY_USER@$PLATFORM_VPS_IP" "$@"; }
