//! What is deployed: which commit, and as which branch.

use crate::args::Args;
use cm_core::{Exit, Failure, Result, plural};
use cm_git::{Oid, Repository, short};
use cm_project::{Project, nearest};

/// What is deployed.
#[derive(Clone, Debug)]
pub struct Target {
    /// The branch.
    pub branch: String,
    /// Whether a flag named the branch.
    pub named: bool,
    /// The commit.
    pub commit: Oid,
    /// What people should know about it.
    pub warnings: Vec<String>,
    /// How many commits the remote branch does not have yet, if it is known.
    pub unpushed: Option<usize>,
}

impl Target {
    /// Decides what is deployed; `started` is the commit a document came with.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a branch that is none; [`Exit::Detect`] for a revision that is not here.
    pub fn choose(repository: &Repository, project: &Project, args: &Args, started: Option<&str>) -> Result<Self> {
        let branch = args.branch.clone().unwrap_or_else(|| project.branch());
        check_name(&branch)?;
        let mut warnings = Vec::new();
        let commit = match (&args.head, started) {
            (Some(rev), _) => repository.commit(rev)?,
            (None, _) if args.pushed => pushed(repository, project.remote(), &branch)?,
            (None, Some(commit)) => repository.commit(commit)?,
            (None, None) => checked_out(repository, project, &branch, args, &mut warnings)?,
        };
        let mut target = Target { branch, named: args.branch.is_some(), commit, warnings, unpushed: None };
        if args.repo.is_none() {
            target.compare_with_remote(repository, project.remote(), args.pushed);
        }
        Ok(target)
    }

    fn compare_with_remote(&mut self, repository: &Repository, remote: &str, pushed: bool) {
        let Some(tip) = repository.remote_tip(remote, &self.branch) else { return };
        let Some((ahead, behind)) = repository.ahead_behind(self.commit, tip) else { return };
        self.unpushed = Some(ahead);
        if behind > 0 && !pushed {
            let branch = &self.branch;
            self.warnings.push(format!(
                "{remote}/{branch} has {} that {} has not: they will not be deployed, and a push will be refused; git pull --rebase gets them",
                plural(behind as u64, "commit"),
                short(self.commit)
            ));
        }
    }
}

/// The commit at HEAD, or the tip of the branch that was asked for.
fn checked_out(
    repository: &Repository,
    project: &Project,
    branch: &str,
    args: &Args,
    warnings: &mut Vec<String>,
) -> Result<Oid> {
    let head = repository.head()?;
    if head.branch.as_deref() == Some(branch) || args.repo.is_some() {
        return Ok(head.commit);
    }
    let asked = args.branch.is_some() || std::env::var_os("CM_BRANCH").is_some_and(|name| !name.is_empty());
    let place =
        head.branch.as_deref().map_or("no branch (HEAD is detached)".to_owned(), |name| format!("branch {name}"));
    if !asked {
        let remote = project.remote();
        let commit = short(head.commit);
        warnings.push(format!("you are on {place}, not on {branch}: {commit} is deployed, as {remote}/{branch}"));
        return Ok(head.commit);
    }
    let tip = repository.branch_tip(branch).or_else(|| repository.remote_tip(project.remote(), branch));
    let tip = tip.ok_or_else(|| {
        if repository.tag(branch).is_some() {
            let message = format!("there is no branch {branch:?}, but a tag of that name");
            return Failure::new(Exit::Usage, "usage.unknown-branch", message)
                .hint(format!("a tag says what to deploy, not as which branch: cm-detect --head {branch}"));
        }
        let branches = repository.branches();
        Failure::new(Exit::Usage, "usage.unknown-branch", format!("there is no branch {branch:?}"))
            .hint(nearest::hint(branch, branches.iter().map(String::as_str).collect::<Vec<_>>()))
    })?;
    warnings.push(format!("you are on {place}; what is deployed is the tip of {branch}, {}", short(tip)));
    Ok(tip)
}

fn pushed(repository: &Repository, remote: &str, branch: &str) -> Result<Oid> {
    if let Some(tip) = repository.remote_tip(remote, branch) {
        return Ok(tip);
    }
    let failure = Failure::new(Exit::Detect, "detect.not-pushed", format!("this clone knows no {remote}/{branch}"));
    Err(match repository.remote(remote) {
        Ok(_) => failure.hint(format!("git fetch {remote} gets it, if it was pushed")),
        Err(other) => failure.hint(other.hint.clone().unwrap_or_default()).cause(other),
    })
}

/// A branch's name goes into commands and refs.
fn check_name(name: &str) -> Result<()> {
    if cm_git::is_branch_name(name) {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, "usage.branch", format!("{name:?} cannot be a branch's name"))
        .hint("letters, digits and / . _ - + @ # = , are allowed, and no \"-\" at the beginning"))
}
