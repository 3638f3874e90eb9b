//! Finds the services that a commit changes: what runs on each host is compared with
//! the commit to deploy, and every changed path is looked up among the inferred
//! inputs of every service. Reads only.

mod args;
mod attributes;
mod bases;
mod changes;
mod commit;
mod compare;
mod explain;
mod init;
mod notes;
mod plan;
mod python;
mod repository;
mod target;
mod worktree;

pub use args::{Args, OnUnknownBase};

use bases::Bases;
use cm_core::{Action, CommonArgs, Done, Exit, Failure, Io, Log, Result, Run, Service};
use cm_project::inputs::Inputs;
use cm_project::{Config, HostSpec, Project, config, tree};
use commit::Recorded;
use compare::{After, Comparison};
use git2::Oid;
use notes::Notes;
use plan::{Plan, Question, is_python};
use python::{Checked, Source};
use repository::{Repository, display, short};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use target::Target;

/// The program.
pub struct Tool;

/// More paths than this are counted, not listed.
const MAX_LISTED: usize = 500;

/// So many uncommitted files are named.
const MAX_UNCOMMITTED: usize = 20;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-detect";
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
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
        let detection = Detection::new(&args, run.doc.commit(), &notes).await?;
        let plan = detection.plan(&notes)?;
        warn_of_plan(&plan, &notes);
        let uncommitted = detection.uncommitted(&args, &notes)?;
        detection.check_python(&args, &plan, &notes).await?;
        let target = &detection.target;
        run.doc.set_target(&detection.project.name(), Some(&target.branch), Some(&target.commit.to_string()));
        run.doc.set_services(&plan.services);
        run.doc.set_facts(detection.facts(&plan, uncommitted));
        let summary = say(&plan, &notes);
        Ok(if notes.warned() { Done::warned(summary) } else { Done::ok(summary) })
    }
}

async fn explain_service(args: &Args, service: &str, io: &Io) -> Result<Exit> {
    let notes = Notes::new(&io.log);
    let detection = Detection::new(args, None, &notes).await?;
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
    let detection = Detection::new(args, None, &notes).await?;
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
    compose_files: Vec<String>,
    pub(crate) bases: Bases,
    selected: Option<BTreeSet<String>>,
    hosts: Option<BTreeSet<String>>,
    full: bool,
}

impl Detection {
    /// Reads the project, the commit to deploy and what runs.
    async fn new(args: &Args, started: Option<&str>, notes: &Notes) -> Result<Self> {
        let (mut project, repository) = open(args)?;
        let only = project.use_hosts(&args.host)?;
        let target = Target::choose(&repository, &project, args, started)?;
        warn_of_target(&repository, &target, notes);
        let head = target.commit;
        let (inputs, looked_at) = read_inputs(&mut project, &repository, head)?;
        let selected = selection(&project, args)?;
        let bases = match &args.base {
            Some(rev) => Bases::from_revision(&repository, rev, args.on_unknown_base, notes)?,
            None => {
                let hosts = wanted_hosts(&project, selected.as_ref(), only.as_ref())?;
                Bases::from_hosts(&repository, &project, &hosts, args.on_unknown_base, notes).await?
            }
        };
        let compose_files = args.compose_file.clone();
        let full = args.full;
        let hosts = only;
        Ok(Detection {
            project,
            repository,
            target,
            head,
            inputs,
            looked_at,
            compose_files,
            bases,
            selected,
            hosts,
            full,
        })
    }

    /// Compares and decides.
    fn plan(&self, notes: &Notes) -> Result<Plan> {
        let after = After {
            project: &self.project,
            inputs: &self.inputs,
            looked_at: &self.looked_at,
            compose_files: &self.compose_files,
        };
        let mut comparisons = Vec::new();
        for base in self.bases.commits() {
            if base != self.head {
                self.warn_of_history(base, notes);
            }
            comparisons.push(Comparison::new(&self.repository, &after, base, self.head)?);
        }
        let question = Question {
            project: &self.project,
            inputs: &self.inputs,
            bases: &self.bases,
            comparisons: &comparisons,
            selected: self.selected.as_ref(),
            hosts: self.hosts.as_ref(),
            full: self.full,
        };
        Ok(question.answer())
    }

