//! Sizes and durations for people, as everywhere in cm.

pub use cm_core::size as bytes;
pub use cm_core::time::span as duration;
