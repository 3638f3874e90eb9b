command -v -- "$1" > /dev/null || { echo "there is no program $1" >&2; exit 1; }
echo '{}'
