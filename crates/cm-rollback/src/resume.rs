//! What a failed or killed run left: whether there is anything to take back.

use crate::target;
use cm_core::facts::{BuildFacts, Reached};
use cm_core::{Done, Exit, Failure, Journal, Result, Run, Stage, Status, Step, Undo, UndoRelease};

/// The last document of a run whose programs were killed. It says nothing of a
/// failure yet: the kill is the failure, unless all was verified by then.
///
/// # Errors
/// [`Exit::Usage`] for what is no run's id; [`Exit::BadInput`] if it has no journal.
pub fn killed_run(id: &str) -> Result<cm_core::Document> {
    let mut doc = Journal::named(id)?.newest("cm-rollback")?;
    if doc.status() == Status::Ok && !was_found_good(&doc) {
        doc.set_status(Status::Failed);
    }
    Ok(doc)
}

/// Whether this program saw the run before, and nothing to roll back: what was killed after
/// that only cleans and records. What it saw before a step that came to no verdict is over.
fn was_found_good(doc: &cm_core::Document) -> bool {
    let stages = doc.stages();
    let no_verdict = |stage: &Stage| stage.exit.is_some_and(|code| Exit::from_code(code.into()).is_no_verdict());
    let mut since = stages.iter().rev().take_while(|stage| !no_verdict(stage));
    since.any(|stage| stage.step == Some(Step::Rollback))
}

/// Why `--on-failure` does nothing, if it does nothing.
///
/// # Errors
/// [`Exit::BadInput`] if something was changed, and the document has lost what takes it back.
pub fn nothing_to_do(run: &Run) -> Result<Option<Done>> {
    let code = run.doc.error().map(|error| error.exit());
    let done = match (run.doc.status(), code) {
        (Status::Ok, _) => Some(Done::skipped("nothing failed")),
        (Status::RolledBack, _) => Some(Done::skipped("already rolled back")),
        (Status::Failed, _) if has_lost_its_undo(&run.doc) => return Err(lost_undo()),
        (Status::Failed, _) if target::undo_entries(&run.doc).is_empty() => {
            run.log.info("no service was switched on any host; nothing to roll back");
            Some(Done::skipped("no service was switched"))
        }
        (Status::Failed, Some(exit)) if exit.is_no_verdict() => {
            run.log.warn(format!("not rolling back: {}, which does not mean that the release is bad", exit.meaning()));
            run.log.warn("look into it; then run `cm-verify` again, or `cm-rollback` to roll back");
            Some(Done::warned(format!("left in place: {}", exit.meaning())))
        }
        (Status::Failed, _) => None,
    };
    Ok(done)
}

/// Whether hosts or services were changed by all that the document says but `undo`, or by an entry of it that is not known.
fn has_lost_its_undo(doc: &cm_core::Document) -> bool {
    let undo = doc.undo();
    let of_build = |undo: &Undo| undo.release().is_none() && undo.tool().is_none_or(|tool| tool == "cm-build");
    let built = doc.part::<BuildFacts>().hosts.unwrap_or_default();
    let named = |host: &str| built.get(host).and_then(|host| host.services.clone()).unwrap_or_default();
    // cm-build writes down every service before it touches the first.
    let is_cut = |entry: &UndoRelease| {
        let host: &str = &entry.host;
        entry.services.is_empty() || named(host).keys().any(|name| !entry.services.contains_key(name.as_str()))
    };
    if target::undo_entries(doc).iter().any(is_cut) {
        return true;
    }
    let reached = built.into_values().filter_map(|host| host.reached);
    let changed = doc.stages().iter().any(|stage| stage.step == Some(Step::Build) && stage.changed);
    let nothing_is_left = !undo.iter().any(|undo| undo.release().is_some());
    nothing_is_left && (changed || undo.iter().any(of_build) || reached.into_iter().any(|far| far != Reached::Nothing))
}

