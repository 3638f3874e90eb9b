//! The jobs and release commands of a deployment on one host: run in their order, written into the ledger, and
//! judged.

use crate::HostPlan;
use crate::built::Built;
use crate::stopped::all_done;
use cm_core::{Action, Exit, Failure, Log, Result};
use cm_engine::Config;
use cm_lease::Guard;
use cm_ledger::{JobOutcome, Ledger, RecordedBackup, Verdict};
use cm_project::{Job, Project};
use cm_rollout::{JobReport, Once, Rollout, restore_lines, variables};
use std::collections::BTreeSet;

/// The services of the plan that are there afterwards.
pub fn planned(plan: &HostPlan) -> Vec<String> {
    let stays = plan.services.iter().filter(|service| !matches!(service.action, Action::None | Action::Remove));
    stays.map(|service| service.name.clone()).collect()
}

/// For each host the services whose jobs and commands run there: of several that have one, the first.
pub fn owners(project: &Project, hosts: &[(&HostPlan, &Config)]) -> Vec<BTreeSet<String>> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let own = |(plan, config): &(&HostPlan, &Config)| {
        let planned = planned(plan);
        let here = |service: &&String| {
            planned.contains(service) || project.host_of(service).is_some_and(|spec| spec.name == plan.host)
        };
        let services: Vec<String> = config.services.keys().filter(here).cloned().collect();
        services.into_iter().filter(|service| taken.insert(service.clone())).collect()
    };
    hosts.iter().map(own).collect()
}

/// Runs `jobs` one after the other; the first that is not done ends it.
///
/// # Errors
/// [`Exit::Build`] with what the job said; what [`Rollout::run_job`] says.
pub async fn run(host: &mut Built<'_>, jobs: &[Job], guard: &Guard, log: &Log) -> Result<()> {
    let site = &host.observed.site;
    let (project, release) = (site.project, site.release);
    let compose = site.compose();
    let rollout = Rollout { project, host: site.host, compose: &compose, config: &host.parts.config, guard, log };
    let mut record = release.record();
    (record.verdict, record.lock) = (Verdict::Started, guard.nonce());
    let fresh = |job: &&Job| {
        host.observed.ledger.job(&job.name, release.commit()).is_none_or(|known| known.outcome != JobOutcome::Done)
    };
    let marks = jobs.iter().filter(fresh).flat_map(|job| irreversible(project, job, host.observed.changed.as_deref()));
    record.irreversible = host.observed.irreversible.iter().cloned().chain(marks).collect();
    // Before the first of them: whoever comes next knows what may have been done to the data.
    Ledger::append(&guard.fenced(site.host)?, &release.project, &record).await?;
    host.parts.jobs_begun = true;
    let starting = site.plan.to_start();
    rollout.start_needed(jobs, &starting, &host.observed.before).await?;
    let (irreversible, backups) = (record.irreversible.clone(), record.each_backup());
    let env = variables(release.commit(), release.id());
    let commit = release.commit().to_owned();
    let mut once = Once { commit, ledger: host.observed.ledger.clone(), record, env };
    let mut reports = Vec::new();
    let mut ended = Ok(());
    for job in jobs {
        match rollout.run_job(job, &mut once).await {
            Ok(report) => reports.push(report),
            Err(failure) => ended = Err(failure),
        }
        if ended.is_err() || !all_done(&reports) {
            break;
        }
    }
    host.parts.jobs = reports;
    host.observed.irreversible = irreversible;
    ended?;
    match host.parts.jobs.iter().find(|report| report.state.outcome != JobOutcome::Done) {
        Some(report) => Err(failed(project, host.observed.site.host.name(), report, &backups)),
        None => Ok(()),
    }
}

/// What a job does to the data that older code cannot undo, as a record names it.
fn irreversible(project: &Project, job: &Job, changed: Option<&[String]>) -> Vec<String> {
    let itself = || vec![format!("the job {}", job.name)];
    let matched = job.matched(changed.unwrap_or_default());
    let files = || if matched.is_empty() { itself() } else { matched.clone() };
    match job.changes_data {
        _ if !job.down.is_empty() => Vec::new(),
        Some(false) => Vec::new(),
        Some(true) => files(),
        None if !job.when.is_empty() => files(),
        None if project.migrations().is_empty() => itself(),
        None => Vec::new(),
    }
}

/// What a host says that is ready, and left because of another one.
pub fn held(failure: &Failure) -> Failure {
    Failure::new(failure.exit, "release.held", "nothing was switched, because the release stopped on another host")
        .hint("what is wrong there is said above; then deploy again")
}

