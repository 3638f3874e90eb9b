//! What a build said, service by service: a file each next to the run's journal, and the last
//! lines of the one that failed. BuildKit writes all services into one stream, `#STEP TEXT`;
//! the first line of a step names the service, where there are several.

use crate::estimate::{key, log_path};
use cm_core::time::span;
use cm_core::{Failure, private_dir, redact, size};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many lines of a service's build an error shows.
const TAIL: usize = 20;

/// An image has no more layers than this.
const MOST_LAYERS: usize = 500;

/// The logs of one build on one host.
pub struct BuildLog {
    host: String,
    services: BTreeMap<String, Lines>,
    /// Which service a step belongs to.
    steps: BTreeMap<String, String>,
    failed: Option<String>,
    /// The steps that run, in the order they began.
    running: Vec<Running>,
    /// How long each service was built the last time.
    last: BTreeMap<String, Duration>,
    /// How long each step took the last time, by its service and its key.
    steps_before: BTreeMap<(Option<String>, String), Duration>,
}

/// A step that runs.
struct Running {
    number: String,
    title: String,
    began: Instant,
    /// The layers that it pulls: how much of each is there, and of how much, in bytes.
    layers: BTreeMap<String, (u64, u64)>,
}

struct Lines {
    path: PathBuf,
    file: Option<File>,
    tail: VecDeque<String>,
    /// When the builder spoke of it first and last.
    spoken: Option<(Instant, Instant)>,
}

