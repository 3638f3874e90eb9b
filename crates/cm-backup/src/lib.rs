//! Take a MongoDB backup and verify it. Before a deploy it reads the database of the
//! platform, in its container on a server, into a mongodump archive on that server,
//! reads the archive back to its last byte, and fails the deploy if anything is
//! missing: a backup that is not verified is none.

mod args;
mod backup;
mod check;
mod choices;
mod copied;
mod envfile;
mod file;
mod listing;
mod location;
mod mongodump;
mod name;
mod pipe;
mod plan;
mod prune;
mod remote;
mod restore;
mod source;
mod stdout;
mod store;

pub use args::Args;

use args::Command;
use backup::{Backup, Outcome};
use check::Check;
use cm_archive::manifest::{self, Deploy, Manifest};
use cm_archive::text;
use cm_core::facts::BackupFacts;
use cm_core::{CommonArgs, Done, Exit, Io, Log, Result, Run, Step};
use file::BackupFile;
use location::Flags;
use plan::{Plan, Route};
use prune::Retention;
use source::Source;
use std::path::Path;
use std::time::Instant;
use store::Store;

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
            Some(Command::List { directory, json }) => Some(list(&args.flags(), directory.as_deref(), *json, io).await),
            None if args.output.as_deref().is_some_and(|path| path.as_os_str() == "-") => Some(match args.request() {
                Ok(request) => stdout::run(&request, io).await,
                Err(failure) => Err(failure),
            }),
            None => None,
        }
    }

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        let retention = args.retention();
        let Some(plan) = Plan::make(args.request()?, run)? else {
            run.doc.set_part(&no_backup("not configured"));
            return Ok(Done::skipped("cm.toml has no [backup]"));
        };
        if run.dry_run() {
            let would = format!("would back up {}", plan.describe());
            run.log.info(format!("{would}, read the file back to its last byte, and only then give it its name"));
            return Ok(Done::ok(would));
        }
        run.log.info(format!("backing up {}", plan.describe()));
        let clock = Instant::now();
        let outcome = carry_out(&plan, run).await?;
        let kept = outcome.1.clone().filter(|_| plan.is_in_a_series());
        let done = report(run, outcome, &clock);
        match kept {
            Some(store) => Ok(remove_old(&plan.request.flags, retention, &store, run, done).await),
            None => Ok(done),
        }
    }
}

/// Removes what is too old. The new backup is verified, so that nothing here is worth a failed deploy.
async fn remove_old(flags: &Flags, wanted: Retention, store: &Store, run: &mut Run, done: Done) -> Done {
    let removed = async {
        let project = location::project_if_any(flags, true)?;
        match wanted.or_of(project.as_ref()) {
            retention if retention.is_set() => {
                let made = run.doc.part::<BackupFacts>().file;
                let made = made.as_deref().and_then(|path| path.rsplit('/').next());
                prune::prune(project.as_ref(), store, (retention, made), run).await
            }
            _ => Ok(Vec::new()),
        }
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

/// What the run comes to: the outcome, and where the backup is.
type CarriedOut = (Outcome, Option<Store>);

async fn carry_out(plan: &Plan, run: &Run) -> Result<CarriedOut> {
    if let Some((host, order)) = plan.order(deploy(run, plan), &run.log).await? {
        run.log.info(format!("cm-backup is on {} too: it works there, and no data leaves that server", host.name()));
        return Ok((order.send(&host, &run.log).await?, plan.remote_store(&host)));
    }
    let Route { source, store } = plan.open(&run.log).await?;
    let Some(source) = source else {
        return Ok((Outcome::NothingYet("no database container yet: nothing to back up".to_owned()), None));
    };
    let made = make(plan, run, &source, &store).await;
    source.close().await;
    Ok((made?, Some(store)))
}

async fn make(plan: &Plan, run: &Run, source: &Source, store: &Store) -> Result<Outcome> {
    let database = plan.database(source.database.as_deref())?;
    let prefix = plan.prefix(&database);
    let name = plan.file_name(&prefix, run.doc.commit());
    let backup = Backup {
        source,
        database: &database,
        store,
        prefix: &prefix,
        name: &name,
        deploy: deploy(run, plan),
        options: &plan.request.options,
        method: plan.request.method,
        allow_empty: plan.request.allow_empty,
        restore_check: plan.request.restore_check,
        strict: plan.request.strict,
        log: &run.log,
    };
    backup.make().await
}

fn deploy(run: &Run, plan: &Plan) -> Deploy {
    Deploy {
        run: Some(run.doc.run_id().to_owned()),
        project: plan.project.clone(),
        commit: run.doc.commit().map(str::to_owned),
        actor: Some(run.doc.actor().to_owned()),
    }
}

fn report(run: &mut Run, (outcome, store): CarriedOut, clock: &Instant) -> Done {
    let (manifest, warnings, store) = match (outcome, store) {
        (Outcome::Verified { manifest, warnings }, Some(store)) => (manifest, warnings, store),
        (Outcome::NothingYet(why), _) => {
            run.log.warn(&why);
            run.doc.set_part(&no_backup(&why));
            return Done::warned(why);
        }
        (Outcome::Verified { .. }, None) => unreachable!("a verified backup is in a store"),
    };
    run.doc.set_part(&facts(&manifest, &store, &warnings, clock));
    let summary = summary(&manifest, &store, clock);
    run.log.success(format!("backup verified: {summary}"));
    warn(&run.log, &warnings);
    let done = if warnings.is_empty() { Done::ok(summary) } else { Done::warned(summary) };
    done.changed(true)
}

fn warn(log: &Log, warnings: &[String]) {
    for warning in warnings {
        log.warn(warning);
    }
}

fn summary(manifest: &Manifest, store: &Store, clock: &Instant) -> String {
    format!(
        "{} ({}, {}, {}, {})",
        store.display(&manifest.file),
        text::bytes(manifest.bytes),
        cm_core::plural(manifest.namespaces.len() as u64, "collection"),
        cm_core::plural(manifest.documents, "document"),
        text::duration(clock.elapsed())
    )
}

fn no_backup(why: &str) -> BackupFacts {
    BackupFacts { verified: Some(false), reason: Some(why.to_owned()), ..BackupFacts::default() }
}

fn facts(manifest: &Manifest, store: &Store, warnings: &[String], clock: &Instant) -> BackupFacts {
    BackupFacts {
        verified: Some(true),
        reason: None,
        file: Some(store.path(&manifest.file)),
        host: Some(store.host_name().map(str::to_owned)),
        manifest: Some(store.path(&manifest::name_for(&manifest.file))),
        sha256: Some(manifest.sha256.clone()),
        bytes: Some(manifest.bytes),
        database: Some(manifest.database.clone()),
        namespaces: Some(manifest.namespaces.len() as u64),
        documents: Some(manifest.documents),
        duration_ms: Some(cm_core::time::milliseconds(clock.elapsed())),
        consistency: Some(manifest.consistency.as_str().to_owned()),
        partial: Some(manifest.selection.is_some()),
        warnings: Some(warnings.to_vec()),
        removed: None,
    }
}

async fn list(flags: &Flags, directory: Option<&Path>, json: bool, io: &Io) -> Result<Exit> {
    let store = match directory {
        Some(directory) => location::local_store(flags, directory, &io.log).await?,
        None => location::configured_store(flags, &io.log).await?,
    };
    listing::show(&store, json, io).await
}
