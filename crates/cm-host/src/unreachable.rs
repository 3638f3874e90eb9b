//! Why a server cannot be reached, by what ssh said, and what to do about exactly that: with the
//! address, the port and the configuration that ssh really uses.

use crate::Target;
use crate::address::Destination;
use crate::ssh_words::last_words;
use cm_core::{Exit, Failure};
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

/// The runbook's `ssh -o ConnectTimeout=5`, in seconds.
pub const CONNECT_TIMEOUT: u64 = 5;

/// For another try, which tells more.
const AGAIN_LIMIT: Duration = Duration::from_secs(10);

/// How long the name service may take. The system's own patience with a name server is as long.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// `ssh -G` asks nobody.
const CONFIGURATION_LIMIT: Duration = Duration::from_secs(5);

/// Words of ssh, and what to do. The others depend on the address.
const HINTS: [(&str, &str); 32] = [
    (
        "IDENTIFICATION HAS CHANGED",
        "ask the server's owner whether it was set up again; only then remove the old key, as ssh says above",
    ),
    (
        "signing failed",
        "the agent did not sign: unlock it, or touch the hardware key when it blinks; then try again (`ssh-add -l` lists its keys)",
    ),
    (
        "Too many authentication failures",
        "the agent offers more keys than the server tries: in ~/.ssh/config, for this host, IdentityFile and `IdentitiesOnly yes`",
    ),
    ("pam_nologin", "the server is starting or going down, and lets only root log in: wait, then try again"),
    (
        "Not allowed at this time",
        "sshd bans this address for a while after failed logins (PerSourcePenalties): wait a minute, then try again",
    ),
    (
        "Exceeded MaxStartups",
        "sshd closed the line at once: it is busy (MaxStartups), or bans this address (fail2ban); wait, then try again",
    ),
    (
        "no mutual signature",
        "the server does not accept this kind of key: make a newer one (`ssh-keygen -t ed25519`), or have sshd allow it",
    ),
    ("Certificate invalid", "the SSH certificate of your key is not valid now: get a new one from whoever signs them"),
    (
        "error in libcrypto",
        "ssh cannot read your key: it was cut or changed when it was copied (a secret of CI needs its last newline), or wants a passphrase",
    ),
    (
        "invalid format",
        "ssh cannot read your key, or the port is of something else than sshd: is the file whole (a secret of CI needs its last newline), and the port right?",
    ),
    ("incorrect passphrase", "the key has a passphrase: `ssh-add` it first; nobody is asked for it here"),
    (
        "Invalid key length",
        "the server's key, or yours, is too short for this ssh: make a new one there, or `RequiredRSASize` in ~/.ssh/config",
    ),
    (
        "administratively prohibited",
        "the jump host does not allow it (AllowTcpForwarding, PermitOpen in its sshd_config)",
    ),
    ("UNKNOWN port 65535", "the jump host, or the ProxyCommand of your ssh configuration, ended: try it by hand"),
    ("command not found", "the ProxyCommand of your ssh configuration is not installed here: install it, or fix it"),
    (
        "Permission denied",
        "the server does not accept your key: ssh-add it, or ask for it to be added to the deploy user's authorized_keys",
    ),
    (
        "Temporary failure in name resolution",
        "the name service of this machine does not answer (`getent ahosts NAME`; its servers are in /etc/resolv.conf): nothing is known about the server",
    ),
    (
        "Could not resolve",
        "check the address in cm.toml and the variables it names; an alias must be in the ssh configuration",
    ),
    (
        "UNPROTECTED PRIVATE KEY",
        "ssh does not use a key that others may read: chmod 600 on the file that it names above",
    ),
    ("Your account has expired", "the deploy user's account has expired: as root there, `chage -E -1 USER`"),
    ("Password change required", "the deploy user's password has expired: as root there, `chage -M -1 USER`"),
    ("Your password has expired", "the deploy user's password has expired: as root there, `chage -M -1 USER`"),
    (
        "no matching",
        "ssh and sshd have no algorithm in common: the server's system is much older or newer; update it, or allow what ssh offers (HostKeyAlgorithms, KexAlgorithms) for this host in ~/.ssh/config",
    ),
    (
        "stdio forwarding failed",
        "the jump host is reached, the server behind it is not: is its address right, and does the jump host allow it (AllowTcpForwarding, PermitOpen)?",
    ),
    ("No route to host", "no way leads there: is the server up, is a VPN missing, or does a firewall refuse you?"),
    (
        "Network is unreachable",
        "this machine has no way there: is it online, and does it have IPv6 if the address is one?",
    ),
    (
        "timed out",
        "nothing answers there: is the server up, is the address right, and does a firewall drop the port of ssh?",
    ),
    (
        "Connection reset",
        "sshd closed the line at once: it is busy (MaxStartups), or bans this address (fail2ban); wait, then try again",
    ),
    ("Bad configuration option", "fix the ssh configuration at the line that ssh names"),
    ("Bad owner or permissions", "the ssh configuration must be yours alone: chmod 600 on the file that ssh names"),
    (
        "Connection refused",
        "nothing listens there: is sshd running, and is it the right port? `user@host:2222` in cm.toml names one",
    ),
    (
        "kex_exchange_identification",
        "sshd closed the line at once: it is busy (MaxStartups), or bans this address (fail2ban); wait, then try again",
    ),
];

