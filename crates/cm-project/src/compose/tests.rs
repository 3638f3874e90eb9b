//! Compose files of whole projects, in memory.

use super::*;
use crate::tree::Memory;
use serde_json::json;

fn project(files: &[(&str, &str)], names: &[&str]) -> Compose {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    load(&Memory::of(files), &names, &[".env".to_owned()]).unwrap_or_else(|failure| panic!("{failure}"))
}

fn one(text: &str) -> Compose {
    project(&[("compose.yml", text)], &["compose.yml"])
}

/// The line of each warning, and its words.
pub fn warned(text: &str) -> Vec<String> {
    let lines = |warning: &Warning| format!("{} {}", warning.at.line, warning.message);
    one(text).warnings.iter().map(lines).collect()
}

fn failure(text: &str) -> cm_core::Failure {
    load(&Memory::of(&[("compose.yml", text)]), &["compose.yml".to_owned()], &[]).expect_err(text)
}

#[test]
fn a_service_is_read_whole() {
    let compose = one("
name: shop
services:
  web:
    build: {context: ./apps/web, dockerfile: Web.dockerfile, target: run, args: [A=1, B]}
    image: shop/web
    container_name: shop-web
    env_file: [.env.production, {path: extra.env, required: false}]
    volumes: [./Caddyfile:/etc/Caddyfile:ro, data:/data, {type: bind, source: ./conf, target: /conf}]
    configs: [{source: main, target: /main.conf}]
    secrets: [key]
    ports: ['80:80', 443]
    depends_on: {db: {condition: service_healthy}}
    profiles: [full]
    healthcheck: {test: [CMD, 'true']}
    deploy: {replicas: 3}
  db:
    image: mongo:7
    healthcheck: {disable: true}
configs: {main: {file: conf/main.conf}}
secrets: {key: {file: ../key}}
volumes: {data: {}}
");
    assert_eq!(compose.name.as_deref(), Some("shop"));
    let web = compose.service("web").expect("web");
    let build = web.build.as_ref().expect("build");
    assert_eq!(build.context, Context::Directory("apps/web".to_owned()));
    assert_eq!(build.args, BTreeMap::from([("A".to_owned(), Some("1".to_owned())), ("B".to_owned(), None)]));
    assert_eq!((build.dockerfile.as_deref(), build.target.as_deref()), (Some("Web.dockerfile"), Some("run")));
    let sources: Vec<&Place> = web.mounts.iter().map(|mount| &mount.source).collect();
    let inside = |path: &str| Place::Inside(path.to_owned());
    assert_eq!(
        sources,
        [&inside("Caddyfile"), &inside("conf"), &inside("conf/main.conf"), &Place::Outside("../key".to_owned())]
    );
    assert_eq!(web.env_files[1], EnvFile { place: inside("extra.env"), required: false, format: Format::Quoted });
    assert_eq!((web.replicas, web.has_healthcheck), (3, true));
    assert_eq!(
        (web.depends_on.as_slice(), web.profiles.as_slice()),
        (&["db".to_owned()][..], &["full".to_owned()][..])
    );
    let db = compose.service("db").expect("db");
    assert!(!db.has_healthcheck && db.build.is_none());
}

#[test]
fn later_files_go_over_earlier_ones() {
    let compose = project(
        &[
            (
                "a.yml",
                "services:\n  web:\n    image: a\n    command: [x, y]\n    environment: [A=1, B=2]\n    ports: ['80:80']\n    volumes: ['./a:/x', './b:/y']\n    env_file: one.env\n    labels: {l: 1}\n",
            ),
            (
                "b.yml",
                "services:\n  web:\n    build: ./ctx\n    command: [z]\n    environment: {B: 3}\n    ports: ['81:81']\n    volumes: ['./c:/x']\n    env_file: [two.env]\n    labels: !reset null\n  new: {image: n}\n",
            ),
        ],
        &["a.yml", "b.yml"],
    );
    let web = compose.service("web").expect("web");
    assert_eq!(web.build.as_ref().expect("build").context, Context::Directory("ctx".to_owned()));
    assert_eq!(web.ports, ["80:80", "81:81"]);
    assert_eq!(web.env_files.len(), 2);
    let mounts: Vec<_> = web.mounts.iter().filter_map(|mount| mount.source.inside()).collect();
    assert_eq!(mounts, ["c", "b"]);
    assert_eq!(web.configuration["command"], json!(["z"]));
    assert_eq!(web.configuration["environment"], json!({"A": "1", "B": "3"}));
    assert_eq!(web.configuration.get("labels"), None);
    assert_eq!(compose.names(), ["web", "new"]);
}

#[test]
fn override_replaces_and_reset_removes() {
    let compose = project(
        &[
            (
                "a.yml",
                "services:\n  web:\n    image: a\n    ports: ['80:80']\n    environment: {A: 1}\n  gone: {image: g}\n",
            ),
            (
                "b.yml",
                "services:\n  web:\n    ports: !override ['81:81']\n    environment: !override {B: 2}\n  gone: !reset null\n",
            ),
        ],
        &["a.yml", "b.yml"],
    );
    assert_eq!(compose.names(), ["web"]);
    assert_eq!(compose.services[0].ports, ["81:81"]);
    assert_eq!(compose.services[0].configuration["environment"], json!({"B": "2"}));
}

#[test]
fn extends_crosses_files_and_keeps_paths_right() {
    let compose = project(
        &[
            (
                "compose.yml",
                "services:\n  web:\n    extends: {file: lib/base.yml, service: app}\n    environment: [X=1]\n  api:\n    extends: web\n    image: api\n",
            ),
            (
                "lib/base.yml",
                "services:\n  app:\n    extends: root\n    build: {context: ./app, additional_contexts: {shared: ../shared, node: 'docker-image://node'}}\n    env_file: app.env\n  root:\n    volumes: ['./conf:/conf', 'named:/n']\n    restart: always\n",
            ),
        ],
        &["compose.yml"],
    );
    for name in ["web", "api"] {
        let service = compose.service(name).expect(name);
        let build = service.build.as_ref().expect("build");
        assert_eq!(build.context, Context::Directory("lib/app".to_owned()), "{name}");
        assert_eq!(build.contexts[0].1, Context::Directory("shared".to_owned()));
        assert_eq!(build.contexts[1].1, Context::Image("node".to_owned()));
        assert_eq!(service.env_files[0].place, Place::Inside("lib/app.env".to_owned()));
        assert_eq!(service.mounts[0].source, Place::Inside("lib/conf".to_owned()));
        assert_eq!(service.restart.as_deref(), Some("always"));
    }
    assert_eq!(compose.files, ["compose.yml", "lib/base.yml"]);
}

#[test]
fn include_brings_services_with_their_own_directory() {
    let compose = project(
        &[
            (
                "deploy/compose.yml",
                "include:\n  - ../team/compose.yml\n  - path: [../x/a.yml, ../x/b.yml]\nservices:\n  web: {build: ../web, depends_on: [worker]}\n",
            ),
            (
                "team/compose.yml",
                "services:\n  worker:\n    build: .\n    image: 'w:${TAG}'\n    configs: [c]\nconfigs: {c: {file: ./c.conf}}\n",
            ),
            ("team/.env", "TAG=9\n"),
            ("x/a.yml", "services:\n  x: {image: a}\n"),
            ("x/b.yml", "services:\n  x: {image: b}\n"),
        ],
        &["deploy/compose.yml"],
    );
    let worker = compose.service("worker").expect("worker");
    assert_eq!(worker.build.as_ref().expect("build").context, Context::Directory("team".to_owned()));
    assert_eq!(worker.image.as_deref(), Some("w:9"));
    assert_eq!(worker.mounts[0].source, Place::Inside("team/c.conf".to_owned()));
    assert_eq!(
        compose.service("web").and_then(|web| web.build.clone()).expect("build").context,
        Context::Directory("web".to_owned())
    );
    assert_eq!(compose.service("x").and_then(|x| x.image.clone()).as_deref(), Some("b"));
}

#[test]
fn variables_without_a_value_are_no_error() {
    let compose = project(
        &[
            (
                "compose.yml",
                "services:\n  web:\n    image: 'web:${TAG}'\n    build: {context: '${DIR:-app}', args: {V: '${V}', W: '${TAG}'}}\n    env_file: ['${ENV:?set it}']\n",
            ),
            (".env", "TAG=1\n"),
        ],
        &["compose.yml"],
    );
    let web = &compose.services[0];
    assert_eq!(web.image.as_deref(), Some("web:1"));
    let build = web.build.as_ref().expect("build");
    assert_eq!(build.context, Context::Directory("app".to_owned()));
    assert_eq!(build.args["V"], None);
    assert_eq!(build.args["W"].as_deref(), Some("1"));
}

#[test]
fn texts_with_variables_are_kept_as_they_were_written() {
    let compose = project(
        &[
            (
                "compose.yml",
                "include: [{path: lib/db.yml, env_file: lib/db.env}]\nservices:\n  web:\n    extends: base\n    image: 'web:${TAG}'\n    environment: ['A=${A:?a}']\n  base:\n    image: 'b:${OVER}'\n    command: ['${B:-b}']\n",
            ),
            ("lib/db.yml", "services:\n  db: {image: 'db:${DB}'}\n"),
            (".env", "TAG=1\n"),
        ],
        &["compose.yml"],
    );
    let texts = |templates: &[Template]| {
        let mut texts: Vec<_> = templates.iter().map(|template| template.text.to_string()).collect();
        texts.sort();
        texts
    };
    let of = |name: &str| texts(&compose.service(name).expect(name).templates);
    assert_eq!(of("web"), ["${B:-b}", "A=${A:?a}", "web:${TAG}"]);
    assert_eq!(of("db"), ["db:${DB}"]);
    assert_eq!(texts(&compose.templates).len(), 5, "{:?}", compose.templates);
    assert_eq!(compose.include_env_files, ["lib/db.env"]);
    let db = &compose.service("db").expect("db").templates[0];
    assert_eq!((db.at.file.as_ref(), db.at.line), ("lib/db.yml", 2));
}

#[test]
fn the_form_of_a_setting_does_not_change_the_configuration() {
    let a = one("services:\n  web: {image: a, environment: [A=1], depends_on: [db], ports: [80]}\n  db: {image: d}\n");
    let b = one("services:\n  web: {image: a, environment: {A: 1}, ports: ['80'], profiles: [x]}\n");
    assert_eq!(a.services[0].configuration, b.services[0].configuration);
    let c = one("services:\n  web: {image: a, environment: {A: 2}, ports: [80]}\n");
    assert_ne!(a.services[0].configuration, c.services[0].configuration);
}

#[test]
fn a_changed_network_changes_who_uses_it() {
    let text = |subnet: &str| {
        format!("services:\n  a: {{image: a, networks: [n]}}\n  b: {{image: b}}\nnetworks: {{n: {{x: {subnet}}}}}\n")
    };
    let (old, new) = (one(&text("1")), one(&text("2")));
    assert_ne!(old.services[0].configuration, new.services[0].configuration);
    assert_eq!(old.services[1].configuration, new.services[1].configuration);
}

#[test]
fn errors_point_at_their_place() {
    for (text, code, start) in [
        ("services:\n  web: [\n", "compose.syntax", "compose.yml:"),
        ("services:\n  web: x\n", "compose.invalid", "compose.yml:2:8: wanted a mapping"),
        ("services:\n  web: {image: a, volumes: [5]}\n", "compose.invalid", "compose.yml:2:29: wanted a volume"),
        ("services:\n  web: {image: '${'}\n", "compose.interpolation", "compose.yml:2:16: "),
        ("services:\n  a: {extends: b}\n", "compose.unknown-service", "compose.yml:2:16: "),
        ("services:\n  a: {extends: b}\n  b: {extends: a}\n", "compose.cycle", "compose.yml:"),
        (
            "services:\n  api: {depends_on: [reids]}\n  redis: {image: r}\n",
            "compose.unknown-service",
            "compose.yml:2:8: ",
        ),
        ("- a\n", "compose.invalid", "compose.yml:1:1: "),
    ] {
        let failure = failure(text);
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.starts_with(start), "{}", failure.message);
    }
    assert_eq!(
        failure("services:\n  api: {depends_on: [reids]}\n  redis: {image: r}\n").hint.as_deref(),
        Some("did you mean \"redis\"?")
    );
}

