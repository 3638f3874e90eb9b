//! How long a build may take, by those before it: each of BuildKit's steps by the logs that this machine keeps of earlier
//! runs, all of it by the ledger's times of the services. It is only told to people who watch.

use cm_core::facts::{BuildFacts, BuiltHost};
use cm_core::{Document, Journal, Step};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// So much of a log is read, in bytes.
const MOST: u64 = 16 << 20;

/// Where the log of a service's build is, in the directory of a run.
pub fn log_path(dir: &Path, host: &str, service: &str) -> PathBuf {
    dir.join(format!("build-{host}-{service}.log"))
}

/// How long each step of the builds of `services` took when it was last run and not cached, by its [`key`].
pub fn steps(before: &[Document], host: &str, services: &[String]) -> BTreeMap<String, Duration> {
    let mut times = BTreeMap::new();
    for doc in before {
        let journal = Journal::of(doc.run_id());
        for path in services.iter().map(|service| log_path(journal.dir(), host, service)) {
            let Ok(file) = File::open(path) else { continue };
            for (step, time) in read(BufReader::new(file.take(MOST))) {
                times.entry(step).or_insert(time);
            }
        }
    }
    times
}

/// What of a step's title tells it from others: `[web 4/9] RUN npm ci` without its number, which changes with any other
/// line of the Dockerfile, and without the service, which is not said of one that is built alone.
pub fn key(title: &str, service: Option<&str>) -> String {
    let is_number =
        |word: &&str| word.split_once('/').is_some_and(|(a, b)| a.parse::<u32>().is_ok() && b.parse::<u32>().is_ok());
    let Some((bracket, rest)) = title.strip_prefix('[').and_then(|title| title.split_once(']')) else {
        return title.to_owned();
    };
    let words = bracket.split(' ').filter(|word| !is_number(word) && Some(*word) != service);
    words.chain([rest.trim()]).collect::<Vec<_>>().join(" ")
}

/// The times of a log, `#7 [web 4/9] RUN npm ci` and `#7 DONE 34.2s`.
fn read(log: impl BufRead) -> BTreeMap<String, Duration> {
    let (mut titles, mut times) = (BTreeMap::new(), BTreeMap::new());
    // A line that is no text, and all after it, is not worth more.
    for line in log.lines().map_while(std::io::Result::ok) {
        let Some((number, rest)) = line.strip_prefix('#').and_then(|rest| rest.split_once(' ')) else { continue };
        if rest.starts_with('[') {
            titles.insert(number.to_owned(), rest.to_owned());
        } else if let Some(time) = rest.strip_prefix("DONE ").and_then(seconds)
            && let Some(title) = titles.get(number)
        {
            times.insert(title.clone(), time);
        }
    }
    times
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.trim().strip_suffix('s')?.parse().ok()?).ok()
}

/// How long it takes from the begin of the build of `services` to the end of the step, if each of them was built
/// before: as long as the one that takes longest, for they are built at the same time, and what the step took besides
/// when it was last done.
pub fn whole(before: &[Document], services: &[String], last: &BTreeMap<String, Duration>) -> Option<Duration> {
    let longest = services.iter().map(|name| last.get(name)).collect::<Option<Vec<_>>>()?.into_iter().max()?;
    let besides = before.iter().find_map(|doc| {
        let step = doc.done(Step::Build)?.duration_ms;
        let of_host =
            |host: BuiltHost| host.services.into_iter().flatten().filter_map(|(_, one)| one.build_ms.flatten()).max();
        let built = doc.part::<BuildFacts>().hosts.into_iter().flatten().filter_map(|(_, host)| of_host(host)).max()?;
        Some(Duration::from_millis(step.saturating_sub(built)))
    });
    Some(*longest + besides.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::{Stage, StageStatus};
    use serde_json::json;

    #[test]
    fn the_times_of_steps_are_in_the_log_of_a_build() {
        let log = "#1 [internal] load local bake definitions\n#7 [web 4/9] RUN npm ci\n#7 0.412 [web 1/1] DONE 9s\n\
                   #8 [web 5/9] COPY . .\n#8 CACHED\n#7 DONE 34.2s\n#9 DONE 1.0s\n#1 DONE never\n";
        let times = read(log.as_bytes());
        assert_eq!(times, BTreeMap::from([("[web 4/9] RUN npm ci".to_owned(), Duration::from_millis(34_200))]));
    }

    #[test]
    fn a_step_is_the_same_one_where_another_line_came_before_it() {
        assert_eq!(key("[web 4/9] RUN npm ci", Some("web")), key("[5/10] RUN npm ci", None));
        assert_eq!(key("[web builder 2/4] RUN make", Some("web")), "builder RUN make");
        assert_ne!(key("[web 4/9] RUN npm ci", Some("web")), key("[web 4/9] RUN npm test", Some("web")));
        assert_eq!(key("exporting to image", None), "exporting to image");
    }

    #[test]
    fn all_of_it_takes_as_long_as_the_slowest_service_and_what_came_besides() {
        let mut value = Document::start("cm-build", "ada", false).as_value();
        value["facts"]["build"] =
            json!({"hosts": {"one": {"services": {"web": {"build_ms": 30_000}, "api": {"build_ms": 9_000}}}}});
        let mut doc = Document::parse("cm-build", value.to_string().as_bytes()).expect("valid");
        let stage = Stage { step: Some(Step::Build), status: StageStatus::Ok, duration_ms: 34_000, ..Stage::default() };
        doc.push_stage(&stage);
        let last =
            BTreeMap::from([("web".to_owned(), Duration::from_secs(31)), ("api".to_owned(), Duration::from_secs(8))]);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let before = [doc];
        assert_eq!(whole(&before, &names(&["web", "api"]), &last), Some(Duration::from_secs(35)));
        assert_eq!(whole(&before, &names(&["api"]), &last), Some(Duration::from_secs(12)));
        assert_eq!(whole(&[], &names(&["api"]), &last), Some(Duration::from_secs(8)));
        assert_eq!(whole(&before, &names(&["api", "new"]), &last), None, "nobody knows");
    }
}
