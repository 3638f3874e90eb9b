//! Set-ups as other people have them. A deployment works as on any server, or the preflight and cm-build
//! say what to set, and nothing is changed.

use super::{DEPLOY, LOG_IN_AGAIN, as_root, call, code, deployed, push_quietly, state, title};
use cm_testkit::{RELOAD_SSHD, Sandbox, repository};
use std::process::Command;

/// A server as somebody has it.
struct SetUp {
    name: &'static str,
    /// Done by root there, and undone.
    makes: &'static str,
    ends: &'static str,
    /// The code of the preflight's failure, and words of it; nothing where it works.
    refused: &'static str,
    words: &'static str,
}

const SET_UPS: [SetUp; 37] = [
    SetUp {
        name: "a Match block, a banner, no terminals",
        makes: "printf 'Banner /etc/debian_version\\nMatch User curateme\\n PermitTTY no\\n MaxSessions 4\\n' >>/etc/ssh/sshd_config",
        ends: "",
        refused: "",
        words: "",
    },
    SetUp {
        name: "a ForceCommand that notes what is run",
        makes: "printf 'ForceCommand echo \"$SSH_ORIGINAL_COMMAND\" >>/tmp/noted; exec sh -c \"$SSH_ORIGINAL_COMMAND\"\\n' >>/etc/ssh/sshd_config",
        ends: "",
        refused: "",
        words: "",
    },
    SetUp {
        name: "sftp alone",
        makes: "echo 'ForceCommand internal-sftp' >>/etc/ssh/sshd_config",
        ends: "",
        refused: "preflight.host",
        words: "does not run commands as they are given: This service allows sftp connections only",
    },
    SetUp {
        name: "a ForceCommand that takes the line apart",
        makes: "echo 'ForceCommand for word in $SSH_ORIGINAL_COMMAND; do echo \"$word\"; done' >>/etc/ssh/sshd_config",
        ends: "",
        refused: "preflight.host",
        words: "does not run commands as they are given",
    },
    SetUp {
        name: "an account without a shell",
        makes: "usermod -s /usr/sbin/nologin curateme",
        ends: "usermod -s /bin/bash curateme",
        refused: "preflight.host",
        words: "This account is currently not available",
    },
    SetUp {
        name: "no tunnels",
        makes: "echo 'AllowTcpForwarding no' >>/etc/ssh/sshd_config",
        ends: "",
        refused: "preflight.tunnels",
        words: "AllowTcpForwarding",
    },
    SetUp {
        name: "a key that opens no tunnels",
        makes: "cp -p /home/curateme/.ssh/authorized_keys /var/tmp/keys && sed -i 's/^ssh/restrict ssh/' /home/curateme/.ssh/authorized_keys",
        ends: "mv /var/tmp/keys /home/curateme/.ssh/authorized_keys",
        refused: "preflight.tunnels",
        words: "nor may `restrict`, `no-port-forwarding` or `permitopen` with the key in authorized_keys",
    },
    SetUp {
        name: "tunnels from the deploying machine alone, none to sockets, no variables",
        makes: "sed -i '/^AcceptEnv/d; /^SetEnv/d' /etc/ssh/sshd_config && printf 'AllowTcpForwarding local\\nAllowStreamLocalForwarding no\\n' >>/etc/ssh/sshd_config",
        ends: "",
        refused: "",
        words: "",
    },
    SetUp {
        name: "no forwarding of any kind",
        makes: "echo 'DisableForwarding yes' >>/etc/ssh/sshd_config",
        ends: "",
        refused: "preflight.tunnels",
        words: "DisableForwarding",
    },
    SetUp {
        name: "a key whose command runs what it is given, and a ~/.ssh/rc that talks and fails",
        makes: r#"cd /home/curateme/.ssh && cp -p authorized_keys /var/tmp/keys && sed -i 's/^ssh/command="exec sh -c \\"$SSH_ORIGINAL_COMMAND\\"" ssh/' authorized_keys && grep -q '^command="exec sh -c ' authorized_keys && printf 'echo welcome; cat >/dev/null; exit 3\n' >rc && chown curateme: rc"#,
        ends: "mv /var/tmp/keys /home/curateme/.ssh/authorized_keys; rm /home/curateme/.ssh/rc",
        refused: "",
        words: "",
    },
    SetUp {
        name: "a key whose command runs something else",
        makes: r#"cp -p /home/curateme/.ssh/authorized_keys /var/tmp/keys && sed -i 's/^ssh/command="echo not today" ssh/' /home/curateme/.ssh/authorized_keys"#,
        ends: "mv /var/tmp/keys /home/curateme/.ssh/authorized_keys",
        refused: "preflight.host",
        words: "does not run commands as they are given: not today",
    },
    SetUp {
        name: "a home directory that nobody made",
        makes: "sed -i 's,^curateme:\\(.*\\):/home/curateme:,curateme:\\1:/nonexistent:,' /etc/passwd && echo 'AuthorizedKeysFile /home/curateme/.ssh/authorized_keys' >>/etc/ssh/sshd_config",
        ends: "sed -i 's,^curateme:\\(.*\\):/nonexistent:,curateme:\\1:/home/curateme:,' /etc/passwd",
        refused: "preflight.home",
        words: "the deploy user's home directory /nonexistent is not there",
    },
    SetUp {
        name: "a home directory of root, and nothing of cm in it",
        makes: "mv /home/curateme/.local /home/local.away && chown root: /home/curateme && chmod 755 /home/curateme",
        ends: "mv /home/local.away /home/curateme/.local && chown curateme: /home/curateme",
        refused: "preflight.lock",
        words: "/home/curateme: Permission denied (owner root",
    },
    SetUp {
        name: "a place for the lock and the ledger that is read-only",
        makes: "mount --bind /home/curateme/.local /home/curateme/.local && mount -o remount,bind,ro /home/curateme/.local",
        ends: "umount /home/curateme/.local",
        refused: "preflight.lock",
        words: "Read-only file system",
    },
    SetUp {
        name: "a place for backups that is read-only",
        makes: "mount --bind /home/curateme/backups /home/curateme/backups && mount -o remount,bind,ro /home/curateme/backups",
        ends: "umount /home/curateme/backups",
        refused: "preflight.backup",
        words: "no backup can be written there: /home/curateme/backups: Read-only file system",
    },
    SetUp {
        name: "a fetch that was killed, or had no room",
        makes: "su curateme -c 'cd ~/platform && git fetch -q && tree=$(git rev-parse origin/develop^{tree} | sed s,..,\"&/\",) && \
            rm -f .git/objects/$tree && git update-ref refs/remotes/origin/develop HEAD && ! git ls-tree $(git rev-parse FETCH_HEAD) 2>/dev/null'",
        ends: "",
        refused: "",
        words: "",
    },
    SetUp {
        name: "a branch that a power cut emptied",
        makes: "cd /home/curateme/platform/.git && cp -p refs/heads/develop /var/tmp/develop && : >refs/heads/develop",
        ends: "cp -p /var/tmp/develop /home/curateme/platform/.git/refs/heads/develop",
        refused: "preflight.blocked",
        words: ".git/refs/heads/develop: the file is damaged and names no commit",
    },
    SetUp {
        name: "a .bashrc that talks, goes elsewhere and leads git astray",
        makes: "sed -i '1i echo welcome; cd /tmp; set -u; umask 077; export GIT_DIR=/nonexistent CDPATH=/usr; git() { echo no; }; export -f git' /home/curateme/.bashrc",
        ends: "sed -i 1d /home/curateme/.bashrc",
        refused: "",
        words: "",
    },
    SetUp {
        name: "a git that talks",
        makes: "printf '#!/bin/sh\\necho \"[wrapper] git\" >&2\\nexec /usr/bin/git \"$@\"\\n' >/usr/local/bin/git; chmod 755 /usr/local/bin/git",
        ends: "rm /usr/local/bin/git",
        refused: "",
        words: "",
    },
    SetUp {
        name: "settings of git for everything",
        makes: "cd /home/curateme && printf '* text eol=crlf\\n' >attributes && printf '[grep]\\n patternType = fixed\\n lineNumber = true\\n[diff]\\n noprefix = true\\n external = false\\n\
            [status]\\n branch = true\\n[core]\\n fsmonitor = true\\n attributesFile = /home/curateme/attributes\\n[color]\\n ui = always\\n[safe]\\n bareRepository = explicit\\n\
            [fetch]\\n prune = true\\n[transfer]\\n fsckObjects = true\\n' >.gitconfig",
        ends: "cd /home/curateme && ! grep -rlI \"$(printf '\\r')\" platform/apps && rm attributes .gitconfig",
        refused: "",
        words: "",
    },
    SetUp {
        name: "settings of git that nobody can read",
        makes: "printf '[core\\n' >/home/curateme/.gitconfig",
        ends: "rm /home/curateme/.gitconfig",
        refused: "preflight.checkout",
        words: "bad config line 1 in file /home/curateme/.gitconfig",
    },
    SetUp {
        name: "a filter that has to work, and is not installed",
        makes: "cd /home/curateme/platform && echo '*.md filter=own' >.git/info/attributes && su curateme -c 'git config filter.own.required true && git config filter.own.smudge own-decrypt'",
        ends: "cd /home/curateme/platform && rm .git/info/attributes && su curateme -c 'git config --remove-section filter.own'",
        refused: "preflight.content",
        words: "has the filter own, which fails here: error: external filter 'own-decrypt' failed",
    },
    SetUp {
        name: "/tmp without programs",
        makes: "mount -o remount,noexec /tmp",
        ends: "mount -o remount,exec /tmp",
        refused: "",
        words: "",
    },
    SetUp {
        name: "temporary files elsewhere",
        makes: "chmod 755 /tmp && install -d -o curateme /home/curateme/tmp && sed -i 's/^SetEnv.*/& TMPDIR=\\/home\\/curateme\\/tmp/' /etc/ssh/sshd_config",
        ends: "chmod 1777 /tmp",
        refused: "",
        words: "",
    },
    SetUp {
        name: "no place for temporary files",
        makes: "chmod 755 /tmp",
        ends: "chmod 1777 /tmp",
        refused: "preflight.temporary",
        words: "no temporary file can be made there: mktemp",
    },
    SetUp {
        name: "a /tmp that is full",
        makes: "mount -t tmpfs -o size=1m,mode=1777 none /tmp",
        ends: "umount /tmp",
        refused: "preflight.disk",
        words: "the disk of temporary files is full",
    },
    SetUp {
        name: "a home on a file system of its own, with little room",
        makes: "mkdir -p /mnt/home && mount -t tmpfs -o size=20m none /mnt/home && cp -a /home/curateme/. /mnt/home/ && chown curateme: /mnt/home && mount --bind /mnt/home /home/curateme && \
            head -c 12m /dev/zero >/mnt/home/fill",
        ends: "umount /home/curateme && umount /mnt/home",
        refused: "preflight.disk",
        words: "where the lock and the ledger are, is full",
    },
    SetUp {
        name: "a lock directory of root",
        makes: "chown root: /home/curateme/.local/state/cm/curateme",
        ends: "chown curateme: /home/curateme/.local/state/cm/curateme",
        refused: "preflight.lock",
        words: "the deploy user must be able to write there",
    },
    SetUp {
        name: "a checkout that is a worktree",
        makes: "su curateme -c 'cd && mv platform main && cd main && git checkout -qf -b other && git worktree add -q ../platform develop && cp .env.production Caddyfile ../platform/'",
        ends: "su curateme -c 'cd ~/main && git worktree remove --force ../platform && git checkout -qf develop && cd && mv main platform && cp full.Caddyfile platform/Caddyfile'",
        refused: "",
        words: "",
    },
    SetUp {
        name: "a repository next to its checkout",
        makes: "su curateme -c 'cd ~/platform && mv .git ../platform.git && echo gitdir: /home/curateme/platform.git >.git'",
        ends: "su curateme -c 'cd ~/platform && rm .git && mv ../platform.git .git'",
        refused: "",
        words: "",
    },
    SetUp {
        name: "protected files that are links",
        makes: "su curateme -c 'cd ~/platform && mkdir ../own && mv .env.production Caddyfile ../own/ && ln -s ../own/.env.production ../own/Caddyfile .'",
        ends: "su curateme -c 'cd ~/platform && [ -L Caddyfile ] && rm Caddyfile .env.production && mv ../own/.env.production ../own/Caddyfile . && rmdir ../own'",
        refused: "",
        words: "",
    },
    SetUp {
        name: "a protected file that is mounted read-only",
        makes: "cd /home/curateme/platform && mount --bind .env.production .env.production && mount -o remount,bind,ro .env.production",
        ends: "umount /home/curateme/platform/.env.production",
        refused: "",
        words: "",
    },
    SetUp {
        name: "a directory of the checkout that is mounted read-only",
        makes: "cd /home/curateme/platform/apps && mount --bind docs docs && mount -o remount,bind,ro docs",
        ends: "umount /home/curateme/platform/apps/docs",
        refused: "preflight.blocked",
        words: "Read-only file system",
    },
    SetUp {
        name: "a sparse checkout",
        makes: "su curateme -c 'cd ~/platform && git sparse-checkout set --no-cone /docker-compose.production.yml /deploy /apps/docs'",
        ends: "su curateme -c 'cd ~/platform && git sparse-checkout disable'",
        refused: "",
        words: "",
    },
    SetUp {
        name: "a shallow clone of one branch, with no branch checked out",
        makes: "su curateme -c 'cd && mv platform full && git clone -q --depth 1 ssh://git@origin/srv/git/platform.git platform && cp full/.env.production full/Caddyfile platform/ && \
            cd platform && git checkout -q --detach && git config remote.origin.fetch +refs/heads/main:refs/remotes/origin/main'",
        ends: "su curateme -c 'cd && rm -rf platform && mv full platform'",
        refused: "",
        words: "",
    },
    SetUp {
        name: "an engine that a context leads to",
        makes: "mkdir -p /run/other && mv /run/docker.sock /run/other/ && su curateme -c 'docker context create mine --docker host=unix:///run/other/docker.sock && docker context use mine' >/dev/null 2>&1",
        ends: "mv /run/other/docker.sock /run/ && su curateme -c 'docker context use default && docker context rm mine' >/dev/null 2>&1",
        refused: "",
        words: "",
    },
    SetUp {
        name: "an engine that a variable leads to",
        makes: "mkdir -p /run/other && mv /run/docker.sock /run/other/ && sed -i '1i export DOCKER_HOST=unix:///run/other/docker.sock' /home/curateme/.bashrc",
        ends: "mv /run/other/docker.sock /run/ && sed -i 1d /home/curateme/.bashrc",
        refused: "",
        words: "",
    },
];

