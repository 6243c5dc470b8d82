//! The policies of TLS of other domains (MTA-STS, RFC 8461): fetched when their TXT record tells of a new one, kept as
//! long as they hold, also while nobody can fetch them again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auth::Authority;
use rustls::ClientConfig;
use storage::{Timestamp, TlsPolicy};
use tokio::time::Instant;

use super::fetch;
use super::sts::{self, Policy};
use crate::dns::Dns;
use crate::trust::spf::Lookup;

/// How long what was found is taken for true without asking again, also that there is none.
const FRESH: Duration = Duration::from_secs(300);
/// How many domains are remembered so.
const KEPT: usize = 10_000;
/// HTTPS.
const PORT: u16 = 443;

/// What was found, and when.
type Found = (Instant, Option<Arc<Policy>>);

/// The policies of other domains.
pub(super) struct Policies {
    authority: Arc<Authority>,
    dns: Dns,
    https: Arc<ClientConfig>,
    /// Whether policy hosts may have private addresses.
    private: bool,
    fresh: Mutex<HashMap<String, Found>>,
}

impl Policies {
    pub(super) fn new(authority: Arc<Authority>, dns: Dns, https: Arc<ClientConfig>, private: bool) -> Policies {
        Policies { authority, dns, https, private, fresh: Mutex::default() }
    }

    /// The policy of a domain, where it has one.
    ///
    /// # Errors
    /// When the store fails: nobody can tell then whether there was one.
    pub(super) async fn of(&self, domain: &str) -> Result<Option<Arc<Policy>>, storage::Error> {
        let known = self.fresh.lock().unwrap_or_else(PoisonError::into_inner).get(domain).cloned();
        if let Some((since, policy)) = known
            && since.elapsed() < FRESH
        {
            return Ok(policy);
        }
        let policy = self.asked(domain).await?.map(Arc::new);
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh.len() >= KEPT {
            fresh.clear();
        }
        fresh.insert(domain.to_owned(), (Instant::now(), policy.clone()));
        Ok(policy)
    }

    async fn asked(&self, domain: &str) -> Result<Option<Policy>, storage::Error> {
        let known = self.authority.tls_policy(domain).await?;
        let held = known.as_ref().and_then(|known| known.policy.parse::<Policy>().ok());
        let texts = Lookup::txt(&self.dns, &format!("_mta-sts.{domain}")).await.unwrap_or_default();
        let texts: Vec<String> = texts.into_iter().filter_map(|text| String::from_utf8(text).ok()).collect();
        // Without the record a policy that was fetched holds on (RFC 8461 §5.1).
        let Some(id) = sts::id(texts.iter().map(String::as_str)) else { return Ok(held) };
        let ages = |known: &TlsPolicy, held: &Policy| {
            let left = known.expires.0.saturating_sub(Timestamp::now().0);
            left < i64::from(held.max_age) * 1000 / 2
        };
        if let (Some(known), Some(held)) = (&known, &held)
            && known.id == id
            && !ages(known, held)
        {
            return Ok(Some(held.clone()));
        }
        let host = fetch::host(domain);
        let addresses = self.dns.addresses(&host).await.unwrap_or_default();
        match fetch::fetch(domain, &addresses, PORT, self.https.clone(), self.private).await {
            Ok(policy) => {
                let expires = Timestamp(Timestamp::now().0.saturating_add(i64::from(policy.max_age) * 1000));
                let kept = TlsPolicy { id, policy: policy.text(), expires };
                self.authority.keep_tls_policy(domain, kept).await?;
                Ok(Some(policy))
            }
            Err(why) => {
                tracing::info!(domain, why, "its policy of TLS cannot be fetched (MTA-STS)");
                Ok(held)
            }
        }
    }
}
