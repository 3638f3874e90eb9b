//! What to do when a remote refuses, by the words of git, of ssh and of servers. Only the hint hangs on them:
//! what is told and the exit status do not.

use crate::remote::Remote;

/// What git, ssh and servers write where access is missing.
const DENIED: [&str; 8] = [
    "permission denied",
    "authentication failed",
    "could not read username",
    "could not read password",
    "access denied",
    "write access to repository not granted",
    "not allowed to push",
    "the requested url returned error: 403",
];

/// And where nobody answers, or nobody is known to.
const UNREACHABLE: [&str; 11] = [
    "could not resolve",
    "connection refused",
    "connection timed out",
    "connection reset",
    "connection closed",
    "no route to host",
    "network is unreachable",
    "operation timed out",
    "failed to connect",
    "host key verification failed",
    "did not end within",
];

/// Where the server's own rules say no.
const RULES: [&str; 5] = ["protected branch", "declined", "gh006", "gh013", "rule violations"];

/// Where a signature of the push is asked for, or cannot be made.
const SIGNED: [&str; 4] = ["--signed push", "gpg failed to sign", "push certificate", "signed push"];

/// Words in lower case, to be looked through; git breaks its lines where it likes.
struct Words(String);

impl Words {
    fn of(words: &str) -> Self {
        Words(words.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn say(&self, any: &[&str]) -> bool {
        any.iter().any(|known| self.0.contains(known))
    }
}

/// What to do about a push to `branch` that failed with these words. Those of a server's own rules count first: a
/// hook may say anything else along with them.
pub fn push_hint(said: &str, remote: &Remote, branch: &str) -> String {
    let (words, name) = (Words::of(said), &remote.name);
    if words.say(&SIGNED) {
        return "this remote and `push.gpgSign` do not agree about signed pushes: look at `git config push.gpgSign`, \
                and at the key of `git config user.signingKey`"
            .to_owned();
    }
    if words.say(&["unable to push locked files", "cannot update locked files"]) {
        return "somebody holds a lock of Git LFS on the files that are named (`git lfs locks`): ask them to unlock, or, where \
                nobody works on it any more, git lfs unlock --force FILE; then deploy again"
            .to_owned();
    }
    if words.say(&["unknown git lfs object", "git lfs fetch --all"]) {
        return format!("content in Git LFS is not on the remote yet: git lfs push --all {name}, then deploy again");
    }
    if words.say(&["'git-lfs' was not found"]) {
        return "a hook of this repository wants git-lfs: install it on this machine".to_owned();
    }
    if words.say(&RULES) {
        return format!(
            "{name} does not take a push to {branch}: bring the commit in by a branch of its own and a pull request, \
             then deploy with --no-push"
        );
    }
    if words.say(&["can not be found on any remote"]) {
        return "push the submodules that are named first (git -C PATH push): servers fetch them from their remotes"
            .to_owned();
    }
    if words.say(&["cannot lock ref", "directory file conflict", "unable to create"]) {
        return format!(
            "a branch cannot be named below another one: see `git ls-remote --heads {name}`, and delete or rename the \
             branch in the way of {branch}"
        );
    }
    if words.say(&["non-fast-forward", "fetch first", "[rejected]"]) {
        return "git pull --rebase, look at what came, and deploy again".to_owned();
    }
    if words.say(&["shallow update not allowed"]) {
        return "the clone is shallow: git fetch --unshallow; in CI, fetch-depth: 0 of actions/checkout".to_owned();
    }
    if words.say(&UNREACHABLE) {
        return format!(
            "see whether this machine reaches it: git ls-remote {name}; to deploy what is on the remote already: --no-push"
        );
    }
    if words.say(&DENIED) {
        return format!(
            "you may not push to {name}: see which key or token git uses (git push --dry-run {name}), ask for access, \
             or have somebody else push, then deploy with --no-push"
        );
    }
    format!("git's words are above; try it by hand: git push --dry-run {name} HEAD:{branch}")
}

/// What to do about a fetch that failed with these words.
pub fn fetch_hint(said: &str, remote: &str) -> String {
    let words = Words::of(said);
    if words.say(&["cannot lock ref", "unable to update local ref"]) {
        return format!("a branch that is gone is in the way: git remote prune {remote}, then deploy again");
    }
    if words.say(&DENIED) {
        return format!("you may not read {remote}: see which key or token git uses, by hand: git fetch {remote}");
    }
    format!("see whether this machine reaches it, by hand: git fetch {remote}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_depends_on_why_git_did_not_push() {
        let remote = Remote { name: "origin".to_owned(), url: "x".to_owned(), push_url: None };
        let cases = [
            (" ! [rejected]        main -> main (fetch first)\nerror: failed to push some refs", "git pull --rebase"),
            (" ! [rejected]        0123 -> main (non-fast-forward)", "git pull --rebase"),
            (
                "remote: error: GH006: Protected branch update failed\n ! [remote rejected] main -> main (protected branch hook declined)",
                "--no-push",
            ),
            (" ! [remote rejected] main -> main (pre-receive hook declined)", "pull request"),
            (
                "remote: GitLab: You are not allowed to push code to protected branches on this project.\n ! [remote rejected] main -> main (pre-receive hook declined)",
                "pull request",
            ),
            (
                "remote: Permission to shop/app.git denied to ada.\nfatal: unable to access 'https://x/': The requested URL returned error: 403",
                "you may not push",
            ),
            (
                "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                "you may not push",
            ),
            ("fatal: could not read Username for 'https://x': terminal prompts disabled", "you may not push"),
            (
                "ssh: Could not resolve hostname x: Name or service not known\nfatal: Could not read from remote repository.",
                "git ls-remote origin",
            ),
            ("ssh: connect to host x port 22: Connection refused", "git ls-remote origin"),
            ("git did not end within 300 s", "git ls-remote origin"),
            ("fatal: the disk is full", "git push --dry-run"),
            ("fatal: the receiving end does not support --signed push", "push.gpgSign"),
            ("error: gpg failed to sign the data", "push.gpgSign"),
            ("Unable to push locked files:\n* a.psd - ada\nERROR: Cannot update locked files.", "git lfs locks"),
            (
                "remote: error: GH008: Your push referenced at least 1 unknown Git LFS object:\n ! [remote rejected] main -> main (pre-receive hook declined)",
                "git lfs push --all origin",
            ),
            (
                "This repository is configured for Git LFS but 'git-lfs' was not found on your path.",
                "install it on this machine",
            ),
            (" ! [remote rejected] main -> main (shallow update not allowed)", "fetch-depth: 0"),
        ];
        for (words, wanted) in cases {
            let hint = push_hint(words, &remote, "main");
            assert!(hint.contains(wanted), "{words:?}: {hint}");
        }
    }
}
