# $3 the name of a database that is made, $4 `keep` where it stays when everything is in it. stdin goes on with the dump.
scratch=$3
if [ "${4:-}" = keep ]; then (alone && recover); fi
drop() { ask -e "DROP DATABASE IF EXISTS \`$scratch\`" < /dev/null >&2 || true; rm -rf "$work"; }
trap drop EXIT
# What crashed runs left: nobody uses it, it is no journal, and more than a day old.
asked << 'SQL'
SELECT CONCAT('DROP DATABASE `', schema_name, '`;') FROM information_schema.schemata s WHERE schema_name REGEXP '^cm_(scratch|old)_[0-9a-f]{16}$'
  AND NOT EXISTS (SELECT 1 FROM information_schema.processlist p WHERE p.db = s.schema_name)
  AND NOT EXISTS (SELECT 1 FROM information_schema.tables t WHERE t.table_schema = s.schema_name
    AND (t.table_name = 'cm_journal' OR t.create_time > NOW() - INTERVAL 1 DAY))
  AND EXISTS (SELECT 1 FROM information_schema.tables t WHERE t.table_schema = s.schema_name);
SQL
asked << SQL
SELECT CONCAT('CREATE DATABASE \`$scratch\`', COALESCE((SELECT CONCAT(' CHARACTER SET ', default_character_set_name,
    ' COLLATE ', default_collation_name) FROM information_schema.schemata WHERE schema_name = $here), ''), ';');
SQL
# Events would run: they come in as those of a server that copies another, and take.sh makes them what they are. Which of
# them are such in the dump is noted for it.
: > "$work/asleep"
{
  sed "/^-- Dumping events for database/,/^-- Dumping routines for database/{
    /^\/\*!50106 CREATE.* ON COMPLETION \(NOT \)*PRESERVE DISABLE ON /w $work/asleep
    s/^\(\/\*!50106 CREATE.* ON COMPLETION \(NOT \)*PRESERVE\) ENABLE/\1 DISABLE ON SLAVE/
  }" || echo "$?" > "$work/failed"
} | "$client" --user="$user" --default-character-set=utf8mb4 --database="$scratch"
[ ! -e "$work/failed" ]
counts "'$scratch'" TRUE > "$work/counts"
ask < "$work/counts"
if [ "${4:-}" = keep ]; then
  if [ -s "$work/asleep" ]; then
    sed 's/^.*\/\*!50106 EVENT \(`.*`\) ON SCHEDULE .*/\1/' "$work/asleep" > "$work/names"
    {
      printf 'CREATE TABLE `%s`.cm_asleep (names LONGBLOB); INSERT INTO `%s`.cm_asleep VALUES (x'\' "$scratch" "$scratch"
      od -An -v -tx1 "$work/names" | tr -d ' \n'
      echo "');"
    } | ask
  fi
  trap 'rm -rf "$work"' EXIT
fi
