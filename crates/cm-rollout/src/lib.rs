//! Replaces the containers of services, where it is asked for with the new one first.
//!
//! Compose can only take a container away and then put another one there. So, for a
//! service that can run twice (see [`Order`]), new containers run alongside it for a while:
//!
//! 1. a *trial* that nobody can find, which has to pass the health gate: a bad release
//!    never gets a request, and the old container serves as if nothing had happened. Where
//!    cm.toml has a canary for the service, it is also compared with the old container;
//! 2. a *bridge* under all the service's names. A name that leads to two addresses leads
//!    to the one that answers, and so no request waits for what is not listening yet;
//! 3. `up` replaces the container itself while the bridge serves. The new one has the
//!    same name, labels and configuration as Compose would give it: nothing of cm is left;
//! 4. when that is healthy, the bridge is stopped within the service's grace period: it
//!    answers what it has taken on, and new requests go past it.
//!
//! Both bear a label, by which the next run finds those of a run that was killed. A
//! bridge goes only when its service runs by itself again.

mod alongside;
mod brought;
mod canary;
mod collision;
mod drain;
mod engine;
mod foresight;
mod interface;
mod job_log;
mod job_run;
mod jobs;
mod kept;
mod order;
mod pulls;
mod pushed;
mod reload;
mod replace;
mod rollout;
mod sequence;
mod stack;
mod start_first;
mod up;
mod words;

pub use brought::Brought;
pub use canary::{Canaries, Question};
pub use collision::in_the_way;
pub use foresight::{Foresight, variables};
pub use interface::Replace;
pub use job_run::{JobReport, Once};
pub use jobs::{Release, jobs_of};
pub use kept::{keep_old_images, repository};
pub use order::Order;
pub use pushed::{bring_back, forget_pushed, pushed_as};
pub use rollout::{Change, Options, Replaced, Rollout};
pub use words::{restore_arguments, restore_lines};
