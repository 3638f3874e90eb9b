//! One deployment as a page for people: a document comes in, HTML goes out. The page is one
//! file that needs nothing else: no network, no script; a policy in it forbids both to
//! whatever should get into it. What comes from outside is [`Text`](text::Text), which can
//! only be written escaped.

mod chart;
mod model;
mod read;
mod text;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chart::{Piece, bar, class};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use model::{Backup, Canary, Error, Report, Service, Side, Stage, Tone, Watched, WentBack};
use serde_json::Value;
use sha2::{Digest, Sha256};
use text::Text;

/// The one style sheet.
const STYLE: &str = include_str!("style.css");

/// What people were told.
#[derive(Clone, Debug)]
pub struct Told {
    /// When, RFC 3339.
    pub at: String,
    /// Where, such as `Slack`.
    pub place: String,
    /// What.
    pub text: String,
    /// Whether it arrived.
    pub arrived: bool,
}

/// The page of the deployment that `document` (`cm.deployment/1`) describes. `told` is what
/// people were told, oldest first; `note` says where the page is less than the whole.
pub fn page(document: &Value, told: &[Told], note: Option<&str>) -> String {
    let report = Report::of(document);
    let title = html! { (report.outcome.1) ": " (report.project) " " (report.commit.short()) };
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!("default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                (head(&report))
                @if let Some(note) = note { section { p { (note) } } }
                @if let Some(error) = &report.error { (failure(error)) }
                @if !report.commits.is_empty() { (commits(&report)) }
                @if !report.stages.is_empty() { (timeline(&report)) }
                (services(&report))
                @if !report.health.is_empty() || !report.remarks.is_empty() { (health(&report)) }
                @if !report.canaries.is_empty() || !report.checks.is_empty() { (verification(&report)) }
                @if !report.rollback.is_empty() { (rollback(&report.rollback)) }
                @if !report.backups.is_empty() { (backed_up(&report.backups)) }
                (who_was_told(&report, told))
                section.screen { details {
                    summary { "The whole document, for programs" }
                    pre { (Text::new(&format!("{document:#}"))) }
                } }
                footer { "Made by cm-record " (env!("CARGO_PKG_VERSION")) " at " (clock(&cm_core::time::now())) "." }
            } }
        }
    };
    page.into_string()
}

fn head(report: &Report) -> Markup {
    let (tone, words) = report.outcome;
    html! {
        header {
            span class={ "badge " (class(tone)) } { (sign(tone)) (words) }
            h1 { "Deployment of " (report.project) @if !report.commit.is_empty() { ", commit " (report.commit.short()) } }
            dl {
                @if let Some(began) = report.began { dt { "Began" } dd { (clock(&began.to_string())) @if report.length_ms > 0 { ", took " (span(report.length_ms)) } } }
                @if !report.actor.is_empty() { dt { "By" } dd { (report.actor) } }
                @if !report.branch.is_empty() { dt { "Branch" } dd { (report.branch) } }
                @if !report.commit.is_empty() { dt { "Commit" } dd { code { (report.commit) } } }
                dt { "Run" } dd { code { (report.run) } }
            }
        }
    }
}

fn failure(error: &Error) -> Markup {
    html! {
        section.failure {
            h2 { (error.stage) " failed" }
            p { strong { (error.message) } }
            @for cause in &error.causes { p { "caused by: " (cause) } }
            @if !error.hint.is_empty() { p { "Hint: " (error.hint) } }
            @if !error.code.is_empty() { p.quiet { "Code " code { (error.code) } ", exit status " (error.exit) "; cm-errors(7) explains it." } }
        }
    }
}

fn commits(report: &Report) -> Markup {
    html! {
        section {
            h2 { "What was deployed" }
            table.cards {
                thead { tr { th { "Commit" } th { "Subject" } th { "Author" } } }
                tbody { @for commit in &report.commits {
                    tr {
                        td data-label="Commit" { code { (commit.id.short()) } }
                        td.long data-label="Subject" { span { (commit.subject) } }
                        td data-label="Author" { span { (commit.author) } }
                    }
                } }
            }
        }
    }
}

