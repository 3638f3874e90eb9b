command -v -- "$2" > /dev/null || { echo "there is no program $2" >&2; exit 1; }
printf '{"database": "%s"}\n' "$1"