    fn warn_of_history(&self, base: Oid, notes: &Notes) {
        if matches!(self.bases, Bases::Revision(_)) || self.repository.is_ancestor(base, self.head) {
            return;
        }
        let (base_name, head) = (short(base), short(self.head));
        if self.repository.is_ancestor(self.head, base) {
            notes.warn(format!("{base_name}, which runs, is newer than {head}: this deploys an older commit"));
        } else {
            notes.warn(format!(
                "{base_name}, which runs, is not in the history of {head}: its changes are undone by this deploy"
            ));
        }
    }

    /// The uncommitted files and the services they would have changed, if there are any.
    fn uncommitted(&self, args: &Args, notes: &Notes) -> Result<Option<Value>> {
        if args.repo.is_some() {
            return Ok(None);
        }
        let files = self.repository.uncommitted()?;
        if files.is_empty() {
            return Ok(None);
        }
        let mut services = BTreeSet::new();
        for file in &files {
            let effects = self.inputs.classify(file, false);
            let touched = self.inputs.services.iter().zip(effects).filter(|(_, effect)| effect.is_some());
            services.extend(touched.map(|(service, _)| service.name.clone()));
        }
        let named: Vec<String> = files.iter().take(MAX_UNCOMMITTED).map(|file| display(file)).collect();
        notes.warn(uncommitted_text(&named, files.len(), &services));
        Ok(Some(json!({"count": files.len(), "files": named, "services": services})))
    }

    /// Checks the changed Python files.
    async fn check_python(&self, args: &Args, plan: &Plan, notes: &Notes) -> Result<()> {
        if args.skip_syntax_check {
            notes.warn("the Python syntax check is skipped");
            return Ok(());
        }
        let (sources, used) = self.python_sources(plan)?;
        if sources.is_empty() {
            return Ok(());
        }
        match python::check(&sources).await {
            Checked::Not(why) => {
                notes.warn(format!("the syntax of {} changed Python files was NOT checked: {why}", sources.len()));
                Ok(())
            }
            Checked::All { mistakes, version } => {
                let (blocking, other): (Vec<_>, Vec<_>) = mistakes.iter().partition(|mistake| used[mistake.index]);
                for mistake in &other {
                    notes.warn(format!("no service that changes uses it, but {}", mistake.message));
                }
                python::judge(&blocking, &version)?;
                notes.log.info(format!(
                    "the syntax of {} changed Python files is right (Python {version})",
                    sources.len() - other.len()
                ));
                Ok(())
            }
        }
    }

    /// The Python files that differ from what runs, and whether a service that changes uses each.
    fn python_sources(&self, plan: &Plan) -> Result<(Vec<Source>, Vec<bool>)> {
        let tree = self.repository.tree(self.head)?;
        let mut paths = plan.python.clone();
        // What never ran differs in every file.
        let anew = |name: &String| !matches!(self.base_of(name), Some(bases::Base::Commit { .. }));
        let acted = |name: &String| plan.services.iter().any(|s| s.name == *name && s.action != Action::None);
        let new: Vec<bool> = self.inputs.services.iter().map(|s| acted(&s.name) && anew(&s.name)).collect();
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

    fn facts(&self, plan: &Plan, uncommitted: Option<Value>) -> Value {
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
            "bases": bases,
            "full": self.full,
            "selected": self.selected,
            "selected_hosts": self.hosts,
            "not_selected": plan.left_out,
            "changed_files": plan.changed_files,
            "unmapped": plan.unmapped.iter().take(MAX_LISTED).collect::<Vec<_>>(),
            "unmapped_count": plan.unmapped.len(),
            "protected": plan.protected,
            "removed": plan.removed,
            "unpushed": self.target.unpushed,
            "dirty": uncommitted.unwrap_or_else(|| json!({"count": 0, "files": [], "services": []})),
        })
    }
}

/// The project and its repository, as the flags say.
fn open(args: &Args) -> Result<(Project, Repository)> {
    if let Some(folder) = &args.repo {
        return open_revision(args, folder);
    }
    let project = match args.compose_file.is_empty() {
        true => {
            let start = args.common.directory.clone().unwrap_or_else(|| Path::new(".").to_owned());
            Project::open_without_compose(&start, args.common.config.as_deref())?
        }
        false => named_compose(args)?,
    };
    let repository = Repository::discover(&project.root)?;
    Ok((project, repository))
}

