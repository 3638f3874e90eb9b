# Runs a long command in a session of its own, and shows what it says. One that was begun
# before is resumed if it is the same, and ended if it is another one.
# Arguments: DIR KEY END COUNT FENCE... COMMAND...; stdin becomes the command's. FENCE are COUNT
# words: what asks, in front of a command, whether that may be begun.
# In DIR: `key` names the command, `pid` its session, `log` is what it said, `status` its
# exit status once it has ended; it holds the lock on `running` for as long as it lives.
set -u
umask 077
case $1 in
/*) dir=$1 ;;
*) dir=$HOME/$1 ;;
esac
key=$2 end=$3 words=$4
shift 4
for tool in flock setsid; do
    command -v "$tool" >/dev/null || { echo "$tool (util-linux) is not installed here" >&2; exit 69; }
done
mkdir -p -- "$dir" || exit 74
exec 7>>"$dir/starting" 8>>"$dir/running"
lock_within 120 7 || { echo "another program starts a command in $dir" >&2; exit 75; }

# Asks, and takes the words that do it off the front.
may_begin() {
    [ "$words" -eq 0 ] || (
        index=0
        for word do
            shift
            [ "$index" -lt "$words" ] && set -- "$@" "$word"
            index=$((index + 1))
        done
        exec "$@" true
    )
}
may_begin "$@" </dev/null || exit
shift "$words"

same() { [ "$(cat "$dir/key" 2>/dev/null)" = "$key" ]; }
if ! flock -n 8 && same; then
    echo "cm-job adopted"
elif same && [ "$(cat "$dir/status" 2>/dev/null)" = 0 ]; then
    echo "cm-job ended"
else
    flock -u 8
    sh -c "$end" sh "$dir" '' >&2 || exit 75
    flock -n 8 || { echo "another command still runs in $dir" >&2; exit 75; }
    { cat >"$dir/input" && : >"$dir/log" && printf '%s\n' "$key" >"$dir/key"; } || exit 74
    echo "cm-job started"
    # The lock goes with it; all that it starts holds it, too.
    setsid sh -c '
        dir=$1
        shift
        "$@" <"$dir/input" >"$dir/log" 2>&1
        echo "$?" >"$dir/status.new" && mv -- "$dir/status.new" "$dir/status"
    ' sh "$dir" "$@" </dev/null >/dev/null 2>&1 7>&- &
    echo "$!" >"$dir/pid"
fi
exec 7>&- 8>&-

shown=0
while :; do
    lock_within 1 "$dir/running" true && ended=yes || ended=
    size=$(stat -c %s -- "$dir/log") || exit 74
    if [ "$size" -gt "$shown" ]; then
        tail -c "+$((shown + 1))" -- "$dir/log" | head -c "$((size - shown))" || exit 74
        shown=$size
    fi
    [ -z "$ended" ] || break
done
[ -s "$dir/status" ] || { echo "it was ended by somebody else" >&2; exit 76; }
exit "$(cat "$dir/status")"
