//! The places where `cm-lock` is used or cannot be: under nohup and cron, by a second user, in a container, on a
//! full or read-only disk. What is special about a place is made with namespaces of the kernel, so that the
//! machine itself stays as it is.

mod world;

use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use world::{World, end, feed, signal, stderr, until};

/// `script` in a mount namespace of its own with a small file system at `work/disk`.
fn on_a_disk_of_its_own(world: &World, options: &str, script: &str) -> Output {
    let disk = world.path("work/disk");
    fs::create_dir_all(&disk).expect("mkdir");
    let script = format!("mount -t tmpfs -o {options} none '{}' && {script}", disk.display());
    let mut command = world.plain("unshare".as_ref(), "ada@laptop");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]).output().expect("unshare (util-linux)")
}

fn refused(output: &Output, word: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains(word), "{word}: {said}");
    assert!(said.contains("hint"), "{said}");
}

#[test]
fn nohup_protects_the_command_and_the_lock() {
    let world = World::new();
    let began = world.path("began");
    for (name, ignored) in [("HUP", Signal::HUP), ("INT", Signal::INT)] {
        let work = format!(
            "kill -{name} $$; touch {0}; while [ ! -e {0}.end ]; do sleep 0.02; done; echo lived",
            began.display()
        );
        let script = format!("trap '' {name}; exec {} run --local -- sh -c \"$1\"", world::PROGRAM);
        let mut command = world.plain("setsid".as_ref(), "ada@laptop");
        command.args(["sh", "-c", &script, "sh", &work]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start");
        until("the command has survived", || began.exists());
        signal(&child, ignored);
        assert_eq!(world.status("ada@laptop", &["--local"])["local"]["state"], "held");
        fs::write(world.path("began.end"), "").expect("write");
        assert_eq!(end(&mut child), 0, "{name}");
        let output = child.wait_with_output().expect("its end");
        assert_eq!(output.stdout, b"lived\n");
        fs::remove_file(&began).and_then(|()| fs::remove_file(world.path("began.end"))).expect("rm");
    }
}

#[test]
fn cron_gives_no_home_no_user_and_no_terminal() {
    let world = World::new();
    let file = world.path("cron.lock");
    let mut command = Command::new("setsid");
    command.args(["env", "-i", "PATH=/usr/bin:/bin", world::PROGRAM, "run", "--local", "--file"]).arg(&file);
    command.args(["--", "sh", "-c", "cat \"$CM_LOCK_FILE\".holder-*"]);
    let output = command.current_dir("/").stdin(Stdio::null()).output().expect("start");
    assert!(output.status.success(), "{}", stderr(&output));
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the record");
    assert!(record["owner"].as_str().is_some_and(|owner| owner.contains('@') && !owner.starts_with('@')), "{record}");
    assert_eq!(stderr(&output), "");
}

/// A directory like /tmp, with the program in it, because `nobody` cannot enter a home.
struct Shared {
    dir: tempfile::TempDir,
}

impl Shared {
    fn new() -> Self {
        let dir = tempfile::tempdir_in("/tmp").expect("tempdir");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).expect("chmod");
        fs::copy(world::PROGRAM, dir.path().join("cm-lock")).expect("copy");
        Shared { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// A command as `nobody`, or as whoever runs the test.
    fn as_user(&self, user: &str, arguments: &[&str]) -> Command {
        let (program, before): (_, &[&str]) = match user {
            "nobody" => ("sudo", &["-n", "-u", "nobody", "--", "env"]),
            _ => ("env", &[]),
        };
        let mut command = Command::new(program);
        command.args(before).arg(format!("CM_LOCK_FILE={}", self.path("deploy.lock")));
        command.arg(format!("CM_ACTOR={user}@desk")).args(arguments).current_dir("/").stdin(Stdio::null());
        command
    }

    fn lock(&self, user: &str, arguments: &[&str]) -> Command {
        let mut command = self.as_user(user, &[&self.path("cm-lock")]);
        command.args(arguments);
        command
    }

    fn output(&self, user: &str, arguments: &[&str]) -> Output {
        self.lock(user, arguments).output().expect("sudo (scripts/setup.sh --tests)")
    }
}

/// What the kernel refuses in a sticky directory (`fs.protected_regular`), as it was found; put back when dropped.
struct Protection(Option<String>);

impl Protection {
    const FILE: &str = "/proc/sys/fs/protected_regular";

    /// The levels to try: all with `CM_LOCK_PROTECTED=1`, because that changes the whole machine for a moment;
    /// else the one it has.
    fn levels() -> (Self, Vec<&'static str>) {
        if std::env::var_os("CM_LOCK_PROTECTED").is_none() {
            return (Protection(None), vec![""]);
        }
        (Protection(Some(fs::read_to_string(Self::FILE).expect("read"))), vec!["0", "1", "2"])
    }

    fn set(level: &str) {
        if !level.is_empty() {
            fs::write(Self::FILE, level).expect("only root may set fs.protected_regular");
        }
    }
}

impl Drop for Protection {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            Self::set(before.trim());
        }
    }
}

