//! The health gate on a real Docker engine: services that are sick in every way we have
//! seen a deployment pass, and what the gate says of each, with its cause.
//!
//! `CM_HEALTH_ROUNDS` is how often the whole ward is admitted and judged (1 in everyday
//! runs). `CM_HEALTH_PEERS=1` also asks `docker compose up --wait` and the rule "the
//! first 200 is healthy" about each of them, and prints the table.

#![expect(clippy::print_stdout, reason = "a long test tells where it is")]

mod health {
    pub mod ward;
}

use health::ward::{PATIENTS, Patient, Ward};
use serde_json::Value;
use std::collections::BTreeMap;

fn rounds() -> u32 {
    std::env::var("CM_HEALTH_ROUNDS").map_or(1, |rounds| rounds.parse().expect("CM_HEALTH_ROUNDS is a number"))
}

/// How the verdict on a patient differs from what is so.
fn difference(document: &Value, patient: &Patient) -> Option<String> {
    let verdicts = document["facts"]["health"]["services"].as_array().expect("verdicts");
    match verdicts.iter().find(|verdict| verdict["service"] == patient.service) {
        Some(verdict) => patient.differs(verdict).map(|why| format!("{}: {why}: {verdict:#}", patient.service)),
        None => Some(format!("{}: no verdict", patient.service)),
    }
}

#[test]
fn every_sick_service_is_found_out_with_its_cause() {
    let ward = Ward::open("matrix");
    let rounds = rounds();
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for round in 1..=rounds {
        ward.admit();
        let answer = ward.judge();
        assert_eq!(answer.code, 40, "stderr:\n{}", answer.stderr);
        assert!(answer.stderr.contains("[WARN] Some services may not be fully healthy yet"), "{}", answer.stderr);
        for patient in &PATIENTS {
            let difference = difference(&answer.document(), patient);
            difference.iter().for_each(|wrong| println!("--- wrong in round {round}: {wrong}"));
            wrong.entry(patient.service).or_default().extend(difference);
        }
        println!("--- round {round} of {rounds}: {} wrong verdicts so far", wrong.values().flatten().count());
    }
    if std::env::var_os("CM_HEALTH_PEERS").is_some() {
        table(&ward, &wrong.iter().map(|(service, wrong)| (*service, rounds - wrong.len() as u32)).collect(), rounds);
    }
    let wrong: Vec<String> = wrong.into_values().flatten().collect();
    assert!(wrong.is_empty(), "{} wrong verdicts:\n{}", wrong.len(), wrong.join("\n"));
}

/// What others say of the same services, once each.
fn table(ward: &Ward, right: &BTreeMap<&str, u32>, rounds: u32) {
    let mut peers = [0; 2];
    println!("{:<30} {:<8} {:<12} {:<20} first 200", "service", "is", "cm-health", "compose up --wait");
    for patient in &PATIENTS {
        let (waited, answered) = (ward.compose_wait(patient), ward.first_200(patient));
        peers[0] += i32::from(waited == patient.is_well());
        peers[1] += i32::from(answered.is_none_or(|answered| answered == patient.is_well()));
        println!(
            "{:<30} {:<8} {:<12} {:<20} {}",
            patient.service,
            if patient.is_well() { "well" } else { "sick" },
            format!("{} of {rounds}", right[patient.service]),
            said(patient, waited),
            answered.map_or("(serves no page)".to_owned(), |answered| said(patient, answered)),
        );
    }
    let all = right.values().filter(|right| **right == rounds).count();
    println!("right, of {}: cm-health {all}, compose up --wait {}, first 200 {}", PATIENTS.len(), peers[0], peers[1]);
}

fn said(patient: &Patient, healthy: bool) -> String {
    let wrong = if healthy == patient.is_well() { "" } else { ", wrong" };
    format!("{}{wrong}", if healthy { "healthy" } else { "not healthy" })
}