#[test]
fn env_files_are_read_as_their_format_says_and_refer_to_the_services_own_environment() {
    let compose = project(
        &[
            (
                "compose.yml",
                "services:\n  a: {image: x, env_file: [first.env, {path: raw.env, format: raw}, last.env], environment: {OWN: own}}\n",
            ),
            (".env", "ENV=env\n"),
            ("first.env", "ENV=other\nA=${OWN:?}-${ENV}\nFIRST=1\n"),
            ("raw.env", "B=\"${OWN}\" # all of it\n"),
            ("last.env", "OWN=file\nC=$FIRST-$OWN\n"),
        ],
        &["compose.yml"],
    );
    assert_eq!(compose.warnings, []);
    let found = &compose.services[0].file_environment;
    let wanted = [("A", "own-env"), ("B", "\"${OWN}\" # all of it"), ("C", "1-own")];
    wanted.iter().for_each(|(name, value)| assert_eq!(found[*name], *value, "{name}"));
    let labels = project(
        &[("compose.yml", "services: {a: {image: x, label_file: l}}\n"), (".env", "X=1\n"), ("l", "A=1\nB=${X:?}\n")],
        &["compose.yml"],
    );
    assert_eq!(labels.warnings[0].at.to_string(), "l:2:1", "label files do not see .env");
}

