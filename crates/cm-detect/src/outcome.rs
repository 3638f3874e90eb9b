//! A service's action while it is being decided, and what speaks for it.

use crate::effective::{Adjusted, SETTINGS};
use cm_core::{Action, Reason};
use std::collections::BTreeSet;

/// More reasons than this tell nobody anything; the rest is counted.
const MAX_REASONS: usize = 50;

/// A service's action on its way to being decided.
pub struct Outcome {
    pub action: Action,
    pub reasons: Vec<Reason>,
    pub drift: BTreeSet<String>,
    pub disagreement: Option<&'static str>,
}

impl Outcome {
    pub fn nothing() -> Self {
        Outcome { action: Action::None, reasons: Vec::new(), drift: BTreeSet::new(), disagreement: None }
    }

    /// One reason for each setting that is named.
    pub fn settings(&mut self, action: Action, path: &str, rule: &str, adjusted: &Adjusted) {
        if adjusted.settings.is_empty() {
            return self.because(action, path, rule);
        }
        for setting in adjusted.settings.iter().take(SETTINGS) {
            self.because(action, path, format!("{rule}:{setting}"));
        }
    }

    pub fn because(&mut self, action: Action, path: impl Into<String>, rule: impl Into<String>) {
        self.action = self.action.max(action);
        self.reasons.push(Reason { path: path.into(), rule: rule.into() });
    }

    /// The action and its reasons, not too many of them.
    pub fn finish(mut self) -> (Action, Vec<Reason>) {
        if self.reasons.len() > MAX_REASONS {
            let more = self.reasons.len() - MAX_REASONS;
            self.reasons.truncate(MAX_REASONS);
            self.reasons.push(Reason { path: String::new(), rule: format!("and {more} more paths") });
        }
        (self.action, self.reasons)
    }
}
