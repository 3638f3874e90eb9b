//! `cm-lock status`: who holds the lock, on this machine and on every host, as a table for people or
//! as JSON. It takes nothing, and what it cannot see it calls unknown.

use crate::args::Where;
use crate::place::Place;
use cm_core::{Column, CommonArgs, Exit, Failure, Io, Log, Result, time};
use cm_host::{Host, Target};
use cm_lease::{Record, local, remote};
use serde_json::{Value, json};
use std::io::IsTerminal;

/// Prints the state of the lock.
///
/// # Errors
/// After printing: the first place that could not be looked at or understood.
pub async fn status(common: &CommonArgs, flags: &Where, shown: Shown, io: &Io) -> Result<Exit> {
    let place = Place::new(common, flags)?;
    let mut failures = Vec::new();
    let here = here(&place, &mut failures);
    let mut hosts = Vec::new();
    for (target, sight) in look(&place, &io.log).await? {
        let mut host = on_host(&target, &place.dir(), sight, &mut failures);
        tell_run(&mut host, &here);
        hosts.push(host);
    }
    let status = json!({
        "schema": "cm.lock-status/1",
        "project": place.project,
        "local": here,
        "hosts": hosts,
    });
    match shown {
        Shown::Json => io.print_json(&status)?,
        Shown::Table { wide } => io.print_table(&rows(&status), COLUMNS, wide)?,
    }
    failures.into_iter().next().map_or(Ok(Exit::Done), Err)
}

/// In which form it is shown.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// For scripts.
    Json,
    /// For people.
    Table {
        /// However narrow the terminal is.
        wide: bool,
    },
}

impl Shown {
    /// A table on a terminal, JSON elsewhere and where that is asked for.
    pub fn new(json: bool, wide: bool) -> Shown {
        if json || !std::io::stdout().is_terminal() { Shown::Json } else { Shown::Table { wide } }
    }
}

const COLUMNS: [Column; 8] =
    [Column::Whole, Column::State, Column::Whole, Column::Whole, Column::Time, Column::Cut, Column::Id, Column::Cut];

/// A row for this machine and one for each host.
fn rows(status: &Value) -> Vec<[String; 8]> {
    let row = |name: &str, value: &Value| {
        let said = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let record = &value["record"];
        let since = record["since"].as_str().map_or("-".to_owned(), time::local);
        let renewed =
            value["renewed_seconds_ago"].as_u64().map_or("-".to_owned(), |ago| format!("{} ago", time::rough(ago)));
        let step = value["step"].as_str().or(record["step"].as_str()).unwrap_or("-").to_owned();
        let note = value["error"]["message"].as_str().or(record["reason"].as_str()).unwrap_or("-").to_owned();
        let state = said(&value["state"]);
        [name.to_owned(), state, said(&record["owner"]), step, since, renewed, said(&record["run"]), note]
    };
    let mut rows = vec![["PLACE", "LOCK", "HOLDER", "STEP", "SINCE", "RENEWED", "RUN", "NOTE"].map(str::to_owned)];
    rows.push(row("this machine", &status["local"]));
    let hosts = status["hosts"].as_array().into_iter().flatten();
    rows.extend(hosts.map(|host| row(host["name"].as_str().unwrap_or_default(), host)));
    rows
}

/// Looks at all hosts at once; in the order they are locked.
pub(crate) async fn look(place: &Place, log: &Log) -> Result<Vec<(Target, Result<(Host, remote::Sight)>)>> {
    let mut looking = Vec::new();
    for target in place.targets().iter().cloned() {
        let (dir, log) = (place.dir(), log.clone());
        looking.push(tokio::spawn(async move {
            let sight = look_at(&target, &dir, &log).await;
            (target, sight)
        }));
    }
    let mut seen = Vec::new();
    for task in looking {
        seen.push(task.await.map_err(|error| Failure::bug("looking at a host ended early").cause(error))?);
    }
    seen.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    Ok(seen)
}

async fn look_at(target: &Target, dir: &str, log: &Log) -> Result<(Host, remote::Sight)> {
    let host = Host::connect(target, log).await?;
    let mut sight = remote::look(&host, dir).await?;
    if let remote::Sight::There(there) = &mut sight
        && let Err(failure) = &there.record
    {
        there.record = Err(remote::unreadable(&host, failure.clone()));
    }
    Ok((host, sight))
}

