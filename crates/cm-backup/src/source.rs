//! Where the database is: at a URI from an environment variable, or in a container
//! on a server. There it is unpublished, so it is reached as its own services reach
//! it: by the address Docker gave it, through a tunnel, with the URI from the
//! server's env file. The URI is only ever in this process's memory.

use cm_core::{Exit, Failure, Log, Result};
use cm_engine::Container;
use cm_host::{Forward, Host};
use cm_mongo::{DatabaseUri, ReadFrom, command, dump};
use cm_project::compose::Service;
use mongodb::Client;
use secrecy::SecretString;
use serde_json::Value;
use std::time::Duration;

/// How long taking leave of the server may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The engine goes through every file of every volume to say how large they are.
const SIZES_LIMIT: Duration = Duration::from_secs(300);

/// What reads at once.
const CONNECTIONS: u32 = dump::READERS as u32;

/// A database that answers.
#[derive(Debug)]
pub struct Source {
    /// The connection.
    pub client: Client,
    /// For people: `service mongodb on platform`, or `$MONGODB_URI`.
    pub display: String,
    /// The database its URI names.
    pub database: Option<String>,
    /// Whether it is the container of a deployed service, which is empty on the first days.
    pub deployed: bool,
    /// The container it is in, where it is known.
    pub inside: Option<Inside>,
    /// Options of the URI that are left out although somebody may mean something by them.
    pub ignored: Vec<String>,
    uri: DatabaseUri,
    tunnel: Option<Forward>,
}

/// A container with a database, as a program in it sees that.
#[derive(Debug)]
pub struct Inside {
    /// The host it runs on.
    pub host: Host,
    /// Its id.
    pub container: String,
    uri: SecretString,
}

impl Inside {
    /// What MongoDB's tools read with `--config`. A JSON text is YAML.
    pub fn configuration(&self) -> String {
        let uri = serde_json::Value::from(secrecy::ExposeSecret::expose_secret(&self.uri));
        format!("uri: {uri}\n")
    }
}

impl Source {
    /// The database at the URI in the variable `name` of this process's environment.
    ///
    /// # Errors
    /// [`Exit::Config`] for no URI, [`Exit::Backup`] if nothing answers there.
    pub async fn from_environment(name: &str, read_from: Option<ReadFrom>) -> Result<Source> {
        let uri = std::env::var(name).ok().filter(|uri| !uri.is_empty()).ok_or_else(|| {
            Failure::new(Exit::Config, "backup.uri", format!("the variable {name} is not set"))
                .hint(format!("export {name}=mongodb://…; its value never appears in a message or a process list"))
        })?;
        let uri = DatabaseUri::parse(&SecretString::from(uri), &format!("${name}")).await?;
        let uri = uri.reading_from(read_from);
        Source::connect(uri, format!("${name}"), None).await
    }

    async fn connect(uri: DatabaseUri, display: String, tunnel: Option<Forward>) -> Result<Source> {
        let client = uri.client(CONNECTIONS)?;
        let database = uri.database().map(str::to_owned);
        let ignored = uri.ignored.clone();
        let source = Source { client, display, database, deployed: false, inside: None, ignored, uri, tunnel };
        match command::greet(&source.client, &source.display).await {
            Ok(()) => Ok(source),
            Err(failure) if failure.code == "backup.database-unreachable" => {
                let Some(alone) = source.uri.alone() else {
                    source.close().await;
                    return Err(failure);
                };
                let source = Source { client: alone.client(CONNECTIONS)?, uri: alone, ..source };
                match command::greet(&source.client, &source.display).await {
                    Ok(()) => Ok(source),
                    Err(_) => {
                        source.close().await;
                        Err(failure)
                    }
                }
            }
            Err(failure) => {
                source.close().await;
                Err(failure)
            }
        }
    }

    /// A client that also reads where it writes, which is the primary.
    ///
    /// # Errors
    /// As [`DatabaseUri::client`].
    pub fn of_the_primary(&self) -> Result<Client> {
        self.uri.clone().reading_from(Some(ReadFrom::Primary)).client(CONNECTIONS)
    }

    /// Tells people which options of the URI are left out.
    pub fn tell(&self, log: &Log) {
        if !self.ignored.is_empty() {
            log.warn(format!(
                "{}: options that are not MongoDB's are ignored: {}",
                self.display,
                self.ignored.join(", ")
            ));
        }
    }

    /// Ends the connection and its tunnel.
    pub async fn close(self) {
        // A server that died meanwhile must not hold up what is done already.
        let _gone = tokio::time::timeout(CLOSE_LIMIT, self.client.shutdown().immediate(true)).await;
        if let Some(tunnel) = self.tunnel {
            tunnel.close().await;
        }
    }
}

