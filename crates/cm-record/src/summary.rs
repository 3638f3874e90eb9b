//! The last lines of a deployment for whoever watched it: what changed where, how long the steps
//! took and which took longer than the last time, and the way back. Only on a terminal: a log
//! has all of it above already.

use cm_core::facts::{BuildFacts, BuiltHost, DetectFacts};
use cm_core::time::span;
use cm_core::{Document, Stage, Status};
use std::collections::BTreeMap;
use std::time::Duration;

/// A step that is this much slower than the last time is named, and by so many milliseconds at least.
const SLOWER: f64 = 1.5;
const SLOWER_BY_MS: u64 = 2_000;

/// No more services than this are named with their times: those that took longest.
const SLOWEST: usize = 4;

/// Steps that took less are not worth a word.
const WORTH_MS: u64 = 500;

/// The lines; `last` is the document of the run before.
pub fn lines(doc: &Document, last: Option<&Document>) -> Vec<String> {
    let changed = changed(doc);
    if changed.is_empty() {
        return Vec::new();
    }
    let places: Vec<_> = changed.iter().map(|(host, names)| format!("{} on {host}", names.join(", "))).collect();
    let mut lines = vec![format!("changed: {}", places.join("; ")), times(doc, last)];
    lines.extend(services(doc, last));
    lines.push(format!("release {}", doc.run_id()));
    lines.push(format!("the way back: {}", back(doc, last)));
    lines.push("the report: cm-record report --html report.html".to_owned());
    lines
}

/// What returns to what ran before this run.
fn back(doc: &Document, last: Option<&Document>) -> String {
    let build: BuildFacts = doc.part();
    let from = build.hosts.into_iter().flatten().find_map(|(_, host)| host.from.flatten());
    // What failed the last time is no way back.
    let failed = last.filter(|last| last.status() == Status::Failed).and_then(Document::commit);
    match from.as_deref() {
        _ if doc.part::<DetectFacts>().releases.is_some_and(|releases| releases.is_empty()) => {
            "none: no release was made before this one".to_owned()
        }
        None => "cm-rollback".to_owned(),
        from if from == doc.commit() => {
            "cm-rollback --list has the releases; the last one was of this commit, too".to_owned()
        }
        from if from == failed => "cm-rollback --list has the releases; the one before this failed".to_owned(),
        Some(commit) => format!("cm-rollback --to {}", commit.chars().take(12).collect::<String>()),
    }
}

fn changed(doc: &Document) -> BTreeMap<String, Vec<String>> {
    let mut changed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for service in doc.planned() {
        changed.entry(service.host.to_string()).or_default().push(service.name.to_string());
    }
    changed
}

/// `took 41 s: backup 1 s, build 12 s (last time 5 s), health 10 s`.
fn times(doc: &Document, last: Option<&Document>) -> String {
    let stages = doc.stages();
    let before = last.map(Document::stages).unwrap_or_default();
    let all: u64 = stages.iter().map(|stage| stage.duration_ms).sum();
    let worth = stages.iter().filter(|stage| stage.duration_ms >= WORTH_MS);
    let parts: Vec<_> = worth.filter_map(|stage| Some(format!("{} {}", stage.step?, time(stage, &before)))).collect();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    format!("took {}{parts}", whole(all))
}

/// `web: built in 31 s (last time 5 s), replaced in 2 s`, of the services that took longest.
fn services(doc: &Document, last: Option<&Document>) -> Vec<String> {
    let measured = |doc: &Document| -> BTreeMap<(String, String), [Option<u64>; 2]> {
        let hosts = doc.part::<BuildFacts>().hosts.into_iter().flatten();
        let of_host = |(host, built): (String, BuiltHost)| {
            let services = built.services.into_iter().flatten();
            services.map(move |(name, one)| ((name, host.clone()), [one.build_ms.flatten(), one.update_ms.flatten()]))
        };
        hosts.flat_map(of_host).collect()
    };
    let before = last.map(measured).unwrap_or_default();
    let line = |((name, host), times): (&(String, String), &[Option<u64>; 2])| {
        let usual = before.get(&(name.clone(), host.clone())).copied().unwrap_or_default();
        let words = ["built", "replaced"].iter().zip(times).zip(usual);
        let words = words.filter_map(|((word, time), usual)| {
            let time = time.filter(|time| *time >= WORTH_MS)?;
            let usual = usual.filter(|usual| is_slower(time, *usual));
            let usual = usual.map_or(String::new(), |usual| format!(" (last time {})", whole(usual)));
            Some(format!("{word} in {}{usual}", whole(time)))
        });
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| format!("{name} on {host}: {}", words.join(", ")))
    };
    let mut all: Vec<_> = measured(doc).into_iter().collect();
    all.sort_by_key(|(_, times)| std::cmp::Reverse(times.iter().flatten().sum::<u64>()));
    let mut lines: Vec<String> = all.iter().filter_map(|(service, times)| line((service, times))).collect();
    if let Some(more) = lines.len().checked_sub(SLOWEST).filter(|more| *more > 0) {
        lines.truncate(SLOWEST);
        lines.push(format!("{more} more took less: the report has them all"));
    }
    lines
}

