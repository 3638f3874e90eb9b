//! What a saved plan rests on.

use crate::HostPlan;
use cm_core::Service;
use cm_engine::Container;
use cm_ledger::Ledger;
use serde_json::{Map, Value, json};

/// What a plan rests on: where the checkout is, which containers the planned services have
/// and which release was the last. If one of it is another one, so may be the plan.
pub fn basis(plan: &HostPlan, head: &str, containers: &[Container], ledger: &Ledger) -> Value {
    let of = |service: &Service| {
        let own = containers.iter().filter(|container| container.service == service.name);
        let mut ids: Vec<&str> = own.map(|container| container.id.as_str()).collect();
        ids.sort_unstable();
        (service.name.clone(), json!(ids))
    };
    json!({
        "head": head,
        "release": ledger.records().last().map(|record| &record.id),
        "containers": plan.services.iter().map(of).collect::<Map<_, _>>(),
    })
}
