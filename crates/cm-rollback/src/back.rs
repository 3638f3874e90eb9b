//! One host is rolled back, in two phases: [`Back`], in which its files and images come back and nothing is switched
//! yet, and [`Ready`], which switches. A failure leaves the host as it was in the first, and in the second is told
//! with what runs.

use crate::ready::Ready;
use crate::record::Words;
use crate::runs::Runs;
use crate::site::Site;
use crate::target::HostTarget;
use crate::{down, env, rebuild, runs};
use cm_checkout::Checkout;
use cm_core::facts::RolledBackHost;
use cm_core::{Exit, Failure, Result};
use cm_engine::Compose;
use cm_ledger::{JobState, Ledger, Record, state_dir};
use cm_rollout::in_the_way;
use std::collections::BTreeMap;

/// How it ended on a host.
pub struct Outcome {
    /// Why it did not get there, if it did not: else it runs what it ran, and the gate saw it healthy.
    pub failure: Option<Failure>,
    /// What runs there now; only of a rollback that failed.
    pub runs: Runs,
}

impl Outcome {
    /// For the document.
    pub fn facts(&self, target: &HostTarget) -> RolledBackHost {
        let outcome = self.failure.as_ref().map_or_else(|| "healthy".to_owned(), |failure| failure.message.clone());
        RolledBackHost { outcome: Some(outcome), runs: self.runs.facts(), ..target.facts() }
    }
}

/// A host that is to be rolled back. Nothing of it is switched.
pub struct Back<'a>(pub Site<'a>);

/// The jobs whose effect on the data is undone.
type Undone = BTreeMap<String, JobState>;

impl<'a> Back<'a> {
    /// Rolls the host back and records how it ended.
    pub async fn carry_out(&self, target: &mut HostTarget) -> Outcome {
        if let Err(failure) = self.has_room(target) {
            return self.as_it_was(target, &Undone::new(), failure).await;
        }
        let undone = match self.undo_jobs(target).await {
            Ok(undone) => undone,
            Err(failure) => return self.as_it_was(target, &Undone::new(), failure).await,
        };
        let ready = match self.prepare(target, &undone).await {
            Ok(ready) => ready,
            Err(failure) => return self.as_it_was(target, &undone, failure).await,
        };
        let failure = ready.switch(target).await.err();
        let runs = match &failure {
            Some(_) => runs::look(self.0.project, self.0.host, target, &self.0.run.log).await,
            None => Runs::default(),
        };
        let recorded = match &failure {
            Some(lost) if lost.exit == Exit::LockLost => Ok(()),
            _ => self.append(self.words(target, &undone).outcome(failure.as_ref(), &runs)).await,
        };
        Outcome { failure: failure.or(recorded.err()), runs }
    }

    /// What a person asks for may be more than any release was. A release that failed had room for this when it began.
    fn has_room(&self, target: &HostTarget) -> Result<()> {
        if self.0.args.on_failure {
            return Ok(());
        }
        self.words(target, &Undone::new()).pending().check_room(self.0.host.name())
    }

    /// Nothing was switched, for this reason: the checkout and the ledger say so.
    async fn as_it_was(&self, target: &HostTarget, undone: &Undone, failure: Failure) -> Outcome {
        self.leave_as_it_was(target, &failure).await;
        let runs = runs::look(self.0.project, self.0.host, target, &self.0.run.log).await;
        // Who holds the lock now writes the ledger now; and the failure says more than a record that fails, too.
        if failure.exit != Exit::LockLost {
            let _unrecorded = self.append(self.words(target, undone).nothing_switched(&failure)).await;
        }
        Outcome { failure: Some(failure), runs }
    }

