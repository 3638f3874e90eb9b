//! A laptop of its own before a sandbox's servers: home, lock file and connections are shared with no other one.

use crate::home::Home;
use crate::sandbox::Sandbox;
use serde_json::Value;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A laptop with a project that has one host, the sandbox's `platform`, in the directory `work`.
#[derive(Debug)]
pub struct Laptop {
    /// Its home.
    pub home: Home,
    elsewhere: bool,
}

impl Laptop {
    /// A laptop of `actor` that reaches the servers as the sandbox's own does now, relays included.
    ///
    /// # Panics
    /// If its home cannot be made.
    pub fn new(sandbox: &Sandbox, project: &str, actor: &str, lease: Duration) -> Self {
        let mut home = Home::new();
        for name in ["DEPLOY_USER", "PLATFORM_VPS_IP", "RUNNERS_VPS_IP", "CM_SSH_CONFIG", "GIT_SSH_COMMAND", "API_URL"]
        {
            home.set(name, sandbox.home.variable(name).expect("set by the sandbox"));
        }
        home.set("CM_ACTOR", actor);
        let toml = format!(
            "project = \"{project}\"\n[lock]\nlease = \"{}s\"\n[hosts.platform]\naddress = \"${{DEPLOY_USER}}@${{PLATFORM_VPS_IP}}\"\n",
            lease.as_secs()
        );
        fs::create_dir(home.path().join("work")).expect("mkdir");
        fs::write(home.path().join("work/cm.toml"), toml).expect("write");
        Laptop { home, elsewhere: false }
    }

    /// The same laptop with process ids of its own, as another machine has: it can find out nothing about a
    /// process of this one, nor this one about its.
    #[must_use]
    pub fn elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }

    /// A program in its project's directory.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut words = match self.elsewhere {
            true => vec!["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc", program],
            false => vec![program],
        };
        words.extend(arguments);
        self.home.command(words[0], &words[1..], "work")
    }

    /// Starts a program that nobody listens to.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Child {
        let mut command = self.command(program, arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start")
    }

    /// Runs `cm-lock`; gives its exit code.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn lock(&self, arguments: &[&str]) -> i32 {
        let mut child = self.start("cm-lock", arguments);
        child.wait().expect("its end").code().unwrap_or(-1)
    }

    /// What `cm-lock status` says.
    ///
    /// # Panics
    /// If that is no JSON.
    pub fn lock_status(&self) -> Value {
        let answer = self.home.run("cm-lock", &["status"], "work", None);
        serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// The processes behind its connection, by the control socket in their titles.
    ///
    /// # Panics
    /// Without `/proc`.
    pub fn connections(&self) -> Vec<String> {
        let run = self.home.path().join("run").display().to_string();
        let processes = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
        pids.filter(|pid| {
            let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let title = String::from_utf8_lossy(&title).replace('\0', " ");
            title.starts_with("ssh") && title.contains(&run)
        })
        .collect()
    }
}

impl Drop for Laptop {
    /// The connection would stay for a minute more.
    fn drop(&mut self) {
        for pid in self.connections() {
            let _gone_already = Command::new("kill").args(["-KILL", &pid]).stderr(Stdio::null()).status();
        }
    }
}
