//! Asks the containers of one host, side by side and alongside the readings.

use super::answer::{Answer, LIMIT};
use super::question::{self, Http, Probe};
use cm_core::{Exit, Result};
use cm_engine::{Container, Inside};
use cm_host::{Forward, Host, Secrets};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a reading waits for the answers; what comes later belongs to the next, which it brings about.
const PATIENCE: Duration = Duration::from_millis(300);

/// Commands on the host at once; the other sessions of the connection are for the readings.
const COMMANDS: usize = 4;

/// A command that did not end may still run in the container; so many seconds later it
/// is tried again, and each time twice as many.
const REST: Duration = Duration::from_secs(4);

/// Arguments: seconds, address, port. The words are `bash`'s: it connects by itself. Where there is
/// none, busybox has an `nc` that runs something once it is connected.
const CONNECT: &str = concat!(
    "# Connects to a port.\n",
    cm_host::small_sh!(),
    r#"if command -v bash >/dev/null; then
    limited "$1" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$2" "$3"
elif nc --help 2>&1 | grep -q BusyBox; then
    limited "$1" nc "$2" "$3" -e true </dev/null
else
    echo 'neither bash nor the nc of busybox is there' >&2
    exit 127
fi"#
);

/// Arguments: seconds, container, command. The client is ended, not what it started.
const RUN: &str = concat!(
    "# Runs a command in a container.\n",
    cm_host::small_sh!(),
    r#"limit=$1
shift
limited "$limit" docker exec "$@""#
);

/// How a question gets to the container.
enum Way {
    Tcp(String, u16),
    Socket(PathBuf),
}

/// A command that hung, and when it may be tried again.
struct Resting {
    until: Instant,
    pause: Duration,
    answer: Answer,
}

/// The probes of one host; keeps its tunnels open between readings.
pub struct Prober {
    host: Host,
    /// By container, where it is: a new one has another ID.
    places: BTreeMap<String, Inside>,
    tunnels: BTreeMap<(String, u16), Forward>,
    asking: JoinSet<(String, Answer)>,
    asked: BTreeSet<String>,
    /// What came after its reading.
    late: BTreeMap<String, Answer>,
    resting: BTreeMap<String, Resting>,
    commands: Arc<Semaphore>,
}

impl Prober {
    pub fn new(host: Host) -> Self {
        Prober {
            host,
            places: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            asking: JoinSet::new(),
            asked: BTreeSet::new(),
            late: BTreeMap::new(),
            resting: BTreeMap::new(),
            commands: Arc::new(Semaphore::new(COMMANDS)),
        }
    }

    /// Asks every container that is not being asked already, as often as it says; answers by container id.
    pub async fn ask(&mut self, wanted: Vec<(&Container, Probe, u32)>) -> BTreeMap<String, Answer> {
        let mut answers = std::mem::take(&mut self.late);
        for (container, probe, times) in &wanted {
            match self.resting.get(&container.id).filter(|resting| Instant::now() < resting.until) {
                Some(resting) => drop(answers.insert(container.id.clone(), resting.answer.clone())),
                None if self.asked.contains(&container.id) || answers.contains_key(&container.id) => {}
                None => self.start(container, probe, *times, &mut answers).await,
            }
        }
        self.collect(&mut answers).await;
        for (container, ..) in wanted {
            answers.entry(container.id.clone()).or_insert(Answer::Pending);
        }
        answers
    }

    async fn start(
        &mut self,
        container: &Container,
        probe: &Probe,
        times: u32,
        answers: &mut BTreeMap<String, Answer>,
    ) {
        let (id, commands) = (container.id.clone(), Arc::clone(&self.commands));
        let Inside { host, id: inside, addresses } = match self.place(container).await {
            Ok(place) => place,
            Err(why) => {
                answers.insert(id, Answer::NotAsked(why));
                return;
            }
        };
        match (probe, addresses.first()) {
            (Probe::Exec(argv), _) => {
                let argv = argv.clone();
                self.asking.spawn(async move {
                    let asked = worst((0..times).map(|_| in_turn(&commands, run(&host, &inside, &argv)))).await;
                    (id, asked)
                });
            }
            (_, None) => {
                let why = "the container has no address of its own to ask";
                answers.insert(id, Answer::NotAsked(why.to_owned()));
                return;
            }
            (Probe::Tcp(port), Some(address)) => {
                let (address, port) = (address.clone(), *port);
                self.asking.spawn(async move {
                    let asked = worst((0..times).map(|_| in_turn(&commands, connect(&host, &address, port)))).await;
                    (id, asked)
                });
            }
            (Probe::Http(http), Some(address)) => match self.way(&host, &inside, address, http.port).await {
                Ok(way) => {
                    let http = http.clone();
                    self.asking.spawn(async move {
                        let answer = worst((0..times).map(|_| page(&way, &http))).await;
                        // Through a tunnel that sshd refuses, nobody was asked.
                        let no_way = answer == http.nobody() && !host.opens_tunnels().await;
                        let why = || host.no_tunnels(Exit::HealthUnknown).to_string();
                        (id, if no_way { Answer::NotAsked(why()) } else { answer })
                    });
                }
                Err(why) => {
                    answers.insert(id, Answer::NotAsked(why));
                    return;
                }
            },
        }
        self.asked.insert(container.id.clone());
    }

