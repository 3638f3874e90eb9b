#!/usr/bin/env bash
# The server's own look at the platform, for whoever is logged in there: no laptop, no
# cm programs, only bash and Docker Compose. It deploys nothing, in spite of its name:
# deployments come from scripts/deploy-to-vps.sh, which knows what it may take back.
#
# It works in the checkout it lies in, or the one it is started in. What runs is asked
# of Docker by the compose project's label, so that a compose file that does not parse
# today hides nothing.
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: deploy.sh COMMAND

  logs [SERVICE...]    The last 100 lines of every service, or of those named;
                       -f follows, -n LINES shows another number
  status               What runs: service, container, state, since when, image
  health               The same as a verdict: which service is unhealthy, and its
                       last check; exit status 0 all healthy, 40 not,
                       41 could not check

CM_COMPOSE_FILE and CM_ENV_FILE name the compose file and its env file where they are
not docker-compose.production.yml and .env.production.
USAGE
}

say() { printf '[%s] %s\n' "$1" "$2" >&2; }
die() { # STATUS MESSAGE HINT
    say FAIL "$2"
    printf '       hint: %s\n' "$3" >&2
    exit "$1"
}

# The compose file of this checkout: the nearest above the working directory, or
# above this script.
find_checkout() {
    local start directory name
    for start in "$PWD" "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"; do
        directory=$start
        while :; do
            for name in "${CM_COMPOSE_FILE:-docker-compose.production.yml}" compose.yaml compose.yml docker-compose.yml; do
                if [ -f "$directory/$name" ]; then
                    cd "$directory" && compose_file=$name
                    return
                fi
            done
            [ "$directory" != / ] || break
            directory=$(dirname "$directory")
        done
    done
    die 6 "there is no compose file in $PWD or above" "cd ~/platform, or set CM_COMPOSE_FILE"
}

compose() {
    local arguments=(-f "$compose_file") env_file=${CM_ENV_FILE:-.env.production}
    [ ! -f "$env_file" ] || arguments+=(--env-file "$env_file")
    docker compose --ansi never "${arguments[@]}" "$@"
}

# The project's name: what the compose file says, else what Compose makes of it.
project() {
    local name
    name=$(sed -n 's/^name:[[:space:]]*["'\'']\{0,1\}\([A-Za-z0-9_-]*\).*/\1/p' "$compose_file" | head -n 1)
    [ -n "$name" ] || name=$(compose config --format json | sed -n 's/^  "name": "\(.*\)",$/\1/p' | head -n 1)
    [ -n "$name" ] || die 41 "the compose project's name cannot be found out" "docker compose -f $compose_file config"
    printf '%s' "$name"
}

containers() { # PROJECT - ids
    docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$1" \
        --filter label=com.docker.compose.oneoff=False
}

# One line per container: service, name, status, health, exit code, restarts,
# restart policy, started at, image; tabs between them.
inspect() {
    docker inspect --type container --format '{{index .Config.Labels "com.docker.compose.service"}}	{{slice .Name 1}}	{{.State.Status}}	{{if .State.Health}}{{.State.Health.Status}}{{else}}-{{end}}	{{.State.ExitCode}}	{{.RestartCount}}	{{.HostConfig.RestartPolicy.Name}}	{{.State.StartedAt}}	{{.Config.Image}}' "$@"
}

rows() { # fills $rows, or ends: what could not be checked is not healthy
    local name ids
    name=$(project)
    ids=$(containers "$name") || die 41 "the Docker engine does not answer" "docker info"
    [ -n "$ids" ] || die 40 "no container of the project $name is there" "docker compose -f $compose_file up -d"
    mapfile -t ids <<<"$ids"
    rows=$(inspect "${ids[@]}") || die 41 "the Docker engine does not answer" "docker info"
    rows=$(sort <<<"$rows")
}

status() {
    rows
    awk -F '\t' '
        BEGIN { row("SERVICE", "CONTAINER", "STATE", "HEALTH", "RESTARTS", "SINCE", "IMAGE") }
        { row($1, $2, $3 ($3 == "exited" ? " (" $5 ")" : ""), $4, $6, substr($8, 1, 19) "Z", $9) }
        function row(a, b, c, d, e, f, g) { printf "%-20s %-28s %-14s %-10s %8s  %-21s %s\n", a, b, c, d, e, f, g }
    ' <<<"$rows"
}

# healthy STATUS HEALTH EXIT POLICY - a job that ended with 0 is healthy
healthy() {
    case $1 in
    running) [ "$2" != unhealthy ] ;;
    exited) [ "$3" = 0 ] && { [ "$4" = no ] || [ -z "$4" ]; } ;;
    created) true ;;
    *) false ;;
    esac
}

health() {
    local service name state health exit restarts policy rest bad=0 starting=0 count=0
    rows
    while IFS=$'\t' read -r service name state health exit restarts policy rest; do
        count=$((count + 1))
        if [ "$state,$health" = running,starting ]; then
            starting=$((starting + 1))
            say WARN "$service is still starting ($name)"
        elif ! healthy "$state" "$health" "$exit" "$policy"; then
            bad=$((bad + 1))
            say FAIL "$service is unhealthy: $state, health $health, exit code $exit, $restarts restarts ($name)"
            docker inspect --type container --format '{{if .State.Health}}{{range .State.Health.Log}}{{println .Output}}{{end}}{{end}}' "$name" |
                sed -n '/./s/^/       last check: /p' | tail -n 1 >&2
            printf '       look at it: docker logs --tail=200 %s\n' "$name" >&2
        fi
    done <<<"$rows"
    if [ "$bad" -gt 0 ]; then
        die 40 "$bad of $count containers are unhealthy" "this is one look; \`cm-health --all\` watches for a while"
    fi
    [ "$starting" -eq 0 ] || die 40 "$starting of $count containers are still starting" "look again in a moment"
    say SUCCESS "$count containers are healthy at this moment"
}

logs() {
    local arguments=() lines=100
    while [ $# -gt 0 ]; do
        case $1 in
        -f | --follow) arguments+=(--follow) ;;
        -n | --tail)
            [ $# -ge 2 ] || die 2 "$1 needs a number" "deploy.sh logs -n 200"
            lines=$2
            shift
            ;;
        -*) die 2 "unknown option '$1'" "deploy.sh --help lists them" ;;
        *) arguments+=("$1") ;;
        esac
        shift
    done
    compose logs --tail "$lines" ${arguments[@]+"${arguments[@]}"}
}

case ${1-} in
logs | status | health)
    command -v docker >/dev/null || die 41 "docker is not on the PATH" "this script is for the servers"
    find_checkout
    "$@"
    ;;
-h | --help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
