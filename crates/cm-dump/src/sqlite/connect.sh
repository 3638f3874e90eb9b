# $1 the path of the database. The first line of stdin would be a password: a file has none.
IFS= read -r _ || true
database=$1
case $database in /*) ;; *) database=./$database ;; esac
work=
end() { if [ -n "$work" ]; then rm -rf "$work"; fi; }
trap end EXIT
# What asks a database: sqlite3, or the sqlite3 of Python, which has the same backup underneath.
if command -v sqlite3 > /dev/null; then
  ask() { file=$1; shift; sqlite3 -batch -bail -cmd '.timeout 60000' "$file" "$@"; }
  copied() { sqlite3 -batch -bail -cmd '.timeout 60000' "$1" ".backup '$2'"; }
  restored() { sqlite3 -batch -bail -cmd '.timeout 60000' "$1" ".restore '$2'"; }
elif command -v python3 > /dev/null; then
  ask() { python3 -c 'import sqlite3, sys
for row in sqlite3.connect(sys.argv[1], timeout=60).execute(sys.argv[2]): print(*("" if v is None else v for v in row), sep="|")' "$1" "$2"; }
  copied() { python3 -c 'import sqlite3, sys
source, target = sqlite3.connect(sys.argv[1], timeout=60), sqlite3.connect(sys.argv[2], timeout=60)
source.backup(target)' "$1" "$2"; }
  restored() { copied "$2" "$1"; }
else
  echo 'there is neither sqlite3 nor python3 where the database is' >&2
  exit 1
fi
# One line for each table of the file $1, as JSON. What an extension keeps elsewhere is counted there.
counts() {
  ask "$1" "SELECT 'SELECT json_object(''table'', ' || quote(name) || ', ''rows'', count(*)) FROM \"' || replace(name, '\"', '\"\"') || '\"'
    FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'" > "$work/queries"
  while IFS= read -r query; do ask "$1" "$query" < /dev/null; done < "$work/queries"
}
whole() {
  ask "$1" 'PRAGMA integrity_check' > "$work/integrity"
  if [ "$(cat "$work/integrity")" != ok ]; then head -n 5 "$work/integrity" >&2; exit 1; fi
}
