//! `cm.toml`, key by key. Unknown keys are errors with the nearest known key as the
//! hint: a misspelt limit must not silently be the default. Strings with
//! `${VARIABLE}` are expanded when they are used, so that a machine that never
//! talks to a host needs none of its variables.

use crate::duration;
use crate::environment::{self, ALLOW_ENV, Found};
use crate::nearest;
pub use crate::release::{Drain, ReleaseCommand};
use crate::source::{self, Position};
use crate::template;
pub use crate::verification::{Canary, Check, Statuses, Verify};
use cm_core::{Exit, Failure, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::Deserializer;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
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
    /// The backup before a deploy.
    pub backup: Option<Backup>,
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

/// `[compose]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ComposeFiles {
    /// The compose files, relative to `cm.toml`, later ones over earlier ones.
    pub files: Vec<String>,
    /// The file with the values of variables, on the server, relative to the checkout.
    pub env_file: Option<String>,
    /// The profiles that are switched on.
    pub profiles: Vec<String>,
}

/// `[hosts.NAME]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostSection {
    /// `user@host`; the host may be an alias of the SSH configuration.
    pub address: Template,
    /// The checkout on the server; `~` is the deploy user's home.
    pub checkout: Option<Template>,
    /// The services that run there; without it, all that no other host names.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub services: Vec<Spanned<String>>,
}

/// `[protect]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Protect {
    /// Files of the checkout that belong to the server, relative to the repository's root.
    pub files: Vec<String>,
}

/// `[lock]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LockSection {
    /// The lock file of this machine.
    pub file: Option<String>,
    /// How long a host's lock outlives its holder's last sign of life.
    #[serde(deserialize_with = "duration::deserialize")]
    pub lease: Duration,
}

impl Default for LockSection {
    fn default() -> Self {
        LockSection { file: None, lease: Duration::from_secs(60) }
    }
}

/// `[deploy]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deploy {
    /// What becomes of a service that does not run as its configuration says, although no commit changed
    /// that: the server's env file or an image's tag changed since.
    pub drift: OnDrift,
}

/// What becomes of a service that drifted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum OnDrift {
    /// Its container is replaced.
    Apply,
    /// The plan says so, and the container stays.
    #[default]
    Warn,
}

/// What a changed bind-mounted file asks for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// Validate and reload inside the running container.
    Reload,
    /// Restart the container that is there.
    #[default]
    Restart,
    /// Replace the container.
    Recreate,
}

/// How the containers of a service are replaced.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Update {
    /// The new one is well before the old one leaves: both run for a while.
    Rolling,
    /// The old one leaves before the new one comes.
    StopFirst,
}

/// `[services.NAME]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSection {
    /// What a changed bind-mounted file asks for.
    pub on_change: Option<OnChange>,
    /// The command, run in the container, that says whether the new file is valid.
    pub validate: Vec<String>,
    /// The command, run in the container, that makes it read the new file.
    pub reload: Vec<String>,
    /// More paths that the service's image depends on, as globs; `!` narrows.
    pub paths: Vec<String>,
    /// What is asked of each container, beside or instead of a healthcheck.
    pub probe: Option<Probe>,
    /// When this service counts as healthy, where it differs from `[health]`.
    pub health: ServiceHealth,
    /// How its containers are replaced; without it, `rolling` only what the compose file runs several times.
    pub update: Option<Update>,
    /// What the old container and the first new one are asked beside each other before the old one leaves,
    /// where the service is replaced rolling: `http://SERVICE:PORT/PATH`, within the network. How often and how
    /// it is judged, `[canary]` says.
    pub canary: Option<Template>,
    /// Whether it is a job: run once in a release, before any container is replaced. Without it, it is one if another
    /// service waits for it to end (`service_completed_successfully`).
    pub job: Option<bool>,
    /// How long that job may take; half an hour if nothing is said.
    #[serde(deserialize_with = "duration::deserialize_some")]
    pub job_timeout: Option<Duration>,
    /// The command that takes back what that job did to the data: a rollback runs it in the image that is left.
    pub down: Vec<String>,
    /// Whether that job changes data in a way that older code may not understand, so that no rollback goes across it
    /// unconfirmed; without it, `[rollback] migrations` decides, or it is taken for granted.
    pub changes_data: Option<bool>,
    /// What happens to its old containers before they are stopped, where it is replaced rolling.
    pub drain: Option<Drain>,
}

