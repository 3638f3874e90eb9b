# $1 the directory, $2 the backup's name, $3 how many words of the pipeline that keeps it follow; what comes then is the
# pipeline that reads it. What became of it is said, and left alongside the backup.
cd -- "$1"
name=$2
shift 2
exec 7< "$name" 9> "$name.copy.partial"
trap 'rm -rf "$work"; rm -f -- "$name.copy.partial"' EXIT
if command -v flock > /dev/null; then
  flock -s -n 7
  flock -n 9
fi
end() {
  printf '%s\n' "$@" > "$work/state"
  cat "$work/state" >&9
  mv -T -- "$name.copy.partial" "$name.copy"
  trap 'rm -rf "$work"' EXIT
  cat "$work/state"
  exit 0
}
failed() { end 'state failed' "why $1: $(tail -n 3 "$work/said" | tr '\n' ' ' | tr -cd '[:print:]' | cut -c 1-500)"; }
mkfifo "$work/passing"
sha256sum < "$work/passing" > "$work/sent" 7<&- 9>&- &
sum=$!
last() { { tee "$work/passing" || echo "$?" >> "$work/failed"; } | "$@"; }
# Where no program can be started, nobody else would write to who hashes.
exec 8<> "$work/passing"
kept=0 total=$1
shift
{ cat -- "$name" || echo "$?" >> "$work/failed"; } 7<&- 8>&- 9>&- |
  first "$((total + 1))" pipeline "$@" 2> "$work/said" > /dev/null 7<&- 8>&- 9>&- || kept=$?
exec 8>&-
wait "$sum"
if [ "$kept" != 0 ] || [ -e "$work/failed" ]; then failed 'it was not kept'; fi
sent=$(cut -d ' ' -f 1 < "$work/sent")
shift "$total"
[ $# -gt 0 ] || end 'state done' "sha256 $sent"
last() { "$@"; }
{ pipeline "$@" 2> "$work/said" || echo "$?" >> "$work/failed"; } < /dev/null 7<&- 9>&- | sha256sum > "$work/read"
[ ! -e "$work/failed" ] || failed 'it cannot be read back'
[ "$(cut -d ' ' -f 1 < "$work/read")" = "$sent" ] || failed 'what was read back is not what was sent'
end 'state done' "sha256 $sent" 'read_back yes'
