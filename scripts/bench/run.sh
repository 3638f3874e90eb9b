#!/usr/bin/env bash
# Every benchmark, and one table of them: on stdout, as JSON in scripts/bench/results.json, and in the README. Exit status 1
# where a row misses its target, 2 where a benchmark could not be made. Nothing else should be running.
#
#   scripts/bench/run.sh [NAME...]     such as: deployment lock; default: all of them. The rows of others stay as they are.
#
# CM_BIN_DIR is the directory of the programs under test (default: target/dist).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
names=("$@")
[[ ${#names[@]} -gt 0 ]] || export CM_BENCH_ALL=1
[[ ${#names[@]} -gt 0 ]] || names=(pipe lock ledger verify detect link deployment health rollback build backup dumps swarm)
CM_BENCH_ROWS=$(mktemp)
export CM_BENCH_ROWS
trap 'rm -f "$CM_BENCH_ROWS"' EXIT
status=0
for name in "${names[@]}"; do
  printf '== %s\n' "$name" >&2
  code=0
  "$here/$name.sh" >&2 || code=$?
  [[ $code -le 1 ]] || {
    printf '[FAIL] %s could not be measured (exit status %s)\n' "$name" "$code" >&2
    status=2
  }
done
missed=0
python3 "$here/table.py" "$CM_BENCH_ROWS" "$here/results.json" "$here/../../README.md" || missed=$?
[[ $status -ne 0 ]] || status=$missed
exit "$status"
