# $3 the name of a database that is made, $4 `keep` where it stays when everything is in it. stdin goes on with
# the archive.
dropped() { elsewhere -v name="$scratch" << 'SQL'
SELECT format('DROP DATABASE IF EXISTS %I', :'name') \gexec
SQL
}
scratch=$3
# What crashed runs left: nobody is connected to it, and it is not a moment old. Of an interrupted swap that was
# complete, the old data.
elsewhere << 'SQL'
SELECT format('DROP DATABASE %I', d.datname) FROM pg_catalog.pg_database d
  WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a WHERE a.datname = d.datname)
    AND (d.datname ~ '^cm_old_[0-9a-f]{16}$' OR (d.datname ~ '^cm_scratch_[0-9a-f]{16}$'
      AND coalesce(extract(epoch FROM now())
        - substring(shobj_description(d.oid, 'pg_database') FROM '^cm-backup ([0-9]+)$')::numeric, 601) > 600)) \gexec
SQL
trap 'dropped >&2 || true' EXIT
elsewhere -v database="$PGDATABASE" -v scratch="$scratch" << 'SQL'
WITH of AS (SELECT d.*, to_jsonb(d) AS j FROM pg_catalog.pg_database d WHERE datname = :'database')
SELECT format('CREATE DATABASE %I TEMPLATE template0', :'scratch') || coalesce((SELECT
    format(' OWNER %I ENCODING %L LC_COLLATE %L LC_CTYPE %L TABLESPACE %I', pg_get_userbyid(datdba),
      pg_encoding_to_char(encoding), datcollate, datctype, (SELECT spcname FROM pg_tablespace t WHERE t.oid = dattablespace))
    || CASE j->>'datlocprovider'
      WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', coalesce(j->>'datlocale', j->>'daticulocale'))
        || coalesce(format(' ICU_RULES %L', nullif(j->>'daticurules', '')), '')
      WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', j->>'datlocale')
      ELSE '' END
  FROM of), '') \gexec
SELECT format('COMMENT ON DATABASE %I IS %L', :'scratch', 'cm-backup ' || floor(extract(epoch FROM now()))) \gexec
SQL
pg_restore -w --exit-on-error -d "$scratch"
PGDATABASE=$scratch
counts | ask -v FETCH_COUNT=0
if [ "${4:-}" = keep ]; then trap - EXIT; fi
