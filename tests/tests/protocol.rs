//! The rules of the document, for every program alike, exact bytes in, exact bytes out.

use cm_testkit::{Answer, Home, grease, sample_document};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, starts_with};
use serde_json::{Value, json};

/// Every program that changes something or judges something.
const FAIL_CLOSED: [&str; 5] = ["cm-detect", "cm-backup", "cm-build", "cm-health", "cm-verify"];
const ALL: [&str; 8] =
    ["cm-lock", "cm-detect", "cm-backup", "cm-build", "cm-health", "cm-verify", "cm-rollback", "cm-record"];

fn pipe(program: &str, input: &[u8]) -> (Answer, Home) {
    let home = Home::new();
    (home.run(program, &[""; 0], "", Some(input)), home)
}

#[test]
fn input_that_is_no_document_is_refused_by_every_program_and_nothing_happens() {
    let newer = sample_document().to_string().replace("cm.deployment/1", "cm.deployment/2");
    let twice = format!("{0}{0}", sample_document());
    let duplicate = r#"{"schema":"cm.deployment/1","schema":"cm.deployment/1"}"#;
    let large = format!("{}{}", sample_document(), " ".repeat(8 << 20));
    let inputs: [(&str, &str); 9] = [
        ("", "input.empty"),
        ("\n \n", "input.empty"),
        ("{", "input.not-json"),
        (&twice, "input.not-json"),
        (duplicate, "input.not-json"),
        ("[1]", "input.not-a-document"),
        ("{}", "input.schema"),
        (&newer, "input.schema"),
        (&large, "input.too-large"),
    ];
    for program in ALL {
        for (input, code) in &inputs {
            let home = Home::new();
            let answer = home.run(program, &["--log", "json"], "", Some(input.as_bytes()));
            let case = format!("{program} on {:?}", input.chars().take(40).collect::<String>());
            answer.assert().append_context("case", case.clone()).code(4).stdout("");
            let event: Value =
                serde_json::from_str(answer.stderr.lines().last().unwrap_or_default()).expect("a JSON event");
            assert_eq!(event["error"]["code"], *code, "{case}");
            assert_eq!(home.files(), [""; 0], "{case} touches nothing");
        }
    }
}

#[test]
fn a_failed_document_passes_through_untouched_but_for_a_skipped_stage() {
    for status in ["failed", "rolled_back", "a word of tomorrow"] {
        let mut document = sample_document();
        document["status"] = status.into();
        document["error"] = json!({"stage": "cm-x", "code": "x.y", "message": "m", "causes": [], "hint": null, "retryable": false, "exit": 30});
        grease(&mut document);
        for program in FAIL_CLOSED {
            let (answer, _home) = pipe(program, document.to_string().as_bytes());
            assert_eq!(answer.code, 3, "{program}: {answer:?}");
            let mut out = answer.document();
            let stages = out["stages"].as_array_mut().expect("stages");
            let stage = stages.pop().expect("a stage");
            assert_eq!((stage["tool"].as_str(), stage["status"].as_str()), (Some(program), Some("skipped")));
            assert_eq!(out.to_string(), document.to_string(), "{program}");
        }
    }
}

#[test]
fn without_a_document_in_an_empty_directory_the_configuration_is_missed() {
    for program in ["cm-detect", "cm-build", "cm-backup", "cm-health", "cm-verify", "cm-rollback"] {
        let home = Home::new();
        let answer = home.run(program, &[""; 0], "tmp", None);
        assert!([6, 20].contains(&answer.code), "{program}: {answer:?}");
        assert!(answer.stderr.contains("[FAIL]") && answer.stderr.contains("hint:"), "{program}: {}", answer.stderr);
    }
}

#[test]
fn every_program_has_help_with_its_exit_codes_and_a_version() {
    for program in ALL {
        let home = Home::new();
        let ask = |flag| home.run(program, &[flag], "", None).assert();
        ask("--help").success().stdout(contains("Usage:").and(contains("Exit status:")));
        ask("--version").success().stdout(starts_with(program));
        ask("--no-such-flag").code(2).stderr(contains("--no-such-flag"));
    }
}

