# shellcheck shell=sh
# The lock of one host. It runs on the host, as one command: `sh -c SCRIPT sh VERB DIR NONCE …`.
# Everything variable comes in as an argument or through stdin.
#
#   acquire DIR NONCE OLD LEAST LENGTH   stdin: the record. Takes the lock if it is free, or if
#                                        the holder is OLD and not heard of for more than LEAST ms
#   renew   DIR NONCE STEP               another sign of life
#   release DIR NONCE                    gives it back
#   show    DIR NONCE TAKE               says who holds it; where TAKE is not empty, fails if it could not be taken
#   discard DIR NONCE TOKEN              removes a record that is still the one that was shown
#
# The answer's first line is `WORD`, `WORD free`, `WORD odd` or `WORD there AGE TOKEN`, its second
# line the holder's step, the rest the record. AGE is in milliseconds by this host's clock alone.
#
# lock.json is written aside, synced and then linked or renamed into place: whoever reads it sees a
# whole record. Those who change it take turns (flock on the directory, given back by the kernel
# however they end), so that the comparison and the change are one act.
set -eu
umask 077
# A decimal point is a point, and error messages are the same everywhere.
export LC_ALL=C
verb=$1 dir=$2 nonce=$3
lock=$dir/lock.json step=$dir/lock.step aside=$dir/.lock.$nonce

take_turn() {
    exec 9<"$dir"
    lock_within 20 9 || { echo "another program uses $dir for too long" >&2; exit 75; }
}

absent() { [ ! -e "$lock" ] && [ ! -L "$lock" ]; }
regular() { [ -f "$lock" ] && [ ! -L "$lock" ]; }
holds() { regular && grep -qF -- "\"nonce\":\"$1\"" "$lock"; }

# To the millisecond; where `stat` or `date` cannot, to the second.
# A time stamp in the future means that this host's clock was set back: the lease starts again.
look_at_age() {
    renewed=$(stat -c %.3Y -- "$lock") asked=$(date +%s.%3N)
    case $renewed:$asked in
    *[0-9].[0-9][0-9][0-9]:*[0-9].[0-9][0-9][0-9])
        age=$((${asked%.*}${asked#*.} - ${renewed%.*}${renewed#*.}))
        ;;
    *) age=$((($(date +%s) - $(stat -c %Y -- "$lock")) * 1000)) ;;
    esac
    if [ "$age" -lt 0 ]; then
        touch -c -- "$lock"
        age=0
    fi
}

tell() {
    if absent; then
        echo "$1 free"
    elif ! regular; then
        echo "$1 odd"
    else
        look_at_age
        echo "$1 there $age $(stat -c %i-%Y-%s -- "$lock")"
        if [ -f "$step" ]; then head -n 1 -- "$step"; else echo; fi
        head -c 70000 -- "$lock"
    fi
}

receive_record() {
    trap 'rm -f -- "$aside"' EXIT
    cat >"$aside"
    if [ "$(wc -c <"$aside")" -ne "$1" ]; then
        echo "the record did not arrive whole" >&2
        exit 65
    fi
    sync -- "$aside"
}

acquire() {
    old=$1 least=$2
    mkdir -p -- "$dir"
    receive_record "$3"
    take_turn
    if absent; then
        rm -f -- "$step"
        ln -T -- "$aside" "$lock"
        touch -c -- "$lock"
        # What a killed predecessor left aside.
        find "$dir" -maxdepth 1 -name '.lock.*' -mmin +60 -exec rm -f -- {} +
        echo taken
    elif holds "$nonce"; then
        echo taken
    elif [ -n "$old" ] && holds "$old" && look_at_age && [ "$age" -gt "$least" ]; then
        rm -f -- "$step"
        touch -c -- "$aside"
        mv -T -- "$aside" "$lock"
        echo taken
    else
        tell held
    fi
}

# Whether a record could be written: a file system that is read-only, without room or without inodes says so only then.
try_to_write() {
    place=$dir
    while [ ! -e "$place" ]; do
        case $place in
        /*/*) place=${place%/*} ;;
        /*) place=/ ;;
        */*) place=${place%/*} ;;
        *) place=. ;;
        esac
    done
    place=$(cd -- "$place" && pwd) || exit 73
    tried=$(mktemp -- "$place/.lock.XXXXXX" 2>&1) || {
        echo "$place: ${tried##*: } (owner $(stat -c %U -- "$place"), mode $(stat -c %a -- "$place"))" >&2
        exit 73
    }
    if head -c 4096 /dev/zero >"$tried"; then rm -f -- "$tried"; else rm -f -- "$tried" && exit 73; fi
}

if [ "$verb" = acquire ]; then
    acquire "$4" "$5" "$6"
    exit 0
fi
[ "$verb:$4" != show:take ] || try_to_write
if [ ! -d "$dir" ]; then
    echo "lost free"
    exit 0
fi
take_turn
case $verb in
renew)
    if holds "$nonce"; then
        touch -c -- "$lock"
        # The step is news for people: no room for it is no reason to lose the lock.
        if [ -n "$4" ]; then printf '%s\n' "$4" >"$step" || :; fi
        echo renewed
    else
        tell lost
    fi
    ;;
release)
    if holds "$nonce"; then
        rm -f -- "$lock" "$step"
        echo released
    else
        tell lost
    fi
    ;;
discard)
    if regular && [ "$(stat -c %i-%Y-%s -- "$lock")" = "$4" ]; then
        rm -f -- "$lock" "$step"
        echo released
    else
        tell lost
    fi
    ;;
show) tell shown ;;
esac
