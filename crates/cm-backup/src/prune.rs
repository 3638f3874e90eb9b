//! Retention: old backups are removed, but never one that a release may still be taken
//! back with, none that nothing verifies, and never the newest. What cannot be looked at is
//! not known to be unneeded: then nothing is removed.

use crate::listed::Listed;
use crate::location::{self, Flags};
use crate::retention::Retention;
use crate::store::{Removal, Store};
use cm_archive::manifest::Manifest;
use cm_core::facts::CopyState;
use cm_core::{Exit, Failure, Io, Log, Result, Run, actor};
use cm_host::{Connect, Fenced, Host, Unlocked};
use cm_lease::{Guard, with_lock};
use cm_ledger::Ledger;
use cm_project::{Backup, BackupCopy, Project};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

impl Retention {
    /// This for all backups, or where it says nothing, what `cm.toml` says of each.
    #[must_use]
    pub fn or_of(self, project: Option<&Project>) -> Retentions {
        let sections = project.map(Project::backups).unwrap_or_default().iter();
        let sections = sections.map(|section| (Section::of(section), Retention::of(section), section.copy.clone()));
        Retentions { wanted: self, sections: sections.collect() }
    }
}

/// Which backups a section of `cm.toml` is about.
#[derive(Clone, Debug)]
struct Section {
    kind: &'static str,
    service: String,
    database: Option<String>,
}

impl Section {
    fn of(section: &Backup) -> Section {
        let (kind, service) = (section.kind.as_str(), section.service_name().to_owned());
        Section { kind, service, database: section.database_name().map(str::to_owned) }
    }

    /// What neither of them says is no difference.
    fn is_of(&self, manifest: &Manifest) -> bool {
        let same = |one: Option<&str>, other: Option<&str>| one.is_none() || other.is_none() || one == other;
        self.kind == manifest.kind
            && same(Some(&self.service), manifest.service.as_deref())
            && same(self.database.as_deref(), Some(&manifest.database))
    }
}

/// Which backups of which database stay.
#[derive(Clone, Debug)]
pub struct Retentions {
    wanted: Retention,
    sections: Vec<(Section, Retention, Option<BackupCopy>)>,
}

impl Retentions {
    /// Whether anything is to be removed at all.
    pub fn is_set(&self) -> bool {
        self.wanted.is_set() || self.sections.iter().any(|(_, retention, _)| retention.is_set())
    }

    /// What is said of backups such as that one; of most nothing, where several sections could be meant.
    fn of(&self, manifest: &Manifest) -> Retention {
        if self.wanted.is_set() {
            return self.wanted;
        }
        self.section(manifest).map_or_else(Retention::default, |(_, retention, _)| *retention)
    }

    /// The only section that could be about backups such as that one.
    fn section(&self, manifest: &Manifest) -> Option<&(Section, Retention, Option<BackupCopy>)> {
        let mut fitting = self.sections.iter().filter(|(section, ..)| section.is_of(manifest));
        fitting.next().filter(|_| fitting.next().is_none())
    }

    /// How the copy of a backup is removed, where anything may be left of one.
    fn copy_of(&self, file: &Listed) -> Option<&BackupCopy> {
        let may_be_there = file.copy.as_ref().is_some_and(|copy| copy.state != CopyState::RUNNING);
        let copy = self.section(file.manifest.as_ref()?).filter(|_| may_be_there)?.2.as_ref();
        copy.filter(|copy| copy.remove.is_some())
    }
}

/// `cm-backup prune [DIRECTORY]`.
///
/// # Errors
/// [`Exit::Usage`] if nothing says what to keep; [`Exit::Unreachable`], [`Exit::LockHeld`],
/// [`Exit::LockLost`]; [`Exit::Backup`] if it is not known what the releases need.
pub async fn run(flags: &Flags, wanted: Retention, directory: Option<&Path>, io: &Io) -> Result<Exit> {
    let project = location::project_if_any(flags, directory.is_some())?;
    let retentions = wanted.or_of(project.as_ref());
    if !retentions.is_set() {
        return Err(Failure::new(Exit::Usage, "usage.keep", "nothing says which backups to keep")
            .hint("--keep N, --keep-days N, --keep-daily N and so on, or `keep` under [backup] in cm.toml"));
    }
    let stores = match directory {
        Some(directory) => vec![location::local_store(flags, directory, &io.log).await?],
        None => location::configured_stores(flags, &io.log).await?,
    };
    let mut doc = cm_core::Document::start("cm-backup", &actor(), flags.common.dry_run);
    if let Some(project) = &project {
        doc.set_target(&project.name(), None, None);
    }
    let run = Run::new(doc, io.log.clone(), true);
    for store in &stores {
        let removed = prune(project.as_ref(), store, (&retentions, &BTreeSet::new()), &run).await?;
        if !run.dry_run() {
            let removed = cm_core::plural(removed.len() as u64, "old backup");
            io.log.success(format!("{removed} removed from {}", store.display("")));
        }
    }
    Ok(Exit::Done)
}

