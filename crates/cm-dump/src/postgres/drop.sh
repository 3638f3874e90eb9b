# $3 the name of the database that was made.
elsewhere -v name="$3" << 'SQL'
SELECT format('DROP DATABASE IF EXISTS %I', :'name') \gexec
SQL
