//! `cm-backup --output -`: an archive that goes on to another program, and is not read back.

use crate::plan::Request;
use crate::source::Source;
use cm_archive::text;
use cm_core::{Exit, Failure, Io, Result};
use cm_mongo::dump::Dump;
use cm_mongo::{accounts, name, selection, survey};
use std::io::IsTerminal;

/// `--output -`: the archive on stdout, which nobody can read back from here.
///
/// # Errors
/// [`Exit::Usage`] for a terminal or without `--uri-env`, and those of a backup.
pub async fn run(request: &Request, io: &Io) -> Result<Exit> {
    let (flags, options) = (&request.flags, &request.options);
    let usage = |message: &str, hint: &str| Failure::new(Exit::Usage, "usage.output", message).hint(hint);
    let variable = flags.uri_env.as_deref().ok_or_else(|| {
        usage("--output - needs --uri-env", "cm-backup --uri-env VARIABLE --database NAME --output - > FILE")
    })?;
    if std::io::stdout().is_terminal() {
        return Err(usage("a backup is not text for a terminal", "redirect it: --output - > FILE"));
    }
    if flags.common.dry_run {
        io.log.info(format!("would write a backup of the database at ${variable} to stdout"));
        return Ok(Exit::Done);
    }
    let source = Source::from_environment(variable, flags.read_from).await?;
    source.tell(&io.log);
    let named = flags.database.clone().or_else(|| source.database.clone());
    let database = named.ok_or_else(|| usage("no database is named", "name it: --database NAME"))?;
    name::check_database(&database)?;
    let mut survey = survey::survey(&source.client, &database).await?;
    if let Some(wanted) = &options.selection {
        selection::apply(wanted, &mut survey)?;
    }
    if options.selection.is_none() {
        survey.accounts = accounts::read(&source.client, &database).await;
    }
    if survey.collections.is_empty() && !request.allow_empty {
        let message = format!("the database {database:?} at ${variable} is not there");
        return Err(Failure::new(Exit::Backup, "backup.empty", message).hint("--allow-empty takes it as it is"));
    }
    let (client, survey, consistency) = (&source.client, &survey, options.consistency);
    let dump = Dump { client, survey, options, consistency, log: &io.log };
    let dumped = dump.run(std::io::stdout()).await;
    source.close().await;
    let (_, dumped) = dumped?.split();
    for warning in &dumped.warnings {
        io.log.warn(warning);
    }
    io.log.success(format!("wrote {}, SHA-256 {}", text::bytes(dumped.bytes), dumped.sha256));
    io.log.warn("what went to stdout was not read back: verify it where it arrives, with `cm-backup verify`");
    Ok(Exit::Done)
}