/// What is wrong with how it went, if anything.
fn meets(sandbox: &Sandbox, setup: &SetUp) -> Option<String> {
    title(sandbox, setup.name);
    let before = state(sandbox);
    as_root(
        sandbox,
        "platform",
        &format!("cp /etc/ssh/sshd_config /root/sshd_config && {}; {RELOAD_SSHD}", setup.makes),
    );
    let preflight = call(sandbox, &format!("{LOG_IN_AGAIN} cm-health --preflight </dev/null"));
    let works = setup.refused.is_empty();
    let built = works.then(|| call(sandbox, DEPLOY));
    let ends = if setup.ends.is_empty() { ":" } else { setup.ends };
    as_root(sandbox, "platform", &format!("cp /root/sshd_config /etc/ssh/ && {RELOAD_SSHD}; {ends}"));
    call(sandbox, LOG_IN_AGAIN);
    if works {
        let failed = [Some(preflight), built].into_iter().flatten().find(|answer| answer.code != 0);
        return failed.map(|answer| format!("{}: {answer:?}", setup.name));
    }
    let right = code(&preflight).1 == setup.refused && preflight.stderr.contains(setup.words);
    if !right || !preflight.stderr.contains("hint: ") {
        return Some(format!("{}: {preflight:?}", setup.name));
    }
    (state(sandbox) != before).then(|| format!("{}: it was changed", setup.name))
}