/// A database service of a compose project on a host.
#[derive(Clone, Copy, Debug)]
pub struct Deployed<'a> {
    /// The host.
    pub host: &'a Host,
    /// The project's name as Compose knows it.
    pub project: &'a str,
    /// The database's service.
    pub service: &'a str,
    /// The volumes that its definition names.
    pub volumes: &'a [String],
    /// The env file on the host.
    pub env_file: &'a str,
}

impl Deployed<'_> {
    /// Its running container, or `None` if it was never deployed: no container and no volume of it.
    ///
    /// # Errors
    /// [`Exit::Backup`] if it is there and does not run.
    pub async fn container(&self) -> Result<Option<Container>> {
        let containers = cm_engine::containers(self.host, self.project).await.map_err(as_backup)?;
        let ours: Vec<_> = containers.into_iter().filter(|container| container.service == self.service).collect();
        if ours.is_empty() {
            return self.never_deployed().await.map(|()| None);
        }
        let stopped = self.stopped(&ours);
        ours.into_iter().find(Container::is_running).map(Some).ok_or(stopped)
    }

    /// The MongoDB database in it, whose URI is in the variable `uri_env` of the host's env file;
    /// `None` if it was never deployed.
    ///
    /// # Errors
    /// [`Exit::Backup`] if it is there and cannot be reached; [`Exit::Config`] for
    /// a URI that is not there or leads elsewhere.
    pub async fn open(&self, uri_env: &str) -> Result<Option<Source>> {
        let Some(container) = self.container().await? else { return Ok(None) };
        let address = container.addresses.first().ok_or_else(|| {
            let message =
                format!("the container {} on {} has no address on a network", container.name, self.host.name());
            self.unreachable(message)
        })?;
        let text = self.variable(uri_env, "URI", "uri_env").await?;
        let uri = DatabaseUri::parse(&text, &format!("{uri_env} in {}", self.env_file_display())).await?;
        let port = self.check_leads_here(&uri, &container).await?;
        let display = format!("service {} on {}", self.service, self.host.name());
        let source = if self.host.target().is_local() {
            Source::connect(uri.at(address, port), display, None).await?
        } else {
            uri.check_tunnel()?;
            let tunnel = self.host.forward(address, port).await?;
            match Source::connect(uri.through(tunnel.socket()), display, Some(tunnel)).await {
                Err(failure) if is_silence(&failure) && !self.host.opens_tunnels().await => {
                    return Err(self.host.no_tunnels(Exit::Backup).cause(failure.message));
                }
                source => source?,
            }
        };
        let inside = Inside { host: self.host.clone(), container: container.id.clone(), uri: text };
        Ok(Some(Source { deployed: true, inside: Some(inside), ..source }))
    }

    /// No container: the first deploy of a platform, unless data of it is there.
    async fn never_deployed(&self) -> Result<()> {
        let volumes = self.with_content(self.volumes().await?).await?;
        if volumes.is_empty() {
            return Ok(());
        }
        let message = format!(
            "on {}: there is no container of service {:?}, but its data is there (volume {})",
            self.host.name(),
            self.service,
            volumes.join(", ")
        );
        Err(self.unreachable(message))
    }

    /// The volumes on the host that the service's definition names.
    async fn volumes(&self) -> Result<Vec<String>> {
        let filter = format!("label=com.docker.compose.project={}", self.project);
        let format = r#"{{.Name}} {{.Label "com.docker.compose.volume"}}"#;
        let command = self.host.command(["docker", "volume", "ls", "--filter", &filter, "--format", format]);
        let text = command.text(Exit::Backup, "backup.engine").await?;
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs
            .filter(|(_, label)| self.volumes.iter().any(|name| name == label))
            .map(|(name, _)| name.to_owned())
            .collect())
    }

    /// Those of `volumes` that hold more than empty files: Compose makes the volumes of a whole project when one of its
    /// services is started. What the engine does not know the size of may hold anything.
    async fn with_content(&self, volumes: Vec<String>) -> Result<Vec<String>> {
        if volumes.is_empty() {
            return Ok(volumes);
        }
        let format = "{{range .Volumes}}{{.Name}} {{.Size}}{{println}}{{end}}";
        let sizes = self.host.command(["docker", "system", "df", "-v", "--format", format]).limit(SIZES_LIMIT);
        let sizes = sizes.text(Exit::Backup, "backup.engine").await?;
        let is_empty = |name: &String| sizes.lines().any(|line| line.strip_suffix(" 0B") == Some(name));
        Ok(volumes.into_iter().filter(|name| !is_empty(name)).collect())
    }

    fn stopped(&self, containers: &[Container]) -> Failure {
        let why = |one: &Container| {
            if one.health_output.is_empty() { String::new() } else { format!(" ({})", one.health_output) }
        };
        let states: Vec<_> =
            containers.iter().map(|one| format!("{} is {}{}", one.name, one.status, why(one))).collect();
        let message = format!("on {}: the database does not run: {}", self.host.name(), states.join(", "));
        self.unreachable(message)
    }

    fn unreachable(&self, message: String) -> Failure {
        Failure::new(Exit::Backup, "backup.database-unreachable", message).hint(format!(
            "start it first: {}; or `--no-backup` in the deploy script deploys without a backup, and the record says so",
            cm_engine::sight(self.host).to_start(self.service)
        ))
    }

    fn env_file_display(&self) -> String {
        format!("{} on {}", self.env_file, self.host.name())
    }

    /// The value of the variable `name` in the host's env file, which is the database's `what`; `key`
    /// of `cm.toml` names it.
    ///
    /// # Errors
    /// [`Exit::Config`] if it is not there, [`Exit::Backup`] if it cannot be read.
    pub async fn variable(&self, name: &str, what: &str, key: &str) -> Result<SecretString> {
        let place = self.env_file_display();
        let bytes = self.host.read(self.env_file, Exit::Backup).await?.ok_or_else(|| {
            Failure::new(Exit::Config, "backup.env-file", format!("there is no file {place}"))
                .hint(format!("it holds the database's {what}; [compose] env_file in cm.toml names it"))
        })?;
        let bytes = SecretString::from(String::from_utf8_lossy(&bytes).into_owned());
        let text = secrecy::ExposeSecret::expose_secret(&bytes);
        let value = cm_project::env_value(text, name)
            .map_err(|why| Failure::new(Exit::Config, "backup.env-file", format!("cannot read {place}")).cause(why))?;
        value.map(SecretString::from).ok_or_else(|| {
            Failure::new(Exit::Config, "backup.uri", format!("{name} is not set in {place}"))
                .hint(format!("set it there, or name another variable: {key} under [backup] in cm.toml"))
        })
    }

    /// The URI must lead to this container: a backup of another database says nothing of this one.
    async fn check_leads_here(&self, uri: &DatabaseUri, container: &Container) -> Result<u16> {
        let (host, port) = uri.server().ok_or_else(|| {
            Failure::new(Exit::Config, "backup.uri", format!("{} names no server and port", uri.origin))
        })?;
        let known = host == self.service || host == container.name || container.addresses.contains(&host);
        if known || self.network_names(container).await?.contains(&host) {
            return Ok(port);
        }
        let message = format!("{} leads to {host:?}, which is not the service {:?}", uri.origin, self.service);
        Err(Failure::new(Exit::Config, "backup.other-database", message)
            .hint("name the service that the URI leads to ([backup] service in cm.toml); for a database outside of the project: --uri-env NAME"))
    }

    /// Every name the container has on its networks.
    async fn network_names(&self, container: &Container) -> Result<Vec<String>> {
        let format = "{{json .NetworkSettings.Networks}}";
        let command =
            self.host.command(["docker", "inspect", "--type", "container", "--format", format, &container.id]);
        let text = command.text(Exit::Backup, "backup.engine").await?;
        let networks: Value = serde_json::from_str(&text).unwrap_or_default();
        let lists = networks.as_object().into_iter().flat_map(|all| all.values());
        let names = lists.flat_map(|network| [&network["Aliases"], &network["DNSNames"]]);
        let texts = names.filter_map(Value::as_array).flatten().filter_map(Value::as_str);
        Ok(texts.map(str::to_owned).collect())
    }
}

/// Whether nothing was heard of the database at all.
fn is_silence(failure: &Failure) -> bool {
    ["backup.database-unreachable", "backup.connection-lost", "backup.timeout"].contains(&failure.code.as_str())
}

/// The engine that does not answer is, here, a backup that cannot be made.
fn as_backup(mut failure: Failure) -> Failure {
    if failure.exit == Exit::HealthUnknown {
        failure.exit = Exit::Backup;
    }
    failure
}

/// The named volumes among a service's mounts, in both spellings of the compose file.
pub fn named_volumes(service: &Service) -> Vec<String> {
    let mounts = service.configuration.get("volumes").and_then(Value::as_array).cloned().unwrap_or_default();
    let name = |mount: &Value| match mount {
        Value::String(text) => text.split(':').next().map(str::to_owned),
        mount => mount.get("source").and_then(Value::as_str).map(str::to_owned),
    };
    mounts.iter().filter_map(name).filter(|name| !name.contains(['/', '.', '~'])).collect()
}
