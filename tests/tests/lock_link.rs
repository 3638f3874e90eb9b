//! The deploy lock over a link that is as bad as real ones: slow, cut, silent, with a server that restarts behind
//! it and a laptop that sleeps before it.

use cm_testkit::{Laptop, Relay, Sandbox, sample_document};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const LEASE: Duration = Duration::from_secs(3);

fn until(what: &str, is: impl FnMut() -> bool) {
    cm_testkit::until(what, Duration::from_secs(60), is);
}

fn send(signal: &str, process: &Child, group: bool) {
    let id = format!("{}{}", if group { "-" } else { "" }, process.id());
    let status = Command::new("kill").args([signal, "--", &id]).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{signal} {id}");
}

fn end(child: &mut Child) -> i32 {
    cm_testkit::end(child, Duration::from_secs(60))
}

fn state(laptop: &Laptop) -> String {
    laptop.lock_status()["hosts"][0]["state"].as_str().expect("a state").to_owned()
}

/// A run under the lock that asks whether it still holds as soon as the file `go` is there.
struct Asking {
    child: Child,
    code: std::path::PathBuf,
}

impl Asking {
    fn start(laptop: &Laptop) -> Self {
        let at = |name: &str| laptop.home.path().join(name);
        for name in ["in", "go", "code"] {
            let _old = fs::remove_file(at(name));
        }
        let document = sample_document().to_string().replace("\"h\"", "\"platform\"").replace("\"shop\"", "\"link\"");
        fs::write(at("work/document"), document).expect("write");
        let script = "touch ../in; while [ ! -e ../go ]; do sleep 0.05; done; cm-lock <document >/dev/null; echo $? >../code.new; mv ../code.new ../code";
        let mut command = laptop.command("cm-lock", &["run", "--", "sh", "-c", script]);
        // A group of its own, so that all of it can sleep.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("start");
        until("it is under the lock", || at("in").exists());
        Asking { child, code: at("code") }
    }

    /// Lets it ask; how the run ended.
    fn end(&mut self) -> i32 {
        fs::write(self.code.with_file_name("go"), "").expect("write");
        end(&mut self.child)
    }

    /// The answer of a run that ends well.
    fn ask(mut self) -> String {
        assert_eq!(self.end(), 0);
        fs::read_to_string(&self.code).expect("an answer").trim().to_owned()
    }
}

/// However far an attempt has come when Ctrl-C arrives: afterwards nobody holds the host.
fn an_interrupt_on_a_slow_link_leaves_nothing(relay: &Relay, far: &Laptop, near: &Laptop) {
    relay.delay(Duration::from_millis(60));
    for after in [100, 300, 500, 700, 900] {
        let mut child = far.start("cm-lock", &["run", "--wait", "1m", "--", "true"]);
        sleep(Duration::from_millis(after));
        let interrupted = child.try_wait().expect("wait").is_none();
        if interrupted {
            send("-INT", &child, false);
        }
        let code = end(&mut child);
        assert!(code == 0 || interrupted && code == 130, "after {after} ms: {code}");
        assert_eq!(state(near), "free", "after {after} ms");
    }
    relay.delay(Duration::ZERO);
}

/// The line is cut while the lock is being asked for: the failure says so, and what the host may have noted lapses.
fn a_cut_in_the_middle_of_an_attempt_lasts_one_lease(relay: &Relay, far: &Laptop, near: &Laptop) {
    assert_eq!(far.lock(&["run", "--", "true"]), 0, "the connection is there");
    for bytes in [200, 2000, 5000] {
        relay.cut_after(bytes);
        assert_eq!(far.lock(&["run", "--", "true"]), 7, "cut after {bytes} bytes");
        relay.restore();
        let cut = Instant::now();
        until("the host is free", || near.lock(&["run", "--", "true"]) == 0);
        assert!(cut.elapsed() < LEASE + Duration::from_secs(3), "{:?}", cut.elapsed());
    }
}

