//! The gate over several hosts at once: each has its own guard, and the first failure
//! anywhere is known everywhere.

use super::guard::{Guard, Post};
use super::verdict::Verdict;
use super::wanted::{Settings, Wanted};
use super::window::{Hopes, Window};
use cm_core::{Failure, Log, Result};
use cm_engine::Container;
use cm_host::Host;
use jiff::Timestamp;
use std::collections::BTreeMap;
use tokio::sync::watch::{Sender, channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What was found on all hosts.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// One for each service that was wanted, in order.
    pub verdicts: Vec<Verdict>,
    /// Every container of the project as it was last seen, watched or not, by host.
    pub containers: Vec<(String, Vec<Container>)>,
    /// Since when every service was good in every reading, if all of them are healthy.
    pub good_since: Option<Timestamp>,
}

/// The gate. It changes nothing anywhere.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    settings: Settings,
    to: Option<Sender<Option<Window>>>,
}

impl Gate {
    /// A gate with these limits.
    pub fn new(settings: Settings) -> Self {
        Gate { settings, to: None }
    }

    /// The same; `to` hears of the window as it begins, moves or ends.
    #[must_use]
    pub fn telling(self, to: Sender<Option<Window>>) -> Self {
        Gate { to: Some(to), ..self }
    }

    /// Watches services on one host until each of them is decided; one verdict for
    /// each of `wanted`, in its order. `project` is the compose project's name.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] for a probe that cannot be used. A host that does not answer is no
    /// error: its services are [`State::Unknown`].
    pub async fn watch(&self, host: &Host, project: &str, wanted: &[Wanted], log: &Log) -> Result<Vec<Verdict>> {
        let post = Post { host: host.clone(), project: project.to_owned(), wanted: wanted.to_vec() };
        Ok(self.watch_all(vec![post], log).await?.verdicts)
    }

    /// Watches the containers with these `ids` alone, such as new ones that run alongside those
    /// of their services; otherwise as [`Gate::watch`], and without a word about its progress.
    ///
    /// # Errors
    /// As [`Gate::watch`].
    pub async fn watch_these(
        &self,
        host: &Host,
        project: &str,
        ids: &[String],
        wanted: &[Wanted],
        log: &Log,
    ) -> Result<Vec<Verdict>> {
        for wanted in wanted {
            wanted.parsed_probe()?;
        }
        let post = Post { host: host.clone(), project: project.to_owned(), wanted: wanted.to_vec() };
        let began = Instant::now();
        let hopes = (0, Hopes::new(began, 1, None));
        let mut guard = Guard::new(post, &self.settings, began, channel(false).0, hopes, log.clone());
        guard.only = Some(ids.to_vec());
        Ok(guard.stand().await.0)
    }

    /// Watches services on several hosts at once; the verdicts in the order of `posts`.
    ///
    /// # Errors
    /// As [`Gate::watch`].
    pub async fn watch_all(&self, posts: Vec<Post>, log: &Log) -> Result<Findings> {
        for wanted in posts.iter().flat_map(|post| &post.wanted) {
            wanted.parsed_probe()?;
        }
        let began = Instant::now();
        // The first failure anywhere is known everywhere.
        let (failed, _) = channel(false);
        let mut watching = JoinSet::new();
        let hopes = Hopes::new(began, posts.len(), self.to.clone());
        for (index, post) in posts.into_iter().enumerate() {
            let hopes = (index, hopes.clone());
            let guard = Guard::new(post, &self.settings, began, failed.clone(), hopes, log.clone());
            watching.spawn(async move { (index, guard.stand().await) });
        }
        let mut found = BTreeMap::new();
        while let Some(ended) = watching.join_next().await {
            let (index, report) = ended.map_err(|error| Failure::bug("a health watch ended early").cause(error))?;
            found.insert(index, report);
        }
        let mut findings = Findings { good_since: hopes.window().map(|window| window.since), ..Findings::default() };
        for (verdicts, host, containers) in found.into_values() {
            findings.verdicts.extend(verdicts);
            findings.containers.push((host, containers));
        }
        Ok(findings)
    }
}
