//! The project and its repository, opened as the flags say: the checkout one works in, or
//! any two revisions of a repository that need not be checked out.

use crate::args::Args;
use crate::effective::{Values, resolve};
use crate::recorded::Recorded;
use cm_core::{Exit, Failure, Result};
use cm_git::{Oid, Repository, short};
use cm_project::inputs::Inputs;
use cm_project::{Config, HostSpec, Project, config, tree};
use std::collections::BTreeSet;
use std::path::Path;

/// The project and its repository, as the flags say.
pub fn open(args: &Args) -> Result<(Project, Repository)> {
    if let Some(directory) = &args.repo {
        return open_revision(args, directory);
    }
    let project = match args.compose_file.is_empty() {
        true => {
            let start = args.common.directory.clone().unwrap_or_else(|| Path::new(".").to_owned());
            Project::open_without_compose(&start, args.common.config.as_deref(), cm_git::tracked)?
        }
        false => named_compose(args)?,
    };
    let repository = Repository::discover(&project.root)?;
    Ok((project, repository))
}

/// A project whose compose file the flags name, with or without a `cm.toml`.
fn named_compose(args: &Args) -> Result<Project> {
    let start = args.common.directory.clone().unwrap_or_else(|| Path::new(".").to_owned());
    let found = Project::open_without_compose(&start, args.common.config.as_deref(), cm_git::tracked);
    let mut project = match found {
        Err(failure) if failure.code == "config.no-project" => {
            let root = start.canonicalize().unwrap_or(start);
            Project::of(root.clone(), root, String::new(), Config::default())
        }
        other => other?,
    };
    project.config.compose.files.clone_from(&args.compose_file);
    project.takes_defaults = false;
    Ok(project)
}

/// A repository that need not be checked out, with the `cm.toml` of the revision.
fn open_revision(args: &Args, directory: &Path) -> Result<(Project, Repository)> {
    let repository = Repository::open(directory)?;
    let head = match &args.head {
        Some(rev) => repository.commit(rev)?,
        None => repository.head()?.commit,
    };
    let tree = repository.tree(head)?;
    let text = tree::read(&tree, config::FILE_NAME).ok().flatten();
    let mut config = match (&args.common.config, text) {
        (Some(path), _) => {
            let start = args.common.directory.clone().unwrap_or_else(|| Path::new(".").to_owned());
            cm_project::read_config(&start.join(path))?
        }
        (None, Some(text)) => Config::parse(config::FILE_NAME, &String::from_utf8_lossy(&text))?,
        (None, None) => Config::default(),
    };
    if !args.compose_file.is_empty() {
        config.compose.files.clone_from(&args.compose_file);
    }
    let takes_defaults = config.compose.files.is_empty();
    let project = Project::of(directory.to_owned(), directory.to_owned(), String::new(), config);
    let project = if takes_defaults { project.with_default_files(&tree) } else { project };
    drop(tree);
    Ok((project, repository))
}

/// The inputs at `head`, and what was looked at for them; the project gets the compose
/// file of that commit.
pub fn read_inputs(
    project: &mut Project,
    repository: &Repository,
    head: Oid,
    values: &Values,
) -> Result<(Inputs, BTreeSet<String>)> {
    let tree = Recorded::new(repository.tree(head)?);
    *project = project.clone().in_tree(&tree);
    if project.compose_files().is_empty() {
        return Err(Failure::new(Exit::Config, "compose.no-file", "there is no compose file in the repository")
            .hint("name it: --compose-file FILE, or [compose] files in cm.toml"));
    }
    let compose = resolve::load(&tree, project, project, values).map_err(|failure| match failure.code.as_str() {
        "compose.unreadable" => failure.cause(format!("this is about the commit {}", short(head))),
        _ => failure,
    })?;
    *project = project.clone().with_compose(compose)?;
    let rules = |service: &str| project.rules(service);
    let inputs = Inputs::of(&tree, &project.compose, &project.possible_names(), &project.prefix, &rules);
    let mut looked_at = tree.asked();
    looked_at.insert(tree::join(&project.prefix, config::FILE_NAME));
    Ok((inputs, looked_at))
}

/// The hosts to ask: those that were named, and of them those of the services that were
/// asked for; else all.
///
/// # Errors
/// [`Exit::Config`] if there is no host at all.
pub fn wanted_hosts<'a>(
    project: &'a Project,
    selected: Option<&BTreeSet<String>>,
    only: Option<&BTreeSet<String>>,
) -> Result<Vec<&'a HostSpec>> {
    if project.hosts().is_empty() {
        return Err(Failure::new(Exit::Config, "config.no-host", "there is no host to ask what runs").hint(
            "name one ([hosts.NAME] in cm.toml, or --host user@server), or compare with a revision: --base REV",
        ));
    }
    let is_wanted = |host: &&HostSpec| match selected {
        None => true,
        Some(names) => names.iter().any(|name| project.host_of(name).is_some_and(|of| of.name == host.name)),
    };
    let is_named = |host: &&HostSpec| only.is_none_or(|names| names.contains(&host.name));
    let hosts: Vec<_> = project.hosts().iter().filter(is_named).filter(is_wanted).collect();
    if hosts.is_empty() {
        let message = "no service that was asked for runs on the hosts that were asked for";
        return Err(Failure::new(Exit::Usage, "usage.host", message).hint("leave out --host, or name another service"));
    }
    Ok(hosts)
}