fn timeline(report: &Report) -> Markup {
    let whole = report.length_ms;
    html! {
        section {
            h2 { "Timeline" }
            div.axis aria-hidden="true" { div { @for quarter in 0..=4 { span { (span(whole * quarter / 4)) } } } }
            ol.rows { @for stage in &report.stages {
                li {
                    span.name { (stage.tool) }
                    (bar(&[Piece { from_ms: stage.at_ms, length_ms: stage.length_ms, tone: stage.tone }], whole))
                    span.time { (span(stage.length_ms)) }
                    p.words { (state(stage)) " " (stage.summary) }
                }
                @for (host, length_ms, tone) in &stage.hosts {
                    li {
                        span.host { "on " (host) }
                        (bar(&[Piece { from_ms: stage.at_ms, length_ms: *length_ms, tone: *tone }], whole))
                        span.time.small { (span(*length_ms)) }
                    }
                }
            } }
        }
    }
}

fn state(stage: &Stage) -> Markup {
    html! { span class={ "mark " (class(stage.tone)) } { (sign(stage.tone)) (stage.status.as_str()) } }
}

fn services(report: &Report) -> Markup {
    let unchanged = report.unchanged.iter().map(Text::as_str).collect::<Vec<_>>().join(", ");
    html! {
        section {
            h2 { "Services" }
            @if report.services.is_empty() { p { "No service was to change." } }
            @else {
                table.cards {
                    thead { tr { th { "Service" } th { "Host" } th { "Action" } th { "Why" } th { "Image" } } }
                    tbody { @for service in &report.services {
                        tr {
                            td data-label="Service" { strong { (service.name) } }
                            td data-label="Host" { span { (service.host) } }
                            td data-label="Action" { span { (service.action) } }
                            td.long data-label="Why" { (why(service)) }
                            td data-label="Image" { (images(service)) }
                        }
                    } }
                }
            }
            @if !unchanged.is_empty() { p.quiet { "Unchanged: " (Text::new(&unchanged)) } }
        }
    }
}

/// A page shows this many reasons of a service; the rest is a number.
const REASONS: usize = 6;

fn why(service: &Service) -> Markup {
    html! {
        ul {
            @for reason in service.reasons.iter().take(REASONS) { li { (reason) } }
            @if service.reasons.len() > REASONS { li.quiet { "and " (service.reasons.len() - REASONS) " more" } }
            @if service.reasons.is_empty() { li.quiet { "no reason is recorded" } }
        }
    }
}

fn images(service: &Service) -> Markup {
    let id = |id: &Text| html! { @if id.is_empty() { span.quiet { "none" } } @else { code { (id) } } };
    html! {
        div {
            @if !service.image.is_empty() { div { (service.image) } }
            @if service.removed { div { (id(&service.before)) " → removed" } }
            @else if service.before.is_empty() && service.after.is_empty() { span.quiet { "not got to" } }
            @else if service.before == service.after { div { (id(&service.after)) span.quiet { " as before" } } }
            @else { div { (id(&service.before)) " → " (id(&service.after)) } }
            @if service.taken_back { div { span.mark.warn { "↩ rolled back" } @if !service.before.is_empty() { " to " (id(&service.before)) } } }
        }
    }
}

fn health(report: &Report) -> Markup {
    let longest = report.health.iter().map(|watched| watched.waited_ms).max().unwrap_or(0);
    html! {
        section {
            h2 { "Health" }
            @if !report.health.is_empty() {
                p.legend {
                    @for (tone, words) in [(Tone::Good, "good"), (Tone::Warn, "not yet good"), (Tone::Bad, "bad"), (Tone::None, "not seen")] {
                        span { svg.swatch viewBox="0 0 10 10" aria-hidden="true" { rect class=(class(tone)) width="10" height="10" {} } " " (words) }
                    }
                }
                div.axis aria-hidden="true" { div { @for quarter in 0..=4 { span { (span(longest * quarter / 4)) } } } }
                ol.rows { @for watched in &report.health { (reading(watched, longest)) } }
            }
            @if !report.remarks.is_empty() {
                h3 { "Other services" }
                ul { @for remark in &report.remarks { li { (remark) } } }
            }
            @for watched in report.health.iter().filter(|watched| !watched.log.is_empty() || !watched.said.is_empty()) {
                h3 { "What " (watched.service) " on " (watched.host) " said last" }
                @if !watched.said.is_empty() { p.quiet { "Its health check:" } pre { (watched.said) } }
                @if !watched.log.is_empty() { p.quiet { "Its log:" } pre { @for line in &watched.log { (line) "\n" } } }
            }
        }
    }
}

