//! When a canary fails, passes, or cannot say. Pure.
//!
//! Absolute rules find gross failure: three errors in a row, half of all requests,
//! more than `cm.toml` allows. Where the old release itself fails now and then, the row
//! that counts is longer, as long as chance would hardly ever make one.
//!
//! Relative rules compare with the old release, and only where both sides have enough
//! requests: errors by Fisher's test, latency by the Mann–Whitney test with an effect
//! size, and its tail by how many answers are slower than the old 95th percentile.
//! What is significant must also be material to count. A comparison in doubt is looked
//! at a second time, with as many requests again; the levels of the two looks together
//! keep false alarms below 2 %.

use super::side::Side;
use super::stats::{self, Share};
use cm_core::facts::CanaryVerdict;
use cm_project::{Canary, Consequence, Severity};

/// As many errors in a row decide at once where the old release makes none.
const IN_A_ROW: u32 = 3;

/// How likely chance may make the row that decides, where the old release makes errors.
const ROW_BY_CHANCE: f64 = 0.001;

/// A larger share of errors than this is gross failure, whatever the old release did.
const GROSS: f64 = 0.5;

/// The error rate that is tolerable where there is nothing to compare with.
const TOLERABLE: f64 = 0.01;

/// A probability that a rate would have shown.
const CONFIDENCE: f64 = 0.95;

/// A slowdown counts from this on: by this factor, and by this many milliseconds.
const MATERIAL: (f64, f64) = (1.25, 20.0);

/// The levels of one look.
struct Levels {
    errors: f64,
    ranks: f64,
    tail: f64,
    /// From this on a comparison is worth a second look.
    doubt: f64,
}

const FIRST: Levels = Levels { errors: 0.004, ranks: 0.000_5, tail: 0.001, doubt: 0.2 };
const LAST: Levels = Levels { errors: 0.008, ranks: 0.001, tail: 0.003, doubt: 0.0 };

/// Which look this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Look {
    /// There can be another one.
    First,
    /// There is none after it.
    Last,
}

/// What a canary came to, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: CanaryVerdict,
    /// For scripts: `row`, `gross`, `errors`, `latency`, `restart`, `few`, …
    pub code: &'static str,
    /// Why, for people.
    pub message: String,
    /// How bad it would be.
    pub severity: Severity,
    /// The smallest error rate that would have shown 95 times in 100.
    pub detectable: Option<f64>,
    /// Whether as many requests again could decide.
    pub in_doubt: bool,
}

/// What a judgement rests on, apart from the samples.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// `[canary]` of `cm.toml`.
    pub canary: &'a Canary,
    /// What became of containers meanwhile: `web restarted`.
    pub changed: &'a [String],
}

