//! An HTTP request to a container that has no health check of its own.
//!
//! `127.0.0.1` in a probe's URL is the container. The request is made from here,
//! through the SSH connection that is open anyway, to the container's address on
//! its Docker network: that asks nothing of the image (no curl, no shell) and
//! nothing of the server. A container without an address of its own (`network_mode`
//! host or none) cannot be asked, and that is said; asking the host's port instead
//! could get an answer from somebody else.

use cm_core::{Exit, Failure, Result};
use cm_engine::Container;
use cm_host::{Forward, Host};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

/// A container in the same engine answers within this time, or is not well.
const LIMIT: Duration = Duration::from_secs(3);

/// A status line is short; whatever sends more speaks no HTTP.
const MAX_STATUS_LINE: u64 = 1024;

/// What to ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe {
    authority: String,
    port: u16,
    path: String,
}

/// What a probe heard.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The service answered and is content.
    Content,
    /// It did not answer, or it complains.
    Bad(String),
    /// It could not be asked.
    NotAsked(String),
}

impl Probe {
    /// Reads `http://127.0.0.1:PORT/PATH`.
    ///
    /// # Errors
    /// [`Exit::Config`] for anything else.
    pub fn parse(service: &str, url: &str) -> Result<Probe> {
        let wrong = |why: &str| {
            let message = format!("the probe of service {service:?} ({url:?}) cannot be used: {why}");
            Failure::new(Exit::Config, "config.probe", message)
                .hint("write it as http://127.0.0.1:PORT/PATH; 127.0.0.1 is the container itself")
        };
        let rest = url.strip_prefix("http://").ok_or_else(|| wrong("it does not begin with http://"))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        if !matches!(host, "127.0.0.1" | "localhost") {
            return Err(wrong("it does not ask the container itself"));
        }
        if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong("its path has a space in it"));
        }
        let port = port.parse().map_err(|_| wrong("its port is no number"))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Probe { authority: authority.to_owned(), port, path })
    }

    /// Asks over an open connection. 2xx and 3xx are content.
    async fn ask(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Answer {
        let (path, authority) = (&self.path, &self.authority);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: cm\r\nConnection: close\r\n\r\n");
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        let sent = stream.write_all(request.as_bytes()).await;
        let answered = match sent {
            Ok(()) => (&mut stream).take(MAX_STATUS_LINE).read_line(&mut line).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(1..) => judge(line.trim_end()),
            // A tunnel is always connected at this end; that nobody listens at the
            // other one shows as its end, or as a reset.
            Ok(0) => self.nobody(),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => self.nobody(),
            Err(error) => Answer::Bad(format!("no answer: {error}")),
        }
    }

    fn nobody(&self) -> Answer {
        Answer::Bad(format!("nothing answers on port {}", self.port))
    }
}

fn judge(status_line: &str) -> Answer {
    let mut words = status_line.split_ascii_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/"));
    let status = words.next().and_then(|word| word.parse::<u16>().ok()).filter(|_| is_http);
    match status {
        Some(200..400) => Answer::Content,
        Some(status) => Answer::Bad(format!("answered {status}")),
        None => Answer::Bad("the answer is not HTTP".to_owned()),
    }
}

/// Where a probe connects to.
enum Way {
    Tcp(String, u16),
    Socket(PathBuf),
}

/// The probes of one host; keeps its tunnels open between readings.
pub struct Prober {
    host: Host,
    tunnels: BTreeMap<(String, u16), Forward>,
}

impl Prober {
    pub fn new(host: Host) -> Self {
        Prober { host, tunnels: BTreeMap::new() }
    }

    /// Asks every container, all at once; answers by container id.
    pub async fn ask(&mut self, wanted: Vec<(&Container, Probe)>) -> BTreeMap<String, Answer> {
        let mut answers = BTreeMap::new();
        let mut asking = JoinSet::new();
        for (container, probe) in wanted {
            match self.way(container, probe.port).await {
                Ok(way) => {
                    let id = container.id.clone();
                    asking.spawn(async move { (id, ask_within_limit(&way, &probe).await) });
                }
                Err(why) => {
                    answers.insert(container.id.clone(), Answer::NotAsked(why));
                }
            }
        }
        while let Some(asked) = asking.join_next().await {
            answers.extend(asked);
        }
        answers
    }

    async fn way(&mut self, container: &Container, port: u16) -> std::result::Result<Way, String> {
        let address = container.addresses.first().ok_or("the container has no address of its own to ask")?;
        if self.host.target().is_local() {
            return Ok(Way::Tcp(address.clone(), port));
        }
        let key = (address.clone(), port);
        if !self.tunnels.contains_key(&key) {
            let tunnel = self.host.forward(address, port).await.map_err(|failure| failure.to_string())?;
            self.tunnels.insert(key.clone(), tunnel);
        }
        Ok(Way::Socket(self.tunnels[&key].socket().to_owned()))
    }

    /// Closes the tunnels.
    pub async fn close(self) {
        for tunnel in self.tunnels.into_values() {
            tunnel.close().await;
        }
    }
}

async fn ask_within_limit(way: &Way, probe: &Probe) -> Answer {
    let asked = async {
        match way {
            Way::Tcp(address, port) => match TcpStream::connect((address.as_str(), *port)).await {
                Ok(stream) => probe.ask(stream).await,
                Err(error) => Answer::Bad(format!("cannot connect to port {port}: {error}")),
            },
            Way::Socket(path) => match UnixStream::connect(path).await {
                Ok(stream) => probe.ask(stream).await,
                Err(error) => Answer::NotAsked(format!("the tunnel is gone: {error}")),
            },
        }
    };
    let too_slow = |_| Answer::Bad(format!("no answer within {} s", LIMIT.as_secs()));
    tokio::time::timeout(LIMIT, asked).await.unwrap_or_else(too_slow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_container_itself_can_be_probed() {
        let probe = Probe::parse("web", "http://127.0.0.1:8080/up?x=1").expect("valid");
        assert_eq!((probe.authority.as_str(), probe.port, probe.path.as_str()), ("127.0.0.1:8080", 8080, "/up?x=1"));
        assert_eq!(Probe::parse("web", "http://localhost").expect("valid").path, "/");
        for url in
            ["https://127.0.0.1/", "127.0.0.1:80", "http://db:80/", "http://127.0.0.1:x/", "http://127.0.0.1/a b"]
        {
            let failure = Probe::parse("web", url).expect_err(url);
            assert_eq!((failure.exit, failure.code.as_str()), (Exit::Config, "config.probe"), "{url}");
        }
    }

    #[test]
    fn what_answers_must_speak_http_and_be_content() {
        for (line, good) in [
            ("HTTP/1.1 200 OK", true),
            ("HTTP/1.0 307 Temporary Redirect", true),
            ("HTTP/1.1 404 Not Found", false),
            ("HTTP/1.1 503", false),
            ("SSH-2.0-OpenSSH 200", false),
            ("", false),
        ] {
            assert_eq!(judge(line) == Answer::Content, good, "{line:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_closes_is_no_answer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        tokio::spawn(async move { drop(listener.accept().await) });
        let probe = Probe::parse("web", &format!("http://127.0.0.1:{port}/")).expect("valid");
        let answer = ask_within_limit(&Way::Tcp("127.0.0.1".to_owned(), port), &probe).await;
        assert!(matches!(answer, Answer::Bad(_)), "{answer:?}");
    }
}
