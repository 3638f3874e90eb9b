//! One task: a place in a service, and the container that fills it on some node.

use crate::value::{is_empty, text};
use serde_json::Value;

/// A task.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Task {
    /// Its ID.
    pub id: String,
    /// Its service, without the stack's name.
    pub service: String,
    /// The place in the service that it fills: a number, or the node of a service that runs once on each.
    pub slot: String,
    /// The name of its node; empty while it has none.
    pub node: String,
    /// Its container there; empty while it has none.
    pub container: String,
    /// The image it runs, pinned by digest.
    pub image: String,
    /// What it is: `new` … `running`, `complete`, `failed`, `rejected`, `shutdown`, `orphaned`, `remove`.
    pub state: String,
    /// What Swarm wants it to be.
    pub desired: String,
    /// Since when it is that, RFC 3339.
    pub since: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Why it is not what it should be.
    pub error: String,
    /// The exit code of its container.
    pub exit_code: i64,
    /// Whether it is what the service says now, and not what it said before.
    pub current: bool,
    /// Whether Docker checks its health: it runs only once that is good.
    pub checked: bool,
    /// Whether its node is gone, or drained: what it was there says nothing, and nothing is wanted there any more.
    pub lost: bool,
}

impl Task {
    /// Reads an element of `docker inspect --type task`, and its `Spec`; `service` is as `docker service inspect` shows it.
    pub(crate) fn read(value: &Value, spec: &Value, name: &str, service: &Value, node: &str) -> Task {
        let slot = value.get("Slot").and_then(Value::as_u64).map_or_else(|| node.to_owned(), |slot| slot.to_string());
        let test = text(spec, "/ContainerSpec/Healthcheck/Test/0");
        Task {
            id: text(value, "/ID").to_owned(),
            service: name.to_owned(),
            slot,
            node: node.to_owned(),
            container: text(value, "/Status/ContainerStatus/ContainerID").to_owned(),
            image: text(spec, "/ContainerSpec/Image").to_owned(),
            state: text(value, "/Status/State").to_owned(),
            desired: text(value, "/DesiredState").to_owned(),
            since: text(value, "/Status/Timestamp").to_owned(),
            created: text(value, "/CreatedAt").to_owned(),
            error: text(value, "/Status/Err").to_owned(),
            exit_code: value.pointer("/Status/ContainerStatus/ExitCode").and_then(Value::as_i64).unwrap_or_default(),
            current: is_current(spec, service),
            checked: !test.is_empty() && test != "NONE",
            lost: false,
        }
    }

    /// Whether it is to run, or about to.
    pub fn is_live(&self) -> bool {
        !self.lost
            && matches!(self.desired.as_str(), "running" | "ready")
            && !self.has_failed()
            && self.state != "complete"
    }

    /// Whether it ended otherwise than it should.
    pub fn has_failed(&self) -> bool {
        !self.lost && matches!(self.state.as_str(), "failed" | "rejected" | "orphaned")
    }

    /// Its service and place, as Docker names it.
    pub fn name(&self) -> String {
        format!("{}.{}", self.service, self.slot)
    }
}

/// Whether a task's container is what its service says now.
fn is_current(spec: &Value, service: &Value) -> bool {
    let own = spec.pointer("/ContainerSpec").and_then(Value::as_object);
    let wanted = service.pointer("/Spec/TaskTemplate/ContainerSpec").and_then(Value::as_object);
    let (Some(own), Some(wanted)) = (own, wanted) else { return false };
    let forced = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let same = |key: &String| match (own.get(key), wanted.get(key)) {
        // Docker fills a service in when it shows it, and a task not.
        (None, Some(value)) => is_default(key, value),
        (own, wanted) => own == wanted,
    };
    own.keys().chain(wanted.keys()).all(same)
        && forced(spec, "/ForceUpdate") == forced(service, "/Spec/TaskTemplate/ForceUpdate")
}

fn is_default(key: &str, value: &Value) -> bool {
    match key {
        "StopGracePeriod" => value.as_u64() == Some(10_000_000_000),
        "Isolation" => value.as_str() == Some("default"),
        _ => is_empty(value),
    }
}