impl Rules<'_> {
    /// As many failures in a row as decide at once. An old release that fails now and
    /// then makes short rows by chance.
    pub fn row(&self, old: Option<&Side>) -> u32 {
        let Some(old) = old.filter(|old| old.samples.requests >= self.canary.min_requests) else { return IN_A_ROW };
        let rate = f64::from(old.samples.failures + 1) / f64::from(old.samples.requests + 2);
        let by_chance = |row: &u32| f64::from(self.canary.requests) * rate.powf(f64::from(*row)) > ROW_BY_CHANCE;
        (IN_A_ROW..30).find(|row| !by_chance(row)).unwrap_or(30)
    }

    /// Whether more requests would change nothing.
    pub fn is_decided(&self, new: &Side, row: u32) -> bool {
        let too_many = self.canary.max_failures.is_some_and(|most| new.samples.failures > most);
        new.failing_now() >= row || new.silent_now() >= IN_A_ROW || too_many
    }

    /// The judgement on `new`; `old` is what ran before, or runs alongside it.
    pub fn judge(&self, new: &Side, old: Option<&Side>, look: Look) -> Judgement {
        let enough = |side: &&Side| side.samples.requests >= self.canary.min_requests;
        if let Some(gross) = self.gross(new, old) {
            return gross;
        }
        if !enough(&new) {
            return few(new, self.canary.min_requests);
        }
        match old.filter(enough) {
            Some(old) => self.compare(new, old, look),
            None => alone(new, old),
        }
    }

    fn gross(&self, new: &Side, old: Option<&Side>) -> Option<Judgement> {
        let because = new.samples.first_failure.as_ref().map_or(String::new(), |why| format!(": {why}"));
        let counted = counted(new);
        if !self.changed.is_empty() {
            let message = format!("{} while it was asked; {counted}{because}", self.changed.join(", "));
            return Some(fail("restart", Severity::P1, message));
        }
        if new.samples.longest_row >= self.row(old) {
            return Some(fail(
                "row",
                Severity::P0,
                format!("{counted}, {} in a row{because}", new.samples.longest_row),
            ));
        }
        if new.samples.requests >= IN_A_ROW && new.errors().rate() > GROSS {
            return Some(fail("gross", Severity::P0, format!("{counted}{because}")));
        }
        let most = self.canary.max_failures.filter(|most| new.samples.failures > *most)?;
        Some(fail("too-many", Severity::P1, format!("{counted}, {most} may{because}")))
    }

    fn compare(&self, new: &Side, old: &Side, look: Look) -> Judgement {
        let levels = if look == Look::First { FIRST } else { LAST };
        let because = new.samples.first_failure.as_ref().map_or(String::new(), |why| format!(": {why}"));
        let errors = stats::fisher(new.errors(), old.errors());
        if errors < levels.errors {
            let message = format!("{}, {}{because}", counted(new), before(old));
            return fail("errors", Severity::P1, message);
        }
        let slow = Slow::compare(&new.sorted(), &old.sorted());
        if let Some(message) = slow.message(&levels) {
            let message = format!("{message}; {}", counted(new));
            return match self.canary.latency {
                Consequence::Fail => fail("latency", Severity::P2, message),
                Consequence::Warn => undecided("latency", message, false),
                Consequence::Pass => pass(message, None),
            };
        }
        let slow_counts = self.canary.latency != Consequence::Pass;
        let in_doubt = errors < levels.doubt && new.samples.failures > 0 || slow_counts && slow.in_doubt(&levels);
        let critical = critical(new.samples.requests, old.errors(), levels.errors);
        let detectable = stats::smallest_seen(critical.saturating_sub(1), new.samples.requests, CONFIDENCE);
        let latency = slow.words();
        let seen = detectable
            .map_or(String::new(), |rate| format!("; an error rate of {} or more would have shown", percent(rate)));
        let message = format!("{}, {}{seen}{latency}", counted(new), before(old));
        Judgement { in_doubt, ..pass(message, detectable) }
    }
}

/// What latencies say.
struct Slow {
    ranks: stats::Ranks,
    ratio: f64,
    medians: Option<(f64, f64)>,
    tail: f64,
    p95: Option<(f64, f64)>,
}

impl Slow {
    fn compare(new: &[f64], old: &[f64]) -> Slow {
        let ranks = stats::mann_whitney(new, old);
        let both = |share| stats::quantile(new, share).zip(stats::quantile(old, share));
        let p95 = both(0.95);
        let slower = |values: &[f64]| {
            let than = p95.map_or(f64::INFINITY, |(_, old)| old);
            let hits = values.len() - values.partition_point(|value| *value <= than);
            Share { hits: count(hits), total: count(values.len()) }
        };
        let tail = stats::fisher(slower(new), slower(old));
        // All pairs are many: only where it matters.
        let ratio = if ranks.p < FIRST.doubt { stats::ratio(new, old) } else { 1.0 };
        Slow { ranks, ratio, medians: both(0.5), tail, p95 }
    }

    fn message(&self, levels: &Levels) -> Option<String> {
        let (medians, p95) = (self.medians?, self.p95?);
        if self.ranks.p < levels.ranks && self.whole_is_material() {
            let larger = self.ranks.larger * 100.0;
            return Some(format!(
                "slower by {}: median {}, before {} ({larger:.0} of 100 answers are slower than before)",
                percent(self.ratio - 1.0),
                ms(medians.0),
                ms(medians.1)
            ));
        }
        (self.tail < levels.tail && self.tail_is_material())
            .then(|| format!("the slowest answers are slower: 95 % took up to {}, before {}", ms(p95.0), ms(p95.1)))
    }

    fn whole_is_material(&self) -> bool {
        self.ratio >= MATERIAL.0 && self.medians.is_some_and(|(new, old)| new - old >= MATERIAL.1)
    }

    fn tail_is_material(&self) -> bool {
        self.p95.is_some_and(|(new, old)| new >= old * MATERIAL.0 && new - old >= MATERIAL.1)
    }

    fn in_doubt(&self, levels: &Levels) -> bool {
        (self.ranks.p < levels.doubt && self.whole_is_material())
            || (self.tail < levels.doubt && self.tail_is_material())
    }

