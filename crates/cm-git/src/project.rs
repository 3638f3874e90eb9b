//! What a project asks of its repository.

use crate::remote::has_secret;
use crate::repository::Repository;
use cm_core::{CommonArgs, Document, Exit, Failure, Result};
use cm_project::Project;
use cm_project::tree::{self, Tree};
use std::path::Path;

/// The project of a run, with the compose files of the commit that its document is about: what is checked out on
/// this machine may be another one. Without a commit, or where this clone cannot read it, those of the working tree.
///
/// # Errors
/// As [`Project::load`]; [`Exit::BadInput`] for the document of another project.
pub fn of_run(common: &CommonArgs, doc: &Document) -> Result<Project> {
    let committed = || at_commit(Project::load_without_compose(common, tracked).ok()?, doc.commit()?);
    let project = match committed() {
        Some(project) => project,
        None => Project::load(common, tracked)?,
    };
    project.of_run(doc)
}

fn at_commit(project: Project, commit: &str) -> Option<Project> {
    let repository = Repository::open(&project.repository).ok()?;
    let tree = repository.tree(repository.find(commit).ok()??).ok()?;
    let project = project.in_tree(&tree);
    let compose = project.read_compose(&tree).ok()?;
    project.with_compose(compose).ok()
}

/// The URL that servers clone: `repository` of `cm.toml`, else that of the remote here.
/// It is written into each new checkout, so it must not hold a password, nor a token in the
/// place of a user.
///
/// # Errors
/// [`Exit::Config`] with `config.no-repository` if there is none, or it holds a password;
/// a variable in `repository` that is not set.
pub fn origin(project: &Project) -> Result<String> {
    let said = match &project.config.repository {
        Some(template) => template.expand()?,
        None => remote_url(project)?,
    };
    if has_secret(&said) {
        let message = "the URL has a user or a password in it, which would be written down on the servers";
        return Err(no_repository(message));
    }
    Ok(said)
}

fn remote_url(project: &Project) -> Result<String> {
    let remote = Repository::open(&project.repository).and_then(|repository| repository.remote(project.remote()));
    remote.map(|remote| remote.url).map_err(no_repository)
}

fn no_repository(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Config, "config.no-repository", format!("it is not known where servers clone from: {why}"))
        .hint("say it in cm.toml, as the servers see it: repository = \"git@github.com:example/shop.git\"")
}

/// The paths that differ between two commits of `repository`; `None` if one is not there.
pub fn changed(repository: &Path, from: &str, to: &str) -> Option<Vec<String>> {
    let repository = Repository::open(repository).ok()?;
    let commit = |name: &str| repository.find(name).ok().flatten();
    let changes = repository.changes(commit(from)?, commit(to)?).ok()?;
    Some(changes.iter().map(|change| String::from_utf8_lossy(&change.path).into_owned()).collect())
}

/// The file at `path` in a commit of `repository`, links followed; `None` if one of them is not there.
pub fn file(repository: &Path, commit: &str, path: &str) -> Option<Vec<u8>> {
    let repository = Repository::open(repository).ok()?;
    let tree = repository.tree(repository.find(commit).ok()??).ok()?;
    tree::read(&tree, path).ok()?
}

/// What a commit of `repository` has in other places ([`Repository::elsewhere`]); `None` where it has nothing there, or that
/// cannot be told.
pub fn elsewhere(repository: &Path, commit: &str) -> Option<Vec<u8>> {
    let repository = Repository::open(repository).ok()?;
    repository.elsewhere(repository.find(commit).ok()??).ok()?
}

/// Those of `paths` that Git knows in `repository`; all where there is no repository.
pub fn tracked(repository: &Path, paths: &[String]) -> Vec<String> {
    let Ok(repository) = Repository::open(repository) else { return paths.to_vec() };
    // An index of a kind that the library does not read (sparse, split): what was committed is known.
    let (index, head) = (repository.index().ok(), repository.head().ok());
    let committed = head.and_then(|head| repository.tree(head.commit).ok());
    let known = |path: &&String| match (&index, &committed) {
        (Some(index), _) => index(path),
        (None, Some(tree)) => tree.kind(path).is_some(),
        (None, None) => true,
    };
    paths.iter().filter(known).cloned().collect()
}
