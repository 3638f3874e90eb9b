//! What runs once in a release before any container is replaced: jobs, which are services that end, and
//! release commands, which run in a service's image.

use crate::pattern::Patterns;
use crate::project::Project;
use crate::release::ReleaseCommand;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a job may take where nobody says.
pub const JOB_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// A job or a release command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job {
    /// What it is called in messages and records: the service, or `SERVICE: COMMAND`.
    pub name: String,
    /// The service it is, or whose image it runs in.
    pub service: String,
    /// The command; `None` for that of the service itself.
    pub command: Option<Vec<String>>,
    /// How long it may take.
    pub timeout: Duration,
    /// The command that takes back what it did; empty where there is none.
    pub down: Vec<String>,
    /// Whether it is irreversible; `None` where cm.toml leaves that to `[rollback] migrations`.
    pub changes_data: Option<bool>,
    /// The files whose change it is for; empty for any.
    pub when: Vec<String>,
}

impl Job {
    /// Whether it is for these changed files; not known is taken for yes.
    pub fn is_for(&self, changed: Option<&[String]>) -> bool {
        self.when.is_empty() || changed.is_none_or(|changed| !self.matched(changed).is_empty())
    }

    /// Those of the changed files that it is for.
    pub fn matched(&self, changed: &[String]) -> Vec<String> {
        let patterns = Patterns::of(self.when.iter().map(String::as_str));
        changed.iter().filter(|path| !patterns.is_empty() && patterns.matches(path.as_bytes())).cloned().collect()
    }
}

impl Project {
    /// Whether `service` is a job that is run once in a release: what cm.toml says, else what the compose
    /// files say, as read here (`awaited`: as a server's Compose reads them).
    pub fn is_job_of(&self, service: &str, awaited: &BTreeSet<String>) -> bool {
        self.rules(service).job.unwrap_or_else(|| awaited.contains(service))
    }

    /// The same by its host's Compose, where it was asked in this run, else by the compose file that was read here.
    pub fn is_job(&self, service: &str) -> bool {
        match self.effective_service(service) {
            Some(known) => self.rules(service).job.unwrap_or(known.job),
            None => self.is_job_of(service, &self.compose.awaited()),
        }
    }

    /// The job that `service` is.
    pub fn job(&self, service: &str) -> Job {
        let rules = self.rules(service);
        Job {
            name: service.to_owned(),
            service: service.to_owned(),
            command: None,
            timeout: rules.job_timeout.unwrap_or(JOB_TIMEOUT),
            down: rules.down,
            changes_data: rules.changes_data,
            when: Vec::new(),
        }
    }

    /// The release commands, in their order.
    pub fn release_commands(&self) -> Vec<Job> {
        let read = |one: &ReleaseCommand| Job {
            name: format!("{}: {}", one.service.as_ref(), one.command.join(" ")),
            service: one.service.as_ref().clone(),
            command: Some(one.command.clone()),
            timeout: one.timeout.unwrap_or(JOB_TIMEOUT),
            down: one.down.clone(),
            changes_data: one.changes_data,
            when: one.when.clone(),
        };
        self.config.release.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn project(config: &str, compose: &str) -> (tempfile::TempDir, Project) {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::write(directory.path().join("compose.yml"), compose).expect("write");
        std::fs::write(directory.path().join("cm.toml"), config).expect("write");
        let project =
            Project::open(directory.path(), None, crate::all_tracked).unwrap_or_else(|failure| panic!("{failure}"));
        (directory, project)
    }

    const COMPOSE: &str = "services:\n  web:\n    image: web\n    depends_on: {migrate: {condition: service_completed_successfully}, db: {condition: service_healthy}}\n\
        \x20 migrate: {image: web}\n  db: {image: db}\n  report: {image: web}\n";

    #[test]
    fn a_job_is_what_is_waited_for_to_end_unless_cm_toml_knows_better() {
        let jobs = |config: &str| {
            let (_directory, project) = project(config, COMPOSE);
            project
                .compose
                .names()
                .into_iter()
                .filter(|name| project.is_job(name))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(jobs(""), ["migrate"]);
        assert_eq!(jobs("[services.migrate]\njob = false\n[services.report]\njob = true\n"), ["report"]);
    }

    #[test]
    fn a_release_command_is_for_the_files_that_it_names() {
        let config = "[[release]]\nservice = \"web\"\ncommand = [\"rake\", \"db:migrate\"]\nwhen = [\"db/**\", \"!db/README\"]\ntimeout = \"5m\"\n";
        let (_directory, project) = project(config, COMPOSE);
        let [job] = project.release_commands().try_into().expect("one");
        assert_eq!((job.name.as_str(), job.timeout.as_secs()), ("web: rake db:migrate", 300));
        let changed = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        assert!(job.is_for(None) && job.is_for(Some(&changed(&["a", "db/1.sql"]))));
        assert!(!job.is_for(Some(&changed(&["a", "db/README"]))));
        assert_eq!(job.matched(&changed(&["a", "db/1.sql"])), ["db/1.sql"]);
        let any = Job { when: Vec::new(), ..job };
        assert!(any.is_for(Some(&[])) && any.matched(&changed(&["a"])).is_empty());
    }

    #[test]
    fn a_release_command_without_a_command_or_of_no_service_is_a_mistake() {
        let failure = Config::parse("cm.toml", "[[release]]\nservice = \"web\"\ncommand = []\n").expect_err("empty");
        assert_eq!(failure.code, "config.no-command");
        let directory = tempfile::tempdir().expect("directory");
        std::fs::write(directory.path().join("compose.yml"), COMPOSE).expect("write");
        std::fs::write(directory.path().join("cm.toml"), "[[release]]\nservice = \"wep\"\ncommand = [\"x\"]\n")
            .expect("write");
        let failure = Project::open(directory.path(), None, crate::all_tracked).expect_err("unknown");
        assert_eq!(
            (failure.code.as_str(), failure.hint.as_deref()),
            ("config.unknown-service", Some("did you mean \"web\"?"))
        );
    }
}
