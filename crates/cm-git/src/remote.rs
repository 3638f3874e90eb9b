//! The remotes of a repository: their names and where they lead.

use crate::call::git;
use crate::repository::Repository;
use cm_core::{Exit, Failure, Result, add_secret};
use git2::Oid;
use std::path::Path;
use std::time::Duration;

/// How long a remote may take to say where a branch is.
const LIMIT: Duration = Duration::from_secs(60);

/// A remote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remote {
    /// Its name here.
    pub name: String,
    /// Where it is fetched from.
    pub url: String,
    /// Where it is pushed to, if that is another place.
    pub push_url: Option<String>,
}

impl Repository {
    /// The remote `name`, with its URLs as Git rewrites them (`insteadOf`).
    ///
    /// # Errors
    /// [`Exit::Detect`] with `detect.no-remote`, and the names of those that are there.
    pub fn remote(&self, name: &str) -> Result<Remote> {
        let found = self.git.find_remote(name).ok();
        let url = found.as_ref().and_then(|remote| remote.url().ok().map(str::to_owned));
        let (Some(found), Some(url)) = (found, url.filter(|url| !url.is_empty())) else {
            return Err(self.no_remote(name));
        };
        let push_url = found.pushurl().ok().flatten().map(str::to_owned).filter(|other| *other != url);
        [Some(&url), push_url.as_ref()].into_iter().flatten().filter_map(|url| password(url)).for_each(add_secret);
        Ok(Remote { name: name.to_owned(), url, push_url })
    }

    fn no_remote(&self, name: &str) -> Failure {
        let failure = Failure::new(Exit::Detect, "detect.no-remote", format!("there is no Git remote {name:?} here"));
        failure.hint(match self.remotes().as_slice() {
            [] => format!("git remote add {name} URL"),
            others => format!(
                "there is {}; say in cm.toml which one is deployed from: remote = {:?}",
                others.join(", "),
                others[0]
            ),
        })
    }

    /// The names of the remotes.
    pub fn remotes(&self) -> Vec<String> {
        let names = self.git.remotes();
        names.iter().flat_map(|names| names.iter().flatten().flatten().map(str::to_owned)).collect()
    }
}

/// The password, or the token in its place, of a URL.
fn password(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
    let secret = match user.split_once(':') {
        Some((_, password)) => password,
        None if scheme.starts_with("http") => user,
        None => return None,
    };
    Some(secret).filter(|secret| !secret.is_empty())
}

/// Whether a URL holds a password, or a token in the place of a user. In `user@host:path` the colon comes
/// after the host.
pub fn has_secret(url: &str) -> bool {
    password(url).is_some()
}

/// Where `branch` of the remote is now, asked of the remote itself; `None` if it has no such branch.
///
/// # Errors
/// What git says.
pub async fn tip(directory: &Path, remote: &str, branch: &str) -> Result<Option<Oid>, String> {
    let reference = format!("refs/heads/{branch}");
    let lines = git(directory, LIMIT, &["ls-remote", "-q"], &[remote, &reference]).await?;
    let at = lines.lines().filter_map(|line| line.split_once('\t')).find(|(_, name)| *name == reference);
    Ok(at.and_then(|(id, _)| Oid::from_str(id).ok()))
}

#[cfg(test)]
mod tests {
    use super::{has_secret, password};

    #[test]
    fn a_password_in_a_url_is_seen_and_a_port_or_a_path_is_none() {
        for url in [
            "https://ada:secret@example.org/shop.git",
            "https://a-token@example.org/shop.git",
            "ssh://ada:secret@example.org/shop.git",
        ] {
            assert!(has_secret(url), "{url}");
        }
        assert_eq!(password("https://ada:secret@example.org/shop.git"), Some("secret"));
        for url in [
            "git@example.org:shop.git",
            "ssh://git@example.org:2222/srv/shop.git",
            "https://example.org/a:b@c.git",
            "/srv/git/shop.git",
        ] {
            assert!(!has_secret(url), "{url}");
        }
    }
}
