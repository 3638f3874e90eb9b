//! A host before anything of it is changed: its checkout, its containers, its ledger, and what the move to the
//! release would mean. [`Observed::look`] only reads; [`Observed::build`] is the first change.

use crate::basis::basis;
use crate::looked::Looked;
use crate::migrations;
use crate::site::Site;
use cm_checkout::Found;
use cm_core::facts::Basis;
use cm_core::{
    CommitId, Exit, Failure, HostName, ImageRef, Log, Result, Service, ServiceName, Undo, UndoRelease, UndoService,
};
use cm_engine::Container;
use cm_host::Host;
use cm_ledger::Ledger;

/// What a host is like.
pub struct Observed<'a> {
    /// The host and the release.
    pub site: Site<'a>,
    /// Where the checkout is; empty if nothing was ever checked out.
    pub head: String,
    /// What the checkout is made from, if there is none.
    pub origin: Option<String>,
    /// The project's directory there, absolute and without symbolic links.
    pub directory: String,
    /// The project's containers.
    pub before: Vec<Container>,
    /// Compose's name of the project.
    pub compose_project: String,
    /// The files that the release changes since the last good one; `None` if nobody knows.
    pub changed: Option<Vec<String>>,
    /// Those of them that are irreversible migrations.
    pub irreversible: Vec<String>,
    /// What the host runs and has run.
    pub ledger: Ledger,
    /// What is free before the build, in bytes.
    pub free: Option<u64>,
}

