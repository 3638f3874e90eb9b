//! Servers in a state that no deployment can pass: the preflight and cm-build say the true reason, and nothing is changed.

use super::{DEPLOY, LOG_IN_AGAIN, as_root, call, code, state, title};
use cm_testkit::{RELOAD_SSHD, Sandbox};

/// A server in a state that a deployment cannot pass.
pub struct Refused {
    pub name: &'static str,
    /// Done by root there, and undone.
    breaks: &'static str,
    fixes: &'static str,
    /// The code of the preflight, and of cm-build; nothing if cm-build is not asked.
    preflight: &'static str,
    build: &'static str,
    words: &'static str,
}

pub const REFUSED: [Refused; 19] = [
    Refused {
        name: "a directory that a container took",
        breaks: "chown root: /home/curateme/platform/apps/docs/content",
        fixes: "chown curateme: /home/curateme/platform/apps/docs/content",
        preflight: "preflight.blocked",
        build: "checkout.blocked",
        words: "apps/docs/content: Permission denied (owner root",
    },
    Refused {
        name: "a file of somebody else in a sticky directory",
        breaks: "cd /home/curateme/platform/apps/docs && chown root: content content/index.md && chmod 1777 content",
        fixes: "cd /home/curateme/platform/apps/docs && chown curateme: content content/index.md && chmod 755 content",
        preflight: "preflight.blocked",
        build: "checkout.blocked",
        words: "apps/docs/content/index.md: Operation not permitted (owner root, in a sticky directory)",
    },
    Refused {
        name: "a merge that somebody began",
        breaks: "su curateme -c 'cd ~/platform && git rev-parse HEAD >.git/MERGE_HEAD'",
        fixes: "rm /home/curateme/platform/.git/MERGE_HEAD",
        preflight: "preflight.blocked",
        build: "checkout.blocked",
        words: ".git/MERGE_HEAD: a merge was begun there",
    },
    Refused {
        name: "objects of a git that root ran",
        breaks: "chown root: /home/curateme/platform/.git/objects",
        fixes: "chown curateme: /home/curateme/platform/.git/objects",
        preflight: "preflight.blocked",
        build: "checkout.blocked",
        words: ".git/objects: Permission denied",
    },
    Refused {
        name: "a lock of a git that was killed",
        breaks: "touch /home/curateme/platform/.git/index.lock",
        fixes: "rm /home/curateme/platform/.git/index.lock",
        preflight: "preflight.blocked",
        build: "checkout.blocked",
        words: ".git/index.lock",
    },
    Refused {
        name: "a checkout of root",
        breaks: "chown root: /home/curateme/platform /home/curateme/platform/.git",
        fixes: "chown curateme: /home/curateme/platform /home/curateme/platform/.git",
        preflight: "preflight.checkout",
        build: "checkout.refused",
        words: "dubious ownership",
    },
    Refused {
        name: "a file where the checkout should be",
        breaks: "cd /home/curateme && mv platform platform.away && touch platform",
        fixes: "cd /home/curateme && rm platform && mv platform.away platform",
        preflight: "preflight.checkout",
        build: "checkout.place",
        words: "platform is not a directory",
    },
    Refused {
        name: "a disk that is not mounted",
        breaks: "cd /home/curateme && mv platform platform.away && ln -s /mnt/data/platform platform",
        fixes: "cd /home/curateme && rm platform && mv platform.away platform",
        preflight: "preflight.checkout",
        build: "checkout.place",
        words: "platform is a link to /mnt/data/platform, which is not there",
    },
    Refused {
        name: "a disk that is read-only",
        breaks: "cd /home/curateme && mount --bind platform platform && mount -o remount,bind,ro platform",
        fixes: "umount /home/curateme/platform",
        preflight: "preflight.blocked",
        build: "checkout.blocked",
        words: "Read-only file system",
    },
    Refused {
        name: "a deploy key that is gone",
        breaks: "mv /home/curateme/.ssh/id_ed25519 /home/curateme/.ssh/away",
        fixes: "mv /home/curateme/.ssh/away /home/curateme/.ssh/id_ed25519",
        preflight: "preflight.fetch",
        build: "checkout.fetch",
        words: "Permission denied (publickey)",
    },
    Refused {
        name: "a remote of another name",
        breaks: "su curateme -c 'git -C ~/platform remote rename origin upstream'",
        fixes: "su curateme -c 'git -C ~/platform remote rename upstream origin'",
        preflight: "preflight.fetch",
        build: "checkout.fetch",
        words: "the checkout there has no remote of that name (`git -C ~/platform remote -v`)",
    },
    Refused {
        name: "a name that nobody resolves",
        breaks: "cd /home/curateme/platform && sed -i s,//git@origin/,//git@nowhere.invalid/, .git/config",
        fixes: "cd /home/curateme/platform && sed -i s,//git@nowhere.invalid/,//git@origin/, .git/config",
        preflight: "preflight.fetch",
        build: "checkout.fetch",
        words: "Could not resolve hostname",
    },
    Refused {
        name: "another host key",
        breaks: "cp /etc/ssh/ssh_known_hosts /etc/ssh/before && rm -f /tmp/other* && ssh-keygen -q -t ed25519 -N '' -f /tmp/other && \
            printf 'origin %s\\n' \"$(cut -d' ' -f1,2 /tmp/other.pub)\" >/etc/ssh/ssh_known_hosts",
        fixes: "mv /etc/ssh/before /etc/ssh/ssh_known_hosts",
        preflight: "preflight.fetch",
        build: "checkout.fetch",
        words: "IDENTIFICATION HAS CHANGED",
    },
    Refused {
        name: "a user who is not in the group docker",
        breaks: "chmod 600 /run/docker.sock",
        fixes: "chmod 660 /run/docker.sock",
        preflight: "preflight.docker",
        build: "",
        words: "usermod -aG docker",
    },
    Refused {
        name: "Docker through sudo",
        breaks: "chmod 600 /run/docker.sock && printf '#!/bin/sh\\n[ \"$1 $2\" = \"-n docker\" ]\\n' >/usr/local/bin/sudo && chmod 755 /usr/local/bin/sudo",
        fixes: "chmod 660 /run/docker.sock && rm /usr/local/bin/sudo",
        preflight: "preflight.docker",
        build: "",
        words: "only through sudo",
    },
    Refused {
        name: "a container of somebody else with a name of ours",
        breaks: "docker create --name curateme-celery-beat curateme/docs",
        fixes: "docker rm curateme-celery-beat",
        preflight: "preflight.name",
        build: "",
        words: "the container curateme-celery-beat is there already, of no compose project",
    },
    Refused {
        name: "another checkout with the same project name",
        breaks: "mkdir /home/curateme/other && sed -i 's,/home/curateme/platform\",/home/curateme/other\",' /home/curateme/.local/state/cm/curateme/ledger.jsonl",
        fixes: "rmdir /home/curateme/other && sed -i 's,/home/curateme/other\",/home/curateme/platform\",' /home/curateme/.local/state/cm/curateme/ledger.jsonl",
        preflight: "preflight.ledger",
        build: "",
        words: "the ledger of the project curateme is of the checkout /home/curateme/other",
    },
    Refused {
        name: "no Docker",
        breaks: "mv /usr/bin/docker /usr/bin/docker.away",
        fixes: "mv /usr/bin/docker.away /usr/bin/docker",
        preflight: "preflight.docker",
        build: "",
        words: "there is no Docker on the PATH",
    },
    Refused {
        name: "commands that are not there",
        breaks: "mkdir -p /opt/less && cd /usr/bin && for one in *; do ln -sf /usr/bin/$one /opt/less/$one; done && rm -f /opt/less/flock /opt/less/comm && \
            sed -i 's/^SetEnv.*/SetEnv LANG=C.UTF-8 PATH=\\/opt\\/less/' /etc/ssh/sshd_config && mv /usr/bin/flock /usr/bin/comm /opt/",
        fixes: "mv /opt/flock /opt/comm /usr/bin/ && sed -i 's/^SetEnv.*/SetEnv LANG=C.UTF-8/' /etc/ssh/sshd_config",
        preflight: "preflight.tools",
        build: "",
        words: "comm, flock (util-linux, or busybox)",
    },
];

