//! Which service an image comes from: said by name, guessed where only the server knows all of it, and run by others.

use super::*;

#[test]
fn images_of_siblings_are_seen() {
    let files = [
        (
            "compose.yml",
            "services:
  base: {build: ./base, image: 'docker.io/acme/base'}
  unnamed: {build: ./base}
  web: {build: {context: web, additional_contexts: {extra: 'service:unnamed'}}}
  tool: {build: tool}
",
        ),
        ("base/Dockerfile", "FROM scratch\n"),
        ("web/Dockerfile", "ARG BASE=acme/base\nFROM ${BASE}:latest\nCOPY --from=extra /x /x\n"),
        ("tool/Dockerfile", "FROM scratch\nCOPY --from=shop-unnamed /x /\n"),
    ];
    let tree = Memory::of(&files);
    let compose = compose::load(&tree, &["compose.yml".to_owned()], &[]).expect("valid");
    let inputs = Inputs::of(&tree, &compose, &["shop".to_owned()], "", &|_| ServiceSection::default());
    let built_on: Vec<Vec<&str>> =
        inputs.services.iter().map(|service| service.built_on.iter().map(String::as_str).collect()).collect();
    assert_eq!(built_on, [vec![], vec![], vec!["base", "unnamed"], vec!["unnamed"]]);
}

/// What each service is built on, and what is warned of, of three images: `base`, `web` and `top` on `web`.
fn guessed(web: &str, args: &str) -> (Vec<String>, Vec<String>) {
    let compose = format!(
        "services:\n  base: {{build: base, image: acme/base}}\n  web: {{build: {{context: web, args: [{args}]}}, image: web}}\n  \
         copy: {{build: {{context: web, args: [{args}]}}, image: web}}\n  top: {{build: top, image: top}}\n"
    );
    let files = [
        ("compose.yml", compose.as_str()),
        ("base/Dockerfile", "FROM scratch\n"),
        ("web/Dockerfile", web),
        ("top/Dockerfile", "FROM web\n"),
    ];
    let tree = Memory::of(&files);
    let compose = compose::load(&tree, &["compose.yml".to_owned()], &[]).expect("valid");
    let inputs = Inputs::of(&tree, &compose, &["shop".to_owned()], "", &|_| ServiceSection::default());
    let web = inputs.service("web").expect("a service");
    (web.built_on.iter().cloned().collect(), web.warnings.clone())
}

#[test]
fn an_image_whose_name_only_the_server_knows_is_guessed_and_said() {
    let says = |names: &str| vec![format!("{names} which image it is built on, and only the server knows the value")];
    for (web, args, built_on, warnings) in [
        // Not itself, by either service, and not what is built on it.
        ("ARG BASE\nFROM $BASE\n", "BASE", vec!["base"], says("BASE decides")),
        ("ARG REG\nARG TAG\nFROM $REG/base:$TAG\n", "REG, TAG", vec!["base"], says("REG, TAG decide")),
        ("ARG REG\nFROM $REG/python:3\n", "REG", vec![], vec![]),
        ("ARG TAG\nFROM acme/base:$TAG\n", "TAG", vec!["base"], says("TAG decides")),
        // A default is what counts without a server, as in a compose file.
        ("ARG BASE=python:3\nFROM $BASE\n", "BASE", vec![], says("BASE decides")),
        ("ARG BASE\nFROM ${BASE:-acme/base}\n", "BASE", vec!["base"], says("BASE decides")),
        ("ARG BASE=python:3\nFROM $BASE\n", "OTHER", vec![], vec![]),
        ("ARG TARGETARCH\nFROM acme/base:$TARGETARCH\n", "", vec!["base"], vec![]),
    ] {
        let built_on: Vec<String> = built_on.into_iter().map(str::to_owned).collect();
        assert_eq!(guessed(web, args), (built_on, warnings), "{web}");
    }
}

#[test]
fn who_runs_an_image_is_found_by_what_is_written() {
    let compose = "services:
  web: {build: ., image: '${IMAGE}'}
  worker: {image: '${IMAGE}'}
  other: {image: '${OTHER}'}
  shop: {build: ., image: '${REG}/shop:${TAG}'}
  cron: {image: '${REG}/shop:${TAG}'}
  mail: {image: '${REG}/mail:${TAG}'}
  db: {image: 'postgres:16'}
";
    let tree = Memory::of(&[("compose.yml", compose), ("Dockerfile", "FROM scratch\n")]);
    let compose = compose::load(&tree, &["compose.yml".to_owned()], &[]).expect("valid");
    let inputs = Inputs::of(&tree, &compose, &["x".to_owned()], "", &|_| ServiceSection::default());
    let runs = |name: &str| inputs.service(name).expect(name).runs.iter().cloned().collect::<Vec<String>>().join(" ");
    assert_eq!(["worker", "other", "cron", "mail", "db"].map(runs), ["web", "", "shop", "", ""].map(str::to_owned));
}
