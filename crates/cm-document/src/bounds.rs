//! How large a document may grow. A reader takes no more than [`MAX_BYTES`]; so that no program
//! ever writes what the next one refuses, each step leaves the ones after it their room. That is seen to
//! before the first change: a deployment whose record could not be carried to its end does not begin.

use crate::cut::{SHORT, cut_strings};
use crate::{Document, Exit, Failure, MAX_BYTES, Result, Step};
use serde_json::Value;

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
        let limit = limit(step);
        let own = self.tool.trim_start_matches("cm-").to_owned();
        for shorten in [
            |part: &mut Value| cut_strings(part, SHORT),
            cut_lists,
            |part: &mut Value| *part = Value::Object(Default::default()),
        ] {
            if self.size() <= limit {
                return;
            }
            if let Some(part) = self.value.get_mut("facts").and_then(|facts| facts.get_mut(&own)) {
                shorten(part);
            }
        }
    }
}

/// How large a document may be after `step`, in bytes: what comes before the first change gets
/// half, and every later step its own share.
fn limit(step: Step) -> usize {
    let eighths = match step {
        Step::Lock | Step::Detect | Step::Push | Step::Preflight | Step::Backup | Step::Baseline => 8,
        Step::Build => 10,
        Step::Health => 12,
        Step::Verify => 13,
        Step::Rollback => 14,
        Step::Prune | Step::Record | Step::Unlock => 15,
    };
    MAX_BYTES / 16 * eighths
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
        doc.set_services(&(0..3_000).map(service).collect::<Vec<_>>());
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
    fn a_document_without_room_is_refused_before_the_first_change() {
        let mut value = document().as_value();
        value["x-padding"] = "p".repeat(MAX_BYTES / 2 + 1).into();
        let doc = Document::parse("cm-build", value.to_string().as_bytes()).expect("readable");
        let failure = doc.check_room(Step::Build).expect_err("no room");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::BadInput, "input.no-room"));
        assert!(doc.check_room(Step::Rollback).is_ok(), "what rolls back reads it");
    }
}
