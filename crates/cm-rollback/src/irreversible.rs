//! Releases that contain irreversible migrations. Older code is not put before one
//! unless a person says so, and then the backup that was taken before it is named.
//!
//! Hosts may share a database, so that what other hosts say counts: as a question to a person. It
//! neither stops a rollback that nobody is asked about, nor says what the data is replaced by: a backup
//! is believed of the host that has the database, which can replace that data anyway.

use crate::Args;
use crate::choose::Choice;
use cm_core::{Exit, Failure, Result};
use cm_ledger::{Ledger, Record, RecordedBackup};
use cm_project::Project;
use std::collections::BTreeSet;

/// A ledger and the host that it is of, which alone it speaks for.
#[derive(Clone, Copy, Debug)]
pub struct OfHost<'a> {
    /// The host.
    pub host: &'a str,
    /// Its ledger.
    pub ledger: &'a Ledger,
}

/// An irreversible release, and whose ledger says so.
#[derive(Clone, Copy, Debug)]
pub struct Crossed<'a> {
    /// The host.
    pub host: &'a str,
    /// The release.
    pub record: &'a Record,
}

/// The irreversible releases between what a host is rolled back to and now, oldest first: its
/// own, and those of `others`, because they may share a database.
pub fn crossed<'a>(choice: &Choice, own: OfHost<'a>, others: &[OfHost<'a>]) -> Vec<Crossed<'a>> {
    let from = choice.oldest.map_or(0, |at| at + 1);
    let since = choice.oldest.and_then(|at| own.ledger.records().get(at)).map(Record::order);
    let each =
        |known: OfHost<'a>| known.ledger.records().iter().map(move |record| Crossed { host: known.host, record });
    let elsewhere = others.iter().copied().flat_map(each).filter(|other| Some(other.record.order()) > since);
    let all = each(own).skip(from).chain(elsewhere);
    let mut crossed: Vec<_> = all.filter(|crossed| !crossed.record.irreversible.is_empty()).collect();
    // Of a release that several ledgers know, this host's own word counts.
    let mut known = BTreeSet::new();
    crossed.retain(|crossed| known.insert(crossed.record.id.as_str()));
    crossed.sort_by_key(|crossed| crossed.record.order());
    crossed
}

/// The backups from before the first of them, as far as the host that has the data says so.
pub fn backups(project: &Project, crossed: &[Crossed<'_>], ledgers: &[OfHost<'_>]) -> Vec<RecordedBackup> {
    let Some(first) = crossed.first() else { return Vec::new() };
    let has_data = |host: &str| project.backups().iter().any(|backup| project.backup_host(backup) == Some(host));
    let of_host = |known: &OfHost<'_>| {
        let record = known.ledger.record(&first.record.id).filter(|_| has_data(known.host));
        let all = record.map(Record::each_backup).unwrap_or_default();
        all.into_iter().filter(|backup| backup.host() == Some(known.host)).collect::<Vec<_>>()
    };
    ledgers.iter().flat_map(of_host).collect()
}

