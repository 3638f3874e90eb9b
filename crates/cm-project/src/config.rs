//! `cm.toml`, key by key. Unknown keys are errors with the nearest known key as the
//! hint: a misspelt limit must not silently be the default. Here are the file as a whole and
//! what is checked when it is read; its sections are in files of their own.

pub use crate::backup_copy::{BackupCopy, OnCopyFailure, Pipeline, parse_bytes};
pub use crate::backup_section::{Backup, BackupKind, Backups};
pub use crate::clone_filter::CloneFilter;
pub use crate::engine::{Engine, Swarm};
use crate::nearest;
pub use crate::release::{Drain, ReleaseCommand};
pub use crate::sections::{
    ComposeFiles, Deploy, HostSection, LockSection, Notify, OnDrift, OnFailure, Ops, Protect, Prune, Rollback,
};
pub use crate::service_section::{Health, OnChange, Probe, ServiceHealth, ServiceSection, Update};
use crate::source::{self, Position};
pub use crate::value::Template;
pub use crate::verification::{Canary, Check, Statuses, Verify};
use cm_core::{Exit, Failure, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::Spanned;

/// The name of the file that is looked for.
pub const FILE_NAME: &str = "cm.toml";

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Names the lock, the ledger and the project in messages.
    pub project: Option<String>,
    /// The branch that is deployed.
    pub branch: Option<String>,
    /// The Git remote it is pushed to.
    pub remote: Option<String>,
    /// The URL that a server without a checkout clones, as the servers see it; by itself
    /// that of the remote here.
    pub repository: Option<Template>,
    /// What the first clone on a server leaves out, for a large repository: `blob:none` (the content of
    /// files) or `blob:limit=1m` (of large files). It comes when it is needed; the repository's server must allow it.
    pub clone_filter: Option<CloneFilter>,
    /// What runs the services on the hosts.
    pub engine: Engine,
    /// What a Swarm needs besides.
    pub swarm: Option<Swarm>,
    /// Where Compose's files are.
    pub compose: ComposeFiles,
    /// The servers.
    pub hosts: BTreeMap<String, HostSection>,
    /// Names for several services at once.
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub groups: BTreeMap<String, Vec<Spanned<String>>>,
    /// What a deploy never touches.
    pub protect: Protect,
    /// The deploy lock.
    pub lock: LockSection,
    /// What a deployment does to what no commit changed.
    pub deploy: Deploy,
    /// What is special about single services.
    #[schemars(with = "BTreeMap<String, ServiceSection>")]
    pub services: BTreeMap<Spanned<String>, ServiceSection>,
    /// Commands that are run once in a release, before any container is replaced, in this order.
    pub release: Vec<ReleaseCommand>,
    /// When a deployment counts as healthy.
    pub health: Health,
    /// The canary requests after a deploy.
    pub canary: Canary,
    /// The checks after a deploy.
    pub verify: Verify,
    /// The backups before a deploy.
    pub backup: Backups,
    /// Who is told.
    pub notify: Notify,
    /// Where deployments are recorded.
    pub ops: Option<Ops>,
    /// How much is kept for rollbacks.
    pub prune: Prune,
    /// What a rollback must not go across.
    pub rollback: Rollback,
    /// The text that was read, to show places in it.
    #[serde(skip)]
    pub text: String,
    /// The file's name for messages.
    #[serde(skip)]
    pub file: String,
}

