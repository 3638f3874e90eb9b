//! Against a real `sh` of this machine.

use super::*;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const MOST: usize = 1 << 20;

async fn run(sessions: &Sessions, argv: &[&str], stdin: Option<&[u8]>) -> io::Result<Output> {
    let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
    let request = Request::new(&argv, stdin).expect("text");
    let _permit = sessions.permit().await;
    sessions.run(&Transport::Local, "here", &request, Taking::All(MOST)).await.expect("no connection to lose")
}

async fn script(sessions: &Sessions, script: &str) -> Output {
    run(sessions, &["sh", "-c", script], None).await.expect("answered")
}

/// The process id of the shell that runs commands now.
async fn shell(sessions: &Sessions) -> String {
    script(sessions, "echo $PPID").await.text()
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-s", "KILL", pid]).status().expect("kill").success());
}

#[tokio::test]
async fn an_answer_has_any_bytes_both_streams_and_the_status() {
    let sessions = Sessions::new();
    let said = script(&sessions, r"printf 'a\0\377\n\n'; printf '\nb' >&2; exit 3").await;
    assert_eq!((said.stdout.as_slice(), said.stderr.as_str()), (&b"a\0\xff\n\n"[..], "\nb"));
    assert_eq!(said.status.code(), Some(3));
    let silent = script(&sessions, "").await;
    assert_eq!((silent.stdout.len(), silent.stderr.len(), silent.success()), (0, 0, true));
    let long = script(&sessions, "yes 0123456789 | head -c 300000").await;
    assert_eq!(long.stdout.len(), 300_000);
    let missing = run(&sessions, &["cm-no-such-command"], None).await.expect("answered");
    assert_eq!(missing.status.code(), Some(127));
    assert!(missing.stderr.contains("cm-no-such-command"));
}

#[tokio::test]
async fn no_word_is_read_by_the_shell() {
    let sessions = Sessions::new();
    let nasty = ["~", "{a,b}", "A=b", "$(id)", "`id`", "it's", "\"", "*", "a\nb", "", "\\", "}", ")", "%s"];
    let argv: Vec<&str> = ["printf", "[%s]"].into_iter().chain(nasty).collect();
    let said = run(&sessions, &argv, None).await.expect("answered");
    assert_eq!(said.text(), nasty.map(|word| format!("[{word}]")).concat());
}

#[tokio::test]
async fn stdin_arrives_as_it_is_or_not_this_way() {
    let sessions = Sessions::new();
    for input in ["", "no newline", "it's\n\\n %s $HOME\n\n", &"long ".repeat(10_000)] {
        assert_eq!(run(&sessions, &["cat"], Some(input.as_bytes())).await.expect("answered").stdout, input.as_bytes());
    }
    assert_eq!(run(&sessions, &["true"], Some(&[b'x'; MAX_INPUT])).await.expect("unread").status.code(), Some(0));
    assert_eq!(run(&sessions, &["cat"], None).await.expect("empty").stdout, b"");
    for input in [&b"a\0b"[..], b"\xff", &[b'x'; MAX_INPUT + 1]] {
        assert!(Request::new(&["cat".to_owned()], Some(input)).is_none());
    }
}

#[tokio::test]
async fn nothing_is_left_for_the_next_command() {
    let sessions = Sessions::new();
    let look = "pwd; export -p; ls -l /proc/self/fd | wc -l; umask";
    let before = script(&sessions, look).await;
    let pid = shell(&sessions).await;
    run(&sessions, &["cd", "/"], None).await.expect("in a subshell");
    run(&sessions, &["exit", "7"], None).await.expect("in a subshell");
    script(&sessions, "cd /; umask 777; export LEFT=1; exec 5>/dev/null").await;
    assert_eq!(script(&sessions, look).await.text(), before.text());
    assert_eq!(shell(&sessions).await, pid, "the same shell all along");
}

#[tokio::test]
async fn a_shell_that_died_idle_is_replaced() {
    let sessions = Sessions::new();
    let pid = shell(&sessions).await;
    kill(&pid);
    assert_ne!(shell(&sessions).await, pid);
}

#[tokio::test]
async fn a_command_whose_shell_died_is_not_run_again() {
    let sessions = Sessions::new();
    let dir = tempfile::tempdir().expect("dir");
    let count = dir.path().join("count").display().to_string();
    let dying = "echo said; echo begun >> \"$1\"; kill -s KILL $PPID";
    let output = run(&sessions, &["sh", "-c", dying, "sh", &count], None).await.expect("told");
    assert_eq!((output.status.code(), output.text()), (None, "said".to_owned()));
    assert_eq!(std::fs::read_to_string(&count).expect("begun"), "begun\n");
    assert_eq!(script(&sessions, "echo next").await.text(), "next");
}

