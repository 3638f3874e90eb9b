//! Inputs of whole projects, in memory.

use super::*;
use crate::compose;
use crate::tree::Memory;

mod images;

/// The services that a change of `path` touches, as `SERVICE ACTION RULE`.
fn touched(files: &[(&str, &str)], path: &str) -> Vec<String> {
    touched_with(files, path, &|_| ServiceSection::default(), false)
}

fn touched_with(
    files: &[(&str, &str)],
    path: &str,
    rules: &dyn Fn(&str) -> ServiceSection,
    module: bool,
) -> Vec<String> {
    let tree = Memory::of(files);
    let compose = compose::load(&tree, &["compose.yml".to_owned()], &[]).unwrap_or_else(|failure| panic!("{failure}"));
    let inputs = Inputs::of(&tree, &compose, &["shop".to_owned()], "", rules);
    let effects = inputs.classify(path.as_bytes(), module);
    let named = inputs.services.iter().zip(effects);
    named
        .filter_map(|(service, effect)| {
            effect.map(|effect| format!("{} {} {}", service.name, effect.action.as_str(), effect.rule))
        })
        .collect()
}

/// The rule by which a change of `path` changes the image of the one service `web`
/// that is built from `dockerfile` in the repository's root.
fn image_rule(dockerfile: &str, others: &[(&str, &str)], path: &str) -> Option<String> {
    let mut files = vec![("compose.yml", "services:\n  web: {build: {context: .}}\n"), ("Dockerfile", dockerfile)];
    files.extend(others);
    touched(&files, path).first().and_then(|text| text.strip_prefix("web build ")).map(str::to_owned)
}

#[test]
fn only_what_is_copied_is_an_input() {
    let dockerfile =
        "FROM node\nWORKDIR /app\nCOPY package*.json ./\nCOPY src ./src\nADD https://example.org/x static /s/\n";
    for (path, wanted) in [
        ("Dockerfile", Some("dockerfile")),
        (".dockerignore", Some("dockerignore")),
        ("Dockerfile.dockerignore", Some("dockerignore")),
        ("package-lock.json", Some("dockerfile-copy")),
        ("src/deep/a.js", Some("dockerfile-copy")),
        ("static/x", Some("dockerfile-add")),
        ("README.md", None),
        ("test/src/a.js", None),
    ] {
        assert_eq!(image_rule(dockerfile, &[], path).as_deref(), wanted, "{path}");
    }
}

#[test]
fn an_ignore_file_that_was_given_up_on_is_known() {
    let files = [
        ("compose.yml", "services:\n  web: {build: .}\n"),
        ("Dockerfile", "FROM x\nCOPY . .\n"),
        (".dockerignore", "*.md\n"),
    ];
    let tree = Memory::of(&files);
    let compose = compose::load(&tree, &["compose.yml".to_owned()], &[]).expect("valid");
    let inputs = Inputs::of(&tree, &compose, &["shop".to_owned()], "", &|_| ServiceSection::default());
    let web = &inputs.services[0];
    assert!(web.effect(b"a.md", false).is_none() && !web.is_exhausted());
    web.image.iter().for_each(|rule| rule.ignore.exhaust());
    assert!(web.effect(b"a.md", false).is_some() && web.is_exhausted());
}

#[test]
fn the_ignore_file_of_the_dockerfile_comes_first() {
    let ignores = [(".dockerignore", "*.md\n"), ("Dockerfile.dockerignore", "*.txt\n")];
    let dockerfile = "FROM x\nCOPY . .\n";
    assert_eq!(image_rule(dockerfile, &ignores, "a.md").as_deref(), Some("dockerfile-copy"));
    assert_eq!(image_rule(dockerfile, &ignores, "a.txt"), None);
    assert_eq!(image_rule(dockerfile, &ignores[..1], "a.md"), None);
    // It decides nothing any more, but it is copied.
    assert_eq!(image_rule(dockerfile, &ignores, ".dockerignore").as_deref(), Some("dockerfile-copy"));
    assert_eq!(image_rule("FROM x\nRUN a\n", &ignores, ".dockerignore"), None);
}

