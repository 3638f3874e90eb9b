# $3 the database that is filled, $4 the name that the old one gets for as long as it takes to remove it.
what_it_has() {
  cat << 'SQL'
WITH of AS (SELECT * FROM pg_catalog.pg_database WHERE datname = :'database')
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'scratch') FROM of WHERE datacl IS NOT NULL
UNION ALL
SELECT format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, :'scratch',
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM of, aclexplode(datacl) a
UNION ALL
SELECT format('ALTER DATABASE %I CONNECTION LIMIT %s', :'scratch', datconnlimit) FROM of
UNION ALL
SELECT format('COMMENT ON DATABASE %I IS %L', :'scratch', shobj_description(oid, 'pg_database')) FROM of
UNION ALL
SELECT format('ALTER %s SET %I TO %s',
    CASE setrole WHEN 0 THEN format('DATABASE %I', :'scratch')
      ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), :'scratch') END,
    split_part(one, '=', 1),
    CASE WHEN lower(split_part(one, '=', 1)) IN ('search_path', 'local_preload_libraries', 'session_preload_libraries', 'temp_tablespaces')
      THEN substr(one, strpos(one, '=') + 1) ELSE quote_literal(substr(one, strpos(one, '=') + 1)) END)
  FROM of JOIN pg_catalog.pg_db_role_setting s ON s.setdatabase = of.oid, unnest(setconfig) one \gexec
SQL
}
what_it_has | elsewhere -v database="$PGDATABASE" -v scratch="$3"
tries=0
# Both names change in one transaction, or neither. Who is connected is asked to leave, and may come back meanwhile.
until elsewhere -v database="$PGDATABASE" -v scratch="$3" -v old="$4" << 'SQL'
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'database' \g /dev/null
BEGIN;
SELECT format('ALTER DATABASE %I RENAME TO %I', :'database', :'old') FROM pg_catalog.pg_database WHERE datname = :'database' \gexec
SELECT format('ALTER DATABASE %I RENAME TO %I', :'scratch', :'database') \gexec
COMMIT;
SQL
do
  tries=$((tries + 1))
  [ "$tries" -lt 5 ] || exit 1
done
echo swapped
elsewhere -v old="$4" << 'SQL' || echo "the old data is still there as $4" >&2
SELECT format('DROP DATABASE IF EXISTS %I', :'old') \gexec
SQL