fn is_slower(ms: u64, usual_ms: u64) -> bool {
    ms as f64 > usual_ms as f64 * SLOWER && ms > usual_ms + SLOWER_BY_MS
}

fn time(stage: &Stage, before: &[Stage]) -> String {
    let usual = before.iter().find(|other| other.step == stage.step && other.did_its_work());
    let usual = usual.filter(|usual| is_slower(stage.duration_ms, usual.duration_ms));
    let usual = usual.map_or(String::new(), |usual| format!(" (last time {})", whole(usual.duration_ms)));
    format!("{}{usual}", whole(stage.duration_ms))
}

/// In whole seconds.
fn whole(ms: u64) -> String {
    span(Duration::from_secs(ms.div_ceil(1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::{StageStatus, Step};
    use serde_json::json;

    fn document(build_ms: u64) -> Document {
        let mut value = Document::start("cm-record", "ada", false).as_value();
        value["run"]["id"] = "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10".into();
        value["services"] = json!([
            {"name": "web", "host": "platform", "action": "build", "reasons": []},
            {"name": "docs", "host": "platform", "action": "none", "reasons": []},
            {"name": "agent", "host": "runners", "action": "recreate", "reasons": []},
        ]);
        value["facts"]["build"] = json!({"hosts": {"platform": {"from": "0123456789abcdef", "to": "fedc", "services": {
            "web": {"action": "build", "build_ms": build_ms - 2_000, "update_ms": 1_400},
            "docs": {"action": "none", "build_ms": null, "update_ms": 100},
        }}}});
        let mut doc = Document::parse("cm-record", value.to_string().as_bytes()).expect("valid");
        for (step, duration_ms) in [(Step::Detect, 20), (Step::Build, build_ms), (Step::Health, 9_800)] {
            doc.push_stage(&Stage { step: Some(step), status: StageStatus::Ok, duration_ms, ..Stage::default() });
        }
        doc
    }

    #[test]
    fn who_watched_reads_what_changed_how_long_it_took_and_the_way_back() {
        let lines = lines(&document(31_000), Some(&document(5_000)));
        assert_eq!(
            lines,
            [
                "changed: web on platform; agent on runners",
                "took 41 s: build 31 s (last time 5 s), health 10 s",
                "web on platform: built in 29 s (last time 3 s), replaced in 2 s",
                "release 01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10",
                "the way back: cm-rollback --to 0123456789ab",
                "the report: cm-record report --html report.html",
            ]
        );
        let mut failed = document(5_000);
        failed.set_target("shop", None, Some("0123456789abcdef"));
        failed.set_status(Status::Failed);
        let back = |last: &Document| super::lines(&document(31_000), Some(last))[4].clone();
        assert_eq!(back(&failed), "the way back: cm-rollback --list has the releases; the one before this failed");
        failed.set_target("shop", None, Some("fedcba9876543210"));
        assert_eq!(back(&failed), "the way back: cm-rollback --to 0123456789ab", "another one failed");
        let mut doc = document(31_000);
        doc.set_target("shop", None, Some("0123456789abcdef"));
        assert_eq!(
            super::back(&doc, None),
            "cm-rollback --list has the releases; the last one was of this commit, too"
        );
        let mut first = doc.as_value();
        first["facts"]["detect"] = json!({"releases": {}});
        let first = Document::parse("cm-record", first.to_string().as_bytes()).expect("valid");
        assert_eq!(super::back(&first, None), "none: no release was made before this one");
        assert!(!super::lines(&document(5_100), Some(&document(5_000)))[1].contains("last time"), "as ever");
        assert!(super::lines(&Document::start("cm-record", "ada", false), None).is_empty(), "nothing was changed");
    }
}