#[test]
fn only_the_stages_that_the_target_reaches_count() {
    let dockerfile = "
FROM node AS deps
COPY package.json .
FROM deps AS build
COPY src src
FROM deps AS test
COPY test test
FROM nginx AS run
COPY --from=build /out /out
RUN --mount=type=bind,from=0,target=/d true
";
    let files = |target: &str| {
        let compose = format!("services:\n  web: {{build: {{context: ., target: {target}}}}}\n");
        [("compose.yml".to_owned(), compose), ("Dockerfile".to_owned(), dockerfile.to_owned())]
    };
    for (target, path, wanted) in [
        ("run", "src/a", true),
        ("run", "package.json", true),
        ("run", "test/a", false),
        ("test", "test/a", true),
        ("test", "src/a", false),
        ("BUILD", "src/a", true),
        ("'2'", "test/a", true),
    ] {
        let files = files(target);
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        assert_eq!(!touched(&files, path).is_empty(), wanted, "{target} {path}");
    }
}

#[test]
fn mounts_excludes_and_parents_are_followed() {
    let dockerfile = "
FROM x
RUN --mount=type=bind,source=tools,target=/t --mount=type=cache,target=/c --mount=type=secret,id=s make
COPY --exclude=*.md --exclude=deep/** docs /docs/
COPY --parents apps/*/package.json libs/./core/**/*.ts /w/
";
    for (path, wanted) in [
        ("tools/x", Some("dockerfile-mount")),
        ("docs/a.txt", Some("dockerfile-copy")),
        ("docs/a.md", None),
        ("docs/deep/x", None),
        ("docs/other/a.md", Some("dockerfile-copy")),
        ("apps/web/package.json", Some("dockerfile-copy")),
        ("apps/web/other.json", None),
        ("libs/core/a/b.ts", Some("dockerfile-copy")),
        ("libs/core/a/b.js", None),
        ("anything", None),
    ] {
        assert_eq!(image_rule(dockerfile, &[], path).as_deref(), wanted, "{path}");
    }
    assert_eq!(image_rule("FROM x\nRUN --mount=target=/src make\n", &[], "any").as_deref(), Some("dockerfile-mount"));
}

#[test]
fn variables_in_paths_are_replaced() {
    let compose = "services:\n  web: {build: {context: ., args: {APP: shop, WHO: '${WHO}'}}}\n";
    let dockerfile = "
ARG ROOT=apps
FROM alpine
ARG ROOT
ARG APP=blog
ARG WHO
ARG TARGETARCH
ENV DIR=$ROOT/${APP}
COPY $DIR/src /a
COPY team/$WHO/x /b
COPY bin/$TARGETARCH/tool /c
COPY ${FROM_THE_IMAGE}data /d
";
    for (path, wanted) in [
        ("apps/shop/src/x", true),
        ("apps/blog/src/x", false),
        ("team/anyone/x", true),
        ("bin/arm64/tool", true),
        ("lib/x", true),
    ] {
        let dockerfile = if path == "lib/x" {
            dockerfile.to_owned()
        } else {
            dockerfile.replace("COPY ${FROM_THE_IMAGE}data /d\n", "")
        };
        let files = [("compose.yml", compose), ("Dockerfile", &dockerfile)];
        assert_eq!(!touched(&files, path).is_empty(), wanted, "{path}");
    }
}

#[test]
fn unknown_stage_names_reach_every_stage() {
    let dockerfile =
        "FROM a AS build-amd64\nCOPY amd .\nFROM a AS build-arm64\nCOPY arm .\nFROM build-${TARGETARCH}\nCOPY own .\n";
    for path in ["amd/x", "arm/x", "own/x"] {
        assert!(image_rule(dockerfile, &[], path).is_some(), "{path}");
    }
}

#[test]
fn triggers_run_in_the_stage_that_is_based_on_them() {
    let dockerfile = "FROM node AS base\nONBUILD COPY app /app\nFROM base\nRUN x\n";
    assert!(image_rule(dockerfile, &[], "app/x").is_some());
    assert!(image_rule("FROM node AS base\nONBUILD COPY app /app\nFROM node\n", &[], "app/x").is_none());
    assert!(image_rule("FROM python:3-onbuild\n", &[], "app/x").is_some());
}

