//! What may be wrong with a server, one named case each.

/// What is broken there, the call that meets it, its exit status and code, and what a person has to read.
pub struct Trouble {
    pub name: &'static str,
    /// A regular expression, a status and words for the wrapper; none if it is empty.
    pub docker: [&'static str; 3],
    /// Shell for the server, before and after.
    pub breaks: &'static str,
    pub repairs: &'static str,
    pub call: &'static str,
    pub exit: i32,
    pub code: &'static str,
    pub words: &'static str,
    /// Whether it comes when other containers run already.
    pub late: bool,
}

const NOTHING: Trouble = Trouble {
    name: "",
    docker: ["", "", ""],
    breaks: "",
    repairs: "",
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

const DAEMON: &str = "Error response from daemon: the disk is on fire";

/// Docker refuses a command, a file cannot be read or written.
pub const OF_THE_ENGINE_AND_FILES: &[Trouble] = &[
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
        repairs: "chmod 600 ~/backups/*.gz",
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
        repairs: "/usr/bin/docker rename 0123456789ab_curateme-docs curateme-docs",
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
        repairs: "cd ~/platform && git checkout -q apps/docs",
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
        repairs: "mv ~/kept ~/platform/.env.production",
        call: "cm-backup </dev/null",
        exit: 6,
        code: "backup.env-file",
        words: ".env.production",
        ..NOTHING
    },
    Trouble {
        name: "no directory for backups",
        breaks: "echo >~/file",
        repairs: "rm ~/file",
        call: "cm-backup --remote-dir /home/curateme/file/x </dev/null",
        exit: 21,
        code: "backup.directory",
        words: "/home/curateme/file/x",
        ..NOTHING
    },
    Trouble {
        name: "an index that is locked",
        breaks: "touch ~/platform/.git/index.lock",
        repairs: "rm ~/platform/.git/index.lock",
        call: "cm-build <~/build.json",
        exit: 30,
        code: "checkout.blocked",
        words: ".git/index.lock",
        ..NOTHING
    },
    Trouble {
        name: "a remote that is away",
        breaks: "cd ~/platform && git remote set-url origin /nowhere",
        repairs: "cd ~/platform && git remote set-url origin ssh://git@origin/srv/git/platform.git",
        call: "cm-build --service docs </dev/null",
        exit: 30,
        code: "checkout.remote",
        words: "/nowhere",
        ..NOTHING
    },
    Trouble {
        name: "a ledger that cannot be read",
        breaks: "chmod 000 ~/.local/state/cm/curateme/ledger.jsonl",
        repairs: "chmod 600 ~/.local/state/cm/curateme/ledger.jsonl",
        call: "cm-build <~/build.json",
        exit: 6,
        code: "host.read",
        words: "ledger.jsonl",
        ..NOTHING
    },
    Trouble {
        name: "a ledger that cannot be written",
        breaks: "chmod 400 ~/.local/state/cm/curateme/ledger.jsonl",
        repairs: "chmod 600 ~/.local/state/cm/curateme/ledger.jsonl",
        call: "cm-build <~/build.json",
        exit: 30,
        code: "host.append",
        words: "ledger.jsonl",
        ..NOTHING
    },
];

/// What a rollback, a rolling update and a prune meet.
pub const ON_THE_WAY_BACK: &[Trouble] = &[
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
        repairs: "cd platform && chmod u+w . && sed -i '$d' .env.production",
        call: "cm-rollback --service docs --to $BEFORE --with-env </dev/null",
        exit: 61,
        code: "rollback.env",
        words: ".env.production",
        ..NOTHING
    },
    Trouble {
        name: "no copy of the env file",
        breaks: "cd .local/state/cm/curateme && mv snapshots kept",
        repairs: "cd .local/state/cm/curateme && rm -rf snapshots && mv kept snapshots",
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
        repairs: "sed -i 1d .local/state/cm/curateme/ledger.jsonl",
        call: "cm-backup prune --keep 1 </dev/null",
        exit: 21,
        code: "prune.ledger",
        words: "ledger.jsonl",
        ..NOTHING
    },
    Trouble {
        name: "backups that cannot be removed",
        breaks: "chmod a-w ~/backups",
        repairs: "chmod u+w ~/backups",
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

/// When the compose file has one service more, and containers change.
pub const WITH_ANOTHER_SERVICE: &[Trouble] = &[
    Trouble {
        name: "a container that is new and stays",
        docker: ["^stop ", "1", DAEMON],
        repairs: "/usr/bin/docker rm -f curateme-extra >/dev/null",
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
