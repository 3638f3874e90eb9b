//! Whether the disk that Docker builds on has room for what builds took before. A build that
//! fails for want of room does so late, and may take the database down with it.

use crate::{HostPlan, prune};
use cm_core::{Action, Exit, Failure, Log, Result, size};
use cm_host::Host;
use cm_lease::Guard;
use cm_ledger::Ledger;
use cm_project::Project;

/// Says how many bytes are free where Docker keeps its images. That directory itself may be closed to us.
const FREE: &str = r#"# Looks how much room there is.
directory=$(docker info --format '{{.DockerRootDir}}') || exit 1
df -Pk -- "$directory" 2>/dev/null | awk 'NR == 2 { printf "%.0f", $4 * 1024 }'"#;

/// Room beyond the forecast, in bytes: a build is never the same twice.
const SPARE: u64 = 256 << 20;

/// How many bytes are free; `None` if nobody can say.
///
/// # Errors
/// [`Exit::Unreachable`].
pub async fn free(host: &Host) -> Result<Option<u64>> {
    Ok(host.script(FREE, [""; 0]).output().await?.text().trim().parse().ok())
}

/// Makes room for a build if the ledger says that there is too little, where `now` bytes are
/// free: old images go. Where that is not enough, nothing is begun.
///
/// # Errors
/// [`Exit::Build`] with `build.no-room`; [`Exit::LockLost`], [`Exit::Unreachable`].
pub async fn make(
    project: &Project,
    host: &Host,
    ledger: &Ledger,
    now: Option<u64>,
    guard: &Guard,
    log: &Log,
) -> Result<Option<u64>> {
    let Some((wanted, before)) = ledger.build_bytes().map(|bytes| bytes + SPARE).zip(now) else {
        return Ok(now);
    };
    if before >= wanted {
        return Ok(now);
    }
    let name = host.name();
    log.warn(format!("on {name}: {} are free and a build wants {}; old images go first", size(before), size(wanted)));
    for image in prune::removable(project, host).await? {
        cm_engine::remove_images(&guard.fenced(host)?, std::slice::from_ref(&image)).await?;
    }
    match free(host).await? {
        Some(now) if now < wanted => Err(too_little(name, now, wanted)),
        now => Ok(now),
    }
}

fn too_little(host: &str, free: u64, wanted: u64) -> Failure {
    let message = format!("on {host}: {} are free, and a build wants {}", size(free), size(wanted));
    Failure::new(Exit::Build, "build.no-room", message)
        .cause("the most that one of the last ten builds took, and 256 MB; no old image is left that could go")
        .hint(format!("make room on {host}: `docker system df` there says what takes it, `docker builder prune` empties the build cache"))
}

/// How much room a build has, in bytes.
pub async fn for_plan(host: &Host, plan: &HostPlan) -> Result<Option<u64>> {
    if plan.with(Action::Build).is_empty() { Ok(None) } else { free(host).await }
}
