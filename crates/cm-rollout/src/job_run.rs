//! Runs jobs, each once in a release, whoever asks again: a program that was killed, a laptop that was
//! closed, a second deployment of the same commit.
//!
//! Three things know of a job, and the first that does decides: the host's ledger, where it has ended; its
//! container, whose name is the same for every run of this commit; and a mark on the host that is
//! written before the container is made. A job that was started and did not come to its end by
//! itself is not run again unless a person says so: nobody knows how far it got.

use crate::job_log::JobLog;
use crate::rollout::Rollout;
use crate::sequence;
use cm_core::{Exit, Failure, Result, plural};
use cm_engine::{Container, JobRun, JobSight};
use cm_ledger::{JobOutcome, JobState, Ledger, Record, state_dir};
use cm_project::{Job, Project};
use std::time::{Duration, Instant};

/// Exit codes of what was ended from outside: SIGKILL, SIGTERM, and what Docker notes where the engine or the
/// server went down.
const FROM_OUTSIDE: [i64; 3] = [137, 143, 255];

/// How a job ended.
#[derive(Clone, Debug)]
pub struct JobReport {
    /// The job.
    pub job: Job,
    /// What became of it.
    pub state: JobState,
    /// Whether this run started or followed it; else it had ended before.
    pub ran: bool,
    /// How long this run waited for it.
    pub took: Duration,
    /// Its last lines.
    pub tail: Vec<String>,
    /// The file on this machine with all of them; empty if this run did not follow it.
    pub log: String,
}

/// The release whose jobs are run on one host.
pub struct Once {
    /// The commit.
    pub commit: String,
    /// What the ledger said; it is told of each job.
    pub ledger: Ledger,
    /// What each record of a job begins with.
    pub record: Record,
    /// Variables that each job gets; never a secret.
    pub env: Vec<(String, String)>,
}

/// What is to be done about a job.
enum Next {
    /// Nothing: it has ended like this.
    Ended(JobState),
    /// It is started.
    Start,
    /// It was started by somebody else, and runs or has ended unseen.
    Follow,
}

