//! How commits lie to each other, and what came with them.

use crate::repository::Repository;
use git2::{ErrorCode, Oid};
use jiff::Timestamp;

/// How the history of one commit lies to that of another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Relation {
    /// It is in the other's history.
    Before,
    /// The other is in its history.
    After,
    /// They have a commit in common.
    Diverged,
    /// They have none.
    Unrelated,
    /// The clone has too little of the history to tell.
    Unknown,
}

/// A commit in a list for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommitLine {
    /// Its id.
    pub id: Oid,
    /// When it was made.
    pub at: Option<Timestamp>,
    /// The name of who wrote it.
    pub author: String,
    /// The first paragraph of its message, on one line.
    pub subject: String,
}

impl Repository {
    /// What came to `head` since `bases`, newest first, at most `most` commits of it; `head`
    /// alone where nothing ran before. For people: what cannot be read is left out.
    pub fn commits_since(&self, head: Oid, bases: &[Oid], most: usize) -> Vec<CommitLine> {
        let most = if bases.is_empty() { 1 } else { most };
        let Ok(mut walk) = self.git.revwalk() else { return Vec::new() };
        if walk.push(head).is_err() {
            return Vec::new();
        }
        for base in bases {
            let _not_here = walk.hide(*base);
        }
        let commits = walk.flatten().take(most).filter_map(|id| self.git.find_commit(id).ok());
        let lines = commits.map(|commit| CommitLine {
            id: commit.id(),
            at: Timestamp::from_second(commit.time().seconds()).ok(),
            author: String::from_utf8_lossy(commit.author().name_bytes()).into_owned(),
            subject: String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned(),
        });
        lines.collect()
    }

    /// When the commit was made; `None` if it is not here.
    pub fn committed_at(&self, commit: Oid) -> Option<Timestamp> {
        Timestamp::from_second(self.git.find_commit(commit).ok()?.time().seconds()).ok()
    }

    /// How many commits `a` has that `b` has not, and the other way round.
    pub fn ahead_behind(&self, a: Oid, b: Oid) -> Option<(usize, usize)> {
        self.git.graph_ahead_behind(a, b).ok()
    }

    /// How the history of `commit` lies to that of `other`.
    pub fn relation(&self, commit: Oid, other: Oid) -> Relation {
        let is_in = |ancestor: Oid, commit: Oid| {
            ancestor == commit || self.git.graph_descendant_of(commit, ancestor) == Ok(true)
        };
        if is_in(commit, other) {
            return Relation::Before;
        }
        if is_in(other, commit) {
            return Relation::After;
        }
        match self.git.merge_base(commit, other) {
            Ok(_) => Relation::Diverged,
            Err(error) if error.code() == ErrorCode::NotFound && !self.is_shallow() => Relation::Unrelated,
            Err(_) => Relation::Unknown,
        }
    }
}