impl BuildLog {
    /// Logs in `dir`, the directory of a run. A build is not stopped by a log that cannot be written.
    pub fn new(dir: &Path, host: &str, services: &[String]) -> Self {
        let _kept_without = private_dir(dir);
        let lines = |service: &String| {
            let path = log_path(dir, host, service);
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).ok();
            (service.clone(), Lines { path, file, tail: VecDeque::new(), spoken: None })
        };
        let services = services.iter().map(lines).collect();
        BuildLog {
            host: host.to_owned(),
            services,
            steps: BTreeMap::new(),
            failed: None,
            running: Vec::new(),
            last: BTreeMap::new(),
            steps_before: BTreeMap::new(),
        }
    }

    /// With how long services and their steps, by their titles, took the last time.
    #[must_use]
    pub fn with_last(self, last: BTreeMap<String, Duration>, steps: &BTreeMap<String, Duration>) -> Self {
        let mut steps_before = BTreeMap::new();
        for (title, time) in steps {
            let named = bracketed(title)
                .filter(|name| self.services.contains_key(*name))
                .or_else(|| self.alone().map(String::as_str));
            steps_before.insert((named.map(str::to_owned), key(title, named)), *time);
        }
        BuildLog { last, steps_before, ..self }
    }

    /// When the step that began last and runs began, and how long it took the last time.
    pub fn part(&self) -> Option<(Instant, Option<Duration>)> {
        let step = self.running.last()?;
        let service = self.service();
        let known = (service.map(str::to_owned), key(&step.title, service));
        Some((step.began, self.steps_before.get(&known).copied()))
    }

    /// How long each service was built, if the builder spoke of it.
    pub fn times(&self) -> BTreeMap<String, Duration> {
        let time = |(name, lines): (&String, &Lines)| {
            let (first, last) = lines.spoken?;
            Some((name.clone(), last.duration_since(first)))
        };
        self.services.iter().filter_map(time).collect()
    }

    /// Takes one line. What belongs to no service in particular goes to all.
    pub fn line(&mut self, text: &str) {
        let text = redact(text);
        let step = text.strip_prefix('#').and_then(|rest| rest.split_once(' '));
        let named = match step {
            Some((_, rest)) => bracketed(rest),
            None => text
                .strip_prefix("target ")
                .and_then(|rest| rest.split(':').next())
                .or_else(|| text.trim_start().strip_prefix("> ").and_then(bracketed)),
        };
        let named = named.filter(|name| self.services.contains_key(*name)).map(str::to_owned);
        if let Some((step, rest)) = step {
            if let Some(name) = &named {
                self.steps.entry(step.to_owned()).or_insert_with(|| name.clone());
            }
            if rest.starts_with("ERROR") {
                self.failed = self.failed.take().or_else(|| self.steps.get(step).cloned());
            }
        } else if let Some(name) = &named {
            self.failed.get_or_insert_with(|| name.clone());
        }
        if let Some((step, rest)) = step {
            self.follow(step, rest);
        }
        let owner = step.and_then(|(step, _)| self.steps.get(step)).cloned().or(named);
        for (_, lines) in self.services.iter_mut().filter(|(name, _)| owner.as_ref().is_none_or(|own| own == *name)) {
            lines.add(&text);
        }
        let now = Instant::now();
        let spoken_of = owner.as_ref().or_else(|| self.alone());
        if let Some(lines) = spoken_of.cloned().and_then(|name| self.services.get_mut(&name)) {
            lines.spoken = Some((lines.spoken.map_or(now, |(first, _)| first), now));
        }
    }

    /// The service, if it is built alone.
    fn alone(&self) -> Option<&String> {
        let mut names = self.services.keys();
        names.next().filter(|_| names.next().is_none())
    }

    /// What the build is at, such as `[web 4/9] RUN npm ci`: the step that began last and runs. A
    /// service that is built alone is not named.
    pub fn now(&self) -> String {
        let Some(step) = self.running.last() else { return String::new() };
        let without = self.alone().and_then(|name| step.title.strip_prefix(&format!("[{name} ")));
        let title = without.map_or_else(|| step.title.clone(), |rest| format!("[{rest}"));
        let (done, total) = step.layers.values().fold((0, 0), |(done, total), (more, of)| (done + more, total + of));
        let amount = if total == 0 { String::new() } else { format!(" · {} of {}", size(done), size(total)) };
        let last = self.service().and_then(|name| self.last.get(name)).filter(|last| last.as_secs() > 0);
        // A service that is built alone takes as long as the step, which says that itself.
        let last = last.filter(|_| self.services.len() > 1);
        let last =
            last.map(|last| format!(" · all of it took {} last time", span(Duration::from_secs(last.as_secs()))));
        format!("{title}{amount}{}", last.unwrap_or_default())
    }

    /// The service of that step.
    pub fn service(&self) -> Option<&str> {
        let of_step = self.running.last().and_then(|step| self.steps.get(&step.number));
        of_step.or_else(|| self.alone()).map(String::as_str)
    }

    fn follow(&mut self, step: &str, rest: &str) {
        let known = self.running.iter().position(|running| running.number == step);
        let ended = ["DONE", "CACHED", "ERROR", "CANCELED"].iter().any(|word| rest.starts_with(word));
        match known {
            Some(at) if ended => drop(self.running.remove(at)),
            Some(at) => self.running.get_mut(at).into_iter().for_each(|running| running.pulls(rest)),
            None if rest.starts_with('[') => {
                let (number, title) = (step.to_owned(), rest.to_owned());
                self.running.push(Running { number, title, began: Instant::now(), layers: BTreeMap::new() });
            }
            None => {}
        }
    }

    /// The failure of the build, with the service's name, its last lines and where all of them are.
    pub fn explain(&self, failure: Failure) -> Failure {
        let only = || self.services.keys().next().filter(|_| self.services.len() == 1).cloned();
        let Some((name, lines)) = self.failed.clone().or_else(only).and_then(|name| {
            let lines = self.services.get(&name)?;
            Some((name, lines))
        }) else {
            return failure.hint("nothing was restarted; the services run what they ran before");
        };
        let tail = Vec::from(lines.tail.clone()).join("\n").trim().to_owned();
        let message = format!("on {}: the image of {name} could not be built", self.host);
        let hint = format!(
            "nothing was restarted; the services run what they ran before. All of its log: {}",
            lines.path.display()
        );
        Failure { message, causes: vec![tail], ..failure }.hint(hint)
    }
}

