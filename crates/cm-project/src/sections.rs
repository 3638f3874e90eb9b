//! The small sections of `cm.toml`: where things are, what is kept, who is told, and what a
//! deployment and a rollback do by themselves.

use crate::duration;
use crate::value::Template;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use toml::Spanned;

/// `[compose]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ComposeFiles {
    /// The compose files, relative to `cm.toml`, later ones over earlier ones. What they say of paths, and `.env`, is
    /// relative to the directory of the first one, as for `docker compose -f`.
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
    /// They keep the new release, and only the host that failed is rolled back.
    Keep,
}
