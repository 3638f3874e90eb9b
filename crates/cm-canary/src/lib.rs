//! The canary: the same requests to the old release and to the new one, and what they
//! show. The old one is asked before the build, or alongside the new one where both run;
//! the new one right after the switch.
//!
//! A handful of good answers says little, so the report says what it would have
//! seen: with n requests and no failure, an error rate below about 3/n can hide.
//! Requests that say nothing about production, because they never got there, are not
//! counted as either. When what was seen counts for what is decided in [`Rules`].

mod report;
mod rules;
mod run;
mod side;
#[cfg(test)]
mod simulation;
mod stats;
mod target;
pub mod traffic;
mod watch;

pub use report::not_asked;
pub use rules::{Judgement, Look, Rules};
pub use run::{baseline, run, side_by_side};
pub use side::{Sample, Side};
pub use target::{AT_ONCE, Target};
pub use watch::changes;
