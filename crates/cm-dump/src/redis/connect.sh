# $1 the user, empty for none. The first line of stdin is the password; an empty one is for the container to say.
IFS= read -r REDISCLI_AUTH || REDISCLI_AUTH=
if [ -z "$REDISCLI_AUTH" ] && [ -r "${REDIS_PASSWORD_FILE:-}" ]; then REDISCLI_AUTH=$(cat "$REDIS_PASSWORD_FILE"); fi
REDISCLI_AUTH=${REDISCLI_AUTH:-${REDIS_PASSWORD:-}}
if [ -n "$REDISCLI_AUTH" ]; then export REDISCLI_AUTH; else unset REDISCLI_AUTH; fi
for name in redis valkey; do
  if command -v "$name-cli" > /dev/null; then break; fi
done
command -v "$name-cli" > /dev/null || { echo 'there is no redis-cli where the database runs' >&2; exit 1; }
user=$1
# What a server answers; that it refuses is a failure.
ask() {
  answer=$("$name-cli" -e ${user:+--user "$user"} "$@") || { printf '%s\n' "$answer" >&2; return 1; }
  printf '%s\n' "$answer"
}
# How many keys stay, of what INFO keyspace says of each database, as JSON. Those with a time to live may be gone at
# any moment: nobody can count them twice.
counts() {
  tr -d '\r' < "$work/keyspace" | sed -n 's/^db[0-9]*:keys=\([0-9]*\),expires=\([0-9]*\).*/\1 \2/p' > "$work/keys"
  keys=0 expires=0
  while read -r more expiring; do keys=$((keys + more)) expires=$((expires + expiring)); done < "$work/keys"
  stay
}
work=$(mktemp -d)
server=
end() {
  [ -z "$server" ] || { kill "$server" 2> /dev/null && wait "$server" || true; }
  rm -rf "$work"
}
trap end EXIT
# That the file is whole, and how many keys in it stay.
checked() {
  "$name-check-rdb" "$work/dump.rdb" > "$work/checked" || { tail -n 3 "$work/checked" >&2; exit 1; }
  sed -n 's/^\[info\] \([0-9]*\) keys read$/keys=\1/p;s/^\[info\] \([0-9]*\) expires$/expires=\1/p' "$work/checked" > "$work/found"
  keys='' expires=''
  . "$work/found"
  [ -n "$keys" ] && [ -n "$expires" ] || { echo "$name-check-rdb does not say how many keys there are" >&2; exit 1; }
}
stay() { printf '{"table": "keys that do not expire", "rows": %s}\n' "$((keys - expires))"; }
# A server of its own with what stdin goes on with, which nobody else reaches: on the port $1 of the container itself,
# or on none. It is ready when it has read all of it.
scratch() {
  cat > "$work/dump.rdb"
  checked
  "$name-server" - > "$work/log" << CONF &
port ${1:-0}
bind 127.0.0.1
${2:+requirepass "$2"}
unixsocket $work/socket
dir $work
dbfilename dump.rdb
appendonly no
save ""
databases 1024
CONF
  server=$!
  tries=0
  until [ "$(mine PING 2> /dev/null)" = PONG ]; do
    kill -0 "$server" 2> /dev/null || { tail -n 5 "$work/log" >&2; exit 1; }
    tries=$((tries + 1))
    [ "$tries" -lt 36000 ] || { echo 'it has read the dump for an hour' >&2; exit 1; }
    sleep 0.1
  done
}
# The password is not in an argument list, which others on the machine read.
mine() {
  (
    unset REDISCLI_AUTH
    [ -z "${own:-}" ] || export REDISCLI_AUTH="$own"
    "$name-cli" -e -s "$work/socket" "$@"
  )
}
