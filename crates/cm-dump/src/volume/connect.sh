# $1 the project's name as Compose knows it, $2 the volume's name in the compose file, $3 `stop` where the containers that
# use it are stopped meanwhile, $4 the directory that lists who is stopped. The first line of stdin would be a password.
IFS= read -r _ || true
project=$1 volume=$2 stop=$3 stopped=$4
shift 4
work=$(mktemp -d)
# Containers and volumes of this script say whose they are: when it has died, the next run removes them.
birth() { sed 's/.*) //' "/proc/$1/stat" 2> /dev/null | cut -d ' ' -f 20; }
by=$(id -u).$$.$(birth $$)
end() {
  if [ -e "$work/helping" ]; then docker ps --all --quiet --filter "label=cm.by=$by" | xargs -r docker rm --force > /dev/null 2>&1 || true; fi
  [ -z "${scratch:-}" ] || docker volume rm "$scratch" > /dev/null || true
  rm -rf "$work"
}
trap end EXIT
real=$(docker volume ls --quiet --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.volume=$volume" | head -n 1)
# One that Compose did not make has the name that it has.
[ -n "$real" ] || real=$(docker volume ls --quiet --filter "name=^$volume\$")
# Who uses it, apart from runs of this script.
users() { docker ps --no-trunc "$@" --filter "volume=$real" --format '{{.ID}} {{.Label "cm.helper"}}' | sed -n 's/^\([0-9a-f]*\) *$/\1/p'; }
# Tar and a shell are those of whoever uses the volume: nothing is downloaded.
user=$(users --all | head -n 1)
if [ -n "$real" ] && [ -z "$user" ]; then echo "no container uses the volume $real, so that none has a tar for it" >&2; exit 1; fi
# Runs the script $2 on the volume $1, apart from everybody. What it writes is not kept as a log: it may be all of the volume.
inside() {
  of=$1 script=$2
  shift 2
  : > "$work/helping"
  docker run --rm -i --label "cm.helper=$project" --label "cm.by=$by" --log-driver none --network none --user 0:0 \
    --entrypoint sh --volume "$of:/cm-volume" "$(docker inspect --format '{{.Image}}' "$user")" \
    -euc "cd /cm-volume; $script" sh "$@" 7>&- 8>&- 9>&- || return
  rm -f "$work/helping"
}
# Who runs is stopped, and started again whenever this script ends, however that is: who waits for its end does it. Where
# that one is killed, too, or the power goes, whoever comes next finds the list of them, which nobody has locked any more.
halt() {
  running=$(users)
  [ -n "$running" ] || return 0
  mkdir -p -- "$stopped"
  list=$stopped/$volume
  exec 7>> "$list"
  if command -v flock > /dev/null && ! { flock -n 7 && [ -e "$list" ]; }; then
    echo "another run has stopped the containers that use $volume" >&2
    exit 1
  fi
  printf '%s\n' "$running" >&7
  sync -- "$list" "$stopped"
  mkfifo "$work/halted"
  detached=
  if command -v setsid > /dev/null; then detached=setsid; fi
  # shellcheck disable=SC2086 # ids
  $detached sh -c 'trap "" HUP INT TERM; read -r _ < "$1" || true; list=$2; shift 2; docker start "$@" && rm -f -- "$list"' \
    sh "$work/halted" "$list" $running > /dev/null 2>&1 &
  starts=$!
  exec 9> "$work/halted"
  # Its end counts, too: a start while the engine is still stopping somebody changes nothing.
  # shellcheck disable=SC2086
  docker stop $running > /dev/null 7>&-
}
resume() {
  [ -n "${starts:-}" ] || return 0
  exec 7>&- 9>&-
  if ! wait "$starts"; then echo "who was stopped does not start again: docker start $(echo $running)" >&2; exit 1; fi
  starts=
}
count='find . ! -type s ! -path "./.cm_scratch_*" | wc -l'
