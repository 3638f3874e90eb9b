//! Pushes the commit that is deployed to the branch it is deployed as. What is pushed is what
//! people see checked out, or a branch that they named: somebody on a branch of their own does
//! not push it over the one that runs.

use cm_core::facts::DetectFacts;
use cm_core::{CommitId, Done, Exit, Failure, Result, Run};
use cm_project::Project;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// How long the remote may take; a hook that it runs counts.
const LIMIT: Duration = Duration::from_secs(300);

/// Pushes, or says in a dry run what it would push.
///
/// # Errors
/// [`Exit::Usage`] without a document, [`Exit::BadInput`] for one that names no commit and branch,
/// [`Exit::Detect`] on another branch than the one deployed, or if the remote does not take it.
pub async fn run(project: &Project, run: &Run) -> Result<Done> {
    if run.started_here {
        return Err(Failure::new(Exit::Usage, "usage.push", "there is no document that says what to push")
            .hint("cm-detect | cm-build push"));
    }
    let (Some(commit), Some(branch)) = (run.doc.commit(), run.doc.branch()) else {
        return Err(Failure::new(Exit::BadInput, "input.shape", "the document names no commit and branch to push"));
    };
    if CommitId::new(commit).is_none() {
        return Err(Failure::new(Exit::BadInput, "input.name", format!("{commit:?} is not {}", CommitId::WHAT)));
    }
    if !named(run) {
        is_checked_out(project, branch).await?;
    }
    let remote = project.remote();
    let what = format!("{} to {remote}/{branch}", commit.get(..12).unwrap_or(commit));
    if run.dry_run() {
        run.log.info(format!("would push {what}"));
        return Ok(Done::ok(format!("would push {what}")));
    }
    run.log.info(format!("pushing {what}"));
    let pushed = git(project, &["push", "-q", "--", remote, &format!("{commit}:refs/heads/{branch}")]).await;
    let words = match pushed {
        Ok(output) if output.status.success() => return Ok(Done::ok(format!("pushed {what}"))),
        Ok(output) => said(&output),
        Err(why) => why,
    };
    let message = format!("cannot push to {remote}/{branch}; nothing was deployed");
    let hint = hint(&words, remote, branch);
    Err(Failure::new(Exit::Detect, "detect.push-refused", message).cause(words).hint(hint))
}

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
    "git did not end within",
];

/// What to do, by git's words. Those of a server's own rules count first: a hook may say anything else beside them.
fn hint(words: &str, remote: &str, branch: &str) -> String {
    let words = words.to_lowercase();
    let says = |any: &[&str]| any.iter().any(|known| words.contains(known));
    if says(&["protected branch", "declined", "gh006", "gh013", "rule violations"]) {
        return format!(
            "{remote} does not take a push to {branch}: bring the commit in by a branch of its own and a pull request, \
             then deploy with --no-push"
        );
    }
    if says(&["non-fast-forward", "fetch first", "[rejected]"]) {
        return "git pull --rebase, look at what came, and deploy again".to_owned();
    }
    if says(&UNREACHABLE) {
        return format!(
            "see whether this machine reaches it: git ls-remote {remote}; to deploy what is on the remote already: --no-push"
        );
    }
    if says(&DENIED) {
        return format!(
            "you may not push to {remote}: see which key or token git uses (git push --dry-run {remote}), ask for access, \
             or have somebody else push, then deploy with --no-push"
        );
    }
    format!("git's words are above; try it by hand: git push --dry-run {remote} HEAD:{branch}")
}

/// Whether a person named the branch.
fn named(run: &Run) -> bool {
    run.doc.part::<DetectFacts>().branch_named == Some(true)
}

async fn is_checked_out(project: &Project, branch: &str) -> Result<()> {
    let head = git(project, &["symbolic-ref", "-q", "--short", "HEAD"]).await;
    let current = head.ok().filter(|output| output.status.success()).map(|output| text(&output.stdout));
    if current.as_deref() == Some(branch) {
        return Ok(());
    }
    let current = current.unwrap_or_else(|| "no branch".to_owned());
    let message = format!("this is {current}, and {branch} is what is deployed; nothing was pushed");
    Err(Failure::new(Exit::Detect, "detect.push-branch", message).hint(format!(
        "git switch {branch}, or say what you want: --branch NAME, or --no-push for what is on the remote"
    )))
}

/// Git in the repository, with a limit; why it did not run, if it did not.
async fn git(project: &Project, arguments: &[&str]) -> std::result::Result<Output, String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(&project.repository).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    // Its words are read here.
    git.env("LC_ALL", "C.UTF-8").env_remove("LANGUAGE");
    match tokio::time::timeout(LIMIT, git.output()).await {
        Ok(output) => output.map_err(|error| format!("cannot run git: {error}")),
        Err(_) => Err(format!("git did not end within {} s", LIMIT.as_secs())),
    }
}

/// What git said, its end: that is where the reason is.
fn said(output: &Output) -> String {
    let text = text(&output.stderr);
    let start = text.char_indices().rev().nth(1_999).map_or(0, |(at, _)| at);
    text[start..].to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_project::Config;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn by_hand(at: &Path, line: &str) {
        let mut git = std::process::Command::new("git");
        git.arg("-C").arg(at).args(["-c", "user.name=ada", "-c", "user.email=ada@example.org"]);
        let output = git.args(line.split(' ')).output().expect("git");
        assert!(output.status.success(), "git {line}: {output:?}");
    }

    /// What git says to a push of `HEAD` of `from`, and what to do then.
    async fn hint_of_push(from: &Path) -> String {
        let config = Config::parse("cm.toml", "project = \"shop\"").expect("valid");
        let project = Project::of(from.into(), from.into(), String::new(), config);
        let output = git(&project, &["push", "-q", "--", "origin", "HEAD:refs/heads/main"]).await.expect("git");
        assert!(!output.status.success());
        hint(&said(&output), "origin", "main")
    }

    #[tokio::test]
    async fn git_itself_says_what_is_read() {
        let dir = tempfile::tempdir().expect("tempdir");
        let at = |name: &str| dir.path().join(name);
        by_hand(dir.path(), "init -q --bare -b main remote");
        for (clone, message) in [("ada", "one"), ("bob", "two")] {
            by_hand(dir.path(), &format!("init -q -b main {clone}"));
            by_hand(&at(clone), "remote add origin ../remote");
            by_hand(&at(clone), &format!("commit -q --allow-empty -m {message}"));
        }
        by_hand(&at("ada"), "push -q origin HEAD:main");
        assert!(hint_of_push(&at("bob")).await.starts_with("git pull --rebase"));
        let hook = at("remote/hooks/pre-receive");
        fs::create_dir_all(at("remote/hooks")).expect("mkdir");
        fs::write(&hook, "#!/bin/sh\necho by pull request only >&2\nexit 1\n").expect("write");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("chmod");
        by_hand(&at("ada"), "commit -q --allow-empty -m three");
        let hint = hint_of_push(&at("ada")).await;
        assert!(hint.contains("pull request") && hint.contains("--no-push"), "{hint}");
        by_hand(&at("ada"), "remote set-url origin http://127.0.0.1:1/x.git");
        assert!(hint_of_push(&at("ada")).await.contains("git ls-remote origin"));
    }

    #[test]
    fn what_to_do_depends_on_why_git_did_not_push() {
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
        ];
        for (words, wanted) in cases {
            let hint = hint(words, "origin", "main");
            assert!(hint.contains(wanted), "{words:?}: {hint}");
        }
    }
}
