//! What a checkout can answer instead of moving, with a code and a cure that fit: what git
//! or the system there said decides which.

use crate::{Checkout, State};
use cm_core::{Exit, Failure, plural};

/// The code of a move that did not happen: the checkout is as it was before.
const UNMOVED: &str = "checkout.not-moved";

/// Words of git about a checkout that it cannot move, and what to do; PATH is that checkout. What the system refuses
/// comes first: git names a lock or its index with it.
const GIT_HINTS: [(&[&str], &str); 11] = [
    (&["dubious ownership"], "it is not the deploy user's: as root there, `chown -R USER PATH`"),
    (&["Permission denied"], "something else owns files there, a container or root: as root, `chown -R USER PATH`"),
    (
        &["Read-only file system"],
        "its file system is read-only: `mount` and `dmesg` there say why; a disk with errors is mounted so",
    ),
    (
        &["Operation not permitted"],
        "something there is set immutable, or is another user's below a sticky directory: as root, `lsattr -R PATH | grep -- -i-` and `chattr -i`",
    ),
    (&["Disk quota exceeded"], "the deploy user's quota is used up: `quota` there, then make room"),
    (
        &["No space left", "Out of diskspace", "unable to write new index file"],
        "make room there: `docker system df` says what Docker takes, `cm-build prune </dev/null` removes old images",
    ),
    (
        &["names no commit"],
        "as after a power cut; Git has noted which commit it was: cd PATH && rm that file && git reset $(tail -n 1 .git/logs/HEAD | cut -d ' ' -f 2)",
    ),
    (
        &["object file ", "unable to read tree", "is corrupt", "bad object"],
        "the repository there is damaged, as after a power cut: `git fsck` there names it; move the checkout away, and a deployment makes it again (keep the protected files)",
    ),
    (&["a merge was begun"], "whoever works in that checkout ends it, or gives it up: cd PATH && git merge --abort"),
    (
        &["index file"],
        "Git's list of the files there is damaged, and is made again so: cd PATH && rm .git/index && git reset",
    ),
    (&[".lock"], "an earlier git was killed there; if none runs (`pgrep -a git`), remove the lock below PATH/.git"),
];

