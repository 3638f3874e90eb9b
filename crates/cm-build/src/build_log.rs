//! What a build said, service by service: a file each beside the run's journal, and the last
//! lines of the one that failed. BuildKit writes all services into one stream, `#STEP TEXT`;
//! the first line of a step names the service, where there are several.

use cm_core::{Failure, private_dir, redact};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How many lines of a service's build an error shows.
const TAIL: usize = 20;

/// The logs of one build on one host.
pub struct BuildLog {
    host: String,
    services: BTreeMap<String, Lines>,
    /// Which service a step belongs to.
    steps: BTreeMap<String, String>,
    failed: Option<String>,
    /// The steps that run, with their titles, in the order they began.
    running: Vec<(String, String)>,
}

struct Lines {
    path: PathBuf,
    file: Option<File>,
    tail: VecDeque<String>,
}

impl BuildLog {
    /// Logs in `dir`, the directory of a run. A build is not stopped by a log that cannot be written.
    pub fn new(dir: &Path, host: &str, services: &[String]) -> Self {
        let _kept_without = private_dir(dir);
        let lines = |service: &String| {
            let path = dir.join(format!("build-{host}-{service}.log"));
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).ok();
            (service.clone(), Lines { path, file, tail: VecDeque::new() })
        };
        let services = services.iter().map(lines).collect();
        BuildLog { host: host.to_owned(), services, steps: BTreeMap::new(), failed: None, running: Vec::new() }
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
    }

    /// What the build is at, such as `[web 4/9] RUN npm ci`: the step that began last and runs. A
    /// service that is built alone is not named.
    pub fn now(&self) -> String {
        let title = self.running.last().map_or("", |(_, title)| title);
        let mut names = self.services.keys();
        let alone = names.next().filter(|_| names.next().is_none());
        let without = alone.and_then(|name| title.strip_prefix(&format!("[{name} ")));
        without.map_or_else(|| title.to_owned(), |rest| format!("[{rest}"))
    }

    fn follow(&mut self, step: &str, rest: &str) {
        let known = self.running.iter().position(|(number, _)| number == step);
        let ended = ["DONE", "CACHED", "ERROR", "CANCELED"].iter().any(|word| rest.starts_with(word));
        match known {
            Some(at) if ended => drop(self.running.remove(at)),
            None if rest.starts_with('[') => self.running.push((step.to_owned(), rest.to_owned())),
            _ => {}
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

/// The first word in brackets, `[WORD …] …`.
fn bracketed(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.split([' ', ']']).next()
}

impl Lines {
    fn add(&mut self, text: &str) {
        if let Some(file) = &mut self.file {
            let _full_disk = writeln!(file, "{text}");
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
        SAID.lines().for_each(|line| log.line(line));
        let read = |name: &str| std::fs::read_to_string(dir.path().join(format!("build-here-{name}.log"))).expect(name);
        assert!(read("web").contains("[web 2/2]") && read("web").contains("#4 DONE") && read("web").contains("#1 "));
        assert!(!read("web").contains("#3 ") && read("api").contains("#3 0.412 cc"));
        let failure = log.explain(failure());
        assert_eq!(failure.message, "on here: the image of api could not be built");
        assert!(failure.causes[0].contains("cc: no such file") && !failure.causes[0].contains("[web"), "{failure}");
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
