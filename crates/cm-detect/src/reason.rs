//! Reasons that are no path rule: the words of the document.

/// Nothing was ever recorded on the host.
pub const FIRST_DEPLOY: &str = "first-deploy";
/// The service was not there, or never deployed.
pub const NEW_SERVICE: &str = "new-service";
/// What it runs is no commit of this clone.
pub const UNKNOWN_BASE: &str = "unknown-base";
/// The compose file of what it runs cannot be read.
pub const UNREADABLE_BASE: &str = "unreadable-base";
/// The release that put it there was not found good.
pub const UNVERIFIED: &str = "unverified";
/// Its `build` in the compose file changed.
pub const COMPOSE_BUILD: &str = "compose-build";
/// The rest of it in the compose file changed.
pub const COMPOSE_CONFIGURATION: &str = "compose-configuration";
/// A service that its image is built on is rebuilt; the name follows after a colon.
pub const BASE_IMAGE: &str = "base-image";
/// It runs the image that another service builds; the name follows after a colon.
pub const SHARED_IMAGE: &str = "shared-image";
/// Its image cannot be built: the Dockerfile or its target has a mistake.
pub const BROKEN_BUILD: &str = "broken-build";
/// It lives in the network or process space of a service that is replaced.
pub const SHARED_NAMESPACE: &str = "shared-namespace";
/// It has the volumes of a service that is replaced (`volumes_from`).
pub const SHARED_VOLUMES: &str = "shared-volumes";
/// It restarts with a service it depends on (`depends_on` with `restart: true`).
pub const RESTARTS_WITH: &str = "restarts-with";
/// `--full`.
pub const FULL: &str = "full";
/// It was asked for by name or group.
pub const SELECTED: &str = "selected";
/// It changed, but others were asked for.
pub const NOT_SELECTED: &str = "not-selected";
/// It does not run as its configuration says; the setting follows after a colon.
pub const DRIFT: &str = "drift";
/// It belongs to profiles that are not switched on.
pub const PROFILE: &str = "profile-not-active";
/// It is gone from the compose file, or runs elsewhere now.
pub const REMOVED: &str = "removed";
