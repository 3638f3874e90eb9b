//! What the preflight looks for, each thing once: the code of its findings, and, where it is
//! something that a server needs, the words for the page of cm-guide(7) that lists them. A
//! finding can only be made about one of these, so the page has what is checked.

/// Something that the preflight looks at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subject {
    /// The code of a failure because of it.
    pub code: &'static str,
    /// What a server needs for it; `None` for what is no server's matter.
    pub need: Option<&'static str>,
}

impl Subject {
    /// The code without its family, as the findings of a document have it.
    pub fn name(&self) -> &'static str {
        self.code.split_once('.').map_or(self.code, |(_, name)| name)
    }
}

const fn need(code: &'static str, need: &'static str) -> Subject {
    Subject { code, need: Some(need) }
}

const fn other(code: &'static str) -> Subject {
    Subject { code, need: None }
}

pub(super) const HOST: Subject = need(
    "preflight.host",
    "An sshd that the deploy user logs in to with a key, without a question. Its host key is in known_hosts of the deploying machine.",
);
pub(super) const HOME: Subject = need(
    "preflight.home",
    "A home directory of the deploy user that is there, and that it can write: the lock and the ledger are below ~/.local/state/cm.",
);
pub(super) const TUNNELS: Subject = need(
    "preflight.tunnels",
    "Tunnels (`AllowTcpForwarding yes` or `local`), where a probe, a check from inside, a canary or the backup goes through one.",
);
pub(super) const SESSIONS: Subject = need(
    "preflight.sessions",
    "More than one session a connection (`MaxSessions`; sshd's default is 10). Where fewer are allowed than a step wants, cm opens more connections, which takes longer.",
);
pub(super) const TOOLS: Subject = need(
    "preflight.tools",
    "A POSIX shell with git 2.25 or later, flock, find, mv and ln with -T, setsid, timeout, sha256sum, stat, awk, sed, xargs, comm, mktemp, tar, gzip and base64. Debian and Ubuntu have all of them; the busybox of Alpine has all but git: `apk add git`.",
);
pub(super) const TEMPORARY: Subject = need(
    "preflight.temporary",
    "A directory for temporary files that the deploy user can write: /tmp, or what TMPDIR names.",
);
pub(super) const DOCKER: Subject = need(
    "preflight.docker",
    "The Docker Engine, 20.10 or later, which the deploy user may use without sudo: in the group docker, rootless, or through a Docker context. The program is found on the PATH of a shell that is no login shell, or in ~/bin, ~/.local/bin, /usr/local/bin, /snap/bin or Homebrew's.",
);
pub(super) const COMPOSE: Subject =
    need("preflight.compose", "The Compose plugin, version 2 or later: `docker compose version` works.");
pub(super) const BUILDX: Subject =
    need("preflight.buildx", "The buildx plugin, which Compose builds images with: `docker buildx version` works.");
pub(super) const COMPOSE_FILE: Subject =
    need("preflight.compose-file", "A Compose that accepts the compose file with that server's env file.");
pub(super) const UNSET_VARIABLE: Subject =
    need("preflight.unset-variable", "Every variable that the compose file wants, in the env file.");
pub(super) const EXTERNAL: Subject = need(
    "preflight.external",
    "The networks and volumes that the compose file calls external, the files of its configs and secrets, and what else it uses and does \
     not make: containers of others, directories that Docker is told not to make, devices, images that are never pulled.",
);
pub(super) const DISK: Subject = need(
    "preflight.disk",
    "Room where Docker keeps its images and where the checkout is: at least 512 MiB, better 5 GiB and a twentieth of the disk.",
);
pub(super) const INODES: Subject = need("preflight.inodes", "Inodes on the same disks: a fiftieth of them is free.");
pub(super) const MEMORY: Subject = need("preflight.memory", "Memory to build in: at least 256 MiB available.");
pub(super) const CLOCK: Subject = need("preflight.clock", "A clock that is right to five seconds.");
pub(super) const ORIGIN: Subject = need(
    "preflight.origin",
    "A key with which the deploy user can read the repository (a deploy key), and the host key of the repository's server in its known_hosts.",
);
pub(super) const FETCH: Subject = need(
    "preflight.fetch",
    "The same in a checkout that is there already: `git fetch` works there for the deploy user.",
);
pub(super) const CHECKOUT: Subject = need(
    "preflight.checkout",
    "A directory for the checkout that the deploy user can make, or a checkout that it owns. Git's settings there do not matter: files get the commit's bytes.",
);
pub(super) const BLOCKED: Subject = need(
    "preflight.blocked",
    "In the checkout, nothing that keeps git from writing: directories that a container or root owns and the commit changes, locks of a git that was killed, a disk that is read-only.",
);
pub(super) const SUBMODULE: Subject = need(
    "preflight.submodule",
    "The same key, or another one, for the repositories of submodules, where the commit has any.",
);
pub(super) const CONTENT: Subject =
    need("preflight.content", "git-lfs, or git-crypt unlocked, where files of the commit have their content there.");
pub(super) const DISPLACED: Subject =
    need("preflight.displaced", "Protected files in directories that stay directories in the commit.");