/// Refuses to go across, or says what it means to.
///
/// # Errors
/// [`Exit::NothingToRollBackTo`] without `--confirm`; with `--restore-db` and no backup.
pub fn judge(
    project: &Project,
    host: &str,
    crossed: &[Crossed<'_>],
    backups: &[RecordedBackup],
    args: &Args,
) -> Result<Option<String>> {
    let Some(Crossed { host: says, record: first }) = crossed.first() else { return Ok(None) };
    let by = if *says == host { String::new() } else { format!(", by the ledger of {says},") };
    let message = format!(
        "on {host}: release {}{by} contains irreversible migrations ({}), and this would run older code on the data they changed",
        first.id,
        first.irreversible.join(", ")
    );
    let way = way(project, backups);
    if !args.confirm {
        let failure = Failure::new(Exit::NothingToRollBackTo, "rollback.irreversible", message);
        return Err(failure.hint(way));
    }
    match (backups, args.restore_db) {
        ([], true) => Err(Failure::new(Exit::NothingToRollBackTo, "rollback.no-backup", message)
            .cause(no_backup(says, first))
            .hint("restore one by hand (`cm-backup list` shows them), then roll back without --restore-db")),
        _ => Ok(Some(format!("{message}; {way}"))),
    }
}

/// Why there is none that is restored by itself.
fn no_backup(host: &str, record: &Record) -> String {
    match record.each_backup().first() {
        None => format!("no backup was recorded with release {}", record.id),
        Some(named) => format!(
            "the ledger of {host} names {} with release {}, and the ledger of the host that has the database does not",
            named.place, record.id
        ),
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
        record.at = format!("2026-01-0{id}T00:00:00Z");
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

    fn two_hosts() -> Project {
        let hosts = "[hosts.db]\naddress = \"u@db\"\nservices = [\"db\"]\n[hosts.app]\naddress = \"u@app\"\n";
        let text = format!("{hosts}[backup]\nservice = \"db\"\ndatabase = \"shop\"\n");
        let config = cm_project::Config::parse("cm.toml", &text).expect("valid");
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
            let other = other.each_ref().map(|ledger| OfHost { host: "other", ledger });
            let crossed = crossed(&choice, OfHost { host: "own", ledger: &own }, &other);
            crossed.iter().map(|crossed| crossed.record.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(Some(1)), ["3", "4"]);
        assert!(ids(Some(2)).is_empty());
        assert_eq!(ids(None), ["1", "3", "4"]);
    }

    #[test]
    fn going_across_wants_a_word_and_names_the_oldest_backup_and_the_command() {
        let (two, three) = (record("2", &["migrations/7.py"]), record("3", &["m"]));
        let crossed = [&two, &three].map(|record| Crossed { host: "h", record });
        let backups = two.each_backup();
        let failure = judge(&project(), "h", &crossed, &backups, &args(&[])).expect_err("refused");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::NothingToRollBackTo, "rollback.irreversible"));
        let hint = failure.hint.expect("a hint");
        let command = "cm-backup restore db:/backups/2.archive.gz --drop --confirm=shop";
        assert!(hint.contains(command), "{hint}");
        let confirmed = args(&["--confirm"]);
        let warning = judge(&project(), "h", &crossed, &backups, &confirmed).expect("goes").expect("a warning");
        assert!(warning.contains("migrations/7.py") && warning.contains(command), "{warning}");
        assert!(judge(&project(), "h", &[], &[], &args(&[])).expect("goes").is_none());
        let without = Record { backup: None, ..two.clone() };
        let both = args(&["--confirm", "--restore-db"]);
        let crossed = [Crossed { host: "h", record: &without }];
        assert_eq!(judge(&project(), "h", &crossed, &[], &both).expect_err("none").code, "rollback.no-backup");
    }

    #[test]
    fn what_a_backup_is_comes_from_the_host_of_the_database_alone() {
        let project = two_hosts();
        let honest = record("2", &["m"]);
        // The other host names another backup of that release, one elsewhere, and a file of this machine.
        for place in ["db:/backups/old.gz", "app:/evil.gz", ":/etc/passwd", "/etc/passwd", "--uri-env=X:/x", "db:x"] {
            let lie = Record { backup: Some(place.to_owned()), ..honest.clone() };
            let (own, other) = (ledger(&[record("1", &[]), honest.clone()]), ledger(&[lie]));
            let ledgers = [OfHost { host: "app", ledger: &other }, OfHost { host: "db", ledger: &own }];
            let choice = Choice { oldest: Some(0), ..Choice::default() };
            for host in ledgers {
                let crossed = crossed(&choice, host, &ledgers);
                let places: Vec<_> = backups(&project, &crossed, &ledgers).into_iter().map(|one| one.place).collect();
                let crosses = host.host == "db";
                assert_eq!(places, if crosses { vec!["db:/backups/2.archive.gz"] } else { vec![] }, "{place}");
            }
            // A release that only the other host tells of has no backup that is restored by itself.
            let told = ledger(&[Record { id: "9".to_owned(), ..ledgers[0].ledger.records()[0].clone() }]);
            let ledgers = [OfHost { host: "app", ledger: &told }, ledgers[1]];
            let choice = Choice { oldest: Some(1), ..Choice::default() };
            let crossed = crossed(&choice, ledgers[1], &ledgers);
            assert_eq!(crossed.len(), 1);
            assert!(backups(&project, &crossed, &ledgers).is_empty());
            let both = args(&["--confirm", "--restore-db"]);
            let failure = judge(&project, "db", &crossed, &[], &both).expect_err("not restored");
            assert!(
                failure.code == "rollback.no-backup" && failure.message.contains("by the ledger of app"),
                "{failure}"
            );
        }
    }
}
