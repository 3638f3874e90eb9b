//! Finds the services that a commit changes: what runs on each host is compared with
//! the commit to deploy, and every changed path is looked up among the inferred
//! inputs of every service. Reads only.

mod args;
mod attributes;
mod bases;
mod changes;
mod commit;
mod compare;
mod effective;
mod explain;
mod init;
mod notes;
mod opened;
mod plan;
mod python;
mod repository;
mod target;
mod worktree;

pub use args::{Args, OnUnknownBase};

use bases::Bases;
use changes::{Change, Started};
use cm_core::{Action, CommonArgs, Done, Exit, Io, Log, Result, Run, Service, Step, plural};
use cm_project::inputs::{Inputs, missing_dockerfile};
use cm_project::{OnDrift, Project};
use compare::{After, Comparison};
use effective::{Effective, Values};
use git2::Oid;
use notes::Notes;
use opened::{open, read_inputs, wanted_hosts};
use plan::{Plan, Question, is_python};
use python::{Checked, Source};
use repository::{Relation, Repository, display, short};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use target::Target;
use worktree::Scan;

/// The program.
pub struct Tool;

/// More paths than this are counted, not listed.
const MAX_LISTED: usize = 500;

/// The document names this many of the commits that are deployed.
const MAX_COMMITS: usize = 50;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-detect";
    const THREADS: usize = 1;
    const EXAMPLES: [(&'static str, &'static str); 2] = [
        ("cm-detect </dev/null", "what would be deployed, and why"),
        ("cm-detect --init --host ada@server", "write a cm.toml for this repository"),
    ];
    const SCHEMAS: &'static [&'static str] = &[cm_ledger::SCHEMA];
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn step(_: &Args) -> Step {
        Step::Detect
    }

    async fn command(args: &Args, io: &Io) -> Option<Result<Exit>> {
        if args.init {
            return Some(init::run(args, io));
        }
        let service = args.explain.clone()?;
        Some(explain_service(args, &service, io).await)
    }

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        let notes = Notes::new(&run.log);
        let opened = open(&args)?;
        opened.0.check_project(&run.doc)?;
        // Looked for while the rest is found out: it costs what the working tree holds.
        let scan = args.repo.is_none().then(|| Scan::start(&opened.1));
        let detection = Detection::new(&args, opened, run.doc.commit(), &notes).await?;
        let plan = detection.plan(&notes)?;
        detection.warn_of_files(&notes);
        detection.judge_broken(&plan)?;
        warn_of_plan(&plan, &notes);
        warn_of_drift(&plan, detection.project.config.deploy.drift == OnDrift::Apply, &notes);
        detection.warn_of_missing_dockerfiles(&plan, &notes)?;
        let uncommitted = match scan {
            Some(scan) => scan.report(&detection.inputs, &notes).await,
            None => worktree::clean(),
        };
        detection.check_python(&args, &plan, &notes).await?;
        let target = &detection.target;
        run.doc.set_target(&detection.project.name(), Some(&target.branch), Some(&target.commit.to_string()));
        run.doc.set_services(&plan.services);
        if args.full {
            run.doc.set_full();
        }
        run.doc.set_facts(detection.facts(&plan, uncommitted));
        let summary = say(&plan, &notes);
        // The process ends next; to free every path and object first would be a noticeable part of its time.
        std::mem::forget(detection);
        Ok(if notes.warned() { Done::warned(summary) } else { Done::ok(summary) })
    }
}

async fn explain_service(args: &Args, service: &str, io: &Io) -> Result<Exit> {
    let notes = Notes::new(&io.log);
    let detection = Detection::new(args, open(args)?, None, &notes).await?;
    let plan = detection.plan(&notes)?;
    if !plan.services.iter().any(|known| known.name == service) {
        detection.project.service(service)?;
    }
    io.print(&explain::explain(&detection, &plan, service))?;
    Ok(Exit::Done)
}

/// The services of the plan that `args` ask for, without a document: the same as the
/// program finds, for programs and tests that have no pipe.
///
/// # Errors
/// As the program.
pub async fn services(args: &Args, log: &Log) -> Result<Vec<Service>> {
    let notes = Notes::new(log);
    let detection = Detection::new(args, open(args)?, None, &notes).await?;
    Ok(detection.plan(&notes)?.services)
}

/// Everything that was found out before deciding.
pub(crate) struct Detection {
    project: Project,
    repository: Repository,
    target: Target,
    pub(crate) head: Oid,
    pub(crate) inputs: Inputs,
    looked_at: BTreeSet<String>,
    is_named: bool,
    pub(crate) bases: Bases,
    effective: Effective,
    /// The comparison with the base that was known first.
    started: Cell<Option<Started>>,
    selected: Option<BTreeSet<String>>,
    hosts: Option<BTreeSet<String>>,
    full: bool,
}

