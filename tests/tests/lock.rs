//! The deploy lock over real SSH: two laptops with homes, lock files and connections of their own, and one
//! server. Who held it when is told by the commands that ran under it, never by cm.
//!
//! `CM_LOCK_RACES=1000` and `CM_LOCK_KILLS=200` run that many rounds instead of the few of everyday.

#![expect(clippy::print_stdout, reason = "a long test tells where it is, and what it measured")]

use cm_testkit::{Laptop, Sandbox, repository};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

const RACERS: usize = 16;

/// In the rounds in which somebody is killed; three renewals fit into it, also on a busy machine.
const LEASE: Duration = Duration::from_secs(3);

/// What a busy machine may add to a lease until the next attempt has started its command, sshd included.
const SLACK: Duration = Duration::from_secs(2);

fn rounds(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

fn pair(sandbox: &Sandbox, project: &str) -> [Laptop; 2] {
    ["ada@laptop", "bob@desk"].map(|actor| Laptop::new(sandbox, project, actor, LEASE))
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn kill(pid: &str) {
    let _gone_already = quiet(Command::new("kill").args(["-KILL", pid])).status();
}

fn until(what: &str, is: impl FnMut() -> bool) {
    cm_testkit::until(what, Duration::from_secs(120), is);
}

/// Gone, or only waiting to be collected, which nobody does in a container without an init.
fn has_ended(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

fn end(child: &mut Child) -> i32 {
    cm_testkit::end(child, Duration::from_secs(120))
}

fn assert_free(laptop: &Laptop) {
    let status = laptop.lock_status();
    assert_eq!((&status["local"]["state"], &status["hosts"][0]["state"]), (&"free".into(), &"free".into()), "{status}");
}

// ---- Round trips ----------------------------------------------------------------------------------------------------

/// sshd runs `~/.ssh/rc` for every session of a connection, so that counts them.
#[test]
fn taking_and_giving_back_go_through_one_session_of_one_connection() {
    let sandbox = Sandbox::up("lock-trips");
    let [laptop, _] = pair(&sandbox, "trips");
    let on_server = |script: &str| sandbox.server("platform", &["sh", "-c", script]);
    on_server("echo 'echo \"${SSH_CONNECTION#* }\" >> ~/commands' > ~/.ssh/rc");
    for connection in ["new", "resumed"] {
        on_server("rm -f ~/commands");
        assert_eq!(laptop.lock(&["run", "--", "true"]), 0);
        let seen = on_server("cat ~/commands");
        // The look itself is a session too, over a connection of its own.
        assert_eq!(seen.lines().count(), 2, "over a {connection} connection: {seen}");
    }
    assert_free(&laptop);
}

// ---- Races ----------------------------------------------------------------------------------------------------------

/// Reads the server's record and the laptops' again and again. Whatever is not whole is told by a panic.
fn read_records(sandbox: &Sandbox, laptops: &[Laptop; 2], stop: &AtomicBool) -> usize {
    let script = "while sleep 0.01; do if text=$(cat .local/state/cm/race/lock.json 2>/dev/null); then printf '[%s]\\n' \"$text\"; else echo; fi; done";
    let config = laptops[0].home.run("printenv", &["CM_SSH_CONFIG"], "", None).stdout;
    let host = laptops[0].home.run("printenv", &["PLATFORM_VPS_IP"], "", None).stdout;
    let mut command = sandbox.home.command("ssh", &["-F", config.trim(), host.trim(), script], "");
    let mut ssh = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("ssh");
    let mut lines = BufReader::new(ssh.stdout.take().expect("a pipe")).lines();
    let mut seen = 0;
    while !stop.load(Ordering::Relaxed) {
        let line = lines.next().expect("the server goes on").expect("a line");
        if !line.is_empty() {
            let records: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(records[0]["schema"], "cm.lock/1", "{line}");
            seen += 1;
        }
        seen += laptops.iter().map(read_own_record).sum::<usize>();
    }
    ssh.kill().and_then(|()| ssh.wait()).expect("the reader's end");
    seen
}

fn read_own_record(laptop: &Laptop) -> usize {
    let names = fs::read_dir(laptop.home.path()).expect("list").flatten().map(|entry| entry.path());
    let is_record = |path: &PathBuf| {
        let name = path.to_string_lossy().into_owned();
        // What comes behind a second dot is still being written.
        name.rsplit_once("deploy.lock.holder-").is_some_and(|(_, uid)| !uid.contains('.'))
    };
    let read = |path: PathBuf| {
        let text = fs::read_to_string(path).ok()?;
        let record: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
        assert_eq!(record["schema"], "cm.lock/1");
        Some(())
    };
    names.filter(is_record).filter_map(read).count()
}

fn race(laptops: &[Laptop; 2], round: usize) {
    let go = laptops[0].home.path().join(format!("go-{round}"));
    let script = format!("echo x >> {0}.won; while [ ! -e {0} ]; do sleep 0.01; done", go.display());
    let mut racers: Vec<_> =
        (0..RACERS).map(|racer| laptops[racer % 2].start("cm-lock", &["run", "--", "sh", "-c", &script])).collect();
    until("all but one are refused", || {
        racers.iter_mut().map(|racer| usize::from(racer.try_wait().expect("wait").is_none())).sum::<usize>() <= 1
    });
    fs::write(&go, "").expect("write");
    let mut codes: Vec<_> = racers.iter_mut().map(end).collect();
    codes.sort_unstable();
    let mut wanted = vec![10; RACERS];
    wanted[0] = 0;
    assert_eq!(codes, wanted, "round {round}");
    assert_eq!(fs::read_to_string(go.with_extension("won")).expect("a winner"), "x\n", "round {round}");
}

#[test]
fn of_sixteen_on_two_laptops_exactly_one_wins_every_round() {
    let sandbox = Sandbox::up("lock-race");
    let laptops = pair(&sandbox, "race");
    let (stop, rounds, began) = (AtomicBool::new(false), rounds("CM_LOCK_RACES", 8), Instant::now());
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_records(&sandbox, &laptops, &stop));
        for round in 0..rounds {
            race(&laptops, round);
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("only whole records")
    });
    println!("{rounds} rounds of {RACERS} in {:?}: one winner each; {seen} records read, all whole", began.elapsed());
    assert!(seen >= rounds, "too few records were read: {seen}");
    laptops.iter().for_each(assert_free);
}

// ---- kill -9 --------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Victim {
    /// `cm-lock run` itself.
    Holder,
    /// The shell that started `cm-lock run`; the lock is not its own and goes on.
    Parent,
    /// The ssh process behind the shared connection.
    Connection,
    /// The script that `cm-lock acquire --owner-pid` holds the lock for.
    Owner,
}