    /// The answers that are there, after a moment for those that come at once.
    async fn collect(&mut self, answers: &mut BTreeMap<String, Answer>) {
        let end = Instant::now() + PATIENCE;
        while let Ok(Some((id, answer))) = timeout_at(end, self.next()).await {
            answers.insert(id, answer);
        }
    }

    /// Waits for an answer that was too late for its reading; for ever if nobody is being asked.
    pub async fn answered(&mut self) {
        match self.next().await {
            Some((id, answer)) => drop(self.late.insert(id, answer)),
            None => std::future::pending().await,
        }
    }

    /// The next answer; `None` if nobody is being asked. Nothing is lost if it is given up.
    async fn next(&mut self) -> Option<(String, Answer)> {
        loop {
            let Ok((id, answer)) = self.asking.join_next().await? else { continue };
            self.asked.remove(&id);
            self.rest(&id, &answer);
            return Some((id, answer));
        }
    }

    /// Remembers a command that hung, so that not one more of it hangs every second.
    fn rest(&mut self, id: &str, answer: &Answer) {
        match self.resting.remove(id) {
            _ if !matches!(answer, Answer::Hung(_)) => {}
            before => {
                let pause = before.map_or(REST, |before| before.pause * 2);
                let resting = Resting { until: Instant::now() + pause, pause, answer: answer.clone() };
                self.resting.insert(id.to_owned(), resting);
            }
        }
    }

    /// Where the container is.
    async fn place(&mut self, container: &Container) -> std::result::Result<Inside, String> {
        if let Some(place) = self.places.get(&container.id) {
            return Ok(place.clone());
        }
        let finding = timeout(LIMIT, cm_engine::sight(&self.host).inside(&self.host, container)).await;
        let found = finding.map_err(|_| "where it runs was not found in time".to_owned())?;
        let place = found.map_err(|failure| failure.to_string())?;
        self.places.insert(container.id.clone(), place.clone());
        Ok(place)
    }

    async fn way(
        &mut self,
        host: &Host,
        container: &str,
        address: &str,
        port: u16,
    ) -> std::result::Result<Way, String> {
        if host.target().is_local() {
            return Ok(Way::Tcp(address.to_owned(), port));
        }
        // Two hosts may have the same address on networks of their own.
        let key = (container.to_owned(), port);
        if !self.tunnels.contains_key(&key) {
            let opening = timeout(LIMIT, host.forward(address, port)).await;
            let opened = opening.map_err(|_| "no tunnel to it could be opened in time".to_owned())?;
            self.tunnels.insert(key.clone(), opened.map_err(|failure| failure.to_string())?);
        }
        Ok(Way::Socket(self.tunnels[&key].socket().to_owned()))
    }

    /// Closes the tunnels. What still hangs is left behind.
    pub async fn close(mut self) {
        self.asking.abort_all();
        for tunnel in self.tunnels.into_values() {
            let _slow = timeout(LIMIT, tunnel.close()).await;
        }
    }
}

/// Asks all at once: one answer that is bad is the answer.
async fn worst(asked: impl Iterator<Item = impl Future<Output = Answer>>) -> Answer {
    let answers = join_all(asked).await;
    answers.into_iter().find(|answer| *answer != Answer::Content).unwrap_or(Answer::Content)
}

async fn in_turn(commands: &Semaphore, ask: impl Future<Output = Answer>) -> Answer {
    let _turn = commands.acquire().await;
    ask.await
}

async fn page(way: &Way, http: &Http) -> Answer {
    let asked = async {
        match way {
            Way::Tcp(address, port) => match TcpStream::connect((address.as_str(), *port)).await {
                Ok(stream) => http.ask(stream).await,
                Err(error) => Answer::Bad(format!("cannot connect to port {port}: {error}")),
            },
            Way::Socket(path) => match UnixStream::connect(path).await {
                Ok(stream) => http.ask(stream).await,
                Err(error) => Answer::NotAsked(format!("the tunnel is gone: {error}")),
            },
        }
    };
    let too_slow = |_| Answer::Bad(format!("no answer within {} s", LIMIT.as_secs()));
    timeout(LIMIT, asked).await.unwrap_or_else(too_slow)
}