impl Detection {
    /// Reads the project, the commit to deploy and what runs.
    async fn new(
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
    fn plan(&self, notes: &Notes) -> Result<Plan> {
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
            Some(started) if started.base == base => started.changes().map_err(repository::broken),
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

    /// What Compose or BuildKit will refuse, and what only a server can know, of services that matter.
    fn warn_of_files(&self, notes: &Notes) {
        let compose = &self.project.compose;
        let matters = |name: &str| {
            let starts = compose.service(name).is_some_and(|service| service.starts_with(self.project.profiles()));
            starts || self.selected.as_ref().is_some_and(|names| names.contains(name))
        };
        for warning in &compose.warnings {
            if warning.service.as_deref().is_none_or(matters) {
                notes.warn(format!("{}: {}", warning.at, warning.message));
            }
        }
        for service in compose.services.iter().filter(|service| service.starts_with(self.project.profiles())) {
            for other in service.requires.iter().filter(|other| !matters(other)) {
                notes.warn(format!(
                    "Compose refuses {}: it depends on {other}, which no active profile starts",
                    service.name
                ));
            }
        }
        for inputs in self.inputs.services.iter().filter(|inputs| matters(&inputs.name)) {
            if let Some(failure) = &inputs.broken {
                notes.warn(format!("the image of {} cannot be built: {}", inputs.name, failure.message));
            }
            inputs.warnings.iter().for_each(|warning| notes.warn(format!("{}: {warning}", inputs.name)));
        }
    }

    /// A service that cannot be built is left as it is and the others are deployed, unless
    /// it was asked for, or there is nothing else to deploy.
    fn judge_broken(&self, plan: &Plan) -> Result<()> {
        let acts = plan.services.iter().any(|service| service.action != Action::None);
        let asked = |name: &&String| !acts || self.selected.as_ref().is_some_and(|names| names.contains(*name));
        let broken = plan.broken.iter().find(asked).and_then(|name| self.inputs.service(name)?.broken.clone());
        broken.map_or(Ok(()), Err)
    }

    /// A build that cannot begin is told of here, and not first by the server.
    fn warn_of_missing_dockerfiles(&self, plan: &Plan, notes: &Notes) -> Result<()> {
        let tree = self.repository.tree(self.head)?;
        for planned in plan.services.iter().filter(|planned| planned.action == Action::Build) {
            let build = self.project.compose.service(&planned.name).and_then(|service| service.build.as_ref());
            if let Some(path) = build.and_then(|build| missing_dockerfile(&tree, build)) {
                notes.warn(format!(
                    "{}: its Dockerfile {path} is not in the commit; unless the server has one, its image cannot be built",
                    planned.name
                ));
            }
        }
        Ok(())
    }

    /// Checks the changed Python files.
    async fn check_python(&self, args: &Args, plan: &Plan, notes: &Notes) -> Result<()> {
        if args.skip_syntax_check {
            notes.warn("the Python syntax check is skipped");
            return Ok(());
        }
        let (sources, used) = self.python_sources(plan)?;
        let (large, small): (Vec<_>, Vec<_>) =
            sources.into_iter().zip(used).partition(|(source, _)| source.text.len() > python::MAX_FILE);
        for (source, _) in &large {
            notes.warn(format!(
                "the syntax of {} was NOT checked: it is larger than {} MiB",
                source.path,
                python::MAX_FILE >> 20
            ));
        }
        let (sources, used): (Vec<_>, Vec<_>) = small.into_iter().unzip();
        if sources.is_empty() {
            return Ok(());
        }
        match python::check(&sources).await {
            Checked::Not(why) => {
                let files = plural(sources.len() as u64, "changed Python file");
                notes.warn(format!("the syntax of {files} was NOT checked: {why}"));
                Ok(())
            }
            Checked::All { mistakes, version } => {
                let (blocking, other): (Vec<_>, Vec<_>) = mistakes.iter().partition(|mistake| used[mistake.index]);
                for mistake in &other {
                    notes.warn(format!("no service that changes uses it, but {}", mistake.message));
                }
                python::judge(&blocking, &version)?;
                let files = plural((sources.len() - other.len()) as u64, "changed Python file");
                notes.log.info(format!("syntax of {files} OK (Python {version})"));
                Ok(())
            }
        }
    }

    /// The Python files that differ from what runs, and whether a service that changes uses each.
    fn python_sources(&self, plan: &Plan) -> Result<(Vec<Source>, Vec<bool>)> {
        let tree = self.repository.tree(self.head)?;
        let mut paths = plan.python.clone();
        // What never ran differs in every file.
        let fresh = |name: &String| !matches!(self.base_of(name), Some(bases::Base::Commit { .. }));
        let acted = |name: &String| plan.services.iter().any(|s| s.name == *name && s.action != Action::None);
        let new: Vec<bool> = self.inputs.services.iter().map(|s| acted(&s.name) && fresh(&s.name)).collect();
        if new.contains(&true) {
            let takes = |path: &[u8]| {
                self.inputs.classify(path, false).iter().zip(&new).any(|(effect, new)| *new && effect.is_some())
            };
            paths.extend(tree.files(&|path| is_python(path) && takes(path))?);
        }
        let uses = |path: &[u8]| {
            let effects = self.inputs.classify(path, false);
            self.inputs.services.iter().zip(effects).any(|(service, effect)| effect.is_some() && acted(&service.name))
        };
        let found = paths.into_iter().filter_map(|path| tree.blob(&path).map(|text| (path, text)));
        Ok(found.map(|(path, text)| (Source { path: display(&path), text }, uses(&path))).unzip())
    }

    fn base_of(&self, service: &str) -> Option<bases::Base> {
        let host = self.project.host_of(service).map_or("local", |host| host.name.as_str());
        self.bases.of(host, service)
    }

    fn facts(&self, plan: &Plan, uncommitted: Value) -> Value {
        let bases = match &self.bases {
            Bases::Revision(base) => json!({"all": base.commit()}),
            Bases::Hosts(hosts) => hosts
                .iter()
                .map(|(host, services)| {
                    let services = services.iter().map(|(name, base)| (name.clone(), json!(base.commit())));
                    (host.clone(), Value::Object(services.collect()))
                })
                .collect::<serde_json::Map<_, _>>()
                .into(),
        };
        json!({
            "head": self.head.to_string(),
            "branch": self.target.branch,
            "branch_named": self.target.named,
            "bases": bases,
            "full": self.full,
            "selected": self.selected,
            "not_selected": plan.left_out,
            "selected_hosts": self.hosts,
            "changed_files": plan.changed_files,
            "unmapped": plan.unmapped.iter().take(MAX_LISTED).collect::<Vec<_>>(),
            "unmapped_count": plan.unmapped.len(),
            "protected": plan.protected,
            "broken": plan.broken,
            "removed": plan.removed,
            "effective": self.effective.facts(&self.project, &plan.drift),
            "unpushed": self.target.unpushed,
            "dirty": uncommitted,
            "commits": self.repository.subjects(self.head, &Vec::from_iter(self.bases.commits()), MAX_COMMITS),
        })
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

/// Says what the plan leaves out.
fn warn_of_plan(plan: &Plan, notes: &Notes) {
    if !plan.left_out.is_empty() {
        notes.warn(format!("changed, but not asked for, so left as they are: {}", plan.left_out.join(", ")));
    }
    if !plan.broken.is_empty() {
        let names = plan.broken.join(", ");
        notes.warn(format!("changed, but cannot be built, so left as they are: {names}"));
    }
    if !plan.protected.is_empty() {
        let files = plan.protected.join(", ");
        notes.warn(format!("changed in the commit, but the servers keep their own: {files}"));
    }
    for disagreement in &plan.disagreements {
        notes.log.info(disagreement);
    }
}

/// Says what does not run as its configuration says.
fn warn_of_drift(plan: &Plan, apply: bool, notes: &Notes) {
    for ((host, service), settings) in &plan.drift {
        let settings = settings.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let then = if apply {
            "it is replaced"
        } else {
            "it stays as it is; `[deploy] drift = \"apply\"` in cm.toml replaces it"
        };
        notes.warn(format!(
            "{service} on {host} does not run as its configuration says, and no commit changed that ({settings}): {then}"
        ));
    }
}

/// Says what is to be done; the stage's summary.
fn say(plan: &Plan, notes: &Notes) -> String {
    let acted: Vec<_> = plan.services.iter().filter(|service| service.action != Action::None).collect();
    for service in &acted {
        notes.log.info(explain::summary(service));
    }
    if !plan.unmapped.is_empty() {
        let (count, first) =
            (plan.unmapped.len(), plan.unmapped.iter().take(5).cloned().collect::<Vec<_>>().join(", "));
        notes
            .log
            .info(format!("{count} changed files belong to no service: {first}{}", if count > 5 { ", …" } else { "" }));
    }
    let names = acted.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(", ");
    let total = plan.services.len();
    let summary = match acted.len() {
        0 => format!("no service of {total} has changed"),
        count => format!("{count} of {total} services change: {names}"),
    };
    notes.log.success(&summary);
    summary
}
