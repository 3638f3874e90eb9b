//! What is seen of every container at one moment, and what changed since the last one.
//! Pure: readings go in.

use crate::selection::Selection;
use cm_engine::{Container, Health};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// How a container is. In the order of how much it matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Condition {
    /// Nothing is wrong at this moment.
    Healthy,
    /// On its way.
    Starting,
    /// Not seen; never the same as healthy.
    Unknown,
    /// Something is wrong.
    Unhealthy,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    pub service: String,
    pub host: String,
    pub container: String,
    /// In a word or two.
    pub state: String,
    pub condition: Condition,
    /// How long it has run, in seconds.
    pub up: Option<u64>,
    /// Restarts since we look.
    pub restarts: u64,
    /// What its last health check printed.
    pub check: String,
    pub image: String,
}

/// What a host answered last: its containers, or why there is no answer.
pub type Seen = Result<Vec<Container>, String>;

/// Everything that was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    hosts: BTreeMap<String, Seen>,
    /// Restart count and start of each container when it was first seen.
    baselines: BTreeMap<String, (u64, String)>,
    said: BTreeMap<(String, String), String>,
}

impl Sight {
    /// Takes a host's answer.
    pub fn take(&mut self, host: &str, seen: Seen) {
        for container in seen.iter().flatten() {
            let baseline = (container.restart_count, container.started_at.clone());
            self.baselines.entry(container.id.clone()).or_insert(baseline);
        }
        self.hosts.insert(host.to_owned(), seen);
    }

    /// A row for each container of the selected services; one that has none, or whose
    /// host did not answer, has a row as well.
    pub fn rows(&self, selection: &Selection, now: Timestamp) -> Vec<Row> {
        let mut rows = Vec::new();
        for watch in &selection.hosts {
            for service in watch.services() {
                let found = self.of(&watch.host, service, now);
                rows.extend(found);
            }
        }
        rows
    }

    fn of(&self, host: &str, service: &str, now: Timestamp) -> Vec<Row> {
        let empty = |condition, state: &str, why: &str| Row {
            service: service.to_owned(),
            host: host.to_owned(),
            container: String::new(),
            state: state.to_owned(),
            condition,
            up: None,
            restarts: 0,
            check: why.to_owned(),
            image: String::new(),
        };
        match self.hosts.get(host) {
            None => vec![empty(Condition::Unknown, "…", "")],
            Some(Err(why)) => vec![empty(Condition::Unknown, "not seen", why)],
            Some(Ok(containers)) => {
                let own = containers.iter().filter(|container| container.service == service);
                let rows: Vec<Row> = own.map(|container| self.row(host, container, now)).collect();
                if rows.is_empty() { vec![empty(Condition::Unhealthy, "no container", "")] } else { rows }
            }
        }
    }

    fn row(&self, host: &str, container: &Container, now: Timestamp) -> Row {
        let (condition, state) = condition(container);
        let started: Option<Timestamp> = container.started_at.parse().ok();
        let up = started.filter(|_| container.is_running()).map(|at| (now.as_second() - at.as_second()).max(0));
        Row {
            service: container.service.clone(),
            host: host.to_owned(),
            container: container.name.clone(),
            state,
            condition,
            up: up.map(i64::unsigned_abs),
            restarts: self.restarts(container),
            check: container.health_output.clone(),
            image: container.image.clone(),
        }
    }

    /// Docker's own count, or at least one if it was started again by hand.
    fn restarts(&self, container: &Container) -> u64 {
        let Some((count, started_at)) = self.baselines.get(&container.id) else { return 0 };
        let counted = container.restart_count.saturating_sub(*count);
        if counted == 0 && container.started_at != *started_at { 1 } else { counted }
    }

