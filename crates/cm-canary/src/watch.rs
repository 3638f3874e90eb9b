//! Containers while a canary asks them: one that restarts, stops or goes away is gross
//! failure, also where no request noticed.

use cm_core::Result;
use cm_engine::Container;
use std::collections::BTreeSet;
use std::time::Duration;

/// Containers are looked at this often while requests are made.
const EVERY: Duration = Duration::from_secs(1);

/// What became of those of `seen` that ran and are not the same run any more, in words
/// that come before "while it was asked". `now` are the containers that are there now.
pub fn changes(seen: &[Container], now: &[Container]) -> Vec<String> {
    let change = |seen: &Container| {
        let service = &seen.service;
        match now.iter().find(|now| now.id == seen.id) {
            None => Some(format!("{service} was removed or replaced")),
            Some(now) if (&now.started_at, now.restart_count) != (&seen.started_at, seen.restart_count) => {
                Some(format!("{service} restarted"))
            }
            // The engine is about to start it again.
            Some(now) if now.status == "restarting" => Some(format!("{service} restarted")),
            Some(now) if now.is_running() => None,
            Some(now) if now.oom_killed => Some(format!("{service} ran out of memory")),
            Some(now) if now.status == "paused" => Some(format!("{service} was paused")),
            Some(now) => Some(format!("{service} ended with exit code {}", now.exit_code)),
        }
    };
    let changes: BTreeSet<String> = seen.iter().filter(|seen| seen.is_running()).filter_map(change).collect();
    changes.into_iter().collect()
}

/// Makes the requests of `asking` to their end, or until `changed` names a change.
pub async fn while_asking(
    asking: impl Future<Output = ()>,
    changed: &impl AsyncFn() -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    let change = async {
        loop {
            tokio::time::sleep(EVERY).await;
            // What cannot be seen now may be seen at the end.
            if let Some(changes) = changed().await.ok().filter(|changes| !changes.is_empty()) {
                return changes;
            }
        }
    };
    tokio::select! {
        () = asking => changed().await,
        changes = change => Ok(changes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn container(id: &str, state: &Value, restarts: u64) -> Container {
        Container::read(&json!({
            "Id": id, "RestartCount": restarts, "State": state,
            "Config": {"Labels": {"com.docker.compose.service": "web"}},
        }))
    }

    #[test]
    fn a_run_that_began_anew_or_ended_is_a_change() {
        let runs = json!({"Status": "running", "StartedAt": "2026-05-04T09:30:00Z"});
        let state = |status: &str, more: Value| {
            let mut state = json!({"Status": status, "StartedAt": "2026-05-04T09:30:00Z"});
            state.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            state
        };
        let seen = [container("a", &runs, 0)];
        for (now, words) in [
            (vec![container("a", &runs, 0), container("b", &runs, 7)], None),
            (vec![container("a", &runs, 1)], Some("web restarted")),
            (
                vec![container("a", &state("running", json!({"StartedAt": "2026-05-04T09:31:00Z"})), 0)],
                Some("web restarted"),
            ),
            (vec![container("a", &state("restarting", json!({"ExitCode": 1})), 0)], Some("web restarted")),
            (vec![container("a", &state("exited", json!({"ExitCode": 9})), 0)], Some("web ended with exit code 9")),
            (vec![container("a", &state("exited", json!({"ExitCode": 0})), 0)], Some("web ended with exit code 0")),
            (vec![container("a", &state("exited", json!({"OOMKilled": true})), 0)], Some("web ran out of memory")),
            (vec![container("a", &state("paused", json!({})), 0)], Some("web was paused")),
            (vec![container("b", &runs, 0)], Some("web was removed or replaced")),
            (vec![], Some("web was removed or replaced")),
        ] {
            assert_eq!(changes(&seen, &now), Vec::from_iter(words.map(str::to_owned)), "{now:?}");
        }
        // What did not run when the canary began says nothing.
        let ended = [container("a", &state("exited", json!({"ExitCode": 0})), 0)];
        assert_eq!(changes(&ended, &[]), Vec::<String>::new());
        // Two replicas that restarted are one service that did.
        let both = [container("a", &runs, 0), container("b", &runs, 0)];
        assert_eq!(changes(&both, &[container("a", &runs, 1), container("b", &runs, 1)]), ["web restarted"]);
    }
}
