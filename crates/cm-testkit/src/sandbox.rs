//! A sandbox for one test: two real servers, an origin and a laptop's checkout,
//! removed again when the test ends, however it ends.

use crate::checkout::repository;
use crate::home::{Answer, Home};
use crate::relay::Relay;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// As root on a server: its sshd reads its configuration, and listens again before anybody knocks.
pub const RELOAD_SSHD: &str = "pkill -HUP -o sshd; sleep 0.2; \
    for _ in $(seq 50); do ! bash -c ': </dev/tcp/127.0.0.1/22' 2>/dev/null || break; sleep 0.1; done";

/// A sandbox that is up.
#[derive(Debug)]
pub struct Sandbox {
    name: String,
    /// The home of the laptop, with the sandbox's environment.
    pub home: Home,
    /// The laptop's checkout of the sample platform.
    pub laptop: PathBuf,
}

impl Sandbox {
    /// Brings up a sandbox called after the test.
    ///
    /// # Panics
    /// If it does not come up; the message is what the script said.
    pub fn up(test: &str) -> Self {
        Sandbox::made(test, &[])
    }

    /// The same with three servers that are one Docker Swarm, node1 to node3, and a registry.
    ///
    /// # Panics
    /// As [`Sandbox::up`].
    pub fn up_swarm(test: &str) -> Self {
        Sandbox::made(test, &["--swarm"])
    }

    fn made(test: &str, flavour: &[&str]) -> Self {
        let name = format!("t-{test}-{}", std::process::id());
        let script = repository().join("scripts/sandbox");
        let status = Command::new(&script)
            .args(["up", "--name", &name])
            .args(flavour)
            // What an old ssh agrees on by itself takes a twentieth of a second of computing for each login.
            .env("CM_SANDBOX_KEX", "curve25519-sha256")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "`scripts/sandbox up` failed; `scripts/setup.sh --tests` installs what it needs"
        );
        let mut sandbox = Sandbox { home: Home::new(), laptop: PathBuf::new(), name };
        for (name, value) in environment(&script, &sandbox.name) {
            sandbox.home.set(&name, &value);
        }
        sandbox.laptop = sandbox.state_dir().join("laptop");
        assert!(sandbox.laptop.is_dir(), "no laptop checkout at {}", sandbox.laptop.display());
        sandbox
    }

    fn state_dir(&self) -> PathBuf {
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        let state = state.unwrap_or_else(|| std::env::home_dir().expect("a home").join(".local/state"));
        state.join("cm-sandbox").join(&self.name)
    }

    /// Runs a program on the laptop, in the platform's checkout.
    pub fn laptop(&self, program: &str, arguments: &[&str]) -> Answer {
        let laptop = self.laptop.display().to_string();
        self.home.run(program, arguments, &laptop, None)
    }

    /// Runs `deploy-to-vps.sh` on the laptop.
    pub fn deploy(&self, arguments: &[&str]) -> Answer {
        let script = repository().join("scripts/deploy-to-vps.sh").display().to_string();
        self.laptop(&script, arguments)
    }

    /// Runs a command on a server, as the deploy user, and wants success; gives stdout. An sshd that reads its
    /// configuration again drops who comes at that moment, before it hears of a command: then it is tried again.
    ///
    /// # Panics
    /// If it fails.
    pub fn server(&self, server: &str, command: &[&str]) -> String {
        let mut arguments = vec!["ssh", "--name", &self.name, server];
        arguments.extend(command);
        let script = repository().join("scripts/sandbox");
        let mut tries = 0;
        loop {
            tries += 1;
            let output = Command::new(&script).args(&arguments).stdin(Stdio::null()).output();
            let output = output.expect("scripts/sandbox ssh");
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                return String::from_utf8_lossy(&output.stdout).trim().to_owned();
            }
            let dropped = said.contains("kex_exchange_identification") && tries < 5;
            assert!(dropped, "on {server}: {command:?}: {said}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Puts a relay between the laptop and the ssh port of `server` (`platform`, `runners` or `origin`): from now
    /// on whatever runs in the laptop's home goes through it. Another one may stand before another server.
    ///
    /// # Panics
    /// If the sandbox has no such server.
    pub fn relay(&mut self, server: &str) -> Relay {
        let config = self.home.variable("CM_SSH_CONFIG").expect("set by the sandbox").to_owned();
        let text = std::fs::read_to_string(&config).expect("an ssh configuration");
        let head = format!("Host {server}.{}.sandbox\n", self.name);
        let (before, block) = text.split_once(&head).expect("a block for the server");
        let port = block.split_once("  Port ").and_then(|(_, rest)| rest.lines().next()).expect("its port");
        let relay = Relay::to(format!("127.0.0.1:{port}"));
        // The host key is known by the address it really has; the first value that ssh reads is the one it takes.
        let through = format!("  Port {}\n  HostKeyAlias [127.0.0.1]:{port}\n", relay.address().port());
        let own = self.home.path().join(format!("ssh_config-{server}"));
        std::fs::write(&own, format!("{before}{head}{through}{block}")).expect("an ssh configuration");
        let own = own.display().to_string();
        self.home.set("CM_SSH_CONFIG", &own);
        self.home.set("GIT_SSH_COMMAND", &format!("ssh -F {own}"));
        relay
    }

    /// The container that a server is, for this machine's Docker.
    pub fn container(&self, server: &str) -> String {
        format!("cm-sandbox-{}-{server}", self.name)
    }

    /// Takes the power from a server and gives it back.
    ///
    /// # Panics
    /// If the engine does not do it.
    pub fn restart(&self, server: &str) {
        let container = self.container(server);
        for verb in ["kill", "start"] {
            let status = Command::new("docker").args([verb, &container]).stdout(Stdio::null()).status();
            assert!(status.is_ok_and(|status| status.success()), "docker {verb} {container}");
        }
    }

    /// Replaces text in a file of the laptop's checkout and commits the change.
    ///
    /// # Panics
    /// If the text is not there exactly once.
    pub fn change(&self, path: &str, from: &str, to: &str, message: &str) {
        let file = self.laptop.join(path);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(text.matches(from).count(), 1, "{from:?} is once in {path}");
        std::fs::write(&file, text.replacen(from, to, 1)).expect("write");
        self.commit(message);
    }

    /// Commits everything in the laptop's checkout.
    ///
    /// # Panics
    /// If git fails.
    pub fn commit(&self, message: &str) {
        let answer = self.laptop("git", &["commit", "-qam", message]);
        assert_eq!(answer.code, 0, "{answer:?}");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::env::var_os("CM_KEEP_SANDBOX").is_some() {
            return;
        }
        let script = repository().join("scripts/sandbox");
        let _gone = Command::new(script)
            .args(["down", "--name", &self.name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// What `scripts/sandbox env` exports. A shell reads it, because it is written for one.
fn environment(script: &Path, name: &str) -> Vec<(String, String)> {
    let read = r#"eval "$("$1" env --name "$2")" && env -0"#;
    let mut shell = Command::new("bash");
    shell.args(["-c", read, "bash"]).arg(script).arg(name).env_remove("CM_SANDBOX");
    let output = shell.output().expect("scripts/sandbox env");
    let wanted = |name: &str| {
        ["DEPLOY_USER", "GIT_SSH_COMMAND", "OPS_API_TOKEN", "CM_API_KEY", "CM_SSH_CONFIG", "CM_LOCK_FILE"]
            .contains(&name)
            || name.ends_with("_URL")
            || name.ends_with("_VPS_IP")
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| wanted(name)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