impl Running {
    /// Takes a line such as `sha256:1a2b 10.49MB / 52.25MB 0.3s`.
    fn pulls(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (layer, done, slash, total) = (words.next(), words.next(), words.next(), words.next());
        let Some(layer) = layer.filter(|layer| layer.starts_with("sha256:") && slash == Some("/")) else { return };
        let Some(both) = done.and_then(bytes).zip(total.and_then(bytes)) else { return };
        if self.layers.len() < MOST_LAYERS || self.layers.contains_key(layer) {
            self.layers.insert(layer.to_owned(), both);
        }
    }
}

/// A size as BuildKit writes it, `52.25MB`, in bytes.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let factor = match &text[digits..] {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => return None,
    };
    // A layer of more than a million gigabytes is a mistake.
    text[..digits].parse::<f64>().ok().map(|value| (value * factor) as u64).filter(|bytes| *bytes < 1 << 50)
}

/// The first word in brackets, `[WORD …] …`.
fn bracketed(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.split([' ', ']']).next()
}

impl Lines {
    fn add(&mut self, text: &str) {
        if let Some(file) = &mut self.file {
            let _full_disk = writeln!(file, "{text}");
        }
        // BuildKit parts its steps by empty lines; what people read of them at the end needs the room for words.
        if text.trim().is_empty() {
            return;
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::Exit;

    const SAID: &str = "#1 [internal] load local bake definitions
#2 [web internal] load build definition from Dockerfile
#3 [api 2/3] RUN make
#4 [web 2/2] COPY . .
#3 0.412 cc: no such file
#4 DONE 0.1s
#3 ERROR: process \"/bin/sh -c make\" did not complete successfully: exit code: 2
------
 > [api 2/3] RUN make:
0.412 cc: no such file
------
target api: failed to solve: process \"/bin/sh -c make\" did not complete successfully";

    fn failure() -> Failure {
        Failure::new(Exit::Build, "build.image", "`docker compose build` failed").cause("mixed")
    }

    #[test]
    fn each_service_has_its_own_lines_and_the_failed_one_is_named() {
        let dir = tempfile::tempdir().expect("dir");
        let mut log = BuildLog::new(dir.path(), "here", &["web".to_owned(), "api".to_owned()]);
        SAID.lines().flat_map(|line| [line, ""]).for_each(|line| log.line(line));
        let read = |name: &str| std::fs::read_to_string(dir.path().join(format!("build-here-{name}.log"))).expect(name);
        assert!(read("web").contains("[web 2/2]") && read("web").contains("#4 DONE") && read("web").contains("#1 "));
        assert!(!read("web").contains("#3 ") && read("api").contains("#3 0.412 cc"));
        let failure = log.explain(failure());
        assert_eq!(failure.message, "on here: the image of api could not be built");
        assert!(failure.causes[0].contains("cc: no such file") && !failure.causes[0].contains("[web"), "{failure}");
        assert!(!failure.causes[0].contains("\n\n"), "{failure}");
        assert!(failure.hint.expect("hint").contains("build-here-api.log"));
    }

    #[test]
    fn what_the_build_is_at_is_the_step_that_began_last() {
        let dir = tempfile::tempdir().expect("dir");
        let mut log = BuildLog::new(dir.path(), "one", &["web".to_owned(), "api".to_owned()]);
        let seen: Vec<_> = SAID
            .lines()
            .take(7)
            .map(|line| {
                log.line(line);
                log.now()
            })
            .collect();
        let definition = "[web internal] load build definition from Dockerfile";
        assert_eq!(
            seen[1..],
            [
                definition,
                "[api 2/3] RUN make",
                "[web 2/2] COPY . .",
                "[web 2/2] COPY . .",
                "[api 2/3] RUN make",
                definition
            ]
        );
    }

    #[test]
    fn each_service_has_its_own_time_and_that_of_the_last_one() {
        let dir = tempfile::tempdir().expect("dir");
        let last = BTreeMap::from([("web".to_owned(), Duration::from_millis(130_400))]);
        let mut log =
            BuildLog::new(dir.path(), "one", &["web".to_owned(), "api".to_owned()]).with_last(last, &BTreeMap::new());
        log.line("#1 [internal] load local bake definitions");
        assert_eq!(log.times(), BTreeMap::new(), "of nobody in particular");
        log.line("#2 [web 1/2] RUN make");
        assert_eq!(log.now(), "[web 1/2] RUN make · all of it took 2 min 10 s last time");
        assert_eq!(log.service(), Some("web"));
        std::thread::sleep(Duration::from_millis(20));
        log.line("#2 DONE 0.1s");
        assert!(log.times().get("web").is_some_and(|time| *time >= Duration::from_millis(20)));
        assert_eq!(log.times().get("api"), None, "nothing was said of it");
    }

    #[test]
    fn the_step_at_hand_has_its_own_time_and_that_of_the_last_one() {
        let dir = tempfile::tempdir().expect("dir");
        let time = Duration::from_millis(34_200);
        let steps = BTreeMap::from([("[web 4/9] RUN npm ci".to_owned(), time), ("[7/9] RUN make".to_owned(), time)]);
        let both = ["web".to_owned(), "api".to_owned()];
        let mut log = BuildLog::new(dir.path(), "one", &both).with_last(BTreeMap::new(), &steps);
        assert_eq!(log.part(), None);
        for (line, wanted) in [
            ("#2 [web 5/10] RUN npm ci", Some(time)),
            ("#3 [web 6/10] RUN npm test", None),
            ("#4 [api 5/10] RUN npm ci", None),
        ] {
            log.line(line);
            assert_eq!(log.part().map(|(_, last)| last), Some(wanted), "{line}");
        }
        let mut log = BuildLog::new(dir.path(), "one", &both[..1]).with_last(BTreeMap::new(), &steps);
        log.line("#2 [2/3] RUN make");
        assert_eq!(log.part().map(|(_, last)| last), Some(Some(time)), "built alone");
        log.line("#2 DONE 1s");
        assert_eq!(log.part(), None);
    }

    #[test]
    fn layers_that_are_pulled_are_counted_in_bytes() {
        let dir = tempfile::tempdir().expect("dir");
        let mut log = BuildLog::new(dir.path(), "one", &["web".to_owned()]);
        let mut now = |line: &str| {
            log.line(line);
            log.now()
        };
        assert_eq!(now("#5 [web 1/3] FROM docker.io/library/node:22"), "[1/3] FROM docker.io/library/node:22");
        now("#5 sha256:aa 10.49MB / 52.25MB 0.3s");
        now("#5 sha256:bb 512B / 1.05kB 0.1s");
        assert!(now("#5 sha256:aa 52.25MB / 52.25MB 0.9s done").ends_with("node:22 · 52.3 MB of 52.3 MB"));
        now("#5 sha256:cc 1.50GB / 2.00GB 1.0s");
        for odd in ["#5 extracting sha256:aa", "#5 sha256:dd 9 / 9", "#5 sha256:dd MB / .B", "#5 sha256:dd 9e99GB / 1B"]
        {
            assert!(now(odd).ends_with("node:22 · 1.6 GB of 2.1 GB"), "{odd}");
        }
        assert_eq!(now("#5 DONE 3.1s"), "");
    }

    #[test]
    fn one_service_alone_is_not_named_by_buildkit() {
        let dir = tempfile::tempdir().expect("dir");
        let mut log = BuildLog::new(dir.path(), "here", &["web".to_owned()]);
        ["#1 [internal] load build definition", "#2 [2/2] RUN false", "#2 ERROR: exit code: 1"]
            .iter()
            .for_each(|line| log.line(line));
        assert!(log.explain(failure()).message.contains("image of web"));
    }

    #[test]
    fn a_failure_of_nobody_in_particular_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("dir");
        let log = BuildLog::new(dir.path(), "here", &["web".to_owned(), "api".to_owned()]);
        assert_eq!(log.explain(failure()).causes, ["mixed"]);
    }
}
