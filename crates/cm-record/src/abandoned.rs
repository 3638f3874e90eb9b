//! Runs that were interrupted. Nobody writes down that he was killed, so it is found out: a run
//! changes a host only under the deploy lock, its open record names that lock, and the lock
//! is not held any more: the holder's process is gone, its lease has lapsed, or somebody
//! else has it.

use cm_core::Result;
use cm_engine::Container;
use cm_host::Host;
use cm_lease::remote::{self, Sight};
use cm_ledger::{Ledger, Record, ServiceState, Verdict, state_dir};
use std::collections::BTreeMap;

/// The open records of `ledger` whose owner is known to be gone. `own` is the nonce of the lock
/// that the caller holds, if it does: the records made under it are its own.
///
/// # Errors
/// [`cm_core::Exit::Unreachable`].
pub async fn of(host: &Host, project: &str, ledger: &Ledger, own: Option<&str>) -> Result<Vec<Record>> {
    let open = || ledger.records().iter().filter(|record| record.is_open());
    if open().next().is_none() {
        return Ok(Vec::new());
    }
    let holder = match own {
        Some(nonce) => Some(nonce.to_owned()),
        None => match remote::look(host, &state_dir(project)).await? {
            Sight::Free => None,
            Sight::There(there) if there.record.is_ok() => there.holds().map(str::to_owned),
            // What cannot be understood says nothing.
            Sight::Odd | Sight::There(_) => return Ok(Vec::new()),
        },
    };
    Ok(open().filter(|record| record.lock != holder).cloned().collect())
}

/// `record`, said to be abandoned. Where somebody only looks, nobody has asked Docker.
pub fn said(record: &Record) -> Record {
    let cause = match record.verdict {
        Verdict::Started => "interrupted before any service was replaced; its owner is gone",
        _ => "interrupted while services were replaced or judged; its owner is gone",
    };
    Record { verdict: Verdict::Abandoned, cause: Some(cause.to_owned()), lock: None, ..record.clone() }
}

/// `record`, reconciled: its services are those that it reached, by Docker's own word.
pub fn reconciled(record: &Record, containers: &[Container]) -> Record {
    let mut reconciled = Record { at: cm_core::time::now(), services: BTreeMap::new(), ..said(record) };
    for (name, state) in &record.services {
        let image = containers.iter().find(|found| found.service == *name).map(|found| found.image_id.as_str());
        let before = record.attempted.get(name);
        if reached(state, image) {
            reconciled.services.insert(name.clone(), state.clone());
        } else if let Some(before) = before.filter(|before| reached(before, image)) {
            reconciled.services.insert(name.clone(), before.clone());
        } else {
            reconciled.attempted.entry(name.clone()).or_insert_with(|| state.clone());
        }
    }
    reconciled
}

/// Whether a service with this image, or without a container, is in this state. Without a
/// container it is partway there: what ran before runs no more.
fn reached(state: &ServiceState, image: Option<&str>) -> bool {
    match image {
        Some(image) => !state.removed && (state.image_id.is_empty() || state.image_id == image),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(image: &str) -> ServiceState {
        ServiceState { commit: "c".to_owned(), image_id: image.to_owned(), ..ServiceState::default() }
    }

    fn container(service: &str, image: &str) -> Container {
        Container::read(
            &json!({"Image": image, "Config": {"Labels": {"com.docker.compose.service": service}}, "State": {}}),
        )
    }

    #[test]
    fn only_what_docker_runs_of_it_stays_in_the_record() {
        let mut record = Record::new("1", "ada", "main", "c");
        record.lock = Some("n".to_owned());
        record.services = ["web", "api", "new"].map(|name| (name.to_owned(), state("sha256:new"))).into();
        let found = [container("web", "sha256:new"), container("api", "sha256:old")];
        let reconciled = reconciled(&record, &found);
        assert_eq!((reconciled.verdict, reconciled.is_open()), (Verdict::Abandoned, false));
        assert_eq!(reconciled.services.keys().collect::<Vec<_>>(), ["new", "web"]);
        assert_eq!(reconciled.attempted.keys().collect::<Vec<_>>(), ["api"]);
    }

    #[test]
    fn of_a_rollback_that_was_cut_off_each_service_is_where_docker_has_it() {
        let mut record = Record::new("1", "ada", "main", "c");
        record.services = ["web", "api"].map(|name| (name.to_owned(), state("sha256:good"))).into();
        record.attempted = ["web", "api"].map(|name| (name.to_owned(), state("sha256:bad"))).into();
        let found = [container("web", "sha256:good"), container("api", "sha256:bad")];
        let services = reconciled(&record, &found).services;
        assert_eq!((&services["web"].image_id[..], &services["api"].image_id[..]), ("sha256:good", "sha256:bad"));
    }
}
