#!/usr/bin/env bash
# What the programs cost that have nothing to do: all of a pipe that pass on a document in which a step failed, on this
# machine, at most 60 ms; and `--version` of each, at most 3 ms. Prints how much memory each takes.
#
#   scripts/bench/pipe.sh [ROUNDS]     default 30
#
# CM_BIN_DIR is the directory of the programs under test (default: target/dist). Exit status 1 where a row misses its limit.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
programs=$(cd "${CM_BIN_DIR:-$here/../../target/dist}" && pwd)
rounds=${1:-30}
[[ $rounds =~ ^[1-9][0-9]{0,2}$ ]] || fail "not a number of rounds: '$rounds'"
[[ -x $programs/cm-record ]] || fail "no programs in $programs: make dist"
[[ -x /usr/bin/time ]] || fail 'time is not installed (apt-get install time)'

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
export HOME=$directory XDG_STATE_HOME=$directory/state XDG_RUNTIME_DIR=$directory PATH=$programs:$PATH CM_ACTOR=bench
unset CM_CONFIG CM_LOG CM_LOCK_NONCE CM_RUN_ID
printf 'services:\n  web:\n    image: web\n' >compose.yaml
printf 'project = "bench"\n' >cm.toml
cat >failed.json <<'JSON'
{"schema":"cm.deployment/1","run":{"id":"01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10","actor":"bench","started_at":"2026-01-01T00:00:00Z","dry_run":false},"project":"bench","branch":"main","commit":null,"status":"failed","services":[],"stages":[{"tool":"cm-detect","step":"detect","version":"0","status":"failed","exit":20,"changed":false,"started_at":"2026-01-01T00:00:00Z","duration_ms":1,"summary":"x"}],"facts":{},"undo":[],"error":{"stage":"cm-detect","step":"detect","code":"detect.x","message":"x","causes":[],"hint":null,"retryable":false,"exit":20}}
JSON
steps=('cm-build push' 'cm-health --preflight' cm-backup 'cm-verify --baseline' cm-build cm-health cm-verify 'cm-build prune' cm-record)
# passed_on - the document through all of them; each says that it did nothing.
passed_on() {
  cm-build push <failed.json | cm-health --preflight | cm-backup | cm-verify --baseline | cm-build | cm-health | cm-verify |
    cm-build prune | cm-record >passed.json || :
  [[ -s passed.json ]]
}
for ((round = -3; round < rounds; round++)); do
  timed pipe passed_on
  for program in cm-lock cm-detect cm-backup cm-build cm-health cm-verify cm-rollback cm-record; do
    timed "version-$program" "$program" --version
  done
  ((round >= 0)) || rm pipe version-*
done
row "a pipe of ${#steps[@]} programs with nothing to do" ms pipe - - '=<=60'
for program in cm-lock cm-detect cm-backup cm-build cm-health cm-verify cm-rollback cm-record; do
  row "$program --version" ms "version-$program" - - '=<=3'
done
for step in "${steps[@]}"; do
  read -ra words <<<"$step"
  /usr/bin/time -f '%M' -o memory "${words[@]}" <failed.json >/dev/null 2>&1 || :
  awk -v step="$step" '{ kib = $1 } END { printf "%s: %.1f MiB\n", step, kib / 1024 }' memory
  awk '{ kib = $1 } END { printf "%.1f\n", kib / 1024 }' memory >>peaks
done
row 'memory of a program with nothing to do' MiB peaks - - '=<=32'
((missed == 0))