/// A question to a container.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged, expecting = "an address such as \"http://127.0.0.1:8080/\", or a command as a list of words")]
pub enum Probe {
    /// `http://127.0.0.1:PORT/PATH` or `tcp://127.0.0.1:PORT`; 127.0.0.1 is the container itself.
    Address(String),
    /// A command that is run in the container: the program and its arguments.
    Command(Vec<String>),
}

/// `[services.NAME.health]`: what is left out is as in `[health]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceHealth {
    /// How long to wait in all.
    #[serde(deserialize_with = "duration::deserialize_some")]
    pub timeout: Option<Duration>,
    /// Consecutive good readings that are wanted.
    pub readings: Option<u32>,
    /// How long the readings must be good, with nothing restarted.
    #[serde(deserialize_with = "duration::deserialize_some")]
    pub window: Option<Duration>,
    /// Whether it is a job, good when it has ended with 0; without it, the compose file decides.
    pub one_shot: Option<bool>,
}

/// `[health]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// How long to wait in all.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// The time between two readings.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// Consecutive good readings that are wanted.
    pub readings: u32,
    /// How long the readings must be good, with nothing restarted.
    #[serde(deserialize_with = "duration::deserialize")]
    pub window: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            timeout: Duration::from_secs(180),
            interval: Duration::from_secs(1),
            readings: 3,
            window: Duration::from_secs(10),
        }
    }
}

/// `[backup]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// The host the database runs on; without it, the host of its service.
    #[schemars(with = "Option<String>")]
    pub host: Option<Spanned<String>>,
    /// The database's service in the compose file.
    #[serde(default = "default_backup_service")]
    #[schemars(with = "String")]
    pub service: Spanned<String>,
    /// The variable in the server's env file that holds the database's URI.
    #[serde(default = "default_uri_env")]
    pub uri_env: String,
    /// The database; without it, the one in the URI.
    pub database: Option<String>,
    /// Where backups go, on the host.
    #[serde(default = "default_backup_directory")]
    pub directory: String,
    /// After a backup, remove all but so many of the newest.
    pub keep: Option<u32>,
    /// After a backup, remove those older than so many days; with `keep`, those that neither keeps.
    pub keep_days: Option<u32>,
}

fn default_backup_service() -> Spanned<String> {
    Spanned::new(0..0, "mongodb".to_owned())
}

fn default_uri_env() -> String {
    "MONGODB_URI".to_owned()
}

fn default_backup_directory() -> String {
    "~/backups".to_owned()
}

/// `[notify]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    /// The variable that holds the Slack webhook; no message where it is not set.
    pub slack_webhook_env: String,
    /// Where people read about a deployment, with `{commit}` and `{run}` in it.
    pub link: Option<Template>,
}

impl Default for Notify {
    fn default() -> Self {
        Notify { slack_webhook_env: "SLACK_DEPLOY_WEBHOOK".to_owned(), link: None }
    }
}

/// `[ops]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ops {
    /// Where a deployment's event is posted.
    pub url: Template,
    /// The variable that holds the token.
    #[serde(default = "default_token_env")]
    pub token_env: String,
}

fn default_token_env() -> String {
    "OPS_API_TOKEN".to_owned()
}

/// `[prune]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Prune {
    /// Verified releases per service whose images stay.
    pub keep: u32,
}

impl Default for Prune {
    fn default() -> Self {
        Prune { keep: 3 }
    }
}

/// `[rollback]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rollback {
    /// Files whose change makes a release irreversible, as globs relative to the repository's root;
    /// `!` narrows.
    pub migrations: Vec<String>,
    /// What becomes of hosts that a failed deployment did well on, when another host is why it failed.
    pub on_failure: OnFailure,
}

/// What becomes of the other hosts when one fails.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// They go back, too: all hosts run one release.
    #[default]
    Revert,
    /// They keep the new release, and only the host that failed goes back.
    Keep,
}

/// A string with `${VARIABLE}`, expanded when it is used.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    offset: usize,
    at: Option<Position>,
    /// Values that beat those of the environment.
    profile: BTreeMap<String, String>,
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "`${NAME}` and `${NAME:-default}` are taken from the environment; `$$` is a dollar sign.",
        })
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Spanned::<String>::deserialize(deserializer)?;
        Ok(Template { offset: text.span().start, text: text.into_inner(), at: None, profile: BTreeMap::new() })
    }
}

impl Template {
    /// A template that stands in no file, such as a flag's value.
    pub fn literal(text: impl Into<String>) -> Self {
        Template { text: text.into(), offset: 0, at: None, profile: BTreeMap::new() }
    }

