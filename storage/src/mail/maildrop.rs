//! The exclusive-access lock of POP3 (RFC 1939 §3): one session at a time removes messages by the numbers it gave out.
//! Deliveries and readers by other protocols go on meanwhile.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Mail;
use crate::{Error, Lease, Store};

/// For how long other nodes wait for one that died with a maildrop locked.
const LEASE: Duration = Duration::from_secs(60);

/// A locked maildrop. Dropping it unlocks it, on other nodes a moment later.
pub struct MaildropLock {
    // Only one of them is there: the keeper has the place where nodes share the store.
    _place: Option<Place>,
    keeper: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Mail {
    /// Locks the account's maildrop, on all nodes.
    ///
    /// # Errors
    /// [`Error::Busy`] while another session has it.
    pub async fn lock_maildrop(&self) -> Result<MaildropLock, Error> {
        let place = Place::take(&self.store, self.account).ok_or(Error::Busy)?;
        if !self.store.db().is_shared() {
            return Ok(MaildropLock { _place: Some(place), keeper: None });
        }
        let lease = self.store.lease(&place.lease(), LEASE).await?.ok_or(Error::Busy)?;
        let (release, released) = oneshot::channel();
        let keeper = tokio::spawn(keep(place, lease, released));
        Ok(MaildropLock { _place: None, keeper: Some((release, keeper)) })
    }
}

impl MaildropLock {
    /// Unlocks; when this returns, another session may have it.
    pub async fn unlock(mut self) {
        if let Some((release, keeper)) = self.keeper.take() {
            drop(release);
            // A keeper that panicked has given its place back all the same.
            let _ = keeper.await;
        }
    }
}

/// Makes a lease last until the lock is dropped. It is the process's, and so is given up before the place: a later
/// lock of the same process cannot lose its lease by that.
async fn keep(place: Place, lease: Lease, mut released: oneshot::Receiver<()>) {
    while tokio::time::timeout(LEASE / 3, &mut released).await.is_err() {
        // A store that is away is asked again. Should another node have taken over by then, no harm is done: messages
        // are removed by UIDs, and what two sessions remove is removed once.
        if let Err(error) = place.store.lease(&place.lease(), LEASE).await {
            tracing::debug!(%error, place.account, "the lock of a maildrop could not be prolonged");
        }
    }
    if let Err(error) = place.store.release_lease(lease).await {
        tracing::debug!(%error, place.account, "the lock of a maildrop ends only with its time");
    }
}

/// The accounts whose maildrops are locked by this process.
#[derive(Default)]
pub(crate) struct Maildrops(Mutex<HashSet<i64>>);

/// An account's place among them.
struct Place {
    store: Store,
    account: i64,
}

impl Place {
    fn take(store: &Store, account: i64) -> Option<Place> {
        let mut locked = store.caches().maildrops().0.lock().unwrap_or_else(PoisonError::into_inner);
        locked.insert(account).then(|| Place { store: store.clone(), account })
    }

    fn lease(&self) -> String {
        format!("pop3:{}", self.account)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.store.caches().maildrops().0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.account);
    }
}
