//! What is to be done for one backup, as it travels to the server that does it. It holds no secret:
//! a password is read there.

use crate::location;
use cm_archive::codec::Compressed;
use cm_archive::manifest::Deploy;
use cm_core::Result;
use cm_dump::Spec;
use cm_host::Host;
use cm_project::{BackupKind, Project};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A backup of a database whose own programs dump it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DumpOrder {
    /// What the host is called, for messages.
    pub host: String,
    /// The project's name as Compose knows it.
    pub compose_project: String,
    /// The volumes that the definition of its service names.
    pub volumes: Vec<String>,
    /// The env file on the host.
    pub env_file: String,
    /// The variable in it that holds the password, where one does.
    pub password_env: Option<String>,
    /// What is dumped.
    pub spec: Spec,
    /// What it is called among the others of the project.
    pub label: String,
    /// The directory for backups.
    pub directory: String,
    /// How the file is compressed.
    pub compression: Compressed,
    /// At most so many bytes of the dump a second.
    pub rate_limit: Option<u64>,
    /// When the backup was begun, for its name.
    pub at: Timestamp,
    /// A database with nothing in it is taken as it is.
    pub allow_empty: bool,
    /// It is restored to compare.
    pub restore_check: bool,
    /// Warnings are errors.
    pub strict: bool,
    /// The deploy it is for.
    pub deploy: Deploy,
}

impl DumpOrder {
    /// The same with the name that the project has on its host by Compose's own answer.
    ///
    /// # Errors
    /// Those of [`cm_engine::project_name`].
    pub async fn named_on(mut self, host: &Host, project: &Project) -> Result<Self> {
        // What is on the host itself is of no container.
        if self.spec.service.is_empty() && self.spec.kind != BackupKind::Volume {
            return Ok(self);
        }
        let checkout = project.host(host.name())?.checkout()?;
        self.compose_project = location::compose_project(project, host, &checkout).await?;
        Ok(self)
    }

    /// What is dumped, for people.
    pub fn what(&self) -> String {
        let kind = self.spec.kind.as_str();
        match (&self.spec.database, self.spec.service.as_str()) {
            _ if self.spec.kind == BackupKind::Command => format!("what the command of {} writes", self.label),
            (_, "") => format!("the {kind} data of {}", self.label),
            (Some(database), service) => format!("the {kind} database {database:?} of service {service}"),
            (None, service) => format!("the {kind} data of service {service}"),
        }
    }
}
