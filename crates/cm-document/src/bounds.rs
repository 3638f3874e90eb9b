//! How large a document may grow. A reader takes no more than [`MAX_BYTES`]; so that no program
//! ever writes what the next one refuses, each step leaves the ones after it their room. That is seen to
//! before the first change: a deployment whose record could not be carried to its end does not begin.

use crate::cut::{SHORT, cut_strings};
use crate::{Document, Exit, Failure, MAX_BYTES, Result, Step};
use serde_json::Value;

/// So many services, stages and undo entries a document may have at most. What grows with their square
/// stays a matter of seconds.
pub const MAX_ENTRIES: usize = 10_000;

/// So many values may be in a document: a few megabytes of numbers become hundreds of megabytes of memory.
pub const MAX_VALUES: usize = 400_000;

/// How many values there are in `value`, itself among them.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// As many entries of a list stay in a part that must be made to fit.
const FEW: usize = 50;

fn cut_lists(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.truncate(FEW);
            items.iter_mut().for_each(cut_lists);
        }
        Value::Object(map) => map.values_mut().for_each(cut_lists),
        _ => {}
    }
}

impl Document {
    /// How large the document is, in bytes.
    pub fn size(&self) -> usize {
        self.to_text(false).len()
    }

    /// How many values are in it.
    fn values(&self) -> usize {
        self.value.values().map(count).sum()
    }

    /// Refuses a document that would keep a program busy for longer than anybody waits.
    pub(crate) fn check_counts(&self) -> Result<()> {
        let too_many = |what: &str, most: usize| {
            Err(Failure::new(Exit::BadInput, "input.too-many", format!("the document has more than {most} {what}"))
                .hint("nothing was done; deploy fewer services at once: --group, --service or --host"))
        };
        for field in ["services", "stages", "undo"] {
            if self.value.get(field).and_then(Value::as_array).is_some_and(|list| list.len() > MAX_ENTRIES) {
                return too_many(field, MAX_ENTRIES);
            }
        }
        if self.values() > MAX_VALUES { too_many("values", MAX_VALUES) } else { Ok(()) }
    }

    /// Whether the document leaves room for what comes after `step`: asked before the first change.
    ///
    /// # Errors
    /// [`Exit::BadInput`] if it does not.
    pub fn check_room(&self, step: Step) -> Result<()> {
        if step != Step::Build || self.size() <= limit(Step::Baseline) {
            return Ok(());
        }
        let message = format!(
            "the document is larger than {} MiB, too large for a deployment to be recorded in it",
            limit(Step::Baseline) >> 20
        );
        Err(Failure::new(Exit::BadInput, "input.no-room", message)
            .hint("nothing was changed; deploy fewer services at once: --group, --service or --host"))
    }

    /// Makes what this program wrote fit into the room of its step: by shorter strings and lists
    /// in its own part, at last without it. What takes changes back stays whole.
    pub fn fit(&mut self, step: Step) {
        let (limit, values) = (limit(step), share(MAX_VALUES, step));
        let own = self.tool.trim_start_matches("cm-").to_owned();
        for shorten in [
            |part: &mut Value| cut_strings(part, SHORT),
            cut_lists,
            |part: &mut Value| *part = Value::Object(Default::default()),
        ] {
            if self.size() <= limit && self.values() <= values {
                return;
            }
            if let Some(part) = self.value.get_mut("facts").and_then(|facts| facts.get_mut(&own)) {
                shorten(part);
            }
        }
    }
}

/// How large a document may be after `step`, in bytes.
fn limit(step: Step) -> usize {
    share(MAX_BYTES, step)
}

