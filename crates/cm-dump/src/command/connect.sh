# $1 the directory on the host, empty in a container; then the program and its arguments. The first line of stdin would
# be a password, which it does not get.
IFS= read -r _ || true
directory=$1
shift
if [ -n "$directory" ]; then cd -- "$directory"; fi
