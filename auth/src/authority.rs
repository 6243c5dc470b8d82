//! Logging in.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use storage::{Account, Actor, Credential, Pass, Peer, Site, Store, VPath, Verifier};
use tokio::sync::OnceCell;

use crate::check::{Remembered, Way};
use crate::decoy::Decoys;
use crate::held::Held;
use crate::passes::Passes;
use crate::password::Passwords;
use crate::prepare::prepared;
use crate::srs::Srs;
use crate::turns::Turns;
use crate::{Denied, Offer, Principal, Secret, Session};

/// How many passwords that were right are remembered.
const REMEMBERED: usize = 10_000;
/// How many sites are remembered.
const SITES: usize = 1000;
/// How many bytes of a name that nobody has are shown (RFC 5321 §4.5.3.1.3).
const NAME_SHOWN: usize = 254;
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
    /// Whether keys of SCRAM-SHA-256 are kept beside each new password, and the mechanism is offered.
    pub scram: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { cleartext: Cleartext::Never, argon2_memory: 19 << 10, argon2_passes: 2, scram: true }
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
    pub(crate) config: Config,
    pub(crate) passwords: Passwords,
    pub(crate) turns: Turns,
    pub(crate) held: Held,
    pub(crate) decoys: Decoys,
    /// The key that remembered passwords are hashed with; made anew at each start.
    key: [u8; 32],
    pub(crate) remembered: Cache<[u8; 32], Remembered>,
    /// The secret that salts follow from.
    salts: OnceCell<[u8; 32]>,
    /// The secret that senders of forwarded mail are rewritten with.
    pub(crate) srs: OnceCell<Srs>,
    sites: Cache<String, KnownSite>,
    pub(crate) web_lifetime: Duration,
    pub(crate) passes: Passes,
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
        let (turns, held, decoys) = (Turns::new(), Held::default(), Decoys::default());
        let (salts, srs) = (OnceCell::new(), OnceCell::new());
        Ok(Arc::new(Authority {
            store,
            config,
            passwords,
            turns,
            held,
            decoys,
            key,
            remembered,
            salts,
            srs,
            sites,
            web_lifetime,
            passes: Passes::default(),
        }))
    }

    /// What a new password of the account called `name` is to be kept as, for the command line.
    ///
    /// # Errors
    /// A sentence, when it is too short or the computation fails.
    pub async fn verifier(&self, name: &str, password: Secret) -> Result<Verifier, String> {
        if password.prepared().bytes().len() < 8 {
            return Err("a password needs at least 8 characters".into());
        }
        let scram = self.scram_keys(&name.trim().to_lowercase(), password.clone()).await?;
        Ok(Verifier { hash: self.passwords.verifier(password).await?, scram })
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
        self.login_by(peer, Way::Command, &name, password).await
    }

    /// Logs in where every request repeats the same password (HTTP Basic): one that was right from this address within
    /// the last five minutes is taken without another record, unless the credential or its account was changed.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn login_again(&self, peer: &Peer, offer: Offer) -> Result<Session, Denied> {
        let Offer::Password { name, password } = offer;
        if !self.cleartext_allowed(peer) {
            return Err(Denied::Cleartext);
        }
        match self.remembered(peer, &name, &password).await? {
            Some(session) => Ok(session),
            None => self.login_by(peer, Way::Command, &name, password).await,
        }
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
        let home = self.store.home(account, actor(peer, None));
        let root = VPath::parse(PUBLIC)?;
        if !home.stat(&root).await?.is_folder() {
            return Err(storage::Error::NotFound);
        }
        let site = home.into_site(root);
        self.sites.insert(name.to_owned(), KnownSite { account, generation, site: site.clone() });
        Ok(site)
    }

    /// As [`Authority::refusal`], of a log-in with a name that a stranger gave.
    pub(crate) async fn login_refusal(&self, peer: &Peer, name: &str, detail: &str) {
        self.refusal(peer, None, "auth.login", &shown(name), detail).await;
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
    pub(crate) async fn account_name(&self, name: &str) -> Result<String, Denied> {
        let name = prepared(name).trim().to_lowercase();
        if let Some((local, domain)) = name.rsplit_once('@') {
            let domains = self.store.domains().await.map_err(Denied::Unavailable)?;
            if domains.iter().any(|known| known == domain) {
                return Ok(local.to_owned());
            }
        }
        Ok(name)
    }

    /// The salt of SCRAM for a name. It follows from a secret of the store, so that names nobody has get one too, the
    /// same each time, and the answer does not tell who has an account; all passwords of an account share it.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn salt(&self, name: &str) -> Result<[u8; 16], storage::Error> {
        let secret = self.salts.get_or_try_init(|| self.store.secret("scram-salts")).await?;
        let mut salt = [0; 16];
        blake3::Hasher::new_keyed(secret).update(name.as_bytes()).finalize_xof().fill(&mut salt);
        Ok(salt)
    }

    pub(crate) fn remember_key(&self, peer: &Peer, name: &str, password: &Secret) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        let address: IpAddr = peer.remote.ip();
        for part in [peer.protocol.as_bytes(), address.to_string().as_bytes(), name.as_bytes(), password.bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// A session of an account that goes on by `pass`; `credential` is what it proved itself by, `None` where it did so
    /// before.
    pub(crate) fn session(
        &self,
        peer: &Peer,
        account: &Account,
        credential: Option<&Credential>,
        pass: Pass,
    ) -> Session {
        let principal = principal(account, credential);
        let actor = Actor { pass: pass.clone(), ..actor(peer, Some(&principal)) };
        let home = self.store.home(account.id, actor.clone());
        let home = if credential.is_none_or(reads_mail) { home } else { home.without_mail() };
        let mail = self.store.mail(account.id, actor);
        Session { principal, home, mail, pass }
    }
}

/// Whether a credential opens mail, as mail or as files.
fn reads_mail(credential: &Credential) -> bool {
    let protocols = &credential.scope.protocols;
    protocols.is_empty() || protocols.iter().any(|protocol| protocol == "imap" || protocol == "pop3")
}

/// A name that a stranger gave, as it stands in the audit log: no longer than an address may be.
pub(crate) fn shown(name: &str) -> Cow<'_, str> {
    let cut = &name[..name.floor_char_boundary(NAME_SHOWN)];
    if cut == name { Cow::Borrowed(name) } else { Cow::Owned(format!("{cut}…")) }
}

pub(crate) fn principal(account: &Account, credential: Option<&Credential>) -> Principal {
    let read_only = credential.is_some_and(|credential| credential.scope.read_only);
    Principal { id: account.id, name: account.name.clone(), role: account.role, read_only }
}

pub(crate) fn actor(peer: &Peer, who: Option<&Principal>) -> Actor {
    let name = who.map(|who| who.name.clone()).unwrap_or_default();
    let read_only = who.is_some_and(|who| who.read_only);
    Actor { account: who.map(|who| who.id), name, peer: peer.clone(), read_only, pass: Pass::default() }
}
