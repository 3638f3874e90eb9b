//! `cm-record` as it is run, with a real HTTP server as the ops API and this machine as the host.

mod browser;
mod outbox;
mod questions;
mod report;
mod support;
