//! Made-up projects and changes of them, judged by Compose itself: which services it would replace is what
//! its own hash of the resolved configuration says, and what cm says has to be the same.

use cm_engine::effective::{Difference, Model, differences};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
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
        json=$("$@" --project-directory "$directory" -f "$directory/compose.yml" config --format json 2>/dev/null)
        printf '%s\n' "$json"
        printf '%s\n' "$json" | "$@" --project-directory "$directory" --env-file /dev/null --profile '*' -f - config --hash '*' 2>/dev/null |
            sed "s/^/H $project $version /"
    done
done"#;

/// Numbers that look random and are the same in each run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }
}

/// One version of a project.
#[derive(Clone)]
struct Project {
    compose: Value,
    env: BTreeMap<String, String>,
    env_file: String,
}

const DURATIONS: [(&str, &str); 3] = [("60s", "1m"), ("90s", "1m30s"), ("2s", "2000ms")];

fn service(dice: &mut Dice, names: &[String], index: usize) -> Value {
    let mut service = Map::new();
    service.insert("image".to_owned(), json!(["app", "app:${TAG}", "cache:7"][dice.roll(3)]));
    if dice.once_in(2) {
        service.insert("environment".to_owned(), json!({"A": "1", "B": "${B:-b}", "TAG": null, "D": "x$$y"}));
    }
    let rarely: [(&str, Value); 14] = [
        ("env_file", json!(["app.env"])),
        ("command", json!(["run", "--port", "80"])),
        ("ports", json!(["8080:80", "127.0.0.1:9090:90/udp"])),
        ("volumes", json!(["./conf:/conf:ro", "data:/data"])),
        ("healthcheck", json!({"test": ["CMD", "true"], "interval": "60s", "timeout": "2s"})),
        ("labels", json!({"a": "1", "b": "${B}"})),
        ("deploy", json!({"replicas": 2, "resources": {"limits": {"memory": "100M"}}})),
        ("networks", json!(["back"])),
        ("restart", json!("unless-stopped")),
        ("stop_grace_period", json!("90s")),
        ("extra_hosts", json!(["a:10.0.0.1"])),
        ("secrets", json!(["key"])),
        ("logging", json!({"driver": "json-file", "options": {"max-size": "10m"}})),
        ("build", json!({"context": "./app", "args": {"V": "1", "TAG": "${TAG}"}})),
    ];
    for (key, value) in rarely {
        if dice.once_in(3) {
            service.insert(key.to_owned(), value);
        }
    }
    if index > 0 && dice.once_in(2) {
        service.insert("depends_on".to_owned(), json!([names[dice.roll(index)]]));
    }
    Value::Object(service)
}

