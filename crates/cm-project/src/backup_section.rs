//! `[backup]`, once, or `[[backup]]` as often as there are databases: what is backed up before a
//! deployment, and how. One table serves all kinds, so that a section can say what it is with one
//! word; keys that mean nothing for its kind are errors.

use crate::backup_copy::BackupCopy;
use crate::source::{self, Position};
use cm_core::Result;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::sync::Arc;
use toml::Spanned;

/// What a section backs up.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    /// A MongoDB database, read by cm-backup itself.
    #[default]
    Mongodb,
    /// A PostgreSQL database, by the `pg_dump` of its container.
    Postgres,
    /// A MySQL or MariaDB database, by the dump program of its container.
    Mysql,
    /// A SQLite file.
    Sqlite,
    /// All databases of a Redis or Valkey server.
    Redis,
    /// A named volume, as a tar archive.
    Volume,
    /// Whatever a command writes to stdout.
    Command,
}

impl BackupKind {
    /// The word in `cm.toml` and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            BackupKind::Mongodb => "mongodb",
            BackupKind::Postgres => "postgres",
            BackupKind::Mysql => "mysql",
            BackupKind::Sqlite => "sqlite",
            BackupKind::Redis => "redis",
            BackupKind::Volume => "volume",
            BackupKind::Command => "command",
        }
    }

    /// The kind whose word that is.
    pub fn parse(word: &str) -> Option<BackupKind> {
        use BackupKind::{Command, Mongodb, Mysql, Postgres, Redis, Sqlite, Volume};
        [Mongodb, Postgres, Mysql, Sqlite, Redis, Volume, Command].into_iter().find(|kind| kind.as_str() == word)
    }

    /// The service of a section that names none; `None` where there need not be one.
    fn default_service(self) -> Option<&'static str> {
        (!matches!(self, BackupKind::Sqlite | BackupKind::Volume | BackupKind::Command)).then(|| self.as_str())
    }
}

/// One `[backup]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// What it is: `mongodb`, `postgres`, `mysql` (MariaDB, too), `sqlite`, `redis` (Valkey, too),
    /// a named `volume`, or what a `command` writes.
    #[serde(default)]
    #[schemars(with = "BackupKind")]
    pub kind: BackupKind,
    /// The host the database runs on; without it, the host of its service.
    #[schemars(with = "Option<String>")]
    pub host: Option<Spanned<String>>,
    /// The database's service in the compose file; without it, the one that is called as the kind is.
    /// A `volume`, a `sqlite` file or a `command` of the host has none.
    #[schemars(with = "Option<String>")]
    service: Option<Spanned<String>>,
    /// mongodb: the variable in the server's env file that holds the database's URI.
    #[serde(default = "default_uri_env")]
    pub uri_env: String,
    /// The database. Without it: mongodb, the one in the URI; postgres and mysql, the one that the
    /// container's own variables name.
    pub database: Option<String>,
    /// postgres, mysql, redis: the user. Without it, the one of the container's own variables.
    pub user: Option<String>,
    /// postgres, mysql, redis: the variable in the server's env file that holds the password.
    /// Without it, the one of the container's own variables.
    pub password_env: Option<String>,
    /// sqlite: the path of the file, in the container of `service`, or on the host where no service is
    /// named; a relative one there is below the checkout.
    pub path: Option<String>,
    /// volume: its name in the compose file.
    pub volume: Option<String>,
    /// volume: whether the containers that use it are stopped meanwhile, so that all of it is of one
    /// moment.
    #[serde(default)]
    pub stop: bool,
    /// command: what names its backups: letters, digits, `.`, `_` and `-`.
    pub name: Option<String>,
    /// command: the program and its arguments, without a shell, in the container of `service`, or in
    /// the checkout on the host; it writes the backup to stdout.
    #[serde(default)]
    pub command: Vec<String>,
    /// command: the program and its arguments that read a backup on stdin, and fail if it is not whole.
    #[serde(default)]
    pub verify: Vec<String>,
    /// command: the program and its arguments that read a backup on stdin, and put it back.
    #[serde(default)]
    pub restore: Vec<String>,
    /// Where else each backup goes.
    pub copy: Option<BackupCopy>,
    /// Where backups go, on the host.
    #[serde(default = "default_backup_directory")]
    pub directory: String,
    /// After a backup, remove all but so many of the newest.
    pub keep: Option<u32>,
    /// After a backup, remove those older than so many days; with another of these keys, those that
    /// none of them keeps.
    pub keep_days: Option<u32>,
    /// Keep the newest backup of each of so many days that have one, in UTC.
    pub keep_daily: Option<u32>,
    /// Keep the newest backup of each of so many weeks that have one.
    pub keep_weekly: Option<u32>,
    /// Keep the newest backup of each of so many months that have one.
    pub keep_monthly: Option<u32>,
    #[serde(skip)]
    #[schemars(skip)]
    default_service: Option<Spanned<String>>,
}

