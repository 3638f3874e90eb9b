//! `cm-lock run`, `status` and `break` as people meet them: the real program, real signals,
//! real kernel locks.

mod world;

use rustix::process::Signal;
use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use world::{World, code, end, feed, signal, stderr, until};

#[test]
fn streams_arguments_and_the_exit_code_pass_through_unchanged() {
    let world = World::new();
    let input: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let output = feed(world.lock("ada@laptop", &["run", "--", "cat"]), &input);
    assert!(output.status.success() && output.stdout == input, "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let script = r#"printf '%s|' "$@"; echo err >&2; exit 42"#;
    let arguments = ["run", "--", "sh", "-c", script, "sh", "--wait", "a b", "*", ""];
    let output = world.lock("ada@laptop", &arguments).output().expect("start");
    assert_eq!((code(output.status), output.stdout.as_slice()), (42, &b"--wait|a b|*||"[..]));
    assert_eq!(stderr(&output), "err\n");
    world.assert_free("ada@laptop");
}

#[test]
fn a_command_that_dies_by_a_signal_gives_128_and_its_number() {
    let world = World::new();
    let output = world.lock("ada@laptop", &["run", "--local", "--", "sh", "-c", "kill -9 $$"]).output().expect("start");
    assert_eq!(output.status.code(), Some(137));
    for (command, wanted) in [("/no/such/command", 127), ("/", 126)] {
        let output = world.lock("ada@laptop", &["run", "--", command]).output().expect("start");
        assert_eq!(output.status.code(), Some(wanted), "{}", stderr(&output));
        assert!(stderr(&output).contains("cannot run"), "{}", stderr(&output));
    }
    world.assert_free("ada@laptop");
}

#[test]
fn a_second_deploy_is_refused_with_the_holders_name() {
    let world = World::new();
    let git = |arguments: &[&str]| world.plain("git".as_ref(), "ada").args(arguments).output().expect("git");
    git(&["init", "-q"]);
    git(&["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty", "-m", "one"]);
    let head = String::from_utf8_lossy(&git(&["rev-parse", "--short=12", "HEAD"]).stdout).trim().to_owned();
    assert_eq!(head.len(), 12);
    let mut holding = world.hold("ada@laptop", &["--reason", "hot\u{1b}[31mfix"]);
    let output = world.lock("ada@laptop", &["run", "--", "touch", "ran"]).output().expect("start");
    assert_eq!(output.status.code(), Some(10));
    let said = stderr(&output);
    for word in [
        "held by ada@laptop",
        &format!("commit {head}"),
        "since 2",
        "hot",
        "cm-lock break --confirm=ada@laptop",
        "process ",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains('\u{1b}') && !world.path("work/ran").exists(), "{said}");
    fs::write(world.path("end"), "").expect("write");
    assert_eq!(end(&mut holding.child), 0);
    world.assert_free("ada@laptop");
}

#[test]
fn a_second_laptop_is_refused_by_the_host_and_keeps_nothing() {
    let world = World::new();
    let mut holding = world.hold("ada@laptop", &[]);
    let output = world.lock("bob@desk", &["run", "--", "touch", "ran"]).output().expect("start");
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("held by ada@laptop") && said.contains("on host \"db\""), "{said}");
    assert!(said.contains("cm-lock break --confirm=ada@laptop --host db"), "{said}");
    assert!(!world.path("work/ran").exists());
    let status = world.status("bob@desk", &[]);
    assert_eq!(status["local"]["state"], "free", "{status}");
    assert_eq!(status["hosts"][0]["state"], "held", "{status}");
    assert_eq!(status["hosts"][0]["record"]["owner"], "ada@laptop", "{status}");
    fs::write(world.path("end"), "").expect("write");
    assert_eq!(end(&mut holding.child), 0);
    world.assert_free("bob@desk");
}

