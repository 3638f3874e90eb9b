//! Reads what the page shows from a document. Parts that are missing or not of the known
//! shape are left out: a report of a broken deployment is wanted most of all.

use crate::model::{Backup, Canary, Check, Commit, Error, Report, Service, Side, Stage, Tone, Watched, WentBack};
use crate::text::Text;
use cm_core::facts::CopyState;
use cm_document::{StageStatus, Step};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

impl Report {
    pub fn of(document: &Value) -> Self {
        let (run, facts) = (&document["run"], &document["facts"]);
        let began = time(&run["started_at"]);
        let stages = stages(document, began);
        Report {
            project: Text::of(&document["project"]),
            branch: Text::of(&document["branch"]),
            commit: Text::of(&document["commit"]),
            run: Text::of(&run["id"]),
            actor: Text::of(&run["actor"]),
            began,
            length_ms: stages.iter().map(|stage| stage.at_ms + stage.length_ms).max().unwrap_or(0),
            outcome: outcome(document, &stages),
            error: error(&document["error"]),
            commits: list(&facts["detect"]["commits"], commit),
            services: services(document),
            unchanged: unchanged(document),
            health: list(&facts["health"]["services"], watched),
            remarks: remarks(&facts["health"]),
            canaries: canaries(facts),
            checks: list(&facts["verify"]["checks"], check),
            rollback: went_back(&facts["rollback"]),
            backups: backups(&facts["backup"]),
            event: Text::of(&facts["record"]["event"]),
            ledgers: Text::list(&facts["record"]["hosts"]),
            stages,
        }
    }
}

fn list<T>(value: &Value, of: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().into_iter().flatten().map(of).collect()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// A document may say anything; so much can be added up without an overflow, and is 35,000 years.
const LONGEST_MS: u64 = 1 << 50;

fn milliseconds(value: &Value) -> Option<u64> {
    let ms = value.as_u64().or_else(|| value.as_f64().map(|ms| ms.round() as u64));
    ms.map(|ms| ms.min(LONGEST_MS))
}

fn outcome(document: &Value, stages: &[Stage]) -> (Tone, &'static str) {
    let recorded = stages.iter().any(|stage| stage.step == Some(Step::Record));
    match document["status"].as_str() {
        _ if document["run"]["dry_run"] == true => (Tone::None, "Dry run"),
        Some("ok") if !recorded && !stages.is_empty() => (Tone::Warn, "Not finished"),
        Some("ok") if unhappy(document) => (Tone::Warn, "Succeeded, with warnings"),
        Some("ok") => (Tone::Good, "Succeeded"),
        Some("rolled_back") => (Tone::Bad, "Rolled back"),
        _ => (Tone::Bad, "Failed"),
    }
}

fn unhappy(document: &Value) -> bool {
    document["stages"].as_array().into_iter().flatten().any(|stage| stage["status"] == "warned")
}

fn error(value: &Value) -> Option<Error> {
    value.is_object().then(|| Error {
        stage: Text::of(&value["stage"]),
        code: Text::of(&value["code"]),
        message: Text::of(&value["message"]),
        causes: Text::list(&value["causes"]),
        hint: Text::of(&value["hint"]),
        exit: Text::of(&value["exit"]),
    })
}

fn commit(value: &Value) -> Commit {
    Commit { id: Text::of(&value["id"]), author: Text::of(&value["author"]), subject: Text::of(&value["subject"]) }
}

fn stages(document: &Value, began: Option<Timestamp>) -> Vec<Stage> {
    let listed = cm_document::Stage::list(document["stages"].as_array().map(Vec::as_slice).unwrap_or_default());
    let stage = |stage: cm_document::Stage| {
        let at: Option<Timestamp> = stage.started_at.parse().ok();
        let since = at.zip(began).map(|(at, began)| at.duration_since(began).as_millis());
        Stage {
            tool: Text::new(&stage.tool),
            step: stage.step,
            tone: match stage.status {
                StageStatus::Ok => Tone::Good,
                StageStatus::Warned => Tone::Warn,
                StageStatus::Failed => Tone::Bad,
                StageStatus::Skipped => Tone::None,
            },
            status: stage.status,
            summary: Text::new(&stage.summary),
            at_ms: since.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0).min(LONGEST_MS),
            length_ms: stage.duration_ms.min(LONGEST_MS),
            hosts: Vec::new(),
        }
    };
    let mut stages: Vec<_> = listed.into_iter().map(stage).collect();
    let did = |stage: &&mut Stage, step| stage.step == Some(step) && stage.status != StageStatus::Skipped;
    if let Some(stage) = stages.iter_mut().find(|stage| did(stage, Step::Build)) {
        stage.hosts = built(&document["facts"]["build"], stage);
    }
    if let Some(stage) = stages.iter_mut().find(|stage| did(stage, Step::Health)) {
        stage.hosts = watched_on(&document["facts"]["health"], stage);
    }
    stages
}

