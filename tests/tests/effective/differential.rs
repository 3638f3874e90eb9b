//! Made-up projects and changes of them, judged by Compose itself: which services it would replace is what
//! its own hash of the resolved configuration says, and what cm says has to be the same, with a server's
//! answer and from the commits alone.

use super::made::{self, FILES, Project, Settings};
use clap::Parser;
use cm_core::{Action, Format, Level, Log, Service};
use cm_engine::effective::{Difference, Model, differences};
use cm_testkit::history::{self, Files, Random};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Prints, for both versions of each project below the directory `$1`, what Compose (`$2`…) resolves it to,
/// and the hash of that, which is the one that `up` puts on containers. Both versions are seen under one path.
pub const ASK: &str = r#"cd "$1" || exit 1
shift
for project in [0-9]*; do
    for version in a b; do
        ln -sfn "$version" "$project/now"
        directory=$PWD/$project/now
        echo "J $project $version"
        json=$("$@" --project-directory "$directory" -f "$directory/compose.yml" -f "$directory/compose.override.yml" config --format json 2>"$project/said")
        [ -n "$json" ] || sed 's/^/E /' "$project/said"
        printf '%s\n' "$json"
        [ -z "$json" ] || printf '%s\n' "$json" | "$@" --project-directory "$directory" --env-file /dev/null --profile '*' -f - config --hash '*' 2>/dev/null |
            sed "s/^/H $project $version /"
    done
done"#;

/// So many projects from the number `first` on, each as it was and as it is, of services with some of `settings`.
pub fn make(settings: &Settings, first: usize, count: usize) -> Vec<(Files, Files)> {
    let pair = |number: usize| {
        let dice = &mut Random::new(number as u64 + 1);
        let before: Project = made::project(dice, settings);
        let mut after = before.clone();
        made::mutate(dice, &mut after);
        (before.files(), after.files())
    };
    (first..first + count).map(pair).collect()
}

/// Writes them below `directory`, for [`ASK`].
pub fn write(directory: &Path, projects: &[(Files, Files)]) {
    for (number, (before, after)) in projects.iter().enumerate() {
        for (version, files) in [("a", before), ("b", after)] {
            for (path, file) in files {
                let path = directory.join(format!("{number}/{version}/{path}"));
                std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
                std::fs::write(path, &file.text).expect("written");
            }
        }
    }
}

/// How cm and Compose compare.
#[derive(Debug, Default)]
pub struct Tally {
    pub services: usize,
    /// Those that Compose replaces.
    pub replaced: usize,
    /// Of those, what cm does not see.
    pub missed: Vec<String>,
    /// What cm would replace, and Compose would not.
    pub extra: Vec<String>,
}

impl Tally {
    fn count(&mut self, what: &str, wanted: bool, found: bool, why: impl FnOnce() -> String) {
        self.services += 1;
        self.replaced += usize::from(wanted);
        match (wanted, found) {
            (true, false) => self.missed.push(format!("{what}: {}", why())),
            (false, true) => self.extra.push(format!("{what}: {}", why())),
            _ => {}
        }
    }
}

/// One version as Compose answered.
#[derive(Default)]
struct Answered {
    json: String,
    said: String,
    hashes: BTreeMap<String, String>,
}

impl Answered {
    fn value(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_default()
    }
}

/// By project and version.
type Answers = BTreeMap<(usize, String), Answered>;

