//! The connection to the database: its URI is a secret from the moment it is read,
//! and what the driver says is translated into failures with hints.

use crate::uri;
use cm_core::{Exit, Failure, Result, add_secret};
use mongodb::Client;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{ClientOptions, ReadPreference, SelectionCriteria, ServerAddress, Tls};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;
use std::time::Duration;

/// How long to look for a server that answers.
const SELECTION_LIMIT: Duration = Duration::from_secs(10);

/// The code of a failure because of an option or a value that the server does not know.
pub const REFUSED_OPTION: &str = "backup.refused-option";

/// The longest cause that is shown; the driver likes to print its whole state.
const LONGEST_CAUSE: usize = 400;

/// Which member of a replica set is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReadFrom {
    /// The primary.
    Primary,
    /// The primary while there is one.
    PrimaryPreferred,
    /// A secondary.
    Secondary,
    /// A secondary while there is one.
    SecondaryPreferred,
    /// Whichever answers first.
    Nearest,
}

impl ReadFrom {
    /// As the driver wants it.
    pub fn criteria(self) -> SelectionCriteria {
        let options = Default::default();
        SelectionCriteria::ReadPreference(match self {
            ReadFrom::Primary => ReadPreference::Primary,
            ReadFrom::PrimaryPreferred => ReadPreference::PrimaryPreferred { options },
            ReadFrom::Secondary => ReadPreference::Secondary { options },
            ReadFrom::SecondaryPreferred => ReadPreference::SecondaryPreferred { options },
            ReadFrom::Nearest => ReadPreference::Nearest { options },
        })
    }
}

/// The URI of a database, and where it was found.
#[derive(Clone, Debug)]
pub struct DatabaseUri {
    /// For messages: `$MONGODB_URI`, or `MONGODB_URI in .env.production on platform`.
    pub origin: String,
    /// The options that are left out although somebody may mean something by them.
    pub ignored: Vec<String>,
    /// Whether the name service says which servers there are.
    looked_up: bool,
    options: ClientOptions,
}

impl DatabaseUri {
    /// Reads a URI. Neither it nor its password appears in any message from now on.
    ///
    /// # Errors
    /// [`Exit::Config`] if it is not a valid MongoDB URI; [`Exit::Backup`] if its servers' names cannot
    /// be looked up now.
    pub async fn parse(uri: &SecretString, origin: &str) -> Result<Self> {
        hide(uri.expose_secret());
        let (wanted, ignored) = uri::for_a_backup(uri.expose_secret());
        let wanted = SecretString::from(wanted);
        let options = ClientOptions::parse(wanted.expose_secret()).await.map_err(|error| {
            if matches!(error.kind.as_ref(), ErrorKind::DnsResolve { .. }) {
                return failure(&error, format!("the servers of {origin} cannot be looked up"))
                    .hint("is the name service reachable, and is the name right? mongodb+srv:// asks it for SRV and TXT records");
            }
            Failure::new(Exit::Config, "backup.uri", format!("{origin} is not a valid MongoDB URI"))
                .cause(cause(&error))
                .hint("it looks like mongodb://USER:PASSWORD@HOST:27017/DATABASE?authSource=admin, special characters percent-encoded")
        })?;
        let looked_up = uri.expose_secret().starts_with("mongodb+srv:");
        Ok(DatabaseUri { origin: origin.to_owned(), ignored, looked_up, options })
    }

    /// The database the URI names.
    pub fn database(&self) -> Option<&str> {
        self.options.default_database.as_deref()
    }

    /// The first server the URI names; 27017 where it names no port.
    pub fn server(&self) -> Option<(String, u16)> {
        self.options.hosts.iter().find_map(|address| match address {
            ServerAddress::Tcp { host, port } => Some((host.clone(), port.unwrap_or(27017))),
            _ => None,
        })
    }

    /// Whether the URI can be used through a Unix socket, such as a tunnel's end.
    ///
    /// # Errors
    /// [`Exit::Config`] for a URI that wants TLS, which the driver cannot speak there.
    pub fn check_tunnel(&self) -> Result<()> {
        if !matches!(self.options.tls, Some(Tls::Enabled(_))) {
            return Ok(());
        }
        let message = format!("{} asks for TLS, which cannot go through the tunnel to the container", self.origin);
        Err(Failure::new(Exit::Config, "backup.tls", message)
            .hint("the tunnel is encrypted by SSH; give a URI without tls=true in another variable (uri_env in cm.toml), or back up from a machine that reaches the database: --uri-env NAME"))
    }

    /// Reads from another member than the URI says, if one is named.
    #[must_use]
    pub fn reading_from(mut self, read_from: Option<ReadFrom>) -> Self {
        if let Some(read_from) = read_from {
            self.options.selection_criteria = Some(read_from.criteria());
        }
        self
    }

    /// Connects to exactly the server behind a Unix socket.
    #[must_use]
    pub fn through(self, socket: &Path) -> Self {
        self.to(ServerAddress::Unix { path: socket.to_owned() })
    }

    /// Connects to exactly the server at `address`, which the URI's name stands for.
    #[must_use]
    pub fn at(self, address: &str, port: u16) -> Self {
        self.to(ServerAddress::Tcp { host: address.to_owned(), port: Some(port) })
    }

    /// The same server alone, where the URI names one and does not say how to reach the others: the
    /// members of a replica set may have names that only they can look up.
    pub fn alone(&self) -> Option<Self> {
        let options = &self.options;
        let one = options.hosts.len() == 1 && !self.looked_up;
        (one && options.direct_connection.is_none() && options.repl_set_name.is_none()).then(|| {
            let mut alone = self.clone();
            alone.options.direct_connection = Some(true);
            alone
        })
    }

