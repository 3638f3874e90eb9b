//! Every string is cut where it is written: no program writes one that the next one refuses.

use crate::Service;
use serde_json::Value;

/// The longest string that a program writes into a document, in bytes.
pub const MAX_STRING: usize = 4 * 1024;

/// As many causes has an error.
pub(crate) const MAX_CAUSES: usize = 50;

/// A string of a part that must be made to fit, in bytes.
pub(crate) const SHORT: usize = 256;

/// As many reasons say why a service is in the plan; with thousands of services, fewer.
const REASONS: usize = 20;

/// As many reasons has a whole plan, besides one a service.
const ALL_REASONS: usize = 4_000;

/// `text`, no longer than `max` bytes; what is left out is said with an ellipsis.
pub fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let room = max.saturating_sub('…'.len_utf8());
    let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// Cuts every string in `value`.
pub(crate) fn cut_strings(value: &mut Value, max: usize) {
    match value {
        Value::String(text) if text.len() > max => *text = cut(text, max),
        Value::Array(items) => items.iter_mut().for_each(|item| cut_strings(item, max)),
        Value::Object(map) => map.values_mut().for_each(|value| cut_strings(value, max)),
        _ => {}
    }
}

/// `services` with no more reasons, and no longer ones, than a document has room for.
pub(crate) fn with_few_reasons(services: &[Service]) -> Vec<Service> {
    let each = (ALL_REASONS / services.len().max(1)).clamp(1, REASONS);
    let bounded = |service: &Service| {
        let mut service = service.clone();
        service.reasons.truncate(each);
        for reason in &mut service.reasons {
            reason.path = cut(&reason.path, SHORT);
            reason.rule = cut(&reason.rule, SHORT);
        }
        service
    };
    services.iter().map(bounded).collect()
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn what_is_cut_is_no_longer_than_asked_and_still_text() {
        for (text, max, wanted) in [("short", 5, "short"), ("longer", 5, "lo…"), ("ééééé", 6, "é…"), ("x", 0, "…")]
        {
            assert_eq!(cut(text, max), wanted, "{text} {max}");
        }
    }
}
