//! Docker's events as a nudge: something happened, look now instead of at the next
//! interval. Nothing is concluded from an event itself, so a lost one is no harm.

use cm_core::Exit;
use cm_host::Host;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The events that can change a verdict. Health checks run as `exec_*` all the time
/// and are left out.
const KINDS: [&str; 7] = ["create", "start", "restart", "die", "oom", "health_status", "destroy"];

/// Before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// A stream of events; it ends when this is dropped.
pub struct Events {
    nudge: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Events {
    /// Follows the events of a compose project. One stream of them lasts for `limit` at
    /// most, so that nothing stays on the server for ever; then comes the next.
    pub fn follow(host: &Host, project: &str, limit: Duration) -> Events {
        let nudge = Arc::new(Notify::new());
        let (host, woken) = (host.clone(), Arc::clone(&nudge));
        let argv = command(project, limit);
        let task = tokio::spawn(async move {
            loop {
                let stream = host.command(argv.clone()).ends_with_us_alongside_others().limit(limit * 2);
                // Without events the gate reads at its interval. The engine may come back.
                let _ended = stream.stream(Exit::HealthUnknown, "gate.events", |_| woken.notify_one()).await;
                sleep(PAUSE).await;
            }
        });
        Events { nudge, task }
    }

    /// The next event. Waits for ever if there are none.
    pub async fn next(&self) {
        self.nudge.notified().await;
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `--until` with a negative time is a time to come: the command ends by itself on
/// the server even if nobody is left to end it.
fn command(project: &str, limit: Duration) -> Vec<String> {
    let mut argv: Vec<String> =
        ["docker", "events", "--format", "{{.Action}}", "--filter", "type=container"].map(str::to_owned).to_vec();
    argv.push(format!("--until=-{}s", limit.as_secs() + 30));
    argv.push("--filter".to_owned());
    argv.push(format!("label=com.docker.compose.project={project}"));
    for kind in KINDS {
        argv.push("--filter".to_owned());
        argv.push(format!("event={kind}"));
    }
    argv
}