/// Without a reason.
pub fn failure(target: &Target, destination: &Destination) -> Failure {
    // A machine that has no name in cm.toml is called by its address.
    let whom = match target.name == target.address {
        true => target.address.clone(),
        false => format!("host {:?} ({})", target.name, target.address),
    };
    Failure::new(Exit::Unreachable, "host.unreachable", format!("cannot reach {whom}"))
        .hint(format!(
            "try: ssh{} -o ConnectTimeout={CONNECT_TIMEOUT} {} true",
            target.config_flag(),
            destination.typed()
        ))
        .retryable()
}

/// There was no connection in time, whatever was `said`.
pub async fn silent(target: &Target, destination: &Destination, limit: Duration, said: &str) -> Failure {
    let real = configuration(target, destination).await;
    let said = last_words(said, &real);
    let failure = failure(target, destination).cause(format!("no answer within {} s", limit.as_secs()));
    if let Some(name) = looked_up(&real)
        && !answers("getent", name, LOOKUP_LIMIT).await
    {
        let why = format!(
            "the name service of this machine does not answer: looking up {name} took longer than {} s",
            LOOKUP_LIMIT.as_secs()
        );
        return failure.cause(why).hint(format!(
            "`getent ahosts {name}` must answer here; the name servers are in /etc/resolv.conf; nothing is known about the server"
        ));
    }
    let failure = if said.is_empty() { failure } else { failure.cause(said) };
    failure.hint(format!(
        "try: ssh{} {} true; if your key is a hardware key, it may wait for a touch",
        target.config_flag(),
        destination.typed()
    ))
}

/// A setting of ssh's, as `ssh -G` prints it.
fn setting<'a>(real: &'a str, key: &str) -> Option<&'a str> {
    real.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

/// Whether somebody else makes the connection: a jump host, or a program.
fn jumps(real: &str) -> bool {
    ["proxyjump", "proxycommand"].iter().any(|key| setting(real, key).is_some_and(|value| value != "none"))
}

/// The name whose address ssh asks this machine's name service for.
fn looked_up(real: &str) -> Option<&str> {
    setting(real, "hostname").filter(|name| !jumps(real) && name.parse::<IpAddr>().is_err() && !name.starts_with('-'))
}