/// A host is told the run with the next renewal; where the holder is this machine's, that is known already.
fn tell_run(host: &mut Value, here: &Value) {
    let (theirs, ours) = (&host["record"], &here["record"]);
    if theirs["nonce"].is_string() && theirs["nonce"] == ours["nonce"] {
        for key in ["run", "step"].into_iter().filter(|key| theirs[key].is_null()).collect::<Vec<_>>() {
            host["record"][key] = ours[key].clone();
        }
    }
}

fn here(place: &Place, failures: &mut Vec<Failure>) -> Value {
    let (state, record, error) = match local::look(&place.file) {
        Ok(local::Sight::Held(record)) => ("held", record, None),
        Ok(local::Sight::Free(record)) => (if record.is_some() { "stale" } else { "free" }, record, None),
        Err(failure) => ("unknown", None, Some(failure)),
    };
    let value = json!({
        "file": place.file,
        "state": state,
        "record": record.as_ref().map(record_json),
        "error": error.as_ref().map(|failure| failure.to_json("cm-lock")),
    });
    failures.extend(error);
    value
}

fn on_host(target: &Target, dir: &str, seen: Result<(Host, remote::Sight)>, failures: &mut Vec<Failure>) -> Value {
    let mut value = json!({"name": target.name, "state": "unknown", "step": null, "renewed_seconds_ago": null, "record": null, "error": null});
    let failure = match seen {
        Ok((_, remote::Sight::Free)) => {
            value["state"] = "free".into();
            return value;
        }
        Ok((_, remote::Sight::There(there))) => {
            value["renewed_seconds_ago"] = there.age.as_secs().into();
            value["step"] = there.step.clone().into();
            value["state"] = if there.stealable().is_some() { "stale".into() } else { "held".into() };
            match there.record {
                Ok(record) => {
                    value["record"] = record_json(&record);
                    return value;
                }
                Err(failure) => {
                    value["state"] = "unreadable".into();
                    failure
                }
            }
        }
        Ok((host, remote::Sight::Odd)) => {
            value["state"] = "unreadable".into();
            remote::odd(&host, dir)
        }
        Err(failure) => failure,
    };
    value["error"] = failure.to_json("cm-lock");
    failures.push(failure);
    value
}

fn record_json(record: &Record) -> Value {
    serde_json::to_value(record).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_was_not_told_the_run_is_of_the_run_of_this_machine() {
        let here = json!({"record": {"nonce": "1", "run": "01a2", "step": "build"}});
        let run_of = |record: Value| {
            let mut host = json!({ "record": record });
            tell_run(&mut host, &here);
            host["record"]["run"].clone()
        };
        assert_eq!(run_of(json!({"nonce": "1", "run": null})), json!("01a2"));
        assert_eq!(run_of(json!({"nonce": "1", "run": "0b"})), json!("0b"));
        assert_eq!(run_of(json!({"nonce": "2", "run": null})), Value::Null, "somebody else's");
        assert_eq!(run_of(Value::Null), Value::Null, "nobody holds it");
    }

    #[test]
    fn people_see_who_holds_it_and_where_it_is_not_known() {
        let since = (jiff::Timestamp::now() - std::time::Duration::from_secs(250)).to_string();
        let record = json!({"owner": "ada@laptop", "since": since, "run": "01a2", "step": "build", "reason": "docs"});
        let error = json!({"message": "cannot reach host \"two\" (deploy@two)"});
        let status = json!({
            "local": {"state": "free", "record": null},
            "hosts": [
                {"name": "one", "state": "held", "renewed_seconds_ago": 3, "step": "health", "record": record},
                {"name": "two", "state": "unknown", "renewed_seconds_ago": null, "step": null, "record": null, "error": error},
            ],
        });
        let joined = rows(&status).into_iter().map(|row| row.join("|"));
        let wanted = [
            "PLACE|LOCK|HOLDER|STEP|SINCE|RENEWED|RUN|NOTE",
            "this machine|free|-|-|-|-|-|-",
            &format!("one|held|ada@laptop|health|{}|3 s ago|01a2|docs", time::local(&since)),
            "two|unknown|-|-|-|-|-|cannot reach host \"two\" (deploy@two)",
        ];
        assert_eq!(joined.collect::<Vec<_>>(), wanted);
        let fitted = cm_core::fitted(&rows(&status), COLUMNS, 80, false);
        assert!(fitted.contains("one           held     ada@laptop  health  4 min ago  3 s ago  01a2"), "{fitted}");
    }
}
