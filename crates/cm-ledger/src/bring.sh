# A ledger that a Swarm keeps: each record is a config, which the managers replicate; the file is this manager's copy.
# bring FILE PROJECT - adds the records to the file that it does not have. FILE.swarm has the names of those it has.
bring() {
    umask 077
    mkdir -p -- "$(dirname -- "$1")" || exit 74
    exec 8>>"$1.swarm"
    lock_within 20 8 || exit 75
    # While the managers choose a leader, Docker itself waits; what it had begun to ask the old one is asked again.
    asked=5
    until names=$(docker config ls --filter "label=cm.ledger=$2" --format '{{.Name}}'); do
        asked=$((asked - 1))
        if [ "$asked" -eq 0 ]; then
            echo 'cm info'
            docker info --format '{{json .Swarm}}'
            exit 46
        fi
        sleep 1
    done
    names=$(printf '%s\n' "$names" | sort)
    for name in $names; do
        if grep -qxF -- "$name" "$1.swarm"; then continue; fi
        data=$(docker config inspect --format '{{json .Spec.Data}}' "$name") || exit 74
        data=${data#?}
        record=$(printf '%s' "${data%?}" | base64 -d) || exit 74
        printf '\n%s\n' "$record" >>"$1" || exit 74
        printf '%s\n' "$name" >&8
    done
    exec 8>&-
}
