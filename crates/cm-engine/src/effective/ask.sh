# Asks Compose what the project is.
# $1 checkout, $2 the project's directory in it, $3 how many versions, $4 the limit in seconds, $5 the
# format of containers, $6 and $7 the script and the awk program that hide values, $8 where these are, one a
# line, the rest: Compose's options. Stdin: a tar of what the versions' files are, by
# number, and `gone.N`, the files that a version does not have. Version 0 is the one that is to run.
set -u
umask 077
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
find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'cm-compose.*' -user "$(id -u)" -mmin +60 -exec rm -rf -- {} + 2>/dev/null
base64 -d | tar -xzf - -C "$work" || exit 1

in_time() {
    if command -v timeout >/dev/null 2>&1; then limited "$limit" "$@"; else "$@"; fi
}

# The version's files, and around them everything else of this machine under the same paths, as links:
# what Compose says of paths is true once the directory in front is taken away.
lay_out() {
    root=$work/root$1
    mkdir -p -- "$root${top%/*}" && mv -- "$work/$1" "$root$top" || return 1
    find "$root" -type d -exec sh -c '
        root=$1
        shift
        for dir do
            real=${dir#"$root"}
            ln -s -- "$real"/* "$real"/.[!.]* "$real"/..?* "$dir"/ 2>/dev/null
        done
        :' sh "$root" {} + || return 1
    # These are empty files of the tar: no link leads to them.
    while IFS= read -r path; do rm -f -- "$root$top/$path"; done <"$work/gone.$1"
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

config() {
    number=$1
    shift
    cd -- "$work/root$number$top/$prefix" 2>/dev/null || {
        printf 'cm config %s 1\n| there is no such directory\n' "$number"
        return
    }
    said=$(in_time docker compose --ansi never "$@" -f "$work/variables.yml" config --format json 2>&1 </dev/null)
    status=$?
    printf 'cm config %s %s\n' "$number" "$status"
    if [ "$status" -eq 0 ]; then
        resolved=$(printf '%s\n' "$said" | sed -n '/^{$/,$p' | sed "s|$work/root$number||g")
        printf '%s\n' "$resolved"
        said=$(printf '%s\n' "$said" | sed '/^{$/,$d')
    fi
    printf 'cm said %s\n' "$number"
    printf '%s\n' "$said" | sed "s|$work/root$number$top/||g; s|$work/root$number||g" | cleaned
}

# Of the resolved model, env files included: what `up` puts on containers. Older versions hash the
# dependencies as well, and those only that were started along.
hashes() {
    printf 'cm hash %s\n' "$1"
    in_time docker compose --ansi never --project-directory "$top/$prefix" --env-file /dev/null --profile '*' -f - config --hash '*' 2>/dev/null
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
        place=$(cd -- "$place" 2>/dev/null && pwd -P) && printf '%s\n' "$place"
    done
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
    echo 'cm absent'
    printf '%s\n' "$resolved" | sed -n 's/^      "file": "\(.*\)",\{0,1\}$/\1/p' | while IFS= read -r file; do
        [ -e "$work/root0$file" ] || printf '%s\n' "$file"
    done
}

# What is held back until it is read is held in a pipe, never in a file.
aside() {
    name=$1
    shift
    mkfifo "$work/$name" || exit 1
    (
        kept=$("$@")
        printf '%s\n' "$kept" >"$work/$name"
    ) &
    pids="$pids $!"
}

number=0
while [ "$number" -lt "$versions" ]; do
    lay_out "$number" || exit 1
    number=$((number + 1))
done
number=1
while [ "$number" -lt "$versions" ]; do
    aside "out$number" config "$number" "$@"
    number=$((number + 1))
done
aside version in_time docker compose version --short
printf 'cm path %s\n' "$top"
answer=$(config 0 "$@")
printf '%s\n' "$answer"
version=$(head -n 1 "$work/version")
printf 'cm version %s\n' "$version"
resolved=$(printf '%s\n' "$answer" | sed -n '/^{$/,/^}$/p')
project=$(printf '%s\n' "$resolved" | sed -n 's/^  "name": "\([a-z0-9_-]*\)",\{0,1\}$/\1/p' | head -n 1)
format=$(printf '%s\n' "$format" | sed "s|PROJECT|$project|g")
aside containers running
plain=
if [ -n "$resolved" ]; then
    plain=$(printf '%s\n' "$resolved" | independent | hashes 0)
    printf '%s\n' "$plain"
    external
fi
found=$(cat "$work/containers")
printf '%s\n' "$found"
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
