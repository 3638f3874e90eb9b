//! What of `cm.toml` an engine does not do: refused when the file is read, and not when half of a deployment is done.

use crate::backup_section::{Backup, BackupKind};
use crate::config::{Config, OnChange};
use crate::engine::Engine;
use crate::project::Project;
use cm_core::{Exit, Failure, Result};

impl Config {
    /// # Errors
    /// [`Exit::Config`] `config.engine` with the first key that the engine does not do.
    pub(crate) fn check_engine(&self) -> Result<()> {
        let refused = |what: String, hint: &str| {
            Err(Failure::new(Exit::Config, "config.engine", format!("{}: {what}", self.file)).hint(hint))
        };
        match (self.engine, &self.swarm) {
            (Engine::Compose, None) => Ok(()),
            (Engine::Compose, Some(_)) => refused(
                "[swarm] says nothing without engine = \"swarm\"".to_owned(),
                "add the key, or remove the section",
            ),
            (Engine::Swarm, None) => refused(
                "engine = \"swarm\" needs a registry".to_owned(),
                "add [swarm] with registry = \"HOST:PORT\", one that every node can pull from",
            ),
            (Engine::Swarm, Some(_)) => match self.not_on_a_swarm() {
                Some((key, hint)) => refused(format!("{key} is not possible with engine = \"swarm\""), hint),
                None => Ok(()),
            },
        }
    }

    /// The first key that is not for a Swarm, and what to do.
    fn not_on_a_swarm(&self) -> Option<(String, &'static str)> {
        if self.hosts.len() > 1 {
            return Some((
                "more than one [hosts.NAME]".to_owned(),
                "name one manager of the Swarm: it speaks for all nodes",
            ));
        }
        let inside = [BackupKind::Postgres, BackupKind::Mysql, BackupKind::Redis];
        let outside = |backup: &&Backup| !inside.contains(&backup.kind) || backup.service_name().is_empty();
        if let Some(backup) = self.backup.0.iter().find(outside) {
            let hint = "of a Swarm, databases are backed up that have a dump program in their container: postgres, mysql, redis; \
                back this one up by its own means before the deployment";
            return Some((format!("[backup] of kind {}", backup.kind.as_str()), hint));
        }
        if self.canary.access_log.is_some() {
            return Some(("canary.access_log".to_owned(), "the log is on one node: remove the key"));
        }
        self.services.iter().find_map(|(name, service)| {
            let moves = matches!(service.on_change, Some(OnChange::Reload | OnChange::Restart));
            let keys = [
                (moves, "on_change", "a changed file is a new config, and replaces the tasks: remove the key"),
                (
                    service.update.is_some(),
                    "update",
                    "Swarm has `deploy.update_config` in the compose file: remove the key",
                ),
                (service.canary.is_some(), "canary", "Swarm starts the new task itself: compare by [canary] url"),
                (
                    service.drain.is_some(),
                    "drain",
                    "Swarm stops old tasks itself, within `stop_grace_period`: remove the key",
                ),
            ];
            let (_, key, hint) = keys.into_iter().find(|(is_there, ..)| *is_there)?;
            Some((format!("[services.{}] {key}", name.as_ref()), hint))
        })
    }
}

impl Project {
    /// Whether a rollback may restore the data, too: it has to stop first what writes to the database.
    ///
    /// # Errors
    /// [`Exit::Config`] `config.engine` where Swarm would start it again.
    pub fn check_restore_in_rollback(&self) -> Result<()> {
        check_restore(self.engine())
    }
}

fn check_restore(engine: Engine) -> Result<()> {
    match engine {
        Engine::Compose => Ok(()),
        Engine::Swarm => {
            let message = "--restore-db is not possible with engine = \"swarm\": the services would write while the data is restored";
            let hint = "docker service scale SERVICE=0 for those that write, cm-backup restore, then cm-rollback without --restore-db";
            Err(Failure::new(Exit::Config, "config.engine", message).hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWARM: &str = "engine = \"swarm\"\n[swarm]\nregistry = \"r:5000\"\n[hosts.a]\naddress = \"a\"\n";

    fn code(text: &str) -> Option<String> {
        Config::parse("cm.toml", text).err().map(|failure| format!("{} {}", failure.code, failure.message))
    }

    #[test]
    fn what_a_swarm_does_not_do_is_refused_when_the_file_is_read() {
        assert_eq!(code(SWARM), None);
        assert_eq!(Config::parse("cm.toml", SWARM).expect("valid").engine, Engine::Swarm);
        for (more, key) in [
            ("[hosts.b]\naddress = \"b\"", "more than one [hosts.NAME]"),
            (
                "[backup]\nservice = \"db\"\nuri_env = \"U\"\ndatabase = \"d\"\ndirectory = \"/b\"",
                "[backup] of kind mongodb",
            ),
            ("[services.web]\ncanary = \"http://web:8080/health\"", "[services.web] canary"),
            ("[services.web]\nupdate = \"rolling\"", "[services.web] update"),
            ("[services.web]\non_change = \"reload\"", "[services.web] on_change"),
            ("[canary]\naccess_log = \"caddy\"", "canary.access_log"),
        ] {
            let said = code(&format!("{SWARM}{more}\n")).expect(key);
            assert_eq!(said, format!("config.engine cm.toml: {key} is not possible with engine = \"swarm\""));
        }
    }

    #[test]
    fn no_rollback_on_a_swarm_restores_data_under_those_who_write_it() {
        assert!(check_restore(Engine::Compose).is_ok());
        let refused = check_restore(Engine::Swarm).expect_err("refused");
        assert_eq!((refused.exit, refused.code.as_str()), (Exit::Config, "config.engine"));
    }

    #[test]
    fn a_swarm_needs_a_registry_and_compose_needs_none() {
        assert!(code("engine = \"swarm\"\n").is_some_and(|said| said.contains("needs a registry")));
        assert!(code("[swarm]\nregistry = \"r\"\n").is_some_and(|said| said.contains("says nothing")));
        assert!(code("engine = \"nomad\"\n").is_some_and(|said| said.contains("expected `compose` or `swarm`")));
        assert_eq!(code("engine = \"compose\"\n"), None);
    }
}
