//! The keys of `cm.toml` that say what happens around the replacement of containers: commands before it, and
//! what an old container is asked before it is stopped.

use crate::duration;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use toml::Spanned;

/// `[[release]]`: a command that is run once in a release, in the new image of a service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseCommand {
    /// The service whose image, networks, environment and volumes it has.
    #[schemars(with = "String")]
    pub service: Spanned<String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Run it only where one of these files has changed, as globs relative to the repository's root; `!` narrows.
    #[serde(default)]
    pub when: Vec<String>,
    /// How long it may take; half an hour if nothing is said.
    #[serde(default, deserialize_with = "duration::deserialize_some")]
    pub timeout: Option<Duration>,
    /// The command that takes back what it did to the data: a rollback runs it in the image that is left.
    #[serde(default)]
    pub down: Vec<String>,
    /// Whether it changes data in a way that older code may not understand, so that no rollback goes across it
    /// unconfirmed; without it, `[rollback] migrations` decides, or it is taken for granted.
    #[serde(default)]
    pub changes_data: Option<bool>,
}

/// `[services.NAME] drain`: what happens to an old container of a rolling service before it is stopped.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// The command, run in it, that makes it refuse new work: the program and its arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// How long it then goes on answering; with `until`, at most.
    #[serde(deserialize_with = "duration::deserialize")]
    pub wait: Duration,
    /// What ends the wait early.
    #[serde(default)]
    pub until: Option<DrainedWhen>,
}

/// When an old container takes no more work.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum DrainedWhen {
    /// Its Docker health check has failed as often as it may: whoever follows that has left.
    Unhealthy,
}
