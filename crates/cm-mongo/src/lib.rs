//! A MongoDB database into an archive and back: looked at ([`survey`](mod@survey)), read as it is
//! ([`dump`]), and restored so that either everything comes back or nothing changes ([`restore`]).
//! It knows a connection, an archive and a log: no command line, no server that is reached through
//! SSH, no directory of backups.

pub mod accounts;
pub mod changes;
pub mod command;
pub mod connection;
pub mod dump;
pub mod moment;
pub mod name;
pub mod pace;
pub mod restore;
pub mod selection;
pub mod survey;
mod uri;
mod writing;

pub use connection::{DatabaseUri, ReadFrom};