/// Words of git and ssh, lower case, about a repository that cannot be read, and what to do.
const FETCH_HINTS: [(&[&str], &str); 31] = [
    (
        &["host identification has changed"],
        "ask the owner of the repository's server whether its key was changed; only then, as the deploy user there: `ssh-keygen -R HOST`, and accept the new one",
    ),
    (
        &["host key verification failed"],
        "as the deploy user there, once: `ssh -T git@HOST`, and compare the fingerprint with what its owner publishes",
    ),
    (&["not our ref"], "a submodule's commit is not in its repository: push it there, or go back to one that is"),
    (
        &["insufficient permission for adding an object"],
        "objects there belong to somebody else (root ran git?): as root there, `chown -R USER` of the checkout",
    ),
    (
        &[
            "terminal prompts disabled",
            "could not read password",
            "support for password authentication was removed",
            "returned error: 401",
            "returned error: 403",
        ],
        "give the deploy user there a key that may read it (a deploy key), or set `repository` in cm.toml to a URL it can read",
    ),
    (
        &["returned error: 404", "you were looking for could not be found"],
        "the key there may not read it, or it was renamed: `git ls-remote` there must work for the deploy user",
    ),
    (
        &["saml sso"],
        "the owner wants single sign-on for that key or token: authorize it for the organization, or use a deploy key",
    ),
    (&["ip allow list"], "the owner of the repository lets in only some addresses: add that server's"),
    (
        &["ssl certificate problem", "certificate verification failed"],
        "that server does not trust the repository's certificate: is its clock right, and are ca-certificates installed there?",
    ),
    (
        &["from proxy after connect"],
        "that server's proxy refuses: `git config --global http.proxy` and https_proxy there",
    ),
    (
        &["unprotected private key file"],
        "others may read the key there: as the deploy user, chmod 600 on the file that ssh names",
    ),
    (&["no matching"], "ssh there and the repository's server have no algorithm in common: update the older of them"),
    (
        &["too many authentication failures"],
        "the deploy user's ssh offers too many keys: in ~/.ssh/config there, for that host, IdentityFile and `IdentitiesOnly yes`",
    ),
    (&["returned error: 429"], "the repository's server counts too many requests: wait, then deploy again"),
    (&["returned error: 5"], "the repository's server answers with an error of its own: wait, then deploy again"),
    (&["disk quota exceeded"], "the deploy user's quota there is used up: `quota` there, then make room"),
    (
        &["out of memory"],
        "git there ran out of memory: give the server swap, or set `clone_filter = \"blob:none\"` in cm.toml",
    ),
    (
        &["error: object file ", "is corrupt", "bad object", "unable to read tree"],
        "the repository there is damaged, as after a power cut: `git fsck` there names it; move the checkout away, and a deployment makes it again (keep the protected files)",
    ),
    (
        &["early eof", "unexpected disconnect", "rpc failed"],
        "the connection to the repository's server broke in the middle: deploy again; if it does so each time, `git -c http.version=HTTP/1.1 fetch` there shows whether a proxy is at fault",
    ),
    (
        &["connection reset"],
        "the connection to the repository's server broke in the middle: deploy again; is a firewall between them?",
    ),
    (
        &["connection closed"],
        "the repository's server closed the connection: it is busy, or bans that server's address; wait, then deploy again",
    ),
    (
        &["no route to host", "network is unreachable"],
        "no way leads from that server to the repository's: is a firewall or a VPN between them?",
    ),
    (
        &[".lock': file exists"],
        "an earlier git was killed there; if none runs (`pgrep -a git`), remove the lock that git names",
    ),
    (&["cannot lock ref"], "a branch that is gone is in the way there: `git remote prune origin` in the checkout"),
    (&["dubious ownership"], "the checkout there is not the deploy user's: as root, `chown -R USER` of it"),
    (
        &["could not resolve host", "name or service not known", "name service does not answer"],
        "that server cannot look up the name (`getent hosts HOST` there): fix that, or set `repository` in cm.toml to a URL it can fetch from",
    ),
    (
        &["permission denied (", "authentication failed", "could not read username"],
        "give the deploy user there a key that may read it (a deploy key), or set `repository` in cm.toml to a URL it can read",
    ),
    (
        &["repository not found"],
        "the key there may not read it, or it was renamed: `git ls-remote` there must work for the deploy user",
    ),
    (
        &["no space left on device"],
        "make room there: `docker system df` and `du -xh / | sort -h | tail` say what takes it",
    ),
    (
        &["failed to connect to", "connection refused"],
        "the repository's server does not answer that server; `git ls-remote` there must work",
    ),
    (
        &["timed out"],
        "the repository's server does not answer that server: is a firewall between them? `git ls-remote` there must work",
    ),
];

/// What to do about a repository that a server cannot read, by what git there said.
pub fn fetch_hint(said: &str) -> &'static str {
    let said = said.to_lowercase();
    let known = FETCH_HINTS.iter().find(|(words, _)| words.iter().any(|words| said.contains(words)));
    known.map_or(
        "set `repository` in cm.toml to the URL that this server can fetch from; `git ls-remote URL` there must work",
        |(_, hint)| hint,
    )
}

/// The same for the checkout `path`, which fetches from the URL of its own `remote`: `repository` in cm.toml counts
/// where a checkout is made.
pub fn remote_hint(path: &str, remote: &str, said: &str) -> String {
    let missing = format!("'{}' does not appear to be a git repository", remote.to_lowercase());
    if said.to_lowercase().contains(&missing) {
        return format!(
            "the checkout there has no remote of that name (`git -C {path} remote -v`): \
             `git -C {path} remote add {remote} URL` there, or `remote` in cm.toml"
        );
    }
    fetch_hint(said)
        .replace("set `repository` in cm.toml to", &format!("there `git -C {path} remote set-url {remote}`, with"))
}

/// What to do about the checkout `path` that git cannot move, by what it said there.
fn git_hint(path: &str, said: &str) -> String {
    let known = GIT_HINTS.iter().find(|(words, _)| words.iter().any(|words| said.contains(words)));
    known.map_or("look at it: cd PATH && git status", |(_, hint)| hint).replace("PATH", path)
}

/// The same for the repository of a submodule, which is named in .gitmodules.
fn module_hint(said: &str) -> String {
    fetch_hint(said).replace(
        "set `repository` in cm.toml to",
        "set its `url` in .gitmodules (../NAME.git is a neighbour of the repository itself) to",
    )
}

/// Whether a move that failed left the checkout as it was before.
pub fn is_unmoved(failure: &Failure) -> bool {
    failure.code == UNMOVED
}