/// Removes what `retentions` do not keep; the names. What was `made` just now stays, whatever the
/// others say of their age: a clock may have been wrong, now or then.
///
/// # Errors
/// As [`run`].
pub async fn prune(
    project: Option<&Project>,
    store: &Store,
    (retentions, made): (&Retentions, &BTreeSet<String>),
    run: &Run,
) -> Result<Vec<String>> {
    let hosts = match project {
        Some(project) => project.connect_to_all(&run.log).await?,
        None => Vec::new(),
    };
    let mut needed = needed(project, &hosts).await?;
    needed.extend(made.iter().cloned());
    let files = store.list().await?.unwrap_or_default();
    let old = choose(&files, retentions, &needed, Timestamp::now());
    if run.dry_run() {
        old.iter().for_each(|name| run.log.info(format!("would remove {}", store.display(name))));
        return Ok(Vec::new());
    }
    let has_copy = |name: &str| files.iter().any(|file| file.name == name && retentions.copy_of(file).is_some());
    let old: Vec<_> = old.into_iter().map(|name| (has_copy(&name), name)).collect();
    let owner = project.zip(hosts.iter().find(|host| host.name() == store.host().name()));
    let removed = if old.is_empty() { Vec::new() } else { remove_locked(owner, store, &old, run).await? };
    remove_copies(store, retentions, &run.log).await?;
    Ok(removed)
}

/// Removes the copies of backups that are gone. Where one cannot be, what was noted of it stays for the next time.
async fn remove_copies(store: &Store, retentions: &Retentions, log: &Log) -> Result<()> {
    if !retentions.sections.iter().any(|(.., copy)| copy.is_some()) {
        return Ok(());
    }
    for gone in store.list_gone().await? {
        let Some(copy) = retentions.copy_of(&gone) else { continue };
        let is_copy = gone.copy.as_ref().is_some_and(CopyState::is_done);
        match store.remove_copy(&gone.name, copy).await {
            Err(failure) if is_copy => {
                let name = store.display(&gone.name);
                log.warn(format!("the copy of {name} stays until the next time: {failure}"));
            }
            _ => store.forget(&gone.name).await?,
        }
    }
    Ok(())
}

/// Removes them, under the lock of the host whose files go.
async fn remove_locked(
    owner: Option<(&Project, &Host)>,
    store: &Store,
    old: &[(bool, String)],
    run: &Run,
) -> Result<Vec<String>> {
    let Some((project, host)) = owner else { return remove(store, old, None, &run.log).await };
    let remove = async |guard: &Guard| remove(store, old, Some((guard, host)), &run.log).await;
    with_lock(project, std::slice::from_ref(host), run, remove).await
}

/// The names of the backups that the ledgers of the project's hosts need.
async fn needed(project: Option<&Project>, hosts: &[Host]) -> Result<BTreeSet<String>> {
    let Some(project) = project else { return Ok(BTreeSet::new()) };
    let keep = usize::try_from(project.prune().keep).unwrap_or(usize::MAX).max(1);
    let mut names = BTreeSet::new();
    for host in hosts {
        let ledger = Ledger::read(host, &project.name()).await?;
        if ledger.unreadable > 0 {
            let message = format!("the ledger on {} has a line that cannot be read", host.name());
            return Err(Failure::new(Exit::Backup, "prune.ledger", message)
                .cause("so it is not known which backups its releases need; nothing was removed")
                .hint(format!(
                    "look at {}/ledger.jsonl there, and remove the broken line",
                    cm_ledger::state_dir(&project.name())
                )));
        }
        let paths = ledger.backups_to_keep(keep);
        names.extend(paths.iter().filter_map(|path| path.rsplit('/').next().map(str::to_owned)));
    }
    Ok(names)
}

