//! `--list`: the releases of every host, and which of them can be gone back to.

use crate::back::describe;
use cm_core::{CommonArgs, Io, Result};
use cm_host::{Host, Target, connect_all};
use cm_ledger::{Ledger, Record};
use cm_project::Project;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Prints JSON: per host its releases, newest first, with `images` there or gone.
///
/// # Errors
/// [`cm_core::Exit::Unreachable`], or a ledger that cannot be read.
pub async fn list(common: &CommonArgs, io: &Io) -> Result<()> {
    let project = Project::load(common)?;
    let targets: Vec<_> = project.hosts().iter().map(|host| Target::of(&project, host)).collect::<Result<_>>()?;
    let mut hosts = Map::new();
    for host in connect_all(&targets, &io.log).await? {
        let ledger = Ledger::read(&host, &project.name()).await?;
        let images = images(&host).await?;
        let rows = ledger.records().iter().rev().map(|record| row(record, &images)).collect();
        hosts.insert(host.name().to_owned(), Value::Array(rows));
    }
    io.print_json(&Value::Object(hosts))
}

fn row(record: &Record, images: &BTreeSet<String>) -> Value {
    let mut row = describe(record);
    let there = record.services.values().all(|state| state.image_id.is_empty() || images.contains(&state.image_id));
    row["images"] = if there { "there" } else { "gone" }.into();
    row["target"] = (there && record.verdict.is_good()).into();
    row
}

async fn images(host: &Host) -> Result<BTreeSet<String>> {
    let text = host
        .command(["docker", "image", "ls", "--no-trunc", "-q"])
        .text(cm_core::Exit::HealthUnknown, "engine.images")
        .await?;
    Ok(text.lines().map(str::to_owned).collect())
}
