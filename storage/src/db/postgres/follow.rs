//! The change feed over all nodes: a notification says that there is something new, the audit log says what. Each chain
//! is read from where it was read last, so nothing is missed when a notification or the connection is lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Shared;
use super::lane::runtime;
use super::session::{Fate, READ_ONLY, Session};
use crate::Error;
use crate::circuit::Backoff;
use crate::db::{Change, Read, params, spawn};

/// How long the feed may stand still when a notification was lost.
const LOOK: Duration = Duration::from_secs(1);
/// How long after a change is looked for more, so that many are told at once.
const GATHER: Duration = Duration::from_millis(2);

/// Up to which record each chain is known.
pub(super) type Positions = HashMap<i64, i64>;

/// Where the chains end now.
pub(super) fn ends(tx: &Read<'_>) -> Result<Positions, Error> {
    let ends = tx.rows("SELECT id, seq FROM chains", &[], |row| Ok((row.int(0)?, row.int(1)?)))?;
    Ok(ends.into_iter().collect())
}

/// Starts the thread that follows from `positions` on, which were read before anybody could follow.
pub(super) fn start(shared: &Arc<Shared>, mut positions: Positions) -> Result<(), Error> {
    let (shared, runtime) = (shared.clone(), runtime()?);
    spawn("store-feed", move || {
        let mut backoff = Backoff::new();
        while !shared.is_closed() {
            let (tell, mut notified) = mpsc::unbounded_channel();
            match Session::connect(&shared.target, &runtime, Some(tell)) {
                Ok(session) => {
                    backoff = Backoff::new();
                    let ended = follow(&shared, &session, &mut notified, &mut positions);
                    if let Err(error) = ended {
                        tracing::debug!(%error, detail = error.detail(), "the change feed was interrupted");
                    }
                }
                Err(refused) => tracing::debug!(refused.told, "the change feed waits for PostgreSQL"),
            }
            std::thread::sleep(backoff.delay());
        }
    })
}

fn follow(
    shared: &Shared,
    session: &Session,
    notified: &mut mpsc::UnboundedReceiver<()>,
    positions: &mut Positions,
) -> Result<(), Error> {
    session.batch("LISTEN wharfinger")?;
    let mut ours = false;
    while !shared.is_closed() {
        if ours {
            // After the commit and not in it: PostgreSQL commits transactions that notify one after the other.
            session.batch("NOTIFY wharfinger")?;
        }
        look(shared, session, positions)?;
        ours = session.wait(async {
            let ours = tokio::select! {
                () = shared.committed.notified() => true,
                told = notified.recv() => { if told.is_none() { return false } false },
                () = tokio::time::sleep(LOOK) => false,
            };
            tokio::time::sleep(GATHER).await;
            while notified.try_recv().is_ok() {}
            ours
        });
        if session.fate() == Fate::Lost {
            return Err(Error::Unavailable("the connection is lost".into()));
        }
    }
    Ok(())
}

/// Reads what every chain has gained and tells of it.
fn look(shared: &Shared, session: &Session, positions: &mut Positions) -> Result<(), Error> {
    session.begin(Some(READ_ONLY));
    let tx = Read::postgres(session);
    let ends = ends(&tx)?;
    let mut changes = Vec::new();
    for (chain, end) in &ends {
        let seen = positions.get(chain).copied().unwrap_or(0);
        if *end > seen {
            let sql = "SELECT account, change, action, object FROM audit
                 WHERE chain = $1 AND seq > $2 AND change IS NOT NULL ORDER BY seq";
            changes.extend(tx.rows(sql, params![*chain, seen], |row| {
                let action = row.text(2)?.into();
                Ok(Change { account: row.int(0)?, number: row.int(1)?, action, object: row.int(3)? })
            })?);
        }
    }
    session.commit()?;
    *positions = ends;
    // One snapshot holds the changes of an account without a gap; chains only mix their order.
    changes.sort_by_key(|change| (change.account, change.number));
    if !changes.is_empty() {
        (shared.listeners.changed)(&changes);
    }
    Ok(())
}
