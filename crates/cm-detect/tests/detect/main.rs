//! The program as people use it: the real binary on real repositories.

mod changes;
mod repo;
mod running;
mod stored;
mod surroundings;
