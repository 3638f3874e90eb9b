#!/usr/bin/env bash
# How fast a backup is, proof included: against `mongodump --archive --gzip` where that is on the PATH, else against
# a raw cursor read through one gzip -6 thread; with zstd against a raw cursor read to nowhere. All read the same
# database of the tests' server on this machine, in turns. Prints a table; exit status 1 where a limit is missed:
# gzip at least 2.5 times the peer's throughput, zstd within 25 % of the raw read, memory below 150 MB.
#
#   scripts/bench/backup.sh [MB] [ROUNDS]     default 450 3
#
# CM_BIN_DIR is the folder of the program under test (default: target/dist).
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=${CM_BIN_DIR:-$here/../../target/dist}/cm-backup
server=${CM_TEST_MONGOD:-${XDG_CACHE_HOME:-$HOME/.cache}/cm-test/secantusd-rs/bin/secantusd-rs}
megabytes=${1:-450} rounds=${2:-3}

fail() {
  printf '[FAIL] %s\n' "$1" >&2
  exit 2
}
[[ $megabytes =~ ^[1-9][0-9]{0,4}$ && $rounds =~ ^[1-9][0-9]?$ ]] || fail "not a size and a number of rounds: '$*'"
[[ -x $program ]] || fail "no program at $program: make build"
[[ -x $server ]] || fail "no database server at $server: scripts/setup.sh --tests"
cargo build -q --release --manifest-path "$here/../../Cargo.toml" -p cm-backup --example backup_peers
peers=$(cargo metadata --format-version 1 --no-deps --manifest-path "$here/../../Cargo.toml" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/examples/backup_peers

folder=$(mktemp -d)
pid=
cleanup() {
  if [[ -n $pid ]]; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap cleanup EXIT
export HOME=$folder XDG_STATE_HOME=$folder/state
unset CM_CONFIG CM_LOG
cd "$folder"

"$server" --host 127.0.0.1 --port 0 --storage-path "$folder/data" --cache-size 512M --log-file-max 8MB >"$folder/log" 2>&1 &
pid=$!
for _ in {1..100}; do
  port=$(sed -n 's/.*listening on 127\.0\.0\.1:\([0-9]*\).*/\1/p' "$folder/log")
  [[ -z $port ]] || break
  sleep 0.1
done
[[ -n $port ]] || fail "the database server does not start: $(tail -n 3 "$folder/log")"
export BENCH_URI="mongodb://127.0.0.1:$port/?directConnection=true"
"$peers" fill "$megabytes"

# timed NAME COMMAND... - one line `MICROSECONDS KILOBYTES` more in the file NAME: how long, and how much memory.
timed() {
  local name=$1
  shift
  python3 - "$folder/$name" "$@" <<'PY'
import resource, subprocess, sys, time
begin = time.monotonic()
done = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
if done.returncode:
    sys.exit(f"[FAIL] {sys.argv[2:]}: {done.stderr.decode()}")
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
with open(sys.argv[1], "a") as out:
    print(int((time.monotonic() - begin) * 1e6), peak, file=out)
PY
}

backup=("$program" --uri-env BENCH_URI --database bench)
gzip_peer=("$peers" gzip) gzip_name='raw cursor through gzip -6'
if type -P mongodump >/dev/null; then
  gzip_peer=(mongodump --uri "$BENCH_URI" -d bench --archive=/dev/null --gzip) gzip_name='mongodump --archive --gzip'
fi
for ((round = 1; round <= rounds; round++)); do
  timed raw "$peers" read
  timed peer "${gzip_peer[@]}"
  timed gzip "${backup[@]}" --output "$folder/$round.archive.gz"
  timed zstd "${backup[@]}" --compression zstd --output "$folder/$round.archive.zst"
  timed zstd-read "${backup[@]}" --compression zstd --output -
done
timed restore "$program" restore "$folder/1.archive.gz" --uri-env BENCH_URI --db restored

median() { sort -n "$folder/$1" | awk '{ times[NR] = $1 } END { print times[int((NR + 1) / 2)] }'; }
peak() { awk '$2 > most { most = $2 } END { print int(most / 1000) }' "$folder/$1"; }
row() { awk -v name="$1" -v time="$(median "$2")" -v peak="$(peak "$2")" -v mb="$megabytes" \
  'BEGIN { printf "%-44s %7.2f s %7.0f MB/s %6d MB\n", name, time / 1e6, mb * 1e6 / time, peak }'; }

printf '%d MB of BSON, %d rounds: median time, throughput, most memory\n' "$megabytes" "$rounds"
row 'raw cursor to nowhere' raw
row "$gzip_name" peer
row 'cm-backup, gzip, proved' gzip
row 'cm-backup, zstd, proved' zstd
row 'cm-backup, zstd, to stdout, not read back' zstd-read
row 'cm-backup restore, proved first' restore
awk -v peer="$(median peer)" -v gzip="$(median gzip)" -v raw="$(median raw)" -v zstd="$(median zstd-read)" \
  -v memory="$(cat "$folder"/{gzip,zstd,restore} | awk '$2 > most { most = $2 } END { print int(most / 1000) }')" 'BEGIN {
    printf "gzip, proved, against the peer: %.2f times the throughput (limit 2.50)\n", peer / gzip
    printf "zstd against the raw read: %.2f times the time (limit 1.25)\n", zstd / raw
    printf "most memory: %d MB (limit 150)\n", memory
    exit !(peer / gzip >= 2.5 && zstd / raw <= 1.25 && memory < 150)
  }'
