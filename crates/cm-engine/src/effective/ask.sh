# Asks Compose what the project is.
# $1 checkout, $2 the project's directory in it, $3 how many versions, $4 the limit in seconds, $5 the
# format of containers, $6 and $7 the script and the awk program that hide values, $8 where these are, one a
# line, the rest: Compose's options. Stdin: a tar of what the versions' files are, by
# number, and `gone.N`, the files that a version does not have. Version 0 is the one that is to run.
set -u
umask 077
newline='
'
LC_ALL=C
export LC_ALL
checkout=$1 prefix=$2 versions=$3 limit=$4 format=$5 hide=$6 hiding=$7 sources=$8
shift 8
top=$(cd -- "$checkout" 2>/dev/null && pwd -P) || {
    echo 'cm nothing'
    exit 0
}
work=$(mktemp -d "${TMPDIR:-/tmp}/cm-compose.XXXXXXXXXX") && work=$(cd -- "$work" && pwd -P) || exit 1
pids=
# shellcheck disable=SC2086 # one word a process
trap '[ -z "$pids" ] || kill $pids 2>/dev/null; rm -rf -- "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM
# What a killed one left: files of commits and links.
for other in "${work%/*}"/cm-compose.*; do
    [ "$other" = "$work" ] && continue
    find "${work%/*}" -maxdepth 1 -name 'cm-compose.*' -user "$(id -u)" -mmin +60 -exec rm -rf -- {} + 2>/dev/null
    break
done
base64 -d | tar -xzf - -C "$work" || exit 1

# The program that `docker compose` starts. Docker's own command line takes as long again to look for it as it takes to
# answer: it asks every plugin for its name first. Only for that command line itself, and where its settings name no other place.
plugin() {
    command=$(command -v docker) || return 1
    case $(head -c 4 "$command" 2>/dev/null) in *ELF) ;; *) return 1 ;; esac
    settings=${DOCKER_CONFIG:-${HOME:-}/.docker}
    ! grep -qs cliPluginsExtraDirs "$settings/config.json" || return 1
    for directory in "$settings" /usr/local/lib/docker /usr/local/libexec/docker /usr/lib/docker /usr/libexec/docker; do
        directory=$directory/cli-plugins
        [ ! -e "$directory/docker-compose" ] || break
    done
    [ -x "$directory/docker-compose" ] && printf '%s\n' "$directory/docker-compose"
}
if docker=$(plugin); then
    # By this a plugin knows who started it.
    DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND=docker
    export DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND
else
    docker=docker
fi

compose() {
    if command -v timeout >/dev/null 2>&1; then set -- timeout "$limit" "$docker" compose "$@"; else set -- "$docker" compose "$@"; fi
    code=0
    "$@" || code=$?
    # What Busybox says of a time that is over.
    [ "$code" -ne 143 ] || code=124
    return "$code"
}

# Each version's files, and around them everything else of this machine under the same paths, as links:
# what Compose says of paths is true once the directory in front is taken away.
lay_out() {
    number=0
    while [ "$number" -lt "$versions" ]; do
        mkdir -p -- "$work/root$number${top%/*}" && mv -- "$work/$number" "$work/root$number$top" || return 1
        number=$((number + 1))
    done
    find "$work"/root* -type d -exec sh -c '
        root=$1/root
        shift
        for dir do
            real=${dir#"$root"}
            case $real in */*) real=/${real#*/} ;; *) real= ;; esac
            ln -s -- "$real"/* "$real"/.[!.]* "$real"/..?* "$dir"/ 2>/dev/null
        done
        :' sh "$work" {} + || return 1
    number=0
    while [ "$number" -lt "$versions" ]; do
        # These are empty files of the tar: no link leads to them.
        while IFS= read -r path; do rm -f -- "$work/root$number$top/$path"; done <"$work/gone.$number"
        number=$((number + 1))
    done
}

# Messages may quote a line of an env file, or a value of one.
cleaned() {
    {
        printf '%s\n' "$sources"
        printf 'env:%s\n' .env .env.* *.env
    } >"$work/list.$number"
    set --
    while IFS= read -r source; do [ ! -f "${source#*:}" ] || set -- "$@" "$source"; done <"$work/list.$number"
    sed 's/\(in variable name\) ".*/\1 (the line is not shown)/' | sh -c "$hide" sh all "$hiding" "$#" "$@" cat | sed 's/^/| /'
}

# Sets status, resolved, and said: everything else that Compose says.
config() {
    number=$1 status=0 resolved='' said='there is no such directory'
    shift
    cd -- "$work/root$number$top/$prefix" 2>/dev/null || {
        status=1
        return
    }
    said=$(compose --ansi never "$@" -f "$work/variables.yml" config --format json 2>&1 </dev/null) || status=$?
    case $status:$said in
    0:"{$newline"*) resolved=$said said='' ;;
    0:*)
        resolved=$(printf '%s\n' "$said" | sed -n '/^{$/,$p')
        said=$(printf '%s\n' "$said" | sed '/^{$/,$d')
        ;;
    esac
    [ -z "$resolved" ] || resolved=$(printf '%s\n' "$resolved" | sed "s|$work/root$number||g")
}

