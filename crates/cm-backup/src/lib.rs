//! Take backups of databases and verify them. Before a deploy it reads the databases of the
//! platform, in their containers on the servers, into files on those servers, reads each file back
//! to its last byte, and fails the deploy if anything is missing: a backup that is not verified is
//! none. MongoDB it reads by itself; others are dumped by their own programs.

mod args;
mod backup;
mod check;
mod choices;
mod copied;
mod copies;
mod dumps;
mod file;
mod listed;
mod listing;
mod location;
mod mongodump;
mod name;
mod pipe;
mod plan;
mod prepared;
mod prune;
mod remote;
mod report;
mod restore;
mod retention;
mod run_on;
mod source;
mod stdout;
mod store;
mod task;
mod to;

use args::Args;
pub use listing::Shown;

use args::Command;
use check::Check;
use cm_core::facts::{BackupFacts, DetectFacts};
use cm_core::{CommonArgs, Document, Done, Exit, Io, Result, Run, Step};
use file::BackupFile;
use location::Flags;
use report::Report;
use retention::Retention;
use std::path::Path;
use std::time::Instant;
use store::Store;
use task::Task;

/// `cm-backup`.
#[derive(Debug)]
pub struct Tool;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-backup";
    const EXAMPLES: [(&'static str, &'static str); 2] = [
        ("cm-backup </dev/null", "back up what cm.toml says, and verify it"),
        ("cm-backup verify FILE", "is this backup whole?"),
    ];
    const SCHEMAS: &'static [&'static str] = &[cm_ledger::SCHEMA];
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn step(_: &Args) -> Step {
        Step::Backup
    }

    async fn command(args: &Args, io: &Io) -> Option<Result<Exit>> {
        match &args.command {
            Some(Command::Verify { file, manifest, restore_check, json }) => {
                let flags = args.flags();
                let file = BackupFile::find(&flags, file, &io.log).await;
                let check = |file| Check { file, manifest: manifest.as_deref(), strict: args.strict };
                Some(match &file {
                    Ok(file) => check(file).run(restore_check.then_some(&flags), *json, io).await,
                    Err(failure) => Err(failure.clone()),
                })
            }
            Some(Command::Prune { directory }) => {
                Some(prune::run(&args.flags(), args.retention(), directory.as_deref(), io).await)
            }
            Some(Command::Restore(restore)) => Some(restore::run(&restore.request(args), io).await),
            Some(Command::CarryOut { order }) => Some(remote::run(order, io).await),
            Some(Command::List { directory, json, wide }) => {
                let shown = if *json { Shown::Json } else { Shown::Table { wide: *wide } };
                Some(list(&args.flags(), directory.as_deref(), shown, io).await)
            }
            None if args.output.as_deref().is_some_and(|path| path.as_os_str() == "-") => Some(match args.request() {
                Ok(request) => stdout::run(&request, io).await,
                Err(failure) => Err(failure),
            }),
            None => None,
        }
    }

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        let tasks = task::plan(&args.request()?, run)?;
        if tasks.is_empty() {
            run.doc.set_part(&report::no_backup("not configured"));
            return Ok(Done::skipped("cm.toml has no [backup]"));
        }
        if !args.flags().names_one() && changes_nothing(&run.doc) {
            let why = "nothing is to be deployed";
            run.log.info(format!("no backup: {why}"));
            run.doc.set_part(&report::no_backup(why));
            return Ok(Done::skipped(why));
        }
        if run.dry_run() {
            let would = tasks.iter().map(Task::describe).collect::<Vec<_>>().join("; ");
            let would = format!("would back up {would}");
            run.log.info(format!("{would}, read the file back to its last byte, and only then give it its name"));
            return Ok(Done::ok(would));
        }
        let mut reports = Vec::new();
        let mut stores = Vec::new();
        for task in &tasks {
            run.log.info(format!("backing up {}", task.describe()));
            let clock = Instant::now();
            let mut made = task.carry_out(run).await?;
            stores.extend(made.store.clone().filter(|_| made.in_a_series));
            let copied = made.copy(task.copy.as_ref(), &run.log).await;
            reports.push(Report::of(made, clock.elapsed(), &run.log));
            // Also where the copy failed: the backup is there.
            run.doc.set_part(&report::facts(&reports));
            copied?;
        }
        let done = report::done(&reports);
        Ok(remove_old(&args.flags(), args.retention(), stores, run, done).await)
    }
}

/// Whether a plan was made in this run, and all of it is there and leaves everything as it is.
fn changes_nothing(doc: &Document) -> bool {
    let (named, services) = (doc.part::<DetectFacts>().services, doc.services());
    let is_whole = named == Some(services.len() as u64) && !services.is_empty();
    doc.done(Step::Detect).is_some() && is_whole && doc.planned().is_empty()
}

/// Removes what is too old. The new backups are verified, so that nothing here is worth a failed deploy.
async fn remove_old(flags: &Flags, wanted: Retention, mut stores: Vec<Store>, run: &mut Run, done: Done) -> Done {
    stores.sort_by_key(|store| store.display(""));
    stores.dedup_by_key(|store| store.display(""));
    let removed = async {
        let mut removed = Vec::new();
        let project = location::project_if_any(flags, true)?;
        let retentions = wanted.or_of(project.as_ref());
        let made = report::names(&run.doc.part());
        for store in stores.iter().filter(|_| retentions.is_set()) {
            removed.extend(prune::prune(project.as_ref(), store, (&retentions, &made), run).await?);
        }
        Ok::<_, cm_core::Failure>(removed)
    };
    match removed.await {
        Ok(removed) if removed.is_empty() => done,
        Ok(removed) => {
            run.doc.add_part(&BackupFacts { removed: Some(removed), ..BackupFacts::default() });
            done
        }
        Err(failure) => {
            run.log.warn("old backups were not removed:");
            run.log.failure(&failure);
            done.warned_of("old backups were not removed")
        }
    }
}

async fn list(flags: &Flags, directory: Option<&Path>, shown: Shown, io: &Io) -> Result<Exit> {
    let stores = match directory {
        Some(directory) => vec![location::local_store(flags, directory, &io.log).await?],
        None => location::configured_stores(flags, &io.log).await?,
    };
    listing::show(&stores, shown, io).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_whole_plan_says_that_nothing_is_deployed() {
        let mut value = Document::start("cm-detect", "ada", false).as_value();
        let service = |name: &str, action: &str| json!({"name": name, "host": "h", "action": action});
        value["stages"] = json!([{"tool": "cm-detect", "step": "detect", "version": "1", "status": "ok", "exit": 0,
            "changed": false, "started_at": "", "duration_ms": 1, "summary": ""}]);
        for (services, named, nothing) in [
            (json!([service("web", "none"), service("db", "none")]), json!(2), true),
            (json!([service("web", "build"), service("db", "none")]), json!(2), false),
            (json!([service("db", "none")]), json!(2), false),
            (json!([service("db", "none")]), json!(null), false),
            (json!([]), json!(0), false),
        ] {
            value["services"] = services.clone();
            value["facts"] = json!({"detect": {"services": named}});
            let doc = Document::parse("cm-backup", value.to_string().as_bytes()).expect("a document");
            assert_eq!(changes_nothing(&doc), nothing, "{services} {named}");
        }
    }
}
