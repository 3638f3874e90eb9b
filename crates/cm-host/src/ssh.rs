//! The shared SSH connection. The first program of a run starts a master in the
//! background; all others talk to it through its control socket, and it ends by
//! itself after a minute of silence. Host keys are always checked.

use crate::Target;
use cm_core::{Exit, Failure, Result, private_dir, runtime_dir};
use openssh::Session;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::time::timeout;

/// The runbook's `ssh -o ConnectTimeout=5`, in seconds.
const CONNECT_TIMEOUT: u64 = 5;

/// For the whole handshake; a server that accepts and then stays silent must not hold a deploy.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);

/// How long the master waits for the next program, in seconds.
const PERSIST: u64 = 60;

/// `sun_path` holds 108 bytes and ssh adds a random suffix of 17 while binding.
const MAX_SOCKET_PATH: usize = 90;

pub async fn connect(target: &Target) -> Result<Session> {
    check_address(target)?;
    let socket = socket_path(target)?;
    // Two programs of one pipe may get here at the same time: one starts the master.
    let _starting = lock_beside(&socket).await?;
    if let Some(session) = resume(&socket).await {
        return Ok(session);
    }
    start_master(target, &socket).await?;
    resume(&socket).await.ok_or_else(|| unreachable(target).cause("the connection closed right after it was made"))
}

/// An address that looks like an option would be read as one by ssh.
fn check_address(target: &Target) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@.:_-/[]%".contains(c);
    if target.address.is_empty() || target.address.starts_with('-') || !target.address.chars().all(plain) {
        let message = format!("host {:?} has the address {:?}, which is no `user@host`", target.name, target.address);
        return Err(Failure::new(Exit::Config, "config.address", message)
            .hint("set `address` in cm.toml, and the variables it names"));
    }
    Ok(())
}

/// One socket per address and configuration, in a directory only the user may enter.
fn socket_path(target: &Target) -> Result<PathBuf> {
    let dir = runtime_dir();
    private_dir(&dir).map_err(|error| runtime_dir_failure(format!("cannot make {}", dir.display()), error))?;
    let config = target.ssh_config.as_deref().map(Path::to_string_lossy).unwrap_or_default();
    let path = dir.join(format!("ssh-{:016x}", fnv1a(&format!("{}\0{config}", target.address))));
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(Failure::new(
            Exit::Config,
            "host.socket-path",
            format!("the path of the control socket is too long: {}", path.display()),
        )
        .hint("set XDG_RUNTIME_DIR to a short directory of your own"));
    }
    Ok(path)
}

fn runtime_dir_failure(message: String, error: std::io::Error) -> Failure {
    Failure::new(Exit::Config, "host.runtime-dir", message)
        .cause(error)
        .hint("set XDG_RUNTIME_DIR to a short directory of your own")
}

/// FNV-1a, 64 bit: a short, stable name; nothing depends on it being unguessable.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

async fn lock_beside(socket: &Path) -> Result<File> {
    let path = socket.with_extension("lock");
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| runtime_dir_failure(format!("cannot open {}", path.display()), error))?;
    let locked = tokio::task::spawn_blocking(move || flock(&file, FlockOperation::LockExclusive).map(|()| file));
    match timeout(HANDSHAKE_LIMIT * 2, locked).await {
        Ok(Ok(Ok(file))) => Ok(file),
        _ => Err(Failure::new(
            Exit::Unreachable,
            "host.busy",
            format!("another program holds {} for too long", path.display()),
        )
        .retryable()),
    }
}

async fn resume(socket: &Path) -> Option<Session> {
    if !socket.exists() {
        return None;
    }
    let session = Session::resume_mux(socket.into(), None);
    let alive = matches!(timeout(Duration::from_secs(3), session.check()).await, Ok(Ok(())));
    if alive {
        return Some(session);
    }
    // A master that died left its socket; ssh would refuse to bind over it.
    let _gone = fs::remove_file(socket);
    None
}

async fn start_master(target: &Target, socket: &Path) -> Result<()> {
    let log = socket.with_extension("log");
    let _old = fs::remove_file(&log);
    let mut ssh = tokio::process::Command::new("ssh");
    if let Some(config) = &target.ssh_config {
        ssh.arg("-F").arg(config);
    }
    ssh.args(["-M", "-N", "-f", "-T", "-a", "-x", "-S"]).arg(socket).arg("-E").arg(&log);
    for option in [
        format!("ControlPersist={PERSIST}"),
        format!("ConnectTimeout={CONNECT_TIMEOUT}"),
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "ServerAliveInterval=5".to_owned(),
        "ServerAliveCountMax=3".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
    ] {
        ssh.arg("-o").arg(option);
    }
    ssh.arg("--").arg(&target.address);
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // In a session of its own: Ctrl-C at the terminal must not cut the line
    // that a rollback still needs.
    ssh.process_group(0);
    ssh.kill_on_drop(true);
    let status = timeout(HANDSHAKE_LIMIT, ssh.status()).await;
    let said = fs::read_to_string(&log).unwrap_or_default();
    match status {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(_)) => Err(explain(target, said.trim())),
        Ok(Err(error)) => Err(unreachable(target)
            .cause(format!("cannot run ssh: {error}"))
            .hint("install it: apt-get install openssh-client")),
        Err(_) => Err(unreachable(target).cause(format!("no answer within {} s", HANDSHAKE_LIMIT.as_secs()))),
    }
}

fn unreachable(target: &Target) -> Failure {
    Failure::new(
        Exit::Unreachable,
        "host.unreachable",
        format!("cannot reach host {:?} ({})", target.name, target.address),
    )
    .hint(format!("try: ssh{} -o ConnectTimeout={CONNECT_TIMEOUT} {} true", config_flag(target), target.address))
    .retryable()
}

/// `ssh` reads another configuration only when it is told.
fn config_flag(target: &Target) -> String {
    target.ssh_config.as_ref().map(|config| format!(" -F {}", config.display())).unwrap_or_default()
}

/// What ssh said, with a hint that fits it.
fn explain(target: &Target, said: &str) -> Failure {
    let failure = unreachable(target).cause(if said.is_empty() { "ssh gave no reason" } else { said });
    if said.contains("IDENTIFICATION HAS CHANGED") {
        failure
            .hint("ask the server's owner whether it was set up again; only then remove the old key, as ssh says above")
    } else if said.contains("Host key verification failed") {
        failure.hint(format!("check the key's fingerprint with the server's owner, then add it: ssh-keyscan -H HOST >> ~/.ssh/known_hosts (HOST as in {})", target.address))
    } else if said.contains("Permission denied") {
        failure.hint("the server does not accept your key: ssh-add it, or ask for it to be added to the deploy user's authorized_keys")
    } else if said.contains("Could not resolve") {
        failure.hint("check the address in cm.toml and the variables it names")
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(address: &str) -> Target {
        Target { name: "web".to_owned(), address: address.to_owned(), ssh_config: None }
    }

    #[test]
    fn addresses_that_would_be_options_or_commands_are_refused() {
        for address in ["", "-oProxyCommand=id", "a b", "$(id)", "a;b", "u@h\n"] {
            assert_eq!(check_address(&target(address)).expect_err(address).code, "config.address");
        }
        for address in ["u@h", "platform.demo", "ssh://u@h:22", "u@[::1]"] {
            check_address(&target(address)).expect(address);
        }
    }

    #[test]
    fn a_changed_key_is_never_answered_with_adding_it() {
        let said = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.";
        let hint = explain(&target("u@h"), said).hint.expect("hint");
        assert!(hint.starts_with("ask the server's owner") && !hint.contains("keyscan"), "{hint}");
    }
}
