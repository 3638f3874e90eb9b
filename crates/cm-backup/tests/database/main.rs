//! Backups of databases that answer: a real server, and scripted ones.

mod accounts;
mod odd_servers;
mod options;
mod prune;
mod reading;
mod restore;
mod server;
mod support;
mod swap;
mod trouble;
