//! `cm-backup list`: the backups of a directory, and what is only left over.

use crate::store::{Listed, Store};
use cm_archive::text;
use cm_core::{Exit, Failure, Io, Result};
use serde_json::{Value, json};

/// Shows what is in `store`.
///
/// # Errors
/// [`Exit::Usage`] if there is no such directory, [`Exit::Backup`] if it cannot be read.
pub async fn show(store: &Store, as_json: bool, io: &Io) -> Result<Exit> {
    let Some(files) = store.list().await? else {
        return Err(Failure::new(Exit::Usage, "usage.folder", format!("there is no directory {}", store.display("")))
            .hint("it is made by the first backup"));
    };
    let files: Vec<_> = files.into_iter().filter(|file| is_backup(&file.name)).collect();
    if as_json {
        io.print_json(&Value::Array(files.iter().map(|file| describe(file, store)).collect()))?;
        return Ok(Exit::Done);
    }
    if files.is_empty() {
        io.log.info(format!("there are no backups in {}", store.display("")));
    }
    for file in &files {
        io.print(&line(file))?;
    }
    Ok(Exit::Done)
}

fn is_backup(name: &str) -> bool {
    name.ends_with(".partial") || name.contains(".archive")
}

fn line(file: &Listed) -> String {
    let size = text::bytes(file.bytes);
    let note = match &file.manifest {
        _ if file.name.ends_with(".partial") => "left over: not a backup".to_owned(),
        None => "no manifest: completeness not verified".to_owned(),
        Some(manifest) if manifest.bytes != file.bytes => "not the size its manifest says".to_owned(),
        Some(manifest) => format!(
            "{}, {}, verified {}",
            cm_core::plural(manifest.namespaces.len() as u64, "collection"),
            cm_core::plural(manifest.documents, "document"),
            manifest.verified_at
        ),
    };
    format!("{}  {size:>8}  {note}", file.name)
}

fn describe(file: &Listed, store: &Store) -> Value {
    json!({
        "file": store.path(&file.name),
        "host": store.host_name(),
        "bytes": file.bytes,
        "partial": file.name.ends_with(".partial"),
        "manifest": file.manifest,
    })
}
