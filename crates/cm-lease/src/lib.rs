//! The deploy lock. It has two halves that are taken in one fixed order:
//!
//! 1. on this machine a kernel lock ([`local`]), which no death of its holder leaves behind;
//! 2. on every host, in the order of their names, a record with a lease ([`remote`]) that the
//!    holder renews. It stops the second laptop, and a holder that vanished keeps it for one
//!    lease at most.
//!
//! [`take`] takes all of it or nothing; [`Held`] is what was taken. Programs that change
//! something use [`Guard`]: it asks before each change whether the lock still holds.

mod guard;
mod held;
mod holder;
mod holder_file;
mod identity;
pub mod local;
mod lock_file;
#[cfg(target_os = "linux")]
mod proc;
mod process;
#[cfg(any(test, not(target_os = "linux")))]
mod ps;
mod record;
pub mod remote;

pub use guard::{Guard, with_lock, with_lock_asked_meanwhile};
pub use held::{Held, Wanted, take};
pub use holder::{Attempt, Holder, Place, quote};
pub use identity::Identity;
pub use process::{Life, Process};
pub use record::{Record, SCHEMA};

/// The variable that tells programs inside `cm-lock run` the nonce of their lock.
pub const NONCE_VARIABLE: &str = "CM_LOCK_NONCE";

/// The variable that names the lock file.
pub const FILE_VARIABLE: &str = "CM_LOCK_FILE";
