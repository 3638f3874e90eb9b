//! Programs that were not made for each other: any two of a pipe, a document of a version that knew less or knows
//! more, and a commit whose words are larger than a document may be. All with `--dry-run` on a repository whose one
//! host nobody reaches, so that every pair is tried in seconds.

use cm_testkit::{Home, document_holds, grease};
use serde_json::{Value, json};

/// What can plan without a host.
const PROGRAMS: [&[&str]; 10] = [
    &["cm-build", "push"],
    &["cm-backup"],
    &["cm-verify", "--baseline"],
    &["cm-build"],
    &["cm-health"],
    &["cm-verify"],
    &["cm-rollback", "--on-failure"],
    &["cm-build", "prune"],
    &["cm-record"],
    &["cm-lock"],
];

const CONFIGURATION: &str = "project = \"shop\"\n[compose]\nfiles = [\"compose.yml\"]\n[hosts.h]\naddress = \"ada@nowhere.invalid\"\n\
    [[verify.checks]]\nname = \"web\"\nurl = \"http://nowhere.invalid/\"\nstatus = 200\n";

/// A repository of two commits, the second with these words: one service of two is to be built.
fn repository(words: &str) -> Home {
    let home = Home::new();
    let write = |name: &str, text: &str| {
        let path = home.path().join("tmp").join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    let git = |arguments: &[&str], input: &str| {
        let identity = ["-C", "tmp", "-c", "user.name=ada", "-c", "user.email=ada@example.org"];
        let all: Vec<&str> = identity.iter().chain(arguments).copied().collect();
        home.run("git", &all, "", Some(input.as_bytes())).assert().success();
    };
    git(&["init", "-q", "-b", "main"], "");
    write("cm.toml", CONFIGURATION);
    write("compose.yml", "services:\n  web: {build: web, restart: always}\n  db: {image: mongo, restart: always}\n");
    write("web/Dockerfile", "FROM scratch\nCOPY page /page\n");
    write("web/page", "one\n");
    git(&["add", "-A"], "");
    git(&["commit", "-q", "-m", "one"], "");
    write("web/page", "two\n");
    git(&["commit", "-q", "-a", "-F", "-"], words);
    home
}

fn detected(home: &Home) -> Value {
    let answer = home.run("cm-detect", &["--base", "HEAD~1", "--dry-run"], "tmp", None);
    answer.assert().success();
    answer.document()
}

/// What `program` makes of a document; it must not fail.
fn passed(home: &Home, program: &[&str], document: &Value, what: &str) -> Value {
    let answer = home.run(program[0], &program[1..], "tmp", Some(document.to_string().as_bytes()));
    answer.assert().append_context("program", format!("{program:?} after {what}")).success();
    answer.document()
}

fn steps(document: &Value) -> Vec<String> {
    let stages = document["stages"].as_array().expect("stages").iter();
    stages.map(|stage| format!("{} {}", stage["tool"].as_str().unwrap_or_default(), stage["status"])).collect()
}

/// The parts of a document that `program` did not write.
fn others_parts<'a>(document: &'a Value, program: &str) -> Vec<(&'a String, &'a Value)> {
    let own = program.trim_start_matches("cm-");
    document["facts"].as_object().expect("facts").iter().filter(|(part, _)| *part != own).collect()
}

#[test]
fn any_two_programs_of_a_pipe_work_together() {
    let home = repository("two");
    let detected = detected(&home);
    for (index, first) in PROGRAMS.iter().enumerate() {
        let between = passed(&home, first, &detected, "cm-detect");
        for second in &PROGRAMS[index + 1..] {
            let what = format!("{first:?}");
            let out = passed(&home, second, &between, &what);
            document_holds(&out, &format!("{second:?} after {what}"));
            assert_eq!(steps(&out)[..2], steps(&between), "{second:?} after {what}: what was said before stays");
            assert_eq!(out["services"], detected["services"], "{second:?} after {what}");
            assert_eq!(out["stages"].as_array().map(Vec::len), Some(3), "{second:?} after {what}");
            for (part, value) in others_parts(&between, second[0]) {
                assert_eq!(out["facts"][part], *value, "{second:?} after {what}: facts of {part}");
            }
        }
    }
}

#[test]
fn a_document_of_a_program_that_knows_more_keeps_all_that_it_says() {
    let home = repository("two");
    let mut document = detected(&home);
    // The keys of some of the facts are names of hosts: those objects are not free to grow.
    let mut facts = document["facts"].take();
    grease(&mut facts["detect"]["commits"]);
    facts["detect"]["x-more"] = json!({"deep": [1.50, null]});
    facts["x-other"] = json!({"of": "somebody"});
    grease(&mut document);
    document["facts"] = facts;
    for program in PROGRAMS {
        let out = passed(&home, program, &document, "a newer cm-detect");
        for part in ["x-grease", "run", "services"] {
            assert_eq!(out[part], document[part], "{program:?}: {part}");
        }
        assert_eq!(out["stages"][0], document["stages"][0], "{program:?}");
        for (part, value) in others_parts(&document, program[0]) {
            assert_eq!(out["facts"][part], *value, "{program:?}: facts of {part}");
        }
    }
}

#[test]
fn a_document_of_a_version_whose_stages_did_not_say_their_step_works() {
    let home = repository("two");
    let mut old = detected(&home);
    for program in PROGRAMS {
        let mut stages = old["stages"].take();
        for stage in stages.as_array_mut().expect("stages") {
            let stage = stage.as_object_mut().expect("a stage");
            stage.remove("step");
            stage.remove("exit");
        }
        old["stages"] = stages;
        let before = steps(&old).len();
        old = passed(&home, program, &old, "an older program");
        assert_eq!(steps(&old).len(), before + 1, "{program:?}");
        assert_eq!(old["status"], "ok", "{program:?}");
    }
}

#[test]
fn a_commit_whose_words_are_larger_than_a_document_goes_through_the_whole_pipe() {
    let home = repository(&"words ".repeat(1_500_000));
    let mut document = detected(&home);
    for program in PROGRAMS {
        document = passed(&home, program, &document, "cm-detect");
    }
    let length = document.to_string().len();
    assert!(length < 64 << 10, "{length} bytes");
    let subject = document["facts"]["detect"]["commits"][0]["subject"].as_str().expect("a subject");
    assert!(subject.starts_with("words words") && subject.len() <= 4_096, "{} bytes", subject.len());
}
