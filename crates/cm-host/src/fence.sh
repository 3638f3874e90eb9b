# Begins a command only if a script says that it may.
# Arguments: WORD SCRIPT FOUR-ARGUMENTS-OF-THE-SCRIPT COMMAND...
said=$(cd && sh -c "$2" sh "$3" "$4" "$5" "$6" </dev/null)
status=$?
if [ "$status" -ne 0 ] || [ "$said" != "$1" ]; then
    printf 'cm-fence %s\n%s\n' "$status" "$said"
    exit 79
fi
shift 6
exec "$@"
