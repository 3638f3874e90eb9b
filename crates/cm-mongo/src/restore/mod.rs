//! A backup comes back whole, or nothing changes: see [`Restore`].

mod accounts;
mod copy;
mod journal;
mod load;
mod lock;
mod names;
mod options;
mod owner;
mod place;
mod plan;
mod rehearsal;
mod step;
mod swap;
mod target;
mod twin;
mod work;

pub use accounts::{Accounts, changed, database as accounts_database, of_backup as accounts_of_backup};
pub use load::Loaded;
pub use lock::Lock;
pub use names::Renames;
pub use plan::{Item, Plan, Shape, Wanted, Way};
pub use rehearsal::rehearse;
pub use work::{Restore, Restored, Verification};
