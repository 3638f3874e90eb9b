//! Wrong calls, as somebody on call makes them: each says what is wrong, where, and what to do, has the exit status and
//! the code of its page in cm-errors(7), and leaves every file as it was. Those that need a server are provoked besides it.

use cm_testkit::{Home, bin_dir, repository};
use serde_json::Value;
use std::fs;

const TOML: &str = "project = \"shop\"\n[compose]\nfiles = [\"compose.yml\"]\n\
    [hosts.web]\naddress = \"local\"\ncheckout = \"~/checkout\"\n[groups]\nsite = [\"web\"]\n";

/// A command line, its exit status and code, and what a person has to read in it.
type Case = (&'static str, i32, &'static str, &'static str);

/// In a repository with one service, `web`, a `cm.toml`, and a backup.
const IN_A_PROJECT: [Case; 58] = [
    ("cm-detect --init", 6, "init.exists", "--dry-run"),
    ("cm-detect -C nowhere", 6, "config.no-directory", "nowhere"),
    ("cm-detect -C nowhere --init", 6, "config.no-directory", "nowhere"),
    ("cm-detect --base HEAD --group backend", 2, "usage.unknown-group", "site"),
    ("cm-detect --base HEAD --service wep", 2, "usage.unknown-service", "\\\"web\\\"?"),
    ("cm-detect --head nothing --base HEAD", 20, "detect.unknown-revision", "git fetch"),
    ("cm-detect --base nothing", 20, "detect.unknown-base", "git fetch"),
    ("cm-detect --base HEAD --host wen", 6, "config.unknown-host", "\\\"web\\\"?"),
    ("cm-detect --base HEAD --branch a..b", 2, "usage.branch", "letters, digits"),
    ("cm-detect --base HEAD --branch nothing", 2, "usage.unknown-branch", "known: "),
    ("cm-detect --base HEAD..HEAD", 2, "usage.revision", "a commit, a branch or a tag"),
    ("cm-detect -C ../plain", 20, "detect.no-repository", "-C DIR"),
    ("cm-detect -C ../empty", 6, "config.no-project", "compose file"),
    ("cm-detect -C ../several --init", 6, "init.several", "--compose-file"),
    ("cm-build", 2, "usage.nothing-named", "cm-detect"),
    ("cm-build --service wep", 2, "usage.unknown-service", "\\\"web\\\"?"),
    ("cm-build --service web", 6, "config.no-repository", "repository = "),
    ("cm-build <.", 4, "input.unreadable", "stdin"),
    ("cm-build --plan nothing.json", 4, "plan.read", "--dry-run"),
    ("cm-build --plan cm.toml", 4, "plan.shape", "it is not one JSON document"),
    ("cm-backup", 6, "backup.not-configured", "[backup]"),
    ("cm-backup --uri-env NOT_SET", 6, "backup.uri", "NOT_SET"),
    ("cm-backup --uri-env URI --method mongodump", 2, "usage.method", "--host"),
    ("cm-backup --uri-env URI --collection a --query {", 2, "usage.query", "Extended JSON"),
    ("cm-backup --uri-env URI --output out/ --database a.b", 6, "backup.database-name", "63 bytes"),
    ("cm-backup --uri-env URI --output cm.toml", 2, "usage.output", "not there yet"),
    ("cm-backup --uri-env URI --output out/", 21, "backup.database-unreachable", "refused"),
    ("cm-backup verify shop.gz --strict", 21, "backup.no-manifest", "--manifest FILE"),
    ("cm-backup verify shop.gz --manifest cm.toml", 21, "backup.manifest", "FILE.manifest.json"),
    ("cm-backup verify shop.gz --manifest nothing", 2, "backup.manifest", "No such file"),
    ("cm-backup verify cm.toml", 21, "backup.not-proved", "cm.toml"),
    ("cm-backup restore shop.gz --uri-env URI", 21, "backup.database-unreachable", "is that its URI"),
    ("cm-backup restore shop.gz --uri-env URI --collection nothing", 2, "restore.collection", "platform.users"),
    ("cm-backup restore shop.gz --uri-env URI --ns-from a.* --ns-to b", 2, "usage.ns", "--ns-from 'shop.*'"),
    ("cm-backup restore shop.gz --uri-env URI --ns-from platform.* --ns-to x.$*", 2, "restore.name", "no $"),
    ("cm-backup restore shop.gz --uri-env URI --ns-from platform.* --ns-to x.y", 2, "usage.ns", "number of *"),
    ("cm-backup carry-out nothing", 2, "usage.order", "not an order"),
    ("cm-backup verify nothing.gz", 2, "backup.no-file", "cm-backup list"),
    ("cm-backup list nothing", 2, "usage.folder", "nothing"),
    ("cm-backup restore -", 2, "restore.stdin", "file"),
    ("cm-backup prune backups", 2, "usage.keep", "--keep"),
    ("cm-lock status --host a=-x", 2, "usage.host", "user@server"),
    ("cm-lock acquire --owner-pid 4194999", 2, "usage.owner-pid", "4194999"),
    ("cm-rollback --on-failure --run ../x", 2, "usage.run", "history"),
    ("cm-rollback --on-failure --run 01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10", 4, "journal.missing", "machine that began"),
    ("cm-health --service wep", 2, "usage.unknown-service", "\\\"web\\\"?"),
    ("cm-health --all", 6, "checkout.missing", "a deployment makes"),
    ("cm-rollback", 62, "rollback.no-target", "--list"),
    ("cm-rollback --list >/dev/full", 5, "output.closed", "where stdout goes"),
    ("cm-rollback --service wep", 2, "usage.unknown-service", "\\\"web\\\"?"),
    ("cm-verify --profile x", 6, "config.unknown-profile", "there are none"),
    ("cm-verify --json --junit nowhere/x.xml", 6, "junit.write", "nowhere"),
    ("cm-record why wep", 2, "usage.unknown-service", "nothing was deployed"),
    ("cm-rollback --to nothing", 2, "usage.unknown-release", "--list"),
    ("cm-record report --html page.html", 2, "usage.no-run", "history"),
    ("cm-record show nothing", 2, "usage.unknown-release", "history"),
    ("cm-record flush", 6, "ops.none", "[ops]"),
    ("trap '' XFSZ; ulimit -f 0; cm-detect -C ../plain --init >/dev/null", 6, "init.write", "cm.toml"),
];

/// A file with a mistake, and a call that meets it.
const WITH_A_FILE: [(&str, &str, Case); 16] = [
    ("cm.toml", "project = 3", ("cm-detect --base HEAD", 6, "config.invalid", "cm.toml:1:11")),
    (
        "cm.toml",
        "[compose]\nfile = 'x'",
        ("cm-detect --base HEAD", 6, "config.unknown-key", "did you mean \\\"files\\\"?"),
    ),
    ("cm.toml", "[groups]\na = ['wep']", ("cm-detect --base HEAD", 6, "config.unknown-service", "cm.toml:2:6")),
    ("cm.toml", "[canary]\nurl = 'ftp://x'", ("cm-verify", 6, "config.bad-url", "cm.toml:2:7")),
    ("cm.toml", "[canary]\nurl = 'http://${'", ("cm-verify", 6, "config.bad-reference", "never closed")),
    ("cm.toml", "[hosts.a]\naddress = '-x'", ("cm-lock status", 6, "config.bad-address", "user@host")),
    ("cm.toml", "[compose]\nfiles = ['no.yml']", ("cm-detect --base HEAD", 6, "compose.unreadable", "no.yml")),
    ("cm.toml", "project = 'shop'", ("cm-backup --service web", 6, "backup.no-host", "[hosts]")),
    ("cm.toml", "project = 'shop'", ("cm-health --all", 6, "health.nothing", "[hosts]")),
    ("compose.yml", "services:\n  web:\n  - x: {", ("cm-detect --base HEAD", 6, "compose.syntax", "compose.yml:")),
    ("compose.yml", "services:\n  web: 3", ("cm-detect --base HEAD", 6, "compose.invalid", "compose.yml:2:8")),
    (
        "compose.yml",
        "services:\n  web:\n    extends: {file: no.yml, service: x}",
        ("cm-detect --base HEAD", 6, "compose.extends", "compose.yml:3:14"),
    ),
    (
        "compose.yml",
        "include: [no.yml]\nservices: {web: {build: web}}",
        ("cm-detect --base HEAD", 6, "compose.include", "compose.yml:1:11"),
    ),
    (
        "compose.yml",
        "services: {web: {build: web, depends_on: [wep]}}",
        ("cm-detect --base HEAD", 6, "compose.unknown-service", "\\\"web\\\"?"),
    ),
    (
        "compose.yml",
        "services: {web: {image: '${NOT_SET'}}",
        ("cm-detect --base HEAD", 6, "compose.interpolation", "never closed"),
    ),
    ("web/Dockerfile", "COPY <<X a", ("cm-detect --base HEAD~1", 6, "dockerfile.syntax", "web/Dockerfile:1:1")),
];

/// A document as a later program of a pipe gets it.
const DOCUMENT: &str = r#"{"schema":"cm.deployment/1","run":{"id":"01a2229f-e9ea-71e7-ab72-ad3c184f7ccb","actor":"ada",
    "started_at":"2026-11-28T14:47:15.179Z","dry_run":false},"project":"shop","branch":"main","commit":null,
    "status":"ok","services":[{"name":"web","host":"web","action":"build"}],"stages":[],"facts":{},"undo":[],
    "error":null}"#;

