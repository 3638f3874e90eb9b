last() { "$@"; }
pipeline "$@" < /dev/null
[ ! -e "$work/failed" ]
