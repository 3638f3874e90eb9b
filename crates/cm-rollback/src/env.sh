# Puts a kept env file in the place of the one that is there.
# Arguments: CHECKOUT FILE SNAPSHOT
set -eu
home=$(pwd)
case $3 in
/*) kept=$3 ;;
*) kept=$home/$3 ;;
esac
cd -- "$1"
[ -f "$kept" ] || exit 44
if cmp -s -- "$kept" "$2"; then
    echo same
    exit 0
fi
aside="$2.$$.partial"
trap 'rm -f -- "$aside"' EXIT
cp -p -- "$kept" "$aside"
sync -- "$aside"
mv -T -- "$aside" "$2"
sync -- "$(dirname -- "$2")"
echo replaced
