//! The steps of a deployment and the faults that they meet: how each is struck, and how it ends.

use super::World;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A step, the command line of the script that begins it, and how long it takes at least, in ms.
pub struct Step {
    pub name: &'static str,
    pub line: &'static str,
    pub takes: usize,
}

pub const STEPS: &[Step] = &[
    Step { name: "open", line: "cm-record open", takes: 40 },
    Step { name: "detect", line: "cm-detect --group dashboard --skip canary", takes: 250 },
    Step { name: "push", line: "cm-build push", takes: 200 },
    Step { name: "preflight", line: "cm-health --preflight", takes: 600 },
    Step { name: "backup", line: "cm-backup", takes: 800 },
    Step { name: "baseline", line: "cm-verify --baseline", takes: 20 },
    Step { name: "build", line: "cm-build", takes: 1500 },
    Step { name: "health", line: "cm-health", takes: 1500 },
    Step { name: "verify", line: "cm-verify", takes: 400 },
    Step { name: "rollback", line: "cm-rollback --on-failure", takes: 1500 },
    Step { name: "prune", line: "cm-build prune", takes: 400 },
    Step { name: "record", line: "cm-record", takes: 400 },
];

/// What happens. `hold`: how long, if it does not last until the run has ended.
pub struct Fault {
    pub name: &'static str,
    pub hold: Option<Duration>,
    strike: Strike,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Strike {
    /// A signal to the program, the script, all of ssh, or all of the laptop until it wakes up.
    Program,
    Script,
    Ssh,
    /// To all that the terminal of the script would tell: each program of the pipe, too.
    Terminal(&'static str),
    Sleep,
    Cut,
    Stall,
    Slow,
    /// As root on the server, then to end it.
    Server(&'static str, &'static str),
    Power,
    Origin,
    Laptop,
    Clock,
    Slack,
}

const fn lasting(name: &'static str, strike: Strike) -> Fault {
    Fault { name, hold: None, strike }
}

const fn of(name: &'static str, seconds: u64, strike: Strike) -> Fault {
    Fault { name, hold: Some(Duration::from_secs(seconds)), strike }
}

pub const FAULTS: &[Fault] = &[
    of("the program is killed", 0, Strike::Program),
    of("the script is killed", 0, Strike::Script),
    of("ssh is killed", 0, Strike::Ssh),
    of("Ctrl-C", 0, Strike::Terminal("-INT")),
    of("the terminal is closed", 0, Strike::Terminal("-HUP")),
    of("the laptop sleeps for 15 s", 15, Strike::Sleep),
    of("the link is cut for 30 s", 30, Strike::Cut),
    lasting("the link is dead", Strike::Stall),
    lasting("a round trip of 200 ms", Strike::Slow),
    of("sshd restarts", 1, Strike::Server("pkill -KILL sshd", "true")),
    of("the engine restarts", 1, Strike::Server("pkill -TERM -x dockerd", "true")),
    of("the server is off and on", 0, Strike::Power),
    of("somebody removes the container", 0, Strike::Server("docker rm -f curateme-dashboard", "true")),
    lasting("the state directory of the server is full", Strike::Server(FILL_STATE, EMPTY_STATE)),
    lasting("the backup directory of the server is full", Strike::Server(FILL_BACKUPS, EMPTY_BACKUPS)),
    lasting("the repository of the checkout is full", Strike::Server(FILL_REPOSITORY, EMPTY_REPOSITORY)),
    lasting("the work tree of the checkout is full", Strike::Server(FILL_WORK_TREE, EMPTY_WORK_TREE)),
    lasting(
        "/tmp of the server is full",
        Strike::Server(
            "mount -t tmpfs -o size=4k,mode=1777 none /tmp && head -c 8192 /dev/zero >/tmp/filler; true",
            "umount -l /tmp",
        ),
    ),
    lasting("the disk of the laptop is full", Strike::Laptop),
    lasting(
        "the clock of the server is an hour ahead",
        Strike::Server(
            r#"printf '#!/bin/sh\nexec /usr/bin/date -d "+1 hour" "$@"\n' >/usr/local/bin/date && chmod 755 /usr/local/bin/date"#,
            "rm -f /usr/local/bin/date",
        ),
    ),
    lasting("the clock of the laptop is an hour ahead", Strike::Clock),
    lasting("the origin is gone", Strike::Origin),
    lasting("MongoDB is gone", Strike::Server("docker stop -t 1 curateme-mongodb", "docker start curateme-mongodb")),
    lasting("Redis is gone", Strike::Server("docker stop -t 1 curateme-redis", "docker start curateme-redis")),
    lasting(
        "the ops API is gone",
        Strike::Server("docker stop -t 1 curateme-backend-b2b", "docker start curateme-backend-b2b"),
    ),
    lasting("Slack is gone", Strike::Slack),
];

/// A file system without room over the state directory, with what was in it. A file that is renamed while it is copied
/// has all of it copied again.
const FILL_STATE: &str = "d=/home/curateme/.local/state/cm/curateme && \
    until rm -rf /run/held && cp -a $d /run/held; do sleep 0.1; done && \
    mount -t tmpfs -o size=$(($(du -sk $d | cut -f 1) + 64))k,mode=700,uid=$(id -u curateme),gid=$(id -g curateme) none $d && \
    cp -a /run/held/. $d/ && { cat /dev/zero >$d/filler; true; }";

const EMPTY_STATE: &str = "d=/home/curateme/.local/state/cm/curateme && rm -rf $d/filler /run/held && cp -a $d /run/held && \
    umount -l $d && find $d -mindepth 1 -delete && cp -a /run/held/. $d/";

/// The same over the directory of backups.
const FILL_BACKUPS: &str = "d=/home/curateme/backups && rm -rf /run/held && cp -a $d /run/held && \
    mount -t tmpfs -o size=$(($(du -sk $d | cut -f 1) + 8))k,mode=700,uid=$(id -u curateme),gid=$(id -g curateme) none $d && \
    cp -a /run/held/. $d/ && { cat /dev/zero >$d/filler; true; }";

const EMPTY_BACKUPS: &str = "d=/home/curateme/backups && rm -rf $d/filler /run/held && cp -a $d /run/held && umount -l $d && \
    find $d -mindepth 1 -delete && cp -a /run/held/. $d/";

/// The same over what Git keeps of the checkout: its index, what it fetches.
const FILL_REPOSITORY: &str = "d=/home/curateme/platform/.git && rm -rf /run/held && cp -a $d /run/held && \
    mount -t tmpfs -o size=$(($(du -sk $d | cut -f 1) + 64))k,mode=755,uid=$(id -u curateme),gid=$(id -g curateme) none $d && \
    cp -a /run/held/. $d/ && { cat /dev/zero >$d/filler; true; }";

const EMPTY_REPOSITORY: &str = "d=/home/curateme/platform/.git && rm -rf $d/filler /run/held && cp -a $d /run/held && \
    umount -l $d && find $d -mindepth 1 -delete && cp -a /run/held/. $d/";

/// The same over the directory of the checkout whose files the commit changes.
const FILL_WORK_TREE: &str = "d=/home/curateme/platform/apps/dashboard && rm -rf /run/held && cp -a $d /run/held && \
    mount -t tmpfs -o size=$(($(du -sk $d | cut -f 1) + 4))k,mode=755,uid=$(id -u curateme),gid=$(id -g curateme) none $d && \
    cp -a /run/held/. $d/ && { cat /dev/zero >$d/filler; true; }";

const EMPTY_WORK_TREE: &str = "d=/home/curateme/platform/apps/dashboard && rm -rf $d/filler /run/held && cp -a $d /run/held && \
    umount -l $d && find $d -mindepth 1 -delete && cp -a /run/held/. $d/";

/// The time of day, an hour later.
const CLOCK: &str = r#"#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    int status = syscall(SYS_clock_gettime, id, at);
    if (status == 0 && id == CLOCK_REALTIME) at->tv_sec += 3600;
    return status;
}
"#;

impl Fault {
    /// What the run has in its environment.
    pub fn variables(&self, world: &World) -> Vec<(&'static str, String)> {
        match self.strike {
            Strike::Slack => vec![("SLACK_DEPLOY_WEBHOOK", "http://127.0.0.1:9/nobody".to_owned())],
            Strike::Clock => vec![("CM_FAULT_PRELOAD", clock(world.sandbox.home.path()))],
            _ => Vec::new(),
        }
    }