fn built(facts: &Value, stage: &Stage) -> Vec<(Text, u64, Tone)> {
    let took = |value: &Value| milliseconds(&value["duration_ms"]).map(|ms| ms.min(stage.length_ms));
    entries(&facts["hosts"]).filter_map(|(host, value)| Some((Text::new(host), took(value)?, stage.tone))).collect()
}

/// A host was watched as long as the last of its services, and is as well as the worst.
fn watched_on(facts: &Value, stage: &Stage) -> Vec<(Text, u64, Tone)> {
    let mut hosts = BTreeMap::<Text, (u64, Tone)>::new();
    for service in list(&facts["services"], watched) {
        let (longest, worst) = hosts.entry(service.host).or_insert((0, Tone::Good));
        *longest = service.waited_ms.min(stage.length_ms).max(*longest);
        if service.tone == Tone::Bad || *worst == Tone::Good {
            *worst = service.tone;
        }
    }
    hosts.into_iter().map(|(host, (ms, tone))| (host, ms, tone)).collect()
}

fn services(document: &Value) -> Vec<Service> {
    let facts = &document["facts"];
    let planned = document["services"].as_array().into_iter().flatten().filter(|value| value["action"] != "none");
    let service = |value: &Value| {
        let (name, host) = (value["name"].as_str().unwrap_or_default(), value["host"].as_str().unwrap_or_default());
        let built = &facts["build"]["hosts"][host]["services"][name];
        let back = facts["rollback"]["hosts"][host]["services"].get(name);
        Service {
            name: Text::new(name),
            host: Text::new(host),
            action: Text::of(&value["action"]),
            reasons: list(&value["reasons"], reason),
            before: Text::of(&built["previous_image_id"]).short(),
            after: Text::of(&built["image_id"]).short(),
            image: Text::of(&built["image"]),
            removed: built["removed"] == true,
            taken_back: back.is_some(),
        }
    };
    planned.map(service).collect()
}

fn reason(value: &Value) -> Text {
    let (path, rule) = (value["path"].as_str().unwrap_or_default(), value["rule"].as_str().unwrap_or_default());
    Text::new(&if path.is_empty() { rule.to_owned() } else { format!("{path} ({rule})") })
}

fn unchanged(document: &Value) -> Vec<Text> {
    let services = document["services"].as_array().into_iter().flatten();
    services.filter(|value| value["action"] == "none").map(|value| Text::of(&value["name"])).collect()
}

fn watched(value: &Value) -> Watched {
    let tone = match value["state"].as_str() {
        Some("healthy") => Tone::Good,
        Some("unhealthy") => Tone::Bad,
        _ => Tone::Warn,
    };
    let moment = |value: &Value| Some((milliseconds(&value["at_ms"])?, Text::of(&value["phase"])));
    Watched {
        service: Text::of(&value["service"]),
        host: Text::of(&value["host"]),
        tone,
        message: Text::of(&value["message"]),
        readings: milliseconds(&value["readings"]).unwrap_or(0),
        waited_ms: milliseconds(&value["waited_ms"]).unwrap_or(0),
        said: Text::of(&value["health_output"]),
        log: Text::list(&value["log_tail"]),
        timeline: list(&value["course"], moment).into_iter().flatten().collect(),
    }
}

