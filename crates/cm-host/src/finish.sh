# Runs a command to its end, whatever becomes of the connection: it never writes to a
# stream that nobody reads any more. One such command at a time in a directory.
exec 9<.
if command -v flock >/dev/null; then
    lock_within 120 9 || { echo "another command still runs in $(pwd)" >&2; exit 75; }
fi
# Without a name from the start: whatever ends this, nothing of what was said stays behind.
said=$(mktemp) || exit 74
exec 8>"$said" 7<"$said" || exit 74
rm -f -- "$said"
"$@" </dev/null >&8 2>&1 7<&- 8>&-
status=$?
if [ "$status" -eq 0 ]; then cat <&7; else cat <&7 >&2; fi
exit "$status"
