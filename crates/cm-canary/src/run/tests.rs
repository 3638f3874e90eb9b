//! The canary against real servers on this machine.

use super::*;
use crate::not_asked;
use cm_core::Exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A release: every `every`th answer is an error (0: none), each after `delay`.
async fn release(every: u32, delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let counter = Arc::new(AtomicU32::new(1));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut request = [0; 2048];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    tokio::time::sleep(delay).await;
                    let number = counter.fetch_add(1, Ordering::Relaxed);
                    let status = if every > 0 && number.is_multiple_of(every) { "503 Busy" } else { "200 OK" };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("http://127.0.0.1:{port}/")
}

/// How fast an answer comes is up to what else this machine does, and counts for nothing.
fn canary(url: &str) -> Canary {
    let (url, latency) = (Some(cm_project::Template::literal(url)), cm_project::Consequence::Pass);
    Canary { url, latency, requests: 120, ..Canary::default() }
}

fn target(url: &str) -> Target {
    Target::public(&canary(url), Duration::from_secs(2)).expect("valid").expect("a URL")
}

async fn asked(url: &str, settings: &Canary) -> Side {
    let mut side = Side::default();
    baseline(&target(url), settings, &mut side).await;
    side
}

async fn nothing_restarted() -> Result<Vec<String>> {
    Ok(Vec::new())
}

async fn run(
    target: &Target,
    canary: &Canary,
    old: Option<&Side>,
    changed: impl AsyncFn() -> Result<Vec<String>>,
) -> CanaryReport {
    let (report, side) = super::run(target, canary, old, changed).await;
    assert_eq!((side.samples.requests, side.samples.failures), (report.requests, report.failures));
    report
}

/// A part of a name has 63 bytes at most: nobody is asked for this one, and no name server makes the test wait.
const NOWHERE: &str = "http://no-such-name-no-such-name-no-such-name-no-such-name-no-such-name-.invalid/";

#[tokio::test]
async fn a_release_is_judged_by_the_one_before_it() {
    let (good, bad) = (release(0, Duration::ZERO).await, release(8, Duration::ZERO).await);
    let settings = canary(&good);
    let before = asked(&good, &settings).await;
    assert_eq!((before.samples.requests, before.samples.failures), (360, 0));
    let same = run(&target(&good), &settings, Some(&before), nothing_restarted).await;
    assert_eq!((same.verdict, same.requests), (CanaryVerdict::Pass, 120), "{}", same.message);
    let (now, then) = (&same.percentiles_ms, &same.baseline.as_ref().expect("a baseline").percentiles_ms);
    assert!(now.is_sorted() && now.len() == 21 && then.len() == 21, "{now:?} {then:?}");
    assert_eq!((Some(now[10]), Some(now[19])), (same.median_ms, same.p95_ms));
    let worse = run(&target(&bad), &settings, Some(&before), nothing_restarted).await;
    assert_eq!((worse.verdict, worse.code.as_str()), (CanaryVerdict::Fail, "errors"), "{}", worse.message);
    assert_eq!(worse.severity, Severity::P1);
    // The same errors are nothing new where the old release makes them too.
    let before = asked(&bad, &settings).await;
    let same = run(&target(&bad), &settings, Some(&before), nothing_restarted).await;
    assert_eq!(same.verdict, CanaryVerdict::Pass, "{}", same.message);
}

#[tokio::test]
async fn gross_failure_ends_it_at_once_and_a_restart_too() {
    let broken = release(1, Duration::ZERO).await;
    let report = run(&target(&broken), &canary(&broken), None, nothing_restarted).await;
    assert_eq!((report.verdict, report.code.as_str(), report.severity), (CanaryVerdict::Fail, "row", Severity::P0));
    assert!(report.requests < 10, "{report:?}");
    assert_eq!(report.message, "3 of 3 requests failed, 3 in a row: answered 503");
    let good = release(0, Duration::ZERO).await;
    let restarted = async || Ok(vec!["web restarted".to_owned()]);
    let report = run(&target(&good), &canary(&good), None, restarted).await;
    assert_eq!((report.verdict, report.code.as_str()), (CanaryVerdict::Fail, "restart"), "{}", report.message);
}

#[tokio::test]
async fn a_slower_release_beside_the_old_one_is_found() {
    let (old, new) = (release(0, Duration::from_millis(2)).await, release(0, Duration::from_millis(60)).await);
    let settings = Canary { latency: cm_project::Consequence::Fail, ..canary(&new) };
    let report = side_by_side(&target(&old), &target(&new), &settings, nothing_restarted).await;
    assert_eq!((report.verdict, report.code.as_str()), (CanaryVerdict::Fail, "latency"), "{}", report.message);
    let report = side_by_side(&target(&old), &target(&old), &settings, nothing_restarted).await;
    assert_eq!(report.verdict, CanaryVerdict::Pass, "{}", report.message);
}

