//! One line of the live area: `build 6/10  on platform: dashboard [4/9] RUN npm ci · 34 s · last 2 min 10 s`.
//! What there is no room for is cut at its end, and the times stay.

use crate::Step;
use crate::table::cut;
use crate::time::span;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use unicode_width::UnicodeWidthStr;

/// The steps of a deployment that goes well, by whose number people count.
const STEPS: [Step; 10] = [
    Step::Detect,
    Step::Push,
    Step::Preflight,
    Step::Backup,
    Step::Baseline,
    Step::Build,
    Step::Health,
    Step::Verify,
    Step::Prune,
    Step::Record,
];

/// What is known of a task.
#[derive(Clone, Debug)]
pub struct State {
    /// The step that it is a part of.
    pub step: Option<Step>,
    /// How long that took last time.
    pub last: Option<Duration>,
    /// Its host and service, and what is done to them.
    pub what: String,
    /// The host and the service alone, for programs.
    pub host: Option<String>,
    pub service: Option<String>,
    /// What is going on in it now.
    pub note: String,
    pub amount: Option<Amount>,
    pub since: Instant,
    /// Of what goes on in it now: when that began, and how long it took last time. It is shown in the place of the task's own.
    pub part: Option<(Instant, Option<Duration>)>,
    /// Of a step: the run that it is a step of.
    pub whole: Option<Whole>,
}

/// A run as a whole, at the begin of one of its steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whole {
    /// When it began.
    pub began: Instant,
    /// How long this step may take, where more is known than how long it took last time.
    pub step: Option<Duration>,
    /// How long the steps after this one took last time, all together.
    pub rest: Option<Duration>,
}

/// How much is done.
#[derive(Clone, Debug)]
pub struct Amount {
    pub done: Arc<AtomicU64>,
    pub total: Option<u64>,
    pub unit: &'static str,
}

impl Amount {
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

impl State {
    pub fn new(step: Option<(Step, Option<Duration>)>, what: String) -> Self {
        let (step, last) = step.map_or((None, None), |(step, last)| (Some(step), last));
        State {
            step,
            last,
            what,
            host: None,
            service: None,
            note: String::new(),
            amount: None,
            since: Instant::now(),
            part: None,
            whole: None,
        }
    }

    /// `in all 1 min 12 s · about 2 min 5 s left`, of a step whose run is known.
    pub fn foot(&self) -> Option<String> {
        let Whole { began, step, rest } = self.whole?;
        let all = format!("in all {}", seconds(began.elapsed()));
        let Some((step, rest)) = step.or(self.last).zip(rest) else { return Some(all) };
        Some(match step.checked_sub(self.since.elapsed()) {
            Some(left) if (left + rest).as_secs() > 0 => format!("{all} · about {} left", seconds(left + rest)),
            None if rest.as_secs() > 0 => format!("{all} · about {} after this step", seconds(rest)),
            _ => all,
        })
    }

    /// Whether it says no more than its step.
    pub fn is_bare(&self) -> bool {
        self.what.is_empty()
    }

    /// What is going on, without its step and its times.
    pub fn text(&self) -> String {
        let amount = self.amount.as_ref().map_or(String::new(), ToString::to_string);
        [self.what.as_str(), &amount, &self.note]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" · ")
    }

    /// The line, at most `width` columns wide.
    pub fn line(&self, width: usize) -> String {
        let number = |step: &Step| STEPS.iter().position(|other| other == step);
        let named = |step: Step| match number(&step) {
            Some(at) => format!("{step} {}/{}", at + 1, STEPS.len()),
            None => step.to_string(),
        };
        let step = self.step.map_or(String::new(), named);
        let (since, last) = self.part.unwrap_or((self.since, self.last));
        let mut times = seconds(since.elapsed());
        if let Some(last) = last.filter(|last| last.as_secs() > 0) {
            times.push_str(&format!(" · last {}", seconds(last)));
        }
        let text = self.text();
        let between = if text.is_empty() || step.is_empty() { "" } else { "  " };
        let room = width.saturating_sub(step.width() + between.len() + " · ".width() + times.width());
        cut(&format!("{step}{between}{} · {times}", cut(&text, room)), width)
    }
}

