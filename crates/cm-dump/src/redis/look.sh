for part in server memory replication keyspace; do ask INFO "$part" > "$work/said"; tr -d '\r' < "$work/said" > "$work/$part"; done
version=$(sed -n 's/^valkey_version://p;s/^redis_version://p' "$work/server" | tail -n 1)
if grep -q '^db' "$work/keyspace"; then empty=false; else empty=true; fi
printf '{"version": "%s", "topology": "%s", "bytes": %s, "empty": %s}\n' "$version" \
  "$(sed -n 's/^role://p' "$work/replication")" "$(sed -n 's/^used_memory://p' "$work/memory")" "$empty"