impl Checkout<'_> {
    pub(crate) fn fail(&self, code: &str, message: String) -> Failure {
        Failure::new(Exit::Build, code, format!("on {}: {message}", self.host.name()))
    }

    pub(crate) fn failed(&self, what: &str, said: &str) -> Failure {
        self.fail("checkout.git", format!("the checkout {} {what}", self.path))
            .cause(said.trim())
            .hint(self.git_hint(said))
    }

    fn git_hint(&self, said: &str) -> String {
        git_hint(&self.path, said)
    }

    /// `url` is what the checkout there fetches from: after a move of the repository, another one than here.
    pub(crate) fn no_commit(&self, branch: Option<&str>, commit: &str, url: &str, said: &str) -> Failure {
        let branch = branch.map(|name| format!("/{name}")).unwrap_or_default();
        let from = if url.is_empty() { String::new() } else { format!(", which is {url} there") };
        let message = format!("commit {} is not on {}{branch}{from}", short(commit), self.remote);
        let failure = self.fail("checkout.no-commit", message);
        let failure = failure.hint(format!(
            "push it first, with --no-push only what is on the remote can be deployed; if the repository has moved since, \
             as the deploy user there: git -C {} remote set-url {} URL",
            self.path, self.remote
        ));
        if said.trim().is_empty() { failure } else { failure.cause(said.trim()) }
    }

    /// The server's own fetch failed: nobody knows what the remote has.
    pub(crate) fn not_fetched(&self, said: &str) -> Failure {
        let message = format!("{} cannot be fetched from in {}", self.remote, self.path);
        self.fail("checkout.fetch", message).cause(said.trim()).hint(remote_hint(&self.path, &self.remote, said))
    }

    pub(crate) fn not_cloned(&self, origin: &str, said: &str) -> Failure {
        let message = format!("cannot make the checkout {} from {origin}", self.path);
        self.fail("checkout.clone", message).cause(said.trim()).hint(fetch_hint(said))
    }

    pub(crate) fn not_made(&self, said: &str) -> Failure {
        let message = format!("cannot make the checkout {}", self.path);
        self.fail("checkout.clone", message).cause(said.trim()).hint(format!(
            "the deploy user must be able to write there: install -d -o USER {} as root, once",
            self.path
        ))
    }

    /// Something else is there, or nothing can be made.
    pub(crate) fn no_place(&self, why: &str) -> Failure {
        let message = format!("there can be no checkout at {}: {why}", self.path);
        self.fail("checkout.place", message).hint(crate::place_hint(&self.path, why))
    }

    pub(crate) fn no_checkout(&self) -> Failure {
        self.fail("checkout.missing", format!("there is no git checkout at {}", self.path))
            .hint("a deployment makes it; if it is elsewhere, fix `checkout` in cm.toml")
    }

    pub(crate) fn refused(&self, said: &str) -> Failure {
        self.fail("checkout.refused", format!("git refuses the checkout {}", self.path))
            .cause(said.trim())
            .hint(self.git_hint(said))
    }

    pub(crate) fn no_module(&self, said: &str) -> Failure {
        let last = said.trim().lines().last().unwrap_or("no reason given").to_owned();
        let hint = match last.contains("cannot be fetched") {
            true => module_hint(said),
            false if last.contains(" is not in ") => {
                "push that commit to the submodule's repository, or take the submodule to one that is there and commit that"
                    .to_owned()
            }
            false => "fix .gitmodules in the repository: every submodule needs its path, a URL and a pushed commit"
                .to_owned(),
        };
        let failure = self.fail("checkout.submodule", last.clone()).hint(hint);
        // What git said, without what is said already and where to read more.
        let is_more = |line: &&str| {
            let line = line.trim();
            !line.is_empty()
                && line != last
                && !line.starts_with("Please make sure")
                && line != "and the repository exists."
        };
        let more: Vec<&str> = said.lines().filter(is_more).collect();
        if more.is_empty() { failure } else { failure.cause(more.join("\n")) }
    }

    pub(crate) fn no_content(&self, said: &str) -> Failure {
        let last = said.trim().lines().last().unwrap_or("no reason given").to_owned();
        let hint = match (last.contains("cannot be fetched"), last.contains("git-lfs is not")) {
            (true, _) => fetch_hint(said),
            (_, true) => {
                "install it there, as root: apt-get install git-lfs; without it, images get the pointers instead of the files"
            }
            _ => "set the filter up in the checkout there, as the deploy user (git-crypt: `git-crypt unlock KEY`)",
        };
        // Where it said more than that.
        let more = said.trim().lines().count() > 1;
        let failure = self.fail("checkout.content", last).hint(hint);
        if more { failure.cause(said.trim()) } else { failure }
    }

    pub(crate) fn not_proved(&self, snapshots: &str, release: &str, said: &str) -> Failure {
        self.fail("checkout.protected", "a protected file is not what it was before".to_owned())
            .cause(said.trim())
            .hint(format!("its content from before is in {snapshots}/{release} on the host"))
    }

    pub(crate) fn not_moved(&self, commit: &str, said: &str) -> Failure {
        let plain = |line: &str| match (line.strip_prefix("blocked "), line.strip_prefix("displaced ")) {
            (_, Some(line)) => {
                format!("the protected file {} becomes something else", line.replace('\t', " would go, because "))
            }
            (line_of_blocked, None) => line_of_blocked.unwrap_or(line).replace('\t', ": "),
        };
        let said = said.trim().lines().map(plain).collect::<Vec<_>>().join("\n");
        let message = format!("the checkout {} cannot be moved to {}, and is as it was", self.path, short(commit));
        self.fail(UNMOVED, message).hint(self.git_hint(&said)).cause(said)
    }

    /// What a look found that no move can get past.
    pub(crate) fn obstacle(&self, state: &State) -> Option<Failure> {
        if let Some((path, why)) = state.blocked.first() {
            let message = format!("the checkout {} cannot be moved: {path}: {why}", self.path);
            let more = state.blocked[1..].iter().map(|(path, why)| format!("{path}: {why}"));
            let failure = self.fail("checkout.blocked", message).hint(self.git_hint(&format!("{path} {why}")));
            return Some(more.take(20).fold(failure, Failure::cause));
        }
        let (file, way) = state.displaced.first()?;
        let message =
            format!("the commit makes something else of {way}, and the protected file {file} would go with it");
        let failure = self.fail("checkout.displaced", message);
        Some(failure.hint(format!(
            "keep {way} in the repository as it is, or take {file} out of [protect] in cm.toml and move it there"
        )))
    }

    /// Refuses a move that would lose something, in the words that fit: changed by hand, or in the way.
    ///
    /// # Errors
    /// [`Exit::Build`] with `checkout.local-changes`.
    pub fn nothing_lost(&self, state: &State) -> Result<(), Failure> {
        let files = &state.endangered;
        if files.is_empty() {
            return Ok(());
        }
        let edited = files.len() - state.untracked.len();
        let count = |number: usize| plural(number as u64, "file");
        let what = match (edited, state.untracked.len()) {
            (0, new) => format!("not in Git, in the way of the commit's files, and would be lost: {}", count(new)),
            (edited, 0) => format!("changed by hand, and would be lost: {}", count(edited)),
            (edited, new) => format!("would be lost: {} changed by hand, {} not in Git", count(edited), count(new)),
        };
        let mut shown: Vec<_> = files.iter().take(20).cloned().collect();
        if files.len() > shown.len() {
            shown.push(format!("and {} more", files.len() - shown.len()));
        }
        let hint = match edited {
            0 => "move them away, add them to [protect] in cm.toml, or give them up with --discard-local-changes",
            _ => "commit them, add them to [protect] in cm.toml, or give them up with --discard-local-changes",
        };
        let failure = self.fail("checkout.local-changes", format!("in {}, {what}", self.path));
        Err(failure.cause(shown.join("\n")).hint(hint))
    }
}

