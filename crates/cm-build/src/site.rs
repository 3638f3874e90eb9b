//! One host and the release that it shall run: what every phase of the change needs.

use crate::release::Release;
use crate::{HostPlan, Selection};
use cm_checkout::Checkout;
use cm_core::Action;
use cm_engine::Compose;
use cm_host::Host;
use cm_project::Project;

/// The host and the release.
pub struct Site<'a> {
    /// The host.
    pub host: &'a Host,
    /// The project.
    pub project: &'a Project,
    /// What is to be done there.
    pub plan: HostPlan,
    /// What is deployed.
    pub release: &'a Release,
    /// Whether everything is built and replaced.
    pub full: bool,
    /// Whether files that were changed by hand may be lost.
    pub discard: bool,
}

impl<'a> Site<'a> {
    /// The host of a project, what is to be done there, and the release.
    pub fn new(
        (host, project): (&'a Host, &'a Project),
        plan: HostPlan,
        release: &'a Release,
        selection: &Selection,
    ) -> Site<'a> {
        let (full, discard) = (selection.full, selection.discard_local_changes);
        Site { host, project, plan, release, full, discard }
    }

    /// The checkout, through a handle of the host.
    pub fn checkout<'b>(&'b self, host: &'b Host) -> Checkout<'b> {
        let checkout = Checkout::new(host, &self.plan.checkout, self.project.remote(), &self.project.protected());
        checkout.filtered(self.project.clone_filter()).keeping_build(!self.plan.with(Action::Build).is_empty())
    }

    /// The project's state directory on the host.
    pub fn state_dir(&self) -> String {
        cm_ledger::state_dir(&self.release.project)
    }

    /// Where protected files are kept.
    pub fn snapshots(&self) -> String {
        format!("{}/snapshots", self.state_dir())
    }

    /// Compose in the checkout.
    pub fn compose(&self) -> Compose<'a> {
        Compose::of(self.project, self.host, &self.plan.checkout)
    }
}
