#!/usr/bin/env bash
# What the deploy lock costs: `cm-lock run` against flock(1) running the same command, uncontended, on this machine
# alone. Both are measured in turns within one run, so that a busy machine slows both. Prints the ratio of the
# medians; exit status 1 if it is above 2.
#
#   scripts/bench/lock.sh [ROUNDS]     default 300
#
# CM_BIN_DIR is the directory of the program under test (default: target/dist). hyperfine measures where it is
# installed, a loop in this shell elsewhere.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=${CM_BIN_DIR:-$here/../../target/dist}/cm-lock
rounds=${1:-300}
limit=2.00

fail() {
  printf '[FAIL] %s\n' "$1" >&2
  exit 2
}
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

median() { sort -n "$1" | awk '{ times[NR] = $1 } END { print times[int((NR + 1) / 2)] }'; }

if type -P hyperfine >/dev/null; then with_hyperfine; else loop; fi
peer_median=$(median "$directory/peer")
ours_median=$(median "$directory/ours")
awk -v peer="$peer_median" -v ours="$ours_median" -v rounds="$rounds" -v limit="$limit" 'BEGIN {
  ratio = ours / peer
  printf "lock, acquire and release: cm-lock run %.2f ms, flock(1) %.2f ms, ratio %.2f (at most %.2f; medians of %d rounds)\n", ours / 1000, peer / 1000, ratio, limit, rounds
  exit ratio > limit
}'
