//! What of a release older code cannot undo: the changed files that `migrations` in
//! cm.toml matches. A rollback does not go across such a release by itself.

use cm_checkout::Checkout;
use cm_core::Result;
use cm_ledger::Ledger;
use cm_project::Project;

/// A record names no more paths than this.
const NAMED: usize = 20;

/// The paths that differ between what did well last on a host, by its `ledger`, and `commit`. What a
/// failed release before this one brought counts as well: it may have been carried out.
/// `head` stands in where nothing was recorded. `None` if nobody knows.
///
/// # Errors
/// [`cm_core::Exit::Unreachable`].
pub async fn changed(
    project: &Project,
    checkout: &Checkout<'_>,
    ledger: &Ledger,
    head: &str,
    commit: &str,
) -> Result<Option<Vec<String>>> {
    let conditions = project.config.release.iter().any(|command| !command.when.is_empty());
    if head.is_empty() || (project.migrations().is_empty() && !conditions) {
        return Ok(None);
    }
    let base = ledger.good_commit().unwrap_or(head);
    let mut changed = cm_git::changed(&project.repository, base, commit);
    if changed.is_none() {
        changed = checkout.changed(base, commit).await?;
    }
    if changed.is_none() {
        changed = checkout.changed(head, commit).await?;
    }
    Ok(changed)
}

/// Those of them that `migrations` of cm.toml matches.
pub fn of(project: &Project, changed: Option<&[String]>) -> Vec<String> {
    let migrations = project.migrations();
    let paths = changed.unwrap_or_default().iter().filter(|path| migrations.matches(path.as_bytes()));
    if migrations.is_empty() { Vec::new() } else { paths.take(NAMED).cloned().collect() }
}