async fn connect(host: &Host, address: &str, port: u16) -> Answer {
    let script = host.script(CONNECT, [LIMIT.as_secs().to_string(), address.to_owned(), port.to_string()]);
    judged(script.limit(LIMIT * 3).output().await, |code, said| question::connected(port, code, said))
}

async fn run(host: &Host, container: &str, argv: &[String]) -> Answer {
    let arguments = [LIMIT.as_secs().to_string(), container.to_owned()].into_iter().chain(argv.iter().cloned());
    let script = host.script(RUN, arguments).hiding(&Secrets::default().container(container));
    judged(script.limit(LIMIT * 3).output().await, |code, said| question::ran(&argv[0], code, said))
}

fn judged(output: Result<cm_host::Output>, judge: impl Fn(Option<i32>, &str) -> Answer) -> Answer {
    match output {
        Ok(output) => {
            let said = if output.stderr.trim().is_empty() { output.text() } else { output.stderr.clone() };
            judge(output.status.code(), &said)
        }
        Err(failure) => Answer::NotAsked(failure.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::{Format, Level, Log};
    use cm_host::Target;
    use tokio::io::AsyncWriteExt;

    async fn local() -> Host {
        let target = Target::at("local", "local");
        Host::connect(&target, &Log::new("test", Format::Text, Level::Fail)).await.expect("local")
    }

    fn probe(url: &str) -> Probe {
        Probe::parse("web", &cm_project::Probe::Address(url.to_owned())).expect("valid")
    }

    fn container(address: &str) -> Container {
        let mut container = Container::read(&serde_json::Value::Null);
        container.id = "c1".to_owned();
        container.addresses = vec![address.to_owned()];
        container
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_closes_is_no_answer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        tokio::spawn(async move { drop(listener.accept().await) });
        let mut prober = Prober::new(local().await);
        let container = container("127.0.0.1");
        let answers = prober.ask(vec![(&container, probe(&format!("http://127.0.0.1:{port}/")), 1)]).await;
        assert!(matches!(answers["c1"], Answer::Bad(_)), "{answers:?}");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_keeps_no_reading_waiting() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let (container, probe) = (container("127.0.0.1"), probe(&format!("http://127.0.0.1:{port}/")));
        let mut prober = Prober::new(local().await);
        let began = Instant::now();
        let answers = prober.ask(vec![(&container, probe.clone(), 1)]).await;
        assert_eq!(answers["c1"], Answer::Pending);
        assert!(began.elapsed() < LIMIT);
        tokio::time::sleep(LIMIT).await;
        let answers = prober.ask(vec![(&container, probe, 1)]).await;
        assert!(matches!(answers["c1"], Answer::Bad(_)), "{answers:?}");
        drop(listener);
    }

    #[tokio::test]
    async fn an_answer_that_was_too_late_brings_about_the_next_reading_and_belongs_to_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a question");
            tokio::time::sleep(PATIENCE * 2).await;
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("answered");
            // Nobody asks a second time.
            timeout(PATIENCE * 2, listener.accept()).await.is_err()
        });
        let (container, probe) = (container("127.0.0.1"), probe(&format!("http://127.0.0.1:{port}/")));
        let mut prober = Prober::new(local().await);
        let answers = prober.ask(vec![(&container, probe.clone(), 1)]).await;
        assert_eq!(answers["c1"], Answer::Pending);
        timeout(LIMIT, prober.answered()).await.expect("it comes after all");
        let answers = prober.ask(vec![(&container, probe, 1)]).await;
        assert_eq!(answers["c1"], Answer::Content);
        assert!(timeout(PATIENCE, prober.answered()).await.is_err(), "nobody is being asked");
        assert!(server.await.expect("a server"), "asked again for an answer that was there");
    }

    #[tokio::test]
    async fn a_port_is_open_although_its_server_says_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        assert_eq!(connect(&local().await, "127.0.0.1", port).await, Answer::Content);
        drop(listener);
        assert!(matches!(connect(&local().await, "127.0.0.1", port).await, Answer::Bad(_)));
    }

    #[tokio::test]
    async fn a_command_that_hangs_rests_longer_each_time() {
        let mut prober = Prober::new(local().await);
        let hung = question::ran("ready", Some(124), "");
        for seconds in [4, 8, 16] {
            prober.rest("c1", &hung);
            assert_eq!(prober.resting["c1"].pause, Duration::from_secs(seconds));
        }
        let answers = prober.ask(vec![(&container("127.0.0.1"), Probe::Exec(vec!["ready".to_owned()]), 1)]).await;
        assert_eq!(answers["c1"], hung, "not tried again yet");
        prober.rest("c1", &Answer::Content);
        assert!(prober.resting.is_empty());
    }
}
