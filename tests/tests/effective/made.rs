//! Made-up projects of every shape that people write (several files, `extends`, `include`, anchors,
//! profiles, env files, names by variables), and changes of them: some change what Compose makes of a
//! service, some only how it is written.

use cm_testkit::history::{File, Files, Random};
use serde_json::{Map, Value, json};

/// The compose files, in Compose's order.
pub const FILES: [&str; 2] = ["compose.yml", "compose.override.yml"];

/// One version of a project, part by part as its files have it.
#[derive(Clone)]
pub struct Project {
    name: &'static str,
    /// What services merge with `<<: *base`.
    anchor: Value,
    services: Map<String, Value>,
    overrides: Map<String, Value>,
    /// The service that others extend from a file of its own.
    base: Value,
    /// The service of an included file, if there is one.
    side: Option<Value>,
    networks: Value,
    env: Vec<(String, String)>,
    side_env: String,
    env_file: String,
}

/// A long and a short way to say the same.
const DURATIONS: [(&str, &str); 3] = [("60s", "1m"), ("90s", "1m30s"), ("2s", "2000ms")];

/// What services may have.
fn settings() -> Vec<(&'static str, Value)> {
    vec![
        ("environment", json!({"A": "1", "B": "${B:-b}", "TAG": null, "D": "x$$y"})),
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
        ("extends", json!({"file": "base.yml", "service": "base"})),
        ("<<", json!("*base")),
    ]
}

