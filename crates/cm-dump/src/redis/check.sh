# stdin goes on with the dump.
cat > "$work/dump.rdb"
checked
stay