/// A project whose compose file the flags name, with or without a `cm.toml`.
fn named_compose(args: &Args) -> Result<Project> {
    let start = args.common.directory.clone().unwrap_or_else(|| Path::new(".").to_owned());
    let found = Project::open_without_compose(&start, args.common.config.as_deref());
    let mut project = match found {
        Err(failure) if failure.code == "config.no-project" => {
            let root = start.canonicalize().unwrap_or(start);
            Project::of(root.clone(), root, String::new(), Config::default())
        }
        other => other?,
    };
    project.config.compose.files.clone_from(&args.compose_file);
    Ok(project)
}

/// A repository that need not be checked out, with the `cm.toml` of the revision.
fn open_revision(args: &Args, folder: &Path) -> Result<(Project, Repository)> {
    let repository = Repository::open(folder)?;
    let head = match &args.head {
        Some(rev) => repository.commit(rev)?,
        None => repository.head()?.commit,
    };
    let tree = repository.tree(head)?;
    let text = tree::read(&tree, config::FILE_NAME).ok().flatten();
    let mut config = match text {
        Some(text) => Config::parse(config::FILE_NAME, &String::from_utf8_lossy(&text))?,
        None => Config::default(),
    };
    if !args.compose_file.is_empty() {
        config.compose.files.clone_from(&args.compose_file);
    }
    if config.compose.files.is_empty() {
        let names = cm_project::compose::FILE_NAMES.iter();
        config.compose.files.extend(
            names
                .filter(|name| tree::read(&tree, name).ok().flatten().is_some())
                .take(1)
                .map(|name| (*name).to_owned()),
        );
    }
    drop(tree);
    let project = Project::of(folder.to_owned(), folder.to_owned(), String::new(), config);
    Ok((project, repository))
}

/// The inputs at `head`, and what was looked at for them; the project gets the compose
/// file of that commit.
fn read_inputs(project: &mut Project, repository: &Repository, head: Oid) -> Result<(Inputs, BTreeSet<String>)> {
    let tree = Recorded::new(repository.tree(head)?);
    if project.compose_files().is_empty() {
        return Err(Failure::new(Exit::Config, "compose.no-file", "there is no compose file in the repository")
            .hint("name it: --compose-file FILE, or [compose] files in cm.toml"));
    }
    let compose = cm_project::compose::load(&tree, &project.compose_files(), &project.variable_files());
    let compose = compose.map_err(|failure| match failure.code.as_str() {
        "compose.unreadable" => failure.cause(format!("this is about the commit {}", short(head))),
        _ => failure,
    })?;
    *project = project.clone().with_compose(compose)?;
    let rules = |service: &str| project.rules(service);
    let inputs = Inputs::of(&tree, &project.compose, &project.compose_name(), &project.prefix, &rules)?;
    let mut looked_at = tree.asked();
    looked_at.insert(tree::join(&project.prefix, config::FILE_NAME));
    Ok((inputs, looked_at))
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

/// The hosts to ask: those that were asked for, or whose services were, else all.
fn wanted_hosts<'a>(
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
    let is_chosen = |host: &&HostSpec| only.is_none_or(|names| names.contains(&host.name));
    let hosts: Vec<_> = project.hosts().iter().filter(is_wanted).filter(is_chosen).collect();
    if hosts.is_empty() {
        let message = "no service that was asked for runs on the hosts that were asked for";
        return Err(Failure::new(Exit::Usage, "usage.host", message).hint("leave out --host, or name another service"));
    }
    Ok(hosts)
}

fn uncommitted_text(named: &[String], count: usize, services: &BTreeSet<String>) -> String {
    let more = if count > named.len() { format!(" and {} more", count - named.len()) } else { String::new() };
    let would = match services.is_empty() {
        true => "no service depends on them".to_owned(),
        false => format!("they would have changed {}", services.iter().cloned().collect::<Vec<_>>().join(", ")),
    };
    format!("uncommitted changes are not deployed ({count} files: {}{more}); {would}", named.join(", "))
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
    if !plan.protected.is_empty() {
        let files = plan.protected.join(", ");
        notes.warn(format!("changed in the commit, but the servers keep their own: {files}"));
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
