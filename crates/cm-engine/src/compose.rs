//! `docker compose` in a project's checkout on a host. `config` there is the
//! truth about the compose file, because only the server has its env files.

use crate::effective::Refusal;
use crate::invocation::{
    Invocation, alongside_arguments, build_arguments, directory_of, restart_arguments, up_arguments,
};
use crate::{Alongside, Config, Definition, UpOptions};
use cm_core::{Exit, Failure, Result};
use cm_host::{Begun, Change, Command, Fenced, Host, Secrets};
use cm_project::Project;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Images build within this time or not at all.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Starting containers may wait for the health of what they depend on.
const UP_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The compose project in one checkout on one host.
#[derive(Clone, Debug)]
pub struct Compose<'a> {
    host: &'a Host,
    root: String,
    prefix: String,
    checkout: String,
    invocation: Invocation,
    secrets: Secrets,
}

/// How images are built.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions<'a> {
    /// The commit they come from: a label, and `CM_REVISION` for build arguments.
    pub revision: &'a str,
    /// The project's state directory on the host, where a build says how it goes.
    pub state: &'a str,
    /// Whether every layer is built again.
    pub no_cache: bool,
}

impl<'a> Compose<'a> {
    /// The project in its `checkout` on `host`, with the files and profiles of `cm.toml`.
    pub fn of(project: &Project, host: &'a Host, checkout: &str) -> Self {
        let place = match project.prefix.as_str() {
            "" => checkout.to_owned(),
            prefix => format!("{checkout}/{prefix}"),
        };
        Compose {
            host,
            root: checkout.to_owned(),
            prefix: project.prefix.clone(),
            checkout: place,
            invocation: Invocation::of(project),
            secrets: secrets(project),
        }
    }

    /// The same project from other files; `-` is stdin.
    #[must_use]
    pub fn from_files(self, files: &[String]) -> Self {
        Compose { invocation: self.invocation.from_files(files), ..self }
    }

