//! Where a project is: the nearest `cm.toml`, else the nearest compose file, no further
//! up than the repository; and which compose files Compose takes by itself.

use crate::compose::{FILE_NAMES, OVERRIDE_NAMES};
use crate::config::{Config, FILE_NAME};
use crate::tracked::{Committed, Tracked};
use crate::tree::{self, Dir, Place, Tree};
use crate::variables::Variables;
use cm_core::{Exit, Failure, Result};
use std::path::{Path, PathBuf};

/// Where a project is, before anything of it is read.
#[derive(Debug)]
pub struct Found {
    /// Its directory.
    pub root: PathBuf,
    /// Its `cm.toml`.
    pub config: Option<PathBuf>,
}

/// The nearest directory, `start` or above, that is a Git working tree.
pub fn repository_of(start: &Path) -> Option<PathBuf> {
    start.ancestors().find(|directory| directory.join(".git").exists()).map(Path::to_owned)
}

/// Looks for the project from `start` upwards, no further than the repository's root.
pub fn find(start: &Path, config: Option<&Path>) -> Result<Found> {
    if let Some(config) = config {
        return named(start, config);
    }
    let top = repository_of(start).unwrap_or_else(|| start.to_owned());
    let directories: Vec<&Path> = start.ancestors().take_while(|directory| directory.starts_with(&top)).collect();
    for directory in &directories {
        let config = directory.join(FILE_NAME);
        if config.is_file() {
            refuse_link_outside(&config, &top)?;
            return Ok(Found { root: directory.to_path_buf(), config: Some(config) });
        }
    }
    for directory in &directories {
        let has_file = FILE_NAMES.iter().any(|name| directory.join(name).is_file());
        // `COMPOSE_FILE` in its `.env` may name others.
        if has_file || !default_files(&Dir(directory.to_path_buf()), "", None).is_empty() {
            return Ok(Found { root: directory.to_path_buf(), config: None });
        }
    }
    let looked = directories.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(Failure::new(
        Exit::Config,
        "config.no-project",
        format!("there is no {FILE_NAME} and no compose file in {looked}"),
    )
    .hint("work in the repository to deploy, or name it: -C DIR; a compose file with another name is named in cm.toml"))
}

/// A committed link must not make this machine read, and show in a message, a file of its own.
fn refuse_link_outside(config: &Path, top: &Path) -> Result<()> {
    let target = config.canonicalize().ok();
    if target.is_some_and(|target| top.canonicalize().is_ok_and(|top| target.starts_with(top))) {
        return Ok(());
    }
    let message = format!("{} is a link that leads out of the repository", config.display());
    Err(Failure::new(Exit::Config, "config.unreadable", message).hint("if you mean that file, name it: --config FILE"))
}

/// The project of the configuration file that a flag names.
fn named(start: &Path, config: &Path) -> Result<Found> {
    let path = start.join(config);
    let path = path.canonicalize().map_err(|error| {
        let message = format!("cannot read the configuration {}", path.display());
        Failure::new(Exit::Config, "config.unreadable", message).cause(error)
    })?;
    let root = path.parent().unwrap_or(Path::new("/")).to_owned();
    Ok(Found { root, config: Some(path) })
}

/// Reads the `cm.toml` at `path`.
///
/// # Errors
/// [`Exit::Config`] with file, line and column.
pub fn read_config(path: &Path) -> Result<Config> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read the configuration {}", path.display());
        Failure::new(Exit::Config, "config.unreadable", message).cause(error)
    })?;
    Config::parse(&file_name(path), &text)
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The compose files that Compose takes by itself in `directory` of `tree`: those of
/// `COMPOSE_FILE` in `env_file` (`.env` if not said), else the first of its names with the first of the override
/// names. Relative to `directory`.
pub fn default_files(tree: &dyn Tree, directory: &str, env_file: Option<&str>) -> Vec<String> {
    let env_file = Place::at(directory, env_file.unwrap_or(".env"));
    let env_files: Vec<String> = env_file.inside().map(str::to_owned).into_iter().collect();
    let (variables, _) = Variables::read(tree, &env_files, &Variables::default());
    if let Some(list) = variables.get("COMPOSE_FILE").filter(|list| !list.is_empty()) {
        let separator = variables.get("COMPOSE_PATH_SEPARATOR").filter(|one| !one.is_empty()).unwrap_or(":");
        return list.split(separator).map(|file| file.trim_start_matches("./").to_owned()).collect();
    }
    let first = |names: &[&str]| {
        let found = names.iter().find(|name| matches!(tree::read(tree, &tree::join(directory, name)), Ok(Some(_))));
        found.map(|name| (*name).to_owned())
    };
    match first(&FILE_NAMES) {
        Some(file) => [Some(file), first(&OVERRIDE_NAMES)].into_iter().flatten().collect(),
        None => Vec::new(),
    }
}

/// The same for the working tree in `directory`, without the files that only this machine has.
pub fn committed_files(repository: &Path, directory: &Path, tracked: Tracked) -> Vec<String> {
    let prefix = directory.strip_prefix(repository).unwrap_or(Path::new("")).to_string_lossy().into_owned();
    default_files(&Committed::new(repository, &prefix, tracked), &prefix, None)
}
