//! What a deployment expects of a server, by the project and by the repository on this machine.

use super::finding::Finding;
use cm_core::Failure;

/// What was expected of a server.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The checkout, as `cm.toml` says it.
    pub checkout: &'a str,
    /// The branch that is deployed.
    pub branch: &'a str,
    /// The remote that a checkout fetches from.
    pub remote: &'a str,
    /// The env file, relative to the checkout.
    pub env_file: Option<&'a str>,
    /// The protected files, relative to the checkout.
    pub protected: &'a [String],
    /// Those of them that the commit has: a first deployment brings them.
    pub brought: &'a [String],
    /// What a checkout that is not there is made from, or why that is not known.
    pub origin: Result<&'a str, &'a Failure>,
    /// What moving the checkout would meet.
    pub moving: &'a [Finding],
    /// How far the server's clock is ahead of ours, in seconds, if that is certain.
    pub ahead: Option<f64>,
}
