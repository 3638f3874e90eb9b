//! Where the sources of cm are.

use std::path::{Path, PathBuf};

/// The repository this test belongs to.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("crates/cm-testkit is two floors below the root").to_owned()
}
