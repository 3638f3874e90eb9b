//! Brings what the remote holds.

use crate::call::git;
use crate::refusal::fetch_hint;
use crate::repository::Repository;
use cm_core::{Exit, Failure, Result};
use std::path::Path;
use std::time::Duration;

/// How long a fetch may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Fetches from `remote` into the repository in `directory`.
///
/// # Errors
/// [`Exit::Unreachable`] with git's words; [`Exit::Detect`] if there is no such remote.
pub async fn fetch(directory: &Path, remote: &str) -> Result<()> {
    Repository::open(directory)?.remote(remote)?;
    let fetched = git(directory, LIMIT, &["fetch", "-q"], &[remote]).await;
    fetched.map(drop).map_err(|words| {
        let hint = fetch_hint(&words, remote);
        Failure::new(Exit::Unreachable, "detect.fetch", format!("cannot fetch from {remote}")).cause(words).hint(hint)
    })
}