show() {
    printf 'cm config %s %s\n' "$number" "$status"
    [ -z "$resolved" ] || printf '%s\n' "$resolved"
    printf 'cm said %s\n' "$number"
    [ -z "$said" ] || printf '%s\n' "$said" | sed "s|$work/root$number$top/||g; s|$work/root$number||g" | cleaned
}

config_of() {
    config "$@"
    show
}

# Of the resolved model, env files included: what `up` puts on containers. Older versions hash the
# dependencies as well, and those only that were started along.
hashes() {
    printf 'cm hash %s\n' "$1"
    compose --ansi never --project-directory "$top/$prefix" --env-file /dev/null --profile '*' -f - config --hash '*' 2>/dev/null
}

dependent() {
    printf '%s\n' "$resolved" | hashes 1
}

# The project's containers that have another hash.
unlike() {
    printf '%s\n' "$found" | grep -F "\"project\":\"$project\"" | sed -n 's/.*"config_hash":"\([0-9a-f]*\)".*/\1/p' |
        while IFS= read -r hash; do
            case $plain in *"$hash"*) ;; *) echo "$hash" ;; esac
        done
}

independent() {
    awk '/^      "depends_on": \{$/ { skip = 1 } !skip { print } skip && /^      \}/ { skip = 0 }'
}

# A directory that somebody else keeps to himself, as far as one can tell.
hidden() {
    above=$1
    while [ ! -d "$above" ] && [ -n "$above" ]; do above=${above%/*}; done
    [ -n "$above" ] && [ ! -x "$above" ] && printf '%s\n' "$1"
}

running() {
    ids=$(docker ps -aq --no-trunc --filter label=com.docker.compose.project --filter label=com.docker.compose.oneoff=False 2>/dev/null) ||
        {
            echo 'cm containers 1'
            return
        }
    echo 'cm containers 0'
    # shellcheck disable=SC2086 # ids have no spaces
    found=$([ -z "$ids" ] || docker inspect --type container --format "$format" $ids 2>/dev/null)
    printf '%s\n' "$found"
    echo 'cm places'
    printf '%s\n' "$found" | sed -n 's/.*"working_dir":"\([^"]*\)".*/\1/p' | sort -u | while IFS= read -r place; do
        real=$(cd -- "$place" 2>/dev/null && pwd -P) || real=$(hidden "$place") || continue
        printf '%s\n' "$real"
    done
}

images() {
    echo 'cm images 0'
    docker image ls --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' 2>/dev/null
}

external() {
    case $resolved in *'"external": true'*)
        echo 'cm networks'
        docker network ls --format '{{.Name}}' 2>/dev/null
        echo 'cm volumes'
        docker volume ls -q 2>/dev/null
        ;;
    esac
    case $resolved in *'"container:'*)
        echo 'cm names'
        docker ps -a --format '{{.Names}}' 2>/dev/null
        ;;
    esac
    echo 'cm absent'
    printf '%s\n' "$resolved" | sed -n -e 's/^      "file": "\(.*\)",\{0,1\}$/\1/p' -e 's/^ *"source": "\(\/.*\)",\{0,1\}$/\1/p' \
        -e 's/^ *"device": "\(\/.*\)",\{0,1\}$/\1/p' | sort -u | while IFS= read -r file; do
        [ -e "$work/root0$file" ] || printf '%s\n' "$file"
    done
}

# What is held back until it is read is held in a pipe, never in a file.
aside() {
    name=$1
    shift
    (
        kept=$("$@")
        printf '%s\n' "$kept" >"$work/$name"
    ) &
    pids="$pids $!"
}

lay_out || exit 1
pipes='version containers images'
number=1
while [ "$number" -lt "$versions" ]; do
    pipes="$pipes out$number"
    number=$((number + 1))
done
# shellcheck disable=SC2086 # one word a pipe
(cd -- "$work" && mkfifo $pipes) || exit 1
number=1
while [ "$number" -lt "$versions" ]; do
    aside "out$number" config_of "$number" "$@"
    number=$((number + 1))
done
aside version compose version --short
printf 'cm path %s\n' "$top"
config 0 "$@"
show
# One that hangs is not asked again.
[ "$status" -ne 124 ] || {
    echo 'cm end'
    exit 0
}
cd -- "$work" || exit 1
# A shell that looks for a pattern in a text without it takes the square of its length.
project=$(printf '%s\n' "$resolved" | sed -n 's/^  "name": "\([^"]*\)".*/\1/p')
case $project in '' | *[!a-z0-9_-]*) project='' ;; esac
format=${format%%PROJECT*}$project${format#*PROJECT}
aside containers running
aside images images
plain=
if [ -n "$resolved" ]; then
    plain=$(printf '%s\n' "$resolved" | independent | hashes 0)
    printf '%s\n' "$plain"
    external
fi
version=''
IFS= read -r version <"$work/version"
printf 'cm version %s\n' "$version"
found=$(cat "$work/containers")
printf '%s\n' "$found"
cat "$work/images"
case $version in
2.[0-9].* | 2.1[0-9].* | 2.2[0-9].* | v2.[0-9].* | v2.1[0-9].* | v2.2[0-9].*)
    [ -z "$plain" ] || [ -z "$(unlike)" ] || dependent
    ;;
esac
number=1
while [ "$number" -lt "$versions" ]; do
    cat "$work/out$number"
    number=$((number + 1))
done
echo 'cm end'
