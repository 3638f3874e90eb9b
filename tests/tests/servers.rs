//! Servers and repositories as other people have them: each works, or is refused before anything is done, with the true
//! reason. One sandbox; every case leaves the server as it found it.

#[path = "servers/refused.rs"]
mod refused;
#[path = "servers/setups.rs"]
mod setups;

use cm_testkit::{Answer, RELOAD_SSHD, Relay, Sandbox};
use refused::{REFUSED, refuse};
use std::net::Ipv6Addr;
use std::process::Command;

/// Ends the shared connections, so that the next program logs in again.
const LOG_IN_AGAIN: &str =
    "for socket in $(ls $XDG_RUNTIME_DIR/cm/ssh-* | grep -v lock); do ssh -S $socket -O exit x; done 2>/dev/null;";

/// What the laptop has committed last, for one service.
const DEPLOY: &str = "cm-detect --base HEAD~1 </dev/null | cm-build";

fn on(sandbox: &Sandbox, line: &str) -> String {
    sandbox.server("platform", &["sh", "-c", line])
}

fn as_root(sandbox: &Sandbox, container: &str, line: &str) -> String {
    let arguments = ["exec", &sandbox.container(container), "sh", "-c", line];
    let output = Command::new("docker").args(arguments).output().expect("docker");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn call(sandbox: &Sandbox, line: &str) -> Answer {
    sandbox.laptop("bash", &["-c", &format!("set -o pipefail; {line}")])
}

fn code(answer: &Answer) -> (i32, String) {
    (answer.code, answer.document()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// Everything that a refusal must leave alone.
fn state(sandbox: &Sandbox) -> String {
    on(sandbox, "cd platform && git rev-parse HEAD && git status --porcelain; /usr/bin/docker ps -q | sort")
}

fn push(sandbox: &Sandbox, message: &str) {
    let pushed = call(sandbox, &format!("git add -A && git commit -qm '{message}' && git push -q origin HEAD:develop"));
    assert_eq!(pushed.code, 0, "{pushed:?}");
}

fn title(sandbox: &Sandbox, text: &str) {
    let file = sandbox.laptop.join("apps/docs/content/index.md");
    std::fs::write(file, format!("# {text}\n")).expect("write");
    push(sandbox, text);
}

fn deployed(sandbox: &Sandbox, how: &str) {
    let answer = call(sandbox, how);
    assert_eq!(answer.code, 0, "{how}: {}", answer.stderr);
}

/// A repository at the origin with one file, that the laptop and the servers can read.
fn library(sandbox: &Sandbox) {
    let make = "cd /srv/git && git init -q --bare extra.git && git clone -q extra.git /tmp/extra 2>/dev/null && cd /tmp/extra && \
        git config user.name x && git config user.email x@example.org && git checkout -q -b develop && echo 'from a submodule' >extra.md && \
        git add -A && git commit -qm one && git push -q origin develop && git -C /srv/git/extra.git symbolic-ref HEAD refs/heads/develop";
    let arguments = ["exec", "--user", "git", &sandbox.container("origin"), "sh", "-c", make];
    let output = Command::new("docker").args(arguments).output().expect("docker");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn bump_library(sandbox: &Sandbox) {
    let make =
        "cd /tmp/extra && echo 'from its next commit' >extra.md && git commit -qam two && git push -q origin develop";
    let arguments = ["exec", "--user", "git", &sandbox.container("origin"), "sh", "-c", make];
    assert!(Command::new("docker").args(arguments).status().is_ok_and(|status| status.success()));
}

/// What the image of the documentation was built from.
fn built_from(sandbox: &Sandbox, file: &str) -> String {
    on(sandbox, &format!("cat platform/apps/docs/content/{file}; docker inspect -f '{{{{.Image}}}}' curateme-docs"))
}

/// A submodule in a build context: brought, bumped, or refused before anything is done.
fn submodules(sandbox: &Sandbox) {
    library(sandbox);
    deployed(sandbox, "git submodule --quiet add ../extra.git apps/docs/content/extra");
    push(sandbox, "a submodule");
    deployed(sandbox, DEPLOY);
    let first = built_from(sandbox, "extra/extra.md");
    assert!(first.starts_with("from a submodule"), "{first}");
    bump_library(sandbox);
    deployed(sandbox, "git submodule --quiet update --remote");
    push(sandbox, "a bump");
    let before = state(sandbox);
    as_root(sandbox, "origin", "mv /srv/git/extra.git /srv/git/away.git");
    let preflight = call(sandbox, "cm-detect --base HEAD~1 </dev/null | cm-health --preflight");
    assert_eq!(code(&preflight), (6, "preflight.submodule".to_owned()), "{preflight:?}");
    let refused = call(sandbox, DEPLOY);
    assert_eq!(code(&refused), (30, "checkout.submodule".to_owned()), "{refused:?}");
    assert!(refused.stderr.contains("apps/docs/content/extra"), "{}", refused.stderr);
    assert_eq!(state(sandbox), before);
    as_root(sandbox, "origin", "mv /srv/git/away.git /srv/git/extra.git");
    deployed(sandbox, DEPLOY);
    let second = built_from(sandbox, "extra/extra.md");
    assert!(second.starts_with("from its next commit") && second != first, "{second}");
    deployed(sandbox, "git rm -qf apps/docs/content/extra && rm -f .gitmodules");
    push(sandbox, "no submodule");
    deployed(sandbox, DEPLOY);
    assert_eq!(on(sandbox, "ls platform/apps/docs/content/extra 2>/dev/null || echo gone"), "gone");
}

/// Git's own settings there, and what somebody left in the checkout.
fn settings_of_git(sandbox: &Sandbox) {
    on(
        sandbox,
        "git config --global core.autocrlf true && chmod +x platform/README.md && mkdir -p platform/apps/docs/content/new.md",
    );
    std::fs::write(sandbox.laptop.join("apps/docs/content/new.md"), "# New\n\nof a commit\n").expect("write");
    push(sandbox, "a page");
    let built = call(sandbox, DEPLOY);
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(built.stderr.contains("mode of README.md"), "{}", built.stderr);
    assert_eq!(
        on(sandbox, "grep -rlI $(printf '\\r') platform/apps platform/docker-compose.production.yml || echo none"),
        "none"
    );
    on(
        sandbox,
        "git config --global --unset core.autocrlf && mkdir platform/apps/docs/content/later.md && touch platform/apps/docs/content/later.md/mine",
    );
    std::fs::write(sandbox.laptop.join("apps/docs/content/later.md"), "# Later\n").expect("write");
    std::fs::write(sandbox.laptop.join(".gitattributes"), "*.png filter=lfs diff=lfs merge=lfs -text\n")
        .expect("write");
    push(sandbox, "another page");
    let preflight = call(sandbox, "cm-health --preflight </dev/null");
    for words in
        ["not in Git, in the way of the commit's files", "apps/docs/content/later.md", "the deployment refuses that"]
    {
        assert!(preflight.code == 0 && preflight.stderr.contains(words), "{words}: {}", preflight.stderr);
    }
    let refused = call(sandbox, DEPLOY);
    assert_eq!(code(&refused), (30, "checkout.local-changes".to_owned()), "{refused:?}");
    assert!(refused.stderr.contains("not in Git, in the way"), "{}", refused.stderr);
    on(sandbox, "rm -r platform/apps/docs/content/later.md");
    deployed(sandbox, DEPLOY);

    // Content in Git LFS, of which this server knows nothing.
    let before = state(sandbox);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    std::fs::write(sandbox.laptop.join("apps/docs/content/logo.png"), pointer).expect("write");
    deployed(sandbox, "git -c filter.lfs.clean=cat -c filter.lfs.process= -c filter.lfs.required=false add -A");
    push(sandbox, "a picture");
    let preflight = call(sandbox, "cm-detect --base HEAD~1 </dev/null | cm-health --preflight");
    assert_eq!(code(&preflight), (6, "preflight.content".to_owned()), "{preflight:?}");
    let refused = call(sandbox, DEPLOY);
    assert_eq!(code(&refused), (30, "checkout.content".to_owned()), "{refused:?}");
    assert!(refused.stderr.contains("logo.png is in Git LFS, and git-lfs is not installed"), "{}", refused.stderr);
    assert_eq!(state(sandbox), before);
    deployed(sandbox, "git rm -qf apps/docs/content/logo.png .gitattributes");
    push(sandbox, "no picture");
}

/// An sshd that a hardening guide was followed for, a small umask, another language and another time.
fn odd_sshd(sandbox: &Sandbox) {
    let set = "printf 'MaxSessions %s\\nSetEnv LANG=de_DE.UTF-8 TZ=Asia/Tokyo\\n'";
    on(sandbox, "rm -f .profile; sed -i '1i umask 077' .bashrc; echo >>.bashrc");
    for allowed in [2, 1] {
        as_root(
            sandbox,
            "platform",
            &format!(
                "sed -i '/^MaxSessions/d; /^SetEnv/d' /etc/ssh/sshd_config && {set} {allowed} >>/etc/ssh/sshd_config; {RELOAD_SSHD}"
            ),
        );
        title(sandbox, &format!("Sessions: {allowed}"));
        let preflight = call(sandbox, &format!("{LOG_IN_AGAIN} cm-health --preflight </dev/null"));
        assert_eq!(preflight.code, 0, "{}", preflight.stderr);
        assert!(preflight.stderr.contains("fewer sessions a connection"), "{}", preflight.stderr);
        deployed(sandbox, "cm-lock run -- sh -c 'cm-detect --base HEAD~1 </dev/null | cm-build | cm-health'");
    }
    as_root(
        sandbox,
        "platform",
        &format!("sed -i 's/^MaxSessions.*/MaxSessions 0/' /etc/ssh/sshd_config; {RELOAD_SSHD}"),
    );
    let none = call(
        sandbox,
        &format!("{LOG_IN_AGAIN} cm-build --service docs --dry-run </dev/null; cm-build --service docs </dev/null"),
    );
    assert_eq!(none.code, 7, "{none:?}");
    assert!(none.stderr.contains("MaxSessions"), "{}", none.stderr);
    as_root(
        sandbox,
        "platform",
        &format!(
            "sed -i '/^MaxSessions/d; s/^SetEnv.*/SetEnv LANG=C.UTF-8/' /etc/ssh/sshd_config && sed -i 1d /home/curateme/.bashrc; {RELOAD_SSHD}"
        ),
    );
}

/// A client of Docker where only a login shell looks, an engine of the user's own, and a clock that is off.
fn odd_docker(sandbox: &Sandbox) {
    as_root(sandbox, "platform", "mkdir -p /snap/bin && mv /usr/bin/docker /snap/bin/docker");
    let snap = call(sandbox, &format!("{LOG_IN_AGAIN} cm-health --preflight </dev/null"));
    as_root(sandbox, "platform", "mv /snap/bin/docker /usr/bin/docker");
    assert_eq!(snap.code, 0, "{}", snap.stderr);
    let own = "mkdir -p /run/user/1000 && mv /run/docker.sock /run/user/1000/docker.sock && chown -R curateme: /run/user/1000";
    as_root(sandbox, "platform", own);
    title(sandbox, "Rootless");
    let rootless = call(sandbox, &format!("{LOG_IN_AGAIN} {DEPLOY}"));
    as_root(
        sandbox,
        "platform",
        "mv /run/user/1000/docker.sock /run/docker.sock && chown root:docker /run/docker.sock",
    );
    assert_eq!(rootless.code, 0, "{}", rootless.stderr);
    let late = "printf '#!/bin/sh\\nexec /usr/bin/date -d \"+1 hour\" \"$@\"\\n' >/usr/local/bin/date && chmod 755 /usr/local/bin/date";
    as_root(sandbox, "platform", late);
    let clock = call(sandbox, &format!("{LOG_IN_AGAIN} cm-health --preflight </dev/null"));
    as_root(sandbox, "platform", "rm /usr/local/bin/date");
    assert_eq!(clock.code, 0, "{}", clock.stderr);
    assert!(
        clock.stderr.contains("its clock is 3600 s ahead") || clock.stderr.contains("its clock is 3599 s ahead"),
        "{}",
        clock.stderr
    );
}

/// The ways to write down where a server is.
fn addresses(sandbox: &mut Sandbox) {
    let config = sandbox.home.variable("CM_SSH_CONFIG").expect("set").to_owned();
    let text = std::fs::read_to_string(&config).expect("an ssh configuration");
    let host = sandbox.home.variable("PLATFORM_VPS_IP").expect("set").to_owned();
    let block = text.split_once(&format!("Host {host}\n")).expect("a block").1;
    let port = block.split_once("  Port ").and_then(|(_, rest)| rest.lines().next()).expect("a port").to_owned();
    let star = text.split_once("Host *.").expect("common settings").1.split_once('\n').expect("lines").1;
    let known = sandbox.home.path().join("known");
    let common = |known: &str| {
        let lines = star.lines().filter(|line| !line.contains("UserKnownHostsFile"));
        lines.fold(format!("  UserKnownHostsFile {known}\n"), |all, line| format!("{all}{line}\n"))
    };
    let own = sandbox.home.path().join("own_config");
    let relay = Relay::between(Ipv6Addr::LOCALHOST.into(), format!("127.0.0.1:{port}"));
    let six = relay.address().port();
    // Somebody who shares connections, runs a command and says little; and known hosts that are hashed.
    let habits =
        "  ControlMaster auto\n  ControlPath ~/.ssh/%C\n  ControlPersist 10m\n  RemoteCommand true\n  LogLevel QUIET\n";
    let write = |known: &str| {
        std::fs::write(
            &own,
            format!(
                "Host alias\n  HostName 127.0.0.1\n  Port {port}\nHost ::1\n  Port {six}\nHost *\n{habits}{}",
                common(known)
            ),
        )
        .expect("write");
    };
    let source = star
        .lines()
        .find_map(|line| line.trim().strip_prefix("UserKnownHostsFile "))
        .expect("known hosts")
        .trim_matches('"');
    std::fs::copy(source, &known).expect("copy");
    let hashed = Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&known).output().expect("ssh-keygen");
    assert!(hashed.status.success(), "{hashed:?}");
    let keys = Command::new("ssh-keyscan").args(["-p", &six.to_string(), "::1"]).output().expect("ssh-keyscan");
    assert!(keys.status.success() && !keys.stdout.is_empty(), "{keys:?}");
    let plain = [std::fs::read(&known).expect("hashed"), keys.stdout].concat();
    std::fs::write(&known, plain).expect("write");
    write(&known.display().to_string());
    sandbox.home.set("CM_SSH_CONFIG", &own.display().to_string());
    let call_at = |sandbox: &Sandbox, address: &str| {
        let toml = std::fs::read_to_string(sandbox.laptop.join("cm.toml")).expect("cm.toml");
        let there = toml.replace("\"${DEPLOY_USER}@${PLATFORM_VPS_IP}\"", &format!("\"{address}\""));
        assert_ne!(there, toml);
        std::fs::write(sandbox.laptop.join("cm.toml"), there).expect("write");
        let answer = call(sandbox, "cm-build --service docs --dry-run </dev/null");
        std::fs::write(sandbox.laptop.join("cm.toml"), toml).expect("write");
        answer
    };
    for address in [
        format!("curateme@127.0.0.1:{port}"),
        format!("ssh://curateme@127.0.0.1:{port}"),
        "curateme@alias".to_owned(),
        format!("curateme@[127.0.0.1]:{port}"),
        format!("curateme@[::1]:{six}"),
        format!("ssh://curateme@[::1]:{six}"),
        "curateme@[::1]".to_owned(),
        "curateme@::1".to_owned(),
    ] {
        let answer = call_at(sandbox, &address);
        assert!(answer.code == 0 && answer.stderr.contains("would do on platform"), "{address}: {answer:?}");
        assert!(!answer.stderr.contains("could not look at the hosts"), "{address}: {}", answer.stderr);
    }
    std::fs::write(&known, "").expect("write");
    write(&known.display().to_string());
    let unknown = call_at(sandbox, &format!("curateme@localhost:{port}"));
    assert!(unknown.stderr.contains(&format!("ssh-keyscan -H -p {port} localhost")), "{}", unknown.stderr);
    let wrong = call_at(sandbox, "curateme@localhost:ssh");
    assert_eq!(code(&wrong), (6, "config.address".to_owned()), "{wrong:?}");
    sandbox.home.set("CM_SSH_CONFIG", &config);
}

/// A key with a passphrase, and an agent; `SSH_ASKPASS` is who types it.
const AGENT: &str = r#"cp "$(sed -n 's/.*IdentityFile "\(.*\)"/\1/p' "$CM_SSH_CONFIG")" ~/locked && ssh-keygen -q -p -P '' -N words -f ~/locked >/dev/null &&
    sed -e "s|IdentityFile .*|IdentityFile $HOME/locked|" -e /IdentityAgent/d "$CM_SSH_CONFIG" >~/locked_config &&
    printf '#!/bin/sh\necho words\n' >~/ask && chmod 755 ~/ask && export CM_SSH_CONFIG=$HOME/locked_config &&
    eval "$(ssh-agent)" >/dev/null && trap 'kill $SSH_AGENT_PID' EXIT && export SSH_ASKPASS_REQUIRE=force;"#;

/// An agent signs with it; one that wants somebody's consent, as a hardware key does, is not kept waiting for.
fn agents(sandbox: &Sandbox) {
    for (add, status, words) in [
        (":", 7, "ssh-add it"),
        ("ssh-add -q ~/locked", 0, "servers ready"),
        ("ssh-add -q -c ~/locked", 7, "touch the hardware key"),
    ] {
        let line = format!("{AGENT} SSH_ASKPASS=~/ask {add}; {LOG_IN_AGAIN} cm-health --preflight </dev/null");
        let answer = call(sandbox, &line);
        assert!(answer.code == status && answer.stderr.contains(words), "{add}: {answer:?}");
    }
    call(sandbox, LOG_IN_AGAIN);
}

#[test]
fn what_people_really_have_works_or_is_refused_before_anything_is_done() {
    let mut sandbox = Sandbox::up("servers");
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    push_quietly(&sandbox);
    deployed(&sandbox, "cm-build --service docs </dev/null");
    submodules(&sandbox);
    settings_of_git(&sandbox);
    odd_docker(&sandbox);
    odd_sshd(&sandbox);

    silent_name_servers(&sandbox);

    title(&sandbox, "Refused everywhere");
    let wrong: Vec<_> = REFUSED.iter().filter_map(|case| refuse(&sandbox, case)).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), REFUSED.len(), wrong.join("\n\n"));
    deployed(&sandbox, &format!("{LOG_IN_AGAIN} {DEPLOY}"));
    agents(&sandbox);
    addresses(&mut sandbox);
}

/// A name server that takes each question and answers none. The commit is there already, so that nothing stops.
fn silent_name_servers(sandbox: &Sandbox) {
    let listen = "setsid perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(Proto => q(udp), LocalAddr => q(127.0.0.53:53)) or die; sleep 600' \
        >/dev/null 2>&1 </dev/null & echo $! >/tmp/silent.pid";
    let silent = "printf 'nameserver 127.0.0.53\\noptions timeout:25 attempts:1\\n' >/etc/resolv.conf";
    as_root(sandbox, "platform", &format!("cp /etc/resolv.conf /tmp/resolv.conf; {silent}; {listen}"));
    let answer = call(sandbox, &format!("{LOG_IN_AGAIN} cm-health --preflight </dev/null"));
    as_root(sandbox, "platform", "cat /tmp/resolv.conf >/etc/resolv.conf; kill \"$(cat /tmp/silent.pid)\"");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    for words in [
        "no answer in 20 seconds: the name service does not answer there, looking up origin took longer than 5 seconds",
        "(`getent hosts HOST` there): fix that, or there `git -C ~/platform remote set-url origin`",
    ] {
        assert!(answer.stderr.contains(words), "{words}: {}", answer.stderr);
    }
}

fn push_quietly(sandbox: &Sandbox) {
    deployed(sandbox, "git push -q origin HEAD:develop");
}
