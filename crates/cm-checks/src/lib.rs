//! The checks from outside: what a user of the platform would get. They run side by
//! side, each with its own limit, and each has one of four verdicts.
//!
//! `fail` means that production answered wrongly or refused to answer; `unknown`
//! means that nothing was learned about it, for instance because a name does not
//! resolve on this machine. The two are never mixed up: one asks for a rollback, the other for
//! somebody who looks. Which is which is decided by [`NoAnswer`].

mod browser;
mod certificate;
mod judge;
mod network;
mod no_answer;
mod request;
mod result;
mod run;
mod servers;

pub use network::client;
pub use no_answer::NoAnswer;
pub use request::secrets;
pub use result::overall;
pub use run::{obstacle, run};