/// What comes through the pipe, as an edit of [`DOCUMENT`], and the call that reads it.
const IN_A_PIPE: [(&str, &str, Case); 9] = [
    (DOCUMENT, "", ("cm-build", 4, "input.empty", "</dev/null")),
    (DOCUMENT, "web", ("cm-build", 4, "input.not-json", "another cm program")),
    ("schema", "scheme", ("cm-build", 4, "input.schema", "cm-document(5)")),
    ("deployment/1", "deployment/2", ("cm-build", 4, "input.schema", "--version")),
    ("01a2229f", "../x", ("cm-build", 4, "input.shape", "UUID")),
    ("\"build\"", "\"rebuild\"", ("cm-build", 4, "input.services", "rebuild")),
    ("ada", "ada", ("cm-build", 4, "input.no-commit", "cm-detect")),
    ("ada", "ada", ("cm-lock", 11, "lock.none", "cm-lock run -- SCRIPT")),
    ("ada", "ada", ("cm-build --plan cm.toml", 2, "usage.two-plans", "")),
];

/// The code, the whole text and the exit status of one call.
fn provoke(home: &Home, line: &str, stdin: Option<&str>) -> (i32, String, String) {
    let words: Vec<&str> =
        if line.contains(" <") || line.contains(" >") { vec!["bash", "-c", line] } else { line.split(' ').collect() };
    let answer = home.run(words[0], &words[1..], "work", stdin.map(str::as_bytes));
    let last = answer.stderr.lines().last().unwrap_or_default();
    let event: Value = serde_json::from_str(last).unwrap_or_default();
    let code = event["error"]["code"].as_str().unwrap_or_default().to_owned();
    let said = if code.is_empty() { answer.stderr.clone() } else { last.to_owned() };
    (answer.code, code, said)
}

