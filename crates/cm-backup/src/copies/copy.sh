# $1 the directory, $2 the backup's name, $3 how many bytes a second may be read of it, 0 for all, $4 and $5 how many words of
# the pipelines that keep it and read it follow; what comes then is the one that removes it. How far it is is said; what
# became of it, too, and is left alongside the backup.
cd -- "$1"
name=$2 rate=$3 total=$4 reading=$5
shift 5
exec 7< "$name" 9> "$name.copy.partial"
trap 'rm -rf "$work"; rm -f -- "$name.copy.partial"' EXIT
if command -v flock > /dev/null; then
  flock -s -n 7
  flock -n 9
fi
# So many bytes a second at most.
paced() {
  if [ "$rate" = 0 ]; then
    cat
    return
  fi
  block=65536
  if [ "$rate" -lt "$block" ]; then block=$rate; fi
  while :; do
    sleep 1 > /dev/null 2>&1 &
    second=$!
    LC_ALL=C dd bs="$block" count=$((rate / block)) 2> "$work/passed" || return 1
    case $(cat "$work/passed") in '0+0 records in'*) return 0 ;; esac
    wait "$second"
  done
}
# How much of it was read so far, for who waits and for who lists backups: all who read it share one place in it.
progress() {
  while sleep 1 > /dev/null 2>&1 && [ -e "$work/telling" ]; do
    at=$(sed -n 's/^pos:[[:space:]]*/at /p' "/proc/$$/fdinfo/7" 2> /dev/null) || return 0
    printf '%s\n' "$at" > "$name.copy.partial"
    printf '%s\n' "$at"
  done
}
end() {
  # A signal may come before it can be taken.
  rm -f "$work/telling"
  kill "$telling" 2> /dev/null || true
  wait "$telling" 2> /dev/null || true
  : > "$name.copy.partial"
  printf '%s\n' "$@" > "$work/state"
  cat "$work/state" >&9
  mv -T -- "$name.copy.partial" "$name.copy"
  trap 'rm -rf "$work"' EXIT
  cat "$work/state"
  exit 0
}
# What has arrived of it would look like a copy.
failed() {
  why="$1: $(tail -n 3 "$work/said" | tr '\n' ' ' | tr -cd '[:print:]' | cut -c 1-500)"
  shift "$((1 + total + reading))"
  if [ $# -gt 0 ]; then
    rm -f "$work/failed"
    last() { "$@"; }
    pipeline "$@" < /dev/null > /dev/null 2>&1 7<&- 9>&- || : > "$work/failed"
    [ ! -e "$work/failed" ] || why="$why; what has arrived of it may still be there"
  fi
  end 'state failed' "why $why"
}
: > "$work/telling"
progress 7<&- 9>&- &
telling=$!
mkfifo "$work/passing"
sha256sum < "$work/passing" > "$work/sent" 7<&- 9>&- &
sum=$!
last() { { tee "$work/passing" || echo "$?" >> "$work/failed"; } | "$@"; }
# Where no program can be started, nobody else would write to who hashes.
exec 8<> "$work/passing"
kept=0
{ paced <&7 || echo "$?" >> "$work/failed"; } 8>&- 9>&- |
  first "$((total + 1))" pipeline "$@" 2> "$work/said" > /dev/null 7<&- 8>&- 9>&- || kept=$?
exec 8>&-
wait "$sum"
if [ "$kept" != 0 ] || [ -e "$work/failed" ]; then failed 'it was not kept' "$@"; fi
sent=$(cut -d ' ' -f 1 < "$work/sent")
[ "$reading" -gt 0 ] || end 'state done' "sha256 $sent"
last() { "$@"; }
read_back() {
  shift "$total"
  first "$((reading + 1))" pipeline "$@"
}
{ read_back "$@" 2> "$work/said" || echo "$?" >> "$work/failed"; } < /dev/null 7<&- 9>&- | sha256sum > "$work/read"
[ ! -e "$work/failed" ] || failed 'it cannot be read back' "$@"
[ "$(cut -d ' ' -f 1 < "$work/read")" = "$sent" ] || failed 'what was read back is not what was sent' "$@"
end 'state done' "sha256 $sent" 'read_back yes'
