//! `--rebuild`: images that are gone are built again, from the commits they came from.
//! All of it happens before any container is touched.

use crate::target::HostTarget;
use cm_checkout::Checkout;
use cm_core::{Exit, Failure, Result, Run};
use cm_engine::{BuildOptions, Compose};
use cm_host::Fenced;
use cm_ledger::ServiceState;
use cm_project::Project;
use std::collections::{BTreeMap, BTreeSet};

/// The services whose images are gone, by the commit they are built from.
fn by_commit(target: &HostTarget) -> BTreeMap<String, Vec<String>> {
    let mut commits: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in &target.gone {
        if let Some(Some(state)) = target.choice.services.get(name) {
            commits.entry(state.commit.clone()).or_default().push(name.clone());
        }
    }
    commits
}

/// Builds what is gone and puts the new images in its place in the target.
///
/// # Errors
/// [`Exit::RollbackFailed`] with what the build said; no container was touched then.
pub async fn rebuild(
    project: &Project,
    host: &Fenced,
    checkout: &Checkout<'_>,
    target: &mut HostTarget,
    snapshots: &str,
    run: &Run,
) -> Result<()> {
    for (commit, services) in by_commit(target) {
        let short = commit.get(..12).unwrap_or(&commit).to_owned();
        run.log.warn(format!("on {}: building {} again at {short}", host.name(), services.join(", ")));
        checkout.move_to(host, &commit, snapshots, &format!("{}-back", run.doc.run_id())).await?;
        let compose = Compose::of(project, host, &target.checkout);
        let config = compose.config().await?;
        let state = cm_ledger::state_dir(&project.name());
        let options = BuildOptions { revision: &commit, state: &state, no_cache: false };
        let built = compose.build(host, &config, &services, &options, |line| run.log.debug(line)).await;
        compose.forget_build(host, &state).await?;
        built.map_err(|failure| Failure { exit: Exit::RollbackFailed, ..failure })?;
        for name in services {
            if let Some(Some(state)) = target.choice.services.get_mut(&name) {
                take_image(host, state).await?;
            }
        }
    }
    target.gone = BTreeSet::new();
    Ok(())
}

/// The image that the build left under its name, kept under the release's tag.
async fn take_image(host: &Fenced, state: &mut ServiceState) -> Result<()> {
    let found = cm_engine::image_id(host, &state.image).await?;
    state.image_id = found.ok_or_else(|| {
        let message = format!("on {}: the build left no image {}", host.name(), state.image);
        Failure::new(Exit::RollbackFailed, "rollback.rebuild", message)
    })?;
    cm_engine::tag(host, &state.image_id, &state.tag, Exit::RollbackFailed).await
}