impl fmt::Display for Amount {
    /// `12 of 200 requests`, `4.1 MB of 12 MB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |count: u64| if self.unit == "bytes" { bytes(count) } else { count.to_string() };
        f.write_str(&number(self.done()))?;
        if let Some(total) = self.total {
            write!(f, " of {}", number(total))?;
        }
        if self.unit == "bytes" { Ok(()) } else { write!(f, " {}", self.unit) }
    }
}

/// In whole seconds, one at least.
fn seconds(duration: Duration) -> String {
    span(Duration::from_secs(duration.as_secs().max(1)))
}

fn bytes(count: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let power = (1..units.len()).take_while(|power| count >= 1000_u64.pow(*power as u32)).count();
    let scaled = count as f64 / 1000_f64.powi(power as i32);
    if power == 0 || scaled >= 99.5 {
        format!("{scaled:.0} {}", units[power])
    } else {
        format!("{scaled:.1} {}", units[power])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_and_keeps_its_times() {
        let mut state = State::new(Some((Step::Build, Some(Duration::from_secs(130)))), "on platform: web".to_owned());
        state.note = "[4/9] RUN npm ci --no-audit".to_owned();
        assert_eq!(
            state.line(99),
            "build 6/10  on platform: web · [4/9] RUN npm ci --no-audit · 1 s · last 2 min 10 s"
        );
        assert_eq!(state.line(64), "build 6/10  on platform: web · [4/9] RU… · 1 s · last 2 min 10 s");
        state.note.push_str(" 漢字漢字");
        for width in 0..120 {
            assert!(state.line(width).width() <= width, "{width}");
        }
    }

    #[test]
    fn what_goes_on_in_a_task_has_times_of_its_own() {
        let mut state = State::new(Some((Step::Build, Some(Duration::from_secs(130)))), "platform: web".to_owned());
        state.note = "[4/9] RUN npm ci".to_owned();
        state.part = Some((Instant::now(), Some(Duration::from_secs(34))));
        assert_eq!(state.line(99), "build 6/10  platform: web · [4/9] RUN npm ci · 1 s · last 34 s");
        state.part = Some((Instant::now(), None));
        assert_eq!(state.line(99), "build 6/10  platform: web · [4/9] RUN npm ci · 1 s", "nothing is known of it");
    }

    #[test]
    fn the_foot_says_how_long_the_whole_run_may_take_still() {
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).expect("a machine that runs");
        let of = |last: Option<u64>, step: Option<u64>, rest: Option<u64>, runs_for: u64| {
            let mut state = State::new(Some((Step::Build, last.map(Duration::from_secs))), String::new());
            state.since = ago(runs_for);
            let of = |seconds: Option<u64>| seconds.map(Duration::from_secs);
            state.whole = Some(Whole { began: ago(72), step: of(step), rest: of(rest) });
            state.foot().expect("a foot")
        };
        assert_eq!(of(None, None, None, 1), "in all 72 s");
        assert_eq!(of(Some(100), None, Some(41), 20), "in all 72 s · about 2 min 0 s left");
        assert_eq!(of(Some(100), Some(400), Some(41), 20), "in all 72 s · about 7 min 0 s left", "more is known");
        assert_eq!(of(Some(10), None, Some(41), 20), "in all 72 s · about 41 s after this step", "it takes longer");
        assert_eq!(of(Some(10), None, Some(0), 20), "in all 72 s");
        assert_eq!(State::new(None, String::new()).foot(), None, "of no run");
    }

    #[test]
    fn amounts_are_short() {
        let amount = |done, total, unit| Amount { done: Arc::new(AtomicU64::new(done)), total, unit }.to_string();
        assert_eq!(amount(12, Some(200), "requests"), "12 of 200 requests");
        assert_eq!(amount(4_100_000, Some(123_456_789), "bytes"), "4.1 MB of 123 MB");
        assert_eq!(amount(999, None, "bytes"), "999 B");
    }
}
