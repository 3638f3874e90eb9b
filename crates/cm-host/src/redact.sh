# Hides the values of env files and of containers' environments in what a command says.
# Arguments: MODE AWK-PROGRAM COUNT SOURCE... COMMAND...
# MODE is `all`, or `errors` for a command whose stdout a program reads. A SOURCE is `plain:FILE`, whose
# words are no secrets, then `env:FILE` or `container:NAME`.
mode=$1 program=$2 count=$3
shift 3
command -v awk >/dev/null || { echo "awk is not installed here: nothing can be shown without secrets" >&2; exit 69; }

# The environment of a container, or of a task or a service of a Swarm, and the files that are mounted as its secrets.
container() {
    printf 'container\n'
    docker inspect --type container --format '{{range .Config.Env}}{{println .}}{{end}}' -- "$1" 2>/dev/null ||
        docker inspect --type task --format '{{range .Spec.ContainerSpec.Env}}{{println .}}{{end}}' -- "$1" 2>/dev/null ||
        docker service inspect --format '{{range .Spec.TaskTemplate.ContainerSpec.Env}}{{println .}}{{end}}' -- "$1" 2>/dev/null
    printf '\n\001\n'
    docker inspect --type container --format '{{range .Mounts}}{{println .Destination .Source}}{{end}}' -- "$1" 2>/dev/null |
        while read -r inside outside; do
            case $inside in
            /run/secrets/*) printf 'file\n' && head -c 65536 -- "$outside" 2>/dev/null && printf '\n\001\n' ;;
            esac
        done
}

# The values are in no argument list: `printf` is the shell's own.
values=$(
    while [ "$count" -gt 0 ]; do
        name=${1#*:}
        case $1 in
        plain:*) [ -f "$name" ] && printf 'plain\n' && head -c 1048576 -- "$name" ;;
        env:*) [ -f "$name" ] && printf 'env\n' && head -c 1048576 -- "$name" ;;
        container:*) container "$name" ;;
        esac 2>/dev/null
        printf '\n\001\n'
        shift
        count=$((count - 1))
    done
)
while [ "$count" -gt 0 ]; do
    shift
    count=$((count - 1))
done

# mawk waits for 4 KB unless it is told that somebody watches.
case $(awk -W version 2>&1 </dev/null) in
mawk*) hide() { { printf '%s\n\002\n' "$values"; cat; } | LC_ALL=C awk -W interactive "$program"; } ;;
*) hide() { { printf '%s\n\002\n' "$values"; cat; } | LC_ALL=C awk "$program"; } ;;
esac
case $mode in
errors) show() { cat; } ;;
*) show() { hide; } ;;
esac

exec 7>&1 8>&2
status=$(
    exec 9>&1
    {
        { "$@" 6>&- 7>&- 8>&- 9>&-; echo "$?" >&9; } 2>&1 >&6 6>&- 7>&- | hide >&8 6>&- 7>&- 9>&-
    } 6>&1 | show >&7 8>&- 9>&-
)
exit "${status:-70}"