    /// `docker compose -f … --env-file … ARGS` in the checkout, for what only reads.
    pub fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command<'a> {
        self.host.command(self.argv(&[], arguments)).cwd(&self.checkout).hiding_in_errors(&self.secrets)
    }

    /// The same for what changes something, through the fenced handle of its host.
    pub fn change<'b, S: AsRef<str>>(&self, fenced: &'b Fenced, arguments: &[S]) -> Change<'b> {
        self.change_with(fenced, &[], arguments).hiding(&self.secrets)
    }

    fn change_with<'b, S: AsRef<str>>(&self, fenced: &'b Fenced, files: &[&str], arguments: &[S]) -> Change<'b> {
        fenced.command(self.argv(files, arguments)).cwd(&self.checkout)
    }

    /// A script around such a change: it gets `before`, and then the command's words.
    pub(crate) fn change_inside<'b>(
        &self,
        fenced: &'b Fenced,
        script: &'static str,
        before: &[String],
        arguments: &[String],
    ) -> Change<'b> {
        let argv = before.iter().cloned().chain(self.argv(&[], arguments));
        fenced.script(script, argv).cwd(&self.checkout)
    }

    /// A script in the checkout that only reads, and whose answer is for people.
    pub(crate) fn reading(&self, script: &'static str) -> Command<'a> {
        self.host.script(script, [""; 0]).cwd(&self.checkout).hiding(&self.secrets)
    }

    fn argv<S: AsRef<str>>(&self, more_files: &[&str], arguments: &[S]) -> Vec<String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.as_ref().to_owned()).collect();
        self.invocation.argv(more_files, &arguments)
    }

    /// What stands between `docker compose` and its command: files, env file and profiles.
    pub(crate) fn options(&self) -> Vec<String> {
        self.invocation.options(&[])
    }

    /// A command of Compose there, to be shown.
    pub fn shown(&self, more_files: &[&str], arguments: &[String]) -> String {
        self.host.command(self.argv(more_files, arguments)).cwd(&self.checkout).display()
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    pub(crate) fn host(&self) -> &'a Host {
        self.host
    }

    pub(crate) fn files(&self) -> &[String] {
        self.invocation.files()
    }

    /// The checkout, and the project's directory in it.
    pub(crate) fn place(&self) -> (&str, &str) {
        (&self.root, &self.prefix)
    }

    /// The project as Compose understands it there, secrets left behind.
    ///
    /// # Errors
    /// [`Exit::Config`] with Compose's words if the file is wrong there.
    pub async fn config(&self) -> Result<Config> {
        self.config_from(self.command(&["config", "--format", "json"])).await
    }

    /// The same with `file` in the place of a compose file called `-`.
    ///
    /// # Errors
    /// As [`Compose::config`].
    pub async fn config_of(&self, file: impl Into<Vec<u8>>) -> Result<Config> {
        self.config_from(self.command(&["config", "--format", "json"]).stdin(file)).await
    }

    /// All that `docker compose config` says there, with `more`, a file of its own, over the project's. It has the
    /// values of variables: secrets are in it.
    ///
    /// # Errors
    /// As [`Compose::config`].
    pub async fn all_of(&self, more: Option<String>) -> Result<Value> {
        let arguments = ["config", "--format", "json"].map(str::to_owned);
        let command = match more {
            Some(more) => self.host.command(self.argv(&["-"], &arguments)).stdin(more),
            None => self.host.command(self.argv(&[], &arguments)),
        };
        self.value_from(command.cwd(&self.checkout).hiding_in_errors(&self.secrets)).await
    }

    async fn config_from(&self, command: Command<'_>) -> Result<Config> {
        Ok(Config::read(&self.value_from(command).await?))
    }

    async fn value_from(&self, command: Command<'_>) -> Result<Value> {
        let text = command.text(Exit::Config, "compose.config").await;
        let text = text.map_err(|failure| self.refused(failure))?;
        cm_host::parse_json(text.as_bytes()).map_err(|error| {
            Failure::new(
                Exit::Config,
                "compose.config",
                format!("on {}: the answer of `docker compose config` cannot be read", self.host.name()),
            )
            .cause(error)
        })
    }

    /// Compose there does not take the file, or is not there.
    fn refused(&self, failure: Failure) -> Failure {
        if failure.exit != Exit::Config {
            return failure;
        }
        if is_missing(&failure) {
            let message = format!("Docker Compose v2 is not installed on {}", self.host.name());
            let mut missing = Failure::new(Exit::Config, "compose.missing", message);
            missing.causes = failure.causes;
            return missing.hint("on Debian: apt-get install docker-compose-v2, or Docker's own docker-compose-plugin");
        }
        if has_no_directory(&failure) {
            let message = format!("there is no checkout on {}", self.host.name());
            let mut missing = Failure::new(Exit::Config, "checkout.missing", message);
            missing.causes = failure.causes;
            return missing
                .hint(format!("a deployment makes {}; if it is elsewhere, fix `checkout` in cm.toml", self.checkout));
        }
        let host = self.host.name();
        match (Refusal { status: 1, lines: failure.causes.clone() }).takes("") {
            Some((feature, Some(since))) => {
                failure.hint(format!("{feature} takes Docker Compose {since} or later: update it on {host}"))
            }
            _ => failure.hint(format!(
                "fix the file, or bring Docker Compose on {host} up to date: `docker compose version` there"
            )),
        }
    }

    /// Compose's hash of every service's configuration. Two hashes compare only if
    /// one version of Compose made both.
    ///
    /// # Errors
    /// As [`Compose::config`].
    pub async fn config_hashes(&self) -> Result<BTreeMap<String, String>> {
        let text = self.command(&["config", "--hash", "*"]).text(Exit::Config, "compose.config").await;
        let text = text.map_err(|failure| self.refused(failure))?;
        let pairs = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
        Ok(pairs.map(|(service, hash)| (service.to_owned(), hash.trim().to_owned())).collect())
    }

    /// Builds the images of `services`, which `config` describes; `line` gets what the build
    /// says. It outlives this program and the connection: the same build again goes on with
    /// the one that runs, or takes what it left, until [`Compose::forget_build`].
    ///
    /// # Errors
    /// [`Exit::Build`] with the build's last lines.
    pub async fn build(
        &self,
        fenced: &Fenced,
        config: &Config,
        services: &[String],
        options: &BuildOptions<'_>,
        line: impl FnMut(&str),
    ) -> Result<Begun> {
        let arguments = build_arguments(services, options.no_cache);
        // Labels from an override that only `build` reads change no container's configuration.
        let command =
            self.change_with(fenced, &["-"], &arguments).hiding(&self.secrets).stdin(labels(services, options));
        let command = command.limit(BUILD_LIMIT).env("CM_REVISION", options.revision);
        // An attestation would give an unchanged image a new digest each time.
        let command = command.env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1").env("BUILDKIT_PROGRESS", "plain");
        let key = build_key(config, services, options);
        let built = command.job(&build_dir(options.state), &key, Exit::Build, "build.image", line).await;
        if built.as_ref().is_err_and(|failure| failure.code == "host.timeout") {
            self.forget_build(fenced, options.state).await?;
        }
        built
    }

    /// Ends the build that runs, if one does, and forgets how it ended.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Build`] if it cannot be ended.
    pub async fn forget_build(&self, fenced: &Fenced, state: &str) -> Result<()> {
        fenced.end_job(&build_dir(state), "", Exit::Build).await
    }

    /// Starts or replaces the containers of `services` from the images that are there.
    /// It says nothing about their health: that is the gate's work.
    ///
    /// # Errors
    /// [`Exit::Build`] with Compose's words.
    pub async fn up<S: AsRef<str>>(
        &self,
        fenced: &Fenced,
        services: &[S],
        options: UpOptions,
        line: impl FnMut(&str),
    ) -> Result<()> {
        let command = self.change(fenced, &up_arguments(services, options)).limit(UP_LIMIT);
        // Partway there are containers under temporary names, or none.
        command.to_its_end().stream(Exit::Build, "build.up", line).await
    }

    /// Starts one more container of `service` alongside those it has, outside of what `up` and
    /// `ps` look at, and says its id. `label` (`NAME=VALUE`) marks it. With `aliases`, it is
    /// found by every name of the service; without, nobody talks to it.
    ///
    /// # Errors
    /// [`Exit::Build`] with Compose's words.
    pub async fn run_alongside(
        &self,
        fenced: &Fenced,
        service: &str,
        definition: &Definition,
        alongside: &Alongside<'_>,
    ) -> Result<String> {
        let more = json!({"services": {service: {"networks": definition.networks_with_all_names()}}});
        let files: &[&str] = if alongside.aliases { &["-"] } else { &[] };
        let command = self
            .change_with(fenced, files, &alongside_arguments(service, alongside))
            .hiding_in_errors(&self.secrets)
            .limit(UP_LIMIT)
            .stdin(more.to_string());
        let said = command.text(Exit::Build, "build.beside").await?;
        Ok(said.lines().last().unwrap_or_default().trim().to_owned())
    }

    /// Restarts containers; a bind mount of a single file follows the new file then.
    ///
    /// # Errors
    /// [`Exit::Build`] with Compose's words.
    pub async fn restart(&self, fenced: &Fenced, service: &str) -> Result<()> {
        self.change(fenced, &restart_arguments(service))
            .limit(UP_LIMIT)
            .to_its_end()
            .text(Exit::Build, "build.restart")
            .await
            .map(drop)
    }
}

