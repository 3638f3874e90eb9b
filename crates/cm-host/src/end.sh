# Ends a long command that runs in a session of its own, and forgets how it ended. One
# whose key begins with KEEP stays, where KEEP is not empty.
# Arguments: DIR KEEP
set -u
case $1 in
/*) dir=$1 ;;
*) dir=$HOME/$1 ;;
esac
[ -e "$dir/key" ] || exit 0
if [ -n "$2" ]; then
    case $(cat "$dir/key") in
    "$2 "*) exit 0 ;;
    esac
fi
free() { lock_within "$1" "$dir/running" true; }
if ! free 0; then
    pid=$(cat "$dir/pid")
    kill -TERM "-$pid" 2>/dev/null
    free 20 || kill -KILL "-$pid" 2>/dev/null
    free 10 || { echo "the command in $dir cannot be ended (session $pid)" >&2; exit 1; }
fi
rm -f -- "$dir/key" "$dir/status" "$dir/pid" "$dir/input"
