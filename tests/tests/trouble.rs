//! A server in trouble: an engine that refuses one command, files that cannot be written, a checkout that git does
//! not like. Each is met by the program that needs it; it says what and where, has the exit status and the code of
//! its entry in cm-errors(7), and what ran before still runs.
//!
//! Docker on the servers is the real one, behind a wrapper that refuses the commands that a test names.

use cm_testkit::{Answer, Sandbox, repository};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::Command;

/// In the place of `docker` on a server: while `/tmp/trouble` is there, its first line is an extended regular
/// expression for the command lines that end with the status in the second line and say the rest; or do it, where
/// the rest begins with "do ".
const WRAPPER: &str = r#"#!/bin/sh
if [ -f /tmp/trouble ] && printf '%s\n' "$*" | tr '\n' ' ' | grep -Eq -- "$(sed -n 1p /tmp/trouble)"; then
    status=$(sed -n 2p /tmp/trouble)
    work=$(sed -n '3s/^do //p' /tmp/trouble)
    [ -z "$work" ] || { eval "$work"; exit "$status"; }
    [ "$status" -ne 0 ] || { sed -n '3,$p' /tmp/trouble && exit 0; }
    sed -n '3,$p' /tmp/trouble >&2
    exit "$status"
fi
exec /usr/bin/docker "$@"
"#;

