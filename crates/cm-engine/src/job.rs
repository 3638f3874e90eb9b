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
    let json = |line: Option<&String>| line.map(|line| parse(line.as_bytes(), "a job", host)).transpose();
    let found = match answer.first().map(String::as_str) {
        None => None,
        Some("none") => Some(of_task(container, &Value::Null, None)),
        Some(task) if task.starts_with('{') => {
            let (task, node) = (json(answer.first())?, json(answer.get(1))?);
            task.map(|task| of_task(container, &task, node.as_ref()))
        }
        Some(_) => containers_with_ids(host, &answer).await?.into_iter().next(),
    };
    Ok(match found {
        Some(container) => JobSight::There(Box::new(container)),
        None if said.lines().any(|line| line == "marked") => JobSight::Gone,
        None => JobSight::Never,
    })
}

/// The task of a job, in the words of containers. That of a node that is down stays what it was, for ever.
fn of_task(name: &str, task: &Value, node: Option<&Value>) -> Container {
    let code = task.pointer("/Status/ContainerStatus/ExitCode").and_then(Value::as_i64).unwrap_or_default();
    let (state, error) = (text(task, "/Status/State"), text(task, "/Status/Err"));
    let lost = node.filter(|node| text(node, "/Status/State") == "down");
    let status = match (state, lost) {
        ("complete", _) => "exited".to_owned(),
        // Without an exit code of its own it never ran.
        ("failed", _) if code != 0 => "exited".to_owned(),
        ("failed" | "rejected" | "shutdown" | "orphaned" | "remove", _) => format!("{state}: {error}"),
        (_, Some(node)) => {
            let node = text(node, "/Description/Hostname");
            format!("orphaned: node {node} is down, and nothing says how far it got")
        }
        ("running" | "starting", None) => "running".to_owned(),
        _ => "created".to_owned(),
    };
    let (id, name) = (text(task, "/ID").to_owned(), name.to_owned());
    Container { id, name, status, exit_code: code, ..Container::read(&Value::Null) }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
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
            let container = of_task("shop_job", &task, Some(&json!({"Status": {"State": "ready"}})));
            assert_eq!((container.status.as_str(), container.exit_code), (status, code), "{state}");
        }
        assert_eq!(of_task("shop_job", &Value::Null, None).status, "created", "not yet");
    }

    #[test]
    fn the_task_of_a_node_that_is_down_ended_where_it_says_so_and_nowhere_else() {
        let name = "o'\"d\\ \n node";
        let node = json!({"Status": {"State": "down"}, "Description": {"Hostname": name}});
        let status = |state: &str| {
            of_task("shop_job", &json!({"Status": {"State": state, "Err": "\"\\\n"}}), Some(&node)).status
        };
        let lost = format!("orphaned: node {name} is down, and nothing says how far it got");
        for state in ["running", "starting", "preparing", "new", "assigned"] {
            assert_eq!(status(state), lost, "{state}");
        }
        assert_eq!((status("complete"), status("failed")), ("exited".to_owned(), "failed: \"\\\n".to_owned()));
    }

    /// What `find` prints with a Docker that has a task with such words on a node with such a name.
    #[tokio::test]
    async fn no_word_of_a_job_breaks_the_look_at_it() {
        let dir = tempfile::tempdir().expect("dir");
        let (task, node) = (
            json!({"ID": "t1", "NodeID": "n1", "Status": {"State": "running", "Err": "a \"word\" \\ and\nmarked\n"}}),
            json!({"Status": {"State": "down"}, "Description": {"Hostname": "n\"1\\"}}),
        );
        for (file, value) in [("task", &task), ("node", &node)] {
            std::fs::write(dir.path().join(file), format!("{value}\n")).expect("write");
        }
        let docker = r#"#!/bin/sh
case "$1 $2 $*" in
'service ls '*) echo shop_job ;;
'service ps '*) echo t1 ;;
'node inspect '*) cat "${0%/*}/node" ;;
*json*) cat "${0%/*}/task" ;;
*) echo n1 ;;
esac"#;
        let program = dir.path().join("docker");
        std::fs::write(&program, docker).expect("write");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        let log = cm_core::Log::new("test", cm_core::Format::Text, cm_core::Level::Fail);
        let host = Host::connect(&cm_host::Target::at("local", "local"), &log).await.expect("local");
        let line = "PATH=$3:$PATH; script=$1; shift; exec sh -c \"$script\" sh shop_job \"$1\"";
        let (script, mark) = (scripts(cm_project::Engine::Swarm).find, dir.path().join("none"));
        let path = dir.path().display().to_string();
        let words = ["sh", "-c", line, "sh", script, &mark.display().to_string(), &path];
        let said = host.command(words).text(Exit::HealthUnknown, "x").await.expect("an answer");
        let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines, [task, node]);
        let status = of_task("shop_job", &lines[0], lines.get(1)).status;
        assert_eq!(status, "orphaned: node n\"1\\ is down, and nothing says how far it got");
    }
}
