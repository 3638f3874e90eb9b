//! What a deployment is going to do with the containers of a host, step by step in the words of what is run,
//! for a dry run. Whatever only the moment decides stands there in capitals.

use crate::alongside::{BRIDGE, TRIAL, container_alongside};
use crate::job_run::mark;
use crate::rollout::{Change, Options};
use crate::sequence::{self, Sequence};
use cm_core::Result;
use cm_engine::invocation::{alongside_arguments, restart_arguments, up_arguments};
use cm_engine::{ALONGSIDE_LABEL, Alongside, Compose, Config, Container, JobRun};
use cm_ledger::{JobOutcome, Ledger};
use cm_project::{Drain, Job, Project};

/// In the place of what differs between two runs.
const RUN: &str = "RUN";

/// One host, looked at and not changed.
pub struct Foresight<'a> {
    /// The project.
    pub project: &'a Project,
    /// Compose in the host's checkout.
    pub compose: &'a Compose<'a>,
    /// What Compose will say there.
    pub config: &'a Config,
    /// What runs.
    pub before: &'a [Container],
}

impl Foresight<'_> {
    /// How `jobs` are run for `commit`, and what is started for them.
    pub fn jobs(&self, jobs: &[Job], commit: &str, starting: &[String], ledger: &Ledger) -> Vec<String> {
        let mut steps = Vec::new();
        let needed = sequence::needed(self.config, jobs, starting, self.before);
        for (names, wait) in needed.iter().zip([false, true]).filter(|(names, _)| !names.is_empty()) {
            steps.push(self.idle(names, wait));
        }
        for job in jobs {
            let container = self.job_container(job, commit);
            let run = JobRun {
                container: &container,
                job: &job.name,
                service: &job.service,
                command: job.command.as_deref(),
                env: variables(commit, RUN),
                mark: &mark(self.project, &container),
            };
            steps.push(match ledger.job(&job.name, commit).map(|known| known.outcome) {
                Some(JobOutcome::Done) => format!("{} has run for this commit; not again", job.name),
                _ => format!("job {}, once: {}", job.name, self.job(&run)),
            });
        }
        steps
    }

    /// How containers are replaced and removed.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] if `cm.toml` asks for what cannot be.
    pub(crate) fn compose_steps(&self, change: &Change, options: Options) -> Result<Vec<String>> {
        let (collisions, free) = sequence::collisions(self.config, change, self.before);
        let rolling = sequence::candidates(self.project, self.config, &free, self.before, options)?;
        let sequence = Sequence::new(collisions, rolling.into_keys().collect(), change, self.before);
        let mut steps = Vec::new();
        steps.extend(self.up(&sequence.first, options));
        if options.trial {
            steps.extend(sequence.rolling.iter().map(|name| format!("a trial: {}", self.alongside(name, TRIAL))));
        }
        steps.extend(sequence.collisions.iter().map(|one| {
            let removed = change.remove.contains(&one.holder.service);
            let verb = if removed { "stop and remove" } else { "stop" };
            format!("{verb} {}: {} takes {}", one.holder.name, one.taker, one.what)
        }));
        steps.extend(self.up(&sequence.second, options));
        steps.extend(sequence.rolling.iter().map(|name| format!("alongside: {}", self.alongside(name, BRIDGE))));
        steps.extend(self.drains(&sequence.rolling));
        steps.extend(self.up(&sequence.rolling, Options { full: false, ..options }));
        if !sequence.rolling.is_empty() {
            steps.push(format!("stop and remove what ran alongside {}", sequence.rolling.join(", ")));
        }
        steps.extend(change.remove.iter().map(|name| format!("stop and remove the containers of {name}")));
        Ok(steps)
    }

    /// How a service is restarted.
    pub fn restart(&self, service: &str) -> String {
        self.shown(&[], &restart_arguments(service))
    }

    fn shown(&self, more_files: &[&str], arguments: &[String]) -> String {
        self.compose.shown(more_files, arguments)
    }

    fn up(&self, services: &[String], options: Options) -> Option<String> {
        (!services.is_empty()).then(|| self.shown(&[], &up_arguments(services, options.up())))
    }

    fn alongside(&self, service: &str, kind: &str) -> String {
        let (name, label) =
            (container_alongside(&self.config.project, service, kind, RUN), format!("{ALONGSIDE_LABEL}={kind}"));
        let alongside = Alongside { name: &name, label: &label, aliases: kind == BRIDGE };
        self.shown(if alongside.aliases { &["-"] } else { &[] }, &alongside_arguments(service, &alongside))
    }

    fn drains(&self, services: &[String]) -> Vec<String> {
        let drains = services.iter().filter_map(|name| Some((name, self.project.rules(name).drain?)));
        drains.map(|(name, drain)| format!("in the old container of {name}: {}", drain_words(&drain))).collect()
    }
}

/// What a job is told of its release.
pub fn variables(commit: &str, run: &str) -> Vec<(String, String)> {
    [("CM_REVISION", commit), ("CM_RUN_ID", run)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn drain_words(drain: &Drain) -> String {
    let until = drain.until.map_or("", |_| "until its health check says no, at most ");
    let wait = format!("wait {until}{:.1} s", drain.wait.as_secs_f64());
    match drain.command.is_empty() {
        true => wait,
        false => format!("{}, then {wait}", drain.command.join(" ")),
    }
}
