truth() { printf "JSON_EXTRACT(IF(%s, 'true', 'false'), '\$')" "$1"; }
ask << SQL
SELECT JSON_OBJECT('version', VERSION(), 'database', $here,
  'bytes', (SELECT CAST(COALESCE(SUM(data_length), 0) AS UNSIGNED) FROM $tables AND table_schema = $here),
  'missing', $(truth "NOT EXISTS (SELECT 1 FROM information_schema.schemata WHERE schema_name = $here)"),
  'empty', $(truth "NOT EXISTS (SELECT 1 FROM information_schema.tables WHERE table_schema = $here)"),
  'unfinished', $(truth "EXISTS ($journals)"));
SQL
