//! What a server says of itself: its programs, its room, its checkout. None of it depends on what is planned, so
//! that in a pipe it is asked from the pipe's start, on the servers that this run is connected to already; the
//! answer counts where the same would be asked once the plan is there.

use super::LIMIT;
use cm_core::{Log, Result};
use cm_host::{Host, Output, Target};
use cm_project::{HostSpec, Project};
use jiff::Timestamp;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const LOOK: &str = concat!(
    "# Looks at the server.\n",
    cm_host::small_sh!(),
    cm_checkout::place_sh!(),
    cm_project::env_keys_sh!(),
    include_str!("look.sh")
);

/// What it said, and when it was asked.
pub struct Said {
    /// The answer.
    pub output: Output,
    /// When it was asked, by the clock of this machine.
    pub asked_at: Timestamp,
    /// How long it took to answer.
    pub took: Duration,
}

/// Servers that are being asked before the plan is there.
#[derive(Default)]
pub struct Early(Mutex<Vec<Asking>>);

struct Asking {
    target: Target,
    arguments: Vec<String>,
    answer: JoinHandle<Result<Said>>,
}

impl Early {
    /// Asks the servers of `project` that this run is connected to.
    pub fn ask(project: &Project, log: &Log) -> Early {
        let ask = |spec: &HostSpec| {
            let target = Target::of(project, spec).ok().filter(Target::is_connected)?;
            let arguments = arguments(project, spec, &target).ok()?;
            let (to, words, log) = (target.clone(), arguments.clone(), log.clone());
            let answer = tokio::spawn(async move { ask(&Host::connect(&to, &log).await?, words).await });
            Some(Asking { target, arguments, answer })
        };
        Early(Mutex::new(project.hosts().iter().filter_map(ask).collect()))
    }

    /// What the server says, asked now unless the same was asked before.
    ///
    /// # Errors
    /// [`cm_core::Exit::Unreachable`]; [`cm_core::Exit::Config`] for a checkout that wants a variable.
    pub async fn look(&self, project: &Project, spec: &HostSpec, host: &Host) -> Result<Said> {
        let arguments = arguments(project, spec, host.target())?;
        if let Some(asking) = self.take(host.target(), &arguments)
            && let Ok(Ok(said)) = asking.answer.await
        {
            return Ok(said);
        }
        ask(host, arguments).await
    }

    fn take(&self, target: &Target, arguments: &[String]) -> Option<Asking> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = asked.iter().position(|asking| asking.target == *target && asking.arguments == arguments)?;
        Some(asked.remove(same))
    }
}

async fn ask(host: &Host, arguments: Vec<String>) -> Result<Said> {
    let (began, asked_at) = (Instant::now(), Timestamp::now());
    let output = host.script(LOOK, arguments).limit(LIMIT).output().await?;
    Ok(Said { output, asked_at, took: began.elapsed() })
}

fn arguments(project: &Project, spec: &HostSpec, target: &Target) -> Result<Vec<String>> {
    let fixed = [
        target.path(&spec.checkout()?),
        cm_git::origin(project).unwrap_or_default(),
        project.remote().to_owned(),
        env_file(project).unwrap_or_default(),
        project.variable_files().into_iter().next().unwrap_or_default(),
    ];
    Ok(fixed.into_iter().chain(project.protected().iter().cloned()).collect())
}

/// The env file as the server has it, relative to the checkout.
pub fn env_file(project: &Project) -> Option<String> {
    let file = project.config.compose.env_file.as_ref()?;
    Some(project.variable_files().into_iter().next().unwrap_or_else(|| file.clone()))
}
