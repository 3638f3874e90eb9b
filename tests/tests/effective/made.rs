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
    /// An env file of the format `raw`, one of labels, and the content of a config.
    raw: String,
    labels: String,
    content: String,
}

/// A long and a short way to say the same.
const DURATIONS: [(&str, &str); 3] = [("60s", "1m"), ("90s", "1m30s"), ("2s", "2000ms")];

/// What a service may have.
pub type Settings = Vec<(&'static str, Value)>;

/// What services may have in a Compose from 2.40 on.
pub fn newest_settings() -> Settings {
    let newer = vec![
        ("env_file", json!(["app.env", {"path": "raw.env", "format": "raw", "required": false}])),
        ("label_file", json!(["labels.env"])),
        ("gpus", json!([{"count": 1, "capabilities": ["gpu"]}])),
        ("post_start", json!([{"command": ["warm", "${B}"], "user": "root"}])),
        (
            "volumes",
            json!([{"type": "image", "source": "app", "target": "/app", "image": {"subpath": "d"}}, "./conf:/conf"]),
        ),
    ];
    settings().into_iter().chain(newer).collect()
}

/// What services may have.
pub fn settings() -> Settings {
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
        ("annotations", json!({"a.b/c": "${B}"})),
        ("configs", json!(["page"])),
        ("platform", json!("linux/amd64")),
        ("pull_policy", json!("build")),
        ("tmpfs", json!("/run:size=10m")),
        ("extra_hosts", json!({"b": "host-gateway", "c": ["10.0.0.1", "::1"]})),
        (
            "build",
            json!({"context": "./app", "dockerfile_inline": "FROM scratch\n# ${TAG}\n", "tags": ["t:${TAG}"], "platforms": ["linux/amd64"]}),
        ),
        ("extends", json!({"file": "base.yml", "service": "base"})),
        ("<<", json!("*base")),
    ]
}

fn word(dice: &mut Random, of: &[&'static str]) -> &'static str {
    of[dice.below(of.len())]
}

fn service(dice: &mut Random, settings: &Settings, once_in: usize) -> Map<String, Value> {
    let mut service = Map::new();
    for (key, value) in settings {
        if dice.below(once_in) == 0 {
            service.insert((*key).to_owned(), value.clone());
        }
    }
    service
}

/// One that nothing else is merged into.
fn plain(dice: &mut Random, settings: &Settings) -> Value {
    let mut service = service(dice, settings, 5);
    ["<<", "extends", "build", "secrets", "networks", "configs"].iter().for_each(|key| drop(service.remove(*key)));
    service.into()
}

/// A first version.
pub fn project(dice: &mut Random, settings: &Settings) -> Project {
    let names = &["web", "api", "worker", "db"][..=dice.below(4)];
    let mut services = Map::new();
    for (index, name) in names.iter().enumerate() {
        let mut one = service(dice, settings, 4);
        let image = word(
            dice,
            &["app", "app:${TAG}", "cache:7", "made-web", "${REGISTRY:-reg.example:5000}/app:${TAG:-latest}"],
        );
        if !one.contains_key("build") || dice.below(3) > 0 {
            one.insert("image".to_owned(), image.into());
        }
        if index > 0 && dice.below(2) == 0 {
            let other = names[dice.below(index)];
            let how =
                [json!([other]), json!({other: {"condition": "service_started", "required": false, "restart": true}})];
            one.insert("depends_on".to_owned(), dice.of(&how).clone());
        }
        services.insert((*name).to_owned(), one.into());
    }
    let (last, profile) = (names[names.len() - 1], ["none", "extra"][dice.below(2)]);
    if names.len() > 1 && dice.below(3) == 0 {
        services[last]["profiles"] = json!([profile]);
    }
    let mut overrides = Map::new();
    if dice.below(2) == 0 {
        overrides.insert((*dice.of(names)).to_owned(), plain(dice, settings));
    }
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut env = vec![pair("TAG", "1"), pair("B", "two")];
    env.extend((dice.below(2) == 0).then(|| pair("COMPOSE_PROFILES", "extra")));
    Project {
        name: word(dice, &["made", "${STACK:-made}"]),
        anchor: plain(dice, settings),
        services,
        overrides,
        base: plain(dice, settings),
        side: (dice.below(3) == 0).then(|| {
            let mut side = plain(dice, settings);
            side["image"] = "side:${SIDE:-1}".into();
            side
        }),
        networks: json!({"back": {"labels": {"n": "1"}}}),
        env,
        side_env: "SIDE=2\n".to_owned(),
        env_file: "E=1\nF=${TAG}\n".to_owned(),
        raw: "R=\"${TAG}\" # all\n".to_owned(),
        labels: "l.one=1\nl.two=\"2\"\n".to_owned(),
        content: "v ${TAG}".to_owned(),
    }
}

/// Changes something, or only how it is written.
pub fn mutate(dice: &mut Random, project: &mut Project) {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    match dice.below(30) {
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
        20 => project.raw.push_str(word(dice, &["R=1\n", "# no\n", "R=\"${TAG}\" # all\n", "R=${TAG}\n", "\n"])),
        21 => project.labels.push_str(word(dice, &["l.one=2\n", "# no\n", "l.one='1'\n", "l.three=3\n"])),
        22 => project.content = word(dice, &["v 1", "v ${TAG:-x}", "w", "v $${TAG}"]).to_owned(),
        23 => project.env.push(pair("REGISTRY", word(dice, &["reg.example:5000", "other.example"]))),
        24 => {
            project.env_file.push_str(word(dice, &["H=${E}\n", "H=${A:-a}\n", "E=\"1\"\n", "export E=1\n", "E: 1\n"]))
        }
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
            "name: {}\nx-base: &base {}\n{include}services: {}\nnetworks: {}\nvolumes: {{data: {{}}}}\nsecrets: {{key: {{file: ./key}}}}\nconfigs: {{page: {{content: {}}}}}\n",
            self.name,
            yaml(&self.anchor),
            yaml(&Value::Object(self.services.clone())),
            self.networks,
            yaml(&self.content.as_str().into()),
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
            ("side/raw.env", self.raw.clone()),
            ("side/labels.env", self.labels.clone()),
            ("raw.env", self.raw.clone()),
            ("labels.env", self.labels.clone()),
            (".env", env),
            ("app.env", self.env_file.clone()),
            ("app/Dockerfile", "FROM scratch\n".to_owned()),
        ];
        texts.into_iter().map(|(path, text)| (path.to_owned(), File { mode: "100644", text })).collect()
    }
}
