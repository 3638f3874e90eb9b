//! What people are told of a plan: what it leaves out, what cannot be built, what a server
//! will refuse, and what is to be done.

use crate::detection::Detection;
use crate::explain;
use crate::notes::Notes;
use crate::plan::Plan;
use cm_core::{Action, Result};
use cm_project::compose::Context;
use cm_project::inputs::missing_dockerfile;

impl Detection {
    /// What Compose or BuildKit will refuse, and what only a server can know, of services that matter.
    pub fn warn_of_files(&self, notes: &Notes) {
        let compose = &self.project.compose;
        let matters = |name: &str| {
            let starts = compose.service(name).is_some_and(|service| service.starts_with(self.project.profiles()));
            starts || self.selected.as_ref().is_some_and(|names| names.contains(name))
        };
        let by_version = compose.by_version.iter().filter(|_| self.effective.is_empty());
        for warning in compose.warnings.iter().chain(by_version) {
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
        self.warn_of_idle_bases(matters, notes);
        if self.effective.is_empty() {
            self.warn_of_missing_files(matters, notes);
        }
        for inputs in self.inputs.services.iter().filter(|inputs| matters(&inputs.name)) {
            if let Some(failure) = &inputs.broken {
                notes.warn(format!("the image of {} cannot be built: {}", inputs.name, failure.message));
            }
            inputs.warnings.iter().for_each(|warning| notes.warn(format!("{}: {warning}", inputs.name)));
            if inputs.is_exhausted() {
                notes.warn(format!(
                    "{}: not all patterns of its ignore file could be tried, there are too many for so many files: files that it \
                     ignores may count as changed",
                    inputs.name
                ));
            }
        }
    }

    /// Images that services are built on, of services that nothing starts.
    fn warn_of_idle_bases(&self, matters: impl Fn(&str) -> bool, notes: &Notes) {
        for service in self.project.compose.services.iter().filter(|service| matters(&service.name)) {
            for (_, context) in service.build.iter().flat_map(|build| &build.contexts) {
                if let Context::Service(other) = context
                    && !matters(other)
                {
                    notes.warn(format!(
                        "Compose refuses {}: it is built on the image of {other}, which no active profile starts",
                        service.name
                    ));
                }
            }
        }
    }

    /// Files without which Compose starts nothing, and which only a server can have.
    fn warn_of_missing_files(&self, matters: impl Fn(&str) -> bool, notes: &Notes) {
        let Ok(tree) = self.repository.tree(self.head) else { return };
        let protected = self.project.protected();
        for service in self.project.compose.services.iter().filter(|service| matters(&service.name)) {
            let env_files = service.env_files.iter().filter(|file| file.required).map(|file| ("env file", &file.place));
            let all = env_files.chain(service.label_files.iter().map(|place| ("label file", place)));
            for (what, path) in all.filter_map(|(what, place)| Some((what, place.inside()?))) {
                let is_missing = matches!(cm_project::tree::read(&tree, path), Ok(None));
                // By its name it is a server's own.
                let of_server = path.rsplit('/').next().is_some_and(|name| name.starts_with(".env"))
                    || protected.iter().any(|file| file == path);
                if is_missing && !path.contains('$') && !of_server {
                    notes.warn(format!(
                        "{}: its {what} {path} is not in the commit; unless the server has one, Compose starts nothing",
                        service.name
                    ));
                }
            }
        }
    }

    /// A service that cannot be built is left as it is and the others are deployed, unless
    /// it was asked for, or there is nothing else to deploy.
    pub fn judge_broken(&self, plan: &Plan) -> Result<()> {
        let acts = plan.services.iter().any(|service| service.action != Action::None);
        let asked = |name: &&String| !acts || self.selected.as_ref().is_some_and(|names| names.contains(*name));
        let broken = plan.broken.iter().find(asked).and_then(|name| self.inputs.service(name)?.broken.clone());
        broken.map_or(Ok(()), Err)
    }

    /// A build that cannot begin is told of here, and not first by the server.
    pub fn warn_of_missing_dockerfiles(&self, plan: &Plan, notes: &Notes) -> Result<()> {
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
}

/// Says what the plan leaves out.
pub fn warn_of_plan(plan: &Plan, notes: &Notes) {
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
pub fn warn_of_drift(plan: &Plan, apply: bool, notes: &Notes) {
    for ((host, service), settings) in &plan.drift {
        let settings = settings.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let then = if apply {
            "it is replaced".to_owned()
        } else {
            format!(
                "it stays as it is; `cm-detect --service {service}` in the place of `cm-detect` deploys it now, and \
                 `[deploy] drift = \"apply\"` in cm.toml with every deployment"
            )
        };
        notes.warn(format!(
            "{service} on {host} does not run as its configuration says, and no commit changed that ({settings}): {then}"
        ));
    }
}

/// Says what is to be done; the stage's summary.
pub fn say(plan: &Plan, notes: &Notes) -> String {
    let acted: Vec<_> = plan.services.iter().filter(|service| service.action != Action::None).collect();
    for service in &acted {
        notes.log.info(explain::summary(service));
    }
    if !plan.unmapped.is_empty() {
        let (count, first) =
            (plan.unmapped.len(), plan.unmapped.iter().take(5).cloned().collect::<Vec<_>>().join(", "));
        let files = match count {
            1 => "1 changed file belongs".to_owned(),
            _ => format!("{count} changed files belong"),
        };
        notes.log.info(format!("{files} to no service: {first}{}", if count > 5 { ", …" } else { "" }));
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
