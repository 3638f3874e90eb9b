//! Where a server that has no checkout yet makes it from.

use crate::Project;
use cm_core::{Exit, Failure, Result};
use std::process::Command;

impl Project {
    /// The URL that servers clone: `repository` of `cm.toml`, else that of the remote here.
    /// It is written into each new checkout, so it must not hold a password, nor a token in the
    /// place of a user.
    ///
    /// # Errors
    /// [`Exit::Config`] with `config.no-repository` if there is none, or it holds a password;
    /// a variable in `repository` that is not set.
    pub fn origin(&self) -> Result<String> {
        let said = match &self.config.repository {
            Some(template) => template.expand()?,
            None => self.remote_url()?,
        };
        if has_secret(&said) {
            let message = "the URL has a user or a password in it, which would be written down on the servers";
            return Err(no_repository(message.to_owned()));
        }
        Ok(said)
    }

    fn remote_url(&self) -> Result<String> {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.repository).args(["remote", "get-url", self.remote()]);
        let output =
            git.output().map_err(|error| no_repository("git could not be asked for it".to_owned()).cause(error))?;
        let url = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() && !url.is_empty() {
            return Ok(url);
        }
        Err(no_repository(format!("there is no Git remote {} here", self.remote())))
    }
}

/// `https://user:password@host/…`, and `https://token@host/…`; in `user@host:path` the colon
/// comes after the host.
fn has_secret(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':') || scheme.starts_with("http"))
}

fn no_repository(why: String) -> Failure {
    Failure::new(Exit::Config, "config.no-repository", format!("it is not known where servers clone from: {why}"))
        .hint("say it in cm.toml, as the servers see it: repository = \"git@github.com:example/shop.git\"")
}

#[cfg(test)]
mod tests {
    use super::has_secret;

    #[test]
    fn a_password_in_a_url_is_seen_and_a_port_or_a_path_is_none() {
        for url in [
            "https://ada:secret@example.org/shop.git",
            "https://a-token@example.org/shop.git",
            "ssh://ada:secret@example.org/shop.git",
        ] {
            assert!(has_secret(url), "{url}");
        }
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
