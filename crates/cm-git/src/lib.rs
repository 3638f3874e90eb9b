//! The repository on this machine: its commits and their files, what differs between two, what is not
//! committed, and its remotes. Everything that cm asks of local Git is asked here.
//!
//! What is read is read through libgit2, by [`Repository`]: no process, and typed answers. What goes to a remote goes
//! through `git` itself, one limited call for all ([`push`], [`fetch`]): it knows the user's keys, helpers and
//! proxies, and a library does not.

mod call;
mod changes;
mod commit;
mod elsewhere;
mod failure;
mod fetch;
mod history;
mod names;
mod project;
mod push;
mod refusal;
mod remote;
mod repository;
mod status;

pub use changes::{Change, Started};
pub use commit::CommitTree;
pub use failure::broken;
pub use fetch::fetch;
pub use git2::Oid;
pub use history::{CommitLine, Relation};
pub use names::{display, is_branch_name, short};
pub use project::{changed, elsewhere, file, of_run, origin, tracked};
pub use push::{push, try_push};
pub use remote::{Remote, tip};
pub use repository::{Head, Repository};
