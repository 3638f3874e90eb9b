//! Everything that is found out before anything is decided: the project, the commit to
//! deploy, what runs, and what the hosts' own Compose says.

use crate::args::Args;
use crate::bases::{Base, Bases, Told};
use crate::compare::{After, Comparison};
use crate::effective::{Effective, Values};
use crate::notes::Notes;
use crate::opened::{read_inputs, wanted_hosts};
use crate::plan::Plan;
use crate::question::Question;
use crate::target::Target;
use cm_core::facts::{self, DetectFacts, Dirty};
use cm_core::{Action, Document, Journal, Result, Step};
use cm_git::{Change, Oid, Relation, Repository, Started, short};
use cm_host::Host;
use cm_project::Project;
use cm_project::inputs::Inputs;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// More paths than this are counted, not listed.
const MAX_LISTED: usize = 500;

/// The document names this many of the commits that are deployed.
const MAX_COMMITS: usize = 50;

/// Everything that was found out before deciding.
pub struct Detection {
    pub project: Project,
    pub repository: Repository,
    pub target: Target,
    pub head: Oid,
    pub inputs: Inputs,
    looked_at: BTreeSet<String>,
    is_named: bool,
    pub bases: Bases,
    releases: BTreeMap<String, String>,
    pub effective: Effective,
    /// The comparison with the base that was known first.
    started: Cell<Option<Started>>,
    /// What was compared already, by base.
    compared: RefCell<BTreeMap<Oid, Vec<Change>>>,
    pub selected: Option<BTreeSet<String>>,
    pub hosts: Option<BTreeSet<String>>,
    pub full: bool,
}

impl Detection {
    /// Reads the project, the commit to deploy and what runs; `doc` is the run's, if this is one.
    pub async fn new(
        args: &Args,
        (mut project, repository): (Project, Repository),
        doc: Option<&Document>,
        notes: &Notes,
    ) -> Result<Self> {
        let hosts = project.use_hosts(&args.host)?;
        let target = Target::choose(&repository, &project, args, doc.and_then(Document::commit))?;
        warn_of_target(&repository, &target, notes);
        let head = target.commit;
        let named = args.base.as_ref().map(|rev| Bases::from_revision(&repository, rev, args.on_unknown_base, notes));
        let named = named.transpose()?;
        // What is left to find out costs about as much as the comparison.
        let started = named.as_ref().and_then(|named| Some(repository.start_changes(*named.commits().first()?, head)));
        let (inputs, looked_at) = read_inputs(&mut project, &repository, head, &Values::new())?;
        let selected = selection(&project, args)?;
        let told = match named {
            Some(named) => Told::nothing(named),
            None => {
                let asked = wanted_hosts(&project, selected.as_ref(), hosts.as_ref())?;
                Told::by(&repository, &project, &asked, args.on_unknown_base, notes).await?
            }
        };
        let is_named = !args.compose_file.is_empty() || args.common.config.is_some();
        let mut detection = Detection {
            project,
            repository,
            target,
            head,
            inputs,
            looked_at,
            is_named,
            bases: told.bases,
            releases: told.releases,
            effective: Effective::default(),
            started: Cell::new(started),
            compared: RefCell::default(),
            selected,
            hosts,
            full: args.full,
        };
        detection.ask(&told.hosts, doc, notes).await?;
        Ok(detection)
    }

    /// Asks the hosts' own Compose, and says meanwhile whether anything is likely to be deployed.
    async fn ask(&mut self, hosts: &[Host], doc: Option<&Document>, notes: &Notes) -> Result<()> {
        if hosts.is_empty() {
            return Ok(());
        }
        let asking = Effective::ask(&self.repository, &self.project, self.head, &self.bases, hosts, notes);
        let (effective, ()) = tokio::join!(asking, self.expect(doc));
        self.effective = effective?;
        if !self.effective.is_empty() {
            let values = self.effective.values();
            (self.inputs, self.looked_at) = read_inputs(&mut self.project, &self.repository, self.head, &values)?;
        }
        Ok(())
    }

    /// Tells the programs that wait if, by the commit alone, something will be deployed.
    async fn expect(&self, doc: Option<&Document>) {
        let waits = |doc: &&Document| !doc.dry_run() && !doc.is_resumed() && doc.skip_of(Step::Baseline).is_none();
        let Some(doc) = doc.filter(waits) else { return };
        // The hosts get their questions first.
        tokio::task::yield_now().await;
        let plan = self.compare().map(|comparisons| self.answer(&comparisons));
        if plan.is_ok_and(|plan| plan.services.iter().any(|service| service.action != Action::None)) {
            Journal::of(doc.run_id()).expect_changes();
        }
    }

    /// Compares and decides.
    pub fn plan(&self, notes: &Notes) -> Result<Plan> {
        let comparisons = self.compare()?;
        self.bases
            .commits()
            .into_iter()
            .filter(|base| *base != self.head)
            .for_each(|base| self.warn_of_history(base, notes));
        Ok(self.answer(&comparisons))
    }

