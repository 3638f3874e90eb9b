//! Names for completions on the command line: what `cm.toml` and the compose file of the
//! directory call things. Whoever presses Tab wants names or silence, never a message.

use crate::{Project, all_tracked};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Completes the name of a service.
pub fn services() -> ArgValueCompleter {
    names(|project| project.compose.names().into_iter().map(str::to_owned).collect())
}

/// Completes the name of a group.
pub fn groups() -> ArgValueCompleter {
    names(|project| project.config.groups.keys().cloned().collect())
}

/// Completes the name of a host.
pub fn hosts() -> ArgValueCompleter {
    names(|project| project.hosts().iter().map(|host| host.name.clone()).collect())
}

fn names(of: impl Fn(&Project) -> Vec<String> + Send + Sync + 'static) -> ArgValueCompleter {
    ArgValueCompleter::new(move |begun: &OsStr| {
        let begun = begun.to_string_lossy();
        let names = project().map(|project| of(&project)).unwrap_or_default();
        let fit = names.into_iter().filter(|name| name.starts_with(&*begun));
        fit.map(CompletionCandidate::new).collect()
    })
}

/// The project of this directory. A compose file with a mistake in it leaves hosts and groups.
fn project() -> Option<Project> {
    let config = std::env::var_os("CM_CONFIG").map(PathBuf::from);
    let (directory, config) = (Path::new("."), config.as_deref());
    let whole = Project::open(directory, config, all_tracked);
    whole.or_else(|_| Project::open_without_compose(directory, config, all_tracked)).ok()
}
