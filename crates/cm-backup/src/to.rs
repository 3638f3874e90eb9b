//! Where backups go: a directory or a new file of this machine, or a directory of a host.

use crate::location::{self, Flags};
use crate::store::Store;
use cm_core::{Exit, Failure, Log, Result};
use cm_host::{Host, Target};
use std::path::{Path, PathBuf};

/// Where a backup goes.
#[derive(Clone, Debug)]
pub enum To {
    /// A directory of this machine; the name is made.
    Directory(PathBuf),
    /// A new file of this machine.
    File {
        /// Its directory.
        directory: PathBuf,
        /// Its name.
        name: String,
    },
    /// A directory of a host.
    Host {
        /// The host.
        target: Target,
        /// The directory, as that host understands it.
        directory: String,
    },
}

impl To {
    /// What `--output` names: a directory or a new file.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a file that is there already, and what is no path.
    pub fn local(flags: &Flags, path: &Path) -> Result<To> {
        let path = location::absolute(flags, path)?;
        // What is not there yet is a file only if its name says of which kind.
        let as_directory =
            path.is_dir() || path.to_string_lossy().ends_with('/') || (!path.exists() && path.extension().is_none());
        if as_directory {
            return Ok(To::Directory(path));
        }
        let unusable = || {
            Failure::new(Exit::Usage, "usage.output", format!("cannot write a backup to {}", path.display()))
                .hint("name a directory, or a file that is not there yet")
        };
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unusable)?;
        let directory = path.parent().ok_or_else(unusable)?;
        if path.exists() {
            return Err(unusable().cause("it is there already"));
        }
        Ok(To::File { directory: directory.to_owned(), name: name.to_owned() })
    }

    /// For people.
    pub fn display(&self) -> String {
        match self {
            To::Directory(directory) => directory.display().to_string(),
            To::File { directory, name } => directory.join(name).display().to_string(),
            To::Host { target, directory } => format!("{}:{directory}", target.name),
        }
    }

    /// Whether the backup is one of many in its directory.
    pub fn is_in_a_series(&self) -> bool {
        !matches!(self, To::File { .. })
    }

    /// The directory on `host`, which has carried an order out.
    pub fn store_on(&self, host: &Host) -> Option<Store> {
        match self {
            To::Host { directory, .. } => Some(Store::new(host.clone(), directory)),
            _ => None,
        }
    }

    /// Connects to it, or takes `server` where it is there.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Usage`] for a path that is no text.
    pub async fn open(&self, server: Option<&Host>, log: &Log) -> Result<Store> {
        match (self, server) {
            (To::Directory(directory) | To::File { directory, .. }, _) => {
                location::on_this_machine(directory, log).await
            }
            (To::Host { target, directory }, Some(host)) if target == host.target() => {
                Ok(Store::new(host.clone(), directory))
            }
            (To::Host { target, directory }, _) => Ok(Store::new(Host::connect(target, log).await?, directory)),
        }
    }
}
