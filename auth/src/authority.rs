//! Logging in.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use storage::{Account, Actor, Peer, Site, Store, Timestamp, VPath};

use crate::password::Passwords;
use crate::{Denied, Offer, Principal, Secret, Session, throttle};

/// How long a password that was right is taken again from the same address without being recorded anew.
const AGAIN: Duration = Duration::from_secs(300);
/// How many such log-ins are remembered.
const REMEMBERED: usize = 10_000;
/// How many sites are remembered.
const SITES: usize = 1000;
/// The folder of a home that everyone may read.
const PUBLIC: &str = "/public";

/// The table `[auth]` of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether passwords are taken without TLS.
    pub cleartext: Cleartext,
    /// The memory one Argon2id computation takes, in KiB (RFC 9106).
    pub argon2_memory: u32,
    /// How many times it passes over that memory.
    pub argon2_passes: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config { cleartext: Cleartext::Never, argon2_memory: 19 << 10, argon2_passes: 2 }
    }
}

/// Whether passwords are taken without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cleartext {
    /// From nobody.
    Never,
    /// From peers on this machine; for tests.
    Loopback,
}

/// Decides who is who. One for the process.
pub struct Authority {
    pub(crate) store: Store,
    config: Config,
    passwords: Passwords,
    /// The key that remembered passwords are hashed with; made anew at each start.
    key: [u8; 32],
    remembered: Cache<[u8; 32], Remembered>,
    sites: Cache<String, KnownSite>,
    pub(crate) web_lifetime: Duration,
}

#[derive(Clone)]
struct Remembered {
    at: Instant,
    /// The password changes, the account is disabled: all of it raises the account's generation of log-in facts.
    facts: [u8; 32],
    session: Session,
}

/// A site that was there at this generation of its account.
#[derive(Clone)]
struct KnownSite {
    account: i64,
    generation: u64,
    site: Site,
}

