//! What a probe asks, and how an answer is judged.

use super::answer::{Answer, LIMIT};
use cm_core::{Exit, Failure, Result};
use std::io::ErrorKind;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// A status line is short; whatever sends more speaks no HTTP.
const MAX_STATUS_LINE: u64 = 1024;

/// What to ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Probe {
    /// A page: 2xx and 3xx are content.
    Http(Http),
    /// Whether a port can be connected to.
    Tcp(u16),
    /// Whether a command in the container ends with 0.
    Exec(Vec<String>),
}

/// A request for a page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Http {
    authority: String,
    /// The port that is asked.
    pub port: u16,
    path: String,
}

impl Probe {
    /// Reads `http://127.0.0.1:PORT/PATH`, `tcp://127.0.0.1:PORT` or a command.
    ///
    /// # Errors
    /// [`Exit::Config`] for anything else.
    pub fn parse(service: &str, probe: &cm_project::Probe) -> Result<Probe> {
        let wrong = |text: &str, why: &str| {
            let message = format!("the probe of service {service:?} ({text}) cannot be used: {why}");
            Failure::new(Exit::Config, "config.probe", message).hint(
                "write it as http://127.0.0.1:PORT/PATH, as tcp://127.0.0.1:PORT (127.0.0.1 is the container \
                 itself), or as a command that is run in the container: [\"pg_isready\", \"-q\"]",
            )
        };
        match probe {
            cm_project::Probe::Address(url) => address(url).map_err(|why| wrong(&format!("{url:?}"), why)),
            cm_project::Probe::Command(argv) if argv.first().is_none_or(String::is_empty) => {
                Err(wrong("a command", "it names no program"))
            }
            cm_project::Probe::Command(argv) => Ok(Probe::Exec(argv.clone())),
        }
    }
}

fn address(url: &str) -> std::result::Result<Probe, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("it does not begin with http:// or tcp://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => {
            (host, port.parse::<u16>().ok().filter(|port| *port > 0).ok_or("its port is not a number")?)
        }
        None if scheme == "tcp" => return Err("it names no port"),
        None => (authority, 80),
    };
    if !matches!(host, "127.0.0.1" | "localhost") {
        return Err("it does not ask the container itself");
    }
    if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("its path has a space in it");
    }
    match scheme {
        "http" => {
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            Ok(Probe::Http(Http { authority: authority.to_owned(), port, path }))
        }
        "tcp" if path.trim_start_matches('/').is_empty() => Ok(Probe::Tcp(port)),
        "tcp" => Err("a port has no path"),
        _ => Err("it does not begin with http:// or tcp://"),
    }
}

impl Http {
    /// Asks over an open connection.
    pub async fn ask(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Answer {
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

    /// What it is to get no answer at all.
    pub fn nobody(&self) -> Answer {
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

/// What it means that `timeout … bash` connected, or did not, on the host.
pub fn connected(port: u16, code: Option<i32>, said: &str) -> Answer {
    match code {
        Some(0) => Answer::Content,
        Some(1) => Answer::Bad(format!("nothing answers on port {port}")),
        Some(124) => Answer::Bad(format!("port {port} cannot be connected to within {} s", LIMIT.as_secs())),
        _ => Answer::NotAsked(format!("the host cannot try port {port}: {}", last_line(said))),
    }
}

/// What it means how `timeout … docker exec` ended. Docker has codes of its own for a
/// program that cannot be run: 126 and 127.
pub fn ran(program: &str, code: Option<i32>, said: &str) -> Answer {
    let said = last_line(said);
    match code {
        Some(0) => Answer::Content,
        Some(124) => Answer::Hung(format!("{program} has not ended within {} s", LIMIT.as_secs())),
        Some(126 | 127) => Answer::Bad(format!("{program} cannot be run in the container: {said}")),
        Some(code) if said.contains("Cannot connect to the Docker daemon") => {
            Answer::NotAsked(format!("docker exec ended with {code}: {said}"))
        }
        Some(code) if said.is_empty() => Answer::Bad(format!("{program} ended with {code}")),
        Some(code) => Answer::Bad(format!("{program} ended with {code}: {said}")),
        None => Answer::NotAsked("the command on the host was killed".to_owned()),
    }
}

fn last_line(said: &str) -> String {
    said.trim().lines().last().unwrap_or_default().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Probe> {
        Probe::parse("web", &cm_project::Probe::Address(url.to_owned()))
    }

    #[test]
    fn only_the_container_itself_can_be_probed() {
        let http = |authority: &str, port, path: &str| {
            Probe::Http(Http { authority: authority.to_owned(), port, path: path.to_owned() })
        };
        assert_eq!(parse("http://127.0.0.1:8080/up?x=1").expect("valid"), http("127.0.0.1:8080", 8080, "/up?x=1"));
        assert_eq!(parse("http://localhost").expect("valid"), http("localhost", 80, "/"));
        assert_eq!(parse("tcp://127.0.0.1:6379").expect("valid"), Probe::Tcp(6379));
        for url in [
            "https://127.0.0.1/",
            "127.0.0.1:80",
            "http://db:80/",
            "http://127.0.0.1:x/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1/a b",
            "tcp://127.0.0.1",
            "tcp://db:5432",
            "tcp://127.0.0.1:5432/x",
            "udp://127.0.0.1:53",
        ] {
            let failure = parse(url).expect_err(url);
            assert_eq!((failure.exit, failure.code.as_str()), (Exit::Config, "config.probe"), "{url}");
        }
    }

    #[test]
    fn a_command_names_a_program() {
        let parse = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            Probe::parse("db", &cm_project::Probe::Command(words))
        };
        assert_eq!(parse(&["ready", "-q"]).expect("valid"), Probe::Exec(vec!["ready".to_owned(), "-q".to_owned()]));
        assert_eq!(parse(&[]).expect_err("empty").exit, Exit::Config);
        assert_eq!(parse(&[""]).expect_err("empty").exit, Exit::Config);
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

    #[test]
    fn could_not_ask_is_not_the_same_as_bad() {
        for (answer, word) in [
            (connected(80, Some(0), ""), "content"),
            (connected(80, Some(1), "connect: Connection refused"), "bad"),
            (connected(80, Some(124), ""), "bad"),
            (connected(80, Some(127), "bash: not found"), "not asked"),
            (connected(80, None, ""), "not asked"),
            (ran("ready", Some(0), ""), "content"),
            (ran("ready", Some(3), "no database"), "bad"),
            (ran("ready", Some(127), "executable file not found"), "bad"),
            (ran("ready", Some(124), ""), "hung"),
            (ran("ready", Some(1), "Cannot connect to the Docker daemon at unix://"), "not asked"),
        ] {
            let found = match answer {
                Answer::Content => "content",
                Answer::Bad(_) => "bad",
                Answer::Hung(_) => "hung",
                Answer::NotAsked(_) => "not asked",
                Answer::Pending => "pending",
            };
            assert_eq!(found, word);
        }
    }
}