fn reading(watched: &Watched, longest: u64) -> Markup {
    let phases = watched.timeline.iter().map(|(at, phase)| format!("{} {}", span(*at), phase.as_str()));
    let phases = phases.collect::<Vec<_>>().join(" · ");
    html! {
        li {
            span.name { (watched.service) " " span.quiet { (watched.host) } }
            (bar(&chart::timeline(watched), longest))
            span.time { (span(watched.waited_ms)) }
            p.words {
                span class={ "mark " (class(watched.tone)) } { (sign(watched.tone)) } (watched.message)
                " (" (watched.readings) " readings" @if !phases.is_empty() { ": " (Text::new(&phases)) } ")"
            }
        }
    }
}

fn verification(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Verification" }
            @for canary in &report.canaries { (of_canary(canary)) }
            @if !report.checks.is_empty() {
                h3 { "Checks from outside" }
                table.cards {
                    thead { tr { th { "Check" } th { "Result" } th { "Found" } th { "Asked" } } }
                    tbody { @for check in &report.checks {
                        tr {
                            td data-label="Check" { strong { (check.name) } }
                            td data-label="Result" { span class={ "mark " (class(check.tone)) } { (sign(check.tone)) (check.verdict) } }
                            td.long data-label="Found" { span { (check.message) } }
                            td.long data-label="Asked" { span.quiet { (check.url) } }
                        }
                    } }
                }
            }
        }
    }
}

fn of_canary(canary: &Canary) -> Markup {
    let cell = |value: Option<f64>| value.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
    let row = |name: &str, side: &Side| {
        html! {
            tr {
                td { (name) } td.number { (side.requests) } td.number { (side.failures) }
                td.number { (cell(side.median)) } td.number { (cell(side.p95)) }
            }
        }
    };
    html! {
        h3 { "Canary" @if !canary.of.is_empty() { ": the new " (canary.of) " alongside the old one" } }
        p {
            span class={ "mark " (class(canary.tone)) } { (sign(canary.tone)) } (canary.message)
            @if !canary.severity.is_empty() { " (" (canary.severity) ")" }
        }
        p.quiet { "asked " (canary.url) }
        table {
            thead { tr { th { "Release" } th.number { "Requests" } th.number { "Failed" } th.number { "Median" } th.number { "95 %" } } }
            tbody {
                @if let Some(old) = &canary.old { (row("before", old)) }
                (row("new", &canary.new))
                @if let Some((before, since)) = &canary.users { (row("users before", before)) (row("users since", since)) }
            }
        }
        @if let Some(drawing) = chart::latencies(canary) { (drawing) }
    }
}

fn rollback(hosts: &[WentBack]) -> Markup {
    html! {
        section {
            h2 { "Rollback" }
            @for host in hosts {
                p {
                    strong { (host.host) } " rolled back to commit " code { (host.commit) }
                    @if !host.outcome.is_empty() { ": " (host.outcome) }
                    "; services: " (Text::new(&host.services.iter().map(Text::as_str).collect::<Vec<_>>().join(", ")))
                }
            }
        }
    }
}

fn backed_up(backups: &[Backup]) -> Markup {
    html! {
        section {
            h2 { @if backups.len() > 1 { "Backups" } @else { "Backup" } }
            @for backup in backups {
                @if backup.verified {
                    p { span.mark.good { (sign(Tone::Good)) "verified: " } code { (backup.place) } }
                    p.quiet {
                        @if let Some(bytes) = backup.bytes { (cm_core::size(bytes)) }
                        @if !backup.contents.is_empty() { ", " (backup.contents) }
                    }
                    @if let Some((is_there, note)) = &backup.copy {
                        @let (class, tone) = if *is_there { ("mark good", Tone::Good) } else { ("mark warn", Tone::Warn) };
                        p { span class=(class) { (sign(tone)) (note) } }
                    }
                } @else {
                    p { span.mark.warn { (sign(Tone::Warn)) "no verified backup" } @if !backup.reason.is_empty() { ": " (backup.reason) } }
                }
            }
        }
    }
}

