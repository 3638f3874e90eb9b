//! The plan of one host: which services get which action.

use crate::Selection;
use cm_checkout::Checkout;
use cm_core::{Action, Document, Exit, Failure, Reason, Result, Run, Service};
use cm_engine::UpOptions;
use cm_engine::invocation::{Invocation, build_arguments, restart_arguments, up_arguments};
use cm_host::Connect;
use cm_project::Project;
use std::collections::BTreeSet;

/// What is to be done on one host.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// The host's name.
    pub host: String,
    /// Its checkout.
    pub checkout: String,
    /// The services with something to do.
    pub services: Vec<Service>,
    /// Those of them that are jobs: run once before anything is replaced, and never started like the others.
    pub jobs: BTreeSet<String>,
}

impl HostPlan {
    /// The names of the services with this action.
    pub fn with(&self, action: Action) -> Vec<String> {
        self.services.iter().filter(|service| service.action == action).map(|service| service.name.clone()).collect()
    }

    /// The names of all its services.
    pub fn names(&self) -> Vec<&str> {
        self.services.iter().map(|service| service.name.as_str()).collect()
    }

    /// The services whose container `up` starts or replaces.
    pub fn to_start(&self) -> Vec<String> {
        let starts = |service: &&Service| {
            matches!(service.action, Action::Build | Action::Recreate) && !self.jobs.contains(&service.name)
        };
        self.services.iter().filter(starts).map(|service| service.name.clone()).collect()
    }

    /// The services that run a new container, jobs as well.
    pub fn to_run(&self) -> Vec<String> {
        let runs = |service: &&Service| matches!(service.action, Action::Build | Action::Recreate);
        self.services.iter().filter(runs).map(|service| service.name.clone()).collect()
    }

    /// Whether one of them may have an image that nobody builds.
    pub fn may_pull(&self, project: &Project) -> bool {
        let built = |name: &String| project.compose.service(name).is_some_and(|service| service.build.is_some());
        !self.to_run().iter().all(built)
    }

    /// The steps for people, where nobody could look at the host: jobs and the order are not known then.
    pub fn describe(&self, project: &Project, selection: &Selection) -> Vec<String> {
        let invocation = Invocation::of(project);
        let shown = |more: &[&str], arguments: &[String]| invocation.argv(more, arguments).join(" ");
        let mut steps = vec![self.move_step(project)];
        let mut builds = self.with(Action::Build);
        builds.retain(|name| project.compose.service(name).is_none_or(|service| service.build.is_some()));
        if !builds.is_empty() {
            steps.push(shown(&["-"], &build_arguments(&builds, selection.full)));
        }
        steps.extend(self.jobs.iter().map(|name| format!("job {name}, once, before any container is replaced")));
        let start = self.to_start();
        if !start.is_empty() {
            let up = UpOptions { force_recreate: selection.full, remove_orphans: selection.full, wait: false };
            steps.push(shown(&[], &up_arguments(&start, up)));
        }
        steps.extend(self.with(Action::Restart).iter().map(|name| shown(&[], &restart_arguments(name))));
        steps.extend(self.reload_steps(project));
        steps.extend(self.with(Action::Remove).iter().map(|name| format!("stop and remove the containers of {name}")));
        steps
    }

    /// The first step.
    pub fn move_step(&self, project: &Project) -> String {
        let untouched = project.protected().join(", ");
        let untouched = if untouched.is_empty() { untouched } else { format!("; untouched: {untouched}") };
        format!("move {} to the commit{untouched}", self.checkout)
    }

    /// How services read their files again.
    pub fn reload_steps(&self, project: &Project) -> Vec<String> {
        let step = |name: &String| {
            let rules = project.rules(name);
            let commands = [rules.validate, rules.reload];
            let commands = commands.iter().filter(|words| !words.is_empty()).map(|words| words.join(" "));
            format!("in {name}: {}", commands.collect::<Vec<_>>().join(", then "))
        };
        self.with(Action::Reload).iter().map(step).collect()
    }
}

/// The plans of the hosts that have something to do, in the document's order.
pub fn plans(project: &Project, doc: &Document) -> Result<Vec<HostPlan>> {
    let mut plans: Vec<HostPlan> = Vec::new();
    for service in doc.planned() {
        let spec = project.host(&service.host)?;
        match plans.iter_mut().find(|plan| plan.host == service.host) {
            Some(plan) => plan.services.push(service),
            None => {
                let (host, checkout) = (spec.name.clone(), spec.checkout()?);
                plans.push(HostPlan { host, checkout, services: vec![service], jobs: BTreeSet::new() });
            }
        }
    }
    for plan in &mut plans {
        let names = plan.services.iter().map(|service| service.name.clone());
        plan.jobs = names.filter(|name| project.is_job(name)).collect();
    }
    Ok(plans)
}

/// Used alone: the named services, at the tip of the remote branch.
///
/// # Errors
/// [`Exit::Usage`] if a document came without a commit, or nothing is named.
pub async fn start_without_document(project: &Project, selection: &Selection, run: &mut Run) -> Result<()> {
    if !run.started_here {
        return match run.doc.commit() {
            Some(_) => Ok(()),
            None if run.doc.planned().is_empty() => Ok(()),
            None => {
                Err(Failure::new(Exit::BadInput, "input.no-commit", "the document plans changes but names no commit")
                    .hint("cm-detect fills it in: cm-detect | cm-build"))
            }
        };
    }
    let names = named_services(project, selection)?;
    let branch = project.branch();
    let services: Vec<_> = names.iter().map(|name| planned(project, name)).collect::<Result<_>>()?;
    let first = services.first().map(|service: &Service| service.host.clone()).unwrap_or_default();
    let spec = project.host(&first)?;
    let host = project.connect_to(spec, &run.log).await?;
    let tip = Checkout::new(&host, &spec.checkout()?, project.remote(), &[])
        .remote_tip(&branch, &cm_git::origin(project))
        .await?;
    run.doc.set_target(&project.name(), Some(&branch), Some(&tip));
    run.doc.set_services(&services)
}

fn named_services(project: &Project, selection: &Selection) -> Result<Vec<String>> {
    if selection.all || (selection.full && selection.service.is_empty()) {
        return Ok(project.compose.names().into_iter().map(str::to_owned).collect());
    }
    if selection.service.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "usage.nothing-named",
            "there is no document on stdin, and no service is named",
        )
        .hint("pipe a plan in: cm-detect | cm-build; or name what to build: cm-build --service NAME, cm-build --all"));
    }
    selection.service.iter().map(|name| project.service(name).map(|_| name.clone())).collect()
}

fn planned(project: &Project, name: &str) -> Result<Service> {
    let host = project.host_of(name).ok_or_else(|| {
        Failure::new(Exit::Config, "config.no-host", format!("no host runs service {name:?}"))
            .hint("add [hosts.NAME] with an address to cm.toml")
    })?;
    let reasons = vec![Reason { path: String::new(), rule: "named".to_owned() }];
    Ok(Service { name: name.to_owned(), host: host.name.clone(), action: Action::Build, base: None, reasons })
}