/// What is broken there, the call that meets it, its exit status and code, and what a person has to read.
struct Trouble {
    name: &'static str,
    /// A regular expression, a status and words for the wrapper; none if it is empty.
    docker: [&'static str; 3],
    /// Shell for the server, before and after.
    breaks: &'static str,
    mends: &'static str,
    call: &'static str,
    exit: i32,
    code: &'static str,
    words: &'static str,
    /// Whether it comes when other containers run already.
    late: bool,
}

const NOTHING: Trouble = Trouble {
    name: "",
    docker: ["", "", ""],
    breaks: "",
    mends: "",
    call: "",
    exit: 0,
    code: "",
    words: "",
    late: false,
};

/// Ends the connection of the program that asks.
const CUT: &str =
    "do p=$$; while grep -vq ^sshd /proc/$p/comm; do p=$(cut -d' ' -f4 /proc/$p/stat); done; kill -9 $p; sleep 9";

/// Starts what is to be started, and then it dies.
const DIES: &str = "do /usr/bin/docker \"$@\"; /usr/bin/docker kill curateme-docs";

const COMPOSE: &str = "docker-compose.production.yml";

const EXTRA: &str = "  extra:
    <<: *restart
    container_name: curateme-extra
    image: curateme/docs
    pull_policy: never
    entrypoint: [\"false\"]

  backend-b2b:
";

const DAEMON: &str = "Error response from daemon: the disk is on fire";

/// A new run that plans one action for a service of the platform.
fn plan(sandbox: &Sandbox, action: &str, service: &str) -> String {
    let mut document = call(sandbox, "cm-detect --base HEAD </dev/null").document();
    document["services"] = json!([{"name": service, "host": "platform", "action": action}]);
    document.to_string()
}

fn on(sandbox: &Sandbox, line: &str) -> String {
    sandbox.server("platform", &["sh", "-c", line])
}

fn as_root(sandbox: &Sandbox, line: &str, stdin: &str) {
    let mut docker = Command::new("docker")
        .args(["exec", "-i", &sandbox.container("platform"), "sh", "-c", line])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("docker");
    std::io::Write::write_all(&mut docker.stdin.take().expect("a pipe"), stdin.as_bytes()).expect("written");
    assert!(docker.wait().expect("docker").success(), "{line}");
}

fn call(sandbox: &Sandbox, line: &str) -> Answer {
    sandbox.laptop("bash", &["-c", &format!("set -o pipefail; export CM_LOG=json; {line}")])
}

/// The containers that run, by Docker itself.
fn running(sandbox: &Sandbox) -> String {
    on(sandbox, "/usr/bin/docker ps --no-trunc --format '{{.ID}} {{.Names}}' | sort")
}

/// The last error that was told.
fn error(answer: &Answer) -> Value {
    let mut events = answer.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.rfind(|event| event["error"].is_object()).unwrap_or_default()["error"].clone()
}

#[expect(clippy::print_stdout, reason = "whoever runs it with --nocapture wants to read them")]
fn print(name: &str, code: i32, error: &Value) {
    println!("{name}: {code} {}", serde_json::to_string_pretty(error).expect("JSON"));
}

/// Meets the trouble; what was wrong with the answer, if anything was.
fn meet(sandbox: &Sandbox, trouble: &Trouble) -> Option<String> {
    let before = running(sandbox);
    if !trouble.breaks.is_empty() {
        on(sandbox, trouble.breaks);
    }
    let [pattern, status, said] = trouble.docker;
    if !pattern.is_empty() {
        as_root(sandbox, "cat >/tmp/trouble", &format!("{pattern}\n{status}\n{said}\n"));
    }
    let answer = call(sandbox, trouble.call);
    as_root(sandbox, "rm -f /tmp/trouble", "");
    if !trouble.mends.is_empty() {
        on(sandbox, trouble.mends);
    }
    let error = error(&answer);
    let known = std::fs::read_to_string(repository().join("crates/cm-document/src/codes.txt")).expect("codes");
    let mut wrong = String::new();
    if (answer.code, error["code"].as_str()) != (trouble.exit, Some(trouble.code)) {
        let _ = write!(wrong, "  wanted {} {}\n  {answer:?}", trouble.exit, trouble.code);
    }
    // Wrong here, and on no server.
    let of_a_host = !["config.no-env-snapshot", "journal.write"].contains(&trouble.code);
    let text = error.to_string();
    if !text.contains(trouble.words) || (of_a_host && !text.contains("platform")) {
        let _ = write!(wrong, "  wanted {:?} and the host in {error}", trouble.words);
    }
    if !error["hint"].is_string() {
        wrong.push_str("  it says nothing about what to do");
    }
    if !known.lines().any(|entry| entry.starts_with(&format!("{}:", trouble.code))) {
        wrong.push_str("  the code is in no manual");
    }
    let after = running(sandbox);
    if after != before && !trouble.late {
        let _ = write!(wrong, "  ran before: {before}\n  runs now: {after}");
    }
    print(trouble.name, answer.code, &error);
    (!wrong.is_empty()).then(|| format!("{}:\n{wrong}", trouble.name))
}

#[test]
fn a_server_in_trouble_is_named_and_keeps_what_it_runs() {
    let mut sandbox = Sandbox::up("trouble");
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    assert_eq!(sandbox.laptop("git", &["push", "-q", "origin", "HEAD:develop"]).code, 0);
    let first =
        call(&sandbox, "cm-build --service docs --service caddy --service mongodb </dev/null | cm-health | cm-record");
    assert_eq!(first.code, 0, "{}", first.stderr);
    for _ in 0..2 {
        let backup = call(&sandbox, "cm-backup --allow-empty </dev/null; sleep 1");
        assert_eq!(backup.code, 0, "{}", backup.stderr);
    }
    let before = first.document()["run"]["id"].as_str().expect("an id").to_owned();
    sandbox.change(
        "apps/docs/content/index.md",
        "# Curate-Me documentation",
        "# The documentation",
        "docs: another title",
    );
    let second =
        call(&sandbox, "git push -q origin HEAD:develop && cm-build --service docs </dev/null | cm-health | cm-record");
    assert_eq!(second.code, 0, "{}", second.stderr);
    sandbox.home.set("BEFORE", &before);
    sandbox.home.set("SECOND", second.document()["run"]["id"].as_str().expect("an id"));
    for (action, service) in [("build", "docs"), ("restart", "docs"), ("reload", "caddy"), ("remove", "docs")] {
        std::fs::write(sandbox.home.path().join(format!("{action}.json")), plan(&sandbox, action, service))
            .expect("write");
    }
    as_root(&sandbox, "cat >/usr/local/bin/docker && chmod 755 /usr/local/bin/docker", WRAPPER);

    let troubles = [
        Trouble {
            name: "no list of containers",
            docker: ["^ps ", "1", DAEMON],
            call: "cm-build <~/build.json",
            exit: 30,
            code: "engine.unreachable",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "nonsense",
            docker: ["^inspect ", "0", "{"],
            call: "cm-build <~/build.json",
            exit: 30,
            code: "engine.answer",
            words: "cannot be read",
            ..NOTHING
        },
        Trouble {
            name: "no tag",
            docker: ["^tag ", "1", DAEMON],
            call: "cm-build <~/build.json",
            exit: 30,
            code: "engine.tag",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "no Compose",
            docker: ["^compose ", "1", "docker: 'compose' is not a docker command."],
            call: "cm-build <~/build.json",
            exit: 6,
            code: "compose.missing",
            words: "docker-compose",
            ..NOTHING
        },
        Trouble {
            name: "no restart",
            docker: ["^compose .* restart ", "1", DAEMON],
            call: "cm-build <~/restart.json",
            exit: 30,
            code: "build.restart",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "not valid",
            docker: ["^exec .* validate ", "1", DAEMON],
            call: "cm-build <~/reload.json",
            exit: 30,
            code: "build.validate",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "no reload",
            docker: ["^exec .* reload ", "1", DAEMON],
            call: "cm-build <~/reload.json",
            exit: 30,
            code: "build.reload",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "no stop",
            docker: ["^stop ", "1", DAEMON],
            call: "cm-build <~/remove.json",
            exit: 30,
            code: "build.remove",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "no list for pruning",
            docker: ["^ps -aq --no-trunc $", "1", DAEMON],
            call: "cm-build prune </dev/null",
            exit: 30,
            code: "prune.containers",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "no list of images",
            docker: ["^image ls", "1", DAEMON],
            call: "cm-rollback --list </dev/null",
            exit: 41,
            code: "engine.images",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "no look",
            docker: ["^(ps|inspect) ", "1", DAEMON],
            call: "cm-health --service docs --timeout 3s </dev/null",
            exit: 41,
            code: "health.unknown",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "a connection that is cut",
            docker: ["^ps ", "0", CUT],
            call: "cm-build <~/build.json",
            exit: 7,
            code: "host.lost",
            words: "look at the host",
            ..NOTHING
        },
        Trouble {
            name: "no list of volumes",
            docker: ["^volume ls ", "1", DAEMON],
            call: "cm-backup --service redis </dev/null",
            exit: 21,
            code: "backup.engine",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "another database",
            call: "cm-backup --service docs </dev/null",
            exit: 6,
            code: "backup.other-database",
            words: "mongodb",
            ..NOTHING
        },
        Trouble {
            name: "a backup that cannot be read",
            breaks: "chmod 000 ~/backups/*.gz",
            mends: "chmod 600 ~/backups/*.gz",
            call: "cm-backup verify platform:$(cm-backup list --json | jq -r '.[0].file') </dev/null",
            exit: 21,
            code: "backup.read",
            words: "Permission denied",
            ..NOTHING
        },
        Trouble {
            name: "a name on the way that cannot be given back",
            docker: ["^rename ", "1", DAEMON],
            breaks: "/usr/bin/docker rename curateme-docs 0123456789ab_curateme-docs",
            mends: "/usr/bin/docker rename 0123456789ab_curateme-docs curateme-docs",
            call: "cm-build <~/build.json",
            exit: 30,
            code: "engine.rename",
            words: "on fire",
            late: true,
        },
        Trouble {
            name: "no container after all",
            docker: ["^ps ", "0", ""],
            call: "cm-build <~/build.json",
            exit: 30,
            code: "build.no-container",
            words: "docs",
            ..NOTHING
        },
        Trouble {
            name: "a file that was changed there",
            breaks: "echo by hand >>~/platform/apps/docs/content/index.md",
            mends: "cd ~/platform && git checkout -q apps/docs",
            call: "cm-build <~/build.json",
            exit: 30,
            code: "checkout.local-changes",
            words: "--discard-local-changes",
            ..NOTHING
        },
        Trouble {
            name: "no journal",
            call: "XDG_STATE_HOME=/dev/null cm-build <~/build.json",
            exit: 6,
            code: "journal.write",
            words: "XDG_STATE_HOME",
            ..NOTHING
        },
        Trouble {
            name: "no env file",
            breaks: "mv ~/platform/.env.production ~/kept",
            mends: "mv ~/kept ~/platform/.env.production",
            call: "cm-backup </dev/null",
            exit: 6,
            code: "backup.env-file",
            words: ".env.production",
            ..NOTHING
        },
        Trouble {
            name: "no directory for backups",
            breaks: "echo >~/file",
            mends: "rm ~/file",
            call: "cm-backup --remote-dir /home/curateme/file/x </dev/null",
            exit: 21,
            code: "backup.directory",
            words: "/home/curateme/file/x",
            ..NOTHING
        },
        Trouble {
            name: "an index that is locked",
            breaks: "touch ~/platform/.git/index.lock",
            mends: "rm ~/platform/.git/index.lock",
            call: "cm-build <~/build.json",
            exit: 30,
            code: "checkout.git",
            words: "remove ~/platform/.git/index.lock",
            ..NOTHING
        },
        Trouble {
            name: "a remote that is away",
            breaks: "cd ~/platform && git remote set-url origin /nowhere",
            mends: "cd ~/platform && git remote set-url origin ssh://git@origin/srv/git/platform.git",
            call: "cm-build --service docs </dev/null",
            exit: 30,
            code: "checkout.remote",
            words: "/nowhere",
            ..NOTHING
        },
        Trouble {
            name: "a ledger that cannot be read",
            breaks: "chmod 000 ~/.local/state/cm/curateme/ledger.jsonl",
            mends: "chmod 600 ~/.local/state/cm/curateme/ledger.jsonl",
            call: "cm-build <~/build.json",
            exit: 6,
            code: "host.read",
            words: "ledger.jsonl",
            ..NOTHING
        },
        Trouble {
            name: "a ledger that cannot be written",
            breaks: "chmod 400 ~/.local/state/cm/curateme/ledger.jsonl",
            mends: "chmod 600 ~/.local/state/cm/curateme/ledger.jsonl",
            call: "cm-build <~/build.json",
            exit: 30,
            code: "host.append",
            words: "ledger.jsonl",
            ..NOTHING
        },
    ];
    // Ten sessions are what sshd allows on the one connection that all programs share.
    let held = "for socket in $(ls $XDG_RUNTIME_DIR/cm/ssh-* | grep -v lock); do \
        [ \"$(ssh -S $socket x hostname)\" != platform ] || break; done; \
        for i in 1 2 3 4 5 6 7 8 9 10; do ssh -S $socket platform sleep 25 </dev/null & done; sleep 1; \
        cm-build <~/build.json; code=$?; kill $(jobs -p); exit $code";
    let back = [
        Trouble { name: "no more sessions", call: held, exit: 7, code: "host.busy", words: "MaxSessions", ..NOTHING },
        Trouble {
            name: "no tag on the way back",
            docker: ["^tag ", "1", DAEMON],
            call: "cm-rollback --service docs --to $BEFORE </dev/null",
            exit: 61,
            code: "engine.tag",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "an env file that cannot be put back",
            breaks: "cd platform && echo '# later' >>.env.production && chmod a-w .",
            mends: "cd platform && chmod u+w . && sed -i '$d' .env.production",
            call: "cm-rollback --service docs --to $BEFORE --with-env </dev/null",
            exit: 61,
            code: "rollback.env",
            words: ".env.production",
            ..NOTHING
        },
        Trouble {
            name: "no copy of the env file",
            breaks: "cd .local/state/cm/curateme && mv snapshots kept",
            mends: "cd .local/state/cm/curateme && rm -rf snapshots && mv kept snapshots",
            call: "cm-rollback --service docs --to $BEFORE --with-env </dev/null",
            exit: 62,
            code: "rollback.no-env-snapshot",
            words: "without --with-env",
            ..NOTHING
        },
        Trouble {
            name: "no copies of the env file",
            call: "sed -i '/^env_file/d; s/, .[.]env[.]production.//' cm.toml; \
                   cm-rollback --service docs --to $BEFORE --with-env </dev/null; code=$?; \
                   git checkout -q cm.toml; exit $code",
            exit: 6,
            code: "config.no-env-snapshot",
            words: "[protect]",
            ..NOTHING
        },
        Trouble {
            name: "no second container",
            docker: ["^compose .* run ", "1", DAEMON],
            call: "sed -i 's/^.services.docs.$/&\\nupdate = \"rolling\"/' cm.toml; \
                   echo more >>apps/docs/content/index.md; git commit -qm more apps; git push -q origin HEAD:develop; \
                   cm-detect --group docs </dev/null | cm-build; code=$?; git checkout -q cm.toml; exit $code",
            exit: 30,
            code: "build.beside",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "a broken ledger",
            breaks: "sed -i '1i {' .local/state/cm/curateme/ledger.jsonl",
            mends: "sed -i 1d .local/state/cm/curateme/ledger.jsonl",
            call: "cm-backup prune --keep 1 </dev/null",
            exit: 21,
            code: "prune.ledger",
            words: "ledger.jsonl",
            ..NOTHING
        },
        Trouble {
            name: "backups that cannot be removed",
            breaks: "chmod a-w ~/backups",
            mends: "chmod u+w ~/backups",
            call: "cm-backup prune --keep 1 </dev/null",
            exit: 21,
            code: "prune.remove",
            words: "backups",
            ..NOTHING
        },
        Trouble {
            name: "a disk that is full",
            call: "cm-backup --allow-empty --remote-dir /home/curateme/full </dev/null",
            exit: 21,
            code: "backup.store",
            words: "No space left",
            ..NOTHING
        },
    ];
    as_root(
        &sandbox,
        "mkdir /home/curateme/full && mount -t tmpfs -o size=200m,nr_inodes=2,mode=777 none /home/curateme/full",
        "",
    );
    let troubles = troubles.iter().chain(&back);
    let last = [
        Trouble {
            name: "a container that is new and stays",
            docker: ["^stop ", "1", DAEMON],
            mends: "/usr/bin/docker rm -f curateme-extra >/dev/null",
            call: "git push -q origin HEAD:develop && cm-build --service extra </dev/null | \
                   cm-health --timeout 20s 2>/dev/null | cm-rollback --on-failure",
            exit: 61,
            code: "rollback.remove",
            words: "on fire",
            ..NOTHING
        },
        Trouble {
            name: "a way back that ends badly",
            docker: ["^compose .* up ", "0", DIES],
            call: "cm-rollback --service docs --to $BEFORE </dev/null",
            exit: 61,
            code: "rollback.unhealthy",
            words: "docs",
            late: true,
            ..NOTHING
        },
        Trouble {
            name: "a build that leaves no image",
            docker: ["^image inspect .* curateme/docs $", "1", "Error: No such image: curateme/docs"],
            breaks: "of=$(/usr/bin/docker inspect -f '{{.Image}}' curateme-docs); \
                     /usr/bin/docker images --no-trunc -q curateme/docs | sort -u | grep -v $of | \
                     xargs /usr/bin/docker rmi -f",
            call: "cm-rollback --service docs --to $SECOND --rebuild </dev/null",
            exit: 61,
            code: "rollback.rebuild",
            words: "curateme/docs",
            ..NOTHING
        },
    ];
    let mut wrong: Vec<_> = troubles.filter_map(|trouble| meet(&sandbox, trouble)).collect();
    sandbox.change(COMPOSE, "  backend-b2b:\n", EXTRA, "another service");
    wrong.extend(last.iter().filter_map(|trouble| meet(&sandbox, trouble)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    assert_eq!(
        on(&sandbox, "pgrep -fc 'docker event[s]' || :"),
        "0",
        "what followed the events has ended with its program"
    );

    // An sshd that opens no tunnels: what is behind one was not asked, and is not called ill.
    let ended =
        "for socket in $(ls $XDG_RUNTIME_DIR/cm/ssh-* | grep -v lock); do ssh -S $socket -O exit x; done 2>/dev/null;";
    on(&sandbox, "/usr/bin/docker start curateme-docs");
    as_root(&sandbox, "echo 'AllowTcpForwarding no' >>/etc/ssh/sshd_config && pkill -HUP -o sshd", "");
    let cases = [
        ("cm-health --service docs --timeout 6s", 41, "health.unknown"),
        ("cm-backup", 21, "host.forward"),
        ("cm-health --preflight", 6, "preflight.tunnels"),
    ];
    for (program, exit, code) in cases {
        let refused = call(&sandbox, &format!("{ended} {program} </dev/null"));
        let error = error(&refused);
        assert_eq!((refused.code, error["code"].as_str()), (exit, Some(code)), "{}", refused.stderr);
        assert!(refused.stderr.contains("AllowTcpForwarding"), "{}", refused.stderr);
    }
    as_root(&sandbox, "sed -i '/^AllowTcp/d' /etc/ssh/sshd_config && pkill -HUP -o sshd", "");
    let opened = call(&sandbox, &format!("{ended} cm-health --preflight </dev/null"));
    assert_eq!(opened.code, 0, "{}", opened.stderr);

    // A checkout that is there, and is not the one that the containers were made from; and one that is.
    on(&sandbox, "cp -a platform other && ln -s platform link");
    for (directory, strays) in [("link", false), ("other", true)] {
        for program in ["cm-health --preflight", "cm-build --dry-run --service docs", "cm-build --service docs"] {
            let line =
                format!("sed -i 's,~/platform,~/{directory},' cm.toml; {program} </dev/null; git checkout -q cm.toml");
            let said = call(&sandbox, &line).stderr;
            let words = format!("not from ~/{directory}: paths in the compose file");
            assert_eq!(said.contains(&words), strays, "{program} in {directory}: {said}");
            assert_eq!(said.contains("was made from /home/curateme/"), strays, "{program} in {directory}: {said}");
        }
    }

    // After all that, the same plan is carried out.
    let last = call(&sandbox, "cm-build <~/build.json | cm-health");
    assert_eq!(last.code, 0, "{}", last.stderr);
}
