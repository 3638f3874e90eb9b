//! Databases that are not MongoDB, which cm reads by itself: their own programs dump them, look
//! through a dump, and read it back. Each [`Kind`] says which programs and how, as [jobs](Job) that
//! run where the data is: a constant shell script with data as its arguments, in the database's
//! container or on its host. What a dump holds is counted twice, by the database in the moment of
//! the dump and in the dump itself; the two are compared, and what a kind cannot show is said.
//! Where a dump is kept is somebody else's.

mod command;
mod count;
mod head;
mod job;
mod kind;
mod mysql;
mod postgres;
mod redis;
mod scan;
mod spec;
mod sqlite;
mod volume;

pub use count::{Counts, Said, differences};
pub use head::read_head;
pub use job::{Job, Place};
pub use kind::{Kind, Scratch, Survey, Words};
pub use scan::Scan;
pub use spec::Spec;
