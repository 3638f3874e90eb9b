# stdin goes on with the dump. A server that has read it is followed for as long as it takes to have all of its data:
# until then the old data is there, and then the new, all of it.
ask INFO replication > "$work/said"
if ! grep -q '^role:master' "$work/said"; then echo 'it is a replica: restore into the server it follows' >&2; exit 1; fi
ask CONFIG GET masterauth > "$work/auth"
own=$(sed -n 2p "$work/auth")
case $own in *[\"\\]*) echo 'masterauth has a quote in it, which nothing here can pass on' >&2; exit 1 ;; esac
port=$((20000 + $$ % 20000))
scratch "$port" "$own"
alone() { ask REPLICAOF NO ONE > /dev/null; }
trap 'alone || echo "say REPLICAOF NO ONE to it" >&2; end' EXIT
ask REPLICAOF 127.0.0.1 "$port" > /dev/null
tries=0
while :; do
  ask INFO replication > "$work/said"
  if grep -q '^master_link_status:up' "$work/said"; then break; fi
  tries=$((tries + 1))
  [ "$tries" -lt 36000 ] || { echo 'it has not taken the data in an hour' >&2; exit 1; }
  sleep 0.1
done
alone
trap end EXIT
ask INFO keyspace > "$work/keyspace"
counts
