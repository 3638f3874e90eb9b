//! Take a MongoDB backup and prove it.

pub mod archive;
pub mod codec;
pub mod manifest;
pub mod metadata;
pub mod verify;
