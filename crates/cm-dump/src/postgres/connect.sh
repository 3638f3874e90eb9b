# $1 database, $2 user, each empty for what the container's own variables say. The first line of stdin is the
# password; an empty one, too, is for the container to say.
unset PGSERVICE PGOPTIONS
IFS= read -r PGPASSWORD || PGPASSWORD=
if [ -z "$PGPASSWORD" ] && [ -r "${POSTGRES_PASSWORD_FILE:-}" ]; then PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); fi
PGPASSWORD=${PGPASSWORD:-${POSTGRES_PASSWORD:-}}
PGUSER=${2:-${POSTGRES_USER:-postgres}}
PGDATABASE=${1:-${POSTGRES_DB:-$PGUSER}}
PGCONNECT_TIMEOUT=20
export PGPASSWORD PGUSER PGDATABASE PGCONNECT_TIMEOUT
command -v psql > /dev/null || { echo 'there is no psql where the database runs' >&2; exit 1; }
ask() { psql -XAtqw -v ON_ERROR_STOP=1 "$@"; }
# A database that is not the one: databases are made and renamed from there.
elsewhere() { PGDATABASE=postgres ask "$@"; }
# One line for each table that pg_dump writes, as JSON. Those of extensions are the extensions' own.
counts() {
  cat << 'SQL'
SELECT format('SELECT json_build_object(''table'', %L, ''rows'', count(*)) FROM ONLY %I.%I',
    n.nspname || '.' || c.relname, n.nspname, c.relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
  ORDER BY 1 \gexec
SELECT json_build_object('table', 'large objects', 'rows', count(*)) FROM pg_catalog.pg_largeobject_metadata HAVING count(*) > 0;
SQL
}
