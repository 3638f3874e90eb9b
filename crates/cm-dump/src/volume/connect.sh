# $1 the project's name as Compose knows it, $2 the volume's name in the compose file, $3 `stop` where the containers that
# use it are stopped meanwhile. The first line of stdin would be a password.
IFS= read -r _ || true
project=$1 volume=$2 stop=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
real=$(docker volume ls --quiet --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.volume=$volume" | head -n 1)
# One that Compose did not make has the name that it has.
[ -n "$real" ] || real=$(docker volume ls --quiet --filter "name=^$volume\$")
# Tar and a shell are those of whoever uses the volume: nothing is downloaded.
user=$(docker ps --all --quiet --filter "volume=$real" | head -n 1)
if [ -n "$real" ] && [ -z "$user" ]; then echo "no container uses the volume $real, so that none has a tar for it" >&2; exit 1; fi
# Runs the script $2 on the volume $1, apart from everybody.
inside() {
  of=$1 script=$2
  shift 2
  docker run --rm -i --network none --user 0:0 --entrypoint sh --volume "$of:/cm-volume" \
    "$(docker inspect --format '{{.Image}}' "$user")" -euc "cd /cm-volume; $script" sh "$@" 8>&- 9>&-
}
# Who runs is stopped, and started again whenever this script ends, however that is.
halt() {
  running=$(docker ps --quiet --no-trunc --filter "volume=$real")
  [ -n "$running" ] || return 0
  mkfifo "$work/halted"
  detached=
  if command -v setsid > /dev/null; then detached=setsid; fi
  # shellcheck disable=SC2086 # ids
  $detached sh -c 'trap "" HUP INT TERM; read -r _ < "$1" || true; shift; docker start "$@"' sh "$work/halted" $running > /dev/null 2>&1 &
  starts=$!
  exec 9> "$work/halted"
  # shellcheck disable=SC2086
  docker stop $running > /dev/null 9>&-
}
resume() {
  [ -n "${starts:-}" ] || return 0
  exec 9>&-
  wait "$starts"
  starts=
}
count='find . ! -type s ! -path "./.cm_scratch_*" | wc -l'
