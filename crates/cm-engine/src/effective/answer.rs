//! What a host answered, read part by part.

use super::bundle::VARIABLES;
use super::refusal::Refusal;
use crate::Config;
use crate::image_name::full_name;
use cm_core::add_secret;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What `docker compose config` says of one version, values and all. Shows none of them.
#[derive(Clone, PartialEq)]
pub struct Model(pub(super) Value);

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Model").field(&self.services().collect::<Vec<_>>()).finish()
    }
}

impl Model {
    /// A model from its JSON; the values that look like secrets are registered as such.
    pub fn new(value: Value) -> Self {
        let model = Model(value);
        for service in model.services() {
            model.service(service).into_iter().for_each(register);
        }
        model
    }

    /// The project's name.
    pub fn name(&self) -> &str {
        self.0.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// The services that Compose starts.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.0.get("services").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// All that Compose says of a service.
    pub(super) fn service(&self, name: &str) -> Option<&Value> {
        self.0.get("services")?.get(name)
    }

    /// The part of it that decisions rest on.
    pub fn config(&self) -> Config {
        Config::read(&self.0)
    }

    /// The values that the host has for the variables that were asked for; `None` where one is not set.
    pub fn variables(&self) -> BTreeMap<String, Option<String>> {
        let all = self.0.get(VARIABLES).and_then(Value::as_object);
        let value = |pair: &Value| {
            let text = |index: usize| pair.get(index).and_then(Value::as_str).unwrap_or_default().replace("$$", "$");
            (text(0) == "set").then(|| text(1))
        };
        let known = all.into_iter().flatten().filter(|(_, pair)| pair.get(1).is_some());
        known.map(|(name, pair)| (name.clone(), value(pair))).collect()
    }

    /// Whether the host was asked for the variable, and it is not set there.
    pub(super) fn is_unset(&self, variable: &str) -> bool {
        let said = self.0.get(VARIABLES).and_then(|all| all.get(variable)?.get(0)?.as_str());
        said.is_some_and(|said| said != "set")
    }

    /// The names of a kind of resource that others make: `networks` or `volumes`.
    pub fn external(&self, kind: &str) -> BTreeSet<String> {
        let all = self.0.get(kind).and_then(Value::as_object).into_iter().flatten();
        let is_external = |value: &Value| value.get("external").and_then(Value::as_bool) == Some(true);
        let name = |key: &str, value: &Value| value.get("name").and_then(Value::as_str).unwrap_or(key).to_owned();
        all.filter(|(_, value)| is_external(value)).map(|(key, value)| name(key, value)).collect()
    }

    /// The files of configs and secrets, absolute.
    pub fn files(&self) -> BTreeSet<String> {
        let all = ["configs", "secrets"].into_iter().filter_map(|kind| self.0.get(kind)?.as_object());
        let file = |value: &Value| value.get("file").and_then(Value::as_str).map(str::to_owned);
        all.flatten().filter_map(|(_, value)| file(value)).collect()
    }
}

/// Values whose name or form says that they are secrets are written nowhere from now on.
fn register(service: &Value) {
    for part in ["/environment", "/build/args"] {
        for (key, value) in service.pointer(part).and_then(Value::as_object).into_iter().flatten() {
            let Some(value) = value.as_str() else { continue };
            let key = key.to_ascii_uppercase();
            let names = ["PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTH", "DSN", "WEBHOOK", "PRIVATE"];
            let has_password = value.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
            if has_password || names.iter().any(|name| key.contains(name)) {
                add_secret(&value.replace("$$", "$"));
            }
        }
    }
}

/// A container that runs, or ran.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    /// The full id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The id of its image.
    pub image_id: String,
    /// The image's name it was made by.
    pub image: String,
    /// Docker's word for what it does.
    pub status: String,
    /// The exit code of its last run.
    #[serde(default)]
    pub exit_code: i64,
    /// Docker's word for when it starts it again.
    #[serde(default, deserialize_with = "text")]
    pub restart: String,
    /// The compose project.
    #[serde(default, deserialize_with = "text")]
    pub project: String,
    /// The service.
    #[serde(default, deserialize_with = "text")]
    pub service: String,
    /// The directory it was made from, absolute.
    #[serde(default, deserialize_with = "text")]
    pub working_dir: String,
    /// Compose's hash of its configuration.
    #[serde(default, deserialize_with = "text")]
    pub config_hash: String,
    /// The version of Compose that made it.
    #[serde(default, deserialize_with = "text")]
    pub version: String,
    /// The mark of one that runs alongside those of its service.
    #[serde(default, deserialize_with = "text")]
    pub alongside: String,
    #[serde(default)]
    env: Option<Vec<String>>,
}

