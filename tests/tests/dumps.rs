//! Backups of databases whose own programs dump them: real servers in containers of this machine's
//! engine, and the whole way of a backup, from the first look to a restore.

#[path = "dumps/command.rs"]
mod command;
#[path = "dumps/copies.rs"]
mod copies;
#[path = "dumps/lab.rs"]
mod lab;
#[path = "dumps/mysql.rs"]
mod mysql;
#[path = "dumps/postgres.rs"]
mod postgres;
#[path = "dumps/preflight.rs"]
mod preflight;
#[path = "dumps/redis.rs"]
mod redis;
#[path = "dumps/sqlite.rs"]
mod sqlite;
#[path = "dumps/volume.rs"]
mod volume;
