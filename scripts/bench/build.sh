#!/usr/bin/env bash
# What cm-build costs besides Docker Compose, on a real server (scripts/sandbox) over a link of 40 ms round trip:
#
#   nothing to do        cm-build of a plan without changes against one `docker compose ps` over the same kind of
#                        connection; at most 1.2 times as long, and no container touched
#   one service changed  round trips of cm-build, with the lock it takes itself, beyond those of `docker compose build`
#                        and `up -d`, counted on the link; at most 15
#
#   scripts/bench/build.sh [ROUNDS]     default 3
#
# CM_BIN_DIR is the directory of the programs under test (default: target/dist). Exit status 1 if a number is above
# its limit.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
programs=$(cd "${CM_BIN_DIR:-$here/../../target/dist}" && pwd)
rounds=${1:-3}
name=bench-build-$$

[[ $rounds =~ ^[1-9][0-9]{0,2}$ ]] || fail "not a number of rounds: '$rounds'"
for program in cm-build cm-detect cm-lock; do [[ -x $programs/$program ]] || fail "no $program at $programs: make dist"; done
for command in ssh python3 git; do type -P "$command" >/dev/null || fail "$command is not installed"; done

directory=$(mktemp -d)
# The sandbox is in the home that this was started in.
ours=(HOME="$HOME" XDG_STATE_HOME="${XDG_STATE_HOME:-$HOME/.local/state}")
relay=''
finish() {
  [[ -z $relay ]] || kill "$relay" 2>/dev/null || true
  env "${ours[@]}" "$here/../sandbox" down --name "$name" >/dev/null 2>&1 || true
  rm -rf "$directory"
}
trap finish EXIT
"$here/../sandbox" up --name "$name" >/dev/null
eval "$("$here/../sandbox" env --name "$name")"
state=$(dirname "$CM_SSH_CONFIG")
# Nobody's home, lock or journal takes part.
export HOME=$directory XDG_STATE_HOME=$directory/state XDG_RUNTIME_DIR=$directory/run PATH=$programs:$PATH CM_ACTOR=bench
export CM_LOCK_FILE=$directory/lock GIT_CONFIG_GLOBAL=$directory/gitconfig
mkdir "$directory/run"
git config --file "$directory/gitconfig" user.name bench
git config --file "$directory/gitconfig" user.email bench@example.org
unset CM_CONFIG CM_LOG CM_LOCK_NONCE CM_RUN_ID

port=$(ssh -F "$CM_SSH_CONFIG" -G "$PLATFORM_VPS_IP" | sed -n 's/^port //p')
python3 "$here/relay.py" "$port" "$directory" link &
relay=$!
until [[ -s $directory/link.port ]]; do sleep 0.05; done
{
  printf 'Host %s\n  Port %s\n  HostKeyAlias [127.0.0.1]:%s\n' "$PLATFORM_VPS_IP" "$(cat "$directory/link.port")" "$port"
  cat "$CM_SSH_CONFIG"
} >"$directory/ssh_config"
export CM_SSH_CONFIG=$directory/ssh_config GIT_SSH_COMMAND="ssh -F $directory/ssh_config"

cd "$state/laptop"
to=$DEPLOY_USER@$PLATFORM_VPS_IP
over() { ssh -F "$directory/ssh_config" -S "$directory/peer" -o ControlMaster=auto -o ControlPersist=60 "$to" "$@"; }
compose='cd platform && docker compose -f docker-compose.production.yml --env-file .env.production'

trips() {
  rm -f "$directory/link.counts"
  kill -USR1 "$relay"
  until [[ -s $directory/link.counts ]]; do sleep 0.02; done
  cut -d' ' -f2 "$directory/link.counts"
}
measure() { # measure INPUT COMMAND... - sets took (microseconds) and went (round trips).
  local begin before input=$1
  shift
  before=$(trips)
  begin=${EPOCHREALTIME/./}
  "$@" <"$input" >"$directory/said" 2>&1 || {
    cat "$directory/said" >&2
    fail "failed: $*"
  }
  took=$((${EPOCHREALTIME/./} - begin))
  went=$(($(trips) - before))
}
version() { # version N - a change of the dashboard, pushed.
  echo "bench-$1" >apps/dashboard/VERSION
  git commit -qam "dashboard: $1"
  git push -q origin HEAD:develop
}
plan() { cm-detect --group dashboard </dev/null 2>/dev/null; }

git push -q origin HEAD:develop
measure /dev/null cm-build --service dashboard
over true
for ((round = 0; round < rounds; round++)); do
  measure /dev/null over "$compose ps"
  echo "$took" >>"$directory/ps"
  before=$(over docker ps -q --no-trunc)
  plan >"$directory/plan"
  sed 's/"action":"[a-z]*"/"action":"none"/g' "$directory/plan" >"$directory/nothing"
  measure "$directory/nothing" cm-build
  echo "$took" >>"$directory/idle"
  [[ $before == "$(over docker ps -q --no-trunc)" ]] || fail 'a container was touched'

  version "ours-$round"
  plan >"$directory/plan"
  measure "$directory/plan" cm-build
  echo "$went" >>"$directory/ours"

  version "peer-$round"
  over "cd platform && git fetch -q && git restore --source=origin/develop --staged --worktree apps" >/dev/null
  measure /dev/null over "$compose build dashboard && docker compose -f docker-compose.production.yml --env-file .env.production up -d --no-deps dashboard"
  echo "$went" >>"$directory/peer-trips"
  over "cd platform && git restore --source=HEAD --staged --worktree apps" >/dev/null
done
row 'cm-build, nothing to do, 40 ms' ms "$(scaled "$directory/idle" 1000)" 'docker compose ps' "$(scaled "$directory/ps" 1000)" '<=1.20'
paste "$directory/ours" "$directory/peer-trips" | awk '{ print $1 - $2 }' >"$directory/own"
row 'cm-build of one service: round trips beyond docker compose build and up' '' "$directory/own" - - '=<=15'
((missed == 0))