    fn words(&self) -> String {
        self.medians.map_or(String::new(), |(new, old)| format!("; median {}, before {}", ms(new), ms(old)))
    }
}

/// The smallest number of failures that would have failed the comparison.
fn critical(total: u32, old: Share, level: f64) -> u32 {
    let at_least = (old.rate() * f64::from(total)) as u32;
    (at_least..=total).find(|hits| stats::fisher(Share { hits: *hits, total }, old) < level).unwrap_or(total)
}

/// Nothing to compare with: an error alone does not condemn the release, unless there are many.
fn alone(new: &Side, old: Option<&Side>) -> Judgement {
    let because = new.samples.first_failure.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let nothing = match old {
        None => "nothing to compare with".to_owned(),
        Some(old) => format!("only {} requests to compare with", old.samples.requests),
    };
    let detectable = stats::smallest_seen(0, new.samples.requests, CONFIDENCE);
    if new.samples.failures == 0 {
        let rate = detectable
            .map_or(String::new(), |rate| format!("; an error rate of {} or more would have shown", percent(rate)));
        let median =
            stats::quantile(&new.sorted(), 0.5).map_or(String::new(), |median| format!("; median {}", ms(median)));
        return pass(format!("{}{rate}{median}; {nothing}", counted(new)), detectable);
    }
    if 1.0 - stats::at_most(new.samples.failures - 1, new.samples.requests, TOLERABLE) < LAST.errors {
        return fail("errors", Severity::P1, format!("{}; {nothing}{because}", counted(new)));
    }
    undecided("nothing-to-compare", format!("{}; {nothing}{because}", counted(new)), true)
}

fn few(new: &Side, wanted: u32) -> Judgement {
    let excuse = new.samples.excuse.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let because = new.samples.first_failure.as_ref().map_or(String::new(), |why| format!(": {why}"));
    if new.samples.requests == 0 {
        return undecided("few", format!("no request could be judged{excuse}"), false);
    }
    let seen = stats::smallest_seen(0, new.samples.requests, CONFIDENCE).filter(|_| new.samples.failures == 0);
    let seen = seen.map_or(String::new(), |rate| format!(", an error rate below {} would not show", percent(rate)));
    let message = format!("{}{because}; {} are fewer than {wanted}{seen}{excuse}", counted(new), new.samples.requests);
    undecided("few", message, false)
}

fn fail(code: &'static str, severity: Severity, message: String) -> Judgement {
    Judgement { verdict: CanaryVerdict::Fail, code, message, severity, detectable: None, in_doubt: false }
}

fn undecided(code: &'static str, message: String, in_doubt: bool) -> Judgement {
    Judgement {
        verdict: CanaryVerdict::Inconclusive,
        code,
        message,
        severity: Severity::P2,
        detectable: None,
        in_doubt,
    }
}

fn pass(message: String, detectable: Option<f64>) -> Judgement {
    Judgement { verdict: CanaryVerdict::Pass, code: "ok", message, severity: Severity::P3, detectable, in_doubt: false }
}

fn counted(side: &Side) -> String {
    format!("{} of {} requests failed", side.samples.failures, side.samples.requests)
}

fn before(old: &Side) -> String {
    format!("before {} of {}", old.samples.failures, old.samples.requests)
}

fn percent(rate: f64) -> String {
    match rate * 100.0 {
        small @ ..10.0 => format!("{small:.1} %"),
        large => format!("{large:.0} %"),
    }
}

fn ms(value: f64) -> String {
    if value < 10.0 { format!("{value:.1} ms") } else { format!("{value:.0} ms") }
}

