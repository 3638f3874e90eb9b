# Removes an old backup.
set -eu
cd -- "$1"
[ -f "$2" ] && [ ! -L "$2" ] || exit 0
if command -v flock > /dev/null; then exec 9< "$2"; flock -n 9 || exit 45; fi
rm -f -- "$2"
[ "$3" = noted ] || rm -f -- "$2.manifest.json" "$2.copy"
sync -- .
