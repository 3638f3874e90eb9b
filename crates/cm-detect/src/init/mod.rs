//! `--init`: a commented `cm.toml` for somebody's compose repository, from what is
//! found in it. What is certain is written as it is; what is a guess is written as a
//! comment, because a wrong health check takes a good deployment back. The file is
//! read back as any program reads it before it is written, and nothing that is there
//! is ever overwritten.

mod database;
mod endpoint;
mod environment;
mod files;
mod groups;
mod migrations;
mod survey;
mod text;

use crate::args::Args;
use cm_core::{Exit, Failure, Io, Result, plural};
use cm_project::config::{Config, FILE_NAME};
use cm_project::{Project, compose};
use std::io::Write;
use std::path::{Path, PathBuf};
use survey::Survey;

/// Looks at the repository and writes its `cm.toml`; with `--dry-run` to stdout.
///
/// # Errors
/// [`Exit::Config`]: there is a `cm.toml`, no compose file, or a mistake in it.
pub fn run(args: &Args, io: &Io) -> Result<Exit> {
    let start = args.common.directory.clone().unwrap_or_else(|| Path::new(".").to_owned());
    let start = start.canonicalize().map_err(|error| {
        let message = format!("cannot work in {}", start.display());
        Failure::new(Exit::Config, "config.no-directory", message).cause(error)
    })?;
    let found = files::find(&start, &args.compose_file)?;
    let target = found.directory.join(FILE_NAME);
    if !args.common.dry_run {
        refuse_to_overwrite(&start, &target)?;
    }
    let survey = Survey::of(&found, args.host.first().map(String::as_str))?;
    let text = text::render(&survey);
    read_back(&found, &text)?;
    if args.common.dry_run {
        io.print(text.trim_end())?;
        return Ok(Exit::Done);
    }
    write_new(&target, &text)?;
    say(&survey, &target, io);
    Ok(Exit::Done)
}

/// A `cm.toml` here or further up is somebody's work.
fn refuse_to_overwrite(start: &Path, target: &Path) -> Result<()> {
    let top = files::repository_of(start).unwrap_or_else(|| start.to_owned());
    let above = start
        .ancestors()
        .take_while(|directory| directory.starts_with(&top))
        .map(|directory| directory.join(FILE_NAME));
    let there = above.chain([target.to_owned()]).find(|path| path.symlink_metadata().is_ok());
    there.map_or(Ok(()), |path| Err(exists(&path)))
}

fn exists(path: &Path) -> Failure {
    Failure::new(Exit::Config, "init.exists", format!("{} is there already; nothing was written", path.display()))
        .hint("`cm-detect --init --dry-run` prints what would be written, to compare")
}

/// What is written must be what every program accepts.
fn read_back(found: &files::Found, text: &str) -> Result<()> {
    let config = Config::parse(FILE_NAME, text)?;
    let project = Project::of(found.directory.clone(), found.repository.clone(), found.prefix.clone(), config);
    let tree = cm_project::tree::Dir(found.repository.clone());
    let read = compose::load(&tree, &project.compose_files(), &project.variable_files())?;
    project.with_compose(read).map(drop)
}

/// Writes the whole file under its name, or nothing: a link fails where something is.
fn write_new(target: &Path, text: &str) -> Result<()> {
    let cannot = |error: std::io::Error| {
        Failure::new(Exit::Config, "init.write", format!("cannot write {}", target.display())).cause(error)
    };
    let aside: PathBuf = target.with_extension(format!("toml.new-{}", std::process::id()));
    let written = std::fs::File::create_new(&aside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let linked = written.and_then(|()| std::fs::hard_link(&aside, target));
    let _gone = std::fs::remove_file(&aside);
    linked.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(target),
        _ => cannot(error),
    })
}

fn say(survey: &Survey, target: &Path, io: &Io) {
    let mut parts = vec![plural(survey.services.len() as u64, "service")];
    let count = |count: usize, what: &str| (count > 0).then(|| plural(count as u64, what));
    parts.extend(count(survey.groups.len(), "group"));
    parts.extend(count(survey.protect.len(), "protected file"));
    let checks = |count: usize, where_from: &str| (count > 0).then(|| plural(count as u64, "check") + where_from);
    parts.extend(checks(survey.outside.len(), " from outside"));
    parts.extend(checks(survey.inside.len(), " through the server"));
    let off = if survey.backup_is_on() { "" } else { " (switched off: see the file)" };
    parts.extend(survey.backup.as_ref().map(|backup| format!("a backup of {}{off}", backup.service)));
    parts.extend(survey.dumped.iter().map(|database| format!("a backup of {}", database.service)));
    io.log.success(format!("wrote {}: {}", target.display(), parts.join(", ")));
    if survey.host.is_none() {
        io.log.info("which server? `export DEPLOY_HOST=…` (and DEPLOY_USER), or write the address into [hosts.server]");
    }
    if survey.outside.is_empty() && survey.inside.is_empty() {
        io.log.warn(
            "nothing verifies a release yet, so that no later rollback chooses one by itself: complete [[verify.checks]] in the file",
        );
    }
    if !survey.jobs.is_empty() {
        io.log.warn(format!(
            "taken for services that end, because they have no restart policy, health check or published port: {} (a migration wants `job = true`)",
            survey.jobs.join(", ")
        ));
    }
    io.log.info(
        "review the file, commit it, and continue:\n\
        cm-health --preflight </dev/null    what the server still lacks\n\
        cm-detect | cm-build --dry-run      what a first deployment would do\n\
        deploy-to-vps.sh                    deploy",
    );
}
