//! Which programs a backup needs, and where, so that somebody can look for them before anything is done.

use crate::backup_copy::{BackupCopy, OnCopyFailure, Pipeline};
use crate::backup_section::{Backup, BackupKind};

/// Where a program has to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ProgramPlace {
    /// On the host.
    Host,
    /// In the container of a service.
    Service(String),
    /// In the container of whoever uses a volume.
    Volume(String),
}

/// A program that a backup needs, or another that does as well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Program {
    /// Where.
    pub place: ProgramPlace,
    /// Its names, of which one is enough.
    pub any_of: Vec<String>,
    /// Whether a copy elsewhere needs it.
    pub for_copy: bool,
    /// Whether the run fails without it.
    pub is_fatal: bool,
}

impl Backup {
    /// The programs that this needs. What is named by a path below the checkout is not among them: the commit brings it.
    pub fn programs(&self) -> Vec<Program> {
        let place = match (self.kind, &self.volume, self.service_name()) {
            (BackupKind::Volume, Some(volume), _) => ProgramPlace::Volume(volume.clone()),
            (.., "") => ProgramPlace::Host,
            (.., service) => ProgramPlace::Service(service.to_owned()),
        };
        let needed = |any_of: Vec<String>| Program { place: place.clone(), any_of, for_copy: false, is_fatal: true };
        let fixed = self.kind.programs().iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let own = [&self.command, &self.verify, &self.restore].into_iter().filter_map(|words| words.first());
        let own = own.map(|name| vec![name.clone()]);
        let copied = self.copy.iter().flat_map(BackupCopy::programs);
        fixed.chain(own).map(needed).chain(copied).filter(|program| !is_of_the_checkout(program)).collect()
    }
}

/// Such as `./dump.sh` or `scripts/dump`.
fn is_of_the_checkout(program: &Program) -> bool {
    program.any_of.iter().any(|name| name.contains('/') && !name.starts_with('/'))
}

impl BackupCopy {
    fn programs(&self) -> Vec<Program> {
        let is_fatal = self.wait && self.on_failure == OnCopyFailure::Fail;
        let pipelines = [Some(&self.command), self.read.as_ref(), self.remove.as_ref()];
        let names = pipelines.into_iter().flatten().flat_map(Pipeline::first_words);
        let program =
            |name: &str| Program { place: ProgramPlace::Host, any_of: vec![name.to_owned()], for_copy: true, is_fatal };
        let mut programs: Vec<Program> = Vec::new();
        for one in names.map(program) {
            if !programs.contains(&one) {
                programs.push(one);
            }
        }
        programs
    }
}

impl BackupKind {
    /// What its jobs run, each by the names that it may have.
    fn programs(self) -> &'static [&'static [&'static str]] {
        match self {
            BackupKind::Mongodb | BackupKind::Command => &[],
            BackupKind::Postgres => &[&["psql"], &["pg_dump"], &["pg_restore"], &["awk"], &["mkfifo"]],
            BackupKind::Mysql => {
                &[&["mariadb", "mysql"], &["mariadb-dump", "mysqldump"], &["sed"], &["dd"], &["od"], &["mkfifo"]]
            }
            BackupKind::Sqlite => &[&["sqlite3", "python3"]],
            BackupKind::Redis => &[
                &["redis-cli", "valkey-cli"],
                &["redis-check-rdb", "valkey-check-rdb"],
                &["redis-server", "valkey-server"],
            ],
            BackupKind::Volume => &[&["tar"], &["find"], &["wc"]],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup_section::Backups;

    fn programs(text: &str) -> Vec<(ProgramPlace, String, bool)> {
        #[derive(serde::Deserialize)]
        struct File {
            backup: Backups,
        }
        let file: File = toml::from_str(text).expect("a section");
        let programs = file.backup.0.iter().flat_map(Backup::programs);
        programs.map(|one| (one.place, one.any_of.join("|"), one.is_fatal)).collect()
    }

    #[test]
    fn each_kind_and_each_copy_says_what_it_needs_and_where() {
        let of = |text: &str| programs(text).into_iter().map(|(_, names, _)| names).collect::<Vec<_>>();
        assert_eq!(of("[backup]\nkind = \"redis\"\n")[0], "redis-cli|valkey-cli");
        assert_eq!(programs("[backup]\nkind = \"mysql\"\n")[0].0, ProgramPlace::Service("mysql".to_owned()));
        assert_eq!(programs("[backup]\nkind = \"sqlite\"\npath = \"a.db\"\n")[0].0, ProgramPlace::Host);
        let volume = programs("[backup]\nkind = \"volume\"\nvolume = \"v\"\n");
        assert_eq!(volume[0].0, ProgramPlace::Volume("v".to_owned()));
        let command =
            "[backup]\nkind = \"command\"\nname = \"n\"\ncommand = [\"./dump\"]\nverify = [\"zcat\", \"-\"]\n";
        assert_eq!(of(command), ["zcat"]);
        let copy = "[backup]\n[backup.copy]\ncommand = [[\"age\", \"-r\", \"k\"], [\"tee\", \"{name}\"]]\nremove = [\"rm\", \"{name}\"]\n";
        let wanted = ["age", "tee", "rm"].map(|name| (ProgramPlace::Host, name.to_owned(), true));
        assert_eq!(programs(copy), wanted);
        assert!(programs(&format!("{copy}on_failure = \"warn\"\n")).iter().all(|(.., fatal)| !fatal));
        assert!(programs("[backup]\n").is_empty());
    }
}
