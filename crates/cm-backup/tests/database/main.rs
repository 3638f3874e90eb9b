//! Backups of databases that answer: a real server, and scripted ones.

mod odd_servers;
mod server;
mod support;