/// What is wrong with what was said, if anything is.
fn judge(home: &Home, (line, exit, code, words): Case, stdin: Option<&str>) -> Option<String> {
    let known = fs::read_to_string(repository().join("crates/cm-document/src/codes.txt")).expect("codes");
    let (status, found, said) = provoke(home, line, stdin);
    let documented = known.lines().any(|entry| entry.starts_with(&format!("{found}:")));
    let fine =
        (status, found.as_str()) == (exit, code) && said.contains(words) && !said.contains("secret-word") && documented;
    (!fine).then(|| format!("{line}\n  wanted {exit} {code} {words:?}\n  {status} {said}"))
}

fn commit(home: &Home) {
    for command in [&["add", "-A"][..], &["commit", "-qm", "shop"]] {
        let answer = home.run("git", command, "work", None);
        assert_eq!(answer.code, 0, "{command:?}: {answer:?}");
    }
}

fn project() -> Home {
    let mut home = Home::new();
    home.set("CM_LOG", "json");
    home.set("URI", "mongodb://ada:secret-word@127.0.0.1:1/shop");
    let work = home.path().join("work");
    for directory in ["work/web", "plain", "empty", "several/a", "several/b"] {
        fs::create_dir_all(home.path().join(directory)).expect("directory");
    }
    let compose = "services:\n  web:\n    build: web\n";
    for directory in ["work", "plain", "several/a", "several/b"] {
        fs::write(home.path().join(directory).join("compose.yml"), compose).expect("write");
    }
    fs::write(work.join("web/Dockerfile"), "FROM scratch\n").expect("write");
    fs::write(work.join("cm.toml"), TOML).expect("write");
    let backup = repository().join("crates/cm-archive/tests/data/platform.archive.gz");
    fs::copy(backup, work.join("shop.gz")).expect("copied");
    assert_eq!(home.run("git", &["init", "-q"], "work", None).code, 0);
    commit(&home);
    home
}

