//! The health gate: are these services healthy, and do they stay so?
//!
//! `docker compose up --wait` is no gate: it passes crash loops, dead replicas and
//! a health check that was green once. This one takes a baseline at once, wants
//! good readings over a whole window with nothing changed (see `watch`), and ends
//! at the first failure. One round trip reads all containers of a host; Docker's
//! events only say when to look sooner, so losing them costs time and nothing else.
//!
//! Judgement is kept apart from input and output: readings go in as values, a verdict
//! comes out, and tests feed both. Programs decide what to do about a verdict.

mod assess;
mod changes;
mod events;
mod evidence;
mod exit_code;
mod gate;
mod guard;
mod probe;
mod verdict;
mod wanted;
mod watch;
mod window;

pub use changes::{Change, changes};
pub use events::Events;
pub use gate::{Findings, Gate};
pub use guard::Post;
pub use verdict::{Moment, State, Verdict, overall};
pub use wanted::{Past, Settings, Wanted};
pub use window::Window;
