# Gives the backup its name.
set -eu
umask 077
cd -- "$1"
[ ! -e "$2" ] || { echo "$2 is there already" >&2; exit 1; }
cat > "$2.manifest.json.partial"
sync -- "$2.manifest.json.partial"
mv -T -- "$2.manifest.json.partial" "$2.manifest.json"
mv -T -- "$2.partial" "$2"
sync -- .
