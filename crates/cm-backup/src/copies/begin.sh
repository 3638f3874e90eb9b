# $1 the script that copies, then its arguments: it goes on when this has ended.
set -eu
script=$1
shift
detached=
if command -v setsid > /dev/null; then detached=setsid; fi
$detached sh -c "$script" sh "$@" < /dev/null > /dev/null 2>&1 &
