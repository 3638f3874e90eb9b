//! The ground floor of cm: what every program is. A program is a filter over
//! one deployment document; this crate holds the document, the filter, the exit
//! codes, the errors with their hints, and what people see on stderr. It knows
//! no network, no Docker and no configuration file.

mod exit;
mod failure;

pub use exit::Exit;
pub use failure::{Failure, OrFail, Result};