#[test]
fn a_missing_file_says_so() {
    let failure = load(&Memory::default(), &["nope.yml".to_owned()], &[]).expect_err("missing");
    assert_eq!(failure.code, "compose.unreadable");
    assert!(failure.message.contains("nope.yml"));
}

#[test]
fn the_value_of_a_variable_is_the_content_of_the_secret_that_takes_it() {
    let text = "services:\n  web: {image: w, secrets: [key], configs: [mode]}\n  db: {image: d}\n\
        secrets: {key: {environment: KEY}}\nconfigs: {mode: {environment: MODE}}\n";
    let with = |env: &str| project(&[("compose.yml", text), (".env", env)], &["compose.yml"]);
    let of = |compose: &Compose, name: &str| compose.service(name).expect(name).configuration.clone();
    let before = with("KEY=one\nMODE=a\n");
    for (env, differs) in [("KEY=two\nMODE=a\n", true), ("KEY=one\nMODE=b\n", true), ("KEY=one\nMODE=a\nX=1\n", false)]
    {
        let after = with(env);
        assert_eq!(of(&before, "web") != of(&after, "web"), differs, "{env}");
        assert_eq!(of(&before, "db"), of(&after, "db"), "{env}");
    }
}

/// What the same text means depends on the version; Compose 2.26.1 and 2.40.3 were asked.
#[test]
fn a_mode_as_text_is_another_one_to_one_of_two_versions_and_said() {
    let of = |mode: &str| {
        one(&format!(
            "services:\n  a:\n    image: x\n    secrets: [{{source: s, mode: {mode}}}]\nsecrets: {{s: {{file: f}}}}\n"
        ))
    };
    let keys = |mode: &str| of(mode).services[0].configuration.clone();
    for (one, other, is_same) in [
        ("0440", "288", true),
        ("0440", "0o440", true),
        ("'440'", "'0440'", true),
        ("0440", "'0440'", false),
        ("440", "'440'", false),
        ("0440", "0444", false),
    ] {
        assert_eq!(keys(one) == keys(other), is_same, "{one} and {other}");
    }
    let said = |mode: &str| of(mode).by_version.iter().map(|one| one.message.clone()).collect::<Vec<_>>();
    assert_eq!(
        said("'0440'"),
        [
            "services.a.secrets[0].mode is text: Docker Compose 2.40 reads it as 0440, and 2.26 as the decimal number, 0670; \
          without the quotes, both read 0440 as it is"
        ]
    );
    for mode in ["0440", "288", "'4'", "'${MODE}'", "'288'"] {
        assert_eq!(said(mode), [""; 0], "{mode}");
    }
}