impl Config {
    /// Reads the text of a `cm.toml`; `file` is its name for messages.
    ///
    /// # Errors
    /// [`Exit::Config`] with file, line, column and, for an unknown key, the nearest known one.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            let message = format!("{file} is larger than {} MiB", MAX_BYTES >> 20);
            return Err(Failure::new(Exit::Config, "config.unreadable", message));
        }
        let file: Arc<str> = file.into();
        let mut config: Config = toml::from_str(text).map_err(|error| explain(&file, text, &error))?;
        (config.text, config.file) = (text.to_owned(), file.to_string());
        for template in config.templates() {
            template.at = Some(Position::of_byte(&file, text, template.offset));
        }
        config.templates().into_iter().try_for_each(|template| template.check(text))?;
        config.urls().into_iter().try_for_each(|url| url.check_url(text))?;
        config.verify.checks.iter().try_for_each(|check| wants_something(&file, text, check))?;
        config.backup.check(&file, text)?;
        config.release.iter().try_for_each(|release| has_a_command(&file, text, release))?;
        config.check_names()?;
        config.check_engine()?;
        Ok(config)
    }

    /// From now on the URLs of the checks and of the canary take their variables from
    /// the profile `name` of `[verify.profiles]`, before the environment.
    ///
    /// # Errors
    /// [`Exit::Config`] if there is none; `production` needs none where there are no
    /// profiles at all: what is written is production.
    pub fn use_profile(&mut self, name: &str) -> Result<()> {
        let profiles = &self.verify.profiles;
        let profile = match profiles.get(name) {
            Some(profile) => profile.clone(),
            None if name == "production" && profiles.is_empty() => return Ok(()),
            None => {
                let message = format!("{}: there is no profile {name:?} in [verify.profiles]", self.file);
                return Err(Failure::new(Exit::Config, "config.unknown-profile", message)
                    .hint(nearest::hint(name, profiles.keys().map(String::as_str))));
            }
        };
        let urls = self.verify.checks.iter_mut().map(|check| &mut check.url).chain(self.canary.url.as_mut());
        urls.for_each(|url| url.profile = profile.clone());
        Ok(())
    }

    /// Those of them that are URLs.
    fn urls(&self) -> Vec<&Template> {
        let checks = self.verify.checks.iter().map(|check| &check.url);
        checks.chain(&self.canary.url).chain(self.ops.as_ref().map(|ops| &ops.url)).collect()
    }

    /// Names become parts of paths and words of commands: nothing in them leads elsewhere.
    fn check_names(&self) -> Result<()> {
        let wrong = |what: &str, name: &str| {
            let message = format!("{}: {name:?} cannot be the name of a {what}", self.file);
            Failure::new(Exit::Config, "config.bad-name", message).hint(
                "a name begins with a letter or a digit and has no slash, no white space and no control character",
            )
        };
        let hosts = self.hosts.keys().map(|name| ("host", name));
        let remote = self.remote.iter().map(|name| ("Git remote", name));
        let project = self.project.iter().map(|name| ("project", name));
        let bad = project.chain(remote).chain(hosts).find(|(_, name)| !is_plain(name));
        let bad_repository =
            self.repository.iter().find(|url| url.text.starts_with('-')).map(|url| ("repository", &url.text));
        bad.or(bad_repository).map_or(Ok(()), |(what, name)| Err(wrong(what, name)))
    }

    /// Every string that is expanded later.
    fn templates(&mut self) -> Vec<&mut Template> {
        let mut all: Vec<&mut Template> = self.repository.as_mut().into_iter().collect();
        for host in self.hosts.values_mut() {
            all.push(&mut host.address);
            all.extend(host.checkout.as_mut());
        }
        for swarm in self.swarm.iter_mut() {
            all.push(&mut swarm.registry);
            all.extend(&mut swarm.managers);
            all.extend(&mut swarm.workers);
        }
        all.extend(self.canary.url.as_mut());
        all.extend(self.notify.link.as_mut());
        all.extend(self.ops.as_mut().map(|ops| &mut ops.url));
        all.extend(self.verify.checks.iter_mut().map(|check| &mut check.url));
        all
    }

    /// The hosts in the order of the file.
    pub fn hosts_in_order(&self) -> Vec<(&str, &HostSection)> {
        let mut hosts: Vec<_> = self.hosts.iter().map(|(name, host)| (name.as_str(), host)).collect();
        hosts.sort_by_key(|(_, host)| host.address.offset);
        hosts
    }
}

