//! The drawings, as SVG inside the page. Words stay outside of the bars, which stretch with
//! the window; numbers are the only things that reach an attribute.

use crate::model::{Canary, Side, Tone, Watched};
use maud::{Markup, html};

/// A bar's own unit: it is as many wide, whatever the window is.
const WIDE: f64 = 1_000.0;

/// What takes no time can still be seen.
const LEAST: f64 = 5.0;

/// The class of a tone.
pub fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Warn => "warn",
        Tone::Bad => "bad",
        Tone::None => "none",
    }
}

/// A piece of a bar.
pub struct Piece {
    pub from_ms: u64,
    pub length_ms: u64,
    pub tone: Tone,
}

/// A bar of `pieces` on a line of `whole_ms`. It says what the words alongside it say, too.
pub fn bar(pieces: &[Piece], whole_ms: u64) -> Markup {
    let scale = |ms: u64| ms as f64 * WIDE / whole_ms.max(1) as f64;
    html! {
        svg.bar viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
            rect.lane x="0" y="0" width="1000" height="10" {}
            @for quarter in [250, 500, 750] { line.tick x1=(quarter) x2=(quarter) y1="0" y2="10" {} }
            @for piece in pieces {
                @let width = scale(piece.length_ms).max(LEAST);
                rect class=(class(piece.tone)) x=(number(scale(piece.from_ms).min(WIDE - width).max(0.0)))
                    y="0" width=(number(width.min(WIDE))) height="10" {}
            }
        }
    }
}

/// How a service looked over time.
pub fn timeline(watched: &Watched) -> Vec<Piece> {
    let last = watched.timeline.len().saturating_sub(1);
    let piece = |(index, (from, phase)): (usize, &(u64, crate::text::Text))| {
        let until = watched.timeline.get(index + 1).map_or(watched.waited_ms, |(next, _)| *next);
        let tone = match phase.as_str() {
            "good" | "good so far" | "healthy" | "finished" => Tone::Good,
            _ if index == last && watched.tone == Tone::Bad => Tone::Bad,
            "no-data" | "not-awaited" => Tone::None,
            _ => Tone::Warn,
        };
        Piece { from_ms: *from, length_ms: until.saturating_sub(*from), tone }
    };
    if watched.timeline.is_empty() {
        return vec![Piece { from_ms: 0, length_ms: watched.waited_ms, tone: watched.tone }];
    }
    watched.timeline.iter().enumerate().map(piece).collect()
}

/// The frame of the distribution, in its own units.
const FRAME: (f64, f64) = (360.0, 180.0);

/// The latencies of the old release alongside those of the new one: how many of the answers
/// came within which time. `None` where neither is known.
pub fn latencies(canary: &Canary) -> Option<Markup> {
    let old = canary.old.as_ref().filter(|side| side.percentiles.len() > 1);
    let new = Some(&canary.new).filter(|side| side.percentiles.len() > 1);
    // The slowest answers of all would squeeze the rest into a corner.
    let slow = |side: &Side| side.percentiles.iter().rev().nth(1).copied().unwrap_or(0.0);
    let longest = [old, new].into_iter().flatten().map(slow).fold(0.0, f64::max) * 1.15;
    if longest <= 0.0 {
        return None;
    }
    let (wide, high) = FRAME;
    let points = |side: &Side| {
        let steps = (side.percentiles.len() - 1) as f64;
        let point = |(index, ms): (usize, &f64)| {
            format!("{},{}", number(ms / longest * wide), number(high - index as f64 / steps * high))
        };
        side.percentiles.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
    };
    let step = step(longest);
    let ticks: Vec<f64> = (0..).map(|n| f64::from(n) * step).take_while(|ms| *ms <= longest).collect();
    Some(html! {
        svg.chart viewBox="-40 -10 412 222" role="img" aria-label="Latency: the share of the answers that came within a time, before and after" {
            @for share in [0, 50, 95, 100] {
                @let y = number(high - f64::from(share) / 100.0 * high);
                line.grid x1="0" x2=(number(wide)) y1=(y) y2=(y) {}
                @if share != 100 { text.label x="-6" y=(y) text-anchor="end" dominant-baseline="middle" { (share) " %" } }
            }
            @for ms in ticks {
                @let x = number(ms / longest * wide);
                line.grid x1=(x) x2=(x) y1="0" y2=(number(high)) {}
                text.label x=(x) y=(number(high + 16.0)) text-anchor="middle" { (ms) }
            }
            text.label x=(number(wide)) y=(number(high + 30.0)) text-anchor="end" { "ms" }
            svg x="0" y="-2" width=(number(wide)) height=(number(high + 4.0)) viewBox=(format!("0 -2 {} {}", wide, high + 4.0)) {
                @if let Some(old) = old { polyline.old points=(points(old)) {} }
                @if let Some(new) = new { polyline.new points=(points(new)) {} }
            }
        }
        p.legend {
            @if old.is_some() { span { svg.key viewBox="0 0 24 8" aria-hidden="true" { line.old x1="0" x2="24" y1="4" y2="4" {} } " before" } }
            @if new.is_some() { span { svg.key viewBox="0 0 24 8" aria-hidden="true" { line.new x1="0" x2="24" y1="4" y2="4" {} } " new" } }
            span.quiet { "share of good answers by time" }
        }
    })
}

/// A round step that makes three to seven ticks.
fn step(longest: f64) -> f64 {
    let power = 10_f64.powf((longest / 3.0).log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|factor| factor * power);
    steps.into_iter().find(|step| longest / step >= 3.0).unwrap_or(power)
}

/// Two decimals at most.
fn number(value: f64) -> String {
    let rounded = (value * 100.0).round() / 100.0;
    if rounded.is_finite() { rounded.to_string() } else { "0".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Text;

    #[test]
    fn ticks_are_round_and_a_few() {
        for longest in [0.4, 1.0, 7.0, 24.0, 99.0, 480.0, 12_345.0] {
            let count = (longest / step(longest)).floor();
            assert!((3.0..=7.5).contains(&count), "{longest}: {} makes {count}", step(longest));
        }
    }

    #[test]
    fn a_course_covers_the_whole_watch_and_ends_as_it_ended() {
        let watched = |tone, timeline: &[(u64, &str)]| Watched {
            service: Text::default(),
            host: Text::default(),
            tone,
            message: Text::default(),
            readings: 1,
            waited_ms: 1_000,
            said: Text::default(),
            log: Vec::new(),
            timeline: timeline.iter().map(|(at, phase)| (*at, Text::new(phase))).collect(),
        };
        let tones = |watched: &Watched| timeline(watched).iter().map(|p| (p.length_ms, p.tone)).collect::<Vec<_>>();
        let good = watched(Tone::Good, &[(0, "starting"), (300, "good so far"), (1_000, "healthy")]);
        assert_eq!(tones(&good), [(300, Tone::Warn), (700, Tone::Good), (0, Tone::Good)]);
        let bad = watched(Tone::Bad, &[(0, "good so far"), (400, "restarted")]);
        assert_eq!(tones(&bad), [(400, Tone::Good), (600, Tone::Bad)]);
        assert_eq!(tones(&watched(Tone::Bad, &[])), [(1_000, Tone::Bad)]);
    }
}
