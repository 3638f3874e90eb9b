//! The plan of a deployment: what is to be done to each service, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is to be done to a service.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing: it is not touched.
    None,
    /// Read its configuration again without a restart.
    Reload,
    /// Restart the container that is there.
    Restart,
    /// Replace the container, keep the image.
    Recreate,
    /// Build the image and replace the container.
    Build,
    /// Remove the container: the service is gone from the compose file.
    Remove,
}

impl Action {
    /// The word in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::None => "none",
            Action::Reload => "reload",
            Action::Restart => "restart",
            Action::Recreate => "recreate",
            Action::Build => "build",
            Action::Remove => "remove",
        }
    }
}

/// Why a service is in the plan.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Reason {
    /// The changed path, relative to the repository's root; empty where no single path is the reason.
    pub path: String,
    /// The rule that led from the path to the service, such as `dockerfile-copy`.
    pub rule: String,
}

/// One service of the plan.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Service {
    /// Its name in the compose file.
    pub name: String,
    /// The host it runs on, by its name in `cm.toml`.
    pub host: String,
    /// What is to be done.
    pub action: Action,
    /// The commit it runs now; `None` if nothing is known to run.
    #[serde(default)]
    pub base: Option<String>,
    /// Why.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}