    fn compare(&self) -> Result<Vec<Comparison>> {
        let values = self.effective.values();
        let after = After {
            project: &self.project,
            inputs: &self.inputs,
            looked_at: &self.looked_at,
            is_named: self.is_named,
            values: &values,
        };
        let compare = |base| Comparison::new(&self.repository, &after, base, self.head, self.changes(base)?);
        self.bases.commits().into_iter().map(compare).collect()
    }

    fn answer(&self, comparisons: &[Comparison]) -> Plan {
        let question = Question {
            project: &self.project,
            inputs: &self.inputs,
            bases: &self.bases,
            effective: &self.effective,
            comparisons,
            selected: self.selected.as_ref(),
            hosts: self.hosts.as_ref(),
            full: self.full,
        };
        question.answer()
    }

    fn changes(&self, base: Oid) -> Result<Vec<Change>> {
        if let Some(changes) = self.compared.borrow_mut().remove(&base) {
            return Ok(changes);
        }
        let changes = match self.started.take() {
            Some(started) if started.base == base => started.changes().map_err(cm_git::broken)?,
            _ => self.repository.changes(base, self.head)?,
        };
        if self.effective.is_empty() && matches!(self.bases, Bases::Hosts(_)) {
            // Asked again once the hosts have answered.
            self.compared.borrow_mut().insert(base, changes.clone());
        }
        Ok(changes)
    }

    /// Says how the histories of a base and of what is deployed lie, where that is a surprise.
    fn warn_of_history(&self, base: Oid, notes: &Notes) {
        let (head, name) = (short(self.head), short(base));
        let relation = self.repository.relation(base, self.head);
        if matches!(self.bases, Bases::Revision(_)) {
            if relation == Relation::Unrelated {
                notes.warn(format!("{name} and {head} have no history in common: they are compared file by file"));
            }
            return;
        }
        match relation {
            Relation::Before => {}
            Relation::After => {
                notes.warn(format!("running commit {name} is newer than the target {head}: this deploys an older commit"));
            }
            Relation::Diverged | Relation::Unrelated => notes.warn(format!(
                "running commit {name} is not in the history of the target {head}: its changes are undone by this deploy"
            )),
            Relation::Unknown => notes.warn(format!(
                "cannot tell whether running commit {name} is in the history of the target {head}: {}",
                self.repository.fetch_hint()
            )),
        }
    }

    /// What a service was deployed from, on the host that runs it.
    pub fn base_of(&self, service: &str) -> Option<Base> {
        let host = self.project.host_of(service).map_or("local", |host| host.name.as_str());
        self.bases.of(host, service)
    }

    /// What comes with this deployment, for the document.
    fn commits(&self) -> Vec<facts::Commit> {
        let lines = self.repository.commits_since(self.head, &self.bases.commits(), MAX_COMMITS);
        let told = lines.into_iter().map(|line| facts::Commit {
            id: line.id.to_string(),
            at: line.at.map(|at| at.to_string()),
            author: line.author,
            subject: line.subject,
        });
        told.collect()
    }

    /// The facts of the document.
    pub fn facts(&self, plan: &Plan, uncommitted: Dirty) -> DetectFacts {
        DetectFacts {
            head: Some(self.head.to_string()),
            branch: Some(self.target.branch.clone()),
            branch_named: Some(self.target.named),
            bases: Some(self.bases.facts()),
            releases: Some(self.releases.clone()),
            services: Some(plan.services.len() as u64),
            full: Some(self.full),
            selected: self.selected.clone(),
            not_selected: Some(plan.left_out.clone()),
            selected_hosts: self.hosts.clone(),
            changed_files: Some(plan.changed_files as u64),
            unmapped: Some(plan.unmapped.iter().take(MAX_LISTED).cloned().collect()),
            unmapped_count: Some(plan.unmapped.len() as u64),
            protected: Some(plan.protected.clone()),
            broken: Some(plan.broken.clone()),
            removed: Some(plan.removed.clone()),
            effective: Some(self.effective.facts(&self.project, &plan.drift)),
            unpushed: self.target.unpushed.map(|count| count as u64),
            dirty: Some(uncommitted),
            commits: Some(self.commits()),
        }
    }
}

/// The services that the flags name; `None` for all.
fn selection(project: &Project, args: &Args) -> Result<Option<BTreeSet<String>>> {
    if args.group.is_empty() && args.service.is_empty() {
        return Ok(None);
    }
    let mut names: Vec<&str> = args.service.iter().map(String::as_str).collect();
    for group in &args.group {
        names.extend(project.group(group)?);
    }
    let known = names.into_iter().map(|name| project.service(name).map(|service| service.name.clone()));
    known.collect::<Result<_>>().map(Some)
}

/// Says what people should know about what is deployed.
fn warn_of_target(repository: &Repository, target: &Target, notes: &Notes) {
    target.warnings.iter().for_each(|warning| notes.warn(warning));
    if let Some(what) = repository.unfinished() {
        notes.warn(format!("{what} is in progress; what is deployed is the last commit"));
    }
}