pub(super) const EDITED: Subject =
    need("preflight.edited", "No changes by hand in files that git tracks, except for protected ones.");
pub(super) const BRANCH: Subject = other("preflight.branch");
pub(super) const ENV_FILE: Subject =
    need("preflight.env-file", "The env file that cm.toml names, in the checkout's directory: it is the server's own.");
pub(super) const ENV_FILE_MODE: Subject =
    need("preflight.env-file-mode", "An env file that only the deploy user can read.");
pub(super) const ENV_KEY: Subject = need(
    "preflight.env-key",
    "In the env files together, the keys of the repository's example of it; where the database is, the key that the backup needs.",
);
pub(super) const BACKUP: Subject = need(
    "preflight.backup",
    "The programs of backups: in the database's container those of its kind (`pg_dump`, `mariadb-dump` or `mysqldump`, `redis-cli` and so on), on the host those of `[backup.copy]`. A directory of backups that the deploy user can write or make.",
);
pub(super) const STOPPED: Subject = other("preflight.stopped");
pub(super) const PROTECTED: Subject =
    need("preflight.protected", "The protected files, where the commit does not bring them.");
pub(super) const ELSEWHERE: Subject =
    need("preflight.elsewhere", "No containers of the project that were made from another directory.");
pub(super) const STALE_MOUNT: Subject = other("preflight.stale-mount");
pub(super) const NAME: Subject =
    need("preflight.name", "Container names (`container_name`) that no container of another compose project has.");
pub(super) const SWARM: Subject = need(
    "preflight.swarm",
    "With engine = \"swarm\": an engine that is a manager of a Docker Swarm whose managers have a quorum, without live-restore and nftables, and without a stack of the project's name that is somebody else's.",
);
pub(super) const NODES: Subject = need(
    "preflight.nodes",
    "With engine = \"swarm\": nodes that are up and take tasks, with engines of one version; three managers survive the loss of one. Room, clock and ports are looked at on those that cm.toml has an address of (`managers` and `workers` under `[swarm]`); the others are named.",
);
pub(super) const REGISTRY: Subject = need(
    "preflight.registry",
    "With engine = \"swarm\": the registry of `[swarm]`, which the engine of every node reaches and trusts and the deploy user may push to, logged in on the manager. Nodes that cm.toml has an address of are asked.",
);
pub(super) const STACK: Subject = need(
    "preflight.stack",
    "A compose file with nothing in it that keeps a container from starting: no variable or argument above 128 KiB. With engine = \"swarm\", nothing that a Swarm cannot do, and no service above 700 kB.",
);
pub(super) const LEDGER: Subject = need(
    "preflight.ledger",
    "A project name that no other checkout on the server uses: `~/.local/state/cm/PROJECT` of the deploy user is one checkout's.",
);
pub(super) const UNWELL: Subject = other("preflight.unwell");
pub(super) const LOCK: Subject = other("preflight.lock");
pub(super) const CHECK: Subject = other("preflight.check");
pub(super) const CANARY: Subject = other("preflight.canary");
pub(super) const JOB: Subject = other("preflight.job");
pub(super) const TREE: Subject = other("preflight.tree");

/// All of them, in the order in which a server gets them.
pub const SUBJECTS: [&Subject; 45] = [
    &HOST,
    &SESSIONS,
    &HOME,
    &TUNNELS,
    &TOOLS,
    &TEMPORARY,
    &DOCKER,
    &COMPOSE,
    &BUILDX,
    &DISK,
    &INODES,
    &MEMORY,
    &CLOCK,
    &ORIGIN,
    &CHECKOUT,
    &FETCH,
    &SUBMODULE,
    &CONTENT,
    &BLOCKED,
    &DISPLACED,
    &EDITED,
    &BRANCH,
    &ENV_FILE,
    &ENV_FILE_MODE,
    &ENV_KEY,
    &BACKUP,
    &STOPPED,
    &PROTECTED,
    &COMPOSE_FILE,
    &UNSET_VARIABLE,
    &EXTERNAL,
    &STACK,
    &SWARM,
    &NODES,
    &REGISTRY,
    &ELSEWHERE,
    &NAME,
    &LEDGER,
    &STALE_MOUNT,
    &UNWELL,
    &LOCK,
    &CHECK,
    &CANARY,
    &JOB,
    &TREE,
];

#[cfg(test)]
mod tests {
    use super::SUBJECTS;
    use std::collections::BTreeSet;

    #[test]
    fn every_subject_is_in_the_list() {
        let listed: BTreeSet<String> = SUBJECTS.iter().map(|subject| format!("\"{}\"", subject.code)).collect();
        let source = include_str!("needs.rs").split("#[cfg(test)]").next().unwrap_or_default();
        let defined = source.split("pub(super) const ").skip(1).filter(|part| part.contains(": Subject ="));
        let defined: BTreeSet<String> =
            defined.filter_map(|part| part.split('"').nth(1).map(|code| format!("\"{code}\""))).collect();
        assert_eq!(listed, defined);
        assert_eq!(listed.len(), SUBJECTS.len(), "each once");
    }
}
