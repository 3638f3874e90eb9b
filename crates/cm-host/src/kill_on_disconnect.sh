# Runs a command that ends when the connection does: whoever started it holds the
# other end of stdin. One such command at a time in a directory, if it has to be alone.
# Arguments: alone|alongside COMMAND...
exec 9<.
if [ "$1" = alone ] && command -v flock >/dev/null; then
    lock_within 120 9 || { echo "another command still runs in $(pwd)" >&2; exit 75; }
fi
shift
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
(
    exec 9<&-
    cat <&3
    kill -TERM "$child"
) >/dev/null 2>&1 &
watcher=$!
wait "$child"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
