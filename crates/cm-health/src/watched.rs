//! The gate, let loose on what was chosen.

use crate::args::Args;
use crate::selection::Selection;
use cm_core::{Journal, Log, Result, Run, plural};
use cm_gate::{Findings, Gate, Post, Settings, Window};
use cm_host::{Connect, Host};
use cm_project::Project;
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
        let posts = posts(project, selection, &hosts, &run.log).await?;
        run.log.info(format!("waiting for {}…", plural(selection.count() as u64, "service")));
        let journal = Journal::of(run.doc.run_id());
        let (to, mut window) = channel(None::<Window>);
        let telling = async {
            while window.changed().await.is_ok() {
                Window::note(window.borrow_and_update().as_ref(), &journal);
            }
            std::future::pending::<Result<Findings>>().await
        };
        let gate = Gate::new(settings(project, args)).telling(to);
        let findings = tokio::select! {
            findings = gate.watch_all(posts.clone(), &run.log) => findings?,
            never = telling => never?,
        };
        Ok(Watched { hosts, posts, findings })
    }
}

async fn posts(project: &Project, selection: &Selection, hosts: &[Host], log: &Log) -> Result<Vec<Post>> {
    let mut posts = Vec::new();
    for (watch, host) in selection.hosts.iter().zip(hosts) {
        let name = watch.compose_project_on(project, host, log).await?;
        posts.push(Post { host: host.clone(), project: name, wanted: watch.wanted.clone() });
    }
    Ok(posts)
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