/// What was wrong with how it was refused, if anything.
pub fn refuse(sandbox: &Sandbox, case: &Refused) -> Option<String> {
    if case.build == "checkout.fetch" {
        // One that the server does not have yet.
        title(sandbox, case.name);
    }
    let before = state(sandbox);
    root(sandbox, case.breaks);
    let preflight = call(sandbox, &format!("{LOG_IN_AGAIN} cm-health --preflight </dev/null"));
    let built = (!case.build.is_empty()).then(|| call(sandbox, DEPLOY));
    root(sandbox, case.fixes);
    let wanted = [41, 6].contains(&preflight.code) && code(&preflight).1 == case.preflight;
    if !wanted || !preflight.stderr.contains(case.words) || !preflight.stderr.contains("hint: ") {
        return Some(format!("{}: {preflight:?}", case.name));
    }
    if let Some(built) = built
        && (code(&built) != (30, case.build.to_owned()) || !built.stderr.contains(case.words))
    {
        return Some(format!("{}: {built:?}", case.name));
    }
    (state(sandbox) != before).then(|| format!("{}: it was changed: {before}\n{}", case.name, state(sandbox)))
}

fn root(sandbox: &Sandbox, line: &str) {
    let then = if line.contains("sshd_config") { RELOAD_SSHD } else { "true" };
    as_root(sandbox, "platform", &format!("{line} && {{ {then}; }}"));
}
