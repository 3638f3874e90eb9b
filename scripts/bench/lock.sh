#!/usr/bin/env bash
# What the deploy lock costs: `cm-lock run` against flock(1) running the same command, uncontended, on this machine
# alone. Both are measured in turns within one run, so that a busy machine slows both. Prints the ratio of the
# medians; exit status 1 if it is above 1.5.
#
#   scripts/bench/lock.sh [ROUNDS]     default 300
#
# CM_BIN_DIR is the directory of the program under test (default: target/dist). hyperfine measures where it is
# installed, a loop in this shell elsewhere.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
program=${CM_BIN_DIR:-$here/../../target/dist}/cm-lock
rounds=${1:-300}

[[ $rounds =~ ^[1-9][0-9]{0,5}$ ]] || fail "not a number of rounds: '$rounds'"
[[ -x $program ]] || fail "no program at $program: make dist"
type -P flock >/dev/null || fail 'flock is not installed (package util-linux)'

# Nobody's cm.toml, lock or environment takes part.
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
unset CM_LOCK_NONCE CM_LOCK_FILE CM_CONFIG CM_LOG

peer=(flock "$directory/flock" true)
ours=("$program" run --local --file "$directory/cm-lock" -- true)

# measure COMMAND... - sets took, in microseconds.
measure() {
  local begin=${EPOCHREALTIME/./}
  "$@" </dev/null
  took=$((${EPOCHREALTIME/./} - begin))
}

# loop - writes one time a line into the files peer and ours.
loop() {
  local round
  for ((round = -10; round < rounds; round++)); do
    measure "${peer[@]}"
    ((round < 0)) || echo "$took" >>"$directory/peer"
    measure "${ours[@]}"
    ((round < 0)) || echo "$took" >>"$directory/ours"
  done
}

# with_hyperfine - the same files, from its exported seconds.
with_hyperfine() {
  hyperfine --shell=none --warmup 10 --runs "$rounds" --style none --export-csv "$directory/csv" \
    "$(printf '%q ' "${peer[@]}")" "$(printf '%q ' "${ours[@]}")" >/dev/null
  # command,mean,stddev,median,…
  awk -F, -v directory="$directory" 'NR > 1 { printf "%d\n", $4 * 1e6 > (directory "/" (NR == 2 ? "peer" : "ours")) }' "$directory/csv"
}

if type -P hyperfine >/dev/null; then with_hyperfine; else loop; fi
row 'lock: acquire, run, release; uncontended, local' ms "$(scaled "$directory/ours" 1000)" 'flock(1)' "$(scaled "$directory/peer" 1000)" '<=1.50'
((missed == 0))