fn default_uri_env() -> String {
    "MONGODB_URI".to_owned()
}

fn default_backup_directory() -> String {
    "~/backups".to_owned()
}

impl Backup {
    /// Its service, where it has one.
    pub fn service(&self) -> Option<&Spanned<String>> {
        self.service.as_ref().or(self.default_service.as_ref())
    }

    /// The name of its service; empty where it has none.
    pub fn service_name(&self) -> &str {
        self.service().map_or("", |service| service.get_ref())
    }

    /// What it is called among the others: its own name, its service, else what is backed up.
    pub fn label(&self) -> &str {
        let service = || self.service().map(|service| service.get_ref().as_str());
        self.name.as_deref().or_else(service).or_else(|| self.database_name()).unwrap_or_default()
    }

    /// The name of its database, where one is known: that of the file, where it is one.
    pub fn database_name(&self) -> Option<&str> {
        let named = self.database.as_deref().or(self.name.as_deref()).or(self.volume.as_deref());
        named.or_else(|| self.path.as_deref()?.rsplit('/').next())
    }

    fn with_defaults(mut self) -> Self {
        self.default_service = self.kind.default_service().map(|name| Spanned::new(0..0, name.to_owned()));
        self
    }

    /// A key that this kind does not know, or one that it needs and has not.
    fn mistake(&self) -> Option<String> {
        use BackupKind::{Command, Mongodb, Mysql, Postgres, Redis, Sqlite, Volume};
        let keys = [
            ("database", self.database.is_some(), &[Mongodb, Postgres, Mysql][..]),
            ("user", self.user.is_some(), &[Postgres, Mysql, Redis]),
            ("password_env", self.password_env.is_some(), &[Postgres, Mysql, Redis]),
            ("path", self.path.is_some(), &[Sqlite]),
            ("volume", self.volume.is_some(), &[Volume]),
            ("stop", self.stop, &[Volume]),
            ("name", self.name.is_some(), &[Command]),
            ("command", !self.command.is_empty(), &[Command]),
            ("verify", !self.verify.is_empty(), &[Command]),
            ("restore", !self.restore.is_empty(), &[Command]),
        ];
        let kind = self.kind.as_str();
        if let Some((key, ..)) = keys.iter().find(|(_, set, kinds)| *set && !kinds.contains(&self.kind)) {
            return Some(format!("a backup of kind {kind} has no `{key}`"));
        }
        if let Some(mistake) = self.copy.as_ref().and_then(BackupCopy::mistake) {
            return Some(mistake);
        }
        let plain =
            |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if let Some(name) = self.name.as_ref().or(self.volume.as_ref()).filter(|name| !plain(name)) {
            return Some(format!("the name {name:?} has something else than letters, digits, `.`, `_` and `-`"));
        }
        let needed = |key: &str| match self.kind {
            Sqlite => key == "path",
            Volume => key == "volume",
            Command => ["name", "command"].contains(&key),
            _ => false,
        };
        let missing = keys.iter().find(|(key, set, _)| needed(key) && !set);
        missing.map(|(key, ..)| format!("a backup of kind {kind} needs `{key}`"))
    }
}

/// The sections, in the order of the file. A single table is one.
#[derive(Clone, Debug, Default)]
pub struct Backups(pub Vec<Backup>);

impl Backups {
    /// That every section says what its kind needs, and nothing else.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] with the place of the first mistake.
    pub fn check(&self, file: &Arc<str>, text: &str) -> Result<()> {
        for (index, backup) in self.0.iter().enumerate() {
            let Some(mistake) = backup.mistake() else { continue };
            let at = Position::of_byte(file, text, head(text, index).unwrap_or_default());
            let hint = "cm.toml(5) says which keys each kind has";
            return Err(source::failure("config.backup", &at, text, mistake).hint(hint));
        }
        Ok(())
    }
}