fn state(home: &Home) -> Vec<String> {
    // A run keeps its journal however it ends, and Git may write down what it looked at.
    let of_others = |file: &String| !file.starts_with("state/cm/runs/") && !file.contains("/.git/");
    home.files().into_iter().filter(of_others).collect()
}

#[test]
fn a_wrong_call_says_what_to_do_and_changes_nothing() {
    let home = project();
    let before = state(&home);
    let wrong: Vec<_> = IN_A_PROJECT.into_iter().filter_map(|case| judge(&home, case, None)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(state(&home), before);
}

#[test]
fn a_mistake_in_a_file_is_shown_where_it_stands() {
    let meets = |(file, text, case): (&str, &str, Case)| {
        let home = project();
        fs::write(home.path().join("work").join(file), format!("{text}\n")).expect("write");
        commit(&home);
        judge(&home, case, None).map(|wrong| format!("{file}: {text}\n{wrong}"))
    };
    let wrong: Vec<_> = WITH_A_FILE.into_iter().filter_map(meets).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_document_that_cannot_be_used_is_refused_and_changes_nothing() {
    let home = project();
    let before = state(&home);
    let meets = |(from, to, case): (&str, &str, Case)| judge(&home, case, Some(&DOCUMENT.replace(from, to)));
    let wrong: Vec<_> = IN_A_PIPE.into_iter().filter_map(meets).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(state(&home), before);
}

/// A variable of the environment, and the call that cannot work with it. `HOME` in the value is the home's path,
/// `PROGRAMS` the directory of the programs.
const IN_AN_ENVIRONMENT: [(&str, &str, Case); 4] = [
    (
        "XDG_RUNTIME_DIR",
        "HOME/plain/compose.yml",
        ("cm-lock status --host ada@x", 6, "host.runtime-dir", "XDG_RUNTIME_DIR"),
    ),
    (
        "XDG_RUNTIME_DIR",
        "HOME/a-directory/whose-path-is-longer/than-the-kernel/takes-for-a-socket/of-the-kind-that-ssh-uses/for-its-control",
        ("cm-lock status --host ada@x", 6, "host.socket-path", "short"),
    ),
    ("PATH", "PROGRAMS", ("cm-lock status --host ada@x", 7, "host.unreachable", "openssh-client")),
    ("PATH", "PROGRAMS", ("cm-lock status", 6, "host.no-command", "PATH")),
];

#[test]
fn an_environment_that_does_not_do_is_named() {
    let meets = |(name, value, case): (&str, &str, Case)| {
        let mut home = project();
        let value = value.replace("HOME", &home.path().display().to_string());
        let value = value.replace("PROGRAMS", &bin_dir().display().to_string());
        home.set(name, &value);
        judge(&home, case, None).map(|wrong| format!("{name}={value}\n{wrong}"))
    };
    let wrong: Vec<_> = IN_AN_ENVIRONMENT.into_iter().filter_map(meets).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A ProxyCommand, which cannot get to the server, and what is read of it.
const PROXIES: [(&str, &str); 4] = [
    ("sh -c 'echo token of ada has expired >&2; exit 1'", "token of ada has expired"),
    ("sh -c 'echo token $MY_TOKEN is not valid >&2; exit 1'", "token ${MY_TOKEN} is not valid"),
    ("no-such-tunnel --to %h", "no-such-tunnel: not found"),
    (
        "ssh -F /dev/null -o BatchMode=yes -W %h:%p no-such-gate-no-such-gate-no-such-gate-no-such-gate-no-such-gate-.invalid",
        "Could not resolve hostname no-such-gate-no-such-gate-no-such-gate-no-such-gate-no-such-gate-.invalid",
    ),
];

#[test]
fn what_ends_on_the_way_to_a_server_says_why() {
    let meets = |(command, words): (&str, &'static str)| {
        let mut home = project();
        let config = home.path().join("ssh_config");
        fs::write(&config, format!("Host *\n  ProxyCommand {command}\n")).expect("write");
        home.set("CM_SSH_CONFIG", &config.display().to_string());
        home.set("MY_TOKEN", "0123456789-of-ada");
        judge(&home, ("cm-lock status --host ada@x", 7, "host.unreachable", words), None)
    };
    let wrong: Vec<_> = PROXIES.into_iter().filter_map(meets).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the journal has of a run, as an edit of [`DOCUMENT`], and why it cannot be gone on with.
const IN_THE_JOURNAL: [(&str, &str, Case); 4] = [
    ("\"shop\"", "\"other\"", ("RESUME", 2, "resume.project", "it is of other")),
    ("\"dry_run\":false", "\"dry_run\":true", ("RESUME", 2, "resume.dry-run", "deploys again")),
    (
        "\"stages\":[]",
        "\"stages\":[{\"tool\":\"cm-record\",\"status\":\"ok\"}]",
        ("RESUME", 2, "resume.ended", "it has ended"),
    ),
    (DOCUMENT, "{", ("RESUME", 4, "input.not-json", "JSON")),
];

#[test]
fn a_run_that_cannot_go_on_is_told_why() {
    let meets = |(from, to, (_, exit, code, words)): (&str, &str, Case)| {
        let home = project();
        let runs = home.path().join("state/cm/runs/01a2229f-e9ea-71e7-ab72-ad3c184f7ccb");
        fs::create_dir_all(&runs).expect("directory");
        fs::write(runs.join("000-cm-detect.json"), DOCUMENT.replace(from, to)).expect("write");
        let line = "cm-record settle --resume 01a2229f-e9ea-71e7-ab72-ad3c184f7ccb";
        judge(&home, (line, exit, code, words), None)
    };
    let wrong: Vec<_> = IN_THE_JOURNAL.into_iter().filter_map(meets).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_dockerfile_that_is_no_text_is_named() {
    let home = project();
    fs::write(home.path().join("work/web/Dockerfile"), b"FROM scratch\n# caf\xe9\n").expect("write");
    commit(&home);
    let wrong = judge(&home, ("cm-detect --base HEAD~1", 6, "dockerfile.unreadable", "web/Dockerfile"), None);
    assert_eq!(wrong, None);
}

#[test]
fn a_journal_that_cannot_be_read_is_named() {
    let home = project();
    let run = "01a2229f-e9ea-71e7-ab72-ad3c184f7ccb";
    fs::create_dir_all(home.path().join("state/cm/runs").join(run).join("000-cm-detect.json")).expect("directory");
    let line = format!("cm-rollback --on-failure --run {run}");
    let wrong = judge(&home, (line.leak(), 4, "journal.read", "000-cm-detect.json"), None);
    assert_eq!(wrong, None);
}

#[test]
fn a_report_that_cannot_be_written_is_named() {
    let home = project();
    let run = "01a2229f-e9ea-71e7-ab72-ad3c184f7ccb";
    let runs = home.path().join("state/cm/runs").join(run);
    fs::create_dir_all(&runs).expect("directory");
    fs::write(runs.join("000-cm-detect.json"), DOCUMENT).expect("write");
    let cases: [Case; 2] = [
        ("cm-record report 01a2229f-e9ea-71e7-ab72-ad3c184f7ccb --html cm.toml/x.html", 6, "report.write", "cm.toml"),
        ("cm-record report 01a2229f-e9ea-71e7-ab72-ad3c184f7ccb --html ..", 2, "usage.file", ".."),
    ];
    let wrong: Vec<_> = cases.into_iter().filter_map(|case| judge(&home, case, None)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
