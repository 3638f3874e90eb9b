# A pipeline is, for each program, the number of its words and those. `first` runs the first so many words of the rest.
first() {
  many=$1
  shift
  all=$# turned=0
  while [ "$turned" -lt "$many" ]; do
    set -- "$@" "$1"
    shift
    turned=$((turned + 1))
  done
  shift $((all - many))
  "$@"
}
# What `last` does with the last program is for each script to say. Who fails leaves a file.
pipeline() {
  words=$1
  shift
  if [ $# -gt "$words" ]; then
    { first "$words" "$@" || echo "$?" >> "$work/failed"; } | { shift "$words" && pipeline "$@"; }
  else
    last "$@"
  fi
}
set -eu
trap 'exit 1' HUP INT TERM
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
