//! The test environment: programs run in a home of their own with a cleared
//! environment, sandboxes are made and removed by the test that wants one, and a relay is
//! the link to a server where a test wants a real one or a broken one.

mod checkout;
pub mod databases;
pub mod history;
mod home;
mod laptop;
mod load;
mod relay;
mod sandbox;
mod schema;
mod wait;

pub use checkout::repository;
pub use databases::Databases;
pub use home::{Answer, Home, bin_dir};
pub use laptop::Laptop;
pub use load::{Counts, Load};
pub use relay::Relay;
pub use sandbox::{RELOAD_SSHD, Sandbox};
pub use schema::{document_holds, holds, schema};
pub use wait::{end, until};

use serde_json::{Value, json};

/// A document as cm-detect would start it: one service to build on host `h`.
pub fn sample_document() -> Value {
    json!({
        "schema": "cm.deployment/1",
        "run": {"id": "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10", "actor": "ada", "started_at": "2026-05-04T09:30:00Z", "dry_run": false},
        "project": "shop",
        "branch": "develop",
        "commit": "0123456789012345678901234567890123456789",
        "status": "ok",
        "services": [{"name": "web", "host": "h", "action": "build", "base": null, "reasons": [{"path": "web/main.py", "rule": "context"}]}],
        "stages": [],
        "facts": {"detect": {}},
        "undo": [],
        "error": null,
    })
}

/// Adds fields that no version knows, everywhere in `value` where objects are free
/// to grow: readers must pass them on. (The idea is TLS's GREASE, RFC 8701.)
pub fn grease(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(grease);
            map.insert(
                "x-grease".to_owned(),
                json!({"deep": [1.50, null, "é", {"10000000000000000000000": 123456789012345678_u64}]}),
            );
        }
        Value::Array(list) => list.iter_mut().for_each(grease),
        _ => {}
    }
}