/// The backups to remove, oldest first. Only what has a manifest that fits is looked at.
fn choose(files: &[Listed], retentions: &Retentions, needed: &BTreeSet<String>, now: Timestamp) -> Vec<String> {
    let mut groups: BTreeMap<_, (Retention, Vec<(Timestamp, &str)>)> = BTreeMap::new();
    for file in files {
        let Some(manifest) = file.manifest.as_ref().filter(|manifest| manifest.bytes == file.bytes) else { continue };
        let Ok(at) = manifest.started_at.parse::<Timestamp>() else { continue };
        let group = groups.entry(group(manifest)).or_insert_with(|| (retentions.of(manifest), Vec::new()));
        group.1.push((at, &file.name));
    }
    let mut old = Vec::new();
    for (retention, mut group) in groups.into_values().filter(|(retention, _)| retention.is_set()) {
        group.sort_by(|a, b| b.cmp(a));
        let times: Vec<_> = group.iter().map(|(at, _)| *at).collect();
        let kept = retention.keeps(&times, now);
        let goes = group.iter().zip(kept).filter(|((_, name), kept)| !kept && !needed.contains(*name));
        old.extend(goes.map(|((at, name), _)| (*at, (*name).to_owned())));
    }
    old.sort();
    old.into_iter().map(|(_, name)| name).collect()
}

/// Backups of the same thing: each database of each project has its own newest.
fn group(manifest: &Manifest) -> [String; 4] {
    let (project, service) = (manifest.deploy.project.clone(), manifest.service.clone());
    [project.unwrap_or_default(), manifest.kind.clone(), service.unwrap_or_default(), manifest.database.clone()]
}

/// Those with a copy elsewhere, or without.
async fn remove(
    store: &Store,
    old: &[(bool, String)],
    lock: Option<(&Guard, &Host)>,
    log: &Log,
) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for (has_copy, name) in old {
        let host = match lock {
            Some((guard, host)) => guard.fenced(host)?,
            // Of no project: nobody else has a name for it, and no lock.
            None => Fenced::unlocked(store.host(), Unlocked::OwnFiles),
        };
        match store.remove(&host, name, *has_copy).await? {
            Removal::Removed => {
                log.info(format!("removed {}", store.display(name)));
                removed.push(name.clone());
            }
            Removal::InUse => log.warn(format!("{} is being read and stays", store.display(name))),
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Backups by name; one a day, the newest a day old, of a database that its name begins with.
    fn listing(names: &[&str]) -> Vec<Listed> {
        let file = |(place, name): (usize, &&str)| {
            let day = 20 - i64::try_from(place).expect("few");
            let manifest = serde_json::json!({
                "schema": "cm.backup/1", "file": name, "format": "", "compression": "gzip", "bytes": 9, "sha256": "",
                "database": &name[..1], "server": {"version": "", "topology": ""}, "consistency": "none",
                "documents": 0, "data_bytes": 0, "started_at": format!("2026-05-{day:02}T00:00:00Z"), "ended_at": "",
                "verified_at": "", "deploy": {"run": null, "project": null, "commit": null, "actor": null},
                "tool": "", "namespaces": [],
            });
            let manifest = Manifest::parse(manifest.to_string().as_bytes()).expect("a manifest");
            Listed { name: (*name).to_owned(), bytes: 9, manifest: Some(manifest), copy: None }
        };
        names.iter().enumerate().map(file).collect()
    }

    fn chosen(files: &[Listed], keep: Option<u32>, keep_days: Option<u32>, needed: &[&str]) -> Vec<String> {
        let needed = needed.iter().map(|name| (*name).to_owned()).collect();
        let retentions =
            Retentions { wanted: Retention { keep, keep_days, ..Retention::default() }, sections: Vec::new() };
        choose(files, &retentions, &needed, "2026-05-21T00:00:00Z".parse().expect("a time"))
    }

    #[test]
    fn the_oldest_go_and_what_anything_keeps_stays() {
        let files = listing(&["a1", "b1", "a2", "a3", "a4", "b2"]);
        let cases: [(_, _, &[&str], &[&str]); 7] = [
            (Some(2), None, &[], &["a4", "a3"]),
            (Some(0), None, &[], &["b2", "a4", "a3", "a2"]),
            (Some(1), None, &["a4", "b2"], &["a3", "a2"]),
            (None, Some(4), &[], &["b2", "a4", "a3"]),
            (Some(3), Some(4), &[], &["a4"]),
            (None, Some(0), &[], &["b2", "a4", "a3", "a2"]),
            (None, None, &[], &[]),
        ];
        for (keep, keep_days, needed, want) in cases {
            assert_eq!(chosen(&files, keep, keep_days, needed), want, "{keep:?} {keep_days:?} {needed:?}");
        }
    }

    #[test]
    fn what_no_manifest_describes_is_not_ours_to_remove() {
        let mut files = listing(&["a1", "a2", "a3"]);
        files[1].manifest = None;
        files[2].bytes = 8;
        assert_eq!(chosen(&files, Some(1), None, &[]), Vec::<String>::new());
    }
}