fn read(answer: &str) -> Answers {
    let mut all = Answers::new();
    let mut current = None;
    for line in answer.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |text: &str| text.parse::<usize>().expect("a number");
        match words.as_slice() {
            ["J", project, version] => current = Some((number(project), (*version).to_owned())),
            ["H", project, version, service, hash] => {
                let of = all.entry((number(project), (*version).to_owned())).or_default();
                of.hashes.insert((*service).to_owned(), (*hash).to_owned());
            }
            _ => {
                let of = all.entry(current.clone().expect("a head")).or_default();
                let text = if line.starts_with("E ") { &mut of.said } else { &mut of.json };
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    all
}

/// What Compose in its `version` answered to [`ASK`] about `projects`, with what cm makes of it, and with what it
/// makes of the commits alone; how many of them Compose refuses.
pub fn compare(projects: &[(Files, Files)], answer: &str, version: &str) -> (Tally, Tally, usize) {
    let answers = read(answer);
    let repository = tempfile::tempdir().expect("directory");
    let states: Vec<Files> = projects.iter().flat_map(|(before, after)| [before.clone(), marked(after)]).collect();
    let commits = history::write(repository.path(), &states);
    let (mut with, mut without, mut refused) = (Tally::default(), Tally::default(), 0);
    for number in 0..projects.len() {
        let of = |version: &str| answers.get(&(number, version.to_owned())).expect("asked");
        let (was, is) = (of("a"), of("b"));
        if was.hashes.is_empty() || is.hashes.is_empty() {
            refused += 1;
            continue;
        }
        let found = detected(repository.path(), &commits[2 * number], &commits[2 * number + 1]);
        judge(number, was, is, version, &mut with);
        judge_offline(number, was, is, &found, &mut without);
    }
    (with, without, refused)
}

/// A state is another one than the state before it, also where nothing changed.
fn marked(files: &Files) -> Files {
    let mut files = files.clone();
    files.insert("README".to_owned(), files[FILES[0]].clone());
    files
}

fn detected(repository: &Path, base: &str, head: &str) -> Vec<Service> {
    let directory = repository.display().to_string();
    let flags = ["cm-detect", "--repo", &directory, "--base", base, "--head", head];
    let args =
        cm_detect::Args::parse_from(flags.into_iter().chain(FILES.iter().flat_map(|file| ["--compose-file", file])));
    let log = Log::new("cm-detect", Format::Text, Level::Fail);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let services = runtime.block_on(cm_detect::services(&args, &log));
    services.unwrap_or_else(|failure| panic!("{base}..{head}: {failure}: {:?}", failure.causes))
}

/// Whether `up` has something to do with a service that is there before and after: its hash is another one, or
/// how many containers it has, the project's name, or a network that it is in. Compose leaves the content of a config in a
/// container as it was; whoever changes it wants the new one.
fn acts(service: &str, was: &Answered, is: &Answered) -> bool {
    let (before, after) = (was.value(), is.value());
    let replicas = |value: &Value| {
        let service = &value["services"][service];
        service["scale"].as_u64().or_else(|| service["deploy"]["replicas"].as_u64()).unwrap_or(1)
    };
    let networks = |value: &Value| {
        let own = value["services"][service]["networks"].as_object().cloned().unwrap_or_default();
        own.keys().map(|name| value["networks"][name].clone()).collect::<Vec<_>>()
    };
    let contents = |value: &Value| {
        let own = value["services"][service]["configs"].as_array().cloned().unwrap_or_default();
        let content = |one: &Value| value["configs"][one["source"].as_str().unwrap_or_default()]["content"].clone();
        own.iter().map(content).collect::<Vec<_>>()
    };
    was.hashes[service] != is.hashes[service]
        || contents(&before) != contents(&after)
        || before["name"] != after["name"]
        || replicas(&before) != replicas(&after)
        || networks(&before) != networks(&after)
}

/// Whether nothing but its profiles differs: a reason only to versions of Compose that nobody knows without a server.
fn only_profiles(was: &Value, is: &Value) -> bool {
    let without = |service: &Value| {
        let mut service = service.clone();
        service.as_object_mut().map(|keys| keys.remove("profiles"));
        service
    };
    was != is && without(was) == without(is)
}

/// What Compose resolves, compared service by service.
fn judge(number: usize, was: &Answered, is: &Answered, version: &str, tally: &mut Tally) {
    let (before, after) = (Model::new(was.value()), Model::new(is.value()));
    for service in was.hashes.keys().filter(|service| is.hashes.contains_key(*service)) {
        let differences = differences(&before, &after, service, version).expect("both have it");
        let seen: Vec<_> = differences.iter().filter(|one| matches!(one, Difference::Container(_))).collect();
        let wanted = acts(service, was, is);
        tally.count(&format!("{number}/{service}"), wanted, !seen.is_empty(), || format!("{seen:?}"));
    }
}

/// Those that are replaced, and those that `depends_on` restarts with them.
fn with_restarted(mut replaced: BTreeSet<String>, project: &Value) -> BTreeSet<String> {
    let services = project["services"].as_object().cloned().unwrap_or_default();
    loop {
        let restarts = |(name, service): (&String, &Value)| {
            let all = service["depends_on"].as_object()?;
            let with = all.iter().any(|(other, how)| how["restart"] == true && replaced.contains(other));
            (with && !replaced.contains(name)).then(|| name.clone())
        };
        let more: Vec<String> = services.iter().filter_map(restarts).collect();
        if more.is_empty() {
            return replaced;
        }
        replaced.extend(more);
    }
}

/// What is decided without a server. A service that was not there is new, and one whose image is built from
/// something else is replaced, too, whoever builds it.
fn judge_offline(number: usize, was: &Answered, is: &Answered, found: &[Service], tally: &mut Tally) {
    let (before, after) = (was.value(), is.value());
    let services = |value: &Value| value["services"].as_object().cloned().unwrap_or_default();
    let image = |name: &str, service: &Value, project: &Value| match service["image"].as_str() {
        Some(image) => image.to_owned(),
        None => format!("{}-{name}", project.as_str().unwrap_or_default()),
    };
    let other = |(name, service): (&String, &Value)| {
        let changed = !service["build"].is_null() && before["services"][name]["build"] != service["build"];
        changed.then(|| image(name, service, &after["name"]))
    };
    let built: BTreeSet<String> = services(&after).iter().filter_map(other).collect();
    let is_replaced = |service: &&String| {
        let own = image(service, &after["services"][*service], &after["name"]);
        !was.hashes.contains_key(*service)
            || (acts(service, was, is) && !only_profiles(&before["services"][*service], &after["services"][*service]))
            || built.contains(&own)
    };
    let all = with_restarted(is.hashes.keys().filter(is_replaced).cloned().collect(), &after);
    for service in is.hashes.keys() {
        let wanted = all.contains(service);
        let one = found.iter().find(|one| one.name == *service);
        let found = one.is_some_and(|one| one.action != Action::None);
        tally.count(&format!("{number}/{service}"), wanted, found, || format!("{:?}", one.map(|one| &one.reasons)));
    }
}

/// What Compose says of the projects that it refuses.
pub fn refusals(answer: &str) -> BTreeSet<String> {
    read(answer).into_values().filter(|one| one.hashes.is_empty()).map(|one| one.said).collect()
}
