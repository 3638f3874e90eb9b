//! What is run on a host about a job, by engine: a container of Compose's on the host, or a service of the Swarm that
//! the host speaks for. Each takes the same arguments and answers in the same way.

use cm_project::Engine;

/// The scripts of one engine.
pub(crate) struct Scripts {
    /// `$1` container, `$2` mark. Prints its id, or of a Swarm the task as JSON and its node, or `none` while there is no
    /// task; and `marked`.
    pub find: &'static str,
    /// `$1` the Compose project or the stack. Prints the names of jobs that run.
    pub running: &'static str,
    /// `$1` container. Prints its log as long as it grows, and ends with it.
    pub follow: &'static str,
    /// `$1` container.
    pub stop: &'static str,
    /// `$1` container, `$2` file, `$3` project, `$4` job. Keeps at most a mebibyte of the log, and lets go of what ran
    /// this job before.
    pub keep: &'static str,
    /// `$1` container, `$2` mark.
    pub forget: &'static str,
}

/// Those of `engine`.
pub(crate) fn scripts(engine: Engine) -> &'static Scripts {
    match engine {
        Engine::Compose => &COMPOSE,
        Engine::Swarm => &SWARM,
    }
}

const COMPOSE: Scripts = Scripts {
    find: r#"# Looks for a job.
set -u
docker ps -aq --no-trunc --filter "name=^/?$1\$" || exit 1
[ ! -e "$2" ] || echo marked"#,
    running: r#"# Looks for jobs that run.
exec docker ps --filter "label=com.docker.compose.project=$1" --filter label=cm.job --format '{{.Names}}'"#,
    // Where Docker keeps no log, only the end.
    follow: r#"# Follows a job.
docker logs --follow -- "$1"
exec docker wait -- "$1" >/dev/null"#,
    stop: r#"# Stops a job.
exec docker stop -- "$1" >/dev/null"#,
    keep: r#"# Keeps the log of a job.
set -u
umask 077
docker logs -- "$1" 2>&1 | tail -c 1048576 >"$2.partial" && mv -- "$2.partial" "$2"
for id in $(docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$3" --filter "label=cm.job=$4" --filter status=exited); do
    [ "$(docker inspect --type container --format '{{.Name}}' -- "$id")" = "/$1" ] || docker rm -- "$id" >/dev/null
done"#,
    forget: r#"# Forgets a job.
set -u
docker rm -- "$1" >/dev/null 2>&1
rm -f -- "$2""#,
};

const SWARM: Scripts = Scripts {
    find: r#"# Looks for a job of a Swarm.
set -u
all=$(docker service ls -q --filter "name=$1" --format '{{.Name}}') || exit 1
if printf '%s\n' "$all" | grep -qxF -- "$1"; then
    task=$(docker service ps -q --no-trunc -- "$1" | head -n 1) || exit 1
    if [ -z "$task" ]; then
        echo none
    else
        docker inspect --type task --format '{{json .}}' "$task" || exit 1
        node=$(docker inspect --type task --format '{{.NodeID}}' "$task") || exit 1
        [ -z "$node" ] || docker node inspect --format '{{json .}}' "$node" 2>/dev/null
    fi
fi
[ ! -e "$2" ] || echo marked"#,
    running: r#"# Looks for jobs of a Swarm that run.
names=$(docker service ls --filter "label=com.docker.stack.namespace=$1" --filter label=cm.job --format '{{.Name}}') || exit
for name in $names; do
    states=$(docker service ps --format '{{.CurrentState}}' -- "$name" | cut -d ' ' -f 1)
    case $states in *Complete* | *Failed* | *Rejected* | *Shutdown* | *Orphaned*) ;; *) printf '%s\n' "$name" ;; esac
done"#,
    // The log of a service never ends by itself; a manager that is asked while another leader is chosen says nothing.
    follow: r#"# Follows a job of a Swarm.
docker service logs --follow --raw "$1" &
logs=$!
trap 'kill "$logs" 2>/dev/null' EXIT HUP INT TERM
silent=0
while [ "$silent" -lt 60 ]; do
    sleep 1
    task=$(docker service ps -q --no-trunc -- "$1" 2>/dev/null | head -n 1)
    state=$([ -z "$task" ] || docker inspect --type task --format '{{.Status.State}} {{.NodeID}}' "$task" 2>/dev/null)
    node=${state#* } state=${state%% *}
    # The task of a node that is down stays what it was, for ever.
    [ "$(docker node inspect --format '{{.Status.State}}' "${node:-none}" 2>/dev/null)" != down ] || break
    case $state in
    complete | failed | rejected | shutdown | orphaned | remove) break ;;
    '') silent=$((silent + 1)) ;;
    *) silent=0 ;;
    esac
done
sleep 1"#,
    stop: r#"# Stops a job of a Swarm.
exec docker service rm "$1" >/dev/null"#,
    keep: r#"# Keeps the log of a job of a Swarm.
set -u
umask 077
docker service logs --raw "$1" 2>&1 | tail -c 1048576 >"$2.partial" && mv -- "$2.partial" "$2"
for name in $(docker service ls --filter "label=com.docker.stack.namespace=$3" --filter "label=cm.job=$4" --format '{{.Name}}'); do
    [ "$name" = "$1" ] || docker service rm "$name" >/dev/null
done"#,
    forget: r#"# Forgets a job of a Swarm.
set -u
docker service rm "$1" >/dev/null 2>&1
rm -f -- "$2""#,
};