/// Where the section number `index` begins, in bytes.
fn head(text: &str, index: usize) -> Option<usize> {
    let lines = text.split_inclusive('\n').scan(0, |offset, line| {
        *offset += line.len();
        Some((*offset - line.len(), line.trim_start()))
    });
    let mut heads = lines.filter(|(_, line)| line.starts_with("[backup]") || line.starts_with("[[backup]]"));
    heads.nth(index).map(|(offset, _)| offset)
}

impl JsonSchema for Backups {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Backups".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<Backup>();
        schemars::json_schema!({ "description": "What is backed up before a deployment: one table, or one for each database.", "anyOf": [one, {"type": "array", "items": one}] })
    }
}

impl<'de> Deserialize<'de> for Backups {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Vec<Backup>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one table or several: [backup] or [[backup]]")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Self::Value, A::Error> {
                Backup::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(all)
            }
        }
        let all = deserializer.deserialize_any(OneOrMany)?;
        Ok(Backups(all.into_iter().map(Backup::with_defaults).collect()))
    }
}

#[cfg(test)]
mod tests {
    use crate::Config;

    #[test]
    fn one_table_or_several_are_sections_in_their_order() {
        let one = Config::parse("cm.toml", "[backup]\n").unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(one.backup.0[0].service_name(), "mongodb");
        let text = "[[backup]]\nkind = \"postgres\"\n[[backup]]\nservice = \"db\"\n\
                    [[backup]]\nkind = \"mysql\"\n[[backup]]\nkind = \"sqlite\"\npath = \"data/a.db\"\n";
        let several = Config::parse("cm.toml", text).unwrap_or_else(|failure| panic!("{failure}"));
        let services: Vec<_> = several.backup.0.iter().map(|one| one.service_name().to_owned()).collect();
        assert_eq!(services, ["postgres", "db", "mysql", ""]);
        assert_eq!(several.backup.0[3].label(), "a.db");
    }

    #[test]
    fn a_section_says_what_its_kind_needs_and_nothing_else() {
        for (text, wanted) in [
            ("[backup]\n\n[x]\n", "unknown key \"x\""),
            ("[[backup]]\n[[backup]]\nuser = \"x\"\n", "cm.toml:2:1: a backup of kind mongodb has no `user`"),
            ("[backup]\nkind = \"oracle\"\n", "unknown variant `oracle`"),
            ("[[backup]]\nkind = \"sqlite\"\n", "cm.toml:1:1: a backup of kind sqlite needs `path`"),
            ("[backup]\nkind = \"volume\"\n", "a backup of kind volume needs `volume`"),
            ("[backup]\nkind = \"volume\"\nvolume = \"a b\"\n", "something else than letters"),
            ("[backup]\nkind = \"command\"\nname = \"x\"\n", "a backup of kind command needs `command`"),
            ("[backup]\nkind = \"command\"\nname = \"../x\"\ncommand = [\"x\"]\n", "something else than letters"),
            ("[backup]\n[backup.copy]\ncommand = [\"cp\", \"-\", \"x\"]\n", "`command` of [backup.copy] has no {name}"),
            ("[backup]\n[backup.copy]\ncommand = []\n", "`command` of [backup.copy] has a program without a name"),
            (
                "[backup]\n[backup.copy]\ncommand = [[\"age\"], [\"tee\", \"{name}\"]]\nreed = []\n",
                "unknown key \"reed\"",
            ),
            ("[[backup]]\nkind = \"redis\"\ndatabase = \"x\"\n", "a backup of kind redis has no `database`"),
            ("[[backup]]\nkind = \"mysql\"\npath = \"x\"\n", "a backup of kind mysql has no `path`"),
            ("[[backup]]\nsrvice = \"x\"\n", "cm.toml:2:1: unknown key \"srvice\""),
            ("backup = 3\n", "one table or several"),
        ] {
            let failure = Config::parse("cm.toml", text).expect_err(text);
            assert!(failure.message.contains(wanted), "{text:?}: {}", failure.message);
        }
    }
}