/// In a sticky directory the second user can neither write to the first one's files nor replace them, and with
/// `fs.protected_regular` not even open them with `O_CREAT`.
#[test]
fn two_users_share_one_lock_in_a_sticky_directory() {
    let shared = Shared::new();
    let (_put_back, levels) = Protection::levels();
    let pairs = [("nobody", "ada"), ("ada", "nobody")];
    for (level, (first, second)) in levels.into_iter().flat_map(|level| pairs.map(|pair| (level, pair))) {
        Protection::set(level);
        let _old = fs::remove_file(shared.path(&format!("go-{first}")));
        let _fresh = fs::remove_file(shared.path("deploy.lock"));
        let go = shared.path(&format!("go-{first}"));
        let script = format!("umask 077; while [ ! -e {go} ]; do sleep 0.02; done");
        let mut command = shared.lock(first, &["run", "--local", "--reason", "first", "--", "sh", "-c", &script]);
        let mut holder = command.spawn().expect("start");
        let state = |user: &str| -> serde_json::Value {
            serde_json::from_slice(&shared.output(user, &["status", "--local"]).stdout).expect("JSON")
        };
        until("it is held", || state(second)["local"]["state"] == "held");
        assert_eq!(state(second)["local"]["record"]["owner"], format!("{first}@desk"));
        let output = shared.output(second, &["run", "--local", "--", "true"]);
        assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
        assert!(stderr(&output).contains(&format!("held by {first}@desk")), "{}", stderr(&output));
        fs::write(&go, "").expect("write");
        assert_eq!(end(&mut holder), 0);
        // The file stays the first one's; the second one locks it all the same.
        for user in [second, first, second] {
            let output = shared.output(user, &["run", "--local", "--", "true"]);
            assert!(output.status.success(), "{user} after {first}: {}", stderr(&output));
        }
        assert_eq!(state(first)["local"]["state"], "free");
    }
}

#[test]
fn nobody_can_forge_or_end_the_lock_of_somebody_else() {
    let shared = Shared::new();
    let owner =
        fs::metadata(shared.path("cm-lock")).map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).expect("uid");
    let mut command = shared.lock("ada", &["run", "--local", "--", "sh", "-c", "exec sleep 60"]);
    let mut holder = command.stdout(Stdio::piped()).spawn().expect("start");
    let record = shared.path(&format!("deploy.lock.holder-{owner}"));
    until("it is held", || Path::new(&record).exists());
    let output = shared.output("nobody", &["break", "--confirm=ada@desk", "--local"]);
    assert_eq!(output.status.code(), Some(10), "it says why not: {}", stderr(&output));
    assert!(stderr(&output).contains("process"), "{}", stderr(&output));
    assert!(holder.try_wait().expect("wait").is_none(), "it goes on");
    // Nobody's word about a process of somebody else: it neither locks nor is that process ended.
    let output = shared
        .as_user("nobody", &["install", "-m644", &record, &shared.path("other.lock.holder-65534")])
        .output()
        .expect("install");
    assert!(output.status.success(), "{}", stderr(&output));
    let other = shared.path("other.lock");
    let output = shared.output("ada", &["break", "--confirm=ada@desk", "--local", "--file", &other]);
    assert!(output.status.success() && stderr(&output).contains("nobody holds"), "{}", stderr(&output));
    let output = shared.output("ada", &["run", "--local", "--file", &other, "--", "true"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(holder.try_wait().expect("wait").is_none(), "it goes on");
    signal(&holder, Signal::TERM);
    end(&mut holder);
}

#[test]
fn the_lock_is_for_ones_own_processes_only() {
    let shared = Shared::new();
    let mut command = shared.lock("nobody", &["acquire", "--local", "--owner-pid", "1"]);
    command.env("XDG_STATE_HOME", shared.path("state"));
    let output = feed(command, &document());
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("belongs to the user"), "{}", stderr(&output));
    assert!(!Path::new(&shared.path("deploy.lock")).exists());
}

fn document() -> Vec<u8> {
    let document = serde_json::json!({
        "schema": "cm.deployment/1",
        "run": {"id": "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10", "actor": "ada", "started_at": "2026-05-04T09:30:00Z", "dry_run": false},
        "project": "shop", "branch": "develop", "commit": null, "status": "ok",
        "services": [], "stages": [], "facts": {}, "undo": [], "error": null,
    });
    document.to_string().into_bytes()
}