#[test]
fn triggers_of_a_siblings_image_take_from_the_context_of_who_is_based_on_it() {
    let files = [
        ("compose.yml", "services:\n  base: {build: base, image: b}\n  web: {build: web}\n"),
        ("base/Dockerfile", "FROM x\nONBUILD COPY src /app\n"),
        ("web/Dockerfile", "FROM b\n"),
        ("web/.dockerignore", "**/*.md\n"),
    ];
    assert_eq!(touched(&files, "web/src/x"), ["web build dockerfile-copy"]);
    assert!(touched(&files, "web/other").is_empty());
    assert!(touched(&files, "web/src/x.md").is_empty());
    assert!(touched(&files, "base/x").is_empty());
}

#[test]
fn contexts_and_dockerfiles_can_be_anywhere() {
    let files = [
        (
            "compose.yml",
            "services:
  web: {build: {context: apps/web, dockerfile: ../../docker/Web, additional_contexts: {shared: ./shared, base: 'service:base'}}}
  inline: {build: {context: apps/inline, dockerfile_inline: \"FROM scratch\\nCOPY x /\"}}
  base: {build: ./base}
  far: {build: 'https://example.org/x.git'}
",
        ),
        ("docker/Web", "FROM base\nCOPY a .\nCOPY --from=shared lib .\n"),
        ("docker/Web.dockerignore", "a/skip\n"),
        ("shared/.dockerignore", "**/*.md\n"),
        ("base/Dockerfile", "FROM scratch\nCOPY f .\n"),
    ];
    for (path, wanted) in [
        ("apps/web/a/x", vec!["web build dockerfile-copy"]),
        ("apps/web/a/skip", vec![]),
        ("apps/web/b", vec![]),
        ("docker/Web", vec!["web build dockerfile"]),
        ("docker/Web.dockerignore", vec!["web build dockerignore"]),
        ("shared/lib/x", vec!["web build dockerfile-copy"]),
        ("shared/lib/x.md", vec![]),
        ("apps/inline/x", vec!["inline build dockerfile-copy"]),
        ("base/f", vec!["base build dockerfile-copy"]),
    ] {
        assert_eq!(touched(&files, path), wanted, "{path}");
    }
}

#[test]
fn what_variables_come_to_is_refused_as_words_are() {
    for (body, wanted) in [
        ("ENV P=80 S=SIGTERM V=/data\nEXPOSE $P $P/udp\nSTOPSIGNAL $S\nVOLUME $V\n", None),
        ("ENV P=80\nEXPOSE ${P}-90/tcp $UNKNOWN\n", None),
        ("ENV P=eighty\nEXPOSE $P\n", Some("Dockerfile:3: EXPOSE comes to \"eighty\", which is not a port")),
        ("ENV S=NOPE\nSTOPSIGNAL $S\n", Some("Dockerfile:3: STOPSIGNAL comes to \"NOPE\", which is not a signal")),
        ("ENV S=\nSTOPSIGNAL $S\n", Some("Dockerfile:3: STOPSIGNAL comes to nothing: a variable in it has no value")),
        ("ENV V=\nVOLUME /x $V\n", Some("Dockerfile:3: VOLUME comes to nothing: a variable in it has no value")),
        ("ENV V=\nVOLUME [\"$V\"]\n", Some("Dockerfile:3: VOLUME comes to nothing: a variable in it has no value")),
        // What a base image may have set is not known.
        ("STOPSIGNAL $S\nVOLUME $V\nEXPOSE $P\n", None),
        ("ENV V=\nONBUILD VOLUME $V\n", None),
    ] {
        let dockerfile = format!("FROM x\n{body}");
        let files = [("compose.yml", "services:\n  web: {build: .}\n"), ("Dockerfile", dockerfile.as_str())];
        let tree = Memory::of(&files);
        let compose = compose::load(&tree, &["compose.yml".to_owned()], &[]).expect("valid");
        let inputs = Inputs::of(&tree, &compose, &["shop".to_owned()], "", &|_| ServiceSection::default());
        let message = inputs.services[0].broken.as_ref().map(|failure| failure.message.clone());
        assert_eq!(message.as_deref(), wanted, "{body}");
    }
}

#[test]
fn env_files_and_mounts_do_not_rebuild() {
    let files = [
        (
            "compose.yml",
            "services:
  web:
    image: x
    env_file: web.env
    volumes: ['./Caddyfile:/etc/Caddyfile', './conf:/conf', '/etc/localtime:/l']
    configs: [c]
configs: {c: {file: c.conf}}
",
        ),
        ("Caddyfile", "x"),
        ("conf/a", "x"),
        ("c.conf", "x"),
    ];
    assert_eq!(touched(&files, "web.env"), ["web recreate env-file"]);
    assert_eq!(touched(&files, "Caddyfile"), ["web restart mounted-file"]);
    assert_eq!(touched(&files, "c.conf"), ["web restart mounted-file"]);
    assert_eq!(touched(&files, "conf/deep/x"), ["web restart mounted-folder"]);
    assert!(touched(&files, "other").is_empty());
}

#[test]
fn links_lead_to_what_is_really_copied() {
    let files = [
        ("compose.yml", "services:\n  web: {build: app}\n"),
        ("app/Dockerfile", "FROM x\nCOPY current/lib /lib\nCOPY abs /abs\n"),
        ("app/current", "-> versions/2"),
        ("app/versions/2/lib/f", "x"),
        ("app/abs", "-> /versions/1"),
        ("app/versions/1", "x"),
    ];
    for path in ["app/current", "app/versions/2/lib/f", "app/abs", "app/versions/1"] {
        assert_eq!(touched(&files, path), ["web build dockerfile-copy"], "{path}");
    }
    assert!(touched(&files, "app/versions/2/other").is_empty());
}

#[test]
fn a_submodule_is_all_that_is_below_it() {
    let files = [("compose.yml", "services:\n  web: {build: .}\n"), ("Dockerfile", "FROM x\nCOPY vendor/lib/src /\n")];
    let none = |_: &str| ServiceSection::default();
    assert_eq!(touched_with(&files, "vendor/lib", &none, true), ["web build dockerfile-copy"]);
    assert!(touched_with(&files, "vendor/other", &none, true).is_empty());
    assert!(touched_with(&files, "vendor/lib", &none, false).is_empty());
}

#[test]
fn configured_paths_add_and_narrow() {
    let files = [("compose.yml", "services:\n  web: {build: .}\n"), ("Dockerfile", "FROM x\nCOPY src /\n")];
    let rules = |_: &str| ServiceSection {
        paths: vec!["schema/**/*.sql".to_owned(), "!src/docs".to_owned()],
        ..ServiceSection::default()
    };
    assert_eq!(touched_with(&files, "schema/a/b.sql", &rules, false), ["web build configured-path"]);
    assert_eq!(touched_with(&files, "src/a", &rules, false), ["web build dockerfile-copy"]);
    assert!(touched_with(&files, "src/docs/a", &rules, false).is_empty());
}

#[test]
fn a_dockerfile_that_is_not_in_the_repository_means_the_whole_context() {
    let files = [("compose.yml", "services:\n  web: {build: {context: app, dockerfile: Generated}}\n"), ("app/x", "")];
    assert_eq!(touched(&files, "app/deep/x"), ["web build build-context"]);
    assert!(touched(&files, "lib/x").is_empty());
}

#[test]
fn a_mistake_in_a_dockerfile_is_reported() {
    let files =
        [("compose.yml", "services:\n  web: {build: {context: ., target: rnu}}\n"), ("Dockerfile", "FROM x AS run\n")];
    let tree = Memory::of(&files);
    let compose = compose::load(&tree, &["compose.yml".to_owned()], &[]).expect("valid");
    let inputs = Inputs::of(&tree, &compose, &["shop".to_owned()], "", &|_| ServiceSection::default());
    let failure = inputs.services[0].broken.as_ref().expect("no such stage");
    assert_eq!(failure.code, "dockerfile.unknown-stage");
    assert_eq!(failure.hint.as_deref(), Some("did you mean \"run\"?"));
}
