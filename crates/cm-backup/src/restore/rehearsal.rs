//! `--restore-check`: the backup is restored into a database that nobody uses, and what
//! the server then holds is compared with the backup, document by document.

use super::{Plan, Renames, Restore, Wanted};
use crate::archive::Totals;
use crate::dump::{self, Dump, Options};
use crate::file::BackupFile;
use crate::metadata;
use crate::survey;
use crate::verify::Contents;
use cm_core::{Exit, Failure, Log, Result};
use mongodb::Client;
use std::time::{SystemTime, UNIX_EPOCH};

/// Restores `file`, which was read as `proved`, compares, and removes what it made.
///
/// # Errors
/// [`Exit::Backup`] if it cannot be restored, or comes back in another form.
pub async fn rehearse(client: &Client, file: &BackupFile, proved: &Contents, log: &Log) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let scratch = format!("cm_check_{}", now.as_millis());
    log.info(format!("restoring into the database {scratch} to compare"));
    let done = restore_and_compare(client, file, proved, &scratch, log).await;
    if let Err(error) = client.database(&scratch).drop().await {
        log.warn(format!("the database {scratch} is left: drop it by hand ({})", crate::mongo::cause(&error)));
    }
    done
}

async fn restore_and_compare(
    client: &Client,
    file: &BackupFile,
    proved: &Contents,
    scratch: &str,
    log: &Log,
) -> Result<()> {
    let renames = Renames::new(&[], &[], Some(scratch))?;
    let mut plan = Plan::make(&proved.prelude, &Wanted { renames, ..Wanted::default() })?;
    let restore = Restore { file, client, lock: None, in_order: true, log };
    restore.look(&mut plan).await?;
    restore.carry_out(&plan, proved).await?;
    let survey = survey::survey(client, scratch).await?;
    let (options, consistency) = (Options::default(), dump::Wanted::None);
    let back = Dump { client, survey: &survey, options: &options, consistency, log }.run(std::io::sink()).await?;
    for item in &plan.items {
        let at = back.prelude.entries.iter().position(|entry| entry.collection == item.collection);
        let same = at.is_some_and(|at| {
            same_documents(back.totals[at], proved.totals[item.index])
                && same_shape(&back.prelude.entries[at].metadata, &proved.prelude.entries[item.index].metadata)
        });
        if !same {
            let message = format!("{} came back in another form from a restore", item.from);
            return Err(Failure::new(Exit::Backup, "backup.restore-check", message)
                .hint("the backup is intact; the server does not make the same of it"));
        }
    }
    Ok(())
}

fn same_documents(a: Totals, b: Totals) -> bool {
    (a.documents, a.bytes, a.crc) == (b.documents, b.bytes, b.crc)
}

/// Whether options and indexes are the same; servers add to an index which collection it is of.
fn same_shape(a: &str, b: &str) -> bool {
    let cleaned = |text: &str| {
        let mut described = metadata::parse(text).ok()?;
        described.indexes.iter_mut().for_each(|index| drop(index.remove("ns")));
        described.indexes.sort_by_key(|index| index.get_str("name").map(str::to_owned).unwrap_or_default());
        Some(described)
    };
    cleaned(a).is_some_and(|a| Some(a) == cleaned(b))
}
