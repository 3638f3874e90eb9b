# $3 the database that is filled, $4 the name of one that keeps the old tables for as long as it takes.
scratch=$3 old=$4
alone
recover
asked << SQL
SELECT CONCAT($(literal "CREATE DATABASE IF NOT EXISTS $name"), ' CHARACTER SET ', default_character_set_name,
    ' COLLATE ', default_collation_name, ';') FROM information_schema.schemata WHERE schema_name = '$scratch';
SQL
# Events that are to sleep, as load.sh has noted them, are left as they are.
: > "$work/asleep"
if [ "$(ask -e "SELECT COUNT(*) FROM $tables AND table_schema = '$scratch' AND table_name = 'cm_asleep'" < /dev/null)" = 1 ]; then
  ask -e "SELECT names FROM \`$scratch\`.cm_asleep; DROP TABLE \`$scratch\`.cm_asleep" < /dev/null > "$work/asleep"
fi
{
  sed '/^$/d;s/[][\.*^$/]/\\&/g;s/.*/\/^\\\/\\*!50106 CREATE.*EVENT & ON SCHEDULE \/b/' "$work/asleep"
  printf '%s\n' 's/^\(\/\*!50106 CREATE.* ON COMPLETION \(NOT \)*PRESERVE\) DISABLE ON \(SLAVE\|REPLICA\)/\1 ENABLE/'
} > "$work/awake"
programs "$scratch" > "$work/new"
sed -i -f "$work/awake" "$work/new"
programs "$database" > "$work/was"
# The journal: with it, whoever comes next can undo what is not complete.
{
  printf 'CREATE DATABASE `%s`; USE `%s`; CREATE TABLE cm_programs (programs LONGBLOB); INSERT INTO cm_programs VALUES (x'\' "$old" "$old"
  od -An -v -tx1 "$work/was" | tr -d ' \n'
  cat << SQL
');
CREATE TABLE cm_starting (side CHAR(4), table_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin);
INSERT INTO cm_starting SELECT IF(table_schema = '$scratch', 'new', 'old'), table_name FROM information_schema.tables
  WHERE table_type NOT IN ('VIEW', 'SYSTEM VIEW') AND table_schema IN ('$scratch', $here);
SQL
  echo "SELECT CONCAT('ALTER TABLE cm_starting COMMENT ', QUOTE(MD5($here)), ', RENAME TO cm_journal') INTO @s; PREPARE p FROM @s; EXECUTE p;"
} | ask
undone() {
  trap - EXIT
  set +e
  (set -e && undo "$old" "$scratch")
  [ $? = 0 ] || echo "what was there is not as it was: it is in the database $old, and the next restore puts it back" >&2
  rm -rf "$work"
  exit 1
}
trap undone EXIT
without_programs "$scratch"
without_programs "$database"
renamed << SQL
SELECT CONCAT('$name.', $identifier, ' TO \`$old\`.', $identifier) FROM \`$old\`.cm_journal WHERE side = 'old';
SELECT CONCAT('\`$scratch\`.', $identifier, ' TO $name.', $identifier) FROM \`$old\`.cm_journal WHERE side = 'new';
SQL
ask --database="$database" < "$work/new"
ask -e "INSERT INTO \`$old\`.cm_journal VALUES ('done', '')" < /dev/null
trap 'rm -rf "$work"' EXIT
echo taken
ask -e "DROP DATABASE IF EXISTS \`$scratch\`; DROP DATABASE \`$old\`" < /dev/null || echo "the old data is still there as $old" >&2
