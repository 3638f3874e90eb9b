//! A section of `cm.toml` as it travels to where a backup is made. It holds no secret.

use crate::command::Command;
use crate::kind::{Kind, Login};
use crate::mysql::Mysql;
use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::sqlite::Sqlite;
use crate::volume::Volume;
use cm_archive::codec::Compressed;
use cm_core::{Exit, Failure, Result};
use cm_project::{Backup, BackupKind};
use serde::{Deserialize, Serialize};

/// What a section says of its kind.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Spec {
    /// The kind.
    pub kind: BackupKind,
    /// The service in the compose file; empty for none.
    pub service: String,
    /// The database, if not what the container's own variables say.
    pub database: Option<String>,
    /// The user, if not what the container's own variables say.
    pub user: Option<String>,
    /// The path of the file, for a kind that is one; for commands on the host, the directory they run in.
    #[serde(default)]
    pub path: Option<String>,
    /// The project's name as Compose knows it.
    #[serde(default)]
    pub project: String,
    /// The volume's name in the compose file, for a kind that is one.
    #[serde(default)]
    pub volume: Option<String>,
    /// Whether who uses it is stopped meanwhile.
    #[serde(default)]
    pub stop: bool,
    /// The directory on the host that lists who is stopped.
    #[serde(default)]
    pub stopped: String,
    /// What commands there are, for a kind that is made of them.
    #[serde(default)]
    pub commands: Commands,
}

/// The commands of a section: a program and its arguments each.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Commands {
    /// What their backups are called.
    pub name: String,
    /// Writes a backup.
    pub command: Vec<String>,
    /// Reads one to verify it.
    pub verify: Vec<String>,
    /// Reads one to restore it.
    pub restore: Vec<String>,
}

impl Spec {
    /// A kind of which nothing else is known: enough to read the bytes of a dump.
    pub fn alone(kind: BackupKind) -> Spec {
        Spec {
            kind,
            service: String::new(),
            database: None,
            user: None,
            path: None,
            project: String::new(),
            volume: None,
            stop: false,
            stopped: String::new(),
            commands: Commands::default(),
        }
    }

    /// What `backup` says.
    pub fn of(backup: &Backup) -> Spec {
        Spec {
            kind: backup.kind,
            service: backup.service_name().to_owned(),
            database: backup.database.clone(),
            user: backup.user.clone(),
            path: backup.path.clone(),
            project: String::new(),
            volume: backup.volume.clone(),
            stop: backup.stop,
            stopped: String::new(),
            commands: Commands {
                name: backup.name.clone().unwrap_or_default(),
                command: backup.command.clone(),
                verify: backup.verify.clone(),
                restore: backup.restore.clone(),
            },
        }
    }

    /// The kind with these settings, whose own compression, if it has any, is `compressed`.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a compression that it does not have.
    pub fn kind(&self, compressed: Compressed) -> Result<Box<dyn Kind>> {
        let known = |name: &Option<String>| name.clone().unwrap_or_default();
        let login = || Login { database: known(&self.database), user: known(&self.user) };
        match self.kind {
            BackupKind::Postgres if compressed == Compressed::Zstd => {
                let message = "a dump of PostgreSQL is compressed by pg_dump itself, with gzip or not at all";
                Err(Failure::new(Exit::Usage, "usage.compression", message).hint("leave out --compression zstd"))
            }
            BackupKind::Postgres => Ok(Box::new(Postgres { login: login(), compressed })),
            BackupKind::Mysql => Ok(Box::new(Mysql { login: login() })),
            BackupKind::Sqlite => Ok(Box::new(Sqlite { path: known(&self.path) })),
            BackupKind::Redis => Ok(Box::new(Redis { user: known(&self.user) })),
            BackupKind::Volume => {
                let (project, volume) = (self.project.clone(), known(&self.volume));
                Ok(Box::new(Volume { project, volume, stop: self.stop, stopped: self.stopped.clone() }))
            }
            BackupKind::Command => {
                let Commands { name, command, verify, restore } = self.commands.clone();
                Ok(Box::new(Command { name, directory: known(&self.path), command, verify, restore }))
            }
            kind @ BackupKind::Mongodb => {
                Err(Failure::bug(format!("a backup of kind {} has no programs of its own", kind.as_str())))
            }
        }
    }
}