#[test]
fn set_ups_of_other_people_work_or_the_preflight_says_what_to_set() {
    let sandbox = Sandbox::up("setups");
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    push_quietly(&sandbox);
    deployed(&sandbox, "cm-build --service docs </dev/null");
    as_root(&sandbox, "platform", "cp -p /home/curateme/platform/Caddyfile /home/curateme/full.Caddyfile");
    let wrong: Vec<_> = SET_UPS.iter().filter_map(|setup| meets(&sandbox, setup)).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), SET_UPS.len(), wrong.join("\n\n"));
}

/// A flock as the one of busybox, which the busybox of Debian does not have.
const FLOCK: &str = r#"#!/bin/sh
case $1 in
-w* | --*) echo 'BusyBox v1.37: Usage: flock [-sxun] FD | { FILE [-c] PROG ARGS }' >&2; exit 1 ;;
esac
exec /usr/bin/flock "$@"
"#;

#[test]
fn a_server_with_the_commands_of_busybox_is_a_server_like_any_other() {
    let sandbox = Sandbox::up("busybox");
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    let path = std::env::var_os("PATH").expect("a PATH");
    let busybox = std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|path| path.is_file());
    let busybox = busybox.expect("busybox is missing; scripts/setup.sh --tests installs it");
    let to = format!("{}:/opt/busybox", sandbox.container("platform"));
    let copied = Command::new("docker").arg("cp").arg(busybox).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "docker cp");
    let install = format!(
        "mkdir /opt/small && for one in $(/opt/busybox --list); do ln -s /opt/busybox /opt/small/$one; done && rm -f /opt/small/su && \
         cat >/opt/small/flock <<'END'\n{FLOCK}END\nchmod 755 /opt/small/flock && usermod -s /opt/small/ash curateme && chmod 700 /usr/bin/bash && \
         sed -i 's/^SetEnv.*/SetEnv LANG=C.UTF-8 PATH=\\/opt\\/small:\\/usr\\/bin/' /etc/ssh/sshd_config && ln -sf /opt/busybox /usr/bin/sh.new && mv /usr/bin/sh.new /usr/bin/sh && {RELOAD_SSHD}"
    );
    as_root(&sandbox, "platform", &install);
    let script = repository().join("scripts/deploy-to-vps.sh");
    let deploy = |name: &str| {
        title(&sandbox, name);
        deployed(&sandbox, &format!("{LOG_IN_AGAIN} {}", script.display()));
    };
    deploy("Small");
    deploy("Smaller");
    let kept = call(&sandbox, "cm-backup list </dev/null");
    assert!(kept.stdout.contains("verified"), "{kept:?}");
    let back = call(&sandbox, "cm-rollback --service docs --confirm </dev/null");
    assert_eq!(back.code, 60, "{}", back.stderr);
    let ran = super::on(&sandbox, "readlink /proc/$$/exe; ls -l /proc/*/exe 2>/dev/null | grep -c /opt/busybox");
    assert!(ran.starts_with("/opt/busybox"), "{ran}");
}
