//! The lock as a changing program meets it when nobody above holds it. The environment
//! of this process is left alone: what happens inside `cm-lock run` is tested with
//! the real programs.

use cm_core::{Document, Exit, Format, Level, Log, Run};
use cm_host::{Host, Target};
use cm_lease::{Guard, local, remote};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(60);

fn log() -> Log {
    Log::new("test", Format::Text, Level::Fail)
}

fn run(dry_run: bool) -> Run {
    Run::new(Document::start("cm-build", "ada@laptop", dry_run), log(), true)
}

/// A lock of its own for every test: a project's state on this machine, and a lock file.
struct Place {
    project: String,
    state: PathBuf,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let project = format!("cm-lease-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let home = std::env::home_dir().expect("a home");
        Place {
            state: home.join(".local/state/cm").join(&project),
            project,
            dir: tempfile::tempdir().expect("tempdir"),
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("deploy.lock")
    }

    async fn enter(&self, file: &Path, run: &Run) -> cm_core::Result<Guard> {
        Guard::enter(&self.project, LEASE, file, &[host().await], run).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.state);
    }
}

async fn host() -> Host {
    let target = Target::at("web", "local");
    Host::connect(&target, &log()).await.expect("local")
}

#[tokio::test]
async fn alone_it_takes_the_lock_for_its_life() {
    let place = Place::new();
    let guard = place.enter(&place.file(), &run(false)).await.expect("free");
    guard.check(&host().await).await.expect("held");
    let refused = place.enter(&place.file(), &run(false)).await.expect_err("held here");
    assert_eq!((refused.exit, refused.code.as_str()), (Exit::LockHeld, "lock.held"));
    // A second laptop has another lock file and meets the same host.
    let refused = place.enter(&place.dir.path().join("other.lock"), &run(false)).await.expect_err("held there");
    assert_eq!(refused.exit, Exit::LockHeld);
    assert!(refused.message.contains("ada@laptop") && refused.message.contains("step build"), "{refused}");
    guard.release().await.expect("given back");
    place.enter(&place.file(), &run(false)).await.expect("free").release().await.expect("given back");
}

#[tokio::test]
async fn dropped_by_an_interrupt_it_gives_the_host_back() {
    let place = Place::new();
    drop(place.enter(&place.file(), &run(false)).await.expect("free"));
    let dir = place.state.to_string_lossy().into_owned();
    assert!(matches!(remote::look(&host().await, &dir).await, Ok(remote::Sight::Free)));
    assert!(matches!(local::look(&place.file()), Ok(local::Sight::Free(None))));
}

#[tokio::test]
async fn a_lost_lock_stops_the_next_change() {
    let place = Place::new();
    let guard = place.enter(&place.file(), &run(false)).await.expect("free");
    let (fenced, made) = (guard.fenced(&host().await).expect("held"), place.dir.path().join("made"));
    let make = fenced.command(["mkdir".to_owned(), made.display().to_string()]);
    make.text(Exit::Build, "build.x").await.expect("held");
    std::fs::remove_dir(&made).expect("made");
    std::fs::remove_file(place.state.join("lock.json")).expect("broken by somebody");
    let lost = guard.check(&host().await).await.expect_err("lost");
    assert_eq!((lost.exit, lost.code.as_str()), (Exit::LockLost, "lock.lost"));
    let lost = make.text(Exit::Build, "build.x").await.expect_err("lost");
    assert_eq!((lost.exit, lost.code.as_str()), (Exit::LockLost, "lock.lost"));
    assert!(!made.exists(), "it was not begun");
}

#[tokio::test]
async fn a_dry_run_takes_nothing_and_is_never_refused() {
    let place = Place::new();
    let guard = place.enter(&place.file(), &run(true)).await.expect("dry");
    guard.check(&host().await).await.expect("dry");
    let change = guard.fenced(&host().await).expect_err("a dry run changes nothing");
    assert_eq!(change.exit, Exit::Bug);
    assert!(!place.file().exists() && !place.state.exists());
}
