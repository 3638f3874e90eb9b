//! The database of an order, found: its kind, and the container that its programs run in, or its host.

use super::order::DumpOrder;
use crate::source::Deployed;
use cm_core::{Exit, Failure, Log, Result};
use cm_dump::{Kind, Place, Said, Spec, Survey};
use cm_host::{Fenced, Host};
use secrecy::SecretString;

/// A database and where it is.
#[derive(Debug)]
pub struct Source {
    /// What it is.
    pub kind: Box<dyn Kind>,
    /// Where its programs run.
    pub place: Place,
    /// For people: `service postgres on platform`, or the host.
    pub display: String,
}

impl Source {
    /// Finds it; `None` if it was never deployed.
    ///
    /// # Errors
    /// [`Exit::Backup`] if it is there and does not run, [`Exit::Config`] for a password that is not.
    pub async fn open(order: &DumpOrder, host: &Host) -> Result<Option<Source>> {
        let deployed = Deployed {
            host,
            project: &order.compose_project,
            service: &order.spec.service,
            volumes: &order.volumes,
            env_file: &host.path(&order.env_file),
        };
        let mut spec = Spec { project: order.compose_project.clone(), ..order.spec.clone() };
        spec.stopped = host.path(&spec.stopped);
        let (host, container, display) = match spec.service.is_empty() {
            true => {
                spec.path = spec.path.map(|path| host.path(&path));
                (host.clone(), None, host.name().to_owned())
            }
            false => match deployed.container().await? {
                Some(container) => {
                    let inside = cm_engine::sight(host).inside(host, &container).await?;
                    (inside.host, Some(inside.id), format!("service {} on {}", spec.service, host.name()))
                }
                None => return Ok(None),
            },
        };
        let password = match &order.password_env {
            Some(name) => deployed.variable(name, "password", "password_env").await?,
            None => SecretString::default(),
        };
        let place = Place { host, container, password };
        Ok(Some(Source { kind: spec.kind(order.compression)?, place, display }))
    }

    /// Puts right what a run that has died may have left, and says what that was.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the host said; [`Exit::LockLost`].
    pub async fn recover(&self, fenced: Option<&Fenced>, log: &Log) -> Result<()> {
        let Some(job) = self.kind.recover() else { return Ok(()) };
        let said = self.place.ask(fenced, &job, "backup.recover").await?;
        let said = Said::parse(&said).map_err(|why| {
            Failure::new(Exit::Backup, "backup.recover", format!("{} does not answer as it should", self.display))
                .cause(why)
        })?;
        said.notes.iter().for_each(|note| log.warn(note));
        Ok(())
    }

    /// A failure of a job that leaves nothing but files: what else it may have left is put right. Whose lock is lost
    /// has not begun the job, and puts nothing right.
    pub async fn recovered(&self, failure: Failure, fenced: Option<&Fenced>, log: &Log) -> Failure {
        if failure.exit == Exit::LockLost {
            return failure;
        }
        match self.recover(fenced, log).await {
            Ok(()) => failure,
            Err(why) => failure.cause(format!("whether everybody who was stopped runs again is not known: {why}")),
        }
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// [`Exit::Backup`] if it does not answer.
    pub async fn survey(&self) -> Result<Survey> {
        let said = self.place.ask(None, &self.kind.look(), "backup.database-unreachable").await.map_err(|failure| {
            failure.hint("is the database running, and are user, password and database right? `user`, `password_env` and `database` under [backup] in cm.toml name others")
        })?;
        self.kind.surveyed(&said).map_err(|error| {
            Failure::new(Exit::Backup, "backup.answer", format!("{} does not answer as its kind does", self.display))
                .cause(error)
        })
    }
}
