# $1 the name of the volume, or the tag of the directory in the real one, that the files go to, $2 `keep` where they stay.
# stdin goes on with the archive.
unpack='mkdir -p "$1"; cd -- "$1"; tar --numeric-owner -xpf - >&2; printf "{\"table\": \"files\", \"rows\": %d}\n" "$(find . ! -type s | wc -l)"'
if [ "${2:-}" = keep ]; then
  if [ -n "$(inside "$real" 'ls -d .cm_old_* 2> /dev/null || true' < /dev/null)" ]; then
    halt
    inside "$real" "$recover" < /dev/null
    resume
  fi
  inside "$real" 'rm -rf .cm_scratch_*' < /dev/null
  inside "$real" "$unpack" ".$1"
else
  docker volume create --label "cm.helper=$project" --label "cm.by=$by" "$1" > /dev/null
  scratch=$1
  inside "$1" "$unpack" .
fi