/// A label that is not there is null.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runs").field("name", &self.name).field("service", &self.service).finish_non_exhaustive()
    }
}

impl Runs {
    /// What a service runs whose containers are on several hosts. It has no hash of Compose's: image and environment
    /// compare.
    pub(crate) fn of_service(project: &str, service: &str, image_id: &str, env: Vec<String>) -> Runs {
        Runs {
            id: String::new(),
            name: service.to_owned(),
            image_id: image_id.to_owned(),
            image: String::new(),
            status: "running".to_owned(),
            exit_code: 0,
            restart: String::new(),
            project: project.to_owned(),
            service: service.to_owned(),
            working_dir: String::new(),
            config_hash: String::new(),
            version: String::new(),
            alongside: String::new(),
            env: Some(env),
        }
    }

    /// Whether it stands still, and its configuration wants it to run: one that ended with 0 and is not to be started
    /// again has done its work.
    pub(super) fn is_stopped(&self) -> bool {
        let is_done = self.exit_code == 0 && !matches!(self.restart.as_str(), "always" | "unless-stopped");
        match self.status.as_str() {
            "exited" => !is_done,
            // One that is paused answers nobody, however long; Compose alone leaves it so.
            "created" | "dead" | "paused" => true,
            _ => false,
        }
    }

    /// The variables whose values in the container are not those of `environment`.
    pub(super) fn other_variables(&self, environment: Option<&Value>) -> Vec<String> {
        let Some(env) = &self.env else { return Vec::new() };
        let has: BTreeMap<&str, &str> = env.iter().filter_map(|pair| pair.split_once('=')).collect();
        let wanted = environment.and_then(Value::as_object).into_iter().flatten();
        let differs = |(key, value): &(&String, &Value)| match value.as_str() {
            Some(value) => has.get(key.as_str()) != Some(&&*value.replace("$$", "$")),
            None => false,
        };
        wanted.filter(differs).map(|(key, _)| key.clone()).collect()
    }
}

/// All that a host answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The checkout's real path there.
    pub path: String,
    /// The version of Compose there.
    pub version: String,
    /// The version that is to run, or why Compose does not take it.
    pub head: Result<Model, Refusal>,
    /// Those that run, in the order of the question; `None` where Compose does not take one.
    pub bases: Vec<Option<Model>>,
    /// What Compose warns of.
    pub warnings: Vec<String>,
    /// Every container of a compose project; `None` if the engine did not answer.
    pub containers: Option<Vec<Runs>>,
    /// What the host has of what the version to run uses and does not make.
    pub(super) there: There,
    /// Hashes of the services' configuration, without and with what they depend on.
    pub(super) hashes: [BTreeMap<String, String>; 2],
    /// The ids of the images that have a name.
    pub(super) images: BTreeMap<String, String>,
    /// The directories that containers were made from and that are still there, by their real paths.
    pub(super) places: BTreeSet<String>,
}

/// What a host has, as far as somebody asked: `None` where nobody had to.
#[derive(Clone, Debug, Default)]
pub(super) struct There {
    pub networks: Option<BTreeSet<String>>,
    pub volumes: Option<BTreeSet<String>>,
    /// The names of all containers.
    pub names: Option<BTreeSet<String>>,
    /// Files and directories that are not there.
    pub absent: BTreeSet<String>,
}

