# Reads a ledger: the whole of a short one; of a long one its end, and of what comes before it the last lines
# that name each service or job, and the last of them that did well. Those are kept in FILE.index, so that a long
# ledger is not gone through each time. It is a copy: one that is missing, or of another ledger, is made again.
# Arguments: FILE BYTES LINES. Exit status 44: there is none; 45: this is not all of it.
fresh=32768 # what may have been added to the ledger since its index was made, in bytes; at most BYTES
if [ ! -e "$1" ] && [ ! -L "$1" ]; then exit 44; fi
[ -f "$1" ] || {
    echo "$1 is not a file" >&2
    exit 74
}
size=$(stat -L -c %s -- "$1") || exit 74
if [ "$size" -le "$2" ]; then exec cat -- "$1"; fi
index=$1.index

mark() { # FILE OFFSET - the first line of its index: which ledger it is of, and how much of it
    sum=$(tail -c +"$(($2 > 1024 ? $2 - 1023 : 1))" -- "$1" | head -c "$(($2 > 1024 ? 1024 : $2))" | sha256sum)
    printf 'cm-ledger-index/1 %s %s\n' "$2" "${sum%% *}"
}

rows() { # FILE OFFSET LINES - of what is before OFFSET: where each line begins, and it; by the beginning of its run
    head -c "$2" -- "$1" | LC_ALL=C awk -v lines="$3" '
        function keep(list, name,    place) {
            if (!((list, name) in seen) && ++names > 2000) return
            place = ++seen[list, name] % lines
            at[list, name, place] = start
            text[start] = $0
            if ((list, name, place) in was && !--uses[was[list, name, place]]) delete text[was[list, name, place]]
            was[list, name, place] = start
            uses[start]++
        }
        { start = next_start; next_start += length($0) + 1 }
        length($0) > 65536 { next }
        match($0, /"id":"[^"]*"/) {
            id = substr($0, RSTART, RLENGTH)
            if (!(id in began)) began[id] = start
            run[start] = began[id]
        }
        {
            well = match($0, /"verdict":"(verified|healthy|rolled_back)"/)
            rest = $0
            while (match(rest, /"[A-Za-z0-9._-]+":\{"commit":/)) {
                name = substr(rest, RSTART, RLENGTH)
                rest = substr(rest, RSTART + RLENGTH)
                keep("any", name)
                if (well) keep("well", name)
            }
            if (!(start in text)) delete run[start]
        }
        END { for (start in text) printf "%.0f %.0f %s\n", run[start], start, text[start] }' |
        LC_ALL=C sort -n -k 1,1 -k 2,2 | cut -d ' ' -f 2-
}

known() { # OFFSET - whether the index is of this ledger, and of nearly all of it
    [ -f "$index" ] && [ ! -L "$index" ] || return 1
    IFS=' ' read -r _ upto _ <"$index" || return 1
    case $upto in '' | *[!0-9]* | ???????????????*) return 1 ;; esac
    [ "$upto" -le "$1" ] && [ $(($1 - upto)) -le "$fresh" ] && [ "$(tail -n 1 "$index")" = end ] &&
        [ "$(head -n 1 "$index")" = "$(mark "$file" "$upto")" ]
}

file=$1
before=$((size - $2))
show() { # the rows of what comes before the end that is shown as it is
    LC_ALL=C awk -v before="$before" '$1 != "end" && $1 < before { print substr($0, length($1) + 2) }'
}
if ! known "$size"; then
    # Where somebody is writing a line just now, it is not in the index, and none of it is lost.
    whole=$size
    [ -z "$(tail -c +"$size" -- "$file" | head -c 1)" ] || whole=0
    if [ "$whole" -gt 0 ] && made=$(umask 077 && mktemp "$index.XXXXXX" 2>/dev/null); then
        trap 'rm -f -- "$made"' EXIT
        { mark "$file" "$whole" && rows "$file" "$whole" "$3" && echo end; } >"$made" 2>/dev/null && mv -T -- "$made" "$index" || whole=0
    else
        whole=0
    fi
    if [ "$whole" -eq 0 ]; then
        rows "$file" "$before" "$3" | show
        tail -c +"$before" -- "$file" | sed 1d
        exit 45
    fi
fi
sed 1d -- "$index" | show
tail -c +"$before" -- "$file" | sed 1d
exit 45
