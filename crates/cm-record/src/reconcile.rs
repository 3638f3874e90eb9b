//! What interrupted runs have left, reconciled by the next one, under its lock: the ledgers say
//! what Docker runs of them, the ops API hears of them, and one of them may be resumed from its
//! journal, unless another run came between.

use crate::{abandoned, event, outbox::Outbox};
use cm_core::{CommonArgs, Document, Exit, Failure, Io, Journal, Log, Result, StageStatus, Status, Step};
use cm_host::{Connect, Host};
use cm_lease::{Guard, Identity, with_lock_asked_meanwhile};
use cm_ledger::{Ledger, Record};
use cm_project::Project;
use futures_util::future::join_all;
use std::collections::BTreeMap;

/// This program's name, in documents and in the journal.
const TOOL: &str = "cm-record";

/// Reconciles on `names` (all hosts if there is none); gives the document that `resume` is
/// resumed from.
///
/// # Errors
/// Those of the lock and of the ledgers; [`Exit::Usage`] for a run that has ended or is not this
/// project's, [`Exit::BadInput`] for one without a journal here, [`Exit::Detect`] for one that
/// another run overtook.
pub async fn reconcile(
    project: &Project,
    common: &CommonArgs,
    names: &[String],
    resume: Option<&str>,
    io: &Io,
) -> Result<Option<Document>> {
    let resumed = resume.map(|id| unended(id, project)).transpose()?;
    let hosts = match names {
        [] => project.connect_to_all(&io.log).await?,
        names => project.connect(names, &io.log).await?,
    };
    let identity = Identity::new("record", common.dry_run, &io.log);
    let reconcile = async |guard: &Guard| reconcile_all(project, &hosts, guard, common.dry_run, &io.log).await;
    let (reconciled, ledgers) = with_lock_asked_meanwhile(project, &hosts, identity, reconcile).await?;
    for record in reconciled.values().filter(|record| resume != Some(record.id.as_str()) && !common.dry_run) {
        Outbox::of(project).send(project, &event::of_abandoned(&project.name(), record), &io.log).await;
    }
    if let Some(doc) = &resumed {
        overtaken(doc, &ledgers)?;
        tell_skipped(doc, &io.log);
    }
    Ok(resumed)
}

type Reconciled = (BTreeMap<String, Record>, Vec<(String, Ledger)>);

/// What was reconciled, by run, and the ledgers.
async fn reconcile_all(
    project: &Project,
    hosts: &[Host],
    guard: &Guard,
    dry_run: bool,
    log: &Log,
) -> Result<Reconciled> {
    let (mut reconciled, mut ledgers) = (BTreeMap::new(), Vec::new());
    let name = project.name();
    let read = join_all(hosts.iter().map(|host| Ledger::read_recent(host, &name))).await;
    for (host, ledger) in hosts.iter().zip(read) {
        let mut ledger = ledger?;
        let gone = abandoned::of(host, &project.name(), &ledger, guard.nonce().as_deref()).await?;
        if !gone.is_empty() {
            let checkout = project.host(host.name())?.checkout()?;
            let name = cm_engine::project_name(project, host, &checkout).await?;
            let containers = cm_engine::containers(host, &name).await?;
            for record in gone {
                let record = abandoned::reconciled(&record, &containers);
                log.warn(format!("on {}: {}", host.name(), line(&record)));
                if !dry_run {
                    Ledger::append(&guard.fenced(host)?, &project.name(), &record).await?;
                }
                ledger.apply(record.clone());
                reconciled.insert(record.id.clone(), record);
            }
        }
        ledgers.push((host.name().to_owned(), ledger));
    }
    Ok((reconciled, ledgers))
}

fn line(record: &Record) -> String {
    let names = |services: &BTreeMap<String, _>| services.keys().cloned().collect::<Vec<_>>().join(", ");
    let runs = match record.services.is_empty() {
        true => "nothing of it runs".to_owned(),
        false => format!("of it run: {}", names(&record.services)),
    };
    format!("run {} of {} is abandoned: its owner is gone; {runs}", record.id, record.actor)
}

