//! The keys of our domains, as the store has them, ready to sign.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use auth::Authority;
use bytes::Bytes;
use storage::{DkimState, Error};

use super::body::BodyHashes;
use super::key::Key;
use super::sign::{self, SignError};

/// How long a signature holds, in seconds: longer than anyone tries to deliver a message.
const LIFETIME: u64 = 14 * 24 * 3600;
/// How many keys are kept ready.
const KEPT: usize = 10_000;

/// Keys that were read once, by domain and selector: reading one takes longer than signing with it.
#[derive(Default)]
pub(crate) struct Keys {
    ready: Mutex<HashMap<(String, String), Arc<Key>>>,
}

impl Keys {
    /// Signatures of a message for a domain, as header fields; none where it is no domain of ours with keys.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn sign(
        &self,
        authority: &Authority,
        domain: &str,
        header: &Bytes,
        hashes: &BodyHashes,
    ) -> Result<String, Error> {
        let keys = self.active(authority, domain).await?;
        if keys.is_empty() {
            return Ok(String::new());
        }
        let (header, hashes) = (header.clone(), hashes.clone());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let work = move || sign::sign(&keys, &header, &hashes, now, Some(LIFETIME));
        match tokio::task::spawn_blocking(work).await.map_err(Error::internal)? {
            // Nobody can be said to vouch for it.
            Err(SignError::NoFrom) => Ok(String::new()),
            signed => signed.map_err(Error::internal),
        }
    }

    /// The keys that a domain signs with now.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn active(&self, authority: &Authority, domain: &str) -> Result<Vec<Arc<Key>>, Error> {
        let Ok(domain) = idna::domain_to_ascii(domain) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for row in authority.dkim_keys(&domain).await? {
            if row.state != DkimState::Active {
                continue;
            }
            let place = (row.domain.clone(), row.selector.clone());
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = ready.get(&place) {
                found.push(known.clone());
                continue;
            }
            let key = Arc::new(Key::new(&row.domain, &row.selector, &row.secret).map_err(Error::internal)?);
            if ready.len() >= KEPT {
                ready.clear();
            }
            ready.insert(place, key.clone());
            found.push(key);
        }
        Ok(found)
    }
}
