# $4 the directory that was filled.
inside "$real" 'rm -rf -- ".$1"' "$4" < /dev/null
