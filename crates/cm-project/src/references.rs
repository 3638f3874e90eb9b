//! Whether the names in `cm.toml` are those of services and hosts that there are.

use crate::compose::Compose;
use crate::config::{Backup, Config};
use crate::nearest;
use crate::source::{self, Position};
use cm_core::Result;
use std::sync::Arc;
use toml::Spanned;

/// That every service and host that `cm.toml` names is there.
///
/// # Errors
/// [`cm_core::Exit::Config`] with the place of the first that is not, and the nearest name.
pub fn check(config: &Config, compose: &Compose) -> Result<()> {
    let (file, text): (Arc<str>, &str) = (config.file.as_str().into(), &config.text);
    let known_name = |name: &Spanned<String>, (what, code): (&str, &str), known: Vec<&str>| -> Result<()> {
        if known.contains(&name.as_ref().as_str()) || name.span().is_empty() {
            return Ok(());
        }
        let at = Position::of_byte(&file, text, name.span().start);
        let hint = nearest::hint(name.as_ref(), known);
        Err(source::failure(code, &at, text, format!("there is no {what} {:?}", name.as_ref())).hint(hint))
    };
    let hosts = config.hosts.values().flat_map(|host| &host.services);
    let groups = config.groups.values().flatten();
    let backups = &config.backup.0;
    let checks = config.verify.checks.iter().filter_map(|check| check.service.as_ref());
    let checks = checks.chain(config.release.iter().map(|release| &release.service));
    let services = hosts
        .chain(groups)
        .chain(config.services.keys())
        .chain(backups.iter().filter_map(Backup::service))
        .chain(checks);
    for service in services {
        known_name(service, ("service", "config.unknown-service"), compose.names())?;
    }
    for host in backups.iter().filter_map(|backup| backup.host.as_ref()) {
        known_name(host, ("host", "config.unknown-host"), config.hosts.keys().map(String::as_str).collect())?;
    }
    Ok(())
}
