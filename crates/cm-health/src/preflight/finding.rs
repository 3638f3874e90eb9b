//! One thing that is not as it should be: what it is about, how much it matters, what to do.

use super::needs::Subject;
use cm_core::facts::{self, Weight};
use cm_core::{Exit, Failure};

/// Something that is not as it should be.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The host; `None` for this machine.
    pub host: Option<String>,
    /// What it is about; the code is stable, for scripts.
    pub about: &'static Subject,
    /// How much it matters.
    pub weight: Weight,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// How the program exits because of it.
    pub exit: Exit,
}

impl Finding {
    /// Something to know.
    pub fn warn(about: &'static Subject, message: impl Into<String>) -> Finding {
        Finding { host: None, about, weight: Weight::Warn, message: message.into(), hint: None, exit: Exit::Done }
    }

    /// Something that stops the deployment.
    pub fn fail(exit: Exit, about: &'static Subject, message: impl Into<String>) -> Finding {
        Finding { weight: Weight::Fail, exit, ..Finding::warn(about, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }

    /// A failure as something that stops the deployment, with its hint.
    pub fn of(about: &'static Subject, exit: Exit, failure: &Failure) -> Finding {
        Finding { hint: failure.hint.clone(), ..Finding::fail(exit, about, failure.to_string()) }
    }

    /// For the document.
    pub fn facts(&self) -> facts::Finding {
        facts::Finding {
            host: self.host.clone(),
            code: self.about.name().to_owned(),
            weight: self.weight,
            message: self.message.clone(),
            hint: self.hint.clone(),
        }
    }

    /// `HOST: MESSAGE`.
    pub fn line(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}: {}", self.message),
            None => self.message.clone(),
        }
    }
}
