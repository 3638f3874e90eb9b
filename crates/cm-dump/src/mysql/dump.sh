mkfifo "$work/lock" "$work/locked" "$work/count" "$work/counting" "$work/dump"
# Tables that no transaction holds still, such as those of MyISAM, are in the dump, and nobody can count them in its moment.
ask << SQL > "$work/known"
SELECT JSON_OBJECT('table', table_name) FROM $tables AND table_schema = $here;
SELECT JSON_OBJECT('not_verified', CONCAT('tables that are not of InnoDB may be of several moments, and were not counted: ', COUNT(*)))
  FROM $tables AND table_schema = $here AND NOT COALESCE($of_a_moment, FALSE) HAVING COUNT(*) > 0;
SQL
counts "$here" "$of_a_moment" > "$work/counts"
ask << SQL > "$work/statement"
SELECT CONCAT('$name.', $identifier, ' READ') FROM $tables AND table_schema = $here AND $of_a_moment;
SQL
# A session that keeps everybody else from writing, as long as its input is open. It waits for nobody for long, because
# meanwhile others wait for it.
hold() {
  ask < "$work/lock" > "$work/locked" 2> "$work/why" &
  exec 3> "$work/lock" 4< "$work/locked"
  { printf 'SET SESSION lock_wait_timeout = 1; LOCK TABLES '; paste -s -d , "$work/statement"; echo "; SELECT 'held';"; } >&3
  IFS= read -r held <&4 || held=
}
held='' tries=0
while [ -s "$work/statement" ] && [ "$held" != held ] && [ "$tries" -lt 3 ]; do
  tries=$((tries + 1))
  hold
  [ "$held" = held ] || exec 3>&- 4<&-
done
# Another reads in the moment of the dump: nobody writes between the two beginnings.
if [ "$held" = held ]; then
  ask < "$work/count" > "$work/counting" 3>&- 4<&- &
  counting=$!
  exec 5> "$work/count" 6< "$work/counting"
  echo "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT; SELECT 'begun';" >&5
  IFS= read -r begun <&6
  [ "$begun" = begun ]
fi
{ dump "$database" || echo "$?" > "$work/failed"; } > "$work/dump" 3>&- 4<&- 5>&- 6<&- &
exec 7< "$work/dump"
echo
# What it writes at first it has read in its own transaction.
dd bs=1 count=1 <&7 2> /dev/null
if [ "$held" = held ]; then
  exec 3>&- 4<&-
  cat "$work/counts" >&5
  exec 5>&-
  cat <&6 > "$work/found" 7<&- &
  found=$!
fi
cat <&7
[ ! -e "$work/failed" ]
# What was counted ends the dump, as comments.
if [ "$held" = held ]; then
  wait "$found"
  wait "$counting"
  cat "$work/found" >> "$work/known"
elif [ -s "$work/statement" ] && grep -qi 'denied' "$work/why"; then
  printf '%s\n' '{"not_verified": "rows were not counted: the user that dumps lacks the right LOCK TABLES"}' >> "$work/known"
elif [ -s "$work/statement" ]; then
  printf '%s\n' '{"not_verified": "rows were not counted: somebody writes to the tables for longer than a second"}' >> "$work/known"
fi
sed 's/^/-- cm-backup: /' "$work/known"
echo '-- cm-backup: end'