#[tokio::test]
async fn a_request_that_was_cut_runs_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("begun").display().to_string();
    let request = Request::new(&["touch".to_owned(), file.clone()], Some(b"input")).expect("text");
    let text = request.text("begin", "end");
    for length in 0..text.trim_end().len() {
        let mut shell = Process::start(&Transport::Local, "here", &["sh".to_owned()], true).await.expect("sh");
        let mut stdin = shell.stdin.take().expect("stdin");
        stdin.write_all(&text.as_bytes()[..length]).await.expect("write");
        stdin.shutdown().await.expect("close");
        drop(stdin);
        let (said, _) = shell.read_both(100).await.expect("read");
        shell.wait("here").await.expect("end");
        assert!(said.is_empty() && !Path::new(&file).exists(), "after {length} bytes");
    }
}

#[tokio::test]
async fn a_shell_with_a_command_that_was_given_up_is_not_used_again() {
    let sessions = Sessions::new();
    let pid = shell(&sessions).await;
    let late = tokio::time::timeout(Duration::from_millis(200), script(&sessions, "sleep 60; echo late")).await;
    assert!(late.is_err());
    assert_ne!(shell(&sessions).await, pid);
}

#[tokio::test]
async fn no_command_waits_for_another_and_few_shells_stay() {
    let sessions = Sessions::new();
    let dir = tempfile::tempdir().expect("dir");
    let end = dir.path().join("end").display().to_string();
    let waits = ["sh", "-c", "until [ -e \"$1\" ]; do sleep 0.05; done", "sh", &end];
    let quick = async {
        assert_eq!(script(&sessions, "echo quick").await.text(), "quick");
        std::fs::write(&end, "").expect("write");
    };
    let (one, two, ()) = tokio::join!(run(&sessions, &waits, None), run(&sessions, &waits, None), quick);
    assert!(one.expect("answered").success() && two.expect("answered").success());
    assert!(sessions.idle().len() <= MAX_SESSIONS);
    let permits = [sessions.permit().await, sessions.permit().await];
    sessions.make_room();
    assert!(sessions.idle().len() <= MAX_SESSIONS - permits.len(), "an idle shell is a session, too");
}

#[tokio::test]
async fn more_than_the_limit_is_not_kept() {
    let sessions = Sessions::new();
    let pid = shell(&sessions).await;
    let error = run(&sessions, &["sh", "-c", "yes"], None).await.expect_err("too much");
    assert!(error.to_string().contains("more than"));
    assert_ne!(shell(&sessions).await, pid);
}

#[tokio::test]
async fn lines_are_handed_on_while_the_command_runs() {
    let sessions = Sessions::new();
    let dir = tempfile::tempdir().expect("dir");
    let heard = dir.path().join("heard").display().to_string();
    for (end, last) in
        [("printf 'a\\n\\nlast\\n\\n'", vec!["a", "", "last", ""]), ("printf 'a\\nlast'", vec!["a", "last"])]
    {
        let script = format!("echo first; until [ -e \"$1\" ]; do sleep 0.05; done; {end}; exit 3");
        let request = Request::new(&["sh", "-c", &script, "sh", &heard].map(str::to_owned), None).expect("text");
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let say = async {
            let output = sessions.run(&Transport::Local, "here", &request, Taking::Lines(&sender)).await;
            drop(sender);
            output.expect("no connection to lose").expect("answered")
        };
        let hear = async {
            let mut lines = Vec::new();
            while let Some(line) = receiver.recv().await {
                std::fs::write(&heard, "").expect("write");
                lines.push(line);
            }
            lines
        };
        let (output, lines) = tokio::join!(say, hear);
        assert_eq!(
            (output.status.code(), &lines[1..]),
            (Some(3), &last.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()[..])
        );
        std::fs::remove_file(&heard).expect("remove");
    }
    let both = Request::new(&["sh", "-c", "echo out; echo err >&2"].map(str::to_owned), None).expect("text");
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
    sessions.run(&Transport::Local, "here", &both, Taking::Lines(&sender)).await.expect("ok").expect("answered");
    drop(sender);
    let mut lines = [receiver.recv().await, receiver.recv().await];
    lines.sort();
    assert_eq!((lines, receiver.recv().await), ([Some("err".to_owned()), Some("out".to_owned())], None));
}

#[tokio::test]
async fn shells_can_be_opened_before_they_are_needed() {
    let sessions = Sessions::new();
    sessions.open(&Transport::Local, "here", 2).await;
    assert_eq!(sessions.idle().len(), 2);
    assert_eq!(script(&sessions, "echo said").await.text(), "said");
    assert_eq!(sessions.idle().len(), 2);
}
