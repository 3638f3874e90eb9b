//! What of a release older code cannot undo: the changed files that `migrations` in
//! cm.toml matches. A rollback does not go across such a release by itself.

use cm_checkout::Checkout;
use cm_core::Result;
use cm_ledger::Ledger;
use cm_project::Project;

/// A record names no more paths than this.
const NAMED: usize = 20;

/// The paths of migrations between what did well last on a host, by its `ledger`, and `commit`. What a
/// failed release before this one brought counts as well: it may have been carried out.
/// `head` stands in where nothing was recorded.
///
/// # Errors
/// [`cm_core::Exit::Unreachable`].
pub async fn between(
    project: &Project,
    checkout: &Checkout<'_>,
    ledger: &Ledger,
    head: &str,
    commit: &str,
) -> Result<Vec<String>> {
    let migrations = project.migrations();
    if migrations.is_empty() {
        return Ok(Vec::new());
    }
    let base = ledger.good_commit().unwrap_or(head);
    let mut changed = crate::commit::changed(&project.repository, base, commit);
    if changed.is_none() {
        changed = checkout.changed(base, commit).await?;
    }
    if changed.is_none() {
        changed = checkout.changed(head, commit).await?;
    }
    let paths = changed.unwrap_or_default().into_iter().filter(|path| migrations.matches(path.as_bytes()));
    Ok(paths.take(NAMED).collect())
}
