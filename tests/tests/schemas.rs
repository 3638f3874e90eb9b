//! Everything that is described by a schema of `man/schemas` holds to it: the examples in the
//! repository, and what real programs write, well and failed. [`cm_testkit::Answer::document`]
//! looks at every document that any test reads.

use cm_testkit::{Home, document_holds, holds, repository, sample_document, schema};
use serde_json::{Value, json};
use std::path::Path;

fn toml(text: &str) -> Value {
    json!(text.parse::<toml::Table>().unwrap_or_else(|error| panic!("{error}:\n{text}")))
}

/// The blocks of a text between two marks, each without them.
fn blocks<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    text.split(begin).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

#[test]
fn every_example_of_a_configuration_holds() {
    let schema = schema("cm.toml");
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).expect("a file");
    for path in ["tests/platform/cm.toml", "tests/tests/health/cm.toml"] {
        holds(&schema, &toml(&read(path)), path);
    }
    // Examples in Markdown may be indented below a list's item.
    let readme = read("README.md");
    let examples = blocks(&readme, "```toml\n", "```");
    assert!(!examples.is_empty(), "the README has an example");
    for example in examples {
        let plain: Vec<_> = example.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)).collect();
        holds(&schema, &toml(&plain.join("\n")), "README.md");
    }
    // What is wrong is seen as wrong.
    for wrong in ["[hosts.a]\naddres = \"x\"\n", "[health]\ntimeout = \"soon\"\n", "branch = 3\n"] {
        assert!(!schema.is_valid(&toml(wrong)), "{wrong}");
    }
}

#[test]
fn kept_documents_hold() {
    let text = std::fs::read_to_string(repository().join("crates/cm-record/tests/data/rolled-back.json"));
    document_holds(&serde_json::from_str(&text.expect("a file")).expect("JSON"), "rolled-back.json");
    document_holds(&sample_document(), "the sample");
    let mut wrong = sample_document();
    wrong["services"][0]["action"] = json!("explode");
    assert!(!schema("cm.deployment-1").is_valid(&wrong));
}

/// A repository with a project of one host, this machine.
fn shop() -> Home {
    let home = Home::new();
    let write = |name: &str, text: &str| std::fs::write(home.path().join("shop").join(name), text).expect("a file");
    std::fs::create_dir(home.path().join("shop")).expect("a directory");
    write("compose.yaml", "services:\n  web:\n    build: .\n  db:\n    image: mongo:7\n");
    write("Dockerfile", "FROM scratch\nCOPY page.html /\n");
    write("page.html", "one\n");
    for arguments in [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-qm", "begin"]] {
        assert_eq!(home.run("git", arguments, "shop", None).code, 0);
    }
    home
}

#[test]
fn what_programs_write_holds() {
    let home = shop();
    let init = home.run("cm-detect", &["--init", "--host", "ada@server.example"], "shop", None);
    assert_eq!(init.code, 0, "{init:?}");
    let written = std::fs::read_to_string(home.path().join("shop/cm.toml")).expect("cm.toml");
    holds(&schema("cm.toml"), &toml(&written), "cm-detect --init");

    let config = "project = \"shop\"\n[hosts.h]\naddress = \"local\"\ncheckout = \"~/shop\"\n";
    std::fs::write(home.path().join("shop/cm.toml"), config).expect("cm.toml");
    let detected = home.run("cm-detect", &["--base", "HEAD"], "shop", None);
    assert_eq!(detected.code, 0, "{detected:?}");
    detected.document();

    // Each program on a plan that it only tells, and on one that has failed.
    let plan = home.run("cm-detect", &["--full", "--dry-run"], "shop", None);
    assert_eq!(plan.code, 0, "{plan:?}");
    let mut failed = plan.document();
    failed["status"] = "failed".into();
    failed["error"] = json!({"stage": "cm-build", "code": "build.image", "message": "m", "causes": [], "hint": null, "retryable": false, "exit": 30});
    for program in ["cm-backup", "cm-build", "cm-health", "cm-verify", "cm-rollback", "cm-record"] {
        for document in [&plan.document(), &failed] {
            let input = document.to_string();
            let answer = home.run(program, &[""; 0], "shop", Some(input.as_bytes()));
            answer.document();
        }
    }
    // And one that fails by itself: its error, too, is described.
    let lost = home.run("cm-build", &["--service", "wbe"], "shop", None);
    assert_eq!(lost.code, 2, "{lost:?}");
    lost.document();
}

#[test]
fn records_and_events_hold() {
    let home = shop();
    let config = "project = \"shop\"\n[ops]\nurl = \"http://127.0.0.1:9/\"\n[hosts.h]\naddress = \"local\"\n";
    std::fs::write(home.path().join("shop/cm.toml"), config).expect("cm.toml");
    let mut document = sample_document();
    let state = json!({"image": "web", "image_id": "sha256:aa", "tag": "", "config_hash": ""});
    document["facts"]["build"] = json!({"hosts": {"h": {"to": "c", "services": {"web": state}}}});
    let recorded = home.run("cm-record", &[""; 0], "shop", Some(document.to_string().as_bytes()));
    assert_eq!(recorded.code, 0, "{recorded:?}");
    recorded.document();

    let files = home.files();
    let find = |end: &str| files.iter().find(|name| name.ends_with(end)).unwrap_or_else(|| panic!("{end}: {files:?}"));
    let lines = |name: &str| std::fs::read_to_string(home.path().join(Path::new(name))).expect("a file");
    let ledger = lines(find("ledger.jsonl"));
    let records: Vec<Value> =
        ledger.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(!records.is_empty(), "{ledger}");
    for record in &records {
        holds(&schema("cm.release-1"), record, "a record of the ledger");
    }
    let event = files.iter().find(|name| name.contains("outbox/shop/") && name.ends_with(".json")).expect("an event");
    holds(&schema("cm.deploy-event-1"), &serde_json::from_str(&lines(event)).expect("JSON"), "the event");
}
