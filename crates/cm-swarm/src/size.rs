//! How large a service may be. `docker stack deploy` does not look: the managers refuse the service that is too large
//! partway through a stack, or first when it is updated.

use crate::note::Note;
use serde_json::{Map, Value};

/// The managers hand on 1.5 MiB at once, by Raft, and an update has the service as it is to be and as it was. Tried with
/// Docker 26.1.5: one of 780 kB can be updated, one of 820 kB can be created and never updated, one of 1.6 MB not even that.
const MOST: usize = 700 * 1000;

/// Why the service `name` is refused for its size.
pub(crate) fn too_large(name: &str, definition: &Map<String, Value>) -> Option<Note> {
    let size = |value: &Value| value.to_string().len();
    let bytes: usize = definition.iter().map(|(key, value)| key.len() + size(value)).sum();
    if bytes <= MOST {
        return None;
    }
    let largest = definition.iter().max_by_key(|(_, value)| size(value));
    let key = largest.map_or("environment", |(key, _)| key);
    let words = format!(
        "the service comes to {} kB, {} kB of it here; a Swarm can update one of {} kB at most: put what is large into configs, or into the image",
        bytes.div_ceil(1000),
        largest.map_or(0, |(_, value)| size(value)).div_ceil(1000),
        MOST / 1000
    );
    Some(Note::new(name, key, words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_that_the_managers_could_not_update_is_refused_with_its_largest_key() {
        let found = |definition: Value| {
            too_large("api", definition.as_object().expect("an object")).map(|note| note.to_string())
        };
        let many = |count: usize| -> Map<String, Value> {
            (0..count).map(|n| (format!("V{n}"), "x".repeat(100_000).into())).collect()
        };
        assert_eq!(found(json!({"environment": many(6), "labels": {"a": "b"}})), None);
        let said = "api: environment: the service comes to 801 kB, 801 kB of it here; a Swarm can update one of 700 kB at most: put what is large into configs, or into the image";
        assert_eq!(found(json!({"environment": many(8), "labels": {"a": "b"}})).as_deref(), Some(said));
        let labels = found(json!({"environment": many(1), "labels": many(7)})).expect("too large");
        assert!(labels.starts_with("api: labels: the service comes to 801 kB, 701 kB of it here"), "{labels}");
    }
}
