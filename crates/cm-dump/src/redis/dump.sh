"$name-cli" ${user:+--user "$user"} --rdb "$work/dump.rdb" > "$work/said" 2>&1 || { tail -n 3 "$work/said" >&2; exit 1; }
checked
stay
echo
cat "$work/dump.rdb"