/// A container has process ids of its own; the kernel lock in a shared directory holds all the same, and nobody
/// draws conclusions from a process id of the other side.
#[test]
fn a_container_and_its_machine_share_one_lock() {
    let world = World::new();
    let end_file = world.path("end");
    let script = format!("while [ ! -e {} ]; do sleep 0.02; done", end_file.display());
    let mut command = world.plain("unshare".as_ref(), "ada@container");
    command.env("CM_LOCK_FILE", world.lock_file("shared"));
    command.args(["--map-root-user", "--pid", "--fork", "--mount-proc", world::PROGRAM]);
    command.args(["run", "--local", "--", "sh", "-c", &script]);
    let mut holder = command.spawn().expect("unshare (util-linux)");
    let mine = |arguments: &[&str]| world.lock("shared", arguments).output().expect("start");
    until("it is held", || world.status("shared", &["--local"])["local"]["state"] == "held");
    until("its record is there", || world.status("shared", &["--local"])["local"]["record"].is_object());
    let output = mine(&["run", "--local", "--", "true"]);
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    let output = mine(&["break", "--local", "--confirm=ada@container"]);
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    assert!(stderr(&output).contains("container"), "it says why not: {}", stderr(&output));
    fs::write(&end_file, "").expect("write");
    assert_eq!(end(&mut holder), 0);
    assert!(mine(&["run", "--local", "--", "true"]).status.success());
}

/// A container without /proc cannot say who holds the lock, and one that hides other users' processes cannot
/// find out anything about them: the first is an error, the second a lock that holds.
#[test]
fn a_proc_that_is_missing_or_hides_others_never_makes_the_lock_free() {
    let world = World::new();
    let run = "export CM_LOG=json && exec";
    let script = format!("mount -t tmpfs none /proc && {run} {} run --local -- touch ran", world::PROGRAM);
    let output = on_a_disk_of_its_own(&world, "rw", &script);
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("\"code\":\"lock.no-proc\"") && !world.path("work/ran").exists(),
        "{}",
        stderr(&output)
    );

    let shared = Shared::new();
    let mut holder = shared.lock("ada", &["run", "--local", "--", "sleep", "60"]).spawn().expect("start");
    until("it is held", || {
        let said = shared.output("ada", &["status", "--local"]).stdout;
        serde_json::from_slice::<serde_json::Value>(&said).expect("JSON")["local"]["record"].is_object()
    });
    let hidden = "mount -t proc -o hidepid=2 proc /proc && exec sudo -n -u nobody env CM_LOCK_FILE=\"$1\" \"$0\" run --local -- true";
    let mut command = Command::new("sudo");
    command.args([
        "-n",
        "unshare",
        "--mount",
        "sh",
        "-c",
        hidden,
        &shared.path("cm-lock"),
        &shared.path("deploy.lock"),
    ]);
    let output = command.stdin(Stdio::null()).output().expect("sudo (scripts/setup.sh --tests)");
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    signal(&holder, Signal::TERM);
    end(&mut holder);
}

const RUN: &str = "run --local --file disk/x.lock -- touch ran";

#[test]
fn a_read_only_directory_is_refused_and_the_command_does_not_run() {
    let world = World::new();
    let output = on_a_disk_of_its_own(&world, "ro", &format!("exec {} {RUN}", world::PROGRAM));
    refused(&output, "read-only");
    // With a lock file that is there already, the record is what cannot be written.
    let script = format!("touch disk/x.lock && mount -o remount,ro none disk && exec {} {RUN}", world::PROGRAM);
    let output = on_a_disk_of_its_own(&world, "rw", &script);
    refused(&output, "read-only");
    assert!(!world.path("work/ran").exists());
}

#[test]
fn a_full_disk_is_refused_and_nothing_half_done_stays() {
    let world = World::new();
    let fill = "cat /dev/zero > disk/fill 2>/dev/null;";
    let run = format!("CM_LOG=json {} {RUN}", world::PROGRAM);
    let script = format!("{{ {fill} {run}; code=$?; ls -A disk >&2; exit $code; }}");
    let output = on_a_disk_of_its_own(&world, "size=64k", &script);
    refused(&output, "disk is full");
    refused(&output, "\"code\":\"lock.record\"");
    assert!(stderr(&output).ends_with("fill\nx.lock\n"), "no half record: {}", stderr(&output));
    // Not even room for a name.
    let script = format!("{{ touch disk/one; exec {} {RUN}; }}", world::PROGRAM);
    let output = on_a_disk_of_its_own(&world, "nr_inodes=2", &script);
    refused(&output, "disk is full");
    assert!(!world.path("work/ran").exists());
}

/// The same on a host: its state directory is on the disk that is full, and this machine's lock is given back.
#[test]
fn a_full_disk_on_a_host_is_refused_and_this_machine_is_free_again() {
    let world = World::new();
    let state = "\"$HOME/.local/state/cm\"";
    let script = format!(
        "mkdir -p {state} && mount -t tmpfs -o size=64k none {state} && {{ cat /dev/zero > {state}/fill 2>/dev/null; {} run -- touch ran; code=$?; find {state} -type f >&2; exit $code; }}",
        world::PROGRAM
    );
    let output = on_a_disk_of_its_own(&world, "rw", &script);
    refused(&output, "No space left");
    assert!(stderr(&output).trim_end().ends_with("/fill"), "no half record: {}", stderr(&output));
    assert!(!world.path("work/ran").exists());
    assert_eq!(world.status("ada@laptop", &["--local"])["local"]["state"], "free");
}
