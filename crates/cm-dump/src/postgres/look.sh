there=$(elsewhere -v database="$PGDATABASE" << 'SQL'
SELECT count(*) FROM pg_catalog.pg_database WHERE datname = :'database';
SQL
)
if [ "$there" = 0 ]; then
  elsewhere -v database="$PGDATABASE" << 'SQL'
SELECT json_build_object('version', current_setting('server_version'), 'database', :'database',
  'empty', true, 'missing', true);
SQL
  exit
fi
ask << 'SQL'
SELECT json_build_object('version', current_setting('server_version'), 'database', current_database(),
  'topology', CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END,
  'bytes', pg_database_size(current_database()),
  'empty', NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')));
SQL
