use super::*;
use crate::{Host, Target};
use cm_core::{Exit, Format, Level, Log, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What Docker 26.1.5 drew on such a terminal: a pull of which the host had two layers, and a push of two layers.
const PULL: &str = include_str!("pull.txt");
const PUSH: &str = include_str!("push.txt");

/// What it says without a terminal.
const PLAIN: &str = "2: Pulling from shop/web\nfff5d9726727: Already exists\n5d4ce55141c0: Pulling fs layer\n\
    1c1db0990264: Pulling fs layer\n5d4ce55141c0: Download complete\n5d4ce55141c0: Pull complete\n";

const SCRIPT: &str = concat!(
    "# Moves an image.\n",
    crate::small_sh!(),
    crate::transfer_sh!(),
    r#"PATH=$1:$PATH
shift
transfer "$@""#
);

const ADD_UP: &str = concat!(crate::transfer_sh!(), r#"file=$(mktemp); cat >"$file"; add_up "$file"; rm "$file""#);

async fn local() -> Host {
    Host::connect(&Target::at("local", "local"), &Log::new("test", Format::Text, Level::Fail)).await.expect("local")
}

/// What is made of what Docker has drawn so far.
async fn added_up(drawn: &str) -> Transfer {
    let said = local().await.script(ADD_UP, [""; 0]).stdin(drawn).text(Exit::Build, "build.pull").await.expect("added");
    Transfer::read(&said).expect("a line of its own")
}

#[tokio::test]
async fn what_docker_draws_is_added_up() {
    let until = |words: &str| &PULL[..PULL.find(words).expect(words) + words.len()];
    let of = |done, total, ended, layers, phase| Transfer { done, total, ended, layers, phase };
    for (drawn, wanted) in [
        ("", of(0, 0, 0, 0, Phase::Loading)),
        (until("36f7bdeedcd1: Waiting "), of(0, 0, 2, 7, Phase::Loading)),
        (until("7f4913a30486: Downloading  69.21kB/6.002MB"), of(69_210, 6_002_000, 2, 7, Phase::Loading)),
        (
            until("1c1db0990264: Download complete "),
            of(2_001_000 + 69_210 + 4_001_000 + 102_000, 20_007_000, 2, 7, Phase::Loading),
        ),
        (until("e53e559a247d: Extracting  65.54kB/4.001MB"), of(30_007_000, 30_007_000, 3, 7, Phase::Extracting)),
        (PULL, of(30_007_000, 30_007_000, 7, 7, Phase::Loading)),
        (PUSH, of(42_000_000, 42_000_000, 2, 2, Phase::Loading)),
        (
            &PUSH[..PUSH.find("Pushing     30MB").expect("a push")],
            of(10_880_000 + 25_560_000, 42_000_000, 0, 2, Phase::Loading),
        ),
        (PLAIN, of(0, 0, 2, 3, Phase::Loading)),
        (
            "5d4ce55141c0: Downloading [===>    ]  1.5GB/3GB 3s\r\n1c1db0990264: Retrying in 5 seconds",
            of(1_500_000_000, 3_000_000_000, 0, 2, Phase::Retrying),
        ),
        (
            "0123456789ab: Pulling from shop/web\n0123456789ab: digest: sha256:00 size: 740\n",
            of(0, 0, 0, 0, Phase::Loading),
        ),
        ("5d4ce55141c0: Pushing  3MB/2MB", of(2_000_000, 2_000_000, 0, 1, Phase::Loading)),
    ] {
        assert_eq!(added_up(drawn).await, wanted, "{drawn:?}");
    }
}

#[test]
fn only_whole_lines_are_read() {
    for odd in ["", "cm transfer", "cm transfer 1 2 3 4", "cm transfer 1 2 x 4 loading", "5d4ce55141c0: Waiting"] {
        assert_eq!(Transfer::read(odd), None, "{odd:?}");
    }
}

fn program(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

/// The lines and the end of a pull where `docker` and `script` are these programs, and which may take so many seconds.
async fn pulled(docker: &str, script: Option<&str>, seconds: u64, platform: &str) -> (Vec<String>, Result<()>) {
    let directory = tempfile::tempdir().expect("directory");
    program(directory.path(), "docker", docker);
    script.iter().for_each(|text| program(directory.path(), "script", text));
    let place = directory.path().display().to_string();
    let arguments = [&*place, &seconds.to_string(), "pull", "web:1", platform];
    let mut lines = Vec::new();
    let (host, command) = (local().await, |line: &str| lines.push(line.to_owned()));
    let ended = host.script(SCRIPT, arguments).stream(Exit::Build, "build.pull", command).await;
    (lines, ended.map_err(Transfer::without_lines))
}

const NONE: Option<&str> = Some("exit 1");

#[tokio::test]
async fn docker_is_given_a_terminal_where_there_is_one_and_its_arguments_as_they_are() {
    let docker =
        r#"[ -t 1 ] && [ ! -t 2 ] && echo "5d4ce55141c0: Downloading 1MB/2MB"; printf '%s\n' "$@" >&2; sleep 1.2"#;
    for (platform, words) in [("", "pull|--|web:1"), ("linux/arm64", "pull|--platform|linux/arm64|--|web:1")] {
        let (mut lines, ended) = pulled(docker, None, 60, platform).await;
        ended.expect("pulled");
        let amounts: Vec<_> = lines.iter().filter_map(|line| Transfer::read(line)).collect();
        lines.retain(|line| Transfer::read(line).is_none());
        assert_eq!(lines.join("|"), words);
        assert!(amounts.len() >= 2 && amounts.iter().all(|one| one.done == 1_000_000), "{amounts:?}");
    }
    let (lines, ended) = pulled("[ -t 1 ] || echo '5d4ce55141c0: Pull complete'", NONE, 60, "").await;
    ended.expect("pulled");
    assert_eq!(lines.last().and_then(|line| Transfer::read(line)).map(|one| (one.ended, one.layers)), Some((1, 1)));
}

#[tokio::test]
async fn a_failure_has_dockers_own_words_and_nothing_else() {
    let docker = "echo '5d4ce55141c0: Waiting'; sleep 1.2; echo 'Error response from daemon: denied' >&2; exit 1";
    for script in [None, NONE] {
        let (lines, ended) = pulled(docker, script, 60, "").await;
        assert!(lines.iter().any(|line| Transfer::read(line).is_some()), "{lines:?}");
        let failure = ended.expect_err("denied");
        assert_eq!(
            (failure.code.as_str(), failure.causes.join("|")),
            ("build.pull", "Error response from daemon: denied".to_owned())
        );
        let (_, ended) = pulled("sleep 30", script, 1, "").await;
        assert_eq!(ended.expect_err("too slow").causes, ["docker pull web:1 has not ended within 1 s"]);
    }
}
