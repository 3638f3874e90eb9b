#!/usr/bin/env bash
# What a backup of PostgreSQL and of MariaDB costs over the plain dump command, `pg_dump -Fc` and `mariadb-dump | gzip -6`, which
# run in the same container, in turns: the dump itself, and all of it with the verification (the archive read back whole,
# every row counted). Exit status 1 where a limit is missed: 10 % for the dump, 15 % with the verification, 64 MB of memory.
#
#   scripts/bench/dumps.sh [MB] [ROUNDS]     default 1000 3
#
# CM_BIN_DIR is the directory of the program under test (default: target/dist).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
program=${CM_BIN_DIR:-$here/../../target/dist}/cm-backup
megabytes=${1:-1000} rounds=${2:-3}

[[ $megabytes =~ ^[1-9][0-9]{0,4}$ && $rounds =~ ^[1-9][0-9]?$ ]] || fail "not a size and a number of rounds: '$*'"
[[ -x $program ]] || fail "no program at $program: make dist"
image=$("$here/../sandbox" databases) || fail 'no image of databases: scripts/setup.sh --tests'
directory=$(mktemp -d)
project=bench-dumps-$$
cleanup() {
  docker rm --force --volumes "$project-postgres-1" "$project-mysql-1" >/dev/null 2>&1 || true
  rm -rf "$directory"
}
trap cleanup EXIT
export HOME=$directory XDG_STATE_HOME=$directory/state
export CM_ALLOW_LOCAL=1
unset CM_CONFIG CM_LOG
mkdir "$directory/work" "$directory/plain"
cd "$directory/work"
cat >cm.toml <<'TOML'
project = "bench"
[hosts.here]
address = "local"
checkout = "~/work"
[compose]
env_file = ".env"
[[backup]]
kind = "postgres"
[[backup]]
kind = "mysql"
TOML
printf 'name: %s\nservices:\n  postgres: {image: postgres}\n  mysql: {image: mariadb}\n' "$project" >compose.yml

# start SERVICE OPTIONS... -- READY... - its container, ready when that command succeeds in it.
start() {
  local service=$1 container=$project-$1-1
  local -a options=()
  shift
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  shift
  docker run --detach --name "$container" --label "com.docker.compose.project=$project" \
    --label "com.docker.compose.service=$service" --label com.docker.compose.oneoff=False "${options[@]}" "$image" "$service" >/dev/null
  for _ in {1..300}; do
    if docker exec "$container" "$@" >/dev/null 2>&1; then return; fi
    sleep 0.3
  done
  fail "$service does not start: $(docker logs "$container" 2>&1 | tail -n 3)"
}
start postgres --env POSTGRES_USER=ada --env POSTGRES_DB=shop --env POSTGRES_PASSWORD=secret -- pg_isready -U ada -d shop
start mysql --env MARIADB_ROOT_PASSWORD=secret --env MARIADB_DATABASE=shop --env MARIADB_USER=ada \
  --env MARIADB_PASSWORD=adas -- mariadb -uroot -psecret shop -e 'SELECT 1'

# Rows of about 250 bytes, of which half packs well, in four tables.
rows=$((megabytes * 1000))
for table in a b c d; do
  docker exec -i "$project-postgres-1" env PGPASSWORD=secret psql -qU ada shop <<SQL
CREATE TABLE $table AS SELECT i AS id, md5(i::text) || md5((i * 7)::text) || md5((i * 13)::text) AS x, repeat('word ' || i % 1000, 12) AS y FROM generate_series(1, $rows) i;
SQL
  docker exec -i "$project-mysql-1" mariadb -uroot -psecret shop <<SQL
CREATE TABLE $table AS SELECT seq AS id, concat(md5(seq), md5(seq * 7), md5(seq * 13)) AS x, repeat(concat('word ', seq % 1000), 12) AS y FROM seq_1_to_$rows;
SQL
done

# plain FILE CONTAINER SCRIPT - the dump of the plain command, on disk as a backup is.
plain() { docker exec "$2" sh -ec "$3" >"$1" && sync "$1" && rm -f "$1"; }
export -f plain
declare -A plain=(
  [postgres]='PGPASSWORD=secret pg_dump -U ada -Fc shop'
  [mysql]='mariadb-dump -uroot -psecret --single-transaction --quick --hex-blob --routines --events --triggers shop | gzip -6'
)
# dumped NAME - how long the dump of the newest backup took, by its manifest, in milliseconds.
dumped() {
  python3 - "$directory/backups" >>"$directory/$1" <<'PY'
import datetime, glob, json, os, sys
newest = max(glob.glob(sys.argv[1] + "/*.manifest.json"), key=os.path.getmtime)
with open(newest) as file:
    manifest = json.load(file)
begin, end = (datetime.datetime.fromisoformat(manifest[key].replace("Z", "+00:00")) for key in ("started_at", "ended_at"))
print((end - begin).total_seconds() * 1000)
PY
}
ours() {
  measured "$1-ours" "$program" --service "$1" --output "$directory/backups"
  dumped "$1-dumped"
  rm -rf "$directory/backups"
}
theirs() { measured "$1-plain" bash -c 'plain "$@"' bash "$directory/plain/dump" "$project-$1-1" "${plain[$1]}"; }
for service in postgres mysql; do
  for ((round = 1; round <= rounds; round++)); do
    if ((round % 2)); then
      theirs "$service"
      ours "$service"
    else
      ours "$service"
      theirs "$service"
    fi
  done
  name='pg_dump -Fc' word=PostgreSQL
  if [[ $service = mysql ]]; then name='mariadb-dump | gzip -6' word=MariaDB; fi
  peer=$(scaled "$directory/$service-plain" 1000)
  row "dump of $word, $megabytes MB" ms "$directory/$service-dumped" "$name" "$peer" '<=1.10'
  row "backup of $word, verified, $megabytes MB" ms "$(scaled "$directory/$service-ours" 1000)" "$name" "$peer" '<=1.15'
  awk '{ print $2 / 1000 }' "$directory/$service-ours" >"$directory/$service-memory"
  row "memory of a backup of $word, $megabytes MB" MB "$directory/$service-memory" - - '=<=64'
done
((missed == 0))
