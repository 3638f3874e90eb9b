//! What the jobs of the releases that are left did to the data is undone, where cm.toml says by which command
//! (`down`): in the image that is left, before anything of it is moved. No other job is run by a rollback.

use crate::target::HostTarget;
use cm_core::{Document, Exit, Failure, Result, Run};
use cm_engine::Compose;
use cm_host::Host;
use cm_lease::Guard;
use cm_ledger::{JobOutcome, JobState, Ledger, Record, Verdict};
use cm_project::{Job, Project};
use cm_rollout::{Once, Rollout};
use std::collections::BTreeMap;

/// The jobs that were done in the releases after the one that `target` rolls back to, by name: the newest of each.
pub fn left(ledger: &Ledger, target: &HostTarget) -> BTreeMap<String, JobState> {
    let from = target.choice.oldest.map_or(0, |at| at + 1);
    let jobs = ledger.records().iter().skip(from).flat_map(|record| &record.jobs);
    let done = jobs.filter(|(_, state)| state.outcome == JobOutcome::Done && state.commit != target.choice.commit);
    done.map(|(name, state)| (name.clone(), state.clone())).collect()
}

/// The same, said to be undone.
pub fn undone(jobs: &BTreeMap<String, JobState>) -> BTreeMap<String, JobState> {
    let state = |state: &JobState| JobState { outcome: JobOutcome::Undone, ..state.clone() };
    jobs.iter().map(|(name, job)| (name.clone(), state(job))).collect()
}

/// Runs the `down` commands of `jobs`, in the reverse of their order; gives those that were undone.
///
/// # Errors
/// [`Exit::RollbackFailed`] with what the command said; nothing else was changed then.
pub async fn run(
    project: &Project,
    host: &Host,
    target: &HostTarget,
    ledger: &Ledger,
    guard: &Guard,
    run: &Run,
) -> Result<BTreeMap<String, JobState>> {
    let jobs = left(ledger, target);
    let mut downs: Vec<Job> = known(project, &jobs).into_iter().filter(|job| !job.down.is_empty()).collect();
    downs.reverse();
    if downs.is_empty() {
        return Ok(BTreeMap::new());
    }
    let compose = Compose::of(project, host, &target.checkout);
    let config = compose.config().await?;
    let rollout = Rollout { project, host, compose: &compose, config: &config, guard, log: &run.log };
    let env = [("CM_FROM", target.head.as_str()), ("CM_TO", target.choice.commit.as_str())];
    let mut once = Once {
        // Once in this rollback, whoever resumes it.
        commit: run.doc.run_id().to_owned(),
        ledger: ledger.clone(),
        record: record(&run.doc, ledger, guard),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    let mut taken_back = BTreeMap::new();
    for job in downs {
        let name = job.name.clone();
        let down = Job { name: format!("{name} (down)"), command: Some(job.down.clone()), ..job };
        let report = rollout.run_job(&down, &mut once).await?;
        if report.state.outcome != JobOutcome::Done {
            return Err(failed(host.name(), &name, &report.state, &report.tail));
        }
        taken_back.extend(jobs.get(&name).map(|state| (name, state.clone())));
    }
    Ok(undone(&taken_back))
}

/// What cm.toml says of the jobs, in their order.
fn known(project: &Project, jobs: &BTreeMap<String, JobState>) -> Vec<Job> {
    let commands = project.release_commands();
    let services = jobs.iter().filter(|(name, state)| **name == state.service).map(|(name, _)| project.job(name));
    let commands = commands.into_iter().filter(|job| jobs.contains_key(&job.name));
    services.chain(commands).collect()
}

/// What a record of a `down` begins with: the run's own where it has one, which says what runs.
fn record(doc: &Document, ledger: &Ledger, guard: &Guard) -> Record {
    let own = ledger.record(doc.run_id()).cloned();
    let record = own.unwrap_or_else(|| Record { verdict: Verdict::Started, ..Record::of(doc) });
    Record { lock: guard.nonce(), ..record }
}

fn failed(host: &str, name: &str, state: &JobState, tail: &[String]) -> Failure {
    let why = match (&state.cause, state.exit_code) {
        (Some(cause), _) => format!(": {cause}"),
        (None, Some(code)) => format!(" (exit code {code})"),
        (None, None) => String::new(),
    };
    let message = format!("on {host}: the command that undoes {name} failed{why}; no container was touched");
    let failure = Failure::new(Exit::RollbackFailed, "rollback.down", message);
    let failure =
        if tail.is_empty() { failure } else { failure.cause(format!("its last lines:\n{}", tail.join("\n"))) };
    failure.hint("look at the database; fix the `down` command in cm.toml, or take it out and roll back with --confirm: the data then stays as it is")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choose::Choice;
    use std::collections::BTreeSet;

    fn record(id: &str, commit: &str, outcome: JobOutcome) -> Record {
        let mut record = Record::new(id, "ada", "main", commit);
        let state =
            JobState { commit: commit.to_owned(), service: "migrate".to_owned(), outcome, ..JobState::default() };
        record.jobs.insert("migrate".to_owned(), state);
        record
    }

    fn target(oldest: Option<usize>) -> HostTarget {
        HostTarget {
            host: "h".to_owned(),
            checkout: "~/x".to_owned(),
            choice: Choice { oldest, commit: "aaaa".to_owned(), ..Choice::default() },
            gone: BTreeSet::new(),
            head: "cccc".to_owned(),
            endangered: Vec::new(),
            backups: Vec::new(),
        }
    }

    #[test]
    fn only_what_was_done_after_the_target_is_taken_back_and_the_newest_of_it() {
        let mut ledger = Ledger::default();
        ledger.apply(record("1", "aaaa", JobOutcome::Done));
        ledger.apply(record("2", "bbbb", JobOutcome::Done));
        ledger.apply(record("3", "cccc", JobOutcome::Failed));
        let commit = |oldest| left(&ledger, &target(oldest)).remove("migrate").map(|state| state.commit);
        assert_eq!((commit(Some(0)), commit(Some(1))), (Some("bbbb".to_owned()), None));
        let undone = undone(&left(&ledger, &target(Some(0))));
        assert!(undone["migrate"].outcome.runs_again());
    }
}