fn count(number: usize) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::side::Sample;
    use super::*;
    use std::time::Duration;

    fn side(samples: &str) -> Side {
        let mut side = Side::default();
        for sample in samples.chars() {
            side.add(match sample {
                '.' => Sample::Good(Duration::from_millis(10)),
                'x' => Sample::Failed("answered 503".to_owned()),
                't' => Sample::TurnedAway,
                _ => Sample::NotMade("the name does not resolve here".to_owned()),
            });
        }
        side
    }

    fn canary() -> Canary {
        Canary { requests: 200, ..Canary::default() }
    }

    fn verdict(canary: &Canary, new: &str, old: Option<&str>) -> (CanaryVerdict, &'static str) {
        let rules = Rules { canary, changed: &[] };
        let old = old.map(side);
        let judgement = rules.judge(&side(new), old.as_ref(), Look::Last);
        (judgement.verdict, judgement.code)
    }

    #[test]
    fn gross_failure_needs_no_comparison() {
        let strict = Canary { max_failures: Some(1), ..canary() };
        let good = ".".repeat(200);
        for (canary, new, wanted) in [
            (&canary(), "...xxx", (CanaryVerdict::Fail, "row")),
            (&canary(), "xx.", (CanaryVerdict::Fail, "gross")),
            (&strict, "..x..x", (CanaryVerdict::Fail, "too-many")),
            (&strict, &format!("{good}x"), (CanaryVerdict::Inconclusive, "nothing-to-compare")),
            (&canary(), "..xx..", (CanaryVerdict::Inconclusive, "few")),
            (&canary(), "", (CanaryVerdict::Inconclusive, "few")),
            (&canary(), "???", (CanaryVerdict::Inconclusive, "few")),
        ] {
            assert_eq!(verdict(canary, new, None), wanted, "{new}");
            assert_eq!(verdict(canary, new, Some("....")), wanted, "{new}");
        }
        let (canary, changed) = (canary(), ["web restarted".to_owned()]);
        let judgement = Rules { canary: &canary, changed: &changed }.judge(&side(&good), None, Look::First);
        assert_eq!((judgement.verdict, judgement.code), (CanaryVerdict::Fail, "restart"));
    }

    #[test]
    fn twenty_requests_are_too_few_to_pass() {
        let canary = Canary { requests: 20, ..Canary::default() };
        let judgement = Rules { canary: &canary, changed: &[] }.judge(
            &side(&".".repeat(20)),
            Some(&side(&".".repeat(60))),
            Look::Last,
        );
        assert_eq!(judgement.verdict, CanaryVerdict::Inconclusive);
        assert_eq!(
            judgement.message,
            "0 of 20 requests failed; 20 are fewer than 100, an error rate below 14 % would not show"
        );
    }

    #[test]
    fn a_pass_says_what_would_have_shown() {
        let canary = canary();
        let rules = Rules { canary: &canary, changed: &[] };
        let (new, old) = (side(&".".repeat(200)), side(&".".repeat(600)));
        let judgement = rules.judge(&new, Some(&old), Look::Last);
        assert_eq!(judgement.verdict, CanaryVerdict::Pass);
        assert_eq!(
            judgement.message,
            "0 of 200 requests failed, before 0 of 600; an error rate of 3.1 % or more would have shown; median 10 ms, before 10 ms"
        );
        let judgement = rules.judge(&new, None, Look::Last);
        assert_eq!(
            judgement.message,
            "0 of 200 requests failed; an error rate of 1.5 % or more would have shown; median 10 ms; nothing to compare with"
        );
    }

    #[test]
    fn an_old_release_that_fails_itself_allows_longer_rows() {
        let canary = Canary { requests: 500, ..Canary::default() };
        let rules = Rules { canary: &canary, changed: &[] };
        let old = side(&format!("{}x", ".".repeat(19)).repeat(75));
        assert_eq!(rules.row(None), 3);
        assert_eq!(rules.row(Some(&side(&".".repeat(1_500)))), 3);
        assert_eq!(rules.row(Some(&old)), 5);
    }

    #[test]
    fn a_slowdown_does_what_cm_toml_says_and_a_small_one_nothing() {
        let at = |ms: u64| {
            let mut side = Side::default();
            (0..200).for_each(|n| side.add(Sample::Good(Duration::from_millis(ms + n % 10))));
            side
        };
        for (latency, new, wanted) in [
            (Consequence::Fail, 160, (CanaryVerdict::Fail, "latency")),
            (Consequence::Warn, 160, (CanaryVerdict::Inconclusive, "latency")),
            (Consequence::Pass, 160, (CanaryVerdict::Pass, "ok")),
            (Consequence::Fail, 115, (CanaryVerdict::Pass, "ok")),
        ] {
            let canary = Canary { latency, ..canary() };
            let judgement = Rules { canary: &canary, changed: &[] }.judge(&at(new), Some(&at(100)), Look::Last);
            assert_eq!((judgement.verdict, judgement.code), wanted, "{judgement:?}");
        }
        // Twice as slow, and nobody would notice.
        let canary = canary();
        let judgement = Rules { canary: &canary, changed: &[] }.judge(&at(12), Some(&at(2)), Look::Last);
        assert_eq!(judgement.verdict, CanaryVerdict::Pass);
    }
}