/// What was not as it should be besides the services of the plan.
fn remarks(health: &Value) -> Vec<Text> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let finding = |value: &Value| {
        let host = text(&value["host"]);
        let place = if host.is_empty() { "here".to_owned() } else { host };
        Text::new(&format!("{place}: {}", text(&value["message"])))
    };
    let other = |value: &Value| {
        let (service, host, state) = (text(&value["service"]), text(&value["host"]), text(&value["state"]));
        let before = if value["before"] == true { ", as before" } else { "" };
        Text::new(&format!("{host}: {service}, which was not deployed, {state}{before}"))
    };
    let mut remarks = list(&health["preflight"]["findings"], finding);
    remarks.extend(list(&health["unwell_neighbours"], other));
    remarks
}

fn tone_of(verdict: &Value) -> Tone {
    match verdict.as_str() {
        Some("pass") => Tone::Good,
        Some("fail") => Tone::Bad,
        Some(_) => Tone::Warn,
        None => Tone::None,
    }
}

fn canaries(facts: &Value) -> Vec<Canary> {
    let mut all = Vec::new();
    for (host, built) in entries(&facts["build"]["hosts"]) {
        for (service, built) in entries(&built["services"]) {
            all.extend(canary(&format!("{service} on {host}"), &built["canary"]));
        }
    }
    all.sort_by(|a, b| a.of.cmp(&b.of));
    all.extend(canary("", &facts["verify"]["canary"]));
    all
}

/// One that was asked; a dry run has only what would be.
fn canary(of: &str, value: &Value) -> Option<Canary> {
    let traffic = &value["traffic"];
    value["verdict"].is_string().then(|| Canary {
        of: Text::new(of),
        url: Text::of(&value["url"]),
        tone: tone_of(&value["verdict"]),
        message: Text::of(&value["message"]),
        severity: if value["verdict"] == "pass" { Text::default() } else { Text::of(&value["severity"]) },
        new: side(value),
        old: value["baseline"].is_object().then(|| side(&value["baseline"])),
        users: traffic.is_object().then(|| (side(&traffic["old"]), side(&traffic["new"]))),
    })
}

fn side(value: &Value) -> Side {
    Side {
        requests: Text::of(&value["requests"]),
        failures: Text::of(&value["failures"]),
        median: value["median_ms"].as_f64(),
        p95: value["p95_ms"].as_f64(),
        percentiles: list(&value["percentiles_ms"], Value::as_f64).into_iter().flatten().collect(),
    }
}

fn check(value: &Value) -> Check {
    Check {
        name: Text::of(&value["name"]),
        tone: tone_of(&value["verdict"]),
        verdict: Text::of(&value["verdict"]),
        message: Text::of(&value["message"]),
        url: Text::of(&value["url"]),
    }
}

fn went_back(facts: &Value) -> Vec<WentBack> {
    let host = |(name, value): (&String, &Value)| WentBack {
        host: Text::new(name),
        commit: Text::of(&value["commit"]).short(),
        outcome: Text::of(&value["outcome"]),
        services: entries(&value["services"]).map(|(name, _)| Text::new(name)).collect(),
    };
    entries(&facts["hosts"]).map(host).collect()
}

/// One backup, or each of several.
fn backups(value: &Value) -> Vec<Backup> {
    match value["backups"].as_array() {
        Some(several) => several.iter().filter_map(backup).collect(),
        None => backup(value).into_iter().collect(),
    }
}

fn contents(value: &Value) -> Option<String> {
    let kind = value["kind"].as_str().unwrap_or_default();
    cm_core::facts::contents(kind, value["namespaces"].as_u64()?, value["documents"].as_u64()?)
}

fn backup(value: &Value) -> Option<Backup> {
    let (file, host) = (value["file"].as_str(), value["host"].as_str().unwrap_or("this machine"));
    (file.is_some() || value["reason"].is_string()).then(|| Backup {
        verified: value["verified"] == true,
        place: Text::new(&file.map_or(String::new(), |file| format!("{host}:{file}"))),
        reason: Text::of(&value["reason"]),
        bytes: milliseconds(&value["bytes"]),
        contents: Text::new(&contents(value).unwrap_or_default()),
        copy: serde_json::from_value::<CopyState>(value["copy"].clone())
            .ok()
            .map(|copy| (copy.is_done(), Text::new(&copy.note()))),
    })
}