/// A job that is not done. The services run what they ran; the data is what it is.
fn failed(project: &Project, host: &str, report: &JobReport, backups: &[RecordedBackup]) -> Failure {
    let (name, state) = (&report.job.name, &report.state);
    let interrupted = state.outcome != JobOutcome::Failed;
    let (code, what) = match (interrupted, state.exit_code) {
        (true, _) => {
            let why = state.cause.as_deref().unwrap_or("nothing says how it ended");
            ("release.interrupted", format!("{name} was interrupted: {why}"))
        }
        (false, Some(exit)) => ("release.failed", format!("{name} failed (exit code {exit})")),
        (false, None) => ("release.failed", format!("{name} failed")),
    };
    let message = format!("on {host}: {what}; nothing was switched: every service runs what it ran before");
    let mut failure = Failure::new(Exit::Build, code, message);
    if !report.tail.is_empty() {
        failure = failure.cause(format!("its last lines:\n{}", report.tail.join("\n")));
    }
    let next = if interrupted {
        format!(
            "it is not run again unasked: look at the database, then `cm-build job {} --again </dev/null` lets the next deployment \
             run it again, and --done takes it for done",
            cm_lease::quote(name)
        )
    } else {
        "fix it and deploy again: it then runs again".to_owned()
    };
    let data = match backups {
        [] => "no backup was made before it".to_owned(),
        backups => restore_lines(project, backups),
    };
    let log = if report.log.is_empty() { String::new() } else { format!(". All of its log: {}", report.log) };
    failure.hint(format!("it may have changed data, and the database is as it left it; {data}; {next}{log}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_ledger::JobState;
    use std::time::Duration;

    fn project(more: &str) -> Project {
        let text = format!("[backup]\nservice = \"db\"\ndatabase = \"shop\"\n{more}");
        let config = cm_project::Config::parse("cm.toml", &text).expect("valid");
        Project::of("/x".into(), "/x".into(), String::new(), config)
    }

    fn job(when: &[&str], down: &[&str], changes_data: Option<bool>) -> Job {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (name, service) = ("migrate".to_owned(), "migrate".to_owned());
        Job {
            name,
            service,
            command: None,
            timeout: Duration::ZERO,
            down: strings(down),
            changes_data,
            when: strings(when),
        }
    }

    #[test]
    fn what_a_job_did_to_the_data_is_taken_for_granted_unless_somebody_knows_better() {
        let (plain, told) = (project(""), project("[rollback]\nmigrations = [\"m/**\"]\n"));
        let changed = ["m/1".to_owned(), "x".to_owned()];
        for (project, job, marks) in [
            (&plain, job(&[], &[], None), &["the job migrate"][..]),
            (&told, job(&[], &[], None), &[]),
            (&told, job(&[], &[], Some(true)), &["the job migrate"]),
            (&plain, job(&[], &[], Some(false)), &[]),
            (&plain, job(&["m/**"], &[], None), &["m/1"]),
            (&told, job(&["m/**"], &[], None), &["m/1"]),
            (&plain, job(&["m/**"], &["down"], None), &[]),
        ] {
            assert_eq!(irreversible(project, &job, Some(&changed)), marks, "{job:?}");
        }
        assert_eq!(irreversible(&plain, &job(&["m/**"], &[], None), None), ["the job migrate"]);
    }

    #[test]
    fn a_failed_job_names_its_last_lines_the_backup_and_the_command() {
        let report = |outcome, exit_code| JobReport {
            job: job(&[], &[], None),
            state: JobState { outcome, exit_code, ..JobState::default() },
            ran: true,
            took: Duration::ZERO,
            tail: vec!["relation exists".to_owned()],
            log: "/x/job.log".to_owned(),
        };
        let backup = RecordedBackup { place: "db:/b/1.gz".to_owned(), ..RecordedBackup::default() };
        let failure = failed(&project(""), "one", &report(JobOutcome::Failed, Some(3)), std::slice::from_ref(&backup));
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Build, "release.failed"));
        let said = format!("{failure} {}", failure.hint.as_deref().unwrap_or_default());
        for words in [
            "exit code 3",
            "every service runs what it ran",
            "relation exists",
            "cm-backup restore db:/b/1.gz --drop --confirm=shop",
        ] {
            assert!(said.contains(words), "{words} in {said}");
        }
        let failure = failed(&project(""), "one", &report(JobOutcome::Interrupted, None), &[]);
        assert_eq!(failure.code, "release.interrupted");
        assert!(failure.hint.expect("a hint").contains("cm-build job migrate --again"));
    }
}
