//! What a host says before anything of it is changed. It is asked once this program's own document has come, or a
//! moment before: while what runs now is asked the questions that its successor is compared by.

use crate::release::Release;
use crate::room;
use crate::site::Site;
use crate::{Selection, contract, plans};
use cm_checkout::Found;
use cm_core::{CommonArgs, Document, Early, Log, Result, Step};
use cm_engine::Container;
use cm_host::Connect;
use cm_ledger::Ledger;
use cm_project::Project;
use futures_util::future::join_all;
use std::time::{Duration, Instant};

/// What is older than this is asked again: somebody may have been there meanwhile.
const RECENT: Duration = Duration::from_secs(10);

/// The answers of one host.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The checkout, and what moving it would meet.
    pub found: Found,
    /// What the host runs and has run.
    pub ledger: Ledger,
    /// The project's containers.
    pub before: Vec<Container>,
    /// Compose's name of the project.
    pub compose_project: String,
    /// What is free for a build, in bytes.
    pub free: Option<u64>,
}

impl Looked {
    /// Asks. None of the questions waits for another: over a long line each costs its time.
    ///
    /// # Errors
    /// What [`cm_checkout::Checkout::look`] says; [`cm_core::Exit::Unreachable`].
    pub async fn ask(site: &Site<'_>, log: &Log) -> Result<Looked> {
        let (host, release) = (site.host, site.release);
        let checkout = site.checkout(host).telling(log);
        let branch = Some(release.branch()).filter(|branch| !branch.is_empty());
        let compose_project = cm_engine::project_name(site.project, host, &site.plan.checkout).await?;
        let (found, ledger, before, free) = tokio::join!(
            checkout.look(branch, release.commit()),
            Ledger::read(host, &release.project),
            cm_engine::containers(host, &compose_project),
            room::for_plan(host, &site.plan),
        );
        Ok(Looked { found: found?, ledger: ledger?, before: before?, free: free?, compose_project })
    }
}

/// The answers of all hosts of a plan, whose env files have what the commit needs.
pub struct Ahead {
    began: Instant,
    hosts: Vec<Looked>,
}

impl Ahead {
    /// Asks every host, once a backup is done; `None` where anything is in the way, which is found again and said
    /// when the document has come.
    pub async fn ask(common: CommonArgs, selection: Selection, early: Early) -> Option<Ahead> {
        let doc = early.document(Step::Backup).await?;
        let (began, project) = (Instant::now(), cm_git::of_run(&common, &doc).ok()?);
        Some(Ahead { began, hosts: ask(&project, &selection, &doc, &early.log).await? })
    }

    /// The answers, if they are as new as those to the same questions asked now would be.
    pub fn recent(self) -> Option<Vec<Looked>> {
        (self.began.elapsed() < RECENT).then_some(self.hosts)
    }
}

async fn ask(project: &Project, selection: &Selection, doc: &Document, log: &Log) -> Option<Vec<Looked>> {
    let (plans, release) = (plans(project, doc).ok()?, Release::of(doc).ok()?);
    let hosts = project.connect(plans.iter().map(|plan| &plan.host), log).await.ok()?;
    let looks = hosts.iter().zip(&plans).map(|(host, plan)| {
        let site = Site::new((host, project), plan.clone(), &release, selection);
        async move { Looked::ask(&site, log).await.ok() }
    });
    let keys = contract::check(project, &hosts, &plans, release.commit(), log);
    let (keys, looked) = tokio::join!(keys, join_all(looks));
    keys.ok()?;
    looked.into_iter().collect()
}