fn project(dice: &mut Dice) -> Project {
    let names: Vec<String> =
        ["web", "api", "worker", "db"].iter().take(1 + dice.roll(4)).map(|name| (*name).to_owned()).collect();
    let services: Map<String, Value> =
        names.iter().enumerate().map(|(index, name)| (name.clone(), service(dice, &names, index))).collect();
    let compose = json!({
        "name": "made", "services": services, "volumes": {"data": {}}, "networks": {"back": {"labels": {"n": "1"}}},
        "secrets": {"key": {"file": "./key"}},
    });
    let env = [("TAG", "1"), ("B", "two")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Project { compose, env, env_file: "E=1\nF=${TAG}\n".to_owned() }
}

/// Changes something, or only how it is written.
fn mutate(dice: &mut Dice, project: &mut Project) {
    match dice.roll(12) {
        0 => drop(project.env.insert("TAG".to_owned(), "2".to_owned())),
        1 => drop(project.env.insert("B".to_owned(), "three".to_owned())),
        2 => project.env_file.push_str(["# a comment\n", "G=1\n", "\n"][dice.roll(3)]),
        3 => drop(project.env.insert("UNUSED".to_owned(), "1".to_owned())),
        _ => {}
    }
    let services = project.compose["services"].as_object_mut().expect("services");
    let at = dice.roll(services.len());
    let service = services.values_mut().nth(at).and_then(Value::as_object_mut).expect("a service");
    for _ in 0..=dice.roll(2) {
        mutate_service(dice, service);
    }
}

fn mutate_service(dice: &mut Dice, service: &mut Map<String, Value>) {
    match dice.roll(14) {
        0 => drop(service.insert("environment".to_owned(), json!({"A": "2"}))),
        1 => respell(service, "environment", |value| {
            let pair = |(key, value): (&String, &Value)| match value.as_str() {
                Some(text) => format!("{key}={text}"),
                None => key.clone(),
            };
            value.as_object().map(|map| map.iter().map(pair).collect::<Vec<_>>().into())
        }),
        2 => respell(service, "ports", |value| {
            (value.as_array()?.first()?.as_str()? == "8080:80")
                .then(|| json!([{"target": 80, "published": "8080", "mode": "ingress"}, "127.0.0.1:9090:90/udp"]))
        }),
        3 => durations(service),
        4 => drop(service.insert("scale".to_owned(), json!(dice.roll(3)))),
        5 => drop(service.insert("profiles".to_owned(), json!([]))),
        6 => drop(service.insert("labels".to_owned(), json!({"a": "2"}))),
        7 => drop(service.insert("command".to_owned(), json!("run --port 80"))),
        8 => drop(service.remove("healthcheck")),
        9 => drop(service.insert("restart".to_owned(), json!("always"))),
        10 => drop(service.insert("build".to_owned(), json!({"context": "./app", "args": ["V=2"]}))),
        11 => respell(service, "volumes", |_| {
            Some(
                json!([{"type": "bind", "source": "./conf", "target": "/conf", "read_only": true, "bind": {"create_host_path": true}}, "data:/data"]),
            )
        }),
        12 => {
            let mut pairs: Vec<_> = std::mem::take(service).into_iter().collect();
            pairs.reverse();
            service.extend(pairs);
        }
        _ => drop(service.insert("cap_add".to_owned(), json!(["NET_ADMIN"]))),
    }
}

fn respell(service: &mut Map<String, Value>, key: &str, other: impl FnOnce(&Value) -> Option<Value>) {
    if let Some(value) = service.get(key).and_then(other) {
        service.insert(key.to_owned(), value);
    }
}

fn durations(service: &mut Map<String, Value>) {
    let text = Value::Object(service.clone()).to_string();
    let text =
        DURATIONS.iter().fold(text, |text, (long, short)| text.replace(&format!("{long:?}"), &format!("{short:?}")));
    *service = serde_json::from_str(&text).expect("an object");
}

/// Writes so many projects, each with its two versions, below `directory`.
pub fn write(directory: &Path, count: usize) {
    for number in 0..count {
        let dice = &mut Dice::new(number as u64 + 1);
        let before = project(dice);
        let mut after = before.clone();
        mutate(dice, &mut after);
        for (version, project) in [("a", before), ("b", after)] {
            let own = directory.join(format!("{number}/{version}"));
            std::fs::create_dir_all(&own).expect("directory");
            let env: String = project.env.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            for (name, text) in
                [("compose.yml", project.compose.to_string()), (".env", env), ("app.env", project.env_file)]
            {
                std::fs::write(own.join(name), text).expect(name);
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

/// One version as Compose answered.
#[derive(Default)]
struct Answered {
    json: String,
    hashes: BTreeMap<String, String>,
}

/// Compares what Compose answered to [`ASK`] with what cm makes of it.
pub fn compare(answer: &str) -> Tally {
    let mut all: BTreeMap<(String, String), Answered> = BTreeMap::new();
    let mut current = None;
    for line in answer.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["J", project, version] => current = Some(((*project).to_owned(), (*version).to_owned())),
            ["H", project, version, service, hash] => {
                let of = all.entry(((*project).to_owned(), (*version).to_owned())).or_default();
                of.hashes.insert((*service).to_owned(), (*hash).to_owned());
            }
            _ => {
                let of = all.entry(current.clone().expect("a head")).or_default();
                of.json.push_str(line);
                of.json.push('\n');
            }
        }
    }
    let mut tally = Tally::default();
    for ((project, version), before) in all.iter().filter(|((_, version), _)| version == "a") {
        assert_eq!(version, "a");
        let after = &all[&(project.clone(), "b".to_owned())];
        let model = |one: &Answered| Model::new(serde_json::from_str(&one.json).expect("Compose takes it"));
        let (was, is) = (model(before), model(after));
        assert!(!before.hashes.is_empty() && before.hashes.len() == after.hashes.len(), "{project}");
        for (service, hash) in &before.hashes {
            judge(&mut tally, project, service, after.hashes[service] != *hash, &was, &is);
        }
    }
    tally
}

fn judge(tally: &mut Tally, project: &str, service: &str, replaced: bool, was: &Model, is: &Model) {
    let differences = differences(was, is, service).expect("both have it");
    let seen: Vec<_> = differences.iter().filter(|one| matches!(one, Difference::Container(_))).collect();
    tally.services += 1;
    tally.replaced += usize::from(replaced);
    let what = format!("{project}/{service}: {seen:?}");
    match (replaced, seen.is_empty()) {
        (true, true) => tally.missed.push(what),
        (false, false) => tally.extra.push(what),
        _ => {}
    }
}