fn word(dice: &mut Random, of: &[&'static str]) -> &'static str {
    of[dice.below(of.len())]
}

fn service(dice: &mut Random, once_in: usize) -> Map<String, Value> {
    let mut service = Map::new();
    for (key, value) in settings() {
        if dice.below(once_in) == 0 {
            service.insert(key.to_owned(), value);
        }
    }
    service
}

/// One that nothing else is merged into.
fn plain(dice: &mut Random) -> Value {
    let mut service = service(dice, 5);
    ["<<", "extends", "build", "secrets", "networks"].iter().for_each(|key| drop(service.remove(*key)));
    service.into()
}

/// A first version.
pub fn project(dice: &mut Random) -> Project {
    let names = &["web", "api", "worker", "db"][..=dice.below(4)];
    let mut services = Map::new();
    for (index, name) in names.iter().enumerate() {
        let mut one = service(dice, 4);
        let image = word(dice, &["app", "app:${TAG}", "cache:7", "made-web"]);
        if !one.contains_key("build") || dice.below(3) > 0 {
            one.insert("image".to_owned(), image.into());
        }
        if index > 0 && dice.below(2) == 0 {
            one.insert("depends_on".to_owned(), json!([names[dice.below(index)]]));
        }
        services.insert((*name).to_owned(), one.into());
    }
    let (last, profile) = (names[names.len() - 1], ["none", "extra"][dice.below(2)]);
    if names.len() > 1 && dice.below(3) == 0 {
        services[last]["profiles"] = json!([profile]);
    }
    let mut overrides = Map::new();
    if dice.below(2) == 0 {
        overrides.insert((*dice.of(names)).to_owned(), plain(dice));
    }
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut env = vec![pair("TAG", "1"), pair("B", "two")];
    env.extend((dice.below(2) == 0).then(|| pair("COMPOSE_PROFILES", "extra")));
    Project {
        name: word(dice, &["made", "${STACK:-made}"]),
        anchor: plain(dice),
        services,
        overrides,
        base: plain(dice),
        side: (dice.below(3) == 0).then(|| {
            let mut side = plain(dice);
            side["image"] = "side:${SIDE:-1}".into();
            side
        }),
        networks: json!({"back": {"labels": {"n": "1"}}}),
        env,
        side_env: "SIDE=2\n".to_owned(),
        env_file: "E=1\nF=${TAG}\n".to_owned(),
    }
}

/// Changes something, or only how it is written.
pub fn mutate(dice: &mut Random, project: &mut Project) {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    match dice.below(24) {
        0 => project.env[0].1 = "2".to_owned(),
        1 => project.env[1].1 = "three".to_owned(),
        2 => project.env[0].1 = word(dice, &["'1'", "\"1\"", "1 # one", " 1"]).to_owned(),
        3 => project.env.push(pair("UNUSED", "1")),
        4 => project.env.push(pair("B", "two")),
        5 => project.env_file.push_str(word(dice, &["# a comment\n", "G=1\n", "\n", "E='1'\n", "E=2\n", "F=$TAG\n"])),
        6 => project.side_env.push_str(word(dice, &["SIDE=3\n", "# a comment\n", "SIDE=\"2\"\n"])),
        7 => project.env.push(pair("COMPOSE_PROFILES", word(dice, &["extra", "none", ""]))),
        8 => project.env.push(pair("STACK", word(dice, &["made", "other"]))),
        9 => project.networks["back"]["labels"]["n"] = "2".into(),
        10 => project.name = word(dice, &["made", "${STACK:-made}", "renamed"]),
        11 | 12 => change(dice, &mut project.anchor),
        13 | 14 => change(dice, &mut project.base),
        15 | 16 => project.side.iter_mut().for_each(|side| change(dice, side)),
        17..=19 => project.overrides.values_mut().for_each(|one| change(dice, one)),
        _ => {}
    }
    let at = dice.below(project.services.len());
    let service = project.services.values_mut().nth(at).expect("a service");
    for _ in 0..=dice.below(2) {
        change(dice, service);
    }
}

fn change(dice: &mut Random, service: &mut Value) {
    let service = service.as_object_mut().expect("an object");
    let mut set = |key: &str, value: Value| drop(service.insert(key.to_owned(), value));
    match dice.below(22) {
        0 => set("environment", json!({"A": "2"})),
        1 => respell(service, "environment", list_of_pairs),
        2 => respell(service, "ports", |value| {
            (value.as_array()?.first()?.as_str()? == "8080:80")
                .then(|| json!([{"target": 80, "published": "8080", "mode": "ingress"}, "127.0.0.1:9090:90/udp"]))
        }),
        3 => durations(service),
        4 => set("scale", json!(dice.below(3))),
        5 => respell(service, "profiles", |_| Some(json!([]))),
        6 => set("labels", json!({"a": "2"})),
        7 => set("command", json!("run --port 80")),
        8 => drop(service.remove("healthcheck")),
        9 => set("restart", json!("always")),
        10 => respell(service, "build", |_| Some(json!({"context": "./app", "args": ["V=2"]}))),
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
        13 => drop(service.remove("extends")),
        14 => drop(service.remove("<<")),
        15 => respell(service, "env_file", |_| Some(json!("./app.env"))),
        16 => respell(service, "depends_on", |value| {
            let names = value.as_array()?.iter().filter_map(Value::as_str);
            Some(
                names
                    .map(|name| (name.to_owned(), json!({"condition": "service_started"})))
                    .collect::<Map<_, _>>()
                    .into(),
            )
        }),
        17 => respell(service, "profiles", |_| Some(json!(["extra", "more"]))),
        18 => set("deploy", json!({"replicas": dice.below(3)})),
        19 => set("attach", json!(dice.below(2) == 0)),
        20 => set("develop", json!({"watch": [{"path": "./app", "action": "rebuild"}]})),
        _ => set("cap_add", json!(["NET_ADMIN"])),
    }
}

fn list_of_pairs(value: &Value) -> Option<Value> {
    let pair = |(key, value): (&String, &Value)| match value.as_str() {
        Some(text) => format!("{key}={text}"),
        None => key.clone(),
    };
    value.as_object().map(|map| map.iter().map(pair).collect::<Vec<_>>().into())
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

impl Project {
    /// The files of this version.
    pub fn files(&self) -> Files {
        // What is JSON is YAML; only references to anchors are not.
        let yaml = |value: &Value| value.to_string().replace(r#""<<":"*base""#, "<<: *base");
        let include = if self.side.is_some() { "include: [side/side.yml]\n" } else { "" };
        let compose = format!(
            "name: {}\nx-base: &base {}\n{include}services: {}\nnetworks: {}\nvolumes: {{data: {{}}}}\nsecrets: {{key: {{file: ./key}}}}\n",
            self.name,
            yaml(&self.anchor),
            yaml(&Value::Object(self.services.clone())),
            self.networks,
        );
        let env: String = self.env.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let side = self.side.as_ref().map_or("{}".to_owned(), |side| json!({"side": side}).to_string());
        let texts = [
            (FILES[0], compose),
            (FILES[1], format!("services: {}\n", Value::Object(self.overrides.clone()))),
            ("base.yml", format!("services: {}\n", json!({"base": self.base}))),
            ("side/side.yml", format!("services: {side}\nvolumes: {{data: {{}}}}\n")),
            ("side/.env", self.side_env.clone()),
            ("side/app.env", "S=1\n".to_owned()),
            (".env", env),
            ("app.env", self.env_file.clone()),
            ("app/Dockerfile", "FROM scratch\n".to_owned()),
        ];
        texts.into_iter().map(|(path, text)| (path.to_owned(), File { mode: "100644", text })).collect()
    }
}