const VICTIMS: [Victim; 4] = [Victim::Holder, Victim::Parent, Victim::Connection, Victim::Owner];

/// Where those who are under the lock meet.
struct Arena {
    inside: PathBuf,
    entries: PathBuf,
    clash: PathBuf,
    document: PathBuf,
}

impl Arena {
    fn new(directory: &Path) -> Self {
        let at = |name: &str| directory.join(name);
        let arena =
            Arena { inside: at("inside"), entries: at("entries"), clash: at("clash"), document: at("document.json") };
        fs::write(&arena.document, cm_testkit::sample_document().to_string()).expect("write");
        arena
    }

    /// Says that `me`, a process, is in, and whether another one that lives is in as well. A link is there at
    /// once and whole, or not at all.
    fn enter(&self, me: &str, seconds: &str) -> String {
        format!(
            "me={me}; echo $me > {0}.$$
            if ! ln {0}.$$ {0} 2>/dev/null; then
                other=$(cat {0} 2>/dev/null || echo none)
                if grep -q '^State:.[^Z]' /proc/$other/status 2>/dev/null; then echo $other $me >> {1}; fi
                mv -f {0}.$$ {0}
            fi
            date +%s.%N >> {2}
            sleep {seconds}
            rm -f {0} {0}.$$",
            self.inside.display(),
            self.clash.display(),
            self.entries.display()
        )
    }
}

