# shellcheck shell=bash disable=SC2034
# What setup.sh and sandbox share: messages, the machine's own directory, locks, and questions about the engine.
#
# Sourced, never run. Everything that concerns the machine (which engine we started, whether a registry
# answers, locks around image building) lives in one directory per machine, not per sandbox and not per $HOME,
# because the engine is one per machine too.

info() { printf '[INFO] %s\n' "$*" >&2; }
warn() { printf '[WARN] %s\n' "$*" >&2; }
ok() { printf '[SUCCESS] %s\n' "$*" >&2; }
# fail WHAT [HINT] - say what went wrong and what to do, and end with status 1.
fail() {
  printf '[ERROR] %s\n' "$1" >&2
  [[ $# -lt 2 ]] || printf '        hint: %s\n' "$2" >&2
  exit 1
}

is_root() { [[ $(id -u) -eq 0 ]]; }

state_home() { printf '%s' "${XDG_STATE_HOME:-$HOME/.local/state}/cm-sandbox"; }

# The directory for what belongs to the machine. Root's is fixed, so that it is the same whatever HOME says.
machine_dir() {
  local dir
  if is_root; then dir=/var/lib/cm-sandbox; else dir="$(state_home)/.machine"; fi
  mkdir -p "$dir"
  chmod 0700 "$dir"
  printf '%s' "$dir"
}

# with_lock FILE SECONDS COMMAND... - run COMMAND (a function, in this shell) while holding FILE.
# The descriptor is closed for children by whoever starts a lasting process: see start_dockerd.
with_lock() {
  local file=$1 limit=$2 fd
  shift 2
  exec {fd}>>"$file"
  if ! flock -n "$fd"; then
    info "waiting for another run that holds $file"
    flock -w "$limit" "$fd" ||
      fail "$file is still held by another run after ${limit} s" "look for it with: fuser -v $file"
  fi
  # No `|| status=$?` here: it would switch off `set -e` inside COMMAND. A failure ends the run, and the lock.
  CM_LOCK_FD=$fd "$@"
  exec {fd}>&-
}

# Every call of the engine has a limit, because an engine can hang: 60 s, or $docker_limit where set. In the
# foreground, so that Ctrl-C still reaches it.
docker() { timeout --foreground "${docker_limit:-60}" docker "$@"; }

# spawn COMMAND... - in the background, and so that TERM ends it in good order (after the call it is in).
# Sets `spawned` to its process id.
spawn() {
  {
    trap 'exit 143' TERM
    "$@"
  } &
  spawned=$!
}

# stop_spawned - end what was spawned and still runs, and wait until it has.
stop_spawned() {
  local pids
  mapfile -t pids < <(jobs -p)
  [[ ${#pids[@]} -eq 0 ]] || kill -TERM "${pids[@]}" 2>/dev/null || true
  wait
}

# interruptible COMMAND... - inside what was spawned, a long command that TERM ends at once: bash acts on a signal
# only between commands, but a `wait` can be interrupted.
interruptible() {
  local child status=0
  "$@" &
  child=$!
  # shellcheck disable=SC2064 # the child of now is meant
  trap "kill -TERM $child 2>/dev/null || true; exit 143" TERM
  wait "$child" || status=$?
  trap 'exit 143' TERM
  return "$status"
}

# Does an engine answer? A hung engine must not hang us.
# engine_answers SECONDS
# Not `docker info`: with a format, that of Docker 26 ends well also where no engine answers.
engine_answers() { docker_limit=$1 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

engine_version() { docker version --format '{{.Server.Version}}'; }

# registry_answers - can this engine pull images? Asked once per machine and remembered, because a machine
# without a registry would otherwise pay for the attempt at every `up`. `sandbox purge` forgets the answer.
registry_answers() {
  local memory
  memory="$(machine_dir)/registry"
  if [[ ! -s $memory ]]; then
    info "asking the registry for $CM_BASE_UPSTREAM (at most 10 s without a sign of life)"
    if pull_image "$CM_BASE_UPSTREAM"; then echo yes >"$memory"; else echo no >"$memory"; fi
  fi
  [[ $(<"$memory") == yes ]]
}

CM_BASE_UPSTREAM=debian:trixie-slim

# pull_image IMAGE - pull it. The registry has 10 s for its first answer and then 10 minutes for the layers.
pull_image() {
  local image=$1 log pid status=0 waited
  docker image inspect "$image" >/dev/null 2>&1 && return 0
  log=$(mktemp)
  timeout 600 docker pull "$image" >"$log" 2>&1 &
  pid=$!
  for ((waited = 0; waited < 100; waited++)); do
    kill -0 "$pid" 2>/dev/null || break
    grep -q 'Pulling from' "$log" && break
    sleep 0.1
  done
  if [[ $waited -ge 100 ]]; then kill "$pid" 2>/dev/null || true; fi
  wait "$pid" 2>/dev/null || status=$?
  if [[ $status -eq 0 ]]; then
    echo "$image" >>"$(machine_dir)/pulled"
  else
    info "no pull of $image: $(tail -n 1 "$log" | cut -c1-160)"
  fi
  rm -f "$log"
  return "$status"
}