fn who_was_told(report: &Report, told: &[Told]) -> Markup {
    let ledgers = report.ledgers.iter().map(Text::as_str).collect::<Vec<_>>().join(", ");
    html! {
        section {
            h2 { "Who was told" }
            ul.said {
                @for message in told {
                    li {
                        strong { (Text::new(&message.place)) } span.quiet { ", " (clock(&message.at)) }
                        @if !message.arrived { span.mark.bad { " did not arrive" } }
                        blockquote { (Text::new(&message.text)) }
                    }
                }
                @if !report.event.is_empty() { li { strong { "Ops API" } ": the deploy event " (event(report.event.as_str())) } }
                @if !ledgers.is_empty() { li { strong { "Ledgers" } ": recorded on " (Text::new(&ledgers)) } }
                @if told.is_empty() && report.event.is_empty() && ledgers.is_empty() { li { "Nobody, as far as this machine knows." } }
            }
        }
    }
}

fn event(word: &str) -> Text {
    Text::new(match word {
        "delivered" => "was delivered",
        "waits" => "waits here and goes with the next run",
        "rejected" => "was refused and is set aside",
        "lost" => "is lost",
        "not configured" => "was not wanted: cm.toml has no [ops]",
        other => other,
    })
}

/// A mark for those who do not see colours.
fn sign(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "✓ ",
        Tone::Warn => "! ",
        Tone::Bad => "✗ ",
        Tone::None => "",
    }
}

/// A length of time: `167 ms`, `2.4 s`, `1 min 12 s`.
fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        _ => format!("{} min {} s", ms / 60_000, ms / 1_000 % 60),
    }
}

/// A moment: `2026-05-04 09:30:00 UTC`.
fn clock(at: &str) -> Text {
    let written = at.parse::<jiff::Timestamp>().map(|at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    Text::new(&written.unwrap_or_else(|_| at.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_that_is_almost_nothing_still_makes_a_page() {
        for document in [
            json!({}),
            json!({"status": "ok", "services": 3, "stages": [1], "facts": {"health": []}, "error": "x"}),
            json!([]),
        ] {
            let page = page(&document, &[], None);
            assert!(page.contains("Who was told") && page.ends_with("</html>"), "{document}");
        }
    }

    #[test]
    fn both_kinds_of_canary_show_their_verdict_and_figures() {
        let side = |requests: u32, failures: u32| json!({"requests": requests, "failures": failures, "median_ms": 4.25, "p95_ms": 9.0, "percentiles_ms": []});
        let report = |verdict: &str, message: &str| {
            let mut report = side(200, 67);
            let more = json!({"url": "http://web:8080/", "verdict": verdict, "message": message, "severity": "P1", "baseline": side(201, 0)});
            report.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            report
        };
        let mut outside = report("pass", "all is well");
        outside["traffic"] = json!({"old": side(1_234, 1), "new": side(567, 2)});
        let services = json!({
            "web": {"canary": report("fail", "67 of 200 requests failed")},
            "docs": {"canary": null},
            "api": {"canary": {"url": "http://api/", "requests": 200}},
        });
        let facts = json!({"build": {"hosts": {"h": {"services": services}}}, "verify": {"canary": outside}});
        let page = page(&json!({"facts": facts}), &[], None);
        let section =
            page.split("<h2>Verification</h2>").nth(1).expect("it is there").split("</section>").next().expect("text");
        assert_eq!(section.matches("<h3>").count(), 2, "what was not asked is not there: {section}");
        for wanted in [
            "Canary: the new web on h alongside the old one",
            "67 of 200 requests failed (P1)",
            r#"<td>before</td><td class="number">201</td><td class="number">0</td>"#,
            r#"<td>new</td><td class="number">200</td><td class="number">67</td><td class="number">4.2 ms</td>"#,
            r#"<td>users before</td><td class="number">1234</td>"#,
            r#"<td>users since</td><td class="number">567</td><td class="number">2</td>"#,
        ] {
            assert!(section.contains(wanted), "{wanted}: {section}");
        }
    }

    #[test]
    fn lengths_of_time_are_for_people() {
        assert_eq!([0, 999, 1_000, 12_345, 72_000].map(span), ["0 ms", "999 ms", "1.0 s", "12.3 s", "1 min 12 s"]);
    }
}