fn seconds_now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// Starts what will be hit; gives the process and, for a parent, where its child's id is.
fn start_victim(laptop: &Laptop, victim: Victim, arena: &Arena, round: usize) -> (Child, PathBuf) {
    let child_id = laptop.home.path().join(format!("child-{round}"));
    let work = arena.enter("$PPID", "0.3");
    let child = match victim {
        Victim::Holder | Victim::Connection => {
            laptop.start("cm-lock", &["run", "--wait", "60s", "--", "sh", "-c", &work])
        }
        Victim::Parent => {
            let script = format!(
                "cm-lock run --wait 60s -- sh -c \"$1\" & echo $! > {0}.new; mv {0}.new {0}; wait",
                child_id.display()
            );
            laptop.start("sh", &["-c", &script, "sh", &work])
        }
        Victim::Owner => {
            let work = arena.enter("$$", "0.3");
            let script = format!(
                "cm-lock acquire --wait 60s --owner-pid $$ < {} > acquired-{round} || exit; {work}",
                arena.document.display()
            );
            laptop.start("sh", &["-c", &script])
        }
    };
    (child, child_id)
}

/// Kills it, and returns when nobody is left who could give the lock back in an orderly way.
fn strike(laptop: &Laptop, victim: Victim, child: &mut Child, child_id: &Path) {
    match victim {
        Victim::Holder | Victim::Owner => {
            let _ended_already = child.kill();
            child.wait().expect("its end");
        }
        Victim::Connection => {
            laptop.connections().iter().for_each(|pid| kill(pid));
            // Cut while it was still connecting, it may say so.
            let code = end(child);
            assert!(code == 0 || code == 7, "{code}");
        }
        Victim::Parent => {
            let _ended_already = child.kill();
            child.wait().expect("its end");
            if let Ok(pid) = fs::read_to_string(child_id) {
                until("the orphan ends", || has_ended(pid.trim()));
            }
        }
    }
}

/// Whether the victim is under the lock.
fn is_in(child: &Child, child_id: &Path, arena: &Arena) -> bool {
    let inside = fs::read_to_string(&arena.inside).unwrap_or_default();
    let id = fs::read_to_string(child_id).unwrap_or_else(|_| child.id().to_string());
    inside.trim() == id.trim()
}

/// Ends the contender however the round ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One round; gives whether the victim was under the lock when it was hit, and the seconds from its end until
/// somebody else was in.
fn kill_round(laptops: &[Laptop; 2], arena: &Arena, round: usize, delay: Duration) -> (bool, f64) {
    let victim = VICTIMS[round % VICTIMS.len()];
    let (struck, stop) = (&laptops[0], AtomicBool::new(false));
    // Another laptop comes next, or the same one again.
    let next = &laptops[usize::from((round / VICTIMS.len()).is_multiple_of(2))];
    let script = arena.enter("$PPID", "0.05");
    let (mut child, child_id) = start_victim(struck, victim, arena, round);
    let (held, gone) = std::thread::scope(|scope| {
        let _stopped_also_by_a_panic = Stop(&stop);
        let contender = scope.spawn(|| {
            // Some of the way behind the victim, so that mostly the victim is first.
            sleep(delay * 3 / 4);
            loop {
                let code = next.lock(&["run", "--", "sh", "-c", &script]);
                // 7: its own connection was cut.
                assert!([0, 7, 10].contains(&code), "{victim:?} in round {round}: {code}");
                if code == 0 && stop.load(Ordering::Relaxed) {
                    return;
                }
                sleep(Duration::from_millis(20));
            }
        });
        sleep(delay);
        let held = is_in(&child, &child_id, arena);
        strike(struck, victim, &mut child, &child_id);
        let gone = seconds_now();
        stop.store(true, Ordering::Relaxed);
        contender.join().expect("it gets in");
        (held, gone)
    });
    let clash = fs::read_to_string(&arena.clash).unwrap_or_default();
    assert_eq!(clash, "", "held by two in round {round}, {victim:?} after {delay:?}");
    let entries = fs::read_to_string(&arena.entries).expect("entries");
    let first = entries.lines().filter_map(|line| line.parse::<f64>().ok()).find(|at| *at > gone);
    let free_after = first.map_or(0.0, |at| at - gone);
    assert!(
        free_after <= (LEASE + SLACK).as_secs_f64(),
        "round {round}, {victim:?} after {delay:?}: free only after {free_after:.2} s"
    );
    (held, free_after)
}