    /// Whether it takes minutes: nobody answers any more, and that is only known when a time limit has passed.
    pub fn is_slow(&self) -> bool {
        [Strike::Stall, Strike::Power].contains(&self.strike)
    }

    /// Whether there is nothing left to strike: the step is over.
    pub fn is_late(&self, program: u32) -> bool {
        self.strike == Strike::Program && !Path::new(&format!("/proc/{program}")).exists()
    }

    pub fn strike(&self, world: &World, program: u32, script: u32) {
        match self.strike {
            Strike::Program => world.signal("-KILL", &[program]),
            Strike::Script => world.signal("-KILL", &[script_of(world, script)]),
            Strike::Ssh => world.signal("-KILL", &named(world, |name| name == "ssh")),
            Strike::Terminal(signal) => {
                let _over_already = Command::new("kill").args([signal, "--", &format!("-{script}")]).status();
            }
            Strike::Sleep => world.signal("-STOP", &named(world, |name| name.starts_with("cm-") || name == "ssh")),
            Strike::Cut => world.relay.cut(),
            Strike::Stall => world.relay.stall(),
            Strike::Slow => world.relay.delay(Duration::from_millis(100)),
            Strike::Server(script, _) => assert!(world.as_root(script), "{}: not struck", self.name),
            Strike::Power => world.sandbox.restart("platform"),
            Strike::Origin => docker(&["kill", &world.sandbox.container("origin")]),
            Strike::Laptop => assert!(laptop(world, FILL_LAPTOP), "{}: not struck", self.name),
            Strike::Clock | Strike::Slack => {}
        }
    }