#[test]
fn a_killed_holder_leaves_a_free_lock_and_no_command_that_goes_on() {
    let world = World::new();
    world.configure("2s");
    let mut holding = world.hold("ada@laptop", &[]);
    holding.child.kill().expect("SIGKILL");
    let killed = Instant::now();
    holding.child.wait().expect("wait");
    assert!(world.host_record().exists(), "nobody could tell the host");
    assert!(world.lock("ada@laptop", &["run", "--local", "--", "true"]).status().expect("start").success());
    // Nobody is there to talk to, so it waits; what the holder had begun may go on for a lease.
    let waited = world.lock("bob@desk", &["run", "--", "true"]).output().expect("start");
    assert!(waited.status.success(), "{}", stderr(&waited));
    assert!(stderr(&waited).contains("waiting up to"), "{}", stderr(&waited));
    assert!(killed.elapsed() < Duration::from_secs(4), "{:?} after a lease of 2 s", killed.elapsed());
    until("the command was asked to end", || holding.was_terminated());
    world.assert_free("ada@laptop");
}

#[test]
fn a_lost_lock_ends_the_command_and_all_that_it_started() {
    let world = World::new();
    world.configure("2s");
    let ids = world.path("ids");
    let script = format!(
        "trap '' TERM; (trap '' TERM; echo $$ >> {0}; while :; do sleep 0.1; done) | cat & sleep 300 & echo $! >> {0}; wait",
        ids.display()
    );
    let mut holder = world.lock("ada@laptop", &["run", "--", "sh", "-c", &script]).spawn().expect("start");
    until("it runs", || fs::read_to_string(&ids).is_ok_and(|text| text.lines().count() == 2));
    let record = fs::read_to_string(world.host_record()).expect("held");
    let nonce = record.split("\"nonce\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a nonce");
    fs::write(world.host_record(), record.replace(nonce, &nonce.replace(|_: char| true, "0"))).expect("another's");
    assert_eq!(end(&mut holder), 11);
    for id in fs::read_to_string(&ids).expect("ids").lines() {
        until("nothing of it is left", || !std::path::Path::new(&format!("/proc/{id}/fd")).exists());
    }
    assert!(world.host_record().exists(), "the other's lock stays");
}

#[test]
fn a_host_held_from_another_machine_is_kept_for_one_lease() {
    let world = World::new();
    let holding = world.hold("ada@laptop", &[]);
    let record = fs::read_to_string(world.host_record()).expect("read");
    drop(holding);
    // As another machine's holder that vanished: nothing can be found out about it.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot id");
    fs::write(world.host_record(), record.replace(boot.trim(), "another")).expect("write");
    let output = world.lock("bob@desk", &["run", "--", "true"]).output().expect("start");
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    assert!(stderr(&output).contains("If the holder is gone"), "{}", stderr(&output));
    let file = fs::File::options().write(true).open(world.host_record()).expect("open");
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(62)).expect("touch");
    assert_eq!(world.status("bob@desk", &[])["hosts"][0]["state"], "stale");
    let output = world.lock("bob@desk", &["run", "--", "true"]).output().expect("start");
    assert!(output.status.success(), "{}", stderr(&output));
    world.assert_free("bob@desk");
}

