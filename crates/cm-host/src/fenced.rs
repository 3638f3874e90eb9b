//! A host that may be changed. Whatever changes a host is a command of this handle: a check that
//! the deploy lock is still this run's goes in the same request and is made there, right before
//! the change. A laptop that slept, or that was given up, therefore changes nothing any more.

use crate::Host;
use crate::command::{Change, Command};
use crate::fence::Fence;
use std::ops::Deref;
use std::sync::Arc;

/// A host behind the deploy lock. As a [`Host`] it only reads, and asks nothing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fenced {
    host: Host,
    fence: Option<Arc<Fence>>,
}

/// Why a change needs no lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unlocked {
    /// It makes, renews or gives back the lock itself.
    TheLockItself,
    /// It writes files that only this run has a name for.
    OwnFiles,
    /// It brings a copy of an image that has no name but cm's own.
    Copies,
    /// Its machine knows nothing of the lock; the host that speaks for it was asked right before.
    AskedElsewhere,
    /// A test's own host.
    Test,
}

impl Fenced {
    /// The host, where every command is begun only if `fence` says so.
    pub fn new(host: &Host, fence: Fence) -> Fenced {
        Fenced { host: host.clone(), fence: Some(Arc::new(fence)) }
    }

    /// The host, where nothing is asked because of `why`.
    pub fn unlocked(host: &Host, _why: Unlocked) -> Fenced {
        Fenced { host: host.clone(), fence: None }
    }

    /// A command that changes this host: the program and its arguments. One that is not begun
    /// because the lock is lost fails as the fence says.
    pub fn command<I, S>(&self, argv: I) -> Change<'_>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Command::changing(&self.host, argv.into_iter().map(Into::into).collect(), self.fence.clone())
    }

    /// A fixed POSIX shell script that changes this host; see [`Host::script`].
    pub fn script<I, S>(&self, script: &'static str, arguments: I) -> Change<'_>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Command::changing(&self.host, crate::script_argv(script, arguments), self.fence.clone())
    }
}

impl Deref for Fenced {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}