#[test]
fn a_failing_program_writes_its_document_and_then_exits_with_its_code() {
    for program in ["cm-build", "cm-health", "cm-backup", "cm-verify"] {
        let mut document = sample_document();
        grease(&mut document);
        let home = Home::new();
        let answer = home.run(program, &[""; 0], "tmp", Some(document.to_string().as_bytes()));
        assert_eq!(answer.code, 6, "{program}: {answer:?}");
        let out = answer.document();
        assert_eq!((out["status"].as_str(), out["error"]["exit"].as_u64()), (Some("failed"), Some(6)), "{program}");
        assert_eq!(out["error"]["stage"], program);
        assert_eq!(out["x-grease"], document["x-grease"]);
        let journal =
            home.files().into_iter().find(|name| name.ends_with(&format!("001-{program}.json"))).expect("a journal");
        assert_eq!(
            std::fs::read_to_string(home.path().join(journal)).expect("read"),
            answer.stdout,
            "the journal is what went out"
        );
    }
}

#[test]
fn the_document_of_another_project_is_refused_by_every_program() {
    let configuration = "project = \"shop\"\n[compose]\nfiles = [\"compose.yml\"]\n[hosts.h]\naddress = \"ada@nowhere.invalid\"\n[backup]\nservice = \"db\"\nuri_env = \"URI\"\ndatabase = \"shop\"\ndirectory = \"/backups\"\n";
    let home = Home::new();
    std::fs::write(home.path().join("tmp/cm.toml"), configuration).expect("write");
    std::fs::write(home.path().join("tmp/compose.yml"), "services: {web: {image: web}, db: {image: mongo}}\n")
        .expect("write");
    for arguments in [
        &["-C", "tmp", "init", "-q"][..],
        &[
            "-C",
            "tmp",
            "-c",
            "user.name=ada",
            "-c",
            "user.email=ada@example.org",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
        ],
    ] {
        home.run("git", arguments, "", None).assert().success();
    }
    let mut document = sample_document();
    document["project"] = "other".into();
    let failed = json!({"stage": "cm-build", "code": "build.failed", "message": "m", "causes": [], "hint": null, "retryable": false, "exit": 30});
    for program in ALL {
        let mut document = document.clone();
        let mut arguments: &[&str] = &[];
        if program == "cm-rollback" {
            document["status"] = "failed".into();
            document["error"] = failed.clone();
            document["undo"] = json!([{"kind": "release", "host": "h", "from": "", "to": document["commit"], "services": {"web": {"action": "build"}}}]);
            arguments = &["--on-failure"];
        }
        let answer = home.run(program, arguments, "tmp", Some(document.to_string().as_bytes()));
        answer.assert().append_context("program", program).code(4).stderr(contains("is of project \"other\""));
        let out = answer.document();
        assert_eq!((&out["status"], &out["stages"][0]["status"]), (&json!("failed"), &json!("failed")), "{program}");
        if program != "cm-rollback" {
            assert_eq!((&out["error"]["code"], &out["error"]["exit"]), (&json!("input.name"), &json!(4)), "{program}");
        }
    }
}

#[test]
fn a_closed_pipe_ends_a_program_without_a_panic() {
    let home = Home::new();
    let script =
        "printf %s \"$1\" | cm-health 2>err | true; cat err; printf %s \"$1\" | cm-build 2>&- | cat >/dev/null";
    let answer = home.run("bash", &["-c", script, "bash", &sample_document().to_string()], "", None);
    assert!(!answer.stdout.contains("panicked") && !answer.stderr.contains("panicked"), "{answer:?}");
}

#[test]
fn messages_have_no_color_in_a_pipe_and_json_when_asked() {
    let home = Home::new();
    let text = home.run("cm-build", &[""; 0], "tmp", Some(b"{"));
    assert!(text.stderr.starts_with("[FAIL] ") && !text.stderr.contains('\u{1b}'), "{}", text.stderr);
    let json = home.run("cm-build", &["--log", "json"], "tmp", Some(b"{"));
    for line in json.stderr.lines() {
        let event: Value = serde_json::from_str(line).expect("an event");
        assert!(event["time"].is_string() && event["level"].is_string() && event["tool"] == "cm-build", "{event}");
    }
}

#[test]
fn a_dry_run_travels() {
    let mut document = sample_document();
    document["status"] = "failed".into();
    document["run"]["dry_run"] = true.into();
    let (answer, home) = pipe("cm-record", document.to_string().as_bytes());
    assert_eq!(answer.document()["run"]["dry_run"], true);
    assert_eq!(home.files(), [""; 0], "a dry run leaves no trace");
}
