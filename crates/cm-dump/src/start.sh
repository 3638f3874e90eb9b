set -eu
trap '' PIPE
trap 'exit 1' HUP INT TERM
umask 077
export LC_ALL=C
