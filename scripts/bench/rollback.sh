#!/usr/bin/env bash
# How fast one service is rolled back to an image that is still there, command to healthy, in a sandbox: against the same
# replacement by hand (`docker compose up`, then its healthcheck and the health window), and against the runbook's own
# procedure (checkout, build, up) in the same run. The service's build takes 90 s when nothing is cached: the runbook
# says two to three minutes of its dashboard. It builds without a cache, as its own pruning leaves it. Prints both; exit
# status 1 where a limit is missed: at most 0.5 s beyond the replacement by hand, and at most 1/20 of the runbook's time.
#
#   scripts/bench/rollback.sh [ROUNDS]     default 5
#
# CM_BIN_DIR is the directory of the programs under test (default: target/dist).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
scripts=$(dirname "$here")
programs=$(cd "${CM_BIN_DIR:-$here/../../target/dist}" && pwd)
rounds=${1:-5}
build=90 window=2

[[ $rounds =~ ^[1-9][0-9]?$ ]] || fail "not a number of rounds: '$rounds'"
[[ -x $programs/cm-rollback ]] || fail "no programs in $programs: make dist"

directory=$(mktemp -d)
export CM_SANDBOX=bench-rollback-$$
trap '"$scripts/sandbox" down >/dev/null 2>&1 || :; rm -rf "$directory"' EXIT
"$scripts/sandbox" up >/dev/null
environment=$("$scripts/sandbox" env)
eval "$environment"
laptop=${XDG_STATE_HOME:-$HOME/.local/state}/cm-sandbox/$CM_SANDBOX/laptop
# Nobody's own configuration or journal takes part.
export HOME=$directory XDG_STATE_HOME=$directory/state XDG_RUNTIME_DIR=$directory CM_LOCK_FILE=$directory/lock
export PATH=$programs:$scripts:$PATH
unset CM_CONFIG CM_LOG CM_LOCK_NONCE
git config --global user.name Bench
git config --global user.email bench@example.org
cd "$laptop"

# quietly COMMAND... - shows what a command said only where it fails.
quietly() { "$@" >"$directory/said" 2>&1 </dev/null || {
  cat "$directory/said" >&2
  fail "$* (exit status $?)"
}; }
# took COMMAND... - sets took, in milliseconds; `expected` is the exit status that is no failure.
took() {
  local begin=${EPOCHREALTIME/./} status=0
  "$@" >"$directory/said" 2>&1 </dev/null || status=$?
  took=$(((${EPOCHREALTIME/./} - begin) / 1000))
  [[ $status = "${expected:-0}" ]] || {
    cat "$directory/said" >&2
    fail "$* (exit status $status)"
  }
}
server() { ssh -F "$CM_SSH_CONFIG" "$DEPLOY_USER@$PLATFORM_VPS_IP" "$@"; }

sed -i "s/^window = \"10s\"/window = \"${window}s\"/" cm.toml
# Before anything is copied, so that the deployments here do not wait for it each time.
sed -i "0,/^WORKDIR/s/^WORKDIR.*/&\nRUN python3 -c 'import time; end = time.monotonic() + $build; [None for _ in iter(lambda: time.monotonic() < end, False)]'/" apps/dashboard/Dockerfile
for version in one two; do
  echo "bench-$version" >apps/dashboard/VERSION
  git commit -qam "dashboard: $version"
  quietly deploy-to-vps.sh --dashboard --no-backup --skip-canary --skip-verify
done
commits=("$(git rev-parse HEAD~1)" "$(git rev-parse HEAD)")

# by_hand IMAGE - what cannot be done without: stop, start, healthy, and the window.
by_hand() {
  # shellcheck disable=SC2016  # the server expands it
  server sh -c "'"'set -eu; cd ~/platform; docker tag "$1" curateme/dashboard
    docker compose -f docker-compose.production.yml --env-file .env.production up -d --no-build --no-deps dashboard
    while [ "$(docker inspect --format "{{.State.Health.Status}}" curateme-dashboard)" != healthy ]; do sleep 0.1; done
    sleep "$2"'"'" sh "curateme/dashboard:cm-${1:0:12}" "$window"
}
for ((round = 0; round < rounds; round++)); do
  expected=60 took cm-rollback --to "${commits[round % 2]}" --service dashboard --skip-verify
  echo "$took" >>"$directory/ours"
  took by_hand "${commits[(round + 1) % 2]}"
  echo "$took" >>"$directory/hand"
  # Back to where the ledger has it.
  quietly by_hand "${commits[round % 2]}"
done

# The runbook's single-service rollback, as it stands there.
quietly server docker builder prune -af
if [[ $(server git -C platform rev-parse HEAD) != "${commits[1]}" ]]; then
  expected=60 took cm-rollback --to "${commits[1]}" --service dashboard --skip-verify
fi
took server "cd ~/platform && git checkout -q HEAD~1 -- apps/dashboard &&
  docker compose -f docker-compose.production.yml --env-file .env.production build dashboard &&
  docker compose -f docker-compose.production.yml --env-file .env.production up -d dashboard &&
  until [ \"\$(docker inspect --format '{{.State.Health.Status}}' curateme-dashboard)\" = healthy ]; do sleep 0.1; done"
echo "$took" >"$directory/runbook"
row "rollback of one service, command to healthy" ms "$directory/ours" "the runbook's checkout, build and up" "$directory/runbook" '<=0.05'
paste "$directory/ours" "$directory/hand" | awk '{ print $1 - $2 }' >"$directory/overhead"
row 'rollback, beyond stop, start and window by hand' ms "$directory/overhead" - - '=<=500'
((missed == 0))
