//! `docker compose` in a project's checkout on a host. `config` there is the
//! truth about the compose file, because only the server has its env files.

use cm_core::{Exit, Failure, Result};
use cm_host::{Command, Host};
use cm_project::Project;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Images build within this time or not at all.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Starting containers may wait for the health of what they depend on.
const UP_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The compose project in one checkout on one host.
#[derive(Clone, Debug)]
pub struct Compose<'a> {
    host: &'a Host,
    checkout: String,
    files: Vec<String>,
    env_file: Option<String>,
    profiles: Vec<String>,
}

/// What `docker compose config` says of the project.
#[derive(Clone, Debug)]
pub struct Config {
    /// The project's name: its label on containers.
    pub project: String,
    /// Every service, by name.
    pub services: BTreeMap<String, Definition>,
}

/// What cm needs of a service's definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The image it runs: `image:`, or the name Compose makes up.
    pub image: String,
    /// Whether Compose builds the image.
    pub builds: bool,
    /// The services it waits for.
    pub depends_on: BTreeSet<String>,
    /// How many containers it should have.
    pub replicas: u64,
    /// Whether Docker restarts it; a service without is allowed to end with 0.
    pub restarts: bool,
}

/// How images are built.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions<'a> {
    /// The commit they come from: a label, and `CM_REVISION` for build arguments.
    pub revision: &'a str,
    /// The run they belong to: a label.
    pub release: &'a str,
    /// Whether every layer is built anew.
    pub no_cache: bool,
}

/// How containers are replaced.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpOptions {
    /// Also replace containers whose image and configuration are the same.
    pub force_recreate: bool,
    /// Also start and replace what the services depend on.
    pub with_dependencies: bool,
    /// Remove containers of services that the compose file no longer has.
    pub remove_orphans: bool,
}

impl<'a> Compose<'a> {
    /// The project in its `checkout` on `host`, with the files and profiles of `cm.toml`.
    pub fn of(project: &Project, host: &'a Host, checkout: &str) -> Self {
        let folder = match project.prefix.as_str() {
            "" => checkout.to_owned(),
            prefix => format!("{checkout}/{prefix}"),
        };
        let config = &project.config.compose;
        Compose {
            host,
            checkout: folder,
            files: config.files.clone(),
            env_file: config.env_file.clone(),
            profiles: config.profiles.clone(),
        }
    }

    /// The same project from other files; `-` is stdin.
    #[must_use]
    pub fn from_files(self, files: &[String]) -> Self {
        Compose { files: files.to_vec(), ..self }
    }

