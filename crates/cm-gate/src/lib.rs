//! What judges a deployment: the health gate over containers, and the checks and
//! the canary from outside. Programs decide what to do about a verdict; here it is
//! only found, and nothing is called good that was not seen to be.
//!
//! Each part keeps its judgement apart from its input and output: readings and
//! answers go in as values, a verdict comes out, and tests feed both.

pub mod canary;
pub mod checks;
pub mod health;
mod network;
mod words;

pub use health::{Findings, Gate, Post, Settings, State, Verdict, Wanted};