/// The newest document of a run that has not come to its end.
fn unended(id: &str, project: &Project) -> Result<Document> {
    let journal = Journal::named(id)?;
    let doc = journal.resumed(TOOL)?;
    let refused = |code, why: String| {
        Failure::new(Exit::Usage, code, format!("run {id} cannot be resumed: {why}"))
            .hint("a deployment without --resume deploys again from what the servers run")
    };
    if doc.project() != Some(project.name().as_str()) {
        let other = doc.project().unwrap_or("no project");
        return Err(refused("resume.project", format!("it is of {other}, and this is {}", project.name())));
    }
    if doc.dry_run() {
        return Err(refused("resume.dry-run", "it was a dry run".to_owned()));
    }
    if has_ended(&doc) {
        return Err(refused("resume.ended", format!("it has ended, {}", event::status(&doc).as_str())));
    }
    // Where the ledgers could not be written, writing them is what is left to do.
    Ok(doc)
}

/// Whether a run has come to its end: its outcome is recorded.
pub fn has_ended(doc: &Document) -> bool {
    doc.stages().last().is_some_and(|stage| stage.step == Some(Step::Record) && stage.status != StageStatus::Failed)
}

/// What was planned may go on only where nothing else was done meanwhile.
fn overtaken(doc: &Document, ledgers: &[(String, Ledger)]) -> Result<()> {
    let hosts = doc.hosts();
    for (host, ledger) in ledgers.iter().filter(|(host, _)| hosts.contains(host)) {
        // Run ids sort by time. What was reconciled and did nothing is in nobody's way.
        let later = |record: &&Record| record.id.as_str() > doc.run_id() && !record.services.is_empty();
        if let Some(later) = ledger.records().iter().find(later) {
            let message = format!("run {} was overtaken on {host} by run {} ({})", doc.run_id(), later.id, later.actor);
            return Err(Failure::new(Exit::Detect, "resume.overtaken", message)
                .hint("a deployment without --resume deploys what is still missing"));
        }
    }
    Ok(())
}

fn tell_skipped(doc: &Document, log: &Log) {
    log.info(format!("resuming run {}, which was interrupted", doc.run_id()));
    for stage in doc.stages().iter().filter(|stage| stage.did_its_work()) {
        log.info(format!("not again: {} (done at {}: {})", stage.tool, stage.started_at, stage.summary));
    }
    if doc.status() != Status::Ok {
        log.warn("it had failed before it was interrupted: what it changed is rolled back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_ledger::ServiceState;
    use serde_json::json;

    /// Run ids sort by time.
    fn id(n: u8) -> String {
        format!("01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a0{n}")
    }

    fn record(n: u8, services: &[&str]) -> Record {
        let mut record = Record::new(&id(n), "bob", "main", "c");
        record.services = services.iter().map(|name| ((*name).to_owned(), ServiceState::default())).collect();
        record
    }

    #[test]
    fn a_run_goes_on_only_where_no_other_changed_its_hosts_since() {
        let mut value = Document::start("cm-detect", "ada", false).as_value();
        value["run"]["id"] = id(2).into();
        value["services"] = json!([{"name": "web", "host": "a", "action": "build", "reasons": []}]);
        let doc = Document::parse(TOOL, value.to_string().as_bytes()).expect("valid");
        let ledgers = |host: &str, records: &[Record]| {
            let lines: Vec<_> = records.iter().map(|record| json!(record).to_string()).collect();
            [(host.to_owned(), Ledger::parse(lines.join("\n").as_bytes()))]
        };
        let own = [record(1, &["web"]), record(2, &["web"]), record(3, &[])];
        assert!(overtaken(&doc, &ledgers("a", &own)).is_ok(), "what did nothing is in nobody's way");
        let later = [record(2, &["web"]), record(3, &["db"])];
        assert!(overtaken(&doc, &ledgers("b", &later)).is_ok(), "on a host it does not touch");
        let failure = overtaken(&doc, &ledgers("a", &later)).expect_err("overtaken");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Detect, "resume.overtaken"));
        assert!(failure.message.contains(&format!("by run {} (bob)", id(3))), "{failure}");
    }
}