/// The largest cm.toml, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// No document takes a longer name, in bytes.
const LONGEST_NAME: usize = 255;

/// Whether `name` can be a part of a path and a word of a command.
fn is_plain(name: &str) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '\\');
    (1..=LONGEST_NAME).contains(&name.len()) && !name.starts_with(['.', '-']) && !name.contains(odd)
}

/// A check must be able to fail, or it verifies nothing.
fn wants_something(file: &Arc<str>, text: &str, check: &Check) -> Result<()> {
    let empty =
        check.contains.as_deref() == Some("") || check.matches.as_ref().is_some_and(|m| m.0.as_str().is_empty());
    if check.can_fail() && !empty {
        return Ok(());
    }
    let at = Position::of_byte(file, text, check.url.offset);
    let message = format!("the check {:?} expects nothing, so that it could not fail", check.name);
    Err(source::failure("config.no-expectation", &at, text, message)
        .hint("say what a right answer is: status = 200, contains = \"…\" or json = { key = \"value\" }"))
}

fn has_a_command(file: &Arc<str>, text: &str, release: &ReleaseCommand) -> Result<()> {
    if !release.command.is_empty() {
        return Ok(());
    }
    let at = Position::of_byte(file, text, release.service.span().start);
    let message = format!("the release command of {} is empty", release.service.as_ref());
    Err(source::failure("config.no-command", &at, text, message)
        .hint("the program and its arguments: command = [\"rake\", \"db:migrate\"]"))
}

/// The parser's error with its place, and a hint for an unknown key.
fn explain(file: &Arc<str>, text: &str, error: &toml::de::Error) -> Failure {
    let at = Position::of_byte(file, text, error.span().map_or(0, |span| span.start));
    match unknown_key(error.message()) {
        Some((key, known)) => source::failure("config.unknown-key", &at, text, format!("unknown key {key:?}"))
            .hint(nearest::hint(key, known)),
        None => source::failure("config.invalid", &at, text, error.message().trim()),
    }
}

