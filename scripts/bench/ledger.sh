#!/usr/bin/env bash
# What a long history costs: cm-detect, cm-rollback --list and cm-record history on a host whose ledger has 1,000 and
# 100,000 releases, against the same with 10; at most 1.2 times as long. The host is this machine, so that nothing is
# measured but reading; all sizes in turns within one run.
#
#   scripts/bench/ledger.sh [ROUNDS]     default 15
#
# CM_BIN_DIR is the directory of the programs under test (default: target/dist). Exit status 1 where a row misses its limit.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
programs=$(cd "${CM_BIN_DIR:-$here/../../target/dist}" && pwd)
rounds=${1:-15}
[[ $rounds =~ ^[1-9][0-9]{0,2}$ ]] || fail "not a number of rounds: '$rounds'"
[[ -x $programs/cm-record ]] || fail "no programs in $programs: make dist"
for command in git awk; do type -P "$command" >/dev/null || fail "$command is not installed"; done

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
export XDG_STATE_HOME=$directory/state XDG_RUNTIME_DIR=$directory GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export CM_ALLOW_LOCAL=1 CM_ACTOR=bench
unset CM_CONFIG CM_LOG CM_LOCK_NONCE CM_RUN_ID
mkdir "$directory/shop"
cd "$directory/shop"
printf 'services:\n  web:\n    build: .\n  api:\n    build: .\n' >compose.yaml
printf 'FROM scratch\nCOPY compose.yaml /\n' >Dockerfile
printf 'project = "bench"\n[hosts.here]\naddress = "local"\ncheckout = "~/none"\n' >cm.toml
git init -q --initial-branch=main
git add .
git -c user.name=bench -c user.email=bench@example.org commit -qm one
commit=$(git rev-parse HEAD)

# ledger COUNT - a home whose ledger has so many releases, each of both services, verified.
ledger() {
  local at=$directory/home-$1/.local/state/cm/bench
  mkdir -p "$at"
  chmod 700 "$at"
  awk -v count="$1" -v commit="$commit" 'BEGIN {
    service = "{\"commit\":\"" commit "\",\"image\":\"shop/%s\",\"image_id\":\"sha256:%064d\",\"tag\":\"shop/%s:cm-%012d\",\"config_hash\":\"\",\"removed\":false}"
    for (n = 1; n <= count; n++) {
      printf "\n{\"schema\":\"cm.release/1\",\"id\":\"01980e5c-7b1a-7c3e-8a52-%012x\",\"at\":\"2026-01-01T00:00:00Z\",\"actor\":\"ada\",\"branch\":\"main\",\"commit\":\"%s\",\"verdict\":\"verified\",\"services\":{\"web\":", n, commit
      printf service ",\"api\":" service "}}\n", "web", n, "web", n, "api", n, "api", n
    }
  }' >"$at/ledger.jsonl"
  chmod 600 "$at/ledger.jsonl"
}
sizes=(10 1000 100000)
for size in "${sizes[@]}"; do ledger "$size"; done
[[ $(HOME=$directory/home-100000 "$programs/cm-record" history --json 2>/dev/null | grep -c 2026-01-01) -gt 0 ]] || fail 'the ledger is not read'

# asked NAME SIZE - one of the questions, of the host with that ledger.
asked() {
  local question
  case $1 in
    cm-detect) question=("$programs/cm-detect") ;;
    'cm-rollback --list') question=("$programs/cm-rollback" --list) ;;
    'cm-record history') question=("$programs/cm-record" history) ;;
  esac
  HOME=$directory/home-$2 timed "$directory/${1// /-}-$2" "${question[@]}"
}
names=(cm-detect 'cm-rollback --list' 'cm-record history')
for ((round = -1; round < rounds; round++)); do
  for name in "${names[@]}"; do
    for size in "${sizes[@]}"; do
      asked "$name" "$size"
      ((round >= 0)) || rm "$directory/${name// /-}-$size"
    done
  done
done
for name in "${names[@]}"; do
  for size in 1000 100000; do
    row "$name, a ledger of $size releases" ms "$directory/${name// /-}-$size" 'a ledger of 10' "$directory/${name// /-}-10" '<=1.20'
  done
done
((missed == 0))
