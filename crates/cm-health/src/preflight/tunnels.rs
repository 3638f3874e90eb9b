//! Whether sshd opens the tunnels that a deployment goes through.

use super::finding::Finding;
use super::needs;
use cm_core::Exit;
use cm_host::Host;
use cm_project::{BackupKind, Check, Probe, Project};

/// What on this host is reached through a tunnel.
pub struct Tunnels {
    /// The database of the backup; where cm-backup is installed there, it needs none.
    backup: bool,
    /// A page that is a probe, a check from inside, or a canary of a container.
    services: bool,
}

impl Tunnels {
    /// What of the project needs one there.
    pub fn to(project: &Project, host: &str) -> Tunnels {
        let services = project.services_on(host);
        let here = |service: &str| services.contains(&service);
        // All other databases are read by programs in their own containers.
        let mut read_from_here = project.backups().iter().filter(|backup| backup.kind == BackupKind::Mongodb);
        let backup = read_from_here.any(|backup| project.backup_host(backup) == Some(host));
        let asked = |service: &&str| {
            let rules = project.rules(service);
            let page = |probe| matches!(probe, Some(Probe::Address(url)) if url.starts_with("http"));
            page(rules.probe) || rules.canary.is_some()
        };
        let inside = |check: &Check| check.in_network && check.service.as_ref().is_some_and(|one| here(one.get_ref()));
        let services = services.iter().any(asked) || project.verify().checks.iter().any(inside);
        Tunnels { backup, services }
    }

    /// Whether sshd there opens what is needed.
    pub async fn judge(self, host: &Host) -> Option<Finding> {
        if !(self.backup || self.services) || host.opens_tunnels().await {
            return None;
        }
        let finding = if self.services {
            let message = "sshd opens no tunnel, which a probe, a check or a canary needs";
            Finding::fail(Exit::Config, &needs::TUNNELS, message)
        } else {
            Finding::warn(
                &needs::TUNNELS,
                "sshd opens no tunnel, which the backup needs if cm-backup is not installed there",
            )
        };
        Some(finding.hint(host.no_tunnels(Exit::Config).hint.unwrap_or_default()))
    }
}
