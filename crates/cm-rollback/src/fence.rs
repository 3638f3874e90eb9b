//! The fence: a release that changed data for good. Older code is not put before it
//! unless a person says so, and then the backup that was taken before it is named.

use crate::Args;
use crate::choose::Choice;
use cm_core::{Exit, Failure, Result};
use cm_ledger::{Ledger, Record, RecordedBackup};
use cm_project::Project;

/// The irreversible releases between what a host goes back to and now, oldest first: its
/// own, and those of the other hosts, because they may share a database.
pub fn crossed<'a>(choice: &Choice, own: &'a Ledger, others: &'a [Ledger]) -> Vec<&'a Record> {
    let from = choice.oldest.map_or(0, |at| at + 1);
    let since = choice.oldest.and_then(|at| own.records().get(at)).map_or("", |record| record.id.as_str());
    let elsewhere = others.iter().flat_map(Ledger::records).filter(|record| record.id.as_str() > since);
    let all = own.records().iter().skip(from).chain(elsewhere);
    let mut crossed: Vec<&Record> = all.filter(|record| !record.irreversible.is_empty()).collect();
    crossed.sort_by(|one, other| one.id.cmp(&other.id));
    crossed.dedup_by(|one, other| one.id == other.id);
    crossed
}

/// The backups from before the first of them.
pub fn backups(crossed: &[&Record]) -> Vec<RecordedBackup> {
    crossed.first().map(|record| record.each_backup()).unwrap_or_default()
}

/// Refuses to go across, or says what it means to.
///
/// # Errors
/// [`Exit::NothingToRollBackTo`] without `--confirm`; with `--restore-db` and no backup.
pub fn judge(project: &Project, host: &str, crossed: &[&Record], args: &Args) -> Result<Option<String>> {
    let Some(first) = crossed.first() else { return Ok(None) };
    let message = format!(
        "on {host}: release {} contains irreversible migrations ({}), and this would run older code on the data they changed",
        first.id,
        first.irreversible.join(", ")
    );
    let backups = backups(crossed);
    let way = way(project, &backups);
    if !args.confirm {
        let failure = Failure::new(Exit::NothingToRollBackTo, "rollback.irreversible", message);
        return Err(failure.hint(way));
    }
    match (backups.as_slice(), args.restore_db) {
        ([], true) => Err(Failure::new(Exit::NothingToRollBackTo, "rollback.no-backup", message)
            .cause(format!("no backup was recorded with release {}", first.id))
            .hint("restore one by hand, then roll back without --restore-db")),
        _ => Ok(Some(format!("{message}; {way}"))),
    }
}

fn way(project: &Project, backups: &[RecordedBackup]) -> String {
    match backups {
        [] => {
            "no backup was recorded with it; --confirm rolls back all the same and leaves the data as it is".to_owned()
        }
        backups => format!(
            "{}; `cm-rollback --confirm --restore-db` does both, --confirm alone leaves the data as it is",
            cm_rollout::restore_lines(project, backups)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use cm_ledger::Verdict;

    fn record(id: &str, migrations: &[&str]) -> Record {
        let mut record = Record::new(id, "ada", "main", "aaaa");
        record.verdict = Verdict::Verified;
        record.irreversible = migrations.iter().map(|path| (*path).to_owned()).collect();
        record.backup = Some(format!("db:/backups/{id}.archive.gz"));
        record
    }

    fn ledger(records: &[Record]) -> Ledger {
        let lines = records.iter().map(|record| serde_json::to_string(record).expect("json"));
        Ledger::parse(lines.collect::<Vec<_>>().join("\n").as_bytes())
    }

    fn project() -> Project {
        let text = "[backup]\nservice = \"db\"\ndatabase = \"shop\"\n";
        let config = cm_project::Config::parse("cm.toml", text).expect("valid");
        Project::of("/x".into(), "/x".into(), String::new(), config)
    }

    fn args(line: &[&str]) -> Args {
        Args::parse_from([&["cm-rollback"], line].concat())
    }

    #[test]
    fn what_lies_between_is_crossed_on_this_host_and_on_others() {
        let own = ledger(&[record("1", &["m/1"]), record("2", &[]), record("4", &["m/4"])]);
        let other = [ledger(&[record("1", &["m/1"]), record("3", &["m/3"])])];
        let ids = |oldest| {
            let choice = Choice { oldest, ..Choice::default() };
            crossed(&choice, &own, &other).iter().map(|record| record.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(Some(1)), ["3", "4"]);
        assert!(ids(Some(2)).is_empty());
        assert_eq!(ids(None), ["1", "3", "4"]);
    }

    #[test]
    fn going_across_wants_a_word_and_names_the_oldest_backup_and_the_command() {
        let (two, three) = (record("2", &["migrations/7.py"]), record("3", &["m"]));
        let crossed = [&two, &three];
        let failure = judge(&project(), "h", &crossed, &args(&[])).expect_err("refused");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::NothingToRollBackTo, "rollback.irreversible"));
        let hint = failure.hint.expect("a hint");
        let command = "cm-backup restore db:/backups/2.archive.gz --drop --confirm=shop";
        assert!(hint.contains(command), "{hint}");
        let warning = judge(&project(), "h", &crossed, &args(&["--confirm"])).expect("goes").expect("a warning");
        assert!(warning.contains("migrations/7.py") && warning.contains(command), "{warning}");
        assert!(judge(&project(), "h", &[], &args(&[])).expect("goes").is_none());
        let without = Record { backup: None, ..two.clone() };
        let both = args(&["--confirm", "--restore-db"]);
        assert_eq!(judge(&project(), "h", &[&without], &both).expect_err("none").code, "rollback.no-backup");
    }
}
