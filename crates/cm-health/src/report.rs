//! The gate's verdicts in the runbook's words, and as the end of the program.

use crate::cures::cure;
use cm_core::facts::OtherService;
use cm_core::{Done, Exit, Failure, Log, Result, all_healthy, plural};
use cm_gate::{State, Verdict};
use cm_host::Host;

/// A message names this many services; the lines above it name all.
const NAMED: usize = 3;

/// Reports every verdict and ends the program accordingly.
///
/// # Errors
/// [`Exit::Unhealthy`] if a service was looked at and is not healthy; [`Exit::HealthUnknown`]
/// if one could not be looked at.
pub fn conclude(verdicts: &[Verdict], hosts: &[Host], others: &[OtherService], log: &Log) -> Result<Done> {
    let count = verdicts.len();
    if cm_gate::overall(verdicts) == State::Healthy {
        let summary = all_healthy(count);
        log.success(format!("{summary}!"));
        return Ok(if others.is_empty() { Done::ok(summary) } else { Done::warned(summary) });
    }
    log.warn("Some services may not be fully healthy yet");
    for verdict in verdicts.iter().filter(|verdict| verdict.state != State::Healthy) {
        let text = [vec![verdict.line()], details(verdict), look(verdict, hosts)].concat().join("\n");
        match verdict.state {
            State::Unhealthy => log.fail(text),
            _ => log.warn(text),
        }
    }
    Err(failure(verdicts, hosts))
}

/// The deciding facts of a failed verdict.
fn details(verdict: &Verdict) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(said) = &verdict.health_output {
        lines.push(format!("the last check said: {}", said.replace('\n', " ")));
    }
    if !verdict.log_tail.is_empty() {
        lines.push(format!("the last lines of its log ({}):", verdict.container.as_deref().unwrap_or_default()));
        lines.extend(verdict.log_tail.iter().map(|line| format!("| {line}")));
    }
    lines
}

/// The command that shows more.
fn look(verdict: &Verdict, hosts: &[Host]) -> Vec<String> {
    let host = hosts.iter().find(|host| host.name() == verdict.host);
    let (Some(container), Some(host)) = (&verdict.container, host) else { return Vec::new() };
    let target = host.target();
    let ssh = if target.is_local() { String::new() } else { format!("{} ", target.ssh_command()) };
    vec![format!("look at it: {ssh}{} --tail=200 {container}", cm_engine::sight(host).logs().join(" "))]
}

/// What the engine of the host itself knows to do.
fn of_engine(verdict: &Verdict, hosts: &[Host]) -> Option<&'static str> {
    let host = hosts.iter().find(|host| host.name() == verdict.host)?;
    cm_engine::sight(host).cure(&verdict.code)
}

fn failure(verdicts: &[Verdict], hosts: &[Host]) -> Failure {
    let with = |state| verdicts.iter().filter(move |verdict| verdict.state == state);
    let (bad, unknown) = (with(State::Unhealthy).count(), with(State::Unknown).count());
    let lines = |state| {
        let more = with(state).count().saturating_sub(NAMED);
        let named = with(state).take(NAMED).map(Verdict::line).collect::<Vec<_>>().join("; ");
        if more > 0 { format!("{named}; and {more} more") } else { named }
    };
    let count = verdicts.len();
    if let Some(first) = with(State::Unhealthy).next() {
        let message = format!("{bad} of {} not healthy: {}", plural(count as u64, "service"), lines(State::Unhealthy));
        return Failure::new(Exit::Unhealthy, "health.unhealthy", message).hint(format!(
            "{}; `cm-rollback` rolls back to the last verified release",
            cure(first, of_engine(first, hosts))
        ));
    }
    let message =
        format!("{unknown} of {} could not be judged: {}", plural(count as u64, "service"), lines(State::Unknown));
    Failure::new(Exit::HealthUnknown, "health.unknown", message)
        .hint("could not check, which is not a verdict on the services; when the host answers again: `cm-health --all`")
        .retryable()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::{Format, Level};

    fn verdict(service: &str, state: State) -> Verdict {
        Verdict {
            service: service.to_owned(),
            host: "one".to_owned(),
            state,
            code: "x".to_owned(),
            message: "has ended, exit code 1".to_owned(),
            container: None,
            exit_code: None,
            health_output: None,
            log_tail: Vec::new(),
            readings: 1,
            waited_ms: 1,
            timeline: Vec::new(),
        }
    }

    fn end(states: &[State]) -> Result<Done> {
        let verdicts: Vec<_> = states.iter().map(|state| verdict("web", *state)).collect();
        conclude(&verdicts, &[], &[], &Log::new("test", Format::Text, Level::Fail))
    }

    #[test]
    fn unhealthy_outweighs_unknown_and_unknown_is_never_healthy() {
        let exit = |states: &[State]| end(states).expect_err("not healthy").exit;
        assert!(end(&[State::Healthy, State::Healthy]).is_ok());
        assert_eq!(exit(&[State::Healthy, State::Unhealthy, State::Unknown]), Exit::Unhealthy);
        assert_eq!(exit(&[State::Healthy, State::Unknown]), Exit::HealthUnknown);
        assert_eq!(exit(&[]), Exit::HealthUnknown);
    }

    #[test]
    fn the_message_names_what_is_not_healthy() {
        let failure = end(&[State::Healthy, State::Unhealthy]).expect_err("not healthy");
        assert_eq!(failure.message, "1 of 2 services not healthy: web on one: has ended, exit code 1");
    }
}
