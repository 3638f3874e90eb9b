//! The database service, and where its URI is. Values are looked at, never written down.

use super::environment::Environment;
use cm_project::BackupKind;
use cm_project::compose::{Compose, Service};
use serde_json::Value;

/// What `[backup]` says.
#[derive(Debug)]
pub struct Backup {
    /// The database's service.
    pub service: String,
    /// The key of the server's env file that holds the URI, if one was found.
    pub uri_env: Option<String>,
    /// The database in the URI.
    pub database: Option<String>,
    /// Where the key was found.
    pub seen_in: Option<String>,
}

/// A database that its own programs dump.
#[derive(Debug)]
pub struct Dumped {
    /// Its service.
    pub service: String,
    /// Its kind in `cm.toml`.
    pub kind: BackupKind,
}

/// Databases that their own programs dump, by what their images are called.
const DUMPED: [(&str, BackupKind); 7] = [
    ("postgres", BackupKind::Postgres),
    ("postgis", BackupKind::Postgres),
    ("timescale", BackupKind::Postgres),
    ("pgvector", BackupKind::Postgres),
    ("mysql", BackupKind::Mysql),
    ("mariadb", BackupKind::Mysql),
    ("percona", BackupKind::Mysql),
];

/// Databases that are not backed up by cm, by what their images are called.
const OTHERS: [&str; 5] = ["cockroach", "clickhouse", "couchdb", "influxdb", "neo4j"];

/// What stands in the names of images that are about a database and have none.
const TOOLS: [&str; 5] = ["admin", "exporter", "backup", "bouncer", "express"];

/// The name of the image, without registry and tag: `mongo` of `docker.io/library/mongo:7`.
pub fn image_name(service: &Service) -> Option<&str> {
    let image = service.image.as_deref()?;
    let last = image.rsplit('/').next().unwrap_or(image);
    Some(last.split([':', '@']).next().unwrap_or(last))
}

/// The first service that runs MongoDB.
pub fn mongo(compose: &Compose, environment: &Environment) -> Option<Backup> {
    let is_mongo = |service: &&Service| {
        image_name(service).is_some_and(|name| name.contains("mongo") && !name.contains("express"))
    };
    let service = compose.services.iter().find(is_mongo)?;
    let (uri_env, seen_in, database) = match environment.mongo_uri() {
        Some((name, file, uri)) => (Some(name), Some(file), database_of(&uri)),
        None => (variable_of(compose), None, None),
    };
    let seen_in = seen_in.or_else(|| uri_env.is_some().then(|| "the compose file".to_owned()));
    Some(Backup { service: service.name.clone(), uri_env, database, seen_in })
}

/// Services whose databases their own programs dump.
pub fn dumped(compose: &Compose) -> Vec<Dumped> {
    let dumped = |service: &Service| {
        let name = image_name(service).filter(|name| !TOOLS.iter().any(|tool| name.contains(tool)))?;
        let (_, kind) = DUMPED.iter().find(|(part, _)| name.contains(part))?;
        Some(Dumped { service: service.name.clone(), kind: *kind })
    };
    compose.services.iter().filter_map(dumped).collect()
}

/// Services whose data cm does not back up.
pub fn others(compose: &Compose) -> Vec<String> {
    let is_other =
        |service: &&Service| image_name(service).is_some_and(|name| OTHERS.iter().any(|other| name.contains(other)));
    compose.services.iter().filter(is_other).map(|service| service.name.clone()).collect()
}

/// The variable in an environment entry such as `MONGO_URL: ${MONGO_URL}`: it comes
/// from the server's env file.
fn variable_of(compose: &Compose) -> Option<String> {
    let values = compose.services.iter().filter_map(|service| service.configuration.get("environment"));
    let mut pairs = values.filter_map(Value::as_object).flatten();
    pairs.find_map(|(name, value)| {
        let inside = value.as_str()?.strip_prefix("${")?.strip_suffix('}')?;
        let variable = inside.split([':', '-', '?']).next().unwrap_or(inside);
        let about_mongo = |text: &str| text.to_ascii_uppercase().contains("MONGO");
        let is_uri = |text: &str| ["URI", "URL"].iter().any(|end| text.to_ascii_uppercase().ends_with(end));
        ((about_mongo(name) || about_mongo(variable)) && is_uri(variable)).then(|| variable.to_owned())
    })
}

/// The database of `mongodb://user:password@server:27017/DATABASE?options`.
fn database_of(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    let name = path.split('?').next().unwrap_or(path);
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_read_off_a_uri() {
        for (uri, wanted) in [
            ("mongodb://db:27017/shop", Some("shop")),
            ("mongodb+srv://u:p@c.example/shop-1?retryWrites=true", Some("shop-1")),
            ("mongodb://db:27017", None),
            ("mongodb://db/?x=1", None),
            ("mongodb://db/${NAME}", None),
        ] {
            assert_eq!(database_of(uri).as_deref(), wanted, "{uri}");
        }
    }
}