/// Of the tasks of one service, one for each place and each that lives: what fills the place, or, while nothing runs
/// there, the last that failed to.
pub(crate) fn in_place(tasks: &[Task]) -> Vec<Task> {
    let mut slots: Vec<&str> = tasks.iter().map(|task| task.slot.as_str()).collect();
    slots.sort_unstable();
    slots.dedup();
    let mut found = Vec::new();
    for slot in slots {
        let own = || tasks.iter().filter(|task| task.slot == slot);
        let newest_failure = own().filter(|task| task.has_failed() && task.current).max_by_key(|task| &task.created);
        let live: Vec<&Task> = own().filter(|task| task.is_live()).collect();
        let fails = live.iter().all(|task| task.state != "running") && newest_failure.is_some();
        match (fails, live.is_empty()) {
            // One that failed for what the service was before says nothing about what it is now.
            (true, _) => found.extend(newest_failure.filter(|_| !live.is_empty() || is_wanted(tasks, slot)).cloned()),
            (false, false) => found.extend(live.into_iter().cloned()),
            (false, true) => {}
        }
    }
    found
}

/// Whether a place without a live task is one that the service still has: nobody scaled it away.
fn is_wanted(tasks: &[Task], slot: &str) -> bool {
    let newest = tasks.iter().filter(|task| task.slot == slot).max_by_key(|task| &task.created);
    newest.is_some_and(|task| task.desired != "remove")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(slot: &str, state: &str, desired: &str, created: &str) -> Task {
        let own = |text: &str| text.to_owned();
        Task {
            slot: own(slot),
            state: own(state),
            desired: own(desired),
            created: own(created),
            current: true,
            ..Task::default()
        }
    }

    fn states(tasks: &[Task]) -> Vec<String> {
        in_place(tasks).into_iter().map(|task| format!("{} {}", task.slot, task.state)).collect()
    }

    #[test]
    fn each_place_is_filled_by_what_runs_or_shows_what_failed() {
        let healed = [task("1", "failed", "shutdown", "1"), task("1", "running", "running", "2")];
        assert_eq!(states(&healed), ["1 running"]);
        let failing = [
            task("1", "failed", "shutdown", "1"),
            task("1", "ready", "ready", "2"),
            task("2", "running", "running", "1"),
        ];
        assert_eq!(states(&failing), ["1 failed", "2 running"]);
        let starting = [task("1", "starting", "running", "1"), task("1", "shutdown", "shutdown", "0")];
        assert_eq!(states(&starting), ["1 starting"]);
        let before = Task { current: false, ..task("1", "failed", "shutdown", "1") };
        assert_eq!(states(&[before, task("1", "preparing", "running", "2")]), ["1 preparing"]);
        assert_eq!(states(&[task("1", "shutdown", "shutdown", "1")]), [""; 0]);
        let both = [task("1", "running", "running", "1"), task("1", "starting", "running", "2")];
        let lost = |task| Task { lost: true, ..task };
        assert_eq!(states(&[lost(healed[0].clone()), healed[1].clone()]), ["1 running"]);
        let gone = [lost(task("one", "failed", "shutdown", "1")), task("two", "running", "running", "1")];
        assert_eq!(states(&gone), ["two running"], "a node that is down has no place to fill");
        let away = [lost(task("1", "running", "running", "1")), task("1", "pending", "running", "2")];
        assert_eq!(states(&away), ["1 pending"], "nobody knows whether it still runs there");
        assert_eq!(states(&both).len(), 2, "start-first: the old one still runs");
    }

    #[test]
    fn a_task_is_current_if_it_is_what_the_service_says() {
        let spec = json!({"ContainerSpec": {"Image": "web@sha256:1", "Healthcheck": {"Test": ["CMD", "x"]}}, "ForceUpdate": 0});
        let service = json!({"Spec": {"TaskTemplate": spec}});
        let value = json!({"ID": "t", "Slot": 2, "DesiredState": "running", "Status": {"State": "running"}});
        let task = Task::read(&value, &spec, "web", &service, "one");
        assert!(task.current && task.checked && task.is_live());
        assert_eq!((task.name().as_str(), task.image.as_str()), ("web.2", "web@sha256:1"));
        let mut filled = service.clone();
        filled["Spec"]["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"] = json!(10_000_000_000_u64);
        filled["Spec"]["TaskTemplate"]["ContainerSpec"]["DNSConfig"] = json!({});
        assert!(Task::read(&value, &spec, "web", &filled, "one").current, "as Docker shows a service");
        for (key, other) in
            [("Env", json!(["A=1"])), ("StopGracePeriod", json!(1)), ("Healthcheck", json!({"Test": ["NONE"]}))]
        {
            let mut changed = service.clone();
            changed["Spec"]["TaskTemplate"]["ContainerSpec"][key] = other;
            assert!(!Task::read(&value, &spec, "web", &changed, "one").current, "{key}");
        }
        let other = json!({"Spec": {"TaskTemplate": {"ContainerSpec": {"Image": "web@sha256:2"}}}});
        assert!(!Task::read(&value, &spec, "web", &other, "one").current);
        assert_eq!(Task::read(&json!({}), &json!({}), "web", &other, "one").slot, "one", "one on each node");
    }
}