    fn to(mut self, server: ServerAddress) -> Self {
        self.options.hosts = vec![server];
        self.options.direct_connection = Some(true);
        self.options.repl_set_name = None;
        self.options.load_balanced = None;
        self.options.srv_max_hosts = None;
        self
    }

    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Exit::Config`] for options that do not go together.
    pub fn client(&self, readers: u32) -> Result<Client> {
        let mut options = self.options.clone();
        options.app_name = Some("cm-backup".to_owned());
        options.server_selection_timeout = Some(SELECTION_LIMIT);
        options.connect_timeout = Some(SELECTION_LIMIT);
        options.max_pool_size = Some(readers + 2);
        Client::with_options(options).map_err(|error| {
            Failure::new(Exit::Config, "backup.uri", format!("cannot use {}", self.origin)).cause(cause(&error))
        })
    }
}

/// Registers a URI, its password in both spellings, and its user's credentials part.
fn hide(uri: &str) {
    add_secret(uri);
    let Some((_, rest)) = uri.split_once("://") else { return };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let Some((credentials, _)) = authority.rsplit_once('@') else { return };
    let Some((_, password)) = credentials.split_once(':') else { return };
    add_secret(password);
    add_secret(&percent_decode_str(password).decode_utf8_lossy());
}

/// What is said of a role that is missing where nothing knows what it is needed for.
const ROLES: &str = "a backup needs the role \"backup\" or \"read\", a restore \"readWrite\"";

/// A failure with the roles that are enough, if it is that the user may not do something and nothing has said more of it.
#[must_use]
pub fn needing(failure: Failure, roles: &str) -> Failure {
    if failure.hint.as_deref() == Some(ROLES) { failure.hint(roles) } else { failure }
}

/// A driver's error as a failure of the backup.
pub fn failure(error: &Error, message: impl Into<String>) -> Failure {
    let (code, hint, retryable) = explain(error);
    let failure = Failure::new(Exit::Backup, code, message).cause(cause(error)).hint(hint);
    if retryable { failure.retryable() } else { failure }
}

fn explain(error: &Error) -> (&'static str, &'static str, bool) {
    match (error.kind.as_ref(), code(error)) {
        (_, Some(18)) | (ErrorKind::Authentication { .. }, _) => (
            "backup.auth",
            "the server does not accept the user and password of the URI; is authSource right (often ?authSource=admin)?",
            false,
        ),
        (_, Some(13)) => ("backup.not-allowed", ROLES, false),
        (_, Some(11000)) => {
            ("backup.database", "two documents have the same key in a unique index: the cause names them", false)
        }
        (_, Some(26 | 43 | 175 | 237)) => {
            ("backup.changed", "a collection was dropped or the cursor was killed while it was read; try again", true)
        }
        (_, Some(2 | 9 | 14 | 67 | 72 | 197 | 40414 | 40415)) => {
            (REFUSED_OPTION, "this server does not know an option or a value; look at its version", false)
        }
        (ErrorKind::ServerSelection { .. } | ErrorKind::DnsResolve { .. }, _) => (
            "backup.database-unreachable",
            "is the database running? Where the members of a replica set have names that cannot be looked up from where cm-backup works, directConnection=true in the URI goes to the one that is named. `--no-backup` in the deploy script deploys without a backup, and the record says so",
            true,
        ),
        (ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. }, _) => {
            ("backup.connection-lost", "the connection to the database broke; look at its log, then try again", true)
        }
        _ => ("backup.database", "look at the database's log", false),
    }
}

/// The server's error code, also where it sits inside a failed handshake.
pub fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

/// What the driver says, at a readable length.
pub fn cause(error: &Error) -> String {
    let text = error.kind.to_string();
    let text = match error.kind.as_ref() {
        ErrorKind::ServerSelection { .. } => reason_in_topology(&text).unwrap_or(&text),
        // The command that follows is all of what was sent.
        ErrorKind::Command(_) => text.split_once(" to execute command {").map_or(text.as_str(), |(why, _)| why),
        _ => &text,
    };
    short(text)
}

/// A server's words at a readable length.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST_CAUSE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The driver prints its whole state; the reason is what it saw last.
fn reason_in_topology(text: &str) -> Option<&str> {
    let (_, reason) = text.split_once("Error: Kind: ")?;
    Some(reason.split_once(", labels: {").map_or(reason, |(reason, _)| reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::redact;

    #[tokio::test]
    async fn a_password_is_hidden_in_both_spellings() {
        let uri = SecretString::from("mongodb://ada:s%40cret-w0rd@db.example:27018/shop?authSource=admin");
        let parsed = DatabaseUri::parse(&uri, "$X").await.expect("a URI");
        assert_eq!(parsed.database(), Some("shop"));
        assert_eq!(parsed.server(), Some(("db.example".to_owned(), 27018)));
        assert_eq!(redact("a s@cret-w0rd and s%40cret-w0rd"), "a *** and ***");
    }

    #[tokio::test]
    async fn what_is_no_uri_is_refused_without_repeating_it() {
        for text in
            ["", "localhost", "http://planted-user:planted-pass@h/", "mongodb://planted-user:planted-p@ss:w@h/x y"]
        {
            let failure = DatabaseUri::parse(&SecretString::from(text), "$X").await.expect_err(text);
            assert_eq!(failure.exit, Exit::Config);
            assert!(!redact(&failure.to_string()).contains("planted-p"), "{failure}");
        }
    }

    #[tokio::test]
    async fn tls_cannot_go_through_a_tunnel() {
        let uri = SecretString::from("mongodb://db.example/shop?tls=true");
        let parsed = DatabaseUri::parse(&uri, "$X").await.expect("a URI");
        assert_eq!(parsed.check_tunnel().expect_err("tls").code, "backup.tls");
    }
}
