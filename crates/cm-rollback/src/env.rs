//! `--with-env`: the env file as it was when the release ran. Every release keeps a copy
//! of the protected files next to the ledger; the one that is replaced is kept there too.

use cm_core::{Exit, Failure, Log, Result};
use cm_host::{Fenced, Host};
use cm_ledger::state_dir;
use cm_project::Project;

const REPLACE: &str = include_str!("env.sh");

/// The env file, relative to the repository's root, if cm keeps copies of it.
///
/// # Errors
/// [`Exit::Config`] if there is none, or it is not protected: then there are no copies.
pub fn file(project: &Project) -> Result<String> {
    let files = project.variable_files();
    let protected = project.protected();
    files.into_iter().find(|file| protected.contains(file)).ok_or_else(|| {
        Failure::new(Exit::Config, "config.no-env-snapshot", "no release keeps a copy of the env file")
            .hint("copies are kept of protected files: name env_file in [compose] and in [protect] of cm.toml")
    })
}

fn snapshot(project: &Project, release: &str, file: &str) -> String {
    format!("{}/snapshots/{release}/{file}", state_dir(&project.name()))
}

/// Looks whether the copy of `release` is there.
///
/// # Errors
/// [`Exit::NothingToRollBackTo`] if it is not; [`Exit::Unreachable`].
pub async fn check(project: &Project, host: &Host, release: Option<&str>) -> Result<()> {
    let path = release.map(|release| Ok(snapshot(project, release, &file(project)?))).transpose()?;
    if let Some(path) = &path
        && host.command(["test", "-f", &host.path(path)]).output().await?.success()
    {
        return Ok(());
    }
    let message = format!(
        "on {}: no copy of the env file is kept of release {}",
        host.name(),
        release.unwrap_or("before the first deployment")
    );
    Err(Failure::new(Exit::NothingToRollBackTo, "rollback.no-env-snapshot", message)
        .hint("the newest releases keep one; without --with-env the env file stays as it is"))
}

/// Puts the env file of `release` in its place; whole or not at all.
///
/// # Errors
/// [`Exit::RollbackFailed`]; the file is then as it was.
pub async fn restore(project: &Project, host: &Fenced, checkout: &str, release: &str, log: &Log) -> Result<()> {
    let file = file(project)?;
    let kept = host.path(&snapshot(project, release, &file));
    let command = host.script(REPLACE, [host.path(checkout), file.clone(), kept]);
    match command.text(Exit::RollbackFailed, "rollback.env").await?.trim() {
        "same" => log.info(format!("on {}: {file} is what it was with that release", host.name())),
        _ => log.warn(format!(
            "on {}: {file} is that of release {release} now; services that are not rolled back read it when they next start",
            host.name()
        )),
    }
    Ok(())
}