/// Enough randomness for moments; the seed is printed.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").subsec_nanos();
        println!("seed {seed}");
        Moments(seed.into())
    }

    fn next(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        most.mul_f64((self.0 >> 40) as f64 / (1_u64 << 24) as f64)
    }
}

#[test]
fn whatever_is_killed_the_lock_is_free_within_one_lease_and_never_held_by_two() {
    let sandbox = Sandbox::up("lock-kill");
    let laptops = pair(&sandbox, "kill");
    let arena = Arena::new(laptops[0].home.path());
    let mut moments = Moments::new();
    let mut ends: Vec<Vec<(bool, f64)>> = vec![Vec::new(); VICTIMS.len()];
    let rounds = rounds("CM_LOCK_KILLS", 12);
    for round in 0..rounds {
        let end =
            kill_round(&laptops, &arena, round, Duration::from_millis(200) + moments.next(Duration::from_millis(700)));
        ends[round % VICTIMS.len()].push(end);
    }
    let mut all_held = 0;
    for (victim, ends) in VICTIMS.iter().zip(&ends) {
        let held = ends.iter().filter(|end| end.0).count();
        let longest = ends.iter().map(|end| end.1).fold(0.0, f64::max);
        println!("{victim:?}: {} kills, {held} of them under the lock; free after {longest:.2} s at most", ends.len());
        all_held += held;
    }
    assert!(all_held * 12 >= rounds, "only {all_held} of {rounds} held the lock when they were hit");
    assert_eq!(laptops[1].lock(&["run", "--wait", "10s", "--", "true"]), 0);
    assert_free(&laptops[1]);
}

// ---- Fencing --------------------------------------------------------------------------------------------------------

fn dashboard(sandbox: &Sandbox) -> String {
    sandbox.server("platform", &["docker", "ps", "-aq", "--no-trunc", "--filter", "name=curateme-dashboard"])
}

/// The lock is broken from another laptop while a deploy is at its build. The deploy ends there: the image is built,
/// but the container that serves people stays, and the rollback, which has no lock either, changes nothing.
#[test]
fn a_lock_broken_in_the_middle_of_a_deploy_stops_it_before_the_next_change() {
    let sandbox = Sandbox::up("lock-fence");
    let deploy = repository().join("scripts/deploy-to-vps.sh").display().to_string();
    let directory = sandbox.laptop.display().to_string();
    // One service of many: there is no gateway that answers from outside.
    let flags = ["--dashboard", "--no-backup", "--skip-canary", "--skip-verify"];
    let answer = sandbox.deploy(&flags);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let before = dashboard(&sandbox);
    assert!(!before.is_empty());

    let dockerfile = sandbox.laptop.join("apps/dashboard/Dockerfile");
    let text = fs::read_to_string(&dockerfile).expect("read");
    fs::write(&dockerfile, format!("{text}\nRUN [\"python3\", \"-c\", \"import time; time.sleep(12)\"]\n"))
        .expect("write");
    sandbox.commit("dashboard: a slow build");
    let mut command = sandbox.home.command(&deploy, &flags, &directory);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    until("the build is at work", || {
        let look = "grep -lsz 'time[.]sleep(12)' /proc/[0-9]*/cmdline || :";
        assert!(child.try_wait().expect("wait").is_none(), "it ended early: {:?}", child.stderr);
        !sandbox.server("platform", &[look]).is_empty()
    });

    // The shells that wait for a command die, too: what comes next asks through another one.
    let kill = "for each in /proc/[0-9]*; do [ \"$(tr '\\0' ' ' <$each/cmdline)\" != 'sh ' ] || \
        [ -n \"$(cat $each/task/*/children)\" ] || kill -KILL ${each#/proc/} && echo killed; done 2>/dev/null; :";
    let killed = sandbox.server("platform", &["sh", "-c", kill]);
    assert!(!killed.is_empty(), "no shell waits");
    let other = Laptop::new(&sandbox, "curateme", "bob@desk", LEASE);
    let broken = other.home.run("cm-lock", &["break", "--confirm=ada@laptop"], &directory, None);
    assert_eq!(broken.code, 0, "{broken:?}");
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(11), "{said}");
    assert!(said.contains("is not this run's"), "{said}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!(document["error"]["code"], "lock.lost", "{document}");
    assert_eq!(dashboard(&sandbox), before, "the old container still serves\n{said}");
}
