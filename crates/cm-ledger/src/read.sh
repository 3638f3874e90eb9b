# Reads a ledger: the whole of a short one; of a long one its end, and of what comes before it the last lines
# that name each service or job, and the last of them that did well; fewer of each where releases are so large that
# they would come to more than anybody takes. Those are kept in FILE.index, so that a long
# ledger is not gone through each time. It is a copy: one that is missing, or of another ledger, is made again.
# Arguments: FILE BYTES LINES. Exit status 44: there is none; 45: this is not all of it.
longest=524288 # bytes of a line that can be a record
most=10485760 # bytes of what comes before the end: an answer may have 16 MiB
fresh=32768 # what may have been added to the ledger since its index was made, in bytes; at most BYTES
if [ ! -e "$1" ] && [ ! -L "$1" ]; then exit 44; fi
[ -f "$1" ] || {
    echo "$1 is not a file" >&2
    exit 74
}
size=$(stat -L -c %s -- "$1") || exit 74
if [ "$size" -le "$2" ]; then exec cat -- "$1"; fi
file=$1 index=$1.index
before=$((size - $2))

rows() { # FILE OFFSET LINES - of what is before OFFSET: where each line begins, and it; by the beginning of its run
    head -c "$2" -- "$1" | LC_ALL=C awk -v lines="$3" -v longest="$longest" -v most="$most" '
        function keep(list, name,    place) {
            if (!((list, name) in seen) && ++names > 2000) return
            place = ++seen[list, name] % lines
            text[start] = $0
            if ((list, name, place) in was && !--uses[was[list, name, place]]) delete text[was[list, name, place]]
            was[list, name, place] = start
            uses[start]++
        }
        function choose(few,    key, n, at, bytes) { # the last few lines of each; how many bytes those are
            split("", wanted)
            for (key in seen)
                for (n = seen[key]; n > 0 && n > seen[key] - few; n--) {
                    at = was[key, n % lines]
                    if (!(at in wanted)) bytes += length(text[at])
                    wanted[at] = 1
                }
            return bytes + 0
        }
        { start = next_start; next_start += length($0) + 1 }
        length($0) > longest { next }
        match($0, /"id":"[^"]*"/) {
            id = substr($0, RSTART, RLENGTH)
            if (!(id in began)) began[id] = start
            run[start] = began[id]
        }
        {
            well = match($0, /"verdict":"(verified|healthy|rolled_back)"/)
            count = split($0, parts, /":\{"commit":/)
            for (part = 1; part < count; part++)
                if (match(parts[part], /"[A-Za-z0-9._-]+$/)) {
                    keep("any", substr(parts[part], RSTART))
                    if (well) keep("well", substr(parts[part], RSTART))
                }
            if (!(start in text)) delete run[start]
        }
        END {
            for (few = lines; choose(few) > most && few > 1; few = int(few / 2)) { }
            for (start in wanted) printf "%.0f %.0f %s\n", run[start], start, text[start]
        }' |
        LC_ALL=C sort -n -k 1,1 -k 2,2 | cut -d ' ' -f 2-
}

# Of the index: what comes before the end; and the end as it is. The index is of this ledger if the last line that it
# knows is where it says. One process reads both: each more would cost as much as the reading.
answer() {
    [ -f "$index" ] && [ ! -L "$index" ] && IFS=' ' read -r schema upto _ <"$index" && [ "$schema" = cm-ledger-index/3 ] || return 1
    case $upto in '' | *[!0-9]* | ???????????????*) return 1 ;; esac
    [ "$upto" -le "$size" ] && [ $((size - upto)) -le "$fresh" ] || return 1
    tail -c +"$before" -- "$file" | LC_ALL=C awk -v before="$before" -v upto="$upto" '
        BEGIN { at = before - 1 }
        FNR != NR {
            at += length($0) + 1
            if (at == upto && $0 == known && known != "") is_of_this = 1
            end[++lines] = $0
            next
        }
        FNR == 2 { known = $0 }
        FNR > 2 { rows[++count] = $0 }
        END {
            if (!is_of_this || rows[count] != "end") exit 1
            for (n = 1; n < count; n++) {
                gap = index(rows[n], " ")
                if (substr(rows[n], 1, gap - 1) + 0 < before) print substr(rows[n], gap + 1)
            }
            for (n = 2; n <= lines; n++) print end[n] # the first one was cut
            exit 45
        }' "$index" -
}

last_line() { # OFFSET - the one that ends there
    tail -c +"$(($1 > longest ? $1 - longest + 1 : 1))" -- "$file" | head -c "$(($1 > longest ? longest : $1))" | tail -n 1
}

answer || [ $? -ne 45 ] || exit 45
# Where somebody is writing a line just now, it is not in the index, and none of it is lost.
if [ -z "$(tail -c +"$size" -- "$file" | head -c 1)" ] && made=$(umask 077 && mktemp "$index.XXXXXX" 2>/dev/null); then
    trap 'rm -f -- "$made"' EXIT
    { printf 'cm-ledger-index/3 %s\n' "$size" && last_line "$size" && rows "$file" "$size" "$3" && echo end; } >"$made" 2>/dev/null &&
        mv -T -- "$made" "$index" && { answer || [ $? -ne 45 ] || exit 45; }
fi
# As from an index: a line that the end cuts is whole here.
rows "$file" "$size" "$3" | LC_ALL=C awk -v before="$before" '{
    gap = index($0, " ")
    if (substr($0, 1, gap - 1) + 0 < before) print substr($0, gap + 1)
}'
tail -c +"$before" -- "$file" | sed 1d
exit 45
