use crate::{Begun, Fenced, Host, Target, Unlocked};
use cm_core::{Exit, Format, Level, Log, Result};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

async fn here() -> Fenced {
    let target = Target::at("here", "local");
    let host = Host::connect(&target, &Log::new("test", Format::Text, Level::Fail)).await.expect("local");
    Fenced::unlocked(&host, Unlocked::Test)
}

#[tokio::test]
async fn data_never_becomes_shell() {
    let host = here().await;
    let nasty = "$(id) `id` ; rm -rf / '\" \n*";
    let said = host.command(["printf", "%s", nasty]).text(Exit::Bug, "t").await.expect("printf");
    assert_eq!(said, nasty);
    let said = host.script("printf %s \"$1\"", [nasty]).text(Exit::Bug, "t").await.expect("sh");
    assert_eq!(said, nasty);
}

#[tokio::test]
async fn a_failing_command_shows_what_it_said() {
    let host = here().await;
    let failure = host.script("echo because >&2; exit 3", [""; 0]).text(Exit::Build, "build.x").await.expect_err("3");
    assert_eq!((failure.exit, failure.code.as_str()), (Exit::Build, "build.x"));
    assert_eq!(failure.causes, ["because"]);
}

#[tokio::test]
async fn a_script_is_called_by_its_first_line() {
    let host = here().await;
    let script = "# Looks around. Reads only.\nexit 3";
    let failure = host.script(script, [""; 0]).text(Exit::Build, "build.x").await.expect_err("3");
    assert_eq!(failure.message, "on here: what looks around failed (exit status: 3)");
}

#[tokio::test]
async fn a_command_that_hangs_is_given_up() {
    let host = here().await;
    let limit = std::time::Duration::from_millis(50);
    let failure = host.command(["sleep", "30"]).limit(limit).output().await.expect_err("limit");
    assert_eq!(failure.code, "host.timeout");
}

