//! A container that does its work once and ends. Its name is the same whoever starts it, and Docker
//! gives a name once: that is what keeps a job from being run twice. It outlives the program that
//! started it and the connection, and whoever comes next finds it.

use crate::invocation::{JobRun, job_arguments};
use crate::job_scripts::scripts;
use crate::{Compose, Container, containers_with_ids, parse};
use cm_core::{Exit, Result};
use cm_host::{Fenced, Host, Secrets};
use serde_json::Value;
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

/// Looks for the job's container, and for the mark that it was started.
///
/// # Errors
/// [`Exit::Unreachable`], or [`Exit::HealthUnknown`] if the engine does not answer.
pub async fn find_job(host: &Host, container: &str, mark: &str) -> Result<JobSight> {
    let said = host
        .script(scripts(host.engine()).find, [container.to_owned(), host.path(mark)])
        .text(Exit::HealthUnknown, "engine.unreachable")
        .await?;
    let answer: Vec<String> = said.lines().filter(|line| *line != "marked").map(str::to_owned).collect();
    let found = match answer.first() {
        None => None,
        Some(task) if task.starts_with('{') => Some(of_task(container, &parse(task.as_bytes(), "a job", host)?)),
        Some(_) => containers_with_ids(host, &answer).await?.into_iter().next(),
    };
    Ok(match found {
        Some(container) => JobSight::There(Box::new(container)),
        None if said.lines().any(|line| line == "marked") => JobSight::Gone,
        None => JobSight::Never,
    })
}

/// The task of a job, in the words of containers.
fn of_task(name: &str, task: &Value) -> Container {
    let text = |pointer: &str| task.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let code = task.pointer("/Status/ContainerStatus/ExitCode").and_then(Value::as_i64).unwrap_or_default();
    let (state, error) = (text("/Status/State"), text("/Status/Err"));
    let status = match state {
        "complete" => "exited".to_owned(),
        // Without an exit code of its own it never ran.
        "failed" if code != 0 => "exited".to_owned(),
        "running" | "starting" => "running".to_owned(),
        "failed" | "rejected" | "shutdown" | "orphaned" | "remove" => format!("{state}: {error}"),
        _ => "created".to_owned(),
    };
    let (id, name) = (text("/ID").to_owned(), name.to_owned());
    Container { id, name, status, exit_code: code, ..Container::read(&Value::Null) }
}

/// The names of the jobs of a project that run now.
///
/// # Errors
/// As [`find_job`].
pub async fn running_jobs(host: &Host, project: &str) -> Result<Vec<String>> {
    let script = host.script(scripts(host.engine()).running, [project]);
    let said = script.text(Exit::HealthUnknown, "engine.unreachable").await?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// Hands every line that the job writes to `line`, without the values of its environment, from its first, until it has ended or `limit` is over.
///
/// # Errors
/// [`Exit::Unreachable`] with `host.timeout` when it is over; `release.follow` where Docker cannot say.
pub async fn follow_job(host: &Host, container: &str, limit: Duration, line: impl FnMut(&str)) -> Result<()> {
    let script =
        host.script(scripts(host.engine()).follow, [container]).hiding(&Secrets::default().container(container));
    script.limit(limit).stream(Exit::HealthUnknown, "release.follow", line).await
}

/// Stops a job that took too long.
///
/// # Errors
/// [`Exit::Build`] with Docker's words.
pub async fn stop_job(host: &Fenced, container: &str) -> Result<()> {
    let stop = host.script(scripts(host.engine()).stop, [container]).limit(STOP_LIMIT);
    stop.text(Exit::Build, "release.stop").await.map(drop)
}

/// Copies the log of a job that has ended to `mark`.log, and removes older containers of the same job.
///
/// # Errors
/// [`Exit::Unreachable`], [`Exit::Build`].
pub async fn keep_job_log(host: &Fenced, run: &JobRun<'_>, project: &str) -> Result<()> {
    let log = format!("{}.log", host.path(run.mark));
    let arguments = [run.container.to_owned(), log, project.to_owned(), run.job.to_owned()];
    host.script(scripts(host.engine()).keep, arguments).text(Exit::Build, "release.log").await.map(drop)
}

/// Forgets a job that has ended, so that it can be run again.
///
/// # Errors
/// [`Exit::Unreachable`], [`Exit::Build`].
pub async fn forget_job(host: &Fenced, run: &JobRun<'_>) -> Result<()> {
    let arguments = [run.container.to_owned(), host.path(run.mark)];
    host.script(scripts(host.engine()).forget, arguments).text(Exit::Build, "release.forget").await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_that_never_ran_is_no_exit_code() {
        for (state, code, status) in [
            ("complete", 0, "exited"),
            ("failed", 3, "exited"),
            ("failed", 0, "failed: no such image"),
            ("rejected", 0, "rejected: no such image"),
            ("running", 0, "running"),
            ("preparing", 0, "created"),
        ] {
            let task = json!({"ID": "t", "Status": {"State": state, "Err": "no such image", "ContainerStatus": {"ExitCode": code}}});
            let container = of_task("shop_job", &task);
            assert_eq!((container.status.as_str(), container.exit_code), (status, code), "{state}");
        }
        assert_eq!(of_task("shop_job", &json!({})).status, "created", "not yet");
    }
}
