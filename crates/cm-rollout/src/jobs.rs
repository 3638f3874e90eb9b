//! Which jobs and release commands a release has on a host, and in which order they run.

use cm_engine::Config;
use cm_project::{Job, Project};
use std::collections::BTreeSet;

/// What a release changes on a host, as far as its jobs are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// The services of the plan that are there afterwards.
    pub planned: &'a [String],
    /// The files that the release changes; `None` if nobody knows.
    pub changed: Option<&'a [String]>,
    /// The services whose release commands run on this host.
    pub own: &'a BTreeSet<String>,
}

/// The jobs of a release: first the services that end, those that others of them wait for in front,
/// else in the order of the compose file; then the release commands in the order of `cm.toml`.
pub fn jobs_of(project: &Project, config: &Config, release: Release<'_>) -> Vec<Job> {
    let awaited = config.jobs();
    let is_job = |name: &&String| config.services.contains_key(*name) && project.is_job_of(name, &awaited);
    let services: Vec<String> = release.planned.iter().filter(is_job).cloned().collect();
    let mut jobs: Vec<Job> = in_order(project, config, services).iter().map(|name| project.job(name)).collect();
    let commands = project.release_commands().into_iter().filter(|job| {
        let planned = !job.when.is_empty() || release.planned.contains(&job.service);
        let there = config.services.contains_key(&job.service) && release.own.contains(&job.service);
        there && planned && job.is_for(release.changed)
    });
    jobs.extend(commands);
    jobs
}

/// `services`, each behind those of them that it waits for.
fn in_order(project: &Project, config: &Config, mut services: Vec<String>) -> Vec<String> {
    let declared = project.compose.names();
    services.sort_by_key(|name| declared.iter().position(|known| known == name).unwrap_or(usize::MAX));
    let mut ordered: Vec<String> = Vec::new();
    while !services.is_empty() {
        let waits = |name: &String| {
            let needed = config.dependencies(std::slice::from_ref(name));
            services.iter().any(|other| other != name && needed.contains(other))
        };
        // Compose refuses circles; should there be one all the same, the first goes first.
        let next = services.iter().position(|name| !waits(name)).unwrap_or(0);
        ordered.push(services.remove(next));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TOML: &str = "[[release]]\nservice = \"web\"\ncommand = [\"one\"]\n\
        [[release]]\nservice = \"api\"\ncommand = [\"two\"]\nwhen = [\"db/**\"]\n\
        [services.report]\njob = true\n[services.index]\njob = false\n";

    fn names(planned: &[&str], changed: Option<&[&str]>, own: &[&str]) -> Vec<String> {
        let config = cm_project::Config::parse("cm.toml", TOML).expect("valid");
        let project = Project::of("/x".into(), "/x".into(), String::new(), config);
        let ends = |name: &str| json!({name: {"condition": "service_completed_successfully"}});
        let compose = Config::read(&json!({"name": "shop", "services": {
            "web": {"depends_on": ends("a-seed")}, "a-seed": {"depends_on": ends("migrate")}, "migrate": {}, "report": {},
            "api": {"depends_on": ends("index")}, "index": {},
        }}));
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let changed = changed.map(strings);
        let (planned, own) = (strings(planned), strings(own).into_iter().collect());
        let release = Release { planned: &planned, changed: changed.as_deref(), own: &own };
        jobs_of(&project, &compose, release).into_iter().map(|job| job.name).collect()
    }

    #[test]
    fn a_job_runs_behind_those_it_waits_for_and_in_front_of_release_commands() {
        let all = ["web", "a-seed", "migrate", "report", "index", "api"];
        let told = names(&all, None, &["web", "api"]);
        assert_eq!(told, ["migrate", "a-seed", "report", "web: one", "api: two"]);
    }

    #[test]
    fn what_is_not_in_the_plan_is_not_run_and_a_condition_decides_where_there_is_one() {
        assert!(names(&["index"], Some(&["x"]), &["web", "api"]).is_empty());
        assert_eq!(names(&["index"], Some(&["db/1"]), &["web", "api"]), ["api: two"]);
        assert_eq!(names(&["web", "api"], Some(&["x"]), &["web", "api"]), ["web: one"]);
        assert!(names(&["web", "api"], None, &[]).is_empty(), "on the host of its service alone");
    }
}