/// It sleeps for longer than its lease, and its link is silent. Somebody else deploys meanwhile. When it wakes, it
/// makes no further change: what runs under the lock is ended, exit 11.
fn a_laptop_that_slept_past_its_lease_has_lost_the_lock(relay: &Relay, far: &Laptop, near: &Laptop) {
    let mut asking = Asking::start(far);
    send("-STOP", &asking.child, true);
    relay.stall();
    let slept = Instant::now();
    assert_eq!(near.lock(&["run", "--", "true"]), 10, "its lease goes on");
    let mut other = near.start("cm-lock", &["run", "--wait", "30s", "--", "sleep", "4"]);
    until("the other one has it", || near.lock_status()["hosts"][0]["record"]["owner"] == "bob@desk");
    assert!(slept.elapsed() > LEASE - Duration::from_secs(1), "taken too early: {:?}", slept.elapsed());
    relay.restore();
    send("-CONT", &asking.child, true);
    assert_eq!(asking.end(), 11, "a lost lock ends the command that ran under it");
    assert_eq!(end(&mut other), 0);
    assert_eq!(state(near), "free");
}

/// Over the connection that is there, to take the lock and to give it back is two commands: it takes no more round
/// trips than ssh itself for two that read, think and answer.
fn it_costs_two_commands_over_the_shared_connection(relay: &Relay, far: &Laptop) {
    assert_eq!(far.lock(&["run", "--", "true"]), 0, "the connection is there");
    let found = far.home.run("find", &["../run", "-type", "s"], "work", None);
    let socket = found.stdout.lines().next().expect("the control socket");
    let trips = |run: &dyn Fn() -> i32| {
        let before = relay.round_trips();
        assert_eq!(run(), 0);
        relay.round_trips() - before
    };
    let peer = ["-S", socket, "platform", "cat >/dev/null; sleep 0.3; echo done"];
    relay.delay(Duration::from_millis(150));
    let command = trips(&|| far.home.run("ssh", &peer, "work", Some(b"x")).code);
    let lock = trips(&|| far.lock(&["run", "--", "true"]));
    relay.delay(Duration::ZERO);
    assert!(command > 0 && lock <= 2 * command, "{lock} round trips, {command} for one command of ssh");
}

/// The server loses its power: the lock is in its file, the holder comes back and goes on.
fn a_server_that_restarts_keeps_the_lock_for_its_holder(sandbox: &Sandbox, far: &Laptop, near: &Laptop) {
    let asking = Asking::start(far);
    sandbox.restart("platform");
    until("the server answers", || ["held", "stale"].contains(&state(near).as_str()));
    assert_eq!(near.lock_status()["hosts"][0]["record"]["owner"], "ada@laptop");
    assert_eq!(asking.ask(), "0");
    assert_eq!(state(near), "free");
}

/// A host that nobody can reach is named, and how to do without it; then it holds up nobody.
fn a_dead_host_holds_up_only_what_runs_there(relay: &Relay, far: &Laptop) {
    let file = far.home.path().join("work/cm.toml");
    let toml = fs::read_to_string(&file).expect("read");
    let dead = Relay::to(relay.address());
    dead.cut();
    let more = format!("{toml}[hosts.dead]\naddress = \"ssh://ada@127.0.0.1:{}\"\n", dead.address().port());
    fs::write(&file, more).expect("write");
    let refused = far.home.run("cm-lock", &["run", "--", "true"], "work", None);
    assert_eq!(refused.code, 7, "{refused:?}");
    assert!(refused.stderr.contains("\"dead\"") && refused.stderr.contains("--host NAME"), "{}", refused.stderr);
    assert_eq!(far.lock(&["run", "--host", "platform", "--", "true"]), 0);
    fs::write(&file, toml).expect("write");
}

#[test]
fn the_lock_over_a_link_that_is_slow_cut_or_silent() {
    let mut sandbox = Sandbox::up("lock-link");
    let near = Laptop::new(&sandbox, "link", "bob@desk", LEASE).elsewhere();
    let relay = sandbox.relay("platform");
    let far = Laptop::new(&sandbox, "link", "ada@laptop", LEASE);
    an_interrupt_on_a_slow_link_leaves_nothing(&relay, &far, &near);
    it_costs_two_commands_over_the_shared_connection(&relay, &far);
    a_cut_in_the_middle_of_an_attempt_lasts_one_lease(&relay, &far, &near);
    a_dead_host_holds_up_only_what_runs_there(&relay, &far);
    a_laptop_that_slept_past_its_lease_has_lost_the_lock(&relay, &far, &near);
    a_server_that_restarts_keeps_the_lock_for_its_holder(&sandbox, &far, &near);
}
