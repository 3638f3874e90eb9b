//! What the rules do over a thousand made-up deployments a scenario: how often they
//! cry wolf, and how often they find what is there. The seeds are fixed; what is
//! measured is printed (`--nocapture`).
#![expect(clippy::print_stdout, reason = "the shares are results that people read")]

use super::rules::{Look, Rules};
use super::side::{Sample, Side};
use cm_core::facts::CanaryVerdict;
use cm_project::Canary;
use std::time::Duration;

const DEPLOYMENTS: u64 = 1_000;

/// xorshift64*: enough for a simulation, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Box–Muller.
    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }
}

/// How a release behaves.
#[derive(Clone, Copy)]
struct Release {
    errors: f64,
    /// The factor on every latency.
    slower: f64,
    /// The factor on the slowest tenth alone.
    tail: f64,
}

const SAME: Release = Release { errors: 0.0, slower: 1.0, tail: 1.0 };

impl Release {
    /// Latencies are log-normal: median 100 ms, 95 % within 228 ms.
    fn ask(&self, dice: &mut Dice) -> Sample {
        if dice.unit() < self.errors {
            return Sample::Failed("answered 500".to_owned());
        }
        let z = dice.normal();
        let tail = if z > 1.2816 { self.tail } else { 1.0 };
        Sample::Good(Duration::from_secs_f64(0.1 * (0.5 * z).exp() * self.slower * tail))
    }
}

/// One deployment, asked as [`super::run`] asks.
fn deploy(canary: &Canary, old: Release, new: Release, seed: u64) -> CanaryVerdict {
    let dice = &mut Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed + 1));
    let rules = Rules { canary, changed: &[] };
    let mut before = Side::default();
    (0..canary.baseline_requests()).for_each(|_| before.add(old.ask(dice)));
    let row = rules.row(Some(&before));
    let mut after = Side::default();
    let mut look = |after: &mut Side, look: Look| {
        for _ in 0..canary.requests {
            if rules.is_decided(after, row) {
                break;
            }
            after.add(new.ask(dice));
        }
        rules.judge(after, Some(&before), look)
    };
    let first = look(&mut after, Look::First);
    if first.in_doubt { look(&mut after, Look::Last).verdict } else { first.verdict }
}

/// The share of deployments with this verdict, in percent.
fn share(verdict: CanaryVerdict, requests: u32, old: Release, new: Release) -> f64 {
    let canary = Canary { requests, ..Canary::default() };
    let found = (0..DEPLOYMENTS).filter(|seed| deploy(&canary, old, new, *seed) == verdict).count();
    found as f64 * 100.0 / DEPLOYMENTS as f64
}

#[test]
fn a_release_that_is_no_worse_is_hardly_ever_failed() {
    for errors in [0.0, 0.01, 0.05, 0.10] {
        let same = Release { errors, ..SAME };
        for requests in [200, 500] {
            let alarms = share(CanaryVerdict::Fail, requests, same, same);
            println!("false alarms at {requests} requests and {:.1} % errors: {alarms:.1} %", errors * 100.0);
            assert!(alarms <= 2.0, "{alarms} % at {errors}");
        }
    }
}

#[test]
fn a_doubled_error_rate_is_found() {
    let (old, new) = (Release { errors: 0.05, ..SAME }, Release { errors: 0.10, ..SAME });
    let found = share(CanaryVerdict::Fail, 500, old, new);
    println!("errors from 5 to 10 % at 500 requests: found in {found:.1} %");
    assert!(found >= 95.0, "{found} %");
}

#[test]
fn a_slower_release_is_found_also_where_only_the_slowest_answers_are_slower() {
    for (what, new) in [
        ("every answer slower by half", Release { slower: 1.5, ..SAME }),
        ("the slowest tenth slower by half", Release { tail: 1.5, ..SAME }),
    ] {
        let found = share(CanaryVerdict::Fail, 500, SAME, new);
        println!("{what}, at 500 requests: found in {found:.1} %");
        assert!(found >= 95.0, "{what}: {found} %");
    }
}

#[test]
fn twenty_requests_never_pass() {
    for new in [SAME, Release { errors: 0.05, ..SAME }] {
        assert_eq!(share(CanaryVerdict::Pass, 20, SAME, new), 0.0);
    }
    assert_eq!(share(CanaryVerdict::Inconclusive, 20, SAME, SAME), 100.0);
}
