//! What a person says about a job that was interrupted.

use crate::args::Decision;
use cm_core::{Done, Exit, Failure, Result, Run};
use cm_host::{Connect, Host};
use cm_lease::{Guard, Identity, with_lock};
use cm_ledger::{JobOutcome, JobState, Ledger, Record};
use cm_project::Project;

/// Writes the decision into the ledger of the host that has the job.
///
/// # Errors
/// [`Exit::Usage`] if no host knows of such a job; those of the lock and of the ledger.
pub async fn run(project: &Project, decision: &Decision, run: &mut Run) -> Result<Done> {
    run.doc.set_target(&project.name(), None, None);
    let hosts = project.connect_to_all(&run.log).await?;
    let identity = Identity::from(&*run);
    with_lock(project, &hosts, identity, async |guard| decide(project, decision, &hosts, guard, run).await).await
}

async fn decide(project: &Project, decision: &Decision, hosts: &[Host], guard: &Guard, run: &Run) -> Result<Done> {
    let (name, outcome) = (&decision.name, if decision.again { JobOutcome::Again } else { JobOutcome::Done });
    for host in hosts {
        let ledger = Ledger::read(host, &project.name()).await?;
        let Some((record, job)) = newest(&ledger, name) else { continue };
        let short = job.commit.get(..12).unwrap_or(&job.commit).to_owned();
        if job.outcome == outcome {
            return Ok(Done::ok(format!("{name} of {short} is {} already", outcome.as_str())));
        }
        let what = match outcome {
            JobOutcome::Again => format!("the next deployment of {short} runs {name} again"),
            _ => format!("{name} of {short} counts as done"),
        };
        if run.dry_run() {
            return Ok(Done::ok(format!("would say on {}: {what}", host.name())));
        }
        let mut record = record.clone();
        record.jobs.insert(name.clone(), JobState { outcome, ..job.clone() });
        Ledger::append(&guard.fenced(host)?, &project.name(), &record).await?;
        run.log.success(format!("on {}: {what}", host.name()));
        return Ok(Done::ok(what).changed(true));
    }
    Err(Failure::new(Exit::Usage, "usage.unknown-job", format!("no host has run a job {name:?}"))
        .hint("the name is that of the error: the service, or \"SERVICE: COMMAND\"; cm-record show RELEASE has those of a release"))
}

/// The newest word of a ledger about the job, and its record.
fn newest<'a>(ledger: &'a Ledger, name: &str) -> Option<(&'a Record, &'a JobState)> {
    ledger.records().iter().rev().find_map(|record| Some((record, record.jobs.get(name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_about_the_newest_run_of_the_job() {
        let mut ledger = Ledger::default();
        for (id, commit) in [("1", "aaaa"), ("2", "bbbb"), ("3", "")] {
            let mut record = Record::new(id, "ada", "main", commit);
            if !commit.is_empty() {
                record.jobs.insert("migrate".to_owned(), JobState { commit: commit.to_owned(), ..JobState::default() });
            }
            ledger.apply(record);
        }
        assert_eq!(
            newest(&ledger, "migrate").map(|(record, job)| (record.id.as_str(), job.commit.as_str())),
            Some(("2", "bbbb"))
        );
        assert!(newest(&ledger, "other").is_none());
    }
}