/// Whether the name service says anything about `name` in time, by `program`: also where there is no such name, or nobody
/// to ask it with.
async fn answers(program: &str, name: &str, limit: Duration) -> bool {
    let mut getent = tokio::process::Command::new(program);
    getent.args(["ahosts", name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let Ok(mut asked) = getent.spawn() else { return true };
    tokio::time::timeout(limit, asked.wait()).await.is_ok()
}

/// What ssh said, and what it ran, with a hint that fits it.
pub async fn explain(target: &Target, destination: &Destination, said: &str) -> Failure {
    let real = configuration(target, destination).await;
    let mut said = last_words(said, &real);
    if said.contains(ENDED_BEFORE)
        && let Some(more) = try_again(target, destination).await
    {
        said = last_words(&more, &real);
    }
    let failure =
        failure(target, destination).cause(if said.is_empty() { "ssh gave no reason" } else { said.as_str() });
    match hint_of(&said) {
        Some(hint) => failure.hint(hint),
        None if said.contains("Host key verification failed") => {
            failure.hint(unknown_key(&real, &format!("ssh{} {}", target.config_flag(), destination.typed())))
        }
        None => failure,
    }
}

fn hint_of(said: &str) -> Option<String> {
    on_the_way(said).or_else(|| known(said).map(str::to_owned))
}

/// What ssh says where a ProxyCommand or a jump host ended before it had a connection.
const ENDED_BEFORE: &str = "UNKNOWN port 65535";

/// A connection that stays (`ControlPersist`) keeps nothing of what a ProxyCommand or the ssh to a jump host says: one
/// that does not stay tells it. `None` if that one works.
async fn try_again(target: &Target, destination: &Destination) -> Option<String> {
    let mut ssh = tokio::process::Command::new("ssh");
    if let Some(config) = &target.ssh_config {
        ssh.arg("-F").arg(config);
    }
    ssh.arg("-T");
    for option in [
        &format!("ConnectTimeout={CONNECT_TIMEOUT}"),
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "PermitLocalCommand=no",
        "ClearAllForwardings=yes",
        "RemoteCommand=none",
        "LogLevel=INFO",
        "ControlMaster=no",
        "ControlPath=none",
        "ControlPersist=no",
    ] {
        ssh.args(["-o", option]);
    }
    ssh.args(destination.arguments()).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(AGAIN_LIMIT, ssh.stderr(Stdio::piped()).process_group(0).output()).await;
    let output = output.ok()?.ok().filter(|output| !output.status.success())?;
    Some(String::from_utf8_lossy(&output.stderr).into_owned()).filter(|said| !said.trim().is_empty())
}

fn known(said: &str) -> Option<&'static str> {
    HINTS.iter().find(|(words, _)| said.contains(words)).map(|(_, hint)| *hint)
}

/// What ended before ssh had a connection said why: the words are not about the server itself.
fn on_the_way(said: &str) -> Option<String> {
    if !said.contains(ENDED_BEFORE) {
        return None;
    }
    let of_ssh = |line: &&str| line.contains(ENDED_BEFORE) || line.starts_with("kex_exchange_identification: ");
    let others: Vec<_> = said.lines().filter(|line| !of_ssh(line)).collect();
    let hint = known(&others.join("\n"))?;
    Some(format!("this is about the jump host, or the ProxyCommand, of your ssh configuration: {hint}"))
}

/// How to get to know a server; `ssh` is the command that reaches it.
fn unknown_key(real: &str, ssh: &str) -> String {
    let by_hand = format!("connect once by hand, and compare the key's fingerprint with the server's owner: {ssh}");
    // Who jumps cannot be asked by ssh-keyscan.
    let (Some(host), Some(port), false) = (setting(real, "hostname"), setting(real, "port"), jumps(real)) else {
        return by_hand;
    };
    let port = if port == "22" { String::new() } else { format!("-p {port} ") };
    format!("{by_hand}; or, if the network between is trusted: ssh-keyscan -H {port}{host} >> ~/.ssh/known_hosts")
}

/// What ssh makes of the address and its configuration; nothing if it does not say.
async fn configuration(target: &Target, destination: &Destination) -> String {
    let mut ssh = tokio::process::Command::new("ssh");
    if let Some(config) = &target.ssh_config {
        ssh.arg("-F").arg(config);
    }
    ssh.arg("-G").args(destination.arguments()).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(CONFIGURATION_LIMIT, ssh.output()).await;
    output
        .ok()
        .and_then(Result::ok)
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn hint(address: &str, said: &str) -> String {
        let target = Target { ssh_config: Some("/dev/null".into()), ..Target::at("web", address) };
        let destination = Destination::of(&target).expect("an address");
        explain(&target, &destination, said).await.hint.expect("a hint")
    }

    #[tokio::test]
    async fn a_changed_key_is_never_answered_with_adding_it() {
        let said = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.";
        let hint = hint("u@h", said).await;
        assert!(hint.starts_with("ask the server's owner") && !hint.contains("keyscan"), "{hint}");
    }

    #[tokio::test]
    async fn an_unknown_key_is_asked_for_where_the_server_really_is() {
        let said = "No ED25519 host key is known for [h]:2222\nHost key verification failed.";
        for address in ["u@h:2222", "ssh://u@h:2222"] {
            let hint = hint(address, said).await;
            assert!(hint.contains("ssh-keyscan -H -p 2222 h >> "), "{hint}");
            assert!(hint.contains("ssh -F /dev/null "), "{hint}");
        }
        let six = hint("u@[::1]:2222", said).await;
        assert!(six.contains("ssh-keyscan -H -p 2222 ::1 >> "), "{six}");
        let behind = unknown_key("hostname h\nport 22\nproxyjump gate", "ssh h");
        assert!(!behind.contains("keyscan") && behind.contains("ssh h"), "{behind}");
    }

    #[tokio::test]
    async fn a_name_service_that_does_not_answer_is_told_from_one_that_does() {
        assert_eq!(looked_up("user u\nhostname web.example\nport 22"), Some("web.example"));
        for real in
            ["hostname 127.0.0.1", "hostname ::1", "hostname h\nproxyjump gate", "hostname h\nproxycommand nc", ""]
        {
            assert_eq!(looked_up(real), None, "{real}");
        }
        let directory = tempfile::tempdir().expect("directory");
        let (short, long) = (Duration::from_millis(300), Duration::from_secs(60));
        for (script, limit, wanted) in [("exec sleep 90", short, false), ("exit 2", long, true), ("exit 0", long, true)]
        {
            let program = directory.path().join(format!("getent-{}", script.replace(' ', "-")));
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a program");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&program, mode).expect("a mode");
            assert_eq!(answers(&program.display().to_string(), "web.example", limit).await, wanted, "{script}");
        }
        assert!(answers("/nowhere/getent", "web.example", long).await, "nobody could ask");
        let said = "ssh: Could not resolve hostname h: Temporary failure in name resolution";
        assert!(hint("u@h", said).await.contains("/etc/resolv.conf"));
        assert!(hint("u@h", "ssh: Could not resolve hostname h: Name or service not known").await.contains("cm.toml"));
    }

    #[tokio::test]
    async fn what_ssh_says_has_a_cure_of_its_own() {
        for (said, words) in [
            (
                "\"System is booting up. Unprivileged users are not permitted to log in yet. See pam_nologin(8)\"",
                "wait",
            ),
            ("Not allowed at this time", "PerSourcePenalties"),
            ("sign_and_send_pubkey: no mutual signature supported\nu@h: Permission denied (publickey).", "ed25519"),
            ("Load key \"/k\": error in libcrypto\nu@h: Permission denied (publickey).", "newline"),
            (
                "kex_exchange_identification: banner line contains invalid characters\nbanner exchange: Connection to h port 443: invalid format",
                "port",
            ),
            ("channel 0: open failed: administratively prohibited: open failed\nstdio forwarding failed", "PermitOpen"),
            ("/bin/sh: 1: exec: cloudflared: command not found", "ProxyCommand"),
            ("Bad server host key: Invalid key length", "too short"),
            ("u@h: Permission denied (publickey).", "ssh-add"),
        ] {
            let hint = hint("u@h", said).await;
            assert!(hint.contains(words), "{said}: {hint}");
        }
    }

    #[test]
    fn what_ended_on_the_way_is_not_said_of_the_server() {
        for (said, words) in [
            ("Connection closed by UNKNOWN port 65535", "try it by hand"),
            (
                "ada@gate: Permission denied (publickey).\nkex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535",
                "this is about the jump host, or the ProxyCommand, of your ssh configuration: the server does not accept your key",
            ),
            (
                "ssh: Could not resolve hostname gate: Name or service not known\nConnection closed by UNKNOWN port 65535",
                "jump host, or the ProxyCommand, of your ssh configuration: check the address",
            ),
            ("token has expired\nConnection closed by UNKNOWN port 65535", "try it by hand"),
        ] {
            let hint = hint_of(said).expect("a hint");
            assert!(hint.contains(words), "{said}: {hint}");
        }
    }
}