    pub fn heal(&self, world: &World) {
        match self.strike {
            Strike::Sleep => world.signal("-CONT", &named(world, |name| name.starts_with("cm-") || name == "ssh")),
            Strike::Cut | Strike::Stall => world.relay.restore(),
            Strike::Slow => world.relay.delay(Duration::ZERO),
            Strike::Server(_, script) => assert!(world.as_root(script), "{}: it does not end", self.name),
            Strike::Origin => docker(&["start", &world.sandbox.container("origin")]),
            Strike::Laptop => assert!(laptop(world, EMPTY_LAPTOP), "{}: it does not end", self.name),
            _ => {}
        }
    }
}

/// The state of the laptop, on a file system without room; who may not mount has a container do it.
const FILL_LAPTOP: &str = r#"until rm -rf "$1.held" && cp -a "$1" "$1.held"; do sleep 0.1; done
mount -t tmpfs -o size=$(($(du -sk "$1" | cut -f 1) + 16))k none "$1" && cp -a "$1.held/." "$1/" && { cat /dev/zero >"$1/filler"; true; }"#;

const EMPTY_LAPTOP: &str = r#"rm -rf "$1/filler" "$1.held" && cp -a "$1" "$1.held" && umount -l "$1" &&
find "$1" -mindepth 1 -delete && cp -a "$1.held/." "$1/" && rm -rf "$1.held""#;

fn laptop(world: &World, script: &str) -> bool {
    let state = world.sandbox.home.path().join("state/cm").display().to_string();
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", &state]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The shell of the script: what was started has become `cm-lock run`, which has it as a child.
fn script_of(world: &World, started: u32) -> u32 {
    let parent = |id: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok())
    };
    let scripts = world.processes().into_iter().filter(|(_, name)| name == "deploy-to-vps.s");
    let ids: Vec<_> = scripts.map(|(id, _)| id).collect();
    ids.iter().copied().find(|id| parent(*id) == Some(started)).or(ids.first().copied()).unwrap_or(started)
}

fn named(world: &World, is: impl Fn(&str) -> bool) -> Vec<u32> {
    world.processes().into_iter().filter(|(_, name)| is(name)).map(|(id, _)| id).collect()
}

fn docker(arguments: &[&str]) {
    let status = Command::new("docker").args(arguments).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "docker {arguments:?}");
}

/// A library that is loaded before a program's own.
fn clock(home: &Path) -> String {
    let (source, library) = (home.join("clock.c"), home.join("clock.so"));
    std::fs::write(&source, CLOCK).expect("write");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(made.is_ok_and(|status| status.success()), "cc: the compiler that Rust links with");
    library.display().to_string()
}
