# shellcheck shell=sh
# The lock of a project on a Swarm, asked of one of its managers: `sh -c SCRIPT sh VERB DIR NONCE …`. The verbs, their
# arguments and the answers are those of lock.sh.
#
# The lock is the newest of the configs cm-lock-PROJECT-NUMBER, which the managers replicate by Raft: it has the record
# of the holder, or is given back. Whoever changes it makes the config with the next number, and a name can be taken
# once: the comparison and the change are one act, whichever manager is asked, and survive the loss of any minority of
# them. The newest is never removed, so that numbers never begin again. A manager that cannot reach most of the others
# answers nothing, and nothing is changed.
#
# The lease is the age of that config, by the clocks of the manager that made it and of the one that is asked. Where
# those differ by more than the lease, a lock may be taken too early; its holder then changes nothing any more.
set -eu
umask 077
export LC_ALL=C
verb=$1 dir=$2 nonce=$3
# `config_stem` is before.
project=${dir##*/} step=$dir/lock.step aside=$dir/.lock.$nonce
# The holder makes its next sign of life when the last is so old, in seconds.
fresh=8
name='' owner='' older='' age=0

silent() {
    echo 'cm info'
    docker info --format '{{json .Swarm}}'
    exit 46
}

# newest - what the Swarm says now: its config, and the nonce of who holds the lock, or nothing. While the managers
# choose a leader, Docker itself waits; what it had begun to ask the old one is asked again.
newest() {
    tries=5
    until all=$(docker config ls --filter "label=cm.lock=$project" --format '{{.Name}} {{.Label "cm.made"}} {{.Label "cm.nonce"}}'); do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || silent
        sleep 1
    done
    all=$(printf '%s\n' "$all" | sort)
    line=$(printf '%s\n' "$all" | tail -n 1)
    name=${line%% *} owner=${line##* }
    made=${line#"$name"}
    made=${made%"$owner"}
    age=$((($(date +%s) - ${made:-0}) * 1000))
    [ "$age" -ge 0 ] || age=0
    older=$(printf '%s\n' "$all" | sed '$d' | cut -d ' ' -f 1)
}

# next NONCE - makes the config after the newest from stdin, and forgets those before; fails if somebody else did.
next() {
    number=${name##*-}
    number=$((1${number:-00000000} - 100000000 + 1))
    wanted=$(printf 'cm-lock-%s-%08d' "$(config_stem "$project")" "$number")
    docker config create --label "cm.lock=$project" --label "cm.made=$(date +%s)" --label "cm.nonce=$1" "$wanted" - \
        >/dev/null 2>&1 || :
    newest
    # One that was made meanwhile by who had looked long ago is not the newest.
    if [ "$name" != "$wanted" ] || [ "$owner" != "$1" ]; then return 1; fi
    for old in $older; do docker config rm "$old" >/dev/null 2>&1 || :; done
}

record() { docker config inspect --format '{{json .Spec.Data}}' "$1" | tr -d '"' | base64 -d; }

# tell WORD - who holds it. One that goes on meanwhile is looked at again.
tell() {
    tries=5
    until [ -z "$owner" ] || record "$name" >"$aside.seen" 2>/dev/null; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || exit 75
        newest
    done
    if [ -z "$owner" ]; then
        echo "$1 free"
    else
        echo "$1 there $age $name"
        # Another manager's step may be that of an earlier holder.
        if [ -f "$step" ]; then sed -n "1s/^$owner //p" -- "$step" | grep . || echo; else echo; fi
        head -c 70000 -- "$aside.seen"
    fi
}

take() {
    old=$1 least=$2
    cat >"$aside"
    if [ "$(wc -c <"$aside")" -ne "$3" ]; then
        echo "the record did not arrive whole" >&2
        exit 65
    fi
    rounds=5
    while [ "$rounds" -gt 0 ]; do
        rounds=$((rounds - 1))
        newest
        if [ "$owner" = "$nonce" ]; then break; fi
        if [ -n "$owner" ]; then
            if [ "$owner" != "$old" ] || [ "$age" -le "$least" ]; then break; fi
        fi
        if next "$nonce" <"$aside"; then break; fi
    done
    if [ "$owner" != "$nonce" ]; then
        tell held
        return
    fi
    rm -f -- "$step"
    find "$dir" -maxdepth 1 -name '.lock.*' -mmin +60 -exec rm -f -- {} +
    echo taken
}

# Another sign of life, where the last one is old: each is a change of the Swarm.
renew() {
    if [ "$owner" = "$nonce" ] && [ "$age" -ge "$((fresh * 1000))" ] && record "$name" >"$aside" 2>/dev/null; then
        next "$nonce" <"$aside" || :
    fi
    if [ "$owner" != "$nonce" ]; then
        tell lost
        return
    fi
    # News for people: no room for it is no reason to lose the lock.
    if [ -n "$1" ]; then printf '%s %s\n' "$nonce" "$1" >"$step" || :; fi
    echo renewed
}

# give_back - a config that nobody's nonce is on. Another program of the holder may make a sign of life meanwhile.
give_back() {
    rounds=5
    while [ "$rounds" -gt 0 ] && [ "$owner" = "$nonce" ]; do
        rounds=$((rounds - 1))
        next '' <<FREE || continue
free
FREE
        rm -f -- "$step"
        echo released
        return
    done
    tell lost
}

mkdir -p -- "$dir"
trap 'rm -f -- "$aside" "$aside.seen"' EXIT
if [ "$verb" = acquire ]; then
    take "$4" "$5" "$6"
    exit 0
fi
newest
case $verb in
renew) renew "$4" ;;
release) give_back ;;
discard)
    nonce=
    if [ "$name" = "$4" ]; then nonce=$owner; fi
    if [ -n "$nonce" ]; then give_back; else tell lost; fi
    ;;
show) tell shown ;;
esac
