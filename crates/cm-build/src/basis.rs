//! What a saved plan rests on.

use crate::HostPlan;
use cm_core::Service;
use cm_core::facts::Basis;
use cm_engine::Container;
use cm_ledger::Ledger;

/// What a plan rests on: where the checkout is, which containers the planned services have
/// and which release was the last. If one of it is another one, so may be the plan.
pub fn basis(plan: &HostPlan, head: &str, containers: &[Container], ledger: &Ledger) -> Basis {
    let of = |service: &Service| {
        let own = containers.iter().filter(|container| container.service == service.name);
        let mut ids: Vec<String> = own.map(|container| container.id.clone()).collect();
        ids.sort_unstable();
        (service.name.clone(), ids)
    };
    Basis {
        head: Some(head.to_owned()),
        release: ledger.records().last().map(|record| record.id.clone()),
        containers: Some(plan.services.iter().map(of).collect()),
    }
}
