//! A page of one deployment. It is made of the journal, which every program of a run keeps
//! on the machine that deployed; elsewhere, the servers' ledgers know less.

use crate::history::read_all;
use crate::show::find;
use cm_core::{CommonArgs, Document, Exit, Failure, Io, Journal, MAX_BYTES, OrFail, Result, redact, write_whole};
use cm_ledger::{Record, Verdict};
use cm_project::Project;
use cm_report::Told;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;

/// What a page cannot show that was made of the ledgers alone.
const ONLY_LEDGERS: &str =
    "This machine has no journal of the run: it shows what the servers' ledgers hold, which is less.";

/// Writes the page of `run` (an id, or how it begins; `-` for a document on stdin; `None` for
/// the newest that was recorded here) to `file`, readable by its owner alone; `-` is stdout.
///
/// # Errors
/// [`Exit::Usage`] if there is no such run, or there are several; [`Exit::Config`] if the file
/// cannot be written; those of reading the ledgers.
pub async fn report(common: &CommonArgs, run: Option<&str>, file: &Path, io: &Io) -> Result<()> {
    let (document, note) = match run {
        Some("-") => (read_stdin()?, None),
        Some(run) => match kept(run)? {
            Some(id) => (journalled(&id)?, None),
            None => (from_ledgers(&Project::load(common, cm_git::tracked)?, run, io).await?, Some(ONLY_LEDGERS)),
        },
        None => (journalled(&newest()?)?, None),
    };
    let id = document["run"]["id"].as_str().unwrap_or_default();
    let page = cm_report::page(&document, &told(id), note);
    let page = redact(&page);
    if file == Path::new("-") {
        return io.print(&page);
    }
    write(file, page.as_bytes())?;
    io.log.info(format!("the report of run {id} is in {}", file.display()));
    Ok(())
}

/// Replaces `file` as a whole, so that a browser never loads half of it.
///
/// # Errors
/// [`Exit::Config`] if it cannot be written.
pub fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    let name = file.file_name().and_then(|name| name.to_str());
    let name =
        name.ok_or_else(|| Failure::new(Exit::Usage, "usage.file", format!("{} is not a file", file.display())))?;
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    write_whole(directory, name, bytes).or_fail(Exit::Config, "report.write", cannot())
}

fn read_stdin() -> Result<Value> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.or_fail(Exit::BadInput, "input.unreadable", "cannot read stdin")?;
    Document::parse("cm-record", &bytes).map(|document| document.as_value())
}

fn journalled(id: &str) -> Result<Value> {
    Journal::of(id).newest("cm-record").map(|document| document.as_value())
}

/// The one run of this machine's journal whose id is or begins like `run`.
///
/// # Errors
/// [`Exit::Usage`] if there are several.
pub fn kept(run: &str) -> Result<Option<String>> {
    let mut fit: Vec<_> = Journal::runs().into_iter().filter(|id| id.starts_with(run)).collect();
    match fit.len() {
        0 | 1 => Ok(fit.pop()),
        _ => Err(Failure::new(Exit::Usage, "usage.ambiguous-release", format!("{run:?} fits several runs"))
            .cause(fit.join(" "))
            .hint("give more of the id")),
    }
}

/// Ids sort by time. What only looked, such as cm-verify alone, was not recorded.
fn newest() -> Result<String> {
    let recorded = |id: &String| {
        let names = std::fs::read_dir(Journal::of(id).dir()).into_iter().flatten().flatten();
        names.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with("-cm-record.json"))
    };
    let newest = Journal::runs().into_iter().rev().find(recorded);
    newest.ok_or_else(|| {
        Failure::new(Exit::Usage, "usage.no-run", "no deployment was recorded on this machine")
            .hint("name a run; `cm-record history` lists what the servers know")
    })
}

/// What people were told of a run.
pub fn told(id: &str) -> Vec<Told> {
    // Slack wants three characters written otherwise; people do not.
    let plain = |text: &str| text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let told = |said: cm_notify::Said| Told {
        place: "Slack".to_owned(),
        text: plain(&said.text),
        arrived: said.told,
        at: said.at,
    };
    cm_notify::said(id).into_iter().map(told).collect()
}

async fn from_ledgers(project: &Project, run: &str, io: &Io) -> Result<Value> {
    let ledgers = read_all(project, io).await?;
    let id = find(&ledgers, run)?;
    let found: Vec<_> =
        ledgers.iter().filter_map(|(host, ledger)| Some((host.as_str(), ledger.record(&id)?))).collect();
    Ok(as_document(&project.name(), &found))
}

/// What the records of one run say, in the shape of the document it had.
fn as_document(project: &str, found: &[(&str, &Record)]) -> Value {
    let (mut services, mut built, mut back) = (Vec::new(), json!({}), json!({}));
    for (host, record) in found {
        for (name, state) in &record.services {
            let reasons = record.reasons.get(name).into_iter().flatten();
            let reasons: Vec<_> = reasons.map(|reason| json!({"path": "", "rule": reason})).collect();
            services.push(json!({"name": name, "host": host, "reasons": reasons}));
            let (before, after) = match record.attempted.get(name) {
                Some(tried) => (Some(&state.image_id), tried),
                None => (None, state),
            };
            built[host]["services"][name] = json!({"image": after.image, "image_id": after.image_id, "removed": after.removed, "previous_image_id": before});
        }
        if record.verdict == Verdict::RolledBack {
            back[host] = json!({"commit": record.services.values().next().map(|state| &state.commit), "services": record.services});
        }
    }
    let verdicts: Vec<_> = found.iter().map(|(_, record)| record.verdict).collect();
    let status = match () {
        () if verdicts.contains(&Verdict::RolledBack) => "rolled_back",
        () if verdicts.iter().all(|verdict| verdict.did_well()) => "ok",
        () => "failed",
    };
    let first = found.first().map(|(_, record)| *record).cloned().unwrap_or_default();
    let cause = found.iter().find_map(|(_, record)| record.cause.as_deref());
    json!({
        "schema": cm_core::SCHEMA,
        "run": {"id": first.id, "actor": first.actor, "started_at": first.at, "dry_run": false},
        "project": project, "branch": first.branch, "commit": first.commit, "status": status,
        "services": services,
        "stages": [],
        "facts": {
            "build": {"hosts": built},
            "rollback": {"hosts": back},
            "record": {"hosts": found.iter().map(|(host, _)| host).collect::<Vec<_>>()},
        },
        "error": cause.map(|cause| json!({"stage": "The deployment", "code": "", "message": cause})),
    })
}