impl Authority {
    /// An authority over `store`. Web sessions last `web_lifetime`.
    ///
    /// # Errors
    /// A sentence, when the configuration cannot be.
    pub fn new(store: Store, config: Config, web_lifetime: Duration) -> Result<Arc<Self>, String> {
        let passwords = Passwords::new(config.argon2_memory, config.argon2_passes)?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| error.to_string())?;
        let (remembered, sites) = (Cache::new(REMEMBERED), Cache::new(SITES));
        Ok(Arc::new(Authority { store, config, passwords, key, remembered, sites, web_lifetime }))
    }

    /// The verifier of a new password, for the command line.
    ///
    /// # Errors
    /// A sentence, when it is too short or the computation fails.
    pub async fn verifier(&self, password: Secret) -> Result<String, String> {
        if password.bytes().len() < 8 {
            return Err("a password needs at least 8 characters".into());
        }
        self.passwords.verifier(password).await
    }

    /// Whether a password may be sent now: over TLS, or as the configuration allows.
    pub fn cleartext_allowed(&self, peer: &Peer) -> bool {
        let loopback = peer.remote.ip().to_canonical().is_loopback();
        peer.tls.is_some() || (self.config.cleartext == Cleartext::Loopback && loopback)
    }

    /// Logs in. Every outcome is in the audit log when this returns.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn login(&self, peer: &Peer, offer: Offer) -> Result<Session, Denied> {
        let Offer::Password { name, password } = offer;
        let name = self.account_name(&name).await?;
        self.check(peer, &name, password).await.map(|(account, _)| self.session(peer, &account))
    }

    /// Logs in where every request repeats the same password (HTTP Basic): one that was right from this address within
    /// the last five minutes is taken without another record, unless the account's credentials changed.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn login_again(&self, peer: &Peer, offer: Offer) -> Result<Session, Denied> {
        let Offer::Password { name, password } = offer;
        if !self.cleartext_allowed(peer) {
            return Err(Denied::Cleartext);
        }
        let key = self.remember_key(peer, &name, &password);
        if let Some(known) = self.remembered.get(&key)
            && known.at.elapsed() < AGAIN
            && self.facts(&known.session.principal.name).await? == Some(known.facts)
        {
            return Ok(known.session);
        }
        let name = self.account_name(&name).await?;
        let (account, facts) = self.check(peer, &name, password).await?;
        let session = self.session(peer, &account);
        self.remembered.insert(key, Remembered { at: Instant::now(), facts, session: session.clone() });
        Ok(session)
    }

    /// `public` of an account, read-only, for everyone.
    ///
    /// # Errors
    /// [`storage::Error::NotFound`] when there is no such account or it has no such folder.
    pub async fn site(&self, peer: &Peer, name: &str) -> Result<Site, storage::Error> {
        if let Some(known) = self.sites.get(name)
            && self.store.generation(known.account) == known.generation
        {
            return Ok(known.site);
        }
        let account = self.store.account(name).await?.ok_or(storage::Error::NotFound)?.id;
        // Known before the facts it stands for: a change in between makes what is remembered old.
        let generation = self.store.generation(account);
        let still = self.store.account(name).await?.filter(|still| still.id == account && !still.disabled);
        let account = still.ok_or(storage::Error::NotFound)?.id;
        // Reading is not audited, so it does not matter that the next visitor gets this one's actor.
        let actor = Actor { account: None, name: String::new(), peer: peer.clone() };
        let home = self.store.home(account, actor);
        let root = VPath::parse(PUBLIC)?;
        if !home.stat(&root).await?.is_folder() {
            return Err(storage::Error::NotFound);
        }
        let site = home.into_site(root);
        self.sites.insert(name.to_owned(), KnownSite { account, generation, site: site.clone() });
        Ok(site)
    }

    /// Writes an audit record of something a protocol refused. That it cannot be written is for the log: the refusal
    /// stands all the same.
    pub async fn refusal(
        &self,
        peer: &Peer,
        who: Option<&Principal>,
        action: &'static str,
        target: &str,
        detail: &str,
    ) {
        let written = self.store.record(&actor(peer, who), action, target, "refused", detail).await;
        if let Err(error) = written {
            tracing::warn!(%error, action, target, "a refusal could not be recorded");
        }
    }

    /// The account a client means: `alice`, or `alice@example.org` where that domain is local.
    async fn account_name(&self, name: &str) -> Result<String, Denied> {
        let name = name.trim().to_lowercase();
        if let Some((local, domain)) = name.rsplit_once('@') {
            let domains = self.store.domains().await.map_err(Denied::Unavailable)?;
            if domains.iter().any(|known| known == domain) {
                return Ok(local.to_owned());
            }
        }
        Ok(name)
    }

    /// The one place where a password is checked.
    async fn check(&self, peer: &Peer, name: &str, password: Secret) -> Result<(Account, [u8; 32]), Denied> {
        if !self.cleartext_allowed(peer) {
            self.refusal(peer, None, "auth.login", name, "no TLS").await;
            return Err(Denied::Cleartext);
        }
        let keys = throttle::keys(name, peer.remote.ip());
        let standings = self.store.standings(keys.clone()).await.map_err(Denied::Unavailable)?;
        if let Some(retry) = throttle::wait(&standings, Timestamp::now()) {
            self.refusal(peer, None, "auth.login", name, "throttled").await;
            return Err(Denied::Throttled { retry });
        }
        let found = self.store.credentials(name).await.map_err(Denied::Unavailable)?;
        let verifier = found.as_ref().and_then(|(_, credentials)| {
            credentials.iter().find(|credential| credential.kind == "password").map(|found| found.verifier.clone())
        });
        let facts = verifier.as_deref().map(|verifier| *blake3::hash(verifier.as_bytes()).as_bytes());
        let right = self.passwords.matches(verifier, password).await;
        let right = right.map_err(|error| Denied::Unavailable(storage::Error::Internal(error)))?;
        let account = found.map(|(account, _)| account);
        let outcome = match (&account, right) {
            (Some(account), true) if account.disabled => Err("the account is disabled"),
            (Some(account), true) => Ok(account.clone()),
            (Some(_), false) => Err("wrong password"),
            (None, _) => Err("no such account"),
        };
        let (text, detail) = outcome.as_ref().map_or_else(|detail| ("failed", *detail), |_| ("done", "password"));
        let who = outcome.as_ref().ok().map(principal);
        let record = actor(peer, who.as_ref());
        // A success clears what was counted for this account here; the network's count stays, or an attacker with one
        // account of his own could clear it again and again.
        let keys = if text == "done" { keys.into_iter().take(1).collect() } else { keys };
        let recorded = self.store.record_login(&record, name, text, detail, keys, throttle::FORGET).await;
        recorded.map_err(Denied::Unavailable)?;
        match (outcome, facts) {
            (Ok(account), Some(facts)) => Ok((account, facts)),
            _ => Err(Denied::BadCredentials),
        }
    }

    /// What a remembered log-in rests on: the verifier, as long as the account may log in.
    async fn facts(&self, name: &str) -> Result<Option<[u8; 32]>, Denied> {
        let found = self.store.credentials(name).await.map_err(Denied::Unavailable)?;
        Ok(found.filter(|(account, _)| !account.disabled).and_then(|(_, credentials)| {
            let password = credentials.iter().find(|credential| credential.kind == "password")?;
            Some(*blake3::hash(password.verifier.as_bytes()).as_bytes())
        }))
    }

    fn remember_key(&self, peer: &Peer, name: &str, password: &Secret) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        let address: IpAddr = peer.remote.ip();
        for part in [peer.protocol.as_bytes(), address.to_string().as_bytes(), name.as_bytes(), password.bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }

    pub(crate) fn session(&self, peer: &Peer, account: &Account) -> Session {
        let principal = principal(account);
        let home = self.store.home(account.id, actor(peer, Some(&principal)));
        Session { principal, home }
    }
}

fn principal(account: &Account) -> Principal {
    Principal { id: account.id, name: account.name.clone(), role: account.role }
}

pub(crate) fn actor(peer: &Peer, who: Option<&Principal>) -> Actor {
    let name = who.map(|who| who.name.clone()).unwrap_or_default();
    Actor { account: who.map(|who| who.id), name, peer: peer.clone() }
}
