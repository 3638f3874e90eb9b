//! The program as people use it: the real binary on real repositories.

mod changes;
mod history;
mod hosts;
mod repo;
mod running;
mod stored;
mod surroundings;
