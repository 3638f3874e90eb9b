//! `--explain SERVICE`: why something is to be done to a service, in words.

use crate::bases::Base;
use crate::detection::Detection;
use crate::plan::Plan;
use crate::reason;
use cm_core::{Action, Reason, Service};
use cm_git::short;
use cm_project::inputs::rule;

/// The text about `name`, which is a service of the plan.
pub fn explain(detection: &Detection, plan: &Plan, name: &str) -> String {
    let mut lines = Vec::new();
    for service in plan.services.iter().filter(|service| service.name == name) {
        lines.push(format!("{} on {}: {}", service.name, service.host, verb(service.action)));
        lines.push(format!("  deployed is {}; {}", short(detection.head), runs(detection, service)));
        lines.push("  because".to_owned());
        if service.reasons.is_empty() {
            lines.push("    nothing it depends on differs".to_owned());
        }
        lines.extend(service.reasons.iter().map(|reason| format!("    {}", because(reason))));
    }
    if let Some(inputs) = detection.inputs.services.iter().find(|inputs| inputs.name == name) {
        let depends = inputs.describe();
        if !depends.is_empty() {
            lines.push("  it depends on".to_owned());
            lines.extend(depends.into_iter().map(|line| format!("    {line}")));
        }
        for base in &inputs.built_on {
            lines.push(format!("    the image of {base}"));
        }
    }
    lines.join("\n")
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::None => "nothing to do",
        Action::Reload => "reload its configuration",
        Action::Restart => "restart its container",
        Action::Recreate => "replace its container",
        Action::Build => "build its image and replace its container",
        Action::Remove => "remove its container",
    }
}

fn runs(detection: &Detection, service: &Service) -> String {
    match detection.bases.of(&service.host, &service.name) {
        None => "its host was not asked".to_owned(),
        Some(Base::Never { .. }) => "nothing of it is known to run".to_owned(),
        Some(Base::Unknown(commit)) => format!("it runs {commit:?}, which this clone does not have"),
        Some(Base::Commit { id, good: true }) => format!("compared with {}", short(id)),
        Some(Base::Commit { id, good: false }) => format!("it runs {}, which was not found good", short(id)),
    }
}

fn because(reason: &Reason) -> String {
    let (name, other) = reason.rule.split_once(':').unwrap_or((&reason.rule, ""));
    let meaning = rule::meaning(name).map_or_else(|| words(name, other), str::to_owned);
    if reason.path.is_empty() { meaning } else { format!("{}: {meaning}", reason.path) }
}

fn words(name: &str, other: &str) -> String {
    match name {
        reason::FIRST_DEPLOY => "nothing was ever deployed to its host".to_owned(),
        reason::NEW_SERVICE => "it was never deployed".to_owned(),
        reason::UNKNOWN_BASE => "what it runs is not in this clone, so all of it may have changed".to_owned(),
        reason::UNREADABLE_BASE => "the compose file of what it runs cannot be read".to_owned(),
        reason::UNVERIFIED => "the release that put it there was not found good".to_owned(),
        reason::COMPOSE_BUILD if other.is_empty() => "its build changed in the compose file".to_owned(),
        reason::COMPOSE_BUILD => format!("its build changed: {other}"),
        reason::COMPOSE_CONFIGURATION if other.is_empty() => "its configuration changed in the compose file".to_owned(),
        reason::COMPOSE_CONFIGURATION => format!("its configuration changed: {other}"),
        reason::DRIFT => format!("it does not run as its configuration says, and no commit changed that: {other}"),
        reason::BASE_IMAGE => format!("its image is built on that of {other}, which is rebuilt"),
        reason::SHARED_IMAGE => format!("it runs the image of {other}, which is rebuilt"),
        reason::BROKEN_BUILD => "but its image cannot be built".to_owned(),
        reason::SHARED_NAMESPACE => format!("it shares a namespace with {other}, which is replaced"),
        reason::SHARED_VOLUMES => format!("it has the volumes of {other}, which is replaced"),
        reason::RESTARTS_WITH => format!("it restarts with {other} (depends_on)"),
        reason::FULL => "--full rebuilds everything".to_owned(),
        reason::SELECTED => "it was asked for".to_owned(),
        reason::NOT_SELECTED => "but only others were asked for".to_owned(),
        reason::PROFILE => "it belongs to profiles that are not switched on".to_owned(),
        reason::REMOVED => "it is gone from the compose file, or runs on another host now".to_owned(),
        other => other.to_owned(),
    }
}

/// A line about a service for the log: its action and its first reason.
pub fn summary(service: &Service) -> String {
    let first = service.reasons.iter().find(|reason| !matches!(reason.rule.as_str(), reason::SELECTED | reason::FULL));
    let first = first.or(service.reasons.first()).map(because).unwrap_or_default();
    let more = match service.reasons.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    format!("{} on {}: {} — {first}{more}", service.name, service.host, service.action.as_str())
}
