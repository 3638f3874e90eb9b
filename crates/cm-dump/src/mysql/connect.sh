# $1 database, $2 user, each empty for what the container's own variables say. The first line of stdin is the
# password; an empty one, too, is for the container to say.
# The value of a variable of the official images, by either of their names, or from the file that one names.
of_image() {
  for prefix in MARIADB MYSQL; do
    eval "value=\${${prefix}_$1:-} file=\${${prefix}_$1_FILE:-}"
    if [ -n "$value" ]; then printf '%s' "$value"; return; fi
    if [ -r "$file" ]; then cat "$file"; return; fi
  done
}
IFS= read -r MYSQL_PWD || MYSQL_PWD=
user=$2
if [ -z "$user" ]; then
  user=root
  [ -n "$MYSQL_PWD" ] || MYSQL_PWD=$(of_image ROOT_PASSWORD)
  if [ -z "$MYSQL_PWD" ] && [ -n "$(of_image USER)" ]; then
    user=$(of_image USER)
    MYSQL_PWD=$(of_image PASSWORD)
  fi
elif [ -z "$MYSQL_PWD" ] && [ "$user" = "$(of_image USER)" ]; then
  MYSQL_PWD=$(of_image PASSWORD)
fi
export MYSQL_PWD
database=${1:-$(of_image DATABASE)}
[ -n "$database" ] || { echo 'no database is named: set `database` under [[backup]] in cm.toml' >&2; exit 1; }
client=$(command -v mariadb || command -v mysql) || { echo 'there is no mysql where the database runs' >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ask() { "$client" --user="$user" --default-character-set=utf8mb4 --connect-timeout=20 -NBrn "$@"; }
# Has the server carry out what it is told on stdin, twice: the answers are statements.
asked() { ask > "$work/answers" && ask < "$work/answers"; }
dump() {
  dumper=$(command -v mariadb-dump || command -v mysqldump) || { echo 'there is no mysqldump where the database runs' >&2; exit 1; }
  # A replica's own history is not part of the data.
  if "$dumper" --help 2> /dev/null | grep -q -- --set-gtid-purged; then set -- --set-gtid-purged=OFF "$@"; fi
  "$dumper" --user="$user" --default-character-set=utf8mb4 --comments --single-transaction --quick --hex-blob \
    --routines --events --triggers --no-tablespaces "$@"
}
quoted() { printf '%s' "$1" | sed 's/`/``/g;s/^/`/;s/$/`/'; }
literal() { printf '%s' "$1" | sed "s/\\\\/\\\\\\\\/g;s/'/''/g;s/^/'/;s/\$/'/"; }
name=$(quoted "$database")
here=$(literal "$database")
# In an expression of SQL: a column as an identifier.
identifier="CONCAT('\`', REPLACE(table_name, '\`', '\`\`'), '\`')"
tables="information_schema.tables WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"
# Those of which a transaction sees one moment.
of_a_moment="engine IN ('InnoDB', 'ROCKSDB', 'TokuDB')"
# The statements that count the tables of the database with the literal $1, of which $2 holds, and what else it has.
counts() {
  ask << SQL
SELECT CONCAT('SELECT JSON_OBJECT(', QUOTE('table'), ', ', QUOTE(table_name), ', ', QUOTE('rows'), ', COUNT(*)) FROM ',
    CONCAT('\`', REPLACE(table_schema, '\`', '\`\`'), '\`.'), $identifier, ';')
  FROM $tables AND table_schema = $1 AND $2 ORDER BY table_name;
SQL
  for what in triggers:trigger_schema views:table_schema routines:routine_schema events:event_schema; do
    echo "SELECT JSON_OBJECT('table', '(${what%:*})', 'rows', COUNT(*)) FROM information_schema.${what%:*} WHERE ${what#*:} = $1 HAVING COUNT(*) > 0;"
  done
}
# What restores that were interrupted while they changed tables have left, by the old tables' database.
journals="SELECT table_schema FROM $tables AND table_schema REGEXP '^cm_old_[0-9a-f]{16}\$' AND table_name = 'cm_journal' AND table_comment = MD5($here)"
