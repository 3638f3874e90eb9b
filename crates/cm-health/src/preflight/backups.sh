# Looks for the programs that backups need, and for who was stopped by one and not started again. One fact a line. Reads only.
# Arguments: the directory that lists who is stopped, the compose project, how many directories of backups follow, and
# those; then for each program: its number, the service in whose container it has to be, or `volume:NAME` for who uses
# a volume, or nothing for the host; and how many names follow. `no_place` is defined before.
stopped=$1 project=$2 directories=$3
shift 3
while [ "$directories" -gt 0 ]; do
    why=$(no_place "$1")
    [ -z "$why" ] || printf 'no-directory=%s\n' "$why"
    shift
    directories=$((directories - 1))
done
for list in "$stopped"/*; do
    [ -f "$list" ] || continue
    if command -v flock >/dev/null && ! flock -n "$list" true; then continue; fi
    while IFS= read -r id; do
        docker ps --all --no-trunc --filter "id=$id" --filter status=exited --filter status=created --format 'stopped={{.Names}}'
    done <"$list"
done
# Where there is none yet, nothing is missing.
container() {
    case $1 in
    volume:*)
        for name in "${project}_${1#volume:}" "${1#volume:}"; do
            docker ps --quiet --filter "volume=$name"
        done
        ;;
    *) docker ps --quiet --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1" ;;
    esac | head -n 1
}
while [ $# -gt 0 ]; do
    number=$1 place=$2 names=$3
    shift 3
    inside= found=
    [ -z "$place" ] || inside=$(container "$place")
    [ -z "$place" ] || [ -n "$inside" ] || found=unknown
    while [ "$names" -gt 0 ]; do
        if [ -n "$found" ]; then
            :
        elif [ -z "$place" ]; then
            ! command -v -- "$1" >/dev/null || found=yes
        elif docker exec "$inside" sh -c 'command -v -- "$1" >/dev/null' sh "$1" >/dev/null 2>&1 </dev/null; then
            found=yes
        fi
        shift
        names=$((names - 1))
    done
    [ -n "$found" ] || printf 'missing=%s\n' "$number"
done
exit 0