pub fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::{fetch_hint, git_hint, remote_hint};
    use std::process::Command;

    #[test]
    fn where_a_checkout_fetches_from_is_told_without_who_fetches() {
        let directory = tempfile::tempdir().expect("directory");
        let git = |arguments: &[&str]| {
            let done = Command::new("git").current_dir(&directory).args(arguments).status().expect("git");
            assert!(done.success(), "{arguments:?}");
        };
        git(&["init", "-q"]);
        git(&["remote", "add", "origin", "x"]);
        for (url, told) in [
            ("https://ada:secret@git.example/a@b:c.git", "https://git.example/a@b:c.git"),
            ("https://a-token@git.example/shop.git", "https://git.example/shop.git"),
            ("ssh://git:secret@git.example:22/shop.git", "ssh://git@git.example:22/shop.git"),
            ("ssh://git@git.example:22/a:b@c.git", "ssh://git@git.example:22/a:b@c.git"),
            ("git@git.example:shop.git", "git@git.example:shop.git"),
            ("/srv/a:b@c/shop.git", "/srv/a:b@c/shop.git"),
        ] {
            git(&["remote", "set-url", "origin", url]);
            let script = format!("{}fetched_from origin", include_str!("git.sh"));
            let said = Command::new("sh").current_dir(&directory).args(["-c", &script]).output().expect("sh");
            assert_eq!(String::from_utf8_lossy(&said.stdout), format!("url {told}\n"), "{url}");
        }
    }

    #[test]
    fn a_move_that_fails_has_the_cure_of_its_cause_whatever_file_it_names() {
        let lock = "fatal: Unable to create '/srv/shop/.git/index.lock': ";
        for (said, words) in [
            (format!("{lock}File exists."), "remove the lock below ~/shop/.git"),
            (format!("{lock}Permission denied"), "chown -R USER ~/shop"),
            (format!("{lock}Read-only file system"), "read-only"),
            (format!("{lock}Operation not permitted"), "chattr"),
            (format!("{lock}No space left on device"), "docker system df"),
            (format!("{lock}Disk quota exceeded"), "quota"),
            ("fatal: sha1 file '/srv/.git/index.lock' write error. Out of diskspace".to_owned(), "docker system df"),
            ("fatal: unable to write new index file".to_owned(), "docker system df"),
            ("fatal: index file corrupt".to_owned(), "rm .git/index"),
            ("fatal: index file open failed: Permission denied".to_owned(), "chown"),
            ("error: something else".to_owned(), "cd ~/shop && git status"),
        ] {
            let hint = git_hint("~/shop", &said);
            assert!(hint.contains(words), "{said}: {hint}");
        }
    }

    #[test]
    fn a_checkout_that_is_there_is_cured_where_its_remote_is() {
        let hint = |said: &str| remote_hint("~/shop", "upstream", said);
        for (said, words) in [
            ("fatal: 'upstream' does not appear to be a git repository", "no remote of that name"),
            ("fatal: 'upstream' does not appear to be a git repository", "remote add upstream URL"),
            ("fatal: '/srv/gone.git' does not appear to be a git repository", "git -C ~/shop remote set-url upstream"),
            ("ssh: Could not resolve hostname x: Temporary failure in name resolution", "remote set-url upstream"),
            ("git@x: Permission denied (publickey).", "remote set-url upstream`, with a URL it can read"),
            ("error: file write error: Disk quota exceeded", "quota"),
        ] {
            assert!(
                hint(said).contains(words) && !hint(said).contains("repository` in cm.toml"),
                "{said}: {}",
                hint(said)
            );
        }
    }

    #[test]
    fn a_fetch_that_fails_has_the_cure_of_its_cause() {
        for (said, words) in [
            ("git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.", "deploy key"),
            ("ssh: Could not resolve hostname git.example: Name or service not known", "getent"),
            ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "was changed"),
            ("Host key verification failed.", "fingerprint"),
            ("fatal: unable to access 'https://x/': Could not resolve host: x", "getent"),
            ("ssh: connect to host x port 22: Connection timed out", "firewall"),
            ("fatal: could not read Username for 'https://git.example': terminal prompts disabled", "deploy key"),
            ("remote: Support for password authentication was removed on August 13, 2021.", "deploy key"),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 503", "error of its own"),
            ("fatal: unable to access 'https://x/': SSL certificate problem: certificate is not yet valid", "clock"),
            (
                "error: RPC failed; curl 92 HTTP/2 stream 5 was not closed cleanly\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output",
                "in the middle",
            ),
            (
                "error: object file .git/objects/0a/1b is empty\nfatal: loose object 0a1b (stored in .git/objects/0a/1b) is corrupt",
                "fsck",
            ),
            ("error: insufficient permission for adding an object to repository database .git/objects", "chown"),
            ("fatal: remote error: upload-pack: not our ref 0123456789abcdef", "submodule's commit"),
            ("fatal: Unable to create '/srv/app/.git/shallow.lock': File exists.", "remove the lock"),
            (
                "remote: The project you were looking for could not be found or you don't have permission to view it.",
                "ls-remote",
            ),
            ("Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures", "IdentitiesOnly"),
            ("fatal: unable to access 'https://x/': Received HTTP code 407 from proxy after CONNECT", "proxy"),
            ("error: file write error: Disk quota exceeded", "quota"),
            ("fatal: 'x' does not appear to be a git repository", "`repository` in cm.toml"),
        ] {
            assert!(fetch_hint(said).contains(words), "{said}: {}", fetch_hint(said));
        }
    }
}
