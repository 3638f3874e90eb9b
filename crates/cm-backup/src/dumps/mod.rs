//! Backups of databases whose own programs dump them: the same store, manifest, checks and
//! subcommands as for MongoDB, around the jobs of [`cm_dump`].

mod check;
mod make;
mod order;
mod place;
mod plan;
mod pour;
mod pump;
mod restore;
mod source;
mod trial;

pub use check::check;
pub use order::DumpOrder;
pub use plan::DumpPlan;
pub use restore::restore;
