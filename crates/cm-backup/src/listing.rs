//! `cm-backup list`: the backups of a directory, and what is only left over.

use crate::listed::Listed;
use crate::store::Store;
use cm_archive::text;
use cm_core::{Column, Exit, Failure, Io, Result, time};
use serde_json::{Value, json};
use std::cmp::Reverse;

/// In which form it is shown.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// For scripts.
    Json,
    /// For people: a table.
    Table {
        /// However narrow the terminal is.
        wide: bool,
    },
}

const HEAD: [&str; 6] = ["FILE", "STATE", "AGE", "SIZE", "HOLDS", "COPY"];

const COLUMNS: [Column; 6] = [Column::Whole, Column::State, Column::Whole, Column::Whole, Column::Cut, Column::Cut];

/// Shows what is in `stores`.
///
/// # Errors
/// [`Exit::Usage`] if there is no such directory, [`Exit::Backup`] if it cannot be read.
pub async fn show(stores: &[Store], shown: Shown, io: &Io) -> Result<Exit> {
    let mut described = Vec::new();
    for store in stores {
        let Some(files) = store.list().await? else {
            let message = format!("there is no directory {}", store.display(""));
            return Err(Failure::new(Exit::Usage, "usage.folder", message).hint("it is made by the first backup"));
        };
        let files: Vec<_> = files.into_iter().filter(is_backup).collect();
        if files.is_empty() {
            io.log.info(format!("there are no backups in {}", store.display("")));
        }
        match shown {
            Shown::Json => described.extend(files.iter().map(|file| describe(file, store))),
            Shown::Table { .. } if files.is_empty() => {}
            Shown::Table { wide } => {
                if stores.len() > 1 {
                    io.print(&format!("{}:", store.display("")))?;
                }
                io.print_table(&rows(files), COLUMNS, wide)?;
            }
        }
    }
    if matches!(shown, Shown::Json) {
        io.print_json(&Value::Array(described))?;
    }
    Ok(Exit::Done)
}

/// What has a manifest, or is called as a backup of MongoDB is: those without one are archives, too.
fn is_backup(file: &Listed) -> bool {
    file.manifest.is_some() || file.name.ends_with(".partial") || file.name.contains(".archive")
}

/// The newest first, then what nothing dates.
fn rows(mut files: Vec<Listed>) -> Vec<[String; 6]> {
    files.sort_by_key(|file| Reverse((verified_at(file).map(str::to_owned), file.name.clone())));
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(files.iter().map(row));
    rows
}

fn row(file: &Listed) -> [String; 6] {
    let or_none = |said: Option<String>| said.unwrap_or_else(|| "-".to_owned());
    [
        file.name.clone(),
        state(file).to_owned(),
        or_none(verified_at(file).and_then(time::seconds_since).map(time::rough)),
        text::bytes(file.bytes),
        or_none(file.manifest.as_ref().map(|manifest| manifest.holds())),
        or_none(file.copy.as_ref().map(|copy| copy.note_of(file.bytes))),
    ]
}

fn verified_at(file: &Listed) -> Option<&str> {
    file.manifest.as_ref().map(|manifest| manifest.verified_at.as_str())
}

/// What the file is worth.
fn state(file: &Listed) -> &'static str {
    match &file.manifest {
        _ if file.name.ends_with(".partial") => "left over, not a backup",
        None => "no manifest",
        Some(manifest) if manifest.bytes != file.bytes => "not its manifest's size",
        Some(_) => "verified",
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_stays_whole_in_every_width() {
        let name = "shop-backend-gateway-2026-11-30T04-39-19.123Z-1a2b.archive.zst".to_owned();
        let files = ["", ".partial"].map(|end| Listed {
            name: format!("{name}{end}"),
            bytes: 1 << 32,
            manifest: None,
            copy: None,
        });
        let rows = rows(files.into());
        for width in [40, 80, 110, 200] {
            let shown = cm_core::fitted(&rows, COLUMNS, width, false);
            // In a terminal that is narrower than the name, the name goes on in the next line.
            let joined: String = shown.split_whitespace().collect();
            assert!(joined.contains(&format!("{name}.partial")), "{width}: {shown}");
            assert!(shown.contains("left over, not a backup") && shown.contains("no manifest"), "{width}: {shown}");
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{width}: {shown}");
        }
    }
}