/// The key and the known keys in serde's "unknown field `a`, expected one of `b`, `c`".
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn failure(text: &str) -> Failure {
        Config::parse("cm.toml", text).expect_err(text)
    }

    #[test]
    fn an_unknown_key_names_its_place_and_the_nearest_key() {
        let failure = failure("project = \"x\"\n[health]\ntimout = \"5s\"\n");
        assert_eq!(failure.code, "config.unknown-key");
        assert_eq!(failure.exit, Exit::Config);
        assert_eq!(failure.message, "cm.toml:3:1: unknown key \"timout\"\n3 | timout = \"5s\"\n  | ^");
        assert_eq!(failure.hint.as_deref(), Some("did you mean \"timeout\"?"));
    }

    #[test]
    fn unknown_keys_are_found_at_every_depth() {
        for (text, key) in [
            ("[hsots.a]\naddress = \"a\"", "hosts"),
            ("[hosts.a]\naddress = \"a\"\ncheckuot = \"x\"", "checkout"),
            ("[services.web]\nonchange = \"reload\"", "on_change"),
            ("[[verify.checks]]\nname = \"a\"\nurl = \"b\"\nstaus = 200", "status"),
            ("[backup]\ndatabse = \"x\"", "database"),
        ] {
            assert_eq!(failure(text).hint, Some(format!("did you mean {key:?}?")), "{text}");
        }
    }

    #[test]
    fn wrong_values_say_what_is_wanted() {
        for (text, wanted) in [
            ("[health]\ntimeout = \"soon\"", "is not a length of time"),
            ("[health]\nreadings = \"3\"", "expected u32"),
            ("[[verify.checks]]\nname = \"a\"\nurl = \"b\"\nstatus = 20", "is not a status code"),
            ("[services.web]\non_change = \"explode\"", "expected one of `reload`, `restart`, `recreate`"),
            ("[hosts.a]\ncheckout = \"x\"", "missing field `address`"),
            ("a = [1", "unclosed array"),
        ] {
            let failure = failure(text);
            assert!(failure.message.contains(wanted), "{}", failure.message);
            assert!(failure.message.starts_with("cm.toml:"), "{}", failure.message);
        }
    }

    #[test]
    fn hosts_keep_the_order_of_the_file() {
        let config =
            Config::parse("cm.toml", "[hosts.z]\naddress = \"z\"\n[hosts.a]\naddress = \"a\"\n").expect("valid");
        assert_eq!(config.hosts_in_order().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["z", "a"]);
    }

    #[test]
    fn a_variable_is_missed_only_when_it_is_used() {
        let text = "[hosts.a]\naddress = \"${WHO}@${WHERE:-here}\"\n";
        let config = Config::parse("cm.toml", text).expect("valid");
        let address = &config.hosts["a"].address;
        assert_eq!(address.expand_with(&|_| Some("me".to_owned())).expect("set"), "me@me");
        let failure = address.expand_with(&|_| None).expect_err("not set");
        assert_eq!(failure.code, "config.unset-variable");
        assert!(failure.message.starts_with("cm.toml:2:11: the variable WHO is not set"), "{}", failure.message);
    }

    #[test]
    fn what_cannot_become_a_url_is_a_mistake_at_once() {
        let parse = |url: &str| Config::parse("cm.toml", &format!("[canary]\nurl = \"{url}\"\n")).map(drop);
        for good in ["http://a/", "https://${HOST}/", "${URL}", "http${S:-s}://a/", "http://a/?price=$$1"] {
            parse(good).expect(good);
        }
        for (bad, code) in [
            ("www.example.org", "config.bad-url"),
            ("ftp://${HOST}/", "config.bad-url"),
            ("", "config.bad-url"),
            ("http://${HOST", "config.bad-reference"),
        ] {
            let failure = parse(bad).expect_err(bad);
            assert_eq!((failure.code.as_str(), failure.exit), (code, Exit::Config), "{bad}");
            assert!(failure.message.starts_with("cm.toml:2:7: "), "{}", failure.message);
        }
    }

    #[test]
    fn a_profile_beats_the_environment_and_a_typo_is_no_profile() {
        let check = "[[verify.checks]]\nname = \"a\"\nurl = \"${HOME}/x\"\nstatus = 200\n";
        let plain = |text: &str| Config::parse("cm.toml", text).expect("valid");
        plain(check).use_profile("production").expect("what is written is production");
        let mut config = plain(&format!("{check}[verify.profiles.production]\nHOME = \"http://prod\"\n"));
        let failure = config.use_profile("prodution").expect_err("a typo");
        assert_eq!((failure.exit, failure.hint.as_deref()), (Exit::Config, Some("did you mean \"production\"?")));
        config.use_profile("production").expect("there");
        assert_eq!(config.verify.checks[0].url.expand().expect("set"), "http://prod/x");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for text in [
            "project = \"../../victim\"\n",
            "project = \"\"\n",
            "project = \"a\\nb\"\n",
            "remote = \"--upload-pack=touch x\"\n",
            "repository = \"--upload-pack=x\"\n",
            "[hosts.\"../x\"]\naddress = \"a@b\"\n",
        ] {
            assert_eq!(Config::parse("cm.toml", text).expect_err(text).code, "config.bad-name", "{text}");
        }
        assert!(Config::parse("cm.toml", "project = \"shop-1.2_x\"\nremote = \"up\"\n").is_ok());
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let config = Config::parse(
            "cm.toml",
            "[backup]\n[[verify.checks]]\nname = \"a\"\nurl = \"http://b\"\ncontains = \"c\"\n",
        )
        .expect("valid");
        assert_eq!(config.health.timeout, Duration::from_secs(180));
        assert_eq!((config.canary.requests, config.prune.keep), (200, 3));
        assert_eq!(config.verify.checks[0].statuses(), Statuses(vec![200]));
        assert_eq!(config.backup.0[0].service_name(), "mongodb");
    }
}
