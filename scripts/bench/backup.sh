#!/usr/bin/env bash
# How fast a backup is, verification included: against `mongodump --archive --gzip` where that is on the PATH, else against
# a raw cursor read through `gzip -6`, which is one thread as mongodump's is; with zstd against a raw cursor read to
# nowhere; a restore against mongorestore, or batches of 1000 documents with one task for each collection, as it has
# them. All use the server of the tests on this machine, in turns; each restore an empty one. Exit
# status 1 where a limit is missed: gzip at least 3 times the peer's throughput, zstd within 15 % of the raw read, the restore
# 1.1 times as fast as its peer, memory below 128 MB. The tests' server
# copies a collection that is renamed, which mongod does not, and that takes as long again as to fill it: the peer of the
# restore fills its collections besides those in use and renames them, too.
#
#   scripts/bench/backup.sh [MB] [ROUNDS]     default 450 3
#
# CM_BIN_DIR is the directory of the program under test (default: target/dist).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
program=${CM_BIN_DIR:-$here/../../target/dist}/cm-backup
server=${CM_TEST_MONGOD:-${XDG_CACHE_HOME:-$HOME/.cache}/cm-test/secantusd-rs/bin/secantusd-rs}
megabytes=${1:-450} rounds=${2:-3}

[[ $megabytes =~ ^[1-9][0-9]{0,4}$ && $rounds =~ ^[1-9][0-9]?$ ]] || fail "not a size and a number of rounds: '$*'"
[[ -x $program ]] || fail "no program at $program: make dist"
[[ -x $server ]] || fail "no database server at $server: scripts/setup.sh --tests"
cargo build -q --release --manifest-path "$here/../../Cargo.toml" -p cm-backup --example backup_peers
peers=$(cargo metadata --format-version 1 --no-deps --manifest-path "$here/../../Cargo.toml" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/examples/backup_peers

directory=$(mktemp -d)
pid=
cleanup() {
  if [[ -n $pid ]]; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  fi
  rm -rf "$directory"
}
trap cleanup EXIT
export HOME=$directory XDG_STATE_HOME=$directory/state
unset CM_CONFIG CM_LOG
cd "$directory"

# start - the server on an empty disk.
start() {
  "$server" --host 127.0.0.1 --port 0 --storage-path "$directory/data" --cache-size 512M --log-file-max 8MB >"$directory/log" 2>&1 &
  pid=$!
  for _ in {1..100}; do
    port=$(sed -n 's/.*listening on 127\.0\.0\.1:\([0-9]*\).*/\1/p' "$directory/log" 2>/dev/null) || true
    [[ -z $port ]] || break
    sleep 0.1
  done
  [[ -n $port ]] || fail "the database server does not start: $(tail -n 3 "$directory/log")"
  export BENCH_URI="mongodb://127.0.0.1:$port/?directConnection=true"
}
stop() {
  kill "$pid"
  wait "$pid" 2>/dev/null || true
  pid=
  rm -rf "$directory/data" "$directory/log"
}
start
"$peers" fill "$megabytes"

backup=("$program" --uri-env BENCH_URI --database bench)
# shellcheck disable=SC2016 # the inner shell's own $0
gzip_peer=(bash -c 'set -o pipefail; "$0" cat | gzip -6' "$peers") gzip_name='raw cursor through gzip -6'
restore_peer=("$peers" restore "$directory/1.archive.gz") restore_name='inserts as mongorestore has them'
if type -P mongodump >/dev/null; then
  gzip_peer=(mongodump --uri "$BENCH_URI" -d bench --archive=/dev/null --gzip) gzip_name='mongodump --archive --gzip'
fi
if type -P mongorestore >/dev/null; then
  # shellcheck disable=SC2016 # the inner shell's own variables
  restore_peer=(bash -c 'exec mongorestore --uri "$BENCH_URI" --gzip --archive="$0"' "$directory/1.archive.gz")
  restore_name='mongorestore --archive --gzip'
fi
"$peers" read # the server's cache is warm from here on
for ((round = 1; round <= rounds; round++)); do
  measured raw "$peers" read
  measured peer "${gzip_peer[@]}"
  measured gzip "${backup[@]}" --output "$directory/$round.archive.gz"
  measured zstd "${backup[@]}" --compression zstd --output "$directory/$round.archive.zst"
  measured zstd-read "${backup[@]}" --compression zstd --output -
done
# Each restore meets an empty server: one that was filled and emptied before is slower.
ours() {
  start
  measured restore "$program" restore "$directory/1.archive.gz" --uri-env BENCH_URI --db restored
  stop
}
theirs() {
  start
  measured restore-peer "${restore_peer[@]}"
  stop
}
stop
for ((round = 1; round <= rounds; round++)); do
  if ((round % 2)); then
    ours
    theirs
  else
    theirs
    ours
  fi
done

# times NAME - its times, in milliseconds; prints the file's name.
times() { scaled "$directory/$1" 1000; }
size="$megabytes MB of BSON"
row "backup, gzip, verified, $size" ms "$(times gzip)" "$gzip_name" "$(times peer)" '<=0.33'
row "backup, zstd, to stdout, $size" ms "$(times zstd-read)" 'raw cursor to nowhere' "$(times raw)" '<=1.15'
row "restore, verification included, $size" ms "$(times restore)" "$restore_name" "$(times restore-peer)" '<=0.91'
cat "$directory"/{gzip,zstd,restore} | awk '{ print $2 / 1000 }' >"$directory/memory"
row "memory of backup and restore, $size" MB "$directory/memory" - - '=<=128'

# Memory must not grow with the data: the same with a tenth, and where $CM_BENCH_LARGE is set with ten times as much.
for more in $((megabytes / 10 + 1)) ${CM_BENCH_LARGE:+$((megabytes * 10))}; do
  start
  "$peers" fill "$more"
  measured "memory-$more" "${backup[@]}" --output "$directory/more.archive.gz"
  stop
  start
  measured "memory-$more" "$program" restore "$directory/more.archive.gz" --uri-env BENCH_URI --db restored
  stop
  awk '{ print $2 / 1000 }' "$directory/memory-$more" >"$directory/memory-$more.mb"
  row "memory of backup and restore, $more MB of BSON" MB "$directory/memory-$more.mb" 'the same of '"$size" "$directory/memory" '<=1.20'
done
((missed == 0))