    /// The text as it was written.
    pub fn as_written(&self) -> &str {
        &self.text
    }

    /// That it can be expanded, whatever the values are; `file` is what it stands in.
    fn check(&self, file: &str) -> Result<()> {
        let Some(at) = &self.at else { return Ok(()) };
        let read = template::expand(&self.text, &|_| None);
        read.map(drop).map_err(|bad| {
            let message = format!("cannot read {:?}: {bad}", self.text);
            source::failure("config.bad-reference", at, file, message).hint("a dollar sign is written $$")
        })
    }

    /// That it is a URL, as far as that can be said without the values.
    fn check_url(&self, file: &str) -> Result<()> {
        let Some(at) = &self.at else { return Ok(()) };
        let (start, varies) = match self.text.split_once('$') {
            Some((start, _)) => (start, true),
            None => (self.text.as_str(), false),
        };
        let fits = |scheme: &str| start.starts_with(scheme) || (varies && scheme.starts_with(start));
        if ["http://", "https://"].into_iter().any(fits) {
            return Ok(());
        }
        Err(source::failure("config.bad-url", at, file, format!("{:?} is no http:// or https:// URL", self.text))
            .hint("write it whole, as in \"https://www.example.org/health\""))
    }

    /// The text with the values of this process's environment.
    ///
    /// # Errors
    /// [`Exit::Config`] that names the variable that is not set, and where it is wanted.
    pub fn expand(&self) -> Result<String> {
        let refused = RefCell::new(None);
        let expanded = self.expand_with(&|name| {
            if let Some(value) = self.profile.get(name) {
                return Some(value.clone());
            }
            match environment::find(name) {
                Found::Value(value) => Some(value),
                Found::Unset => None,
                Found::NotAllowed => {
                    refused.borrow_mut().get_or_insert_with(|| name.to_owned());
                    None
                }
            }
        });
        match refused.into_inner() {
            Some(name) => Err(self.not_allowed(&name)),
            None => expanded,
        }
    }

    fn not_allowed(&self, name: &str) -> Failure {
        let place = self.at.as_ref().map_or(String::new(), |at| format!("{at}: "));
        let message = format!("{place}cm.toml may not use the variable {name} of this machine");
        Failure::new(Exit::Config, "config.variable-not-allowed", message)
            .hint(format!("if its value may leave this machine: export {ALLOW_ENV}={name}"))
    }

    /// The text with the values that `value` knows.
    ///
    /// # Errors
    /// As [`Template::expand`].
    pub fn expand_with(&self, value: &dyn Fn(&str) -> Option<String>) -> Result<String> {
        let place = self.at.as_ref().map_or(String::new(), |at| format!("{at}: "));
        let expanded = template::expand(&self.text, value).map_err(|bad| {
            Failure::new(Exit::Config, "config.bad-reference", format!("{place}cannot read {:?}: {bad}", self.text))
        })?;
        match expanded.missing.first() {
            None => Ok(expanded.text),
            Some(name) => {
                let message = format!("{place}the variable {name} is not set, but {:?} needs it", self.text);
                Err(Failure::new(Exit::Config, "config.unset-variable", message)
                    .hint(format!("set it in the environment (export {name}=…), or write ${{{name}:-default}}")))
            }
        }
    }
}

impl Config {
    /// Reads the text of a `cm.toml`; `file` is its name for messages.
    ///
    /// # Errors
    /// [`Exit::Config`] with file, line, column and, for an unknown key, the nearest known one.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let file: Arc<str> = file.into();
        let mut config: Config = toml::from_str(text).map_err(|error| explain(&file, text, &error))?;
        (config.text, config.file) = (text.to_owned(), file.to_string());
        for template in config.templates() {
            template.at = Some(Position::of_byte(&file, text, template.offset));
        }
        config.templates().into_iter().try_for_each(|template| template.check(text))?;
        config.urls().into_iter().try_for_each(|url| url.check_url(text))?;
        config.verify.checks.iter().try_for_each(|check| wants_something(&file, text, check))?;
        config.release.iter().try_for_each(|release| has_a_command(&file, text, release))?;
        config.check_names()?;
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

/// Whether `name` can be a part of a path and a word of a command.
fn is_plain(name: &str) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '\\');
    !name.is_empty() && !name.starts_with(['.', '-']) && !name.contains(odd)
}

/// A check must be able to fail, or it proves nothing.
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
        assert_eq!(config.backup.expect("there").service.as_ref(), "mongodb");
    }
}
