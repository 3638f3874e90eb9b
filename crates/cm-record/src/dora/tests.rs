//! Figures of ledgers that were written by hand, counted by hand.

use super::*;
use cm_ledger::ServiceState;

const NOON: i64 = 1_767_268_800; // 2026-01-01T12:00:00Z

fn time(minute: i64) -> Timestamp {
    Timestamp::from_second(NOON + 60 * minute).expect("a time")
}

/// A record written at `minute` that touched `services`.
fn record(id: &str, minute: i64, verdict: Verdict, services: &[&str]) -> Record {
    let mut record = Record::new(id, "ada", "main", "c");
    record.at = time(minute).to_string();
    record.verdict = verdict;
    record.services = services.iter().map(|name| ((*name).to_owned(), ServiceState::default())).collect();
    record
}

fn ledger(host: &str, records: &[Record]) -> (String, Ledger) {
    let lines: Vec<_> = records.iter().map(|record| json!(record).to_string()).collect();
    (host.to_owned(), Ledger::parse(lines.join("\n").as_bytes()))
}

fn of(ledgers: &[(String, Ledger)]) -> Figures {
    figures(ledgers, time(-60), time(10_080))
}

fn text(figures: &Figures) -> String {
    cm_core::table(&figures.rows())
}

#[test]
fn a_run_on_two_hosts_is_one_deployment_and_failed_if_it_failed_on_one() {
    let both = [
        ledger("a", &[record("1", 0, Verdict::Verified, &["web"]), record("2", 10, Verdict::Failed, &["web"])]),
        ledger("b", &[record("1", 0, Verdict::Healthy, &["db"]), record("2", 10, Verdict::Verified, &["db"])]),
    ];
    let figures = of(&both);
    assert_eq!((figures.deployments, figures.failed, figures.unrestored), (2, 1, 1));
    assert_eq!((figures.failure_rate(), figures.span), (Some(0.5), 7 * DAY));
    assert!((figures.per_week() - 2.0).abs() < 1e-9);
}

#[test]
fn restored_is_when_the_last_of_its_services_is_well_again() {
    let records = [
        record("1", 0, Verdict::Failed, &["web", "api"]),
        record("2", 5, Verdict::Failed, &["web"]),
        record("3", 7, Verdict::Verified, &["api"]),
        record("4", 20, Verdict::Verified, &["web"]),
    ];
    let figures = of(&[ledger("a", &records)]);
    assert_eq!((figures.deployments, figures.failed), (4, 2));
    assert_eq!(figures.restored, [15 * 60, 20 * 60]);
    assert_eq!((median(&figures.restored), figures.unrestored), (Some(15 * 60), 0));
}

#[test]
fn a_rollback_that_a_person_asked_for_is_no_deployment_but_restores() {
    let mut bad = record("1", 0, Verdict::Verified, &["web"]);
    bad.take_back([&"web".to_owned()], "rolled back by run 2");
    let mut back = record("2", 30, Verdict::RolledBack, &["web"]);
    back.took_back = vec!["1".to_owned()];
    let figures = of(&[ledger("a", &[bad, back])]);
    assert_eq!((figures.deployments, figures.failed), (1, 1));
    assert_eq!(figures.restored, [30 * 60]);
}

#[test]
fn a_run_that_rolled_itself_back_counts_from_its_begin() {
    let id = format!("{:012x}", (NOON - 90) * 1000);
    let id = format!("{}-{}-7c3e-8a52-2f6f8f1f2a10", &id[..8], &id[8..]);
    let mut back = record(&id, 0, Verdict::RolledBack, &["web"]);
    back.cause = Some("web is not healthy".to_owned());
    let mut other = record("no-v7", 1, Verdict::RolledBack, &["web"]);
    other.cause = back.cause.clone();
    let figures = of(&[ledger("a", &[back, other])]);
    assert_eq!((figures.deployments, figures.failed, figures.unrestored), (2, 2, 0));
    assert_eq!(figures.restored, [90]);
}

#[test]
fn what_has_no_outcome_or_touched_nothing_is_neither_well_nor_failed() {
    let records = [
        record("1", 0, Verdict::Pending, &["web"]),
        record("2", 1, Verdict::Started, &[]),
        record("3", 2, Verdict::Failed, &[]),
        record("4", -120, Verdict::Failed, &["web"]), // before the span
    ];
    let figures = of(&[ledger("a", &records)]);
    assert_eq!((figures.deployments, figures.unfinished, figures.failed), (0, 2, 0));
    assert_eq!((figures.failure_rate(), median(&figures.restored)), (None, None));
    assert!(text(&figures).contains("change failure rate   not known: no deployment"), "{}", text(&figures));
    assert_eq!(of(&[]).to_json()["deployments"], 0);
}

#[test]
fn lead_time_is_from_the_commit_to_the_last_host_that_was_found_well() {
    let made = |mut record: Record, minute: i64| {
        record.committed_at = Some(time(minute).to_string());
        record
    };
    let both = [
        ledger(
            "a",
            &[made(record("1", 10, Verdict::Verified, &["web"]), 0), record("2", 20, Verdict::Verified, &["web"])],
        ),
        ledger(
            "b",
            &[made(record("1", 12, Verdict::Verified, &["db"]), 0), made(record("3", 30, Verdict::Failed, &["db"]), 1)],
        ),
    ];
    let figures = of(&both);
    assert_eq!((figures.deployments, &figures.lead[..]), (3, &[12 * 60][..]));
    assert_eq!(figures.to_json()["lead_time_median_s"], 12 * 60);
    assert!(text(&figures).contains("lead time             12 min in the median"), "{}", text(&figures));
}

#[test]
fn people_read_lengths_and_rates() {
    let figures = Figures { span: 14 * DAY, deployments: 4, failed: 1, restored: vec![240], ..Figures::default() };
    let text = text(&figures);
    assert!(text.contains("2.0 a week (4 in 14 d)"), "{text}");
    assert!(text.contains("25 % (1 of 4)"), "{text}");
    assert!(text.contains("4 min in the median, 4 min at most (of 1)"), "{text}");
    assert!(text.contains("lead time             not known"), "{text}");
}

#[test]
fn a_length_of_time_has_a_unit() {
    assert_eq!(since("30d").map(|since| since.as_secs()), Ok(30 * 86_400));
    assert_eq!(since("12h").map(|since| since.as_secs()), Ok(12 * 3600));
    for wrong in ["", "d", "30", "-1d", "0d", "1y", "30é", "99999999999999999999d"] {
        assert!(since(wrong).is_err(), "{wrong}");
    }
}