impl Rollout<'_> {
    /// Runs `job`, or says what became of it, and writes that into the ledger. That it failed is in the
    /// report.
    ///
    /// # Errors
    /// [`Exit::Build`] if it could not be started; [`Exit::LockLost`], [`Exit::Unreachable`]: a job that
    /// was started goes on.
    pub async fn run_job(&self, job: &Job, once: &mut Once) -> Result<JobReport> {
        let container = self.job_container(job, &once.commit);
        let mark = mark(self.project, &container);
        let run = JobRun {
            container: &container,
            job: &job.name,
            service: &job.service,
            command: job.command.as_deref(),
            env: once.env.clone(),
            mark: &mark,
        };
        let (host, began) = (self.host.name(), Instant::now());
        match self.next(&run, once).await? {
            Next::Ended(state) => {
                if state.outcome == JobOutcome::Done {
                    self.log.info(format!("on {host}: {} has run for this commit; not again", job.name));
                } else {
                    self.note(&run, state.clone(), once).await?;
                }
                let (tail, log) = (Vec::new(), String::new());
                return Ok(JobReport { job: job.clone(), state, ran: false, took: Duration::ZERO, tail, log });
            }
            Next::Start => {
                self.wait_for_others(&run).await?;
                self.log.info(format!("on {host}: running {}", job.name));
                self.start_job(&run).await.map_err(|failure| not_started(job, failure))?;
            }
            Next::Follow => self.log.info(format!("on {host}: {} was started before; following it", job.name)),
        }
        let mut said = JobLog::new(&once.record.id, host, &container);
        let state = self.follow(job, &run, &once.commit, &mut said).await?;
        self.note(&run, state.clone(), once).await?;
        cm_engine::keep_job_log(&self.guard.fenced(self.host)?, &run, &self.config.project).await?;
        let took = began.elapsed();
        if state.outcome == JobOutcome::Done {
            self.log.success(format!("on {host}: {} is done ({:.1} s)", job.name, took.as_secs_f64()));
        }
        Ok(JobReport { job: job.clone(), state, ran: true, took, tail: said.tail(), log: said.path() })
    }

    async fn next(&self, run: &JobRun<'_>, once: &mut Once) -> Result<Next> {
        let known = once.ledger.job(run.job, &once.commit).cloned();
        if let Some(state) = known.as_ref().filter(|state| state.outcome != JobOutcome::Started) {
            if !state.outcome.runs_again() {
                return Ok(Next::Ended(state.clone()));
            }
            // Said before it begins: from here on its container decides again.
            cm_engine::forget_job(&self.guard.fenced(self.host)?, run).await?;
            self.note(run, JobState { outcome: JobOutcome::Started, ..state_of(run, &once.commit) }, once).await?;
        }
        Ok(match cm_engine::find_job(self.host, run.container, run.mark).await? {
            JobSight::Never => Next::Start,
            JobSight::There(_) => Next::Follow,
            JobSight::Gone => {
                let cause = Some("it was started, its container is gone, and nothing says how it ended".to_owned());
                let outcome = JobOutcome::Interrupted;
                Next::Ended(JobState { outcome, cause, ..state_of(run, &once.commit) })
            }
        })
    }

    async fn note(&self, run: &JobRun<'_>, state: JobState, once: &mut Once) -> Result<()> {
        once.record.jobs.insert(run.job.to_owned(), state);
        once.record.at = cm_core::time::now();
        once.ledger.apply(once.record.clone());
        Ledger::append(&self.guard.fenced(self.host)?, &self.project.name(), &once.record).await
    }

    /// Another job of the project, of a run that was killed: two at a time would be in each other's way.
    async fn wait_for_others(&self, run: &JobRun<'_>) -> Result<()> {
        for other in cm_engine::running_jobs(self.host, &self.config.project).await? {
            if other == run.container {
                continue;
            }
            let host = self.host.name();
            self.log.warn(format!("on {host}: {other} of an earlier run still runs; waiting for its end"));
            cm_engine::follow_job(self.host, &other, cm_project::JOB_TIMEOUT, |_| ()).await?;
        }
        Ok(())
    }

    /// Follows a job to its end; stops one that takes too long.
    async fn follow(&self, job: &Job, run: &JobRun<'_>, commit: &str, said: &mut JobLog) -> Result<JobState> {
        let told = |line: &str| self.log.info(format!("{} | {}", job.service, said.line(line)));
        let followed = cm_engine::follow_job(self.host, run.container, job.timeout, told).await;
        let late = match followed {
            Ok(()) => false,
            Err(failure) if failure.code == "host.timeout" => {
                let limit = plural(job.timeout.as_secs(), "second");
                self.log.warn(format!(
                    "on {}: {} has not ended within {limit}; stopping it",
                    self.host.name(),
                    job.name
                ));
                cm_engine::stop_job(&self.guard.fenced(self.host)?, run.container).await?;
                true
            }
            Err(failure) => {
                return Err(failure
                    .hint("nothing of this ends the job: deploy again, and the next run follows it to its end, or says how it ended"));
            }
        };
        let state = state_of(run, commit);
        match cm_engine::find_job(self.host, run.container, run.mark).await? {
            JobSight::There(container) => Ok(judge(state, &container, late.then_some(job.timeout))),
            _ => {
                let removed = || "its container was removed while it ran".to_owned();
                let cause = Some(if late { stopped(job.timeout) } else { removed() });
                Ok(JobState { outcome: JobOutcome::Interrupted, cause, ..state })
            }
        }
    }

    /// Starts what jobs need and what does not run, such as a database in the first deployment. Nothing
    /// that runs is replaced.
    ///
    /// # Errors
    /// [`Exit::Build`] with Compose's words; [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn start_needed(&self, jobs: &[Job], starting: &[String], before: &[Container]) -> Result<()> {
        let needed = sequence::needed(self.config, jobs, starting, before);
        for (names, wait) in needed.into_iter().zip([false, true]) {
            if names.is_empty() {
                continue;
            }
            self.log.info(format!("on {}: starting {}, which a job needs", self.host.name(), names.join(", ")));
            self.start_idle(&names, wait).await?;
        }
        Ok(())
    }
}

fn state_of(run: &JobRun<'_>, commit: &str) -> JobState {
    JobState {
        commit: commit.to_owned(),
        service: run.service.to_owned(),
        container: run.container.to_owned(),
        ..JobState::default()
    }
}