    /// `docker compose -f … --env-file … ARGS` in the checkout.
    pub fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command<'a> {
        self.command_with(&[], arguments)
    }

    fn command_with<S: AsRef<str>>(&self, more_files: &[String], arguments: &[S]) -> Command<'a> {
        let mut argv = vec!["docker".to_owned(), "compose".to_owned(), "--ansi".to_owned(), "never".to_owned()];
        // The first file alone would decide the project's folder; say it.
        argv.extend(["--project-directory".to_owned(), ".".to_owned()]);
        for file in self.files.iter().chain(more_files) {
            argv.extend(["-f".to_owned(), file.clone()]);
        }
        if let Some(env_file) = &self.env_file {
            argv.extend(["--env-file".to_owned(), env_file.clone()]);
        }
        for profile in &self.profiles {
            argv.extend(["--profile".to_owned(), profile.clone()]);
        }
        argv.extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
        self.host.command(argv).cwd(&self.checkout)
    }

    /// The project as Compose understands it there, secrets left behind.
    ///
    /// # Errors
    /// [`Exit::Config`] with Compose's words if the file is wrong there.
    pub async fn config(&self) -> Result<Config> {
        let text = self.command(&["config", "--format", "json"]).text(Exit::Config, "compose.config").await?;
        let value: Value = serde_json::from_str(&text).map_err(|error| {
            Failure::new(
                Exit::Config,
                "compose.config",
                format!("on {}: the answer of `docker compose config` cannot be read", self.host.name()),
            )
            .cause(error)
        })?;
        Ok(Config::read(&value))
    }

    /// Compose's hash of every service's configuration. Two hashes compare only if
    /// one version of Compose made both.
    ///
    /// # Errors
    /// As [`Compose::config`].
    pub async fn config_hashes(&self) -> Result<BTreeMap<String, String>> {
        let text = self.command(&["config", "--hash", "*"]).text(Exit::Config, "compose.config").await?;
        let pairs = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
        Ok(pairs.map(|(service, hash)| (service.to_owned(), hash.trim().to_owned())).collect())
    }

    /// Builds the images of `services`; `line` gets what the build says.
    ///
    /// # Errors
    /// [`Exit::Build`] with the build's last lines.
    pub async fn build(&self, services: &[String], options: &BuildOptions<'_>, line: impl FnMut(&str)) -> Result<()> {
        let labels = self.label_file(services, options).await?;
        let mut arguments = vec!["build".to_owned()];
        if options.no_cache {
            arguments.push("--no-cache".to_owned());
        }
        arguments.extend_from_slice(services);
        let command = self.command_with(&[labels], &arguments).limit(BUILD_LIMIT).env("CM_REVISION", options.revision);
        // An attestation would give an unchanged image a new digest each time.
        let command = command.env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1").env("BUILDKIT_PROGRESS", "plain");
        command.ends_with_us().stream(Exit::Build, "build.image", line).await
    }

    /// An override that only `build` reads, so that the labels change no
    /// container's configuration.
    async fn label_file(&self, services: &[String], options: &BuildOptions<'_>) -> Result<String> {
        let labels = json!({"build": {"labels": {
            "org.opencontainers.image.revision": options.revision,
            "cm.release": options.release,
        }}});
        let services: serde_json::Map<_, _> = services.iter().map(|name| (name.clone(), labels.clone())).collect();
        let text = json!({"services": services}).to_string();
        let home = self.host.command(["pwd"]).text(Exit::Build, "build.labels").await?;
        let path = format!("{}/.local/state/cm/build-{}.json", home.trim_end_matches('/'), options.release);
        self.host.write(&path, text.as_bytes(), "600", Exit::Build).await?;
        Ok(path)
    }

    /// Removes what [`Compose::build`] left beside the checkout.
    ///
    /// # Errors
    /// [`Exit::Unreachable`].
    pub async fn forget_build(&self, release: &str) -> Result<()> {
        let path = self.host.path(&format!("~/.local/state/cm/build-{release}.json"));
        self.host.command(["rm", "-f", "--", &path]).output().await.map(drop)
    }

    /// The command that [`Compose::up`] runs.
    pub fn up_command<S: AsRef<str>>(&self, services: &[S], options: UpOptions) -> Command<'a> {
        let mut arguments = vec!["up", "-d", "--no-build", "--quiet-pull"];
        let flags = [
            (!options.with_dependencies, "--no-deps"),
            (options.force_recreate, "--force-recreate"),
            (options.remove_orphans, "--remove-orphans"),
        ];
        arguments.extend(flags.iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| *flag));
        arguments.extend(services.iter().map(AsRef::as_ref));
        self.command(&arguments).limit(UP_LIMIT)
    }

    /// Starts or replaces the containers of `services` from the images that are there.
    /// It says nothing about their health: that is the gate's work.
    ///
    /// # Errors
    /// [`Exit::Build`] with Compose's words.
    pub async fn up<S: AsRef<str>>(&self, services: &[S], options: UpOptions, line: impl FnMut(&str)) -> Result<()> {
        // Half-way there are containers under temporary names, or none.
        self.up_command(services, options).to_its_end().stream(Exit::Build, "build.up", line).await
    }

    /// Restarts containers; a bind mount of a single file follows the new file then.
    ///
    /// # Errors
    /// [`Exit::Build`] with Compose's words.
    pub async fn restart(&self, service: &str) -> Result<()> {
        self.command(&["restart", "--no-deps", service])
            .limit(UP_LIMIT)
            .to_its_end()
            .text(Exit::Build, "build.restart")
            .await
            .map(drop)
    }
}

impl Config {
    /// Reads the JSON of `docker compose config`.
    pub fn read(value: &Value) -> Config {
        let project = value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let services = value.get("services").and_then(Value::as_object);
        let definitions = services
            .into_iter()
            .flatten()
            .map(|(name, service)| (name.clone(), Definition::read(&project, name, service)));
        Config { services: definitions.collect(), project: project.clone() }
    }

    /// Everything that `services` wait for, directly or not.
    pub fn dependencies(&self, services: &[String]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut queue: Vec<&str> = services.iter().map(String::as_str).collect();
        while let Some(name) = queue.pop() {
            for dependency in self.services.get(name).into_iter().flat_map(|definition| &definition.depends_on) {
                if found.insert(dependency.clone()) {
                    queue.push(dependency);
                }
            }
        }
        found
    }
}

impl Definition {
    fn read(project: &str, name: &str, service: &Value) -> Definition {
        let image = service.get("image").and_then(Value::as_str).map(str::to_owned);
        let depends_on = service.get("depends_on").and_then(Value::as_object);
        let replicas = service.pointer("/deploy/replicas").or_else(|| service.get("scale")).and_then(Value::as_u64);
        let restart = service.get("restart").and_then(Value::as_str).unwrap_or("no");
        Definition {
            image: image.unwrap_or_else(|| format!("{project}-{name}")),
            builds: service.get("build").is_some(),
            depends_on: depends_on.map(|all| all.keys().cloned().collect()).unwrap_or_default(),
            replicas: replicas.unwrap_or(1),
            restarts: restart != "no",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_name_get_the_one_compose_makes_up() {
        let config = Config::read(&json!({"name": "shop", "services": {
            "web": {"build": {}, "depends_on": {"api": {}}, "restart": "always"},
            "api": {"image": "acme/api", "build": {}, "depends_on": {"db": {}}},
            "db": {"image": "mongo:7", "deploy": {"replicas": 3}},
        }}));
        assert_eq!(
            (config.services["web"].image.as_str(), config.services["api"].image.as_str()),
            ("shop-web", "acme/api")
        );
        assert_eq!(config.services["db"].replicas, 3);
        assert_eq!(config.dependencies(&["web".to_owned()]).into_iter().collect::<Vec<_>>(), ["api", "db"]);
        assert!(config.services["web"].restarts && !config.services["api"].restarts);
    }
}
