work=$(mktemp -d)
name=${database##*/}
if [ ! -e "$database" ]; then
  printf '{"missing": true, "empty": true, "database": "%s"}\n' "$(printf '%s' "$name" | tr -d '"\\')"
  exit
fi
[ -f "$database" ] || { echo "$database is not a file" >&2; exit 1; }
ask "$database" "SELECT json_object('version', sqlite_version(), 'database', '$(printf '%s' "$name" | sed "s/'/''/g")',
  'bytes', (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()),
  'empty', json(CASE WHEN (SELECT count(*) FROM sqlite_master) = 0 THEN 'true' ELSE 'false' END))"