#[test]
fn whoever_waits_is_told_for_whom_and_gets_it() {
    let world = World::new();
    let mut holding = world.hold("ada@laptop", &[]);
    let mut waiter = world
        .lock("bob@desk", &["run", "--wait", "50s", "--", "echo", "mine"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start");
    std::thread::sleep(Duration::from_millis(500));
    assert!(waiter.try_wait().expect("wait").is_none(), "it waits");
    fs::write(world.path("end"), "").expect("write");
    assert_eq!(end(&mut holding.child), 0);
    let output = waiter.wait_with_output().expect("its end");
    assert_eq!(output.stdout, b"mine\n");
    let said = stderr(&output);
    assert_eq!(said.matches("held by ada@laptop").count(), 1, "told once: {said}");
}

#[test]
fn a_wait_ends_at_its_limit_with_the_refusal() {
    let world = World::new();
    let _holding = world.hold("ada@laptop", &[]);
    let began = Instant::now();
    let output = world.lock("ada@laptop", &["run", "--wait", "1s", "--", "true"]).output().expect("start");
    assert_eq!(output.status.code(), Some(10));
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(stderr(&output).contains("waited 1 s"), "{}", stderr(&output));
}

#[test]
fn ctrl_c_while_waiting_leaves_nothing() {
    let world = World::new();
    let mut holding = world.hold("ada@laptop", &[]);
    for signal_sent in [Signal::INT, Signal::TERM] {
        let mut waiter = world
            .lock("bob@desk", &["run", "--wait", "10m", "--", "touch", "ran"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("start");
        std::thread::sleep(Duration::from_millis(400));
        signal(&waiter, signal_sent);
        assert_eq!(end(&mut waiter), if signal_sent == Signal::INT { 130 } else { 143 });
    }
    assert!(!world.path("work/ran").exists());
    assert_eq!(world.status("bob@desk", &[])["local"]["state"], "free");
    fs::write(world.path("end"), "").expect("write");
    assert_eq!(end(&mut holding.child), 0);
    world.assert_free("bob@desk");
}

#[test]
fn a_signal_to_the_holder_reaches_the_command_once_and_the_command_decides() {
    let world = World::new();
    for (sent, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")] {
        let log = world.path(&format!("log-{name}"));
        let script = format!(
            "trap 'echo {name} >> {0}; n=$((n+1))' {name}; touch {0}; i=0; while [ $i -lt 30 ]; do sleep 0.02; i=$((i+1)); [ -s {0} ] && j=$((j+1)); [ ${{j:-0}} -gt 10 ] && exit 7; done; exit 8",
            log.display()
        );
        // In a session of its own there is no terminal that could have sent it too.
        let mut command = world.plain("setsid".as_ref(), "ada@laptop");
        let mut child =
            command.args([world::PROGRAM, "run", "--local", "--", "sh", "-c", &script]).spawn().expect("start");
        until("the command runs", || log.exists());
        signal(&child, sent);
        assert_eq!(end(&mut child), 7, "{name}");
        assert_eq!(fs::read_to_string(&log).expect("log"), format!("{name}\n"));
    }
}

#[test]
fn ctrl_c_at_a_terminal_reaches_the_command_once() {
    let world = World::new();
    let log = world.path("log");
    let script = format!("trap 'echo INT >> {0}' INT; touch {0}; sleep 0.7; sleep 0.7; exit 9", log.display());
    fs::write(world.path("script.sh"), script).expect("write");
    // `exec`: the shell that script(1) starts would turn any code into 130.
    let line = format!("exec {} run --local -- sh {}", world::PROGRAM, world.path("script.sh").display());
    let mut command = world.plain("script".as_ref(), "ada@laptop");
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().expect("script(1) gives it a terminal");
    until("the command runs", || log.exists());
    std::thread::sleep(Duration::from_millis(200));
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, b"\x03").expect("Ctrl-C");
    assert_eq!(end(&mut child), 9);
    drop(stdin);
    assert_eq!(fs::read_to_string(&log).expect("log"), "INT\n");
}

#[test]
fn no_child_inherits_the_lock() {
    let world = World::new();
    let script = "ls -l /proc/$$/fd; sleep 60 >/dev/null 2>&1 & echo $! > pid";
    let output = world.lock("ada@laptop", &["run", "--", "sh", "-c", script]).output().expect("start");
    assert!(output.status.success(), "{}", stderr(&output));
    let fds = String::from_utf8_lossy(&output.stdout);
    assert!(fds.contains(" 0 ->") && !fds.contains(".lock"), "{fds}");
    world.assert_free("ada@laptop");
    let sleeper = fs::read_to_string(world.path("work/pid")).expect("pid");
    assert!(std::process::Command::new("kill").arg(sleeper.trim()).status().expect("kill").success(), "it still ran");
}

#[test]
fn a_script_inside_a_script_does_not_wait_for_itself() {
    let world = World::new();
    let inner = format!("{} run --wait 10m -- sh -c 'exit 5'", world::PROGRAM);
    let output = world.lock("ada@laptop", &["run", "--", "sh", "-c", &inner]).output().expect("start");
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    // The variable of a run that has ended is no lock.
    let mut stray = world.lock("ada@laptop", &["run", "--", "touch", "ran"]);
    let output = stray.env("CM_LOCK_NONCE", "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10").output().expect("start");
    assert_eq!(output.status.code(), Some(11), "{}", stderr(&output));
    assert!(!world.path("work/ran").exists());
}

#[test]
fn what_cannot_be_a_lock_is_a_configuration_error() {
    let world = World::new();
    let file = world.lock_file("ada@laptop");
    let refused = |word: &str| {
        let output = world.lock("ada@laptop", &["run", "--", "touch", "ran"]).output().expect("start");
        assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
        assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output));
        let output = world.lock("ada@laptop", &["status"]).output().expect("start");
        assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
        assert!(!world.path("work/ran").exists());
    };
    fs::create_dir(&file).expect("mkdir");
    refused("directory");
    fs::remove_dir(&file).expect("rmdir");
    std::os::unix::fs::symlink(world.path("elsewhere"), &file).expect("symlink");
    refused("symbolic link");
    assert!(!world.path("elsewhere").exists());
    fs::remove_file(&file).expect("rm");
    assert!(std::process::Command::new("mkfifo").arg(&file).status().expect("mkfifo").success());
    refused("FIFO");
    fs::remove_file(&file).expect("rm");
    fs::create_dir_all(world.host_record().parent().expect("a directory")).expect("mkdir");
    for content in ["", "4711\n", r#"{"schema":"cm.lock/2"}"#] {
        fs::write(world.host_record(), content).expect("write");
        refused("break --confirm=unreadable");
        assert_eq!(fs::read_to_string(world.host_record()).expect("read"), content);
    }
    let broken = world.lock("ada@laptop", &["break", "--confirm=unreadable"]).output().expect("start");
    assert!(broken.status.success(), "{}", stderr(&broken));
    world.assert_free("ada@laptop");
}

#[test]
fn only_the_holder_that_was_seen_is_broken() {
    let world = World::new();
    let mut holding = world.hold("ada@laptop", &[]);
    let mut command = world.lock("ada@laptop", &["break", "--confirm=bob@desk"]);
    let output = command.env("CM_LOG", "json").output().expect("start");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    for words in ["\"code\":\"lock.confirm\"", "held by ada@laptop"] {
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    let output = world.lock("ada@laptop", &["break", "--confirm=ada@laptop", "--dry-run"]).output().expect("start");
    assert!(output.status.success() && !holding.was_terminated(), "{}", stderr(&output));
    let output = world.lock("ada@laptop", &["break", "--confirm=ada@laptop"]).output().expect("start");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(end(&mut holding.child), 3, "the command was asked to end, and ended its way");
    assert!(holding.was_terminated());
    world.assert_free("ada@laptop");
    let output = world.lock("ada@laptop", &["break", "--confirm=ada@laptop"]).output().expect("start");
    assert!(output.status.success() && stderr(&output).contains("nobody holds"), "{}", stderr(&output));
}

/// Somebody who takes the lock of a host again and again; `record` says of whom it is then.
fn racing(world: &World, record: impl Fn() -> cm_lease::Record + Sync, arguments: &[&str], code: &str) -> String {
    let place = world.host_record();
    fs::create_dir_all(place.parent().expect("a directory")).expect("mkdir");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let aside = world.path("aside.json");
            while !over.load(Ordering::Relaxed) {
                fs::write(&aside, serde_json::to_vec(&record()).expect("JSON")).expect("write");
                // Its lease is over already, for those who may take it from one that is gone.
                let then = std::time::SystemTime::now() - Duration::from_secs(100);
                fs::File::options().write(true).open(&aside).and_then(|file| file.set_modified(then)).expect("touch");
                fs::rename(&aside, &place).expect("rename");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        until("it is taken", || place.exists());
        let tries = (0..50).map(|_| {
            let output = world.lock("ada@laptop", arguments).env("CM_LOG", "json").output().expect("start");
            (output.status.code(), stderr(&output))
        });
        let found = tries.into_iter().find(|(_, said)| said.contains(&format!("\"code\":\"{code}\"")));
        over.store(true, Ordering::Relaxed);
        let (exit, said) = found.unwrap_or_else(|| panic!("never {code}"));
        assert_eq!(exit, Some(10), "{said}");
        said
    })
}

#[test]
fn a_lock_that_changes_hands_meanwhile_is_left_alone() {
    let record = || cm_lease::Record::new("bob@desk", Duration::from_secs(60)).expect("/proc");
    let said = racing(&World::new(), record, &["break", "--confirm=bob@desk"], "lock.changed");
    assert!(said.contains("look again: cm-lock status"), "{said}");
    // Each of these holders is gone, and each time it is another one.
    let gone = || {
        let mut record = record();
        record.process.pid = 4_194_999;
        record
    };
    racing(&World::new(), gone, &["run", "--", "true"], "lock.contended");
}

#[test]
fn a_broken_host_lock_is_noticed_and_told() {
    let world = World::new();
    world.configure("2s");
    let mut holding = world.hold("ada@laptop", &[]);
    let output = world.lock("bob@desk", &["break", "--confirm=ada@laptop"]).output().expect("start");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(end(&mut holding.child), 11);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut holding.child.stderr.take().expect("a pipe"), &mut said).expect("read");
    assert!(said.contains("is not this run's") && said.contains("lost while the command ran"), "{said}");
}