fn lost_undo() -> Failure {
    let message = "the document says that services were changed, and not how each of them is rolled back";
    Failure::new(Exit::BadInput, "rollback.no-undo", message)
        .hint("nothing was rolled back. `cm-rollback --on-failure --run ID` reads the run's own journal; `cm-rollback </dev/null` rolls back by what the servers know")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::{Document, Format, Level, Log};
    use serde_json::{Value, json};

    /// A deployment that failed at the gate.
    fn failed() -> Value {
        let commit = "0123456789012345678901234567890123456789";
        let mut value = Document::start("cm-build", "ada", false).as_value();
        value["status"] = "failed".into();
        value["commit"] = commit.into();
        value["services"] = json!([{"name": "web", "host": "h", "action": "build"}]);
        value["stages"] = json!([
            {"tool": "cm-build", "step": "build", "version": "1", "status": "ok", "exit": 0, "changed": true, "started_at": "", "duration_ms": 1, "summary": ""},
            {"tool": "cm-health", "step": "health", "version": "1", "status": "failed", "exit": 40, "changed": false, "started_at": "", "duration_ms": 1, "summary": ""},
        ]);
        value["facts"] =
            json!({"build": {"hosts": {"h": {"reached": "done", "services": {"web": {"action": "build"}}}}}});
        value["undo"] = json!([{"kind": "release", "host": "h", "checkout": "~/x", "from": commit, "to": commit, "tool": "cm-build", "services": {"web": {"action": "build"}}}]);
        value["error"] = json!({"stage": "cm-health", "step": "health", "code": "health.unhealthy", "message": "m", "causes": [], "hint": null, "retryable": false, "exit": 40});
        value
    }

    fn judged(value: &Value) -> Option<Result<Option<Done>>> {
        let doc = Document::parse("cm-rollback", value.to_string().as_bytes()).ok()?;
        Some(nothing_to_do(&Run::new(doc, Log::new("test", Format::Text, Level::Fail), false)))
    }

    fn paths(value: &Value, at: &str, all: &mut Vec<String>) {
        let keys: Vec<String> = match value {
            Value::Object(map) => map.keys().cloned().collect(),
            Value::Array(list) => (0..list.len()).map(|index| index.to_string()).collect(),
            _ => Vec::new(),
        };
        for key in keys {
            let path = format!("{at}/{key}");
            paths(value.pointer(&format!("/{key}")).expect("a value"), &path, all);
            all.push(path);
        }
    }

    #[test]
    fn a_failed_deployment_that_lost_a_field_is_never_said_to_need_no_rollback() {
        let whole = failed();
        assert!(matches!(judged(&whole), Some(Ok(None))), "it is rolled back");
        let mut all = Vec::new();
        paths(&whole, "", &mut all);
        assert!(all.len() > 60, "{}", all.len());
        for path in all {
            let mut value = whole.clone();
            let (parent, key) = path.rsplit_once('/').expect("a path");
            match value.pointer_mut(parent).expect("its parent") {
                Value::Object(map) => drop(map.shift_remove(key)),
                Value::Array(list) => drop(list.remove(key.parse().expect("an index"))),
                _ => unreachable!("{path}"),
            }
            let said = judged(&value);
            assert!(!matches!(said, Some(Ok(Some(_)))), "{path}: nothing is rolled back");
        }
    }

    #[test]
    fn a_service_that_the_way_back_has_lost_is_missed() {
        let mut whole = failed();
        let service = json!({"action": "build"});
        for place in ["/facts/build/hosts/h/services", "/undo/0/services"] {
            whole.pointer_mut(place).expect("services")["api"] = service.clone();
        }
        assert!(matches!(judged(&whole), Some(Ok(None))), "it is rolled back");
        for lost in [json!({}), json!({"web": service}), json!({"api": service})] {
            let mut value = whole.clone();
            value["undo"][0]["services"] = lost;
            let failure = judged(&value).expect("a document").expect_err("refused");
            assert_eq!((failure.exit, &*failure.code), (Exit::BadInput, "rollback.no-undo"));
        }
    }

    #[test]
    fn a_run_that_changed_nothing_needs_no_rollback() {
        let mut value = failed();
        value["undo"] = json!([]);
        value["facts"]["build"]["hosts"]["h"]["reached"] = "nothing".into();
        value["stages"][0]["changed"] = false.into();
        assert!(matches!(judged(&value), Some(Ok(Some(_)))));
    }
}
