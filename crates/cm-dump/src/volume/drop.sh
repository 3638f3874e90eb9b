# $1 the directory that was filled.
inside "$real" 'rm -rf -- ".$1"' "$1" < /dev/null
