# stdin goes on with the dump.
scratch
mine INFO keyspace > "$work/keyspace"
counts
