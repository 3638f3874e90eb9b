# Triggers, routines, events and views of the database $1, as statements.
programs() {
  dump --no-data --no-create-info "$1" > "$work/programs"
  ask << SQL > "$work/views"
SELECT table_name FROM information_schema.views WHERE table_schema = $(literal "$1");
SQL
  set -- "$1"
  while IFS= read -r view; do set -- "$@" "$view"; done < "$work/views"
  [ $# = 1 ] || dump --no-data --skip-triggers --skip-routines --skip-events "$@" >> "$work/programs"
  cat "$work/programs"
}
# Removes them.
without_programs() {
  one=$(literal "$1") of=$(quoted "$1")
  asked << SQL
SELECT CONCAT('DROP TRIGGER IF EXISTS $of.\`', REPLACE(trigger_name, '\`', '\`\`'), '\`;') FROM information_schema.triggers WHERE trigger_schema = $one;
SELECT CONCAT('DROP EVENT IF EXISTS $of.\`', REPLACE(event_name, '\`', '\`\`'), '\`;') FROM information_schema.events WHERE event_schema = $one;
SELECT CONCAT('DROP VIEW IF EXISTS $of.', $identifier, ';') FROM information_schema.views WHERE table_schema = $one;
SELECT CONCAT('DROP ', routine_type, ' IF EXISTS $of.\`', REPLACE(routine_name, '\`', '\`\`'), '\`;') FROM information_schema.routines
  WHERE routine_schema = $one ORDER BY routine_type <> 'PACKAGE BODY';
SQL
}
# One statement, in which all tables change their names: 'FROM TO' a line on stdin.
renamed() {
  ask > "$work/pairs"
  [ ! -s "$work/pairs" ] || { printf 'SET SESSION lock_wait_timeout = 60; SET SESSION foreign_key_checks = 0; RENAME TABLE '; paste -s -d , "$work/pairs"; } | ask
}
is_table() { echo "EXISTS (SELECT 1 FROM information_schema.tables t WHERE t.table_schema = $1 AND t.table_name = j.table_name)"; }
# Undoes a change that was interrupted in the databases $1, with the old tables, and $2, with the new ones; one that was
# complete is finished.
undo() {
  old=$(quoted "$1") new=$(quoted "$2") of_old=$(literal "$1") of_new=$(literal "$2")
  if [ "$(ask -e "SELECT MAX(side = 'done') FROM $old.cm_journal" < /dev/null)" = 1 ]; then
    ask -e "DROP DATABASE IF EXISTS $old" < /dev/null
    became=finished
    return
  fi
  became=undone
  ask -e "SELECT programs FROM $old.cm_programs" < /dev/null > "$work/old-programs"
  ask -e "CREATE DATABASE IF NOT EXISTS $new" < /dev/null
  without_programs "$database"
  renamed << SQL
SELECT CONCAT('$name.', $identifier, ' TO $new.', $identifier) FROM $old.cm_journal j WHERE side = 'new'
  AND $(is_table "$here") AND NOT $(is_table "$of_new")
  AND (NOT EXISTS (SELECT 1 FROM $old.cm_journal o WHERE o.side = 'old' AND o.table_name = j.table_name) OR $(is_table "$of_old"));
SELECT CONCAT('$old.', $identifier, ' TO $name.', $identifier) FROM $old.cm_journal j WHERE side = 'old' AND $(is_table "$of_old");
SQL
  ask --database="$database" < "$work/old-programs"
  ask -e "DROP TABLE $old.cm_programs; DROP TABLE $old.cm_journal" < /dev/null
  [ "$(ask -e "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = $of_old" < /dev/null)" = 0 ]
  ask -e "DROP DATABASE $old" < /dev/null
}
# Nobody else changes tables while this session lasts, whose input is open.
alone() {
  mkfifo "$work/alone" "$work/am"
  ask < "$work/alone" > "$work/am" &
  exec 8> "$work/alone" 9< "$work/am"
  echo "SELECT GET_LOCK(CONCAT('cm ', MD5($here)), 0);" >&8
  IFS= read -r got <&9
  [ "$got" = 1 ] || { echo 'another restore into this database is still running' >&2; exit 1; }
}
# Undoes what was interrupted.
recover() {
  ask -e "$journals" < /dev/null > "$work/journals"
  while IFS= read -r left; do
    undo "$left" "cm_scratch_${left#cm_old_}" < /dev/null
    ask -e "DROP DATABASE IF EXISTS \`cm_scratch_${left#cm_old_}\`" < /dev/null
    printf '{"note": "a restore that was interrupted was %s"}\n' "$became"
  done < "$work/journals"
}