impl<'a> Observed<'a> {
    /// What the host's answers mean for the release, those given `ahead` or asked for now: what the move would
    /// destroy, what runs.
    ///
    /// # Errors
    /// [`Exit::Build`] if files changed by hand are in the way; what [`cm_checkout::Checkout::look`] says.
    pub async fn look(site: Site<'a>, ahead: Option<Looked>, log: &Log) -> Result<Observed<'a>> {
        let Looked { found, ledger, before, compose_project, free } = match ahead {
            Some(looked) => looked,
            None => Looked::ask(&site, log).await?,
        };
        let (project, host, release) = (site.project, site.host, site.release);
        let directory = project.compose_directory();
        let below = |place: &String| cm_ledger::directory_below(place, &directory);
        let (state, directories, origin) = match found {
            Found::Checkout(state) => {
                let here = (&*site.plan.checkout, &*directory);
                not_of_another(host, here, &state.places, &before, log).await?;
                let directories = state.places.iter().map(below).collect();
                (state, directories, None)
            }
            Found::Nothing(path) => {
                not_elsewhere(host, &path, &directory, &before)?;
                (cm_checkout::State::default(), vec![below(&path)], Some(cm_git::origin(project)?))
            }
        };
        cm_ledger::not_shared(host, &release.project, &ledger, &directories).await?;
        let directory = directories.last().cloned().unwrap_or_default();
        warn_of_state(host, &state, log);
        let checkout = site.checkout(host);
        if !site.discard {
            checkout.nothing_lost(&state)?;
        }
        let changed = migrations::changed(project, &checkout, &ledger, &state.head, release.commit()).await?;
        let irreversible = migrations::of(project, changed.as_deref());
        if let Some(first) = irreversible.first() {
            log.warn(format!(
                "this release contains irreversible migrations ({first}): no rollback goes across it unconfirmed"
            ));
        }
        log.debug(format!(
            "on {}: at {}, {} containers, {} paths to change",
            host.name(),
            state.head,
            before.len(),
            state.changes
        ));
        let head = state.head;
        Ok(Observed { site, head, origin, directory, before, compose_project, changed, irreversible, ledger, free })
    }

    /// Refuses a plan of more services than a ledger can tell of.
    ///
    /// # Errors
    /// As [`cm_ledger::Record::check_room`].
    pub fn can_be_recorded(&self) -> Result<()> {
        let site = &self.site;
        site.release.planned(site.project, &site.plan, (&self.ledger, &self.before)).check_room(site.host.name())
    }

    /// What a plan for this host rests on, as it is now.
    ///
    /// # Errors
    /// [`Exit::Unreachable`], or a ledger that cannot be read.
    pub async fn basis(&self) -> Result<Basis> {
        let ledger = Ledger::read(self.site.host, &self.site.release.project).await?;
        Ok(basis(&self.site.plan, &self.head, &self.before, &ledger))
    }

    /// Whether the remote branch is no longer at the commit, in words.
    ///
    /// # Errors
    /// As [`cm_checkout::Checkout::remote_tip`].
    pub async fn branch_moved(&self) -> Result<Option<String>> {
        let release = self.site.release;
        let (branch, commit) = (release.branch(), release.commit());
        if branch.is_empty() {
            return Ok(None);
        }
        let tip = self.site.checkout(self.site.host).remote_tip(branch, &cm_git::origin(self.site.project)).await?;
        let words = || format!("{branch} was at {} and is at {}", release.short(), tip.get(..12).unwrap_or(&tip));
        Ok((tip != commit).then(words))
    }

    /// What takes this host back, complete in itself: where the checkout was and
    /// which image each service ran.
    ///
    /// # Errors
    /// [`Exit::Bug`] for a name that no program could read again.
    pub fn undo(&self, tool: &str) -> Result<Undo> {
        let unreadable =
            || Failure::bug(format!("{}: what rolls it back cannot be written down", self.site.host.name()));
        let services = self.site.plan.services.iter();
        let service = |service: &Service| Some((ServiceName::new(&service.name)?, self.undo_of(service)));
        Ok(Undo::Release(UndoRelease {
            host: HostName::new(self.site.host.name()).ok_or_else(unreadable)?,
            checkout: self.site.plan.checkout.clone(),
            compose_project: self.compose_project.clone(),
            from: CommitId::new(&self.head),
            to: CommitId::new(self.site.release.commit()),
            services: services.map(service).collect::<Option<_>>().ok_or_else(unreadable)?,
            tool: tool.to_owned(),
        }))
    }

    fn undo_of(&self, service: &Service) -> UndoService {
        let container = self.before.iter().find(|container| container.service == service.name);
        UndoService {
            action: Some(service.action),
            image: container.and_then(|container| ImageRef::new(&container.image)),
            image_id: container.and_then(|container| ImageRef::new(&container.image_id)),
        }
    }
}

/// Says which files the host keeps its own of, and which modes it does not.
fn warn_of_state(host: &Host, state: &cm_checkout::State, log: &Log) {
    for file in &state.upstream {
        log.warn(format!(
            "on {}: the repository's {file} differs from the commit before; the host keeps its own",
            host.name()
        ));
    }
    if !state.modes.is_empty() {
        let files = state.modes.join(", ");
        log.warn(format!("on {}: the mode of {files} was changed by hand and becomes the commit's", host.name()));
    }
}

/// The project's containers must not come from another checkout that is still there: each would take the other's for
/// its own. Where that one is gone, people are told.
pub async fn not_of_another(
    host: &Host,
    here: (&str, &str),
    places: &[String],
    containers: &[Container],
    log: &Log,
) -> Result<()> {
    let Some(stray) = cm_engine::stray(host, here, places, containers).await? else { return Ok(()) };
    if stray.is_there {
        return Err(cm_engine::shared_project(host.name(), &stray, here));
    }
    log.warn(format!("on {}: {}", host.name(), cm_engine::stray_words(&stray, here)));
    Ok(())
}

/// Where there is no checkout, the project's containers must not be those of another one:
/// made again from a new directory, they would lose sight of the data alongside the old one.
pub fn not_elsewhere(host: &Host, path: &str, prefix: &str, containers: &[Container]) -> Result<()> {
    let Some((name, elsewhere)) = cm_engine::elsewhere(path, prefix, containers) else { return Ok(()) };
    let message = format!("on {}: there is no checkout at {path}, and {name} runs from {elsewhere}", host.name());
    Err(Failure::new(Exit::Config, "checkout.elsewhere", message).hint(format!(
        "nothing was changed; say so in cm.toml: checkout = \"{elsewhere}\"; or remove those containers"
    )))
}
