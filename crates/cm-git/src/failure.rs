//! Errors of the library as failures that people understand.

use cm_core::{Exit, Failure};
use git2::{Error, ErrorClass, ErrorCode};
use std::path::Path;

/// The failure that an error of the library is, once the repository is open.
pub fn broken(error: Error) -> Failure {
    let failure = Failure::new(Exit::Detect, "detect.git", "cannot read the repository").cause(error.message());
    match error.code() {
        ErrorCode::NotFound => failure.hint("objects are missing: git fetch --refetch gets them, git fsck names them"),
        _ => failure,
    }
}

/// The failure that stands in the way of opening the repository at `path`.
pub fn unopened(error: &Error, path: &Path) -> Failure {
    let message = format!("cannot open a Git repository in {}", path.display());
    let failure = Failure::new(Exit::Detect, "detect.no-repository", message);
    match (error.code(), error.class()) {
        (ErrorCode::NotFound, _) => failure.hint(not_found(path)),
        (ErrorCode::Owner, _) => failure
            .cause(error.message())
            .hint("it belongs to somebody else; git config --global --add safe.directory DIR trusts it"),
        (_, ErrorClass::Repository) => failure.cause(error.message()).hint(
            "the repository is of a kind that cm cannot read (SHA-256, reftable): work in a clone made without it",
        ),
        _ => failure.cause(error.message()),
    }
}

/// What to do where nothing is found: a worktree or a submodule says where its repository is, which may be gone.
fn not_found(path: &Path) -> String {
    let link = path.ancestors().map(|directory| directory.join(".git")).find(|git| git.is_file());
    match link.and_then(|git| std::fs::read_to_string(git).ok()) {
        Some(text) => format!(
            "this is a worktree, and its repository is not at {}: `git worktree repair` in the repository fixes that",
            text.trim().trim_start_matches("gitdir: ")
        ),
        None => "work in a clone of the repository to deploy, or name it: -C DIR".to_owned(),
    }
}
