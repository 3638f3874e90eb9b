# Adds a record to a ledger that a Swarm keeps.
# Arguments: FILE PROJECT KEEP; the record is on stdin. The name of a config is taken by whoever makes it first, and is
# the number after the last: two writers never both succeed. Of all records the Swarm keeps the last KEEP.
record=$(cat)
tries=5
while :; do
    bring "$1" "$2"
    last=$(printf '%s\n' "$names" | tail -n 1)
    number=${last##*-}
    number=$(expr "${number:-0}" + 1)
    name=$(printf 'cm-ledger-%s-%08d' "$(config_stem "$2")" "$number")
    if printf '%s\n' "$record" | docker config create --label "cm.ledger=$2" "$name" - >/dev/null; then break; fi
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then exit 74; fi
done
bring "$1" "$2"
sync -- "$1" "$1.swarm" "$(dirname -- "$1")"
for old in $names; do
    if [ "$(expr "${old##*-}" + "$3")" -gt "$number" ]; then break; fi
    docker config rm "$old" >/dev/null || :
done
