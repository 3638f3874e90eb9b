//! The gate, let loose on what was chosen.

use crate::args::Args;
use crate::selection::{HostWatch, Selection};
use cm_core::{Journal, Log, Result, Run, plural};
use cm_gate::{Findings, Gate, Post, Settings, Window};
use cm_host::{Connect, Host};
use cm_project::Project;
use futures_util::future::try_join_all;
use tokio::sync::watch::channel;

/// What the gate found.
pub struct Watched {
    /// The hosts.
    pub hosts: Vec<Host>,
    /// What was watched on them.
    pub posts: Vec<Post>,
    /// What was found.
    pub findings: Findings,
}

impl Watched {
    /// Watches until every service is decided. Whoever waits in this run for a quiet moment hears of the window in
    /// which all are healthy.
    ///
    /// # Errors
    /// Those of reaching the hosts; [`cm_core::Exit::Config`] for a probe that cannot be used.
    pub async fn watch(project: &Project, args: &Args, selection: &Selection, run: &Run) -> Result<Watched> {
        let hosts = project.connect(selection.hosts.iter().map(|watch| &watch.host), &run.log).await?;
        run.log.info(format!("waiting for {}…", plural(selection.count() as u64, "service")));
        let (posts, findings) =
            Watching { project, selection, hosts: &hosts, run, settings: settings(project, args) }.watch().await?;
        Ok(Watched { hosts, posts, findings })
    }
}

/// A watch that begins before the names of the compose projects are known for certain.
struct Watching<'a> {
    project: &'a Project,
    selection: &'a Selection,
    hosts: &'a [Host],
    run: &'a Run,
    settings: Settings,
}

impl Watching<'_> {
    /// Compose on a server needs a moment to say what the project is called there. Meanwhile the containers of the
    /// name that it will most likely say are looked at; what was seen of them counts if it does.
    async fn watch(&self) -> Result<(Vec<Post>, Findings)> {
        let likely: Vec<_> = self
            .selection
            .hosts
            .iter()
            .map(|watch| watch.likely_compose_project(self.project))
            .collect::<Result<_>>()?;
        let held = self.run.log.held_lines();
        let posts = self.posts(&likely);
        let early = self.gate(posts.clone(), &held);
        let names = self.names();
        tokio::pin!(early, names);
        let (names, found) = tokio::select! {
            biased;
            names = &mut names => (names?, None),
            found = &mut early => (names.await?, Some(found)),
        };
        if names != likely {
            let posts = self.posts(&names);
            return Ok((posts.clone(), self.gate(posts, &self.run.log).await?));
        }
        held.release();
        let found = match found {
            Some(found) => found,
            None => early.await,
        };
        Ok((posts, found?))
    }

    /// What Compose says that the projects are called, on all hosts at once.
    async fn names(&self) -> Result<Vec<String>> {
        let pairs = self.selection.hosts.iter().zip(self.hosts);
        try_join_all(pairs.map(|(watch, host)| watch.compose_project_on(self.project, host, &self.run.log))).await
    }

    fn posts(&self, names: &[String]) -> Vec<Post> {
        let pairs = self.selection.hosts.iter().zip(self.hosts).zip(names);
        let post = |((watch, host), name): ((&HostWatch, &Host), &String)| Post {
            host: host.clone(),
            project: name.clone(),
            wanted: watch.wanted.clone(),
        };
        pairs.map(post).collect()
    }

    /// Lets the gate loose, and notes the window in the run's journal as it begins, moves or ends.
    async fn gate(&self, posts: Vec<Post>, log: &Log) -> Result<Findings> {
        let journal = Journal::of(self.run.doc.run_id());
        let (to, mut window) = channel(None::<Window>);
        let telling = async {
            while window.changed().await.is_ok() {
                Window::note(window.borrow_and_update().as_ref(), &journal);
            }
            std::future::pending::<Result<Findings>>().await
        };
        let gate = Gate::new(self.settings.clone()).telling(to);
        tokio::select! {
            findings = gate.watch_all(posts, log) => findings,
            never = telling => never,
        }
    }
}

/// The project's limits, with the flags over them.
pub fn settings(project: &Project, args: &Args) -> Settings {
    let mut settings = Settings::of(project.health());
    settings.timeout = args.timeout.unwrap_or(settings.timeout);
    settings.window = args.window.unwrap_or(settings.window);
    settings.fail_fast = !args.keep_going;
    settings.strict = args.timeout.is_some();
    settings
}
