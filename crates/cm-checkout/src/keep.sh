# Copies files of a checkout, named on stdin one a line, to the snapshots.
# Arguments: CHECKOUT SNAPSHOTS RELEASE
set -eu
home=$(pwd)
case $2 in
/*) snapshots=$2 ;;
*) snapshots=$home/$2 ;;
esac
cd -- "$1"
umask 077
while IFS= read -r file; do
    [ -f "$file" ] || continue
    mkdir -p -- "$snapshots/$3/$(dirname -- "$file")"
    cp -p -- "$file" "$snapshots/$3/$file"
done
