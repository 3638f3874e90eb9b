//! `cm-record` as it is run, with a real HTTP server as the ops API and this machine as the host.

mod outbox;
mod questions;
mod support;