/// The files on a server whose values its answers must not show, as the project's directory sees
/// them: the one of the compose file's variables, and those of its services. What stands in the
/// compose files is public.
fn secrets(project: &Project) -> Secrets {
    let to_root = "../".repeat(project.prefix.split('/').filter(|part| !part.is_empty()).count());
    let config = &project.config.compose;
    let services = project.compose.services.iter().flat_map(|service| &service.env_files);
    let of_services = services.filter_map(|file| file.place.inside());
    let of_root = of_services.chain(project.compose.include_env_files.iter().map(String::as_str));
    let public = config.files.iter().fold(Secrets::default(), |secrets, file| secrets.public(file));
    let next_to_it = format!("{}/.env", directory_of(&config.files));
    let own = public.file(project.env_file().as_deref().unwrap_or(&next_to_it));
    of_root.fold(own, |secrets, file| secrets.file(&format!("{to_root}{file}")))
}

/// Where a build is; a checkout that is moved looks there, too.
fn build_dir(state: &str) -> String {
    format!("{state}/build")
}

fn labels(services: &[String], options: &BuildOptions<'_>) -> String {
    // Nothing that differs between two runs: the same commit is the same image.
    let labels = json!({"build": {"labels": {"org.opencontainers.image.revision": options.revision}}});
    let services: serde_json::Map<_, _> = services.iter().map(|name| (name.clone(), labels.clone())).collect();
    json!({"services": services}).to_string()
}

/// Two builds with one key make the same images, whichever run asks for them. The commit
/// comes first: a checkout that is moved to it lets the build be.
fn build_key(config: &Config, services: &[String], options: &BuildOptions<'_>) -> String {
    let of = |name: &String| config.services.get(name).map_or(0, |definition| definition.build_hash);
    let services: Vec<_> = services.iter().map(|name| format!("{name}:{:016x}", of(name))).collect();
    let cache = if options.no_cache { " no-cache" } else { "" };
    format!("{} {}{cache}", options.revision, services.join(" "))
}

/// The ways in which versions of Docker say that they know no `compose`.
fn is_missing(failure: &Failure) -> bool {
    let said = ["unknown flag: --ansi", "'compose' is not a docker command", "unknown command: docker compose"];
    failure.causes.iter().any(|cause| said.iter().any(|words| cause.contains(words)))
}

/// What a command says whose directory is not there.
fn has_no_directory(failure: &Failure) -> bool {
    failure.causes.iter().any(|cause| cause.contains("cannot change directory to"))
}

#[cfg(test)]
mod tests {
    use super::is_missing;
    use cm_core::{Exit, Failure};

    #[test]
    fn a_compose_that_is_not_installed_is_known_by_what_docker_says() {
        let said = |words: &str| is_missing(&Failure::new(Exit::Config, "compose.config", "failed").cause(words));
        assert!(said("unknown flag: --ansi\nSee 'docker --help'."));
        assert!(said("docker: 'compose' is not a docker command.\nSee 'docker --help'"));
        assert!(!said("service \"web\" has neither an image nor a build context specified"));
    }
}
