//! What is going to be deployed, as far as the repository on this machine says it.

use super::finding::Finding;
use super::{LIMIT, needs};
use cm_core::{Exit, Result};
use cm_engine::Compose as Engine;
use cm_git::Repository;
use cm_host::{Host, Output};
use cm_project::compose::Compose;
use cm_project::tree::{self, Tree};
use cm_project::{Project, env_file};

/// The compose file that is tried out on the hosts.
#[derive(Clone, Debug)]
pub enum ComposeFile {
    /// The one of the commit that is deployed: the server's variables must do for it.
    Coming(Vec<u8>),
    /// The one that is checked out there now.
    Present,
}

/// What the commit to come is like.
#[derive(Clone, Debug)]
pub struct Coming {
    /// Its compose file.
    pub compose: ComposeFile,
    /// The protected files that it has.
    pub protected: Vec<String>,
    /// Its full id: the document's commit, else what is checked out on this machine.
    pub commit: Option<String>,
    /// All its compose files as this machine reads them, if it can and all env files of `include`s are in it.
    pub whole: Option<Compose>,
    /// The keys of its version of the env file that Compose reads, if it has one.
    pub env_keys: Option<Vec<String>>,
}

impl Coming {
    /// Reads it off the repository on this machine.
    pub fn read(project: &Project, commit: Option<&str>) -> Coming {
        let repository = Repository::open(&project.repository).ok();
        let head = || Some(repository.as_ref()?.head().ok()?.commit.to_string());
        let coming = commit.map(str::to_owned).or_else(head);
        let tree = repository.as_ref().zip(coming.as_deref());
        let tree = tree.and_then(|(repository, commit)| repository.tree(repository.commit(commit).ok()?).ok());
        let has = |file: &String| tree.as_ref().is_some_and(|tree| tree.kind(file).is_some());
        let read = |file: &String| tree::read(tree.as_ref()?, file).ok().flatten();
        let whole = tree.as_ref().and_then(|tree| project.read_compose(tree).ok());
        let env_keys = project.variable_files().first().and_then(read);
        Coming {
            compose: ComposeFile::coming(project, commit),
            protected: project.protected().into_iter().filter(has).collect(),
            commit: coming.clone(),
            whole: whole.filter(|compose| compose.include_env_files.iter().all(|file| read(file).is_some())),
            env_keys: env_keys.map(|bytes| env_file::keys(&String::from_utf8_lossy(&bytes))),
        }
    }
}

impl ComposeFile {
    /// Compose reads one file from stdin; where there are several, those of the
    /// present checkout must do.
    fn coming(project: &Project, commit: Option<&str>) -> ComposeFile {
        let files = project.compose_files();
        let (Some(commit), [file]) = (commit, files.as_slice()) else { return ComposeFile::Present };
        cm_git::file(&project.repository, commit, file).map_or(ComposeFile::Present, ComposeFile::Coming)
    }

    /// What Compose there says to it.
    pub async fn try_out(&self, project: &Project, host: &Host, checkout: &str) -> Result<Output> {
        let config = &project.config.compose;
        let (files, stdin) = match self {
            ComposeFile::Coming(text) => (&["-".to_owned()][..], text.clone()),
            ComposeFile::Present => (&config.files[..], Vec::new()),
        };
        let compose = Engine::of(project, host, checkout).from_files(files);
        compose.command(&["config", "--format", "json"]).stdin(stdin).limit(LIMIT).output().await
    }

    /// A file that is there now and wrong may be what the deployment fixes.
    pub fn not_accepted(&self, said: &str) -> Finding {
        match self {
            ComposeFile::Coming(_) => {
                let message = format!("Compose there does not accept the compose file that is deployed: {said}");
                Finding::fail(Exit::Config, &needs::COMPOSE_FILE, message)
                    .hint("it was tried with that server's env file; `docker compose config` there says more")
            }
            ComposeFile::Present => Finding::warn(
                &needs::COMPOSE_FILE,
                format!("Compose does not accept the compose file that is there now: {said}"),
            ),
        }
    }
}
