//! What is said about it.

use cm_core::{Exit, Failure};
use cm_gate::{State, Verdict};
use cm_project::Project;

/// `a`, `a and b`, or `a, b and c`.
pub fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The command that restores `backup` (`HOST:PATH`), as a person would type it.
pub fn restore_line(project: &Project, backup: &str) -> String {
    let confirm = project.backup().and_then(|section| section.database.as_ref());
    let confirm = confirm.map(|database| format!("--confirm={database}"));
    let words = [Some("restore".to_owned()), Some(backup.to_owned()), Some("--drop".to_owned()), confirm];
    let words = words.into_iter().flatten().map(|word| cm_lease::quote(&word).to_string());
    format!("cm-backup {}", words.collect::<Vec<_>>().join(" "))
}

/// A new container is not well, or could not be looked at: never the same.
pub fn not_well(verdict: &Verdict) -> Failure {
    let (exit, code) = match verdict.state {
        State::Unhealthy => (Exit::Unhealthy, "rollout.unhealthy"),
        _ => (Exit::HealthUnknown, "rollout.unknown"),
    };
    let message = format!("the new container of {}", verdict.line());
    let mut failure = Failure::new(exit, code, message);
    if let Some(said) = &verdict.health_output {
        failure = failure.cause(format!("its health check said: {said}"));
    }
    if !verdict.log_tail.is_empty() {
        failure = failure.cause(format!("its last lines:\n{}", verdict.log_tail.join("\n")));
    }
    failure.hint("the old container is still serving; fix the release and deploy again")
}

#[cfg(test)]
mod tests {
    use super::{list, not_well};
    use cm_core::Exit;
    use cm_gate::{State, Verdict};

    #[test]
    fn a_container_that_is_not_well_is_told_apart_from_one_that_could_not_be_looked_at() {
        let cases = [
            (State::Unhealthy, Exit::Unhealthy, "rollout.unhealthy"),
            (State::Unknown, Exit::HealthUnknown, "rollout.unknown"),
        ];
        for (state, exit, code) in cases {
            let failure = not_well(&Verdict {
                service: "web".to_owned(),
                host: "h".to_owned(),
                state,
                code: String::new(),
                message: "what is wrong".to_owned(),
                container: None,
                exit_code: None,
                health_output: Some("connection refused".to_owned()),
                log_tail: vec!["last words".to_owned()],
                readings: 1,
                waited_ms: 0,
                timeline: Vec::new(),
            });
            assert_eq!((failure.exit, failure.code.as_str()), (exit, code));
            let said = format!("{failure:?}");
            assert!(
                ["connection refused", "last words", "the old container is still serving"]
                    .iter()
                    .all(|text| said.contains(text)),
                "{said}"
            );
        }
    }

    #[test]
    fn lists_read_like_sentences() {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(
            (list(&names[..1]), list(&names[..2]), list(&names)),
            ("a".into(), "a and b".into(), "a, b and c".into())
        );
    }
}
