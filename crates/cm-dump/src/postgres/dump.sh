# $3 an option of pg_dump for its compression.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkfifo "$work/ask" "$work/answer"
# One session holds the moment that is counted and dumped.
ask < "$work/ask" > "$work/answer" &
session=$!
exec 3> "$work/ask" 4< "$work/answer"
cat >&3 << 'SQL'
SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET row_security = off;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_catalog.pg_export_snapshot();
SQL
IFS= read -r snapshot <&4
printf '%s\n' "\\o $work/counts" >&3
counts >&3
printf '%s\n' '\o' '\echo counted' >&3
IFS= read -r counted <&4
[ "$counted" = counted ]
cat "$work/counts"
echo
pg_dump -w -Fc ${3:+"$3"} --snapshot="$snapshot"
echo 'COMMIT;' >&3
exec 3>&-
wait "$session"
