//! Two collections of which one is a copy of the other. A server whose renamings are not one step may be at one, or have
//! been killed amid one, and then has both: of those, one that holds nothing but what the other has is dropped.

use super::target::Target;
use crate::{command, connection};
use bson::{Document, RawDocumentBuf, doc};
use cm_core::{Failure, Result};
use futures_util::TryStreamExt;

/// Whether every document of `one` is in `other`, byte for byte.
///
/// # Errors
/// [`cm_core::Exit::Backup`] with what the server said.
pub async fn is_within(target: Target<'_>, db: &str, one: &str, other: &str) -> Result<bool> {
    let failed = |error: mongodb::error::Error| -> Failure {
        connection::failure(&error, format!("cannot compare {db}.{one} and {db}.{other}"))
    };
    let database = target.client.database(db);
    let sorted = |name: &str| doc! {"find": name, "sort": {"_id": 1}};
    let read = async |find: Document| {
        let cursor = command::reading(&database, find).await.map_err(failed)?;
        Ok::<_, Failure>(cursor.with_type::<RawDocumentBuf>())
    };
    let (mut ones, mut others) = (read(sorted(one)).await?, read(sorted(other)).await?);
    while let Some(wanted) = ones.try_next().await.map_err(failed)? {
        loop {
            match others.try_next().await.map_err(failed)? {
                None => return Ok(false),
                Some(found) if found.as_bytes() == wanted.as_bytes() => break,
                Some(_) => {}
            }
        }
    }
    Ok(true)
}
