//! Everything that is found out before anything is decided: the project, the commit to
//! deploy, what runs, and what the hosts' own Compose says.

use crate::args::Args;
use crate::bases::{Base, Bases};
use crate::compare::{After, Comparison};
use crate::effective::{Effective, Values};
use crate::notes::Notes;
use crate::opened::{read_inputs, wanted_hosts};
use crate::plan::Plan;
use crate::question::Question;
use crate::target::Target;
use cm_core::Result;
use cm_core::facts::{self, DetectFacts, Dirty};
use cm_git::{Change, Oid, Relation, Repository, Started, short};
use cm_project::Project;
use cm_project::inputs::Inputs;
use std::cell::Cell;
use std::collections::BTreeSet;

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
    pub effective: Effective,
    /// The comparison with the base that was known first.
    started: Cell<Option<Started>>,
    pub selected: Option<BTreeSet<String>>,
    pub hosts: Option<BTreeSet<String>>,
    pub full: bool,
}

impl Detection {
    /// Reads the project, the commit to deploy and what runs.
    pub async fn new(
        args: &Args,
        (mut project, repository): (Project, Repository),
        started: Option<&str>,
        notes: &Notes,
    ) -> Result<Self> {
        let hosts = project.use_hosts(&args.host)?;
        let target = Target::choose(&repository, &project, args, started)?;
        warn_of_target(&repository, &target, notes);
        let head = target.commit;
        let named = args.base.as_ref().map(|rev| Bases::from_revision(&repository, rev, args.on_unknown_base, notes));
        let named = named.transpose()?;
        // What is left to find out costs about as much as the comparison.
        let started = named.as_ref().and_then(|named| Some(repository.start_changes(*named.commits().first()?, head)));
        let (mut inputs, mut looked_at) = read_inputs(&mut project, &repository, head, &Values::new())?;
        let selected = selection(&project, args)?;
        let mut effective = Effective::default();
        let bases = match named {
            Some(named) => named,
            None => {
                let asked = wanted_hosts(&project, selected.as_ref(), hosts.as_ref())?;
                let from_hosts = Bases::from_hosts(&repository, &project, &asked, args.on_unknown_base, notes);
                let (bases, connected) = from_hosts.await?;
                effective = Effective::ask(&repository, &project, head, &bases, &connected, notes).await?;
                bases
            }
        };
        if !effective.is_empty() {
            (inputs, looked_at) = read_inputs(&mut project, &repository, head, &effective.values())?;
        }
        let is_named = !args.compose_file.is_empty() || args.common.config.is_some();
        let full = args.full;
        Ok(Detection {
            project,
            repository,
            target,
            head,
            inputs,
            looked_at,
            is_named,
            bases,
            effective,
            started: Cell::new(started),
            selected,
            hosts,
            full,
        })
    }

    /// Compares and decides.
    pub fn plan(&self, notes: &Notes) -> Result<Plan> {
        let values = self.effective.values();
        let after = After {
            project: &self.project,
            inputs: &self.inputs,
            looked_at: &self.looked_at,
            is_named: self.is_named,
            values: &values,
        };
        let mut comparisons = Vec::new();
        for base in self.bases.commits() {
            if base != self.head {
                self.warn_of_history(base, notes);
            }
            let changes = self.changes(base)?;
            comparisons.push(Comparison::new(&self.repository, &after, base, self.head, changes)?);
        }
        let question = Question {
            project: &self.project,
            inputs: &self.inputs,
            bases: &self.bases,
            effective: &self.effective,
            comparisons: &comparisons,
            selected: self.selected.as_ref(),
            hosts: self.hosts.as_ref(),
            full: self.full,
        };
        Ok(question.answer())
    }

    fn changes(&self, base: Oid) -> Result<Vec<Change>> {
        match self.started.take() {
            Some(started) if started.base == base => started.changes().map_err(cm_git::broken),
            _ => self.repository.changes(base, self.head),
        }
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
