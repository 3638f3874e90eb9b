//! The one error type that people meet: what failed, where, why, and what to
//! do about it. It is printed to stderr and travels in the document's `error`.

use crate::{Exit, RunError, Step};
use serde_json::{Value, json};
use std::fmt;

/// The result of everything a user can cause to fail.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// An error for people and for scripts.
#[derive(Clone, Debug)]
pub struct Failure {
    /// How the process exits.
    pub exit: Exit,
    /// Stable and dotted, for scripts: `lock.held`, `config.unknown-key`.
    pub code: String,
    /// A lowercase fragment that says what failed and where.
    pub message: String,
    /// Why, from the outermost cause to the innermost.
    pub causes: Vec<String>,
    /// What the reader can do now.
    pub hint: Option<String>,
    /// Whether the same call can succeed later without any change.
    pub retryable: bool,
}

impl Failure {
    /// A failure with a stable `code` and a `message` for people.
    pub fn new(exit: Exit, code: impl Into<String>, message: impl Into<String>) -> Self {
        Failure { exit, code: code.into(), message: message.into(), causes: Vec::new(), hint: None, retryable: false }
    }

    /// A defect in the program: it says so, because the user cannot fix it.
    pub fn bug(message: impl Into<String>) -> Self {
        Failure::new(Exit::Bug, "bug", message)
            .hint("this is a defect in cm; please report it with the output of the same command and --verbose")
    }

    /// Adds what the reader can do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a cause, inside the ones already there.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Adds an error and everything that caused it.
    #[must_use]
    pub fn source(mut self, error: impl Into<anyhow::Error>) -> Self {
        let error: anyhow::Error = error.into();
        for cause in error.chain() {
            let text = cause.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
        }
        self
    }

    /// Marks that trying again later can help.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// The hint; without one, what cm-errors(7) says to do about its code.
    pub fn advice(&self) -> Option<String> {
        self.hint.clone().or_else(|| crate::codes::cure(&self.code))
    }

    /// As a JSON object, for logs and answers of `tool`.
    pub fn to_json(&self, tool: &str) -> Value {
        json!(self.entry(tool, None))
    }

    /// The failure that [`Failure::to_json`] of another process told.
    pub fn of_json(told: &Value) -> Failure {
        let error = RunError::read(told);
        Failure {
            exit: error.exit(),
            code: error.code,
            message: error.message,
            causes: error.causes,
            hint: error.hint,
            retryable: error.retryable,
        }
    }

    /// As the document's `error` tells it: `tool` failed, at `step`.
    pub fn entry(&self, tool: &str, step: Option<Step>) -> RunError {
        RunError {
            stage: tool.to_owned(),
            step,
            code: self.code.clone(),
            message: self.message.clone(),
            causes: self.causes.clone(),
            hint: self.advice(),
            retryable: self.retryable,
            exit: self.exit.code(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Turns any error into a [`Failure`] with an exit code and a dotted code.
pub trait OrFail<T> {
    /// `self`, or a failure that has the error's chain as its causes.
    fn or_fail(self, exit: Exit, code: &str, message: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrFail<T> for std::result::Result<T, E> {
    fn or_fail(self, exit: Exit, code: &str, message: impl Into<String>) -> Result<T> {
        self.map_err(|error| Failure::new(exit, code, message).source(error))
    }
}
