//! One thing that is not as it should be: what it is about, how much it matters, what to do.

use super::needs::{self, Subject};
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

    /// `HOST: MESSAGE`, with the host once.
    pub fn line(&self) -> String {
        match &self.host {
            Some(host) => {
                format!("{host}: {}", self.message.strip_prefix(&format!("on {host}: ")).unwrap_or(&self.message))
            }
            None => self.message.clone(),
        }
    }

    /// The findings of one host without what others of them say, too: an engine that says no to everything says the same
    /// to each that asks, and it is a matter of the engine. How the program exits stays that of the gravest.
    pub fn each_once(findings: Vec<Finding>) -> Vec<Finding> {
        let mut told: Vec<Finding> = Vec::new();
        for finding in findings {
            let same = |other: &&mut Finding| other.message == finding.message && other.weight == finding.weight;
            let Some(other) = told.iter_mut().find(same) else {
                told.push(finding);
                continue;
            };
            let exit = if gravity(finding.exit) > gravity(other.exit) { finding.exit } else { other.exit };
            if finding.about == &needs::SWARM {
                *other = finding;
            }
            other.exit = exit;
        }
        told
    }
}

/// A host that cannot be reached outweighs what cannot be checked, that what is wrong,
/// and that somebody who will be done soon.
pub fn gravity(exit: Exit) -> u8 {
    match exit {
        Exit::Unreachable => 3,
        Exit::HealthUnknown => 2,
        Exit::LockHeld => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_to_everybody_is_told_once_and_with_the_host_once() {
        let none = "on one: this engine is not part of a Swarm";
        let found = |about, exit, message: &str| Finding {
            host: Some("one".to_owned()),
            ..Finding::fail(exit, about, message)
        };
        let all = vec![
            found(&needs::LOCK, Exit::Config, none),
            found(&needs::DISK, Exit::Config, "no room"),
            found(&needs::SWARM, Exit::Config, none),
            found(&needs::HOST, Exit::HealthUnknown, none),
        ];
        let told: Vec<_> = Finding::each_once(all).iter().map(|one| (one.about.code, one.exit, one.line())).collect();
        let once = |code, exit, line: &str| (code, exit, line.to_owned());
        assert_eq!(
            told,
            [
                once("preflight.swarm", Exit::HealthUnknown, "one: this engine is not part of a Swarm"),
                once("preflight.disk", Exit::Config, "one: no room"),
            ]
        );
    }
}
