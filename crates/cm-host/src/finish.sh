# Runs a command to its end, whatever becomes of the connection: it never writes to a
# stream that nobody reads any more. One such command at a time in a directory.
exec 9<.
if command -v flock >/dev/null; then
    lock_within 120 9 || { echo "another command still runs in $(pwd)" >&2; exit 75; }
fi
said=$(mktemp) || exit 74
trap 'rm -f -- "$said"' EXIT
"$@" </dev/null >"$said" 2>&1
status=$?
if [ "$status" -eq 0 ]; then cat "$said"; else cat "$said" >&2; fi
exit "$status"
