work=$(mktemp -d)
if [ ! -e "$database" ]; then
  echo '{"missing": true, "empty": true}'
  exit
fi
[ -f "$database" ] || { echo "$database is not a file" >&2; exit 1; }
ask "$database" "SELECT json_object('version', sqlite_version(),
  'bytes', (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()),
  'empty', json(CASE WHEN (SELECT count(*) FROM sqlite_master) = 0 THEN 'true' ELSE 'false' END))"