/// How much of `whole` there may be after `step`: what comes before the first change gets half, and every
/// later step its own share.
fn share(whole: usize, step: Step) -> usize {
    let eighths = match step {
        Step::Lock | Step::Detect | Step::Push | Step::Preflight | Step::Backup | Step::Baseline => 8,
        Step::Build => 10,
        Step::Health => 12,
        Step::Verify => 13,
        Step::Rollback => 14,
        Step::Prune | Step::Record | Step::Unlock => 15,
    };
    whole / 16 * eighths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Reason, Service, Stage};
    use serde_json::json;

    fn document() -> Document {
        Document::start("cm-detect", "ada", false)
    }

    #[test]
    fn nothing_that_a_program_writes_is_longer_than_a_reader_takes() {
        let mut doc = document();
        let huge = "x".repeat(9 << 20);
        doc.set_facts(json!({"commits": [{"subject": huge}]}));
        let reason = |n: usize| Reason { path: format!("{n}/{}", "y".repeat(600)), rule: "context".to_owned() };
        let service = |n: usize| Service {
            name: format!("service-{n}"),
            host: "h".to_owned(),
            action: Action::Build,
            base: None,
            reasons: (0..30).map(reason).collect(),
        };
        doc.set_services(&(0..3_000).map(service).collect::<Vec<_>>()).expect("not too many");
        doc.fail(
            Step::Build,
            &Failure::new(Exit::Build, "build.x", huge.clone()).cause(huge.clone()).hint(huge.clone()),
        );
        doc.push_stage(&Stage { summary: huge, ..Stage::default() });
        doc.push_undo(json!({"kind": "release", "host": "h", "note": "z".repeat(9 << 20)}));
        doc.fit(Step::Detect);
        assert!(doc.size() <= MAX_BYTES / 2, "{}", doc.size());
        assert!(doc.check_room(Step::Build).is_ok());
        assert!(Document::parse("cm-build", doc.to_text(false).as_bytes()).is_ok());
        assert_eq!(doc.services().len(), 3_000, "no service is lost");
    }

    #[test]
    fn a_part_that_is_too_large_is_shortened_and_others_are_left_alone() {
        let mut doc = document();
        doc.set_facts(json!({"unmapped": vec!["z".repeat(4_000); 1_200]}));
        let mut value = doc.as_value();
        value["facts"]["other"] = json!({"kept": "x".repeat(10_000)});
        let mut doc = Document::parse("cm-detect", value.to_string().as_bytes()).map_err(drop).unwrap_or(doc);
        doc.fit(Step::Detect);
        assert!(doc.size() <= MAX_BYTES / 2, "{}", doc.size());
    }

    #[test]
    fn a_document_of_too_many_small_things_is_refused_and_never_written() {
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut value = document().as_value();
            change(&mut value);
            Document::parse("cm-build", value.to_string().as_bytes()).expect_err("too many").code
        };
        let service = |n: usize| json!({"name": format!("s{n}"), "host": format!("h{n}"), "action": "build"});
        assert_eq!(refused(&|value| value["services"] = (0..=MAX_ENTRIES).map(service).collect()), "input.too-many");
        assert_eq!(refused(&|value| value["undo"] = json!(vec![json!({}); MAX_ENTRIES + 1])), "input.too-many");
        assert_eq!(refused(&|value| value["stages"] = json!(vec![json!({}); MAX_ENTRIES + 1])), "input.too-many");
        assert_eq!(refused(&|value| value["x-new"] = json!(vec![1; MAX_VALUES])), "input.too-many");
        let mut doc = document();
        doc.set_facts(json!({"paths": vec![1; MAX_VALUES]}));
        doc.fit(Step::Detect);
        assert!(Document::parse("cm-build", doc.to_text(false).as_bytes()).is_ok());
        assert!(doc.values() <= MAX_VALUES / 2, "{}", doc.values());
    }

    #[test]
    fn a_document_without_room_is_refused_before_the_first_change() {
        let mut value = document().as_value();
        value["x-padding"] = "p".repeat(MAX_BYTES / 2 + 1).into();
        let doc = Document::parse("cm-build", value.to_string().as_bytes()).expect("readable");
        let failure = doc.check_room(Step::Build).expect_err("no room");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::BadInput, "input.no-room"));
        assert!(doc.check_room(Step::Rollback).is_ok(), "what rolls back reads it");
    }
}
