//! A tunnel: a Unix socket on this machine that leads to a port which only the
//! host can reach, such as an unpublished database. A socket in a private directory,
//! because every user of this machine could use a TCP port.

use crate::Host;
use crate::process::Transport;
use cm_core::{Exit, Failure, OrFail, Result, private_dir, runtime_dir};
use openssh::{ForwardType, Session, Socket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

/// sshd greets within this time, also on a slow line.
const GREETING_LIMIT: Duration = Duration::from_secs(10);

/// How often it is asked for its greeting, and how long after each time that there was none.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);

/// Where sshd was found, as the host sees it: the last two words of the variable.
const SSHD: &str = r#"# Asks where sshd listens.
printf '%s\n' "${SSH_CONNECTION-}""#;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// An open tunnel. Close it: dropping it only removes the socket's name.
#[derive(Debug)]
pub struct Forward {
    session: Arc<Session>,
    socket: PathBuf,
    host: String,
    port: u16,
}

impl Forward {
    /// The Unix socket that leads to the port.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Closes the tunnel. It would also end with the shared connection.
    pub async fn close(self) {
        let local = Socket::UnixSocket { path: self.socket.clone().into() };
        let remote = Socket::new(self.host.clone(), self.port);
        let _gone = self.session.close_port_forward(ForwardType::Local, local, remote).await;
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.socket);
    }
}

impl Host {
    /// Opens a tunnel to `address:port` as the host sees it.
    ///
    /// # Errors
    /// [`Exit::Unreachable`] if ssh refuses; a bug for this machine, which needs no tunnel.
    pub async fn forward(&self, address: &str, port: u16) -> Result<Forward> {
        let Transport::Ssh(line) = &self.transport else {
            return Err(Failure::bug("this machine needs no tunnel to itself"));
        };
        let session = line.first();
        let dir = runtime_dir();
        private_dir(&dir).or_fail(Exit::Config, "host.runtime-dir", format!("cannot make {}", dir.display()))?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let socket = dir.join(format!("fwd-{}-{number}", std::process::id()));
        let _stale = std::fs::remove_file(&socket);
        let local = Socket::UnixSocket { path: socket.clone().into() };
        let remote = Socket::new(address.to_owned(), port);
        session.request_port_forward(ForwardType::Local, local, remote).await.or_fail(
            Exit::Unreachable,
            "host.forward",
            format!("on {}: cannot open a tunnel to {address}:{port}", self.name()),
        )?;
        Ok(Forward { session: Arc::clone(session), socket, host: address.to_owned(), port })
    }

    /// Whether sshd there opens tunnels; asked once. What goes through one that it refuses ends like what
    /// goes to a service that is down, and must not be taken for that. `true` where nobody can tell.
    pub async fn opens_tunnels(&self) -> bool {
        *self.tunnels.get_or_init(|| self.try_tunnel()).await
    }

    /// A tunnel to what certainly listens there: sshd itself.
    async fn try_tunnel(&self) -> bool {
        if !self.transport.is_ssh() {
            return true;
        }
        let Ok(asked) = self.script(SSHD, [""; 0]).output().await else { return true };
        let said = asked.text();
        let mut words = said.split(' ').skip(2);
        let (Some(address), Some(Ok(port))) = (words.next(), words.next().map(str::parse)) else { return true };
        let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        // A busy sshd turns strangers away at random (MaxStartups): once is no proof.
        for _ in 0..TRIES {
            if self.is_greeted(&address, port).await {
                return true;
            }
            tokio::time::sleep(PAUSE).await;
        }
        false
    }

    async fn is_greeted(&self, address: &str, port: u16) -> bool {
        let Ok(tunnel) = self.forward(address, port).await else { return false };
        let greeting = async {
            let mut greeting = [0; 4];
            UnixStream::connect(tunnel.socket()).await?.read_exact(&mut greeting).await.map(|_| greeting)
        };
        let greeting = tokio::time::timeout(GREETING_LIMIT, greeting).await;
        tunnel.close().await;
        greeting.map_or(true, |greeting: std::io::Result<[u8; 4]>| greeting.is_ok_and(|said| said == *b"SSH-"))
    }

    /// The failure of a host whose sshd opens no tunnels.
    pub fn no_tunnels(&self, exit: Exit) -> Failure {
        Failure::new(exit, "host.forward", format!("on {}: sshd opens no tunnel (AllowTcpForwarding)", self.name()))
            .hint(
                "AllowTcpForwarding of sshd there must be \"yes\" or \"local\", with no `DisableForwarding yes`, and PermitOpen must not be in the way; \
                 nor may `restrict`, `no-port-forwarding` or `permitopen` with the key in authorized_keys",
            )
    }
}
