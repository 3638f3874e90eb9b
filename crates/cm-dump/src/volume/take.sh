# $1 the directory that was filled, $2 the one that keeps the old files for as long as it takes.
halt
inside "$real" "$recover"'new=.$1 old=.$2
[ -d "$new" ] || { echo "what was loaded is gone" >&2; exit 1; }
mkdir "$old"
all . "$old"
: > "$old.moved"
all "$new" .
chown "$(stat -c %u:%g "$new")" .
chmod "$(stat -c %a "$new")" .
rm -rf -- "$old" "$new"
rm -f -- "$old.moved"
echo taken' "$1" "$2" < /dev/null
resume
