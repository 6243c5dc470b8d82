//! To how many recipients an account sends in an hour.

use crate::Error;
use crate::db::{Tx, params};

/// Milliseconds.
const HOUR: i64 = 3_600_000;

/// Counts recipients. The hour that is not over yet is filled up with a part of the one before it, so that nobody sends
/// twice as many around the full hour.
///
/// # Errors
/// [`Error::TooMany`] when they are more than `hourly`, and then none is counted.
pub(super) fn count(tx: &mut Tx<'_>, account: i64, recipients: i64, hourly: u32, now: i64) -> Result<(), Error> {
    let hour = now / HOUR;
    let counted = tx.returning(
        "INSERT INTO sending (account, hour, count, before) VALUES ($1, $2, $3, 0)
         ON CONFLICT (account) DO UPDATE SET hour = excluded.hour,
         count = excluded.count + CASE WHEN sending.hour = excluded.hour THEN sending.count ELSE 0 END,
         before = CASE WHEN sending.hour = excluded.hour THEN sending.before
                       WHEN sending.hour = excluded.hour - 1 THEN sending.count ELSE 0 END
         RETURNING count, before",
        params![account, hour, recipients],
        |row| Ok((row.int(0)?, row.int(1)?)),
    )?;
    let (count, before) = counted.unwrap_or_default();
    let left = HOUR - now % HOUR;
    if count.saturating_add(before.saturating_mul(left) / HOUR) > i64::from(hourly) {
        return Err(Error::TooMany(
            format!("this account may send to {hourly} recipients in an hour; try again later").into(),
        ));
    }
    Ok(())
}
