# Begins a command once all of its input is here. Input also ends where whoever sends it dies, or
# the connection: what came until then is not what was meant. It may be a secret: it is kept in
# memory where there is /dev/shm, and without a name.
# Arguments: BYTES COMMAND...
input=$(mktemp -p /dev/shm 2>/dev/null || mktemp) || exit 74
exec 8>"$input" 7<"$input" 6<"$input" || exit 74
rm -f -- "$input"
cat >&8 || exit 74
[ "$(wc -c <&6)" -eq "$1" ] || { echo "its input was cut: nothing was begun" >&2; exit 74; }
shift
exec "$@" <&7 6<&- 7<&- 8>&-