#[test]
fn a_lease_is_renewed_for_as_long_as_the_command_runs() {
    let world = World::new();
    world.configure("2s");
    let mut holding = world.hold("ada@laptop", &[]);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        let status = world.status("bob@desk", &[]);
        assert!(status["hosts"][0]["renewed_seconds_ago"].as_u64().expect("a number") <= 2, "{status}");
        std::thread::sleep(Duration::from_millis(200));
    }
    fs::write(world.path("end"), "").expect("write");
    assert_eq!(end(&mut holding.child), 0);
    world.assert_free("ada@laptop");
}

#[test]
fn a_host_on_which_nothing_changes_knows_which_step_of_which_run_holds_it() {
    let world = World::new();
    world.configure("1s");
    let mut holding = world.hold("ada@laptop", &[]);
    let host = || world.status("bob@desk", &[])["hosts"][0].clone();
    let nonce = host()["record"]["nonce"].as_str().expect("a nonce").to_owned();
    for step in ["build", "health"] {
        // As each program of a run does with the lock of its own machine.
        cm_lease::local::tell_step(&world.lock_file("ada@laptop"), &nonce, step, Some("01a2"));
        until(step, || host()["step"] == step && host()["record"]["run"] == "01a2");
    }
    fs::write(world.path("end"), "").expect("write");
    assert_eq!(end(&mut holding.child), 0);
    world.assert_free("ada@laptop");
}

#[test]
fn this_machine_alone_needs_no_configuration() {
    let world = World::new();
    let here = |arguments: &[&str]| {
        let mut command = world.lock("ada@laptop", arguments);
        command.current_dir(world.path("empty")).output().expect("start")
    };
    assert!(here(&["run", "--local", "--", "true"]).status.success());
    assert!(here(&["run", "--file", "../x.lock", "--", "true"]).status.success());
    assert!(world.path("x.lock").exists());
    let output = here(&["run", "--host", "me@server", "--", "true"]);
    assert_eq!(
        output.status.code(),
        Some(6),
        "the directory on a host is named after the project: {}",
        stderr(&output)
    );
    assert_eq!(here(&["run"]).status.code(), Some(2));
    assert_eq!(here(&["run", "--wait", "soon", "--", "true"]).status.code(), Some(2));
}

#[test]
fn a_dry_run_says_what_it_would_do() {
    let world = World::new();
    let output = world.lock("ada@laptop", &["run", "--dry-run", "--", "touch", "ran"]).output().expect("start");
    assert!(output.status.success() && stderr(&output).contains("would hold"), "{}", stderr(&output));
    assert!(!world.path("work/ran").exists() && !world.lock_file("ada@laptop").exists());
}
