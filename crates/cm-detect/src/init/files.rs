//! Which compose files a production deployment uses. `docker-compose.yml` is often the
//! developers' own, so one that calls itself production counts more: alone where it is
//! whole, over the plain one where it only adds to it.

use cm_core::{Exit, Failure, Result};
use cm_project::compose::{self, Compose, FILE_NAMES, OVERRIDE_NAMES};
use cm_project::tree::{Dir, Place};
use std::path::{Path, PathBuf};

/// Directories that are never looked into.
pub const SKIPPED: [&str; 9] =
    ["node_modules", "vendor", "target", "dist", "build", "venv", "__pycache__", "third_party", "testdata"];

/// The project's files and the directory of its `cm.toml`.
#[derive(Debug)]
pub struct Found {
    /// Where `cm.toml` belongs.
    pub directory: PathBuf,
    /// The Git repository, or `directory` where there is none.
    pub repository: PathBuf,
    /// `directory` relative to `repository`.
    pub prefix: String,
    /// The compose files, relative to `directory`.
    pub files: Vec<String>,
    /// What they say.
    pub compose: Compose,
    /// Files that Compose would take by itself and a deployment does not, relative to `directory`.
    pub left_out: Vec<String>,
}

/// The nearest directory, `start` or above, that is a Git working tree.
pub fn repository_of(start: &Path) -> Option<PathBuf> {
    start.ancestors().find(|directory| directory.join(".git").exists()).map(Path::to_owned)
}

/// The project of the directory `start`: its `named` compose files, else those in it or
/// above it, else those in one of its directories.
///
/// # Errors
/// [`Exit::Config`]: none, several, or a mistake in one.
pub fn find(start: &Path, named: &[String]) -> Result<Found> {
    let repository = repository_of(start).unwrap_or_else(|| start.to_owned());
    if !named.is_empty() {
        return found(start, &repository, named.to_vec());
    }
    let mut directories = start.ancestors().take_while(|directory| directory.starts_with(&repository));
    if let Some((directory, files)) =
        directories.find_map(|directory| Some((directory, choose(directory, &repository)?)))
    {
        return found(directory, &repository, files);
    }
    let mut below = Vec::new();
    search(start, "", 2, &repository, &mut below);
    let prefix = start.strip_prefix(&repository).unwrap_or(Path::new("")).to_string_lossy().into_owned();
    match outermost(below, &repository, &prefix).as_slice() {
        [files] => found(start, &repository, files.clone()),
        [] => Err(Failure::new(
            Exit::Config,
            "compose.no-file",
            format!("there is no compose file in {} nor in its directories", start.display()),
        )
        .hint("name it: cm-detect --init --compose-file FILE")),
        several => {
            let names = several.iter().map(|files| files.join(" + ")).collect::<Vec<_>>().join(", ");
            Err(Failure::new(Exit::Config, "init.several", format!("there are several compose projects: {names}"))
                .hint("name the one that is deployed: cm-detect --init --compose-file FILE"))
        }
    }
}

/// Without those that another one includes or extends.
fn outermost(all: Vec<Vec<String>>, repository: &Path, prefix: &str) -> Vec<Vec<String>> {
    if all.len() < 2 {
        return all;
    }
    let read: Vec<Vec<String>> =
        all.iter().map(|files| load(repository, prefix, files).map(|one| one.files).unwrap_or_default()).collect();
    let is_part = |index: usize, files: &[String]| {
        let paths: Vec<String> = files.iter().map(|file| cm_project::tree::join(prefix, file)).collect();
        let others = read.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, read)| read).any(|read| paths.iter().all(|path| read.contains(path)))
    };
    let kept: Vec<Vec<String>> =
        all.iter().enumerate().filter(|(i, files)| !is_part(*i, files)).map(|(_, files)| files.clone()).collect();
    if kept.is_empty() { all } else { kept }
}

fn found(directory: &Path, repository: &Path, files: Vec<String>) -> Result<Found> {
    let prefix = directory.strip_prefix(repository).unwrap_or(Path::new("")).to_string_lossy().into_owned();
    let compose = load(repository, &prefix, &files)?;
    let names = OVERRIDE_NAMES.iter().filter(|name| directory.join(name).is_file()).map(|name| (*name).to_owned());
    let left_out = names.filter(|name| !files.contains(name)).collect();
    Ok(Found { directory: directory.to_owned(), repository: repository.to_owned(), prefix, files, compose, left_out })
}

fn load(repository: &Path, prefix: &str, files: &[String]) -> Result<Compose> {
    let place = |file: &String| match Place::at(prefix, file) {
        Place::Inside(path) => Ok(path),
        Place::Outside(path) => Err(Failure::new(
            Exit::Config,
            "compose.unreadable",
            format!("the compose file {path} is not in the repository {}", repository.display()),
        )),
    };
    let files = files.iter().map(place).collect::<Result<Vec<_>>>()?;
    let env = files.first().map(|file| cm_project::tree::join(cm_project::tree::parent(file), ".env"));
    compose::load(&Dir(repository.to_owned()), &files, &env.into_iter().collect::<Vec<_>>())
}

/// The compose files of the directory itself, if it has any.
fn choose(directory: &Path, repository: &Path) -> Option<Vec<String>> {
    let plain = FILE_NAMES.iter().find(|name| directory.join(name).is_file()).map(|name| (*name).to_owned());
    let Some(production) = production(directory) else {
        // What Compose takes by itself, of the files that servers have, too.
        let files = cm_project::committed_files(repository, directory, cm_git::tracked);
        return plain.map(|plain| if files.is_empty() { vec![plain] } else { files });
    };
    let prefix = directory.strip_prefix(repository).unwrap_or(Path::new("")).to_string_lossy().into_owned();
    let alone = load(repository, &prefix, std::slice::from_ref(&production));
    match (alone.is_ok_and(|compose| is_whole(&compose)), plain) {
        (false, Some(plain)) => Some(vec![plain, production]),
        _ => Some(vec![production]),
    }
}

/// Whether every service says what it runs.
fn is_whole(compose: &Compose) -> bool {
    !compose.services.is_empty() && compose.services.iter().all(|one| one.image.is_some() || one.build.is_some())
}

/// The compose file that calls itself production.
fn production(directory: &Path) -> Option<String> {
    let stems = ["docker-compose", "compose"].iter();
    let names = stems.flat_map(|stem| {
        ["production", "prod"].iter().flat_map(move |word| {
            [".", "-"].iter().flat_map(move |dot| ["yml", "yaml"].map(|end| format!("{stem}{dot}{word}.{end}")))
        })
    });
    names.into_iter().find(|name| directory.join(name).is_file())
}

/// The compose projects in the directories of `directory`, `depth` floors down, as paths below `at`.
fn search(directory: &Path, at: &str, depth: u32, repository: &Path, into: &mut Vec<Vec<String>>) {
    for name in directories_in(directory) {
        let (below, path) = (directory.join(&name), cm_project::tree::join(at, &name));
        match choose(&below, repository) {
            Some(files) => into.push(files.iter().map(|file| format!("{path}/{file}")).collect()),
            None if depth > 1 => search(&below, &path, depth - 1, repository, into),
            None => {}
        }
    }
}

fn directories_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = directories.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter(|name| !name.starts_with('.') && !SKIPPED.contains(&name.as_str())).collect();
    names.sort();
    names
}
