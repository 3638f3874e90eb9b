//! What makes a rollback true: the same health gate and the same outside checks as
//! after a deployment.

use cm_checks as checks;
use cm_core::facts::CheckVerdict;
use cm_core::{Exit, Failure, Log, Result, Run};
use cm_gate::{Gate, Past, Settings, State, Wanted};
use cm_host::Host;
use cm_ledger::ServiceState;
use cm_project::{OnChange, Project};

/// What the outside checks said.
pub enum Outside {
    /// All passed.
    Passing,
    /// These fail.
    Failing(Vec<String>),
    /// They could not be carried out.
    Unknown(String),
    /// They were not asked.
    Skipped,
}

impl Outside {
    /// The word in the document.
    pub fn as_str(&self) -> &'static str {
        match self {
            Outside::Passing => "passing",
            Outside::Failing(_) => "failing",
            Outside::Unknown(_) => "unknown",
            Outside::Skipped => "skipped",
        }
    }
}

/// Waits until the services are healthy and run the images that were rolled back to.
///
/// # Errors
/// [`Exit::RollbackFailed`] with the first verdict that is not healthy.
pub async fn gate(
    project: &Project,
    host: &Host,
    compose_project: &str,
    services: &[(&str, &ServiceState)],
    run: &Run,
) -> Result<()> {
    let image = |state: &ServiceState| Some(state.image_id.clone()).filter(|id| !id.is_empty());
    let wanted = |name: &str, state| Wanted::of(project, name).image(image(state)).past(past_of(project, name));
    let wanted: Vec<_> = services.iter().map(|(name, state)| wanted(name, state)).collect();
    let verdicts = Gate::new(Settings::of(project.health())).watch(host, compose_project, &wanted, &run.log).await?;
    match verdicts.iter().find(|verdict| verdict.state != State::Healthy) {
        None => Ok(()),
        Some(verdict) => Err(Failure::new(
            Exit::RollbackFailed,
            "rollback.unhealthy",
            format!("rolled back, but not healthy: {}", verdict.line()),
        )),
    }
}

/// What of the past counts: of a container, which may have come back or stayed, all that Docker remembers. What is
/// only told to read its files again does not show when it did.
fn past_of(project: &Project, service: &str) -> Past {
    if project.on_change(service) == OnChange::Reload { Past::Nothing } else { Past::Containers }
}

/// Asks the project's outside checks. Failing is only what was answered wrongly.
pub async fn outside(project: &Project, log: &Log) -> Outside {
    if project.verify().checks.is_empty() {
        return Outside::Skipped;
    }
    log.info("verifying what runs now from outside");
    let results = match checks::run(project, &Default::default(), log).await {
        Ok(results) => results,
        Err(failure) => return Outside::Unknown(failure.to_string()),
    };
    let with = |outcome: CheckVerdict| {
        results.iter().filter(move |result| result.verdict == outcome).map(|result| result.name.clone())
    };
    match checks::overall(&results) {
        CheckVerdict::Fail => Outside::Failing(with(CheckVerdict::Fail).collect()),
        CheckVerdict::Unknown => Outside::Unknown(with(CheckVerdict::Unknown).collect::<Vec<_>>().join(", ")),
        CheckVerdict::Pass | CheckVerdict::Warn => Outside::Passing,
    }
}
