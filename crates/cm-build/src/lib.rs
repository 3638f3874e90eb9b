//! Bring servers to a commit and rebuild what changed
