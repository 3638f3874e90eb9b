//! A container that does its work once and ends. Its name is the same whoever starts it, and Docker
//! gives a name once: that is what keeps a job from being run twice. It outlives the program that
//! started it and the connection, and whoever comes next finds it.

use crate::invocation::{JOB_LABEL, JobRun, job_arguments};
use crate::{Compose, Container, containers_with_ids};
use cm_core::{Exit, Result};
use cm_host::{Fenced, Host, Secrets};
use std::time::Duration;

/// Starting one may have to pull its image.
const START_LIMIT: Duration = Duration::from_secs(10 * 60);

/// A job has its own grace period; beyond that the engine is stuck.
const STOP_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Whether a job was ever started on a host, and its container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JobSight {
    /// Nothing says so.
    Never,
    /// It was, and its container is gone.
    Gone,
    /// Its container, ended or not.
    There(Box<Container>),
}

impl Compose<'_> {
    /// Starts a job. One that has this name already is left as it is, and that is an error.
    ///
    /// # Errors
    /// [`Exit::Build`] with Compose's words: it was not started then.
    pub async fn start_job(&self, fenced: &Fenced, run: &JobRun<'_>) -> Result<()> {
        let before = [fenced.path(run.mark), run.container.to_owned()];
        let command = self.change_inside(fenced, START, &before, &job_arguments(run));
        command.limit(START_LIMIT).to_its_end().text(Exit::Build, "release.start").await.map(drop)
    }
}

/// Runs what comes after its own arguments, MARK and CONTAINER.
const START: &str = r#"# Starts a job.
set -u
umask 077
case $1 in
/*) mark=$1 ;;
*) mark=$HOME/$1 ;;
esac
name=$2
shift 2
directory=$(dirname -- "$mark")
mkdir -p -- "$directory" && printf '%s\n' "$name" >"$mark" && sync -- "$mark" "$directory" || exit 74
"$@"
code=$?
if [ "$code" -ne 0 ]; then
    # Made and never started is not started.
    [ "$(docker inspect --type container --format '{{.State.Status}}' -- "$name" 2>/dev/null)" != created ] ||
        docker rm -- "$name" >/dev/null
    docker inspect --type container -- "$name" >/dev/null 2>&1 || rm -f -- "$mark"
fi
exit "$code""#;

const FIND: &str = r#"# Looks for a job.
set -u
docker ps -aq --no-trunc --filter "name=^/?$1\$" || exit 1
[ ! -e "$2" ] || echo marked"#;

/// The log, as long as it grows; where Docker keeps none, only the end.
const FOLLOW: &str = r#"# Follows a job.
docker logs --follow -- "$1"
exec docker wait -- "$1" >/dev/null"#;

/// Keeps at most a mebibyte of the log, and lets go of the containers of this job that ended before.
const KEEP: &str = r#"# Keeps the log of a job.
set -u
umask 077
docker logs -- "$1" 2>&1 | tail -c 1048576 >"$2.partial" && mv -- "$2.partial" "$2"
for id in $(docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$3" --filter "label=cm.job=$4" --filter status=exited); do
    [ "$(docker inspect --type container --format '{{.Name}}' -- "$id")" = "/$1" ] || docker rm -- "$id" >/dev/null
done"#;

const FORGET: &str = r#"# Forgets a job.
set -u
docker rm -- "$1" >/dev/null 2>&1
rm -f -- "$2""#;

/// Looks for the job's container, and for the mark that it was started.
///
/// # Errors
/// [`Exit::Unreachable`], or [`Exit::HealthUnknown`] if the engine does not answer.
pub async fn find_job(host: &Host, container: &str, mark: &str) -> Result<JobSight> {
    let said = host
        .script(FIND, [container.to_owned(), host.path(mark)])
        .text(Exit::HealthUnknown, "engine.unreachable")
        .await?;
    let ids: Vec<String> = said.lines().filter(|line| *line != "marked").map(str::to_owned).collect();
    let found = if ids.is_empty() { None } else { containers_with_ids(host, &ids).await?.into_iter().next() };
    Ok(match found {
        Some(container) => JobSight::There(Box::new(container)),
        None if said.lines().any(|line| line == "marked") => JobSight::Gone,
        None => JobSight::Never,
    })
}

/// The jobs of a project that run now.
///
/// # Errors
/// As [`find_job`].
pub async fn running_jobs(host: &Host, project: &str) -> Result<Vec<Container>> {
    let filters = [format!("label=com.docker.compose.project={project}"), format!("label={JOB_LABEL}")];
    let mut argv: Vec<String> = ["docker", "ps", "-q", "--no-trunc"].map(str::to_owned).into();
    argv.extend(filters.into_iter().flat_map(|filter| ["--filter".to_owned(), filter]));
    let said = host.command(argv).text(Exit::HealthUnknown, "engine.unreachable").await?;
    let ids: Vec<String> = said.lines().map(str::to_owned).collect();
    if ids.is_empty() { Ok(Vec::new()) } else { containers_with_ids(host, &ids).await }
}

/// Hands every line that the job writes to `line`, without the values of its environment, from its first, until it has ended or `limit` is over.
///
/// # Errors
/// [`Exit::Unreachable`] with `host.timeout` when it is over; `release.follow` where Docker cannot say.
pub async fn follow_job(host: &Host, container: &str, limit: Duration, line: impl FnMut(&str)) -> Result<()> {
    let script = host.script(FOLLOW, [container]).hiding(&Secrets::default().container(container));
    script.limit(limit).stream(Exit::HealthUnknown, "release.follow", line).await
}

/// Stops a job that took too long.
///
/// # Errors
/// [`Exit::Build`] with Docker's words.
pub async fn stop_job(host: &Fenced, container: &str) -> Result<()> {
    host.command(["docker", "stop", "--", container])
        .limit(STOP_LIMIT)
        .text(Exit::Build, "release.stop")
        .await
        .map(drop)
}

/// Copies the log of a job that has ended to `mark`.log, and removes older containers of the same job.
///
/// # Errors
/// [`Exit::Unreachable`], [`Exit::Build`].
pub async fn keep_job_log(host: &Fenced, run: &JobRun<'_>, project: &str) -> Result<()> {
    let log = format!("{}.log", host.path(run.mark));
    let arguments = [run.container.to_owned(), log, project.to_owned(), run.job.to_owned()];
    host.script(KEEP, arguments).text(Exit::Build, "release.log").await.map(drop)
}

/// Forgets a job that has ended, so that it can be run again.
///
/// # Errors
/// [`Exit::Unreachable`], [`Exit::Build`].
pub async fn forget_job(host: &Fenced, run: &JobRun<'_>) -> Result<()> {
    let arguments = [run.container.to_owned(), host.path(run.mark)];
    host.script(FORGET, arguments).text(Exit::Build, "release.forget").await.map(drop)
}
