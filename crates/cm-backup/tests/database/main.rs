//! Backups of databases that answer: a real server, and scripted ones.

mod odd_servers;
mod options;
mod prune;
mod restore;
mod server;
mod support;