/// One part of the answer: its head's words, and its lines.
type Part<'a> = (Vec<&'a str>, Vec<&'a str>);

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("cm "), parts.last_mut()) {
            (Some(head), _) => parts.push((head.split(' ').collect(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    parts
}

impl Answer {
    /// Reads the answer to a question about so many versions.
    pub(super) fn read(text: &str, versions: usize) -> Answer {
        let parts = parts(text);
        let find = |words: &[&str]| parts.iter().find(|(head, _)| head.starts_with(words));
        let lines = |words: &[&str]| find(words).map(|(_, lines)| lines.as_slice()).unwrap_or_default();
        let value = |word: &str| find(&[word]).map(|(head, _)| head[1..].join(" ")).unwrap_or_default();
        let model = |number: usize| {
            let number = number.to_string();
            let status = find(&["config", &number]).and_then(|(head, _)| head.get(2)?.parse().ok()).unwrap_or(1);
            let said = || Refusal { status, lines: said(lines(&["said", &number])) };
            let json = lines(&["config", &number]).join("\n");
            serde_json::from_str(&json).ok().filter(|_| status == 0).map(Model::new).ok_or_else(said)
        };
        let head = model(0);
        let bases = (1..versions).map(|number| model(number).ok()).collect();
        let answered = find(&["containers"]).is_some_and(|(head, _)| head.get(1) == Some(&"0"));
        let runs = || {
            let lines = lines(&["containers"]).iter().filter(|line| !line.is_empty());
            lines.map(|line| serde_json::from_str(line)).collect::<Result<_, _>>().ok()
        };
        let listed = |section: &str| -> Option<BTreeSet<String>> {
            find(&[section]).map(|(_, lines)| lines.iter().map(|line| (*line).to_owned()).collect())
        };
        Answer {
            path: value("path"),
            version: value("version").trim_start_matches('v').to_owned(),
            warnings: if head.is_ok() { said(lines(&["said", "0"])) } else { Vec::new() },
            containers: answered.then(runs).flatten(),
            there: There {
                networks: listed("networks"),
                volumes: listed("volumes"),
                names: listed("names"),
                absent: listed("absent").unwrap_or_default(),
            },
            hashes: [pairs(lines(&["hash", "0"])), pairs(lines(&["hash", "1"]))],
            images: pairs(lines(&["images"])),
            places: listed("places").unwrap_or_default(),
            head,
            bases,
        }
    }

    /// The id of the image that goes by `name` on the host.
    pub fn image_id(&self, name: &str) -> Option<&str> {
        self.images.get(&full_name(name)).map(String::as_str)
    }
}

fn said(lines: &[&str]) -> Vec<String> {
    let lines = lines.iter().map(|line| line.strip_prefix("| ").unwrap_or(line).trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

fn pairs(lines: &[&str]) -> BTreeMap<String, String> {
    let pairs = lines.iter().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cm path /srv/app\ncm config 0 0\n{\n  \"name\": \"shop\",\n  \"services\": {\"web\": {\"environment\": {\"PW\": \"a$$b\", \"N\": null}}},\n  \"networks\": {\"front\": {\"name\": \"edge\", \"external\": true}},\n  \"x-cm-variables\": {\"TAG\": [\"set\", \"1$$\"], \"NO\": [\"\", \"\"]}\n}\ncm said 0\n| time=x level=warning msg=\"y\"\ncm version v2.26.1-4\ncm hash 0\nweb aa\ncm networks\nbridge\ncm volumes\ncm absent\n/srv/app/key\ncm containers 0\n{\"id\":\"1\",\"name\":\"/web\",\"image_id\":\"sha256:1\",\"image\":\"web\",\"status\":\"running\",\"service\":\"web\",\"alongside\":null,\"env\":[\"PW=a$b\"]}\ncm images 0\nweb:latest sha256:1\nreg:5000/web:2 sha256:2\ncm config 1 15\ncm said 1\n| no\ncm end";

    #[test]
    fn what_is_asked_of_a_container_is_what_is_read() {
        let values = super::super::FORMAT.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0));
        let line = values.fold(super::super::FORMAT.to_owned(), |line, value| {
            let instead = match value.strip_prefix("json ") {
                Some(".State.ExitCode") => "137",
                Some(".Config.Env") => "[]",
                Some(_) => "\"x\"",
                None => "",
            };
            line.replacen(&format!("{{{{{value}}}}}"), instead, 1)
        });
        let runs: Runs = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!((runs.exit_code, &*runs.restart, &*runs.alongside, runs.env), (137, "x", "x", Some(Vec::new())));
    }

    #[test]
    fn an_answer_is_read_part_by_part() {
        let answer = Answer::read(TEXT, 2);
        let head = answer.head.as_ref().expect("taken");
        assert_eq!((answer.path.as_str(), answer.version.as_str()), ("/srv/app", "2.26.1-4"));
        assert_eq!(head.config().project, "shop");
        assert_eq!(head.variables(), [("TAG".to_owned(), Some("1$".to_owned())), ("NO".to_owned(), None)].into());
        assert_eq!(answer.there.networks, Some(["bridge".to_owned()].into()));
        assert_eq!((&answer.there.names, &answer.there.absent), (&None, &["/srv/app/key".to_owned()].into()));
        assert_eq!((answer.bases.len(), answer.bases[0].is_none()), (1, true));
        assert_eq!(answer.image_id("docker.io/library/web"), Some("sha256:1"));
        assert_eq!((answer.image_id("reg:5000/web:2"), answer.image_id("reg:5000/web")), (Some("sha256:2"), None));
        let container = &answer.containers.as_ref().expect("asked")[0];
        let environment = head.service("web").and_then(|web| web.get("environment"));
        assert_eq!(container.other_variables(environment), [""; 0]);
        assert!(!format!("{answer:?}").contains("a$b"), "no value is shown");
    }
}
