//! `cm-backup list`: the backups of a directory, and what is only left over.

use crate::listed::Listed;
use crate::store::Store;
use cm_archive::text;
use cm_core::{Exit, Failure, Io, Result};
use serde_json::{Value, json};

/// Shows what is in `stores`.
///
/// # Errors
/// [`Exit::Usage`] if there is no such directory, [`Exit::Backup`] if it cannot be read.
pub async fn show(stores: &[Store], as_json: bool, io: &Io) -> Result<Exit> {
    let mut described = Vec::new();
    for store in stores {
        let Some(files) = store.list().await? else {
            let message = format!("there is no directory {}", store.display(""));
            return Err(Failure::new(Exit::Usage, "usage.folder", message).hint("it is made by the first backup"));
        };
        let files: Vec<_> = files.into_iter().filter(is_backup).collect();
        if as_json {
            described.extend(files.iter().map(|file| describe(file, store)));
            continue;
        }
        if files.is_empty() {
            io.log.info(format!("there are no backups in {}", store.display("")));
        }
        if stores.len() > 1 {
            io.print(&format!("{}:", store.display("")))?;
        }
        for file in &files {
            io.print(&line(file))?;
        }
    }
    if as_json {
        io.print_json(&Value::Array(described))?;
    }
    Ok(Exit::Done)
}

/// What has a manifest, or is called as a backup of MongoDB is: those without one are archives, too.
fn is_backup(file: &Listed) -> bool {
    file.manifest.is_some() || file.name.ends_with(".partial") || file.name.contains(".archive")
}

fn line(file: &Listed) -> String {
    let size = text::bytes(file.bytes);
    let note = match &file.manifest {
        _ if file.name.ends_with(".partial") => "left over: not a backup".to_owned(),
        None => "no manifest: completeness not verified".to_owned(),
        Some(manifest) if manifest.bytes != file.bytes => "not the size its manifest says".to_owned(),
        Some(manifest) => format!("{}, verified {}", manifest.holds(), manifest.verified_at),
    };
    let copy = file.copy.as_ref().map(|copy| format!("; {}", copy.note())).unwrap_or_default();
    format!("{}  {size:>8}  {note}{copy}", file.name)
}

fn describe(file: &Listed, store: &Store) -> Value {
    json!({
        "file": store.path(&file.name),
        "host": store.host_name(),
        "bytes": file.bytes,
        "partial": file.name.ends_with(".partial"),
        "manifest": file.manifest,
        "copy": file.copy,
    })
}
