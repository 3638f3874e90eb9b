//! What is going to be deployed, as far as the repository on this machine says it.

use super::finding::Finding;
use super::{LIMIT, needs};
use cm_core::{Exit, Result};
use cm_engine::Compose;
use cm_host::{Host, Output};
use cm_project::Project;

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
}

impl Coming {
    /// Reads it off the repository on this machine.
    pub async fn read(project: &Project, commit: Option<&str>) -> Coming {
        let mut arguments =
            vec!["ls-tree", "-z", "--name-only", "--full-tree", "--end-of-options", commit.unwrap_or("HEAD")];
        let protected = project.protected();
        arguments.extend(protected.iter().map(String::as_str));
        let listed = if protected.is_empty() { None } else { git(project, &arguments).await };
        let listed = listed.unwrap_or_default();
        let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Coming {
            compose: ComposeFile::coming(project, commit).await,
            protected: names.map(|name| String::from_utf8_lossy(name).into_owned()).collect(),
            commit: match commit {
                Some(commit) => Some(commit.to_owned()),
                None => git(project, &["rev-parse", "--verify", "--quiet", "HEAD"])
                    .await
                    .map(|said| String::from_utf8_lossy(&said).trim().to_owned()),
            },
        }
    }
}

/// What git says of the repository here, if it can.
async fn git(project: &Project, arguments: &[&str]) -> Option<Vec<u8>> {
    let mut git = tokio::process::Command::new("git");
    git.arg("-C").arg(&project.repository).args(arguments).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, git.output()).await.ok()?.ok()?;
    output.status.success().then_some(output.stdout)
}

impl ComposeFile {
    /// Compose reads one file from stdin; where there are several, those of the
    /// present checkout must do.
    async fn coming(project: &Project, commit: Option<&str>) -> ComposeFile {
        let files = project.compose_files();
        let (Some(commit), [file]) = (commit, files.as_slice()) else { return ComposeFile::Present };
        let shown = git(project, &["show", "--end-of-options", &format!("{commit}:{file}")]).await;
        shown.map_or(ComposeFile::Present, ComposeFile::Coming)
    }

    /// What Compose there says to it.
    pub async fn try_out(&self, project: &Project, host: &Host, checkout: &str) -> Result<Output> {
        let config = &project.config.compose;
        let (files, stdin) = match self {
            ComposeFile::Coming(text) => (&["-".to_owned()][..], text.clone()),
            ComposeFile::Present => (&config.files[..], Vec::new()),
        };
        let compose = Compose::of(project, host, checkout).from_files(files);
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
