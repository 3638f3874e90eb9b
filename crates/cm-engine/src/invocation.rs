//! The words of `docker compose` commands, without a host to run them on: what a dry run shows is
//! made of the same words as what is run.

use cm_project::Project;

/// The label that says which job a container is.
pub(crate) const JOB_LABEL: &str = "cm.job";

/// What stands between `docker compose` and a command of it.
#[derive(Clone, Debug)]
pub struct Invocation {
    directory: String,
    files: Vec<String>,
    env_file: Option<String>,
    profiles: Vec<String>,
}

/// How containers are replaced.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpOptions {
    /// Also replace containers whose image and configuration are the same.
    pub force_recreate: bool,
    /// Remove containers of services that the compose file no longer has.
    pub remove_orphans: bool,
    /// Wait until their health checks pass: for services that a job needs, not as a gate.
    pub wait: bool,
}

/// A container alongside those that a service has.
#[derive(Clone, Copy, Debug)]
pub struct Alongside<'a> {
    /// The container's name.
    pub name: &'a str,
    /// Its mark, `NAME=VALUE`.
    pub label: &'a str,
    /// Whether it is found by the service's names.
    pub aliases: bool,
}

/// What a job's container is called and made of.
#[derive(Clone, Debug)]
pub struct JobRun<'a> {
    /// The container's name.
    pub container: &'a str,
    /// The job, for its label.
    pub job: &'a str,
    /// The service whose definition it has.
    pub service: &'a str,
    /// The command in the place of the service's own.
    pub command: Option<&'a [String]>,
    /// Variables on top of the service's own; never a secret.
    pub env: Vec<(String, String)>,
    /// A file on the host that says, from before it is started, that it was.
    pub mark: &'a str,
}

/// A one-off container: its networks, environment and volumes are those of the service; ports are not published,
/// and nothing else is started or replaced.
const RUN: [&str; 6] = ["run", "-d", "-T", "--interactive=false", "--no-deps", "--quiet-pull"];

impl Invocation {
    /// With the files and profiles of `cm.toml`.
    pub fn of(project: &Project) -> Self {
        let config = &project.config.compose;
        Invocation {
            directory: directory_of(&config.files),
            files: config.files.clone(),
            env_file: project.env_file(),
            profiles: config.profiles.clone(),
        }
    }

    /// The same project from other files; `-` is stdin.
    #[must_use]
    pub fn from_files(self, files: &[String]) -> Self {
        Invocation { files: files.to_vec(), ..self }
    }

    /// The compose files.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// `docker compose … ARGUMENTS`, with `more_files` laid over the project's own.
    pub fn argv(&self, more_files: &[&str], arguments: &[String]) -> Vec<String> {
        let mut argv = ["docker", "compose", "--ansi", "never"].map(str::to_owned).to_vec();
        argv.extend(self.options(more_files));
        argv.extend_from_slice(arguments);
        argv
    }

    /// Files, env file and profiles.
    pub(crate) fn options(&self, more_files: &[&str]) -> Vec<String> {
        // What Compose takes by itself from the first file, said because that may be stdin.
        let mut argv = vec!["--project-directory".to_owned(), self.directory.clone()];
        let mut add = |flag: &str, value: &str| argv.extend([flag.to_owned(), value.to_owned()]);
        self.files.iter().map(String::as_str).chain(more_files.iter().copied()).for_each(|file| add("-f", file));
        self.env_file.iter().for_each(|file| add("--env-file", file));
        self.profiles.iter().for_each(|profile| add("--profile", profile));
        argv
    }
}

/// The directory of the first of `files`, relative to where Compose runs.
pub(crate) fn directory_of(files: &[String]) -> String {
    let parent = files.first().and_then(|file| file.rsplit_once('/')).map(|(parent, _)| parent.to_owned());
    parent.filter(|parent| !parent.is_empty()).unwrap_or_else(|| ".".to_owned())
}

/// Starts or replaces the containers of `services`.
pub fn up_arguments<S: AsRef<str>>(services: &[S], options: UpOptions) -> Vec<String> {
    // Of those that are named, one that another one depends on still starts first.
    let mut arguments = vec!["up", "-d", "--no-build", "--quiet-pull", "--no-deps"];
    let flags = [
        (options.force_recreate, "--force-recreate"),
        (options.remove_orphans, "--remove-orphans"),
        (options.wait, "--wait"),
    ];
    arguments.extend(flags.iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| *flag));
    arguments.extend(services.iter().map(AsRef::as_ref));
    owned(&arguments)
}

/// Builds the images of `services`.
pub fn build_arguments<S: AsRef<str>>(services: &[S], no_cache: bool) -> Vec<String> {
    let cache = no_cache.then_some("--no-cache");
    owned(&["build"].into_iter().chain(cache).chain(services.iter().map(AsRef::as_ref)).collect::<Vec<_>>())
}

/// Restarts the containers of `service`.
pub fn restart_arguments(service: &str) -> Vec<String> {
    owned(&["restart", "--no-deps", service])
}

/// Starts one more container of `service`.
pub fn alongside_arguments(service: &str, alongside: &Alongside<'_>) -> Vec<String> {
    let aliases = alongside.aliases.then_some("--use-aliases");
    let named = ["--name", alongside.name, "--label", alongside.label, service];
    owned(&RUN.into_iter().chain(aliases).chain(named).collect::<Vec<_>>())
}

/// Starts a job.
pub fn job_arguments(run: &JobRun<'_>) -> Vec<String> {
    let mut arguments = owned(&RUN);
    arguments.extend(["--name".to_owned(), run.container.to_owned()]);
    arguments.extend(["--label".to_owned(), format!("{JOB_LABEL}={}", run.job)]);
    arguments.extend(run.env.iter().flat_map(|(name, value)| ["-e".to_owned(), format!("{name}={value}")]));
    arguments.push(run.service.to_owned());
    arguments.extend(run.command.into_iter().flatten().cloned());
    arguments
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_s_directory_is_that_of_the_first_file() {
        for (files, directory) in [
            (vec![], "."),
            (vec!["compose.yml", "deploy/more.yml"], "."),
            (vec!["./compose.yml"], "."),
            (vec!["deploy/compose.yml", "compose.yml"], "deploy"),
            (vec!["../a/compose.yml"], "../a"),
        ] {
            assert_eq!(directory_of(&owned(&files)), directory, "{files:?}");
        }
    }

    #[test]
    fn a_file_of_stdin_comes_after_the_project_s_own() {
        let invocation = Invocation {
            directory: "deploy".to_owned(),
            files: owned(&["deploy/a.yml"]),
            env_file: Some(".env".to_owned()),
            profiles: owned(&["p"]),
        };
        let line = invocation.argv(&["-"], &build_arguments(&["web"], true)).join(" ");
        assert_eq!(
            line,
            "docker compose --ansi never --project-directory deploy -f deploy/a.yml -f - --env-file .env --profile p build --no-cache web"
        );
    }
}
