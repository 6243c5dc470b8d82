//! The schema, as the migrations that lead to it. A released step is never edited; a change is a new step.

use super::{Read, params};
use crate::{Error, Timestamp};

/// Every step, the first leading from an empty database to version 1.
const STEPS: &[&str] = &[include_str!("0001.sql")];

/// Brings the database to the newest version.
///
/// # Errors
/// [`Error::Invalid`] when the database was written by a newer Wharfinger.
pub(super) fn migrate(tx: &Read<'_>) -> Result<(), Error> {
    tx.batch("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL, applied BIGINT NOT NULL)")?;
    let version = tx.row("SELECT MAX(version) FROM schema_version", &[], |row| row.optional_int(0))?;
    let version = usize::try_from(version.flatten().unwrap_or(0)).unwrap_or(usize::MAX);
    if version > STEPS.len() {
        return Err(Error::invalid(format!(
            "the store has format {version}, this Wharfinger knows {}: start the newer one again",
            STEPS.len()
        )));
    }
    for (at, step) in STEPS.iter().enumerate().skip(version) {
        tx.batch(&tx.dialect().schema(step))?;
        let now = Timestamp::now();
        tx.execute("INSERT INTO schema_version (version, applied) VALUES ($1, $2)", params![at as i64 + 1, now])?;
    }
    Ok(())
}