#[tokio::test]
async fn a_command_begins_with_all_of_its_input_or_not_at_all() {
    let (host, dir) = (here().await, tempfile::tempdir().expect("dir"));
    let (begun, input) = (dir.path().join("begun"), (0..=255).cycle().take(300_000).collect::<Vec<u8>>());
    let command = host.script("cat > \"$1\"; exit 3", [begun.display().to_string()]).stdin(input.clone());
    for length in [0, 1, 65_536, 299_999] {
        let argv = command.argv_with_input();
        let mut child = std::process::Command::new(&argv[0]);
        child.args(&argv[1..]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().expect("sh");
        child.stdin.take().expect("stdin").write_all(&input[..length]).expect("its sender dies then");
        let output = child.wait_with_output().expect("ours");
        assert_eq!(output.status.code(), Some(74), "{length}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!begun.exists(), "{length} bytes of {}", input.len());
    }
    assert_eq!(command.output().await.expect("begun").status.code(), Some(3));
    assert!(std::fs::read(&begun).expect("begun") == input, "every byte of it");
}

/// Waits up to five seconds for the file to say something.
async fn content(path: &std::path::Path) -> String {
    for _ in 0..100 {
        if let Ok(text) = std::fs::read_to_string(path)
            && !text.is_empty()
        {
            return text;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    String::new()
}

#[tokio::test]
async fn a_leashed_command_ends_when_it_is_given_up() {
    let (host, dir) = (here().await, tempfile::tempdir().expect("dir"));
    let script = "trap 'kill $!; echo ended > end; exit 1' TERM; sleep 30 & echo began > begin; wait";
    let command = host.script(script, [""; 0]).cwd(&dir.path().display().to_string()).ends_with_us();
    let failure = command.limit(Duration::from_millis(700)).output().await.expect_err("limit");
    assert_eq!(failure.code, "host.timeout");
    assert_eq!(content(&dir.path().join("begin")).await, "began\n");
    assert_eq!(content(&dir.path().join("end")).await, "ended\n");
}

/// Runs `script` as the job of `dir`; gives how it began and what it said.
async fn job(dir: &Path, key: &str, script: &'static str, patience: u64) -> (Result<Begun>, Vec<String>) {
    let (host, directory) = (here().await, dir.display().to_string());
    let command = host.script(script, [""; 0]).cwd(&directory).stdin("input\n").limit(Duration::from_millis(patience));
    let mut lines = Vec::new();
    let begun = command.job(&directory, key, Exit::Build, "build.x", |line| lines.push(line.to_owned())).await;
    (begun, lines)
}

const COUNTED: &str = "echo one; echo begun >> count; sleep 1.5; cat; echo done";

#[tokio::test]
async fn a_job_outlives_who_started_it_and_the_next_one_goes_on_with_it() {
    let dir = tempfile::tempdir().expect("dir");
    let (cut, _) = job(dir.path(), "a 1", COUNTED, 500).await;
    assert_eq!(cut.expect_err("limit").code, "host.timeout");
    let (begun, lines) = job(dir.path(), "a 1", COUNTED, 30_000).await;
    assert_eq!((begun.expect("ok"), lines), (Begun::Before, ["one", "input", "done"].map(str::to_owned).to_vec()));
    let (begun, lines) = job(dir.path(), "a 1", COUNTED, 30_000).await;
    assert_eq!((begun.expect("ok"), lines.len()), (Begun::AndEnded, 3), "nobody had taken its result");
    assert_eq!(content(&dir.path().join("count")).await, "begun\n", "it ran once");
    here().await.end_job(&dir.path().display().to_string(), "", Exit::Build).await.expect("forgotten");
    let (begun, _) = job(dir.path(), "a 1", "echo again", 30_000).await;
    assert_eq!(begun.expect("ok"), Begun::Now);
}

#[tokio::test]
async fn another_job_is_ended_first_with_all_that_it_started() {
    let dir = tempfile::tempdir().expect("dir");
    let long = "trap 'echo ended > end; exit 1' TERM; sh -c 'sleep 60' & wait $!";
    job(dir.path(), "a 1", long, 500).await.0.expect_err("limit");
    let pid = content(&dir.path().join("pid")).await;
    let (begun, lines) = job(dir.path(), "b 1", "echo other", 30_000).await;
    assert_eq!((begun.expect("ok"), lines), (Begun::Now, vec!["other".to_owned()]));
    assert_eq!(content(&dir.path().join("end")).await, "ended\n");
    let left = std::fs::read_dir("/proc").expect("/proc").flatten().filter(|process| {
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let rest: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        rest.get(3) == Some(&pid.trim()) && rest.first() != Some(&"Z")
    });
    assert_eq!(left.count(), 0, "nothing of its session is left");
}

#[tokio::test]
async fn a_job_that_failed_says_why_and_is_run_anew() {
    let dir = tempfile::tempdir().expect("dir");
    let failing = "echo begun >> count; echo because >&2; exit 3";
    for _ in 0..2 {
        let failure = job(dir.path(), "a 1", failing, 30_000).await.0.expect_err("3");
        assert_eq!((failure.code.as_str(), failure.causes), ("build.x", vec!["because".to_owned()]));
    }
    assert_eq!(content(&dir.path().join("count")).await, "begun\nbegun\n");
}

#[tokio::test]
async fn a_job_that_may_stay_is_not_ended() {
    let (dir, host) = (tempfile::tempdir().expect("dir"), here().await);
    let directory = dir.path().display().to_string();
    job(dir.path(), "a 1", COUNTED, 300).await.0.expect_err("limit");
    host.end_job(&directory, "a", Exit::Build).await.expect("stays");
    assert_eq!(job(dir.path(), "a 1", COUNTED, 30_000).await.0.expect("ok"), Begun::Before);
    assert_eq!(content(&dir.path().join("count")).await, "begun\n");
}

#[tokio::test]
async fn what_runs_to_its_end_is_waited_for_by_the_next_one() {
    let (host, dir) = (here().await, tempfile::tempdir().expect("dir"));
    let directory = dir.path().display().to_string();
    let temporary = tempfile::tempdir().expect("dir");
    let first = host.script("sleep 1; echo talk; echo first >> order", [""; 0]).cwd(&directory).to_its_end();
    let first = first.env("TMPDIR", &temporary.path().display().to_string());
    let limit = std::time::Duration::from_millis(300);
    assert_eq!(first.limit(limit).output().await.expect_err("limit").code, "host.timeout");
    let next = host.script("echo next >> order; echo said", [""; 0]).cwd(&directory).to_its_end();
    assert_eq!(next.text(Exit::Bug, "t").await.expect("ok"), "said");
    assert_eq!(content(&dir.path().join("order")).await, "first\nnext\n");
    // The shell of the first one was ended, and with it went what was said.
    assert_eq!(std::fs::read_dir(temporary.path()).expect("there").count(), 0);
}

#[tokio::test]
async fn what_runs_to_its_end_says_why_it_failed() {
    let (host, dir) = (here().await, tempfile::tempdir().expect("dir"));
    for plain in ["echo because >&2; exit 3", "echo because; exit 3"] {
        let command = host.script(plain, [""; 0]).cwd(&dir.path().display().to_string());
        let failure = command.to_its_end().text(Exit::Build, "build.x").await.expect_err("3");
        assert_eq!(failure.causes, ["because"]);
    }
}

#[tokio::test]
async fn lines_arrive_from_both_streams() {
    let host = here().await;
    let mut lines = Vec::new();
    let script = host.script("echo a; echo b >&2; printf c", [""; 0]);
    script.stream(Exit::Bug, "t", |line| lines.push(line.to_owned())).await.expect("ok");
    lines.sort();
    assert_eq!(lines, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_printed_command_can_be_pasted() {
    let host = here().await;
    let command = host.command(["git", "commit", "-m", "it's"]).cwd("/srv/a b");
    assert_eq!(command.display(), r"cd '/srv/a b' && git commit -m 'it'\''s'");
}
