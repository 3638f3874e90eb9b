//! What is said about it.

use cm_core::{Exit, Failure};
use cm_gate::{State, Verdict};
use cm_ledger::RecordedBackup;
use cm_project::{BackupKind, Project};

/// `a`, `a and b`, or `a, b and c`.
pub fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The arguments of cm-backup that restore `backup`.
pub fn restore_arguments(project: &Project, backup: &RecordedBackup) -> Vec<String> {
    let mut sections = project.backups().iter().filter(|section| section.kind == BackupKind::Mongodb);
    let of_section = || sections.find_map(|section| section.database.clone());
    // Of an old release nothing but the place is known.
    let name = Some(backup.name.clone()).filter(|name| !name.is_empty()).or_else(of_section);
    let confirm = name.map(|name| format!("--confirm={name}"));
    ["restore", &backup.place, "--drop"].into_iter().map(str::to_owned).chain(confirm).collect()
}

/// Where `backups` are and the commands that restore them, as a person would type them.
pub fn restore_lines(project: &Project, backups: &[RecordedBackup]) -> String {
    let line = |backup: &RecordedBackup| {
        let words = restore_arguments(project, backup);
        let words: Vec<_> = words.iter().map(|word| cm_lease::quote(word).to_string()).collect();
        format!("`cm-backup {}`", words.join(" "))
    };
    match backups {
        [one] => format!("the backup from before it is {}: {} restores it", one.place, line(one)),
        several => {
            let lines: Vec<_> = several.iter().map(line).collect();
            format!("there are {} backups from before it: {} restore them", several.len(), lines.join(", "))
        }
    }
}

/// A new container is not healthy, or could not be looked at: never the same.
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
