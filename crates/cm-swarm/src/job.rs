//! A job of a stack: a service of its own that runs its task once, on whichever node has room, and is not started again.
//! Its name is the same whoever starts it, and the managers keep it: that is what keeps a job from being run twice, also
//! where another manager takes over.

use crate::content::Names;
use crate::election::patiently;
use crate::sight::{JOB_LABEL, LABEL, Sight};
use crate::stack::Stack;
use crate::switch::{LIMIT, Switch, Waited};
use crate::value::text;
use cm_core::{Exit, Failure, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// More characters no name of a service has.
const LONGEST: usize = 63;

const START: &str = r#"# Starts a job.
# $1 the stack, $2 the job's service, $3 a file that says from now on that it was started; the stack file is on stdin.
set -u
umask 077
file=$(cat)
mkdir -p -- "$(dirname -- "$3")" && printf '%s\n' "$2" >"$3" && sync -- "$3" || exit 74
if docker service inspect "$2" >/dev/null 2>&1; then exit 0; fi
printf '%s\n' "$file" | docker stack deploy --compose-file - --resolve-image never --with-registry-auth "$1" >/dev/null
code=$?
[ "$code" -eq 0 ] || docker service inspect "$2" >/dev/null 2>&1 || rm -f -- "$3"
exit "$code""#;

/// What is run once.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The full name of its service, as [`Job::service_name`] makes it.
    pub name: &'a str,
    /// The job, for people.
    pub label: &'a str,
    /// The service whose definition it has.
    pub service: &'a str,
    /// The command in the place of the service's own.
    pub command: Option<&'a [String]>,
    /// Variables on top of the service's own; never a secret.
    pub env: &'a [(String, String)],
    /// A file on the manager that says, from before it is started, that it was.
    pub mark: &'a str,
}

impl Job<'_> {
    /// The name of a service of `stack` for the job that a container called `container` would be.
    pub fn service_name(stack: &str, container: &str) -> String {
        let own = container.strip_prefix(stack).map_or(container, |rest| rest.trim_start_matches('-'));
        let end = own.len().saturating_sub(LONGEST.saturating_sub(stack.len() + 1));
        // The end has what tells jobs and commits apart.
        format!("{stack}_{}", own.get(end..).unwrap_or(own).trim_start_matches('-'))
    }

    fn definition(&self, stack: &Stack) -> Option<Map<String, Value>> {
        let mut definition = stack.services.get(self.service)?.definition.clone();
        definition.remove("ports");
        definition.insert("healthcheck".to_owned(), json!({"test": ["NONE"]}));
        if let Some(command) = self.command {
            let words: Vec<String> = command.iter().map(|word| word.replace('$', "$$")).collect();
            definition.insert("command".to_owned(), words.into());
        }
        let environment = definition.entry("environment").or_insert_with(|| json!({}));
        for (name, value) in self.env {
            environment[name] = value.replace('$', "$$").into();
        }
        let old = definition.remove("deploy").unwrap_or_default();
        let mut deploy = json!({"mode": "replicated-job", "replicas": 1, "restart_policy": {"condition": "none"}});
        for key in ["resources", "placement", "endpoint_mode"] {
            if let Some(value) = old.get(key) {
                deploy[key] = value.clone();
            }
        }
        if let Some(Value::Object(placement)) = deploy.get_mut("placement") {
            placement.remove("max_replicas_per_node");
        }
        definition.insert("deploy".to_owned(), deploy);
        Some(definition)
    }
}

impl Switch<'_> {
    /// Waits until what the job's `service` starts after runs, as where a node was lost that it ran on. What is not
    /// there is not waited for.
    ///
    /// # Errors
    /// [`Exit::Build`] with the code of what keeps it, as [`Switch::carry_out`]; [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn wait_for_needs(&self, service: &str, now: &Sight) -> Result<()> {
        let all = self.stack.services.get(service).into_iter().flat_map(|service| &service.after);
        let needed: Vec<String> = all.filter(|name| now.services.contains_key(*name)).cloned().collect();
        let mut nodes = now.nodes_for_tasks();
        loop {
            match self.wait(&needed, nodes, true).await {
                Ok(Waited::FewerNodes(left)) => nodes = left,
                Ok(Waited::Done | Waited::Blocked) => return Ok(()),
                Err(failure) if failure.exit == Exit::Unhealthy => {
                    return Err(Failure { exit: Exit::Build, ..failure }.hint(format!(
                        "{service} needs it, and was not started. `docker service ps --no-trunc` on a manager says more"
                    )));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Starts a job. One that has this name already is left as it is.
    ///
    /// # Errors
    /// [`Exit::Build`] `release.start` with Docker's words; [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn start_job(&self, job: &Job<'_>, names: &BTreeMap<&str, Names>) -> Result<()> {
        let mut file = self.stack.file(&[job.service.to_owned()], &self.images, names);
        let key = job.name.strip_prefix(&format!("{}_", self.stack.name)).unwrap_or(job.name);
        let image = text(&file, &format!("/services/{}/image", job.service)).to_owned();
        let mut definition = job.definition(self.stack).unwrap_or_default();
        definition.insert("image".to_owned(), image.into());
        let mut definition = Value::Object(definition);
        definition["deploy"]["labels"] = json!({LABEL: self.project, JOB_LABEL: job.label.replace('$', "$$")});
        file["services"] = json!({key: definition});
        let arguments = [self.stack.name.clone(), job.name.to_owned(), self.host.path(job.mark)];
        let start = async || {
            let command = self.host.script(START, arguments.clone()).stdin(file.to_string());
            command.limit(LIMIT).text(Exit::Build, "release.start").await.map(drop)
        };
        patiently(start).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_its_service_without_what_only_a_server_needs() {
        let stack = Stack::of(&json!({"name": "shop", "services": {"api": {
            "image": "api", "command": ["serve"], "environment": {"A": "1"}, "ports": [{"target": 80, "mode": "host", "published": "80"}],
            "deploy": {"replicas": 3, "placement": {"constraints": ["node.labels.db == true"], "max_replicas_per_node": 1}},
        }}}));
        let command = ["migrate".to_owned(), "$X".to_owned()];
        let env = [("CM_REVISION".to_owned(), "c1".to_owned())];
        let job =
            Job { name: "shop_j", label: "migrate", service: "api", command: Some(&command), env: &env, mark: "m" };
        let definition = Value::Object(job.definition(&stack).expect("a service"));
        assert_eq!(definition["command"], json!(["migrate", "$$X"]));
        assert_eq!(definition["environment"], json!({"A": "1", "CM_REVISION": "c1"}));
        assert_eq!(definition.get("ports"), None);
        assert_eq!(definition["deploy"]["mode"], "replicated-job");
        assert_eq!(definition["deploy"]["placement"], json!({"constraints": ["node.labels.db == true"]}));
        assert_eq!(definition["deploy"].get("update_config"), None);
    }

    #[test]
    fn a_name_fits_and_its_end_tells_commits_apart() {
        assert_eq!(Job::service_name("shop", "shop-api-job-0123456789ab"), "shop_api-job-0123456789ab");
        let long = Job::service_name("shop", &format!("shop-{}-job-0123456789ab", "x".repeat(80)));
        assert!(long.len() <= LONGEST && long.ends_with("x-job-0123456789ab") && long.starts_with("shop_x"), "{long}");
    }
}
