# $3 the name of the database that was made.
ask -e "DROP DATABASE IF EXISTS \`$3\`" < /dev/null
