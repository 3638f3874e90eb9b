//! Questions to containers, for services whose health check is missing or says little.
//!
//! `127.0.0.1` in a probe's address is the container. A page is asked for from this machine,
//! through the SSH connection that is open anyway, to the container's address on its
//! Docker network: that asks nothing of the image (no curl, no shell) and nothing of
//! the server. A port is tried by the host, because the tunnel says nothing about a
//! server that waits for its client to speak; a command is run by `docker exec`. A
//! container without an address of its own (`network_mode` host or none) cannot be
//! asked, and that is said; asking the host's port instead could get an answer from
//! somebody else.
//!
//! Questions are asked alongside the readings: one that hangs must not keep the gate from
//! seeing another container die.

mod answer;
mod prober;
mod question;

pub use answer::Answer;
pub use prober::Prober;
pub use question::Probe;
