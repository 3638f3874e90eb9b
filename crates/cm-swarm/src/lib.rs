//! Docker Swarm, typed. [`Stack::of`] is what of a Compose project a Swarm takes, with what changes its meaning;
//! [`Sight`] is what a Swarm runs, task by task over all nodes; [`publish`] brings images to every node, and
//! [`Switch`] takes services from one release to the next, in the order in which they depend on each other.
//!
//! Nothing is believed that a command of Docker's merely ends well with: `docker stack deploy` is done before the
//! first container starts, and an update that Swarm rolled back by itself is no failure to it. What counts is read
//! afterwards, from the services and their tasks.

mod answer;
mod content;
mod election;
mod file;
mod health_time;
mod job;
mod keys;
mod node;
mod note;
mod publish;
mod pull;
mod registry;
mod service;
mod sight;
mod size;
mod stack;
mod stem;
mod switch;
mod task;
mod translation;
mod update;
mod value;

pub use answer::Answer;
pub use content::{Content, Source, Unfit};
pub use file::place;
pub use job::Job;
pub use node::{Node, Quorum};
pub use note::Note;
pub use publish::{Published, Push, publish, repository_in};
pub use pull::pull_everywhere;
pub use registry::{Forgotten, bring_back, forget_pushed};
pub use service::Service;
pub use sight::{Seen, Sight, no_manager};
pub use stack::Stack;
pub use switch::Switch;
pub use task::Task;
pub use update::Update;