    fn words<'b>(&'b self, target: &'b HostTarget, undone: &'b Undone) -> Words<'b> {
        Words { ledger: self.0.ledger, target, doc: &self.0.run.doc, undone }
    }

    async fn append(&self, records: impl IntoIterator<Item = Record>) -> Result<()> {
        for record in records {
            Ledger::append(&self.0.fenced()?, &self.0.project.name(), &record).await?;
        }
        Ok(())
    }

    fn checkout(&self, target: &HostTarget) -> Checkout<'_> {
        Checkout::new(self.0.host, &target.checkout, self.0.project.remote(), &self.0.project.protected())
    }

    fn snapshots(&self) -> String {
        format!("{}/snapshots", state_dir(&self.0.project.name()))
    }

    fn snapshot(&self) -> String {
        format!("{}-back", self.0.run.doc.run_id())
    }

    async fn undo_jobs(&self, target: &HostTarget) -> Result<Undone> {
        match target.backups.as_slice() {
            // The data comes back as a whole.
            [_, ..] => Ok(down::undone(&down::left(self.0.ledger, target))),
            [] => down::run(self.0.project, self.0.host, target, self.0.ledger, self.0.guard, self.0.run).await,
        }
    }

    /// Brings back the files and the names of images; the ledger says last that services are about to be switched.
    async fn prepare(&'a self, target: &mut HostTarget, undone: &Undone) -> Result<Ready<'a>> {
        self.move_checkout(target).await?;
        for state in target.choice.services.values().flatten().filter(|state| !state.image_id.is_empty()) {
            cm_engine::tag(&self.0.fenced()?, &state.image_id, &state.image, Exit::RollbackFailed).await?;
        }
        let compose = Compose::of(self.0.project, self.0.host, &target.checkout);
        let ready = Ready { config: compose.config().await?, compose, site: &self.0 };
        let now = self.0.containers(&ready.config.project).await?;
        for name in in_the_way(&ready.config, &ready.changed(target).0, &now) {
            let host = self.0.host.name();
            self.0.run.log.warn(format!("on {host}: {name} came later and is in the way of what comes back: it goes"));
            target.choice.services.insert(name, None);
        }
        // Written first: whatever ends this program, nobody takes what was left for what runs.
        let pending = self.words(target, undone).pending();
        self.append([Record { lock: self.0.guard.nonce(), ..pending }]).await?;
        Ok(ready)
    }

    /// The files of the release, around the host's own.
    async fn move_checkout(&self, target: &mut HostTarget) -> Result<()> {
        let (snapshots, snapshot) = (self.snapshots(), self.snapshot());
        let checkout = self.checkout(target);
        self.keep_changes(&checkout, target).await?;
        if !target.gone.is_empty() {
            rebuild::rebuild(self.0.project, &self.0.fenced()?, &checkout, target, &snapshots, self.0.run).await?;
        }
        checkout.move_to(&self.0.fenced()?, &target.choice.commit, &snapshots, &snapshot).await?;
        if let (true, Some(release)) = (self.0.args.with_env, &target.choice.release) {
            env::restore(self.0.project, &self.0.fenced()?, &target.checkout, release, &self.0.run.log).await?;
        }
        Ok(())
    }

    /// Nothing was switched: the checkout should not say otherwise.
    async fn leave_as_it_was(&self, target: &HostTarget, failure: &Failure) {
        if matches!(failure.exit, Exit::LockLost | Exit::Unreachable) || target.head.is_empty() {
            return;
        }
        let moved = async {
            let fenced = self.0.fenced()?;
            self.checkout(target).move_to(&fenced, &target.head, &self.snapshots(), &self.snapshot()).await
        };
        if let Err(also) = moved.await {
            self.0.run.log.warn(format!("the checkout was left partway: {also}"));
        }
    }

    /// Going back is not stopped by a file that somebody changed by hand, and does not lose it.
    async fn keep_changes(&self, checkout: &Checkout<'_>, target: &HostTarget) -> Result<()> {
        if target.endangered.is_empty() {
            return Ok(());
        }
        let (snapshots, snapshot) = (self.snapshots(), self.snapshot());
        checkout.keep(&self.0.fenced()?, &target.endangered, &snapshots, &snapshot).await?;
        let (first, more) = (&target.endangered[0], target.endangered.len() - 1);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        self.0.run.log.warn(format!(
            "on {}: {first}{more} in {} was no commit's; a copy is in {snapshots}/{snapshot}",
            self.0.host.name(),
            target.checkout
        ));
        Ok(())
    }
}
