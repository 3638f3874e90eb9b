//! One release, on every host that has it.

use crate::history::{begin, read_all};
use cm_core::{Column, Exit, Failure, Io, Result, time::local};
use cm_ledger::{Ledger, Record};
use cm_project::Project;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::IsTerminal;

/// Shows one release: a table on a terminal, JSON elsewhere.
///
/// # Errors
/// Those of [`find`], and of reading the ledgers.
pub async fn show(project: &Project, run: &str, as_json: bool, io: &Io) -> Result<()> {
    let ledgers = read_all(project, io).await?;
    let id = find(&ledgers, run)?;
    let found: Vec<_> =
        ledgers.iter().filter_map(|(host, ledger)| Some((host.as_str(), ledger.record(&id)?))).collect();
    if as_json || !std::io::stdout().is_terminal() {
        let hosts: Map<_, _> = found.iter().map(|(host, record)| ((*host).to_owned(), json!(record))).collect();
        return io.print_json(&Value::Object(hosts));
    }
    io.print(&text(&found, io))
}

/// The id of the one release that `run` is, or begins.
///
/// # Errors
/// [`Exit::Usage`] if no host has it, or the beginning fits several.
pub fn find(ledgers: &[(String, Ledger)], run: &str) -> Result<String> {
    let ids: BTreeSet<_> = ledgers.iter().flat_map(|(_, ledger)| ledger.records()).map(|record| &record.id).collect();
    let fit: Vec<_> = ids.into_iter().filter(|id| id.starts_with(run)).cloned().collect();
    match fit.as_slice() {
        [id] => Ok(id.clone()),
        [] => Err(Failure::new(Exit::Usage, "usage.unknown-release", format!("no host has a release {run:?}"))
            .hint("cm-record history lists them")),
        _ => Err(Failure::new(Exit::Usage, "usage.ambiguous-release", format!("{run:?} fits several releases"))
            .cause(fit.join(" "))),
    }
}

fn text(found: &[(&str, &Record)], io: &Io) -> String {
    let parts: Vec<_> = found
        .iter()
        .map(|(host, record)| format!("{}\n\n{}", io.facts(&head(host, record)), io.table(&services(record), COLUMNS)))
        .collect();
    parts.join("\n\n")
}

const COLUMNS: [Column; 5] = [Column::Whole, Column::Whole, Column::Cut, Column::Id, Column::Cut];

fn head(host: &str, record: &Record) -> Vec<[String; 2]> {
    let some = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows = [
        ("host", host.to_owned()),
        ("release", record.id.clone()),
        ("at", local(&record.at)),
        ("by", record.actor.clone()),
        ("branch", record.branch.clone()),
        ("commit", record.tried().to_owned()),
        ("runs now", if record.tried() == record.commit { String::new() } else { record.commit.clone() }),
        ("verdict", record.verdict.as_str().to_owned()),
        ("cause", some(&record.cause)),
        ("backup", backups(record)),
        ("irreversible", record.irreversible.join(", ")),
        ("took back", record.took_back.join(", ")),
    ];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    rows.map(|(key, value)| [key.to_owned(), value]).collect()
}

fn backups(record: &Record) -> String {
    record.each_backup().into_iter().map(|backup| backup.place).collect::<Vec<_>>().join(", ")
}

fn services(record: &Record) -> Vec<[String; 5]> {
    let mut rows = vec![["SERVICE", "COMMIT", "IMAGE", "ID", "NOTE"].map(str::to_owned)];
    rows.extend(record.services.iter().map(|(name, state)| {
        let tried = record.attempted.get(name).map(|tried| format!("tried {}", begin(&tried.commit, 12)));
        let back = record.taken_back.get(name).cloned();
        let removed = state.removed.then(|| "removed".to_owned());
        let why = record.reasons.get(name).and_then(|reasons| reasons.first()).cloned();
        let note: Vec<_> = [removed, back, tried, why].into_iter().flatten().collect();
        [name.clone(), begin(&state.commit, 12), state.image.clone(), image_id(&state.image_id), note.join("; ")]
    }));
    rows
}

/// An image's id as docker shortens it.
pub fn image_id(id: &str) -> String {
    begin(id.strip_prefix("sha256:").unwrap_or(id), 12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_ledger::{ServiceState, Verdict};

    #[test]
    fn a_release_is_found_by_how_its_id_begins() {
        let lines = ["11-a", "11-b", "2"].map(|id| json!(Record::new(id, "ada", "main", "c")).to_string());
        let ledgers = [("h".to_owned(), Ledger::parse(lines.join("\n").as_bytes()))];
        assert_eq!(find(&ledgers, "2").expect("one"), "2");
        assert_eq!(find(&ledgers, "11-b").expect("one"), "11-b");
        assert_eq!(find(&ledgers, "11").expect_err("two").code, "usage.ambiguous-release");
        assert_eq!(find(&ledgers, "3").expect_err("none").code, "usage.unknown-release");
    }

    #[test]
    fn services_and_their_commits_stay_whole_in_every_width() {
        let mut record = Record::new("1", "ada", "main", "0123456789abcdef");
        let service = "backend-gateway-with-a-name-of-40-letters".to_owned();
        let image = "registry.example.org:5000/platform/backend-gateway".to_owned();
        let state = ServiceState { commit: "fedcba9876543210".to_owned(), image, ..Default::default() };
        record.services.insert(service.clone(), state);
        record.reasons.insert(service.clone(), vec!["services/backend/gateway/routes/billing.py (context)".to_owned()]);
        for width in [60, 80, 110, 200] {
            let shown = cm_core::fitted(&services(&record), COLUMNS, width, false);
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{width}: {shown}");
            assert!(shown.contains(&service) && shown.contains("fedcba987654"), "{width}: {shown}");
        }
    }

    #[test]
    fn the_table_has_what_was_tried_and_what_runs() {
        let mut record = Record::new("1", "ada", "main", "0123456789abcdef");
        record.verdict = Verdict::RolledBack;
        record.cause = Some("it was slow".to_owned());
        let state = |commit: &str| ServiceState {
            commit: commit.to_owned(),
            image_id: format!("sha256:{commit}"),
            ..Default::default()
        };
        record.services.insert("web".to_owned(), state("aaaa"));
        record.attempted.insert("web".to_owned(), state("bbbb"));
        let text = format!("{}\n{}", cm_core::table(&head("h", &record)), cm_core::table(&services(&record)));
        assert!(text.contains("commit    bbbb\nruns now  0123456789abcdef"), "{text}");
        assert!(text.starts_with("host      h\nrelease   1\n"), "{text}");
        assert!(text.contains("cause     it was slow"), "{text}");
        assert!(text.ends_with("web      aaaa           aaaa  tried bbbb"), "{text}");
        assert!(!text.contains("backup"), "{text}");
    }
}
