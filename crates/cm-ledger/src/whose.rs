//! Whose ledger it is. Its name is the project's, and nothing keeps two projects, or two checkouts of one,
//! from having the same name on one server: each would then take the other's releases for its own.

use crate::Ledger;
use cm_core::{Exit, Failure, Result};
use cm_host::Host;

/// Prints the directory if it is still there and another one than those that come after it.
const STILL: &str = r#"# Looks whether another checkout is there.
cd -- "$1" 2>/dev/null || exit 0
other=$(pwd -P)
shift
for own do
    [ "$(cd -- "$own" 2>/dev/null && pwd -P)" != "$other" ] || exit 0
done
printf '%s\n' "$other""#;

/// The directory of a project that is in `prefix` of the checkout at `place`.
pub fn directory_below(place: &str, prefix: &str) -> String {
    format!("{place}/{prefix}").trim_end_matches('/').to_owned()
}

/// Refuses a ledger whose newest release was of another directory that is still there, for a
/// deployment from one of `directories`, which are names of the same. A checkout that was moved has
/// left none behind, and keeps its ledger.
///
/// # Errors
/// [`Exit::Config`] with `ledger.shared`; [`Exit::Unreachable`].
pub async fn not_shared(host: &Host, project: &str, ledger: &Ledger, directories: &[String]) -> Result<()> {
    let named = ledger.records.iter().rev().find(|record| !record.directory.is_empty());
    let Some(record) = named.filter(|record| !directories.contains(&record.directory)) else { return Ok(()) };
    let arguments = [record.directory.clone()].into_iter().chain(directories.iter().cloned());
    let other = host.script(STILL, arguments).output().await?.text();
    if other.is_empty() {
        return Ok(());
    }
    let own = directories.last().map_or("another directory", String::as_str);
    let message = format!(
        "on {}: the ledger of the project {project} is of the checkout {other}, and this deployment is from {own}",
        host.name()
    );
    Err(Failure::new(Exit::Config, "ledger.shared", message).hint(format!(
        "nothing was changed; give one of the two a `project` of its own in cm.toml; if the checkout was moved for good, remove {other}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Record, Verdict};
    use cm_host::Target;

    #[tokio::test]
    async fn a_ledger_is_of_one_directory_and_may_move_with_it() {
        let target = Target::at("one", "local");
        let log = cm_core::Log::new("test", cm_core::Format::Text, cm_core::Level::Fail);
        let host = Host::connect(&target, &log).await.expect("local");
        let root = tempfile::tempdir().expect("directory");
        let at = |name: &str| root.path().canonicalize().expect("there").join(name).display().to_string();
        for name in ["first/app", "second/app"] {
            std::fs::create_dir_all(at(name)).expect("made");
        }
        std::os::unix::fs::symlink(at("first"), at("link")).expect("linked");
        let mut record = Record::new("1", "ada", "main", "c");
        (record.verdict, record.directory) = (Verdict::Verified, at("first/app"));
        let mut ledger = Ledger::default();
        ledger.apply(record);
        // A later word of the same release does not repeat where it was.
        ledger.apply(Record::new("1", "ada", "main", "c"));
        let judge = async |ledger: &Ledger, names: &[&str]| {
            let directories: Vec<String> = names.iter().map(|name| at(name)).collect();
            not_shared(&host, "shop", ledger, &directories).await.err().map(|failure| failure.code)
        };
        assert_eq!(judge(&ledger, &["first/app"]).await, None);
        assert_eq!(judge(&ledger, &["link/app"]).await, None, "a link to it");
        assert_eq!(judge(&ledger, &["second/app"]).await.as_deref(), Some("ledger.shared"));
        assert_eq!(judge(&Ledger::default(), &["second/app"]).await, None, "of nobody yet");
        std::fs::remove_dir_all(at("first")).expect("removed");
        assert_eq!(judge(&ledger, &["second/app"]).await, None, "it was moved");
    }
}
