# $1 the directory, $2 the backup's name. stdin is its manifest.
set -eu
umask 077
cd -- "$1"
cat > "$2.manifest.json.partial"
sync -- "$2.manifest.json.partial"
mv -T -- "$2.manifest.json.partial" "$2.manifest.json"