/// What a container that has ended says of its job.
fn judge(state: JobState, container: &Container, limit: Option<Duration>) -> JobState {
    let code = container.exit_code;
    let cause = match limit {
        Some(limit) => Some(stopped(limit)),
        None if container.oom_killed => Some("the kernel ended it: no memory was left".to_owned()),
        None if container.status != "exited" => Some(format!("its container is {}", container.status)),
        None if FROM_OUTSIDE.contains(&code) => {
            Some(format!("it was ended from outside (exit code {code}): by a signal, or with the engine or the server"))
        }
        None => None,
    };
    let outcome = match (&cause, code) {
        (Some(_), _) => JobOutcome::Interrupted,
        (None, 0) => JobOutcome::Done,
        (None, _) => JobOutcome::Failed,
    };
    JobState { outcome, exit_code: (container.status == "exited").then_some(code), cause, ..state }
}

fn stopped(limit: Duration) -> String {
    format!("it had not ended within {} s and was stopped", limit.as_secs())
}

fn not_started(job: &Job, failure: Failure) -> Failure {
    match failure.exit {
        Exit::Build => {
            Failure { message: format!("{} could not be started: {}", job.name, failure.message), ..failure }
        }
        _ => failure,
    }
}

/// The same for every run of this commit, and another one for each job.
pub(crate) fn container_name(project: &str, job: &Job, commit: &str) -> String {
    let commit = commit.get(..12).unwrap_or(commit);
    match &job.command {
        None => format!("{project}-{}-job-{commit}", job.service),
        Some(command) => format!("{project}-{}-job-{:08x}-{commit}", job.service, digest(command)),
    }
}

/// The file on the host that says of a job's container that it was started.
pub(crate) fn mark(project: &Project, container: &str) -> String {
    format!("{}/jobs/{container}", state_dir(&project.name()))
}

/// FNV-1a: the same on every machine, and in every version.
fn digest(command: &[String]) -> u32 {
    let bytes = command.iter().flat_map(|word| word.bytes().chain([0]));
    bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(state: serde_json::Value, limit: Option<Duration>) -> (JobOutcome, Option<i64>) {
        let container = Container::read(&json!({"State": state}));
        let judged = judge(JobState::default(), &container, limit);
        assert_eq!(judged.cause.is_some(), judged.outcome == JobOutcome::Interrupted);
        (judged.outcome, judged.exit_code)
    }

    #[test]
    fn what_ended_by_itself_is_told_apart_from_what_was_ended() {
        let exited = |code: i64| json!({"Status": "exited", "ExitCode": code});
        assert_eq!(judged(exited(0), None), (JobOutcome::Done, Some(0)));
        assert_eq!(judged(exited(1), None), (JobOutcome::Failed, Some(1)));
        assert_eq!(judged(exited(137), None).0, JobOutcome::Interrupted);
        assert_eq!(judged(exited(0), Some(Duration::from_secs(1))).0, JobOutcome::Interrupted, "stopped at its limit");
        let memory = json!({"Status": "exited", "ExitCode": 1, "OOMKilled": true});
        assert_eq!(judged(memory, None).0, JobOutcome::Interrupted);
        assert_eq!(judged(json!({"Status": "dead"}), None), (JobOutcome::Interrupted, None));
    }

    #[test]
    fn a_job_has_one_name_for_a_commit_and_each_command_its_own() {
        let job = |command: Option<&[&str]>| Job {
            name: "x".to_owned(),
            service: "web".to_owned(),
            command: command.map(|words| words.iter().map(|word| (*word).to_owned()).collect()),
            timeout: Duration::ZERO,
            down: Vec::new(),
            changes_data: None,
            when: Vec::new(),
        };
        let name = |command: Option<&[&str]>| container_name("shop", &job(command), "0123456789abcdef");
        assert_eq!(name(None), "shop-web-job-0123456789ab");
        let migrate = name(Some(&["rake", "db:migrate"]));
        assert_eq!(migrate, name(Some(&["rake", "db:migrate"])));
        assert_ne!(migrate, name(Some(&["rake", "db:seed"])));
        assert_ne!(name(Some(&["a", "b"])), name(Some(&["ab"])));
    }
}