    /// A line for each row that is not as it was said to be.
    pub fn news(&mut self, rows: &[Row]) -> Vec<String> {
        let mut lines = Vec::new();
        for row in rows.iter().filter(|row| row.state != "…") {
            let restarts = if row.restarts > 0 { format!(", restarts +{}", row.restarts) } else { String::new() };
            let key = (row.host.clone(), format!("{} {}", row.service, row.container));
            let now = format!("{}{restarts}", row.state);
            let before = self.said.insert(key, now.clone());
            let name = if row.container.is_empty() { String::new() } else { format!(" ({})", row.container) };
            match before {
                Some(before) if before == now => {}
                Some(before) => lines.push(format!("{} on {}: {before} -> {now}{name}", row.service, row.host)),
                None => lines.push(format!("{} on {}: {now}{name}", row.service, row.host)),
            }
        }
        lines
    }
}

fn condition(container: &Container) -> (Condition, String) {
    match container.status.as_str() {
        "running" => match container.health {
            Health::Unhealthy => (Condition::Unhealthy, format!("unhealthy ({})", container.failing_streak)),
            Health::Starting => (Condition::Starting, "starting".to_owned()),
            Health::Healthy => (Condition::Healthy, "healthy".to_owned()),
            Health::None => (Condition::Healthy, "running".to_owned()),
        },
        _ if container.has_finished() => (Condition::Healthy, "done".to_owned()),
        "exited" if container.oom_killed => (Condition::Unhealthy, "out of memory".to_owned()),
        "created" => (Condition::Starting, "created".to_owned()),
        status => (Condition::Unhealthy, format!("{status} ({})", container.exit_code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::HostWatch;
    use cm_gate::Wanted;
    use serde_json::json;

    fn container(status: &str, restarts: u64) -> Container {
        Container::read(&json!({
            "Id": "c1", "Name": "/shop-web-1", "RestartCount": restarts,
            "Config": {"Labels": {"com.docker.compose.service": "web"}},
            "State": {"Status": status, "ExitCode": 1, "StartedAt": "2026-05-04T09:30:00.5Z"},
            "HostConfig": {"RestartPolicy": {"Name": "always"}},
        }))
    }

    fn selection() -> Selection {
        let wanted = |service: &str| Wanted { service: service.to_owned(), ..Wanted::default() };
        let wanted = vec![wanted("web"), wanted("api")];
        Selection { hosts: vec![HostWatch { host: "one".to_owned(), compose_project: None, wanted }] }
    }

    fn words(sight: &Sight) -> Vec<(String, String, Condition)> {
        let now = "2026-05-04T09:31:00Z".parse().expect("a time");
        let rows = sight.rows(&selection(), now);
        rows.into_iter().map(|row| (row.service, row.state, row.condition)).collect()
    }

    #[test]
    fn what_is_not_there_or_was_not_seen_has_a_row_and_is_not_healthy() {
        let mut sight = Sight::default();
        assert!(words(&sight).iter().all(|(_, _, condition)| *condition == Condition::Unknown));
        sight.take("one", Ok(vec![container("running", 0)]));
        assert_eq!(
            words(&sight),
            [
                ("web".to_owned(), "running".to_owned(), Condition::Healthy),
                ("api".to_owned(), "no container".to_owned(), Condition::Unhealthy)
            ]
        );
        sight.take("one", Err("connection lost".to_owned()));
        assert!(
            words(&sight).iter().all(|(_, state, condition)| state == "not seen" && *condition == Condition::Unknown)
        );
    }

    #[test]
    fn changes_are_told_once() {
        let mut sight = Sight::default();
        let now = "2026-05-04T09:31:00Z".parse().expect("a time");
        let mut tell = |status: &str, restarts| {
            sight.take("one", Ok(vec![container(status, restarts)]));
            let rows = sight.rows(&selection(), now);
            assert_eq!(rows[0].up, (status == "running").then_some(60));
            sight.news(&rows)
        };
        assert_eq!(tell("running", 4), ["web on one: running (shop-web-1)", "api on one: no container"]);
        assert!(tell("running", 4).is_empty());
        assert_eq!(tell("restarting", 5), ["web on one: running -> restarting (1), restarts +1 (shop-web-1)"]);
        assert_eq!(
            tell("running", 5),
            ["web on one: restarting (1), restarts +1 -> running, restarts +1 (shop-web-1)"]
        );
    }
}
