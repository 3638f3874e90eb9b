# stdin goes on with the archive. Its tables come out as pg_restore writes them: what cannot be unpacked is not
# counted, and a dump without all of its blocks fails.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ pg_restore --data-only -f /dev/stdout || echo "$?" > "$work/failed"; } | awk '
  copying && $0 == "\\." { printf "%d %s\n", rows, table; copying = 0; next }
  copying { rows++; next }
  /^COPY .* FROM stdin;$/ { table = $0; rows = 0; copying = 1; next }
  /^SELECT pg_catalog\.lo_open\(/ { objects++ }
  END { if (copying) exit 1; if (objects) printf "%d large objects\n", objects; print "end" }'
[ ! -e "$work/failed" ]