#[tokio::test]
async fn beside_the_old_one_errors_a_restart_and_silence_count() {
    let (good, bad) = (release(0, Duration::ZERO).await, release(5, Duration::ZERO).await);
    let report = side_by_side(&target(&good), &target(&bad), &canary(&bad), nothing_restarted).await;
    assert_eq!((report.verdict, report.code.as_str()), (CanaryVerdict::Fail, "errors"), "{}", report.message);
    let old = report.baseline.expect("the old one");
    assert_eq!((report.requests, report.failures, old.requests, old.failures), (120, 24, 120, 0));
    // The old one makes the same errors.
    let other = release(5, Duration::ZERO).await;
    let report = side_by_side(&target(&other), &target(&bad), &canary(&bad), nothing_restarted).await;
    assert_eq!(report.verdict, CanaryVerdict::Pass, "{}", report.message);
    // Three in a row end it at once, unless the old one fails, too.
    let down = release(1, Duration::ZERO).await;
    let report = side_by_side(&target(&good), &target(&down), &canary(&down), nothing_restarted).await;
    assert_eq!(
        (report.verdict, report.code.as_str(), report.requests),
        (CanaryVerdict::Fail, "row", 3),
        "{}",
        report.message
    );
    let report = side_by_side(&target(&down), &target(&down), &canary(&down), nothing_restarted).await;
    assert_eq!((report.verdict, report.requests), (CanaryVerdict::Fail, 100), "{}", report.message);
    let restarted = async || Ok(vec!["web restarted".to_owned()]);
    let report = side_by_side(&target(&good), &target(&good), &canary(&good), restarted).await;
    assert_eq!((report.verdict, report.code.as_str()), (CanaryVerdict::Fail, "restart"), "{}", report.message);
    let nowhere = NOWHERE;
    let report = side_by_side(&target(&good), &target(nowhere), &canary(nowhere), nothing_restarted).await;
    assert_eq!((report.verdict, report.requests), (CanaryVerdict::Inconclusive, 0), "{}", report.message);
}

#[tokio::test]
async fn a_baseline_that_was_ended_is_gone_on_with() {
    let good = release(0, Duration::ZERO).await;
    let mut side = Side::default();
    let some = |side: &Side| side.samples.requests >= 100;
    target(&good).ask_many(360, &mut side, some).await;
    baseline(&target(&good), &canary(&good), &mut side).await;
    assert_eq!((side.samples.requests, side.samples.failures), (360, 0));
}

#[tokio::test]
async fn what_cannot_be_asked_is_no_pass() {
    let nowhere = NOWHERE;
    let report = run(&target(nowhere), &canary(nowhere), None, nothing_restarted).await;
    assert_eq!((report.verdict, report.requests), (CanaryVerdict::Inconclusive, 0), "{}", report.message);
    let report = not_asked("${X}", "the variable X is not set".to_owned(), &Canary::default());
    assert_eq!(report.message, "no request could be judged: the variable X is not set");
    let before = asked(nowhere, &canary(nowhere)).await;
    assert_eq!((before.samples.requests, before.samples.not_judged), (0, 3));
}

#[tokio::test]
async fn a_restart_ends_it_at_once_although_every_answer_is_good() {
    let good = release(0, Duration::from_millis(50)).await;
    // Minutes of requests: an end that waits for the last one would be seen.
    let settings = Canary { requests: 1_000_000, ..canary(&good) };
    let looks = AtomicU32::new(0);
    let restarted = async || {
        let second = looks.fetch_add(1, Ordering::Relaxed) > 0;
        Ok(Vec::from_iter(second.then(|| "web ended with exit code 9".to_owned())))
    };
    let report = run(&target(&good), &settings, None, &restarted).await;
    assert_eq!(
        (report.verdict, report.code.as_str(), report.failures),
        (CanaryVerdict::Fail, "restart", 0),
        "{report:?}"
    );
    assert!(report.message.starts_with("web ended with exit code 9 while it was asked; 0 of "), "{}", report.message);
    looks.store(0, Ordering::Relaxed);
    let report = side_by_side(&target(&good), &target(&good), &settings, &restarted).await;
    assert_eq!((report.verdict, report.code.as_str()), (CanaryVerdict::Fail, "restart"), "{report:?}");
}

#[tokio::test]
async fn good_answers_are_no_pass_where_restarts_were_not_seen() {
    let unseen = async || Err(cm_core::Failure::new(Exit::HealthUnknown, "engine.unreachable", "no engine"));
    let (good, down) = (release(0, Duration::ZERO).await, release(1, Duration::ZERO).await);
    for report in [
        run(&target(&good), &canary(&good), None, unseen).await,
        side_by_side(&target(&good), &target(&good), &canary(&good), unseen).await,
    ] {
        assert_eq!(
            (report.verdict, report.code.as_str()),
            (CanaryVerdict::Inconclusive, "unseen"),
            "{}",
            report.message
        );
        assert!(report.requests >= 120, "what was seen is still told: {report:?}");
        assert!(
            report.message.ends_with("whether a container restarted was not seen: no engine"),
            "{}",
            report.message
        );
    }
    let report = run(&target(&down), &canary(&down), None, unseen).await;
    assert_eq!((report.verdict, report.code.as_str()), (CanaryVerdict::Fail, "row"), "{}", report.message);
}
