//! The one place where who logs in is decided, counted and recorded.

use std::time::{Duration, Instant};

use storage::{Account, Credential, CredentialKind, Login, Pass, Standing, Timestamp};
use tokio::sync::SemaphorePermit;

use crate::authority::{actor, principal, shown};
use crate::sasl::scram::{Keys, Proof};
use crate::{Authority, Denied, Peer, Secret, Session, app_password, throttle};

/// How long a password that was right needs no Argon2 again from the same address, and no record where every request
/// repeats it.
const AGAIN: Duration = Duration::from_secs(300);

/// By what a client logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The protocol's own command.
    Command,
    /// A mechanism of SASL.
    Mechanism(&'static str),
    /// The portal's form, which takes the account's own password alone: from there everything can be reached.
    Portal,
}

/// A password that was right.
#[derive(Clone)]
pub(crate) struct Remembered {
    at: Instant,
    /// As it was then: whatever is changed of it, the password is checked anew.
    credential: Credential,
}

/// An account with what it can prove itself by.
type Found = Option<(Account, Vec<Credential>)>;

/// Who logs in, once it may be tried.
struct Trial<'a> {
    peer: &'a Peer,
    way: Way,
    /// The account's name, whether there is one or not.
    name: &'a str,
    found: Found,
    /// What failures count under.
    keys: Vec<String>,
    /// Its network's turn, until it is settled.
    _turn: SemaphorePermit<'a>,
}

impl Authority {
    /// A log-in by name and password.
    pub(crate) async fn login_by(&self, peer: &Peer, way: Way, name: &str, secret: Secret) -> Result<Session, Denied> {
        let key = self.remember_key(peer, name, &secret);
        let account = self.account_name(name).await?;
        let trial = self.trial(peer, way, &account).await?;
        let remembered = self.remembered.get(&key).filter(|known| known.at.elapsed() < AGAIN);
        let known = remembered.and_then(|known| trial.credentials().find(|held| **held == known.credential));
        let (credential, checked) = match known {
            Some(known) => (Some(known.clone()), None),
            None => (self.of_password(&trial, secret.clone()).await?, Some(secret)),
        };
        let session = self.settle(trial, credential.as_ref().ok_or("wrong password")).await?;
        if let Some(mut credential) = credential {
            if let Some(secret) = checked {
                credential = self.renewed(peer, &session.principal, credential, secret).await;
            }
            self.remembered.insert(key, Remembered { at: Instant::now(), credential });
        }
        Ok(session)
    }

    /// The session of a password that was right a moment ago and still is.
    pub(crate) async fn remembered(&self, peer: &Peer, name: &str, secret: &Secret) -> Result<Option<Session>, Denied> {
        let known = self.remembered.get(&self.remember_key(peer, name, secret));
        let Some(known) = known.filter(|known| known.at.elapsed() < AGAIN) else { return Ok(None) };
        let found = self.store.credentials(&self.account_name(name).await?).await.map_err(Denied::Unavailable)?;
        let Some((account, credentials)) = found else { return Ok(None) };
        let credential = credentials.into_iter().find(|held| *held == known.credential);
        let usable = credential.filter(|held| fault(peer, Way::Command, &account, held).is_none());
        // Every request is asked again, so it needs no pass.
        Ok(usable.map(|held| self.session(peer, &account, Some(&held), Pass::default())))
    }

    /// A log-in by SCRAM, and what proves to the client that the server knows its keys.
    pub(crate) async fn login_scram(
        &self,
        peer: &Peer,
        way: Way,
        name: &str,
        proof: &Proof,
    ) -> Result<(Session, String), Denied> {
        let trial = self.trial(peer, way, name).await?;
        let keys =
            |held: &Credential| held.verifier.scram.split(' ').filter_map(Keys::parse).find(|keys| proof.proves(keys));
        let proved = trial.credentials().filter_map(|held| Some((held.clone(), keys(held)?)));
        let proved = trial.best(proved, |(held, _)| held);
        let kept = |held: &Credential| {
            held.verifier.scram.split(' ').filter_map(Keys::parse).any(|keys| proof.is_answered(&keys))
        };
        let wrong = if trial.credentials().any(kept) { "wrong password" } else { "no keys of SCRAM are kept" };
        let session = self.settle(trial, proved.as_ref().map(|(held, _)| held).ok_or(wrong)).await?;
        let (_, keys) = proved.ok_or(Denied::BadCredentials)?;
        Ok((session, proof.acknowledgement(&keys)))
    }

    /// Whether a log-in may be tried now.
    async fn trial<'a>(&'a self, peer: &'a Peer, way: Way, name: &'a str) -> Result<Trial<'a>, Denied> {
        if !self.cleartext_allowed(peer) {
            self.login_refusal(peer, name, "no TLS").await;
            return Err(Denied::Cleartext);
        }
        let turn = self.turns.take(&throttle::network(peer.remote.ip())).await?;
        let keys = throttle::keys(name, peer.remote.ip());
        let standings = self.store.standings(keys.clone()).await.map_err(Denied::Unavailable)?;
        if let Some(throttled) = self.throttled(peer, name, &keys, &standings).await {
            return Err(throttled);
        }
        let found = self.store.credentials(name).await.map_err(Denied::Unavailable)?;
        Ok(Trial { peer, way, name, found, keys, _turn: turn })
    }

    /// That a log-in must wait, if it must. The first in each wait is recorded, the others are counted.
    async fn throttled(&self, peer: &Peer, name: &str, keys: &[String], standings: &[Standing]) -> Option<Denied> {
        let (by, retry) = throttle::longest(standings, Timestamp::now())?;
        if let (Some(key), Some(standing)) = (keys.get(by), standings.get(by))
            && let Some(before) = self.held.count(key, standing.last)
        {
            self.login_refusal(peer, name, &with_unrecorded("throttled".into(), before)).await;
        }
        Some(Denied::Throttled { retry })
    }

    /// Which credential the secret is that of. Only an app password that opens the door saves the work of Argon2, which
    /// is the same for every secret that opens none.
    async fn of_password(&self, trial: &Trial<'_>, secret: Secret) -> Result<Option<Credential>, Denied> {
        let app = trial.found.as_ref().and_then(|(account, credentials)| {
            let hash = app_password::hash(account.id, &secret);
            let held = credentials.iter().filter(|held| held.kind == CredentialKind::AppPassword);
            trial.best(held.filter(|held| app_password::is_same(&held.verifier.hash, &hash)).cloned(), |held| held)
        });
        if let Some(app) = &app
            && trial.fault(app).is_none()
        {
            return Ok(Some(app.clone()));
        }
        let own = trial.credentials().find(|held| held.kind == CredentialKind::Password);
        // Made for every name, so that this takes the same time too.
        let decoy = self.decoy(trial.name).await?;
        let verifier = own.map_or(decoy, |own| own.verifier.hash.clone());
        let right = self.passwords.matches(verifier, secret).await;
        let right = right.map_err(|error| Denied::Unavailable(storage::Error::Internal(error)))?;
        Ok(own.filter(|_| right).cloned().or(app))
    }

    /// Records how a log-in ended, and lets in who may come in: by the credential that was proved, or nobody where none
    /// was.
    async fn settle(&self, trial: Trial<'_>, proved: Result<&Credential, &str>) -> Result<Session, Denied> {
        let Trial { peer, way, name, ref found, .. } = trial;
        let outcome = match (found, proved) {
            (None, _) => Err("no such account".to_owned()),
            (Some(_), Err(wrong)) => Err(wrong.to_owned()),
            (Some((account, _)), Ok(credential)) => match trial.fault(credential) {
                Some(fault) => Err(fault),
                None => Ok((account, credential)),
            },
        };
        let detail = match &outcome {
            Ok((_, credential)) => credential.to_string(),
            Err(fault) => fault.clone(),
        };
        let detail = match way {
            Way::Mechanism(mechanism) => format!("{detail} mechanism={mechanism}"),
            Way::Command | Way::Portal => detail,
        };
        let who = outcome.as_ref().ok().map(|(account, credential)| principal(account, Some(credential)));
        let unrecorded = self.held.unrecorded(&trial.keys);
        let detail = with_unrecorded(detail, unrecorded);
        let (name, good, keys) = (shown(name).into_owned(), who.is_some(), trial.keys.clone());
        let login = Login { actor: actor(peer, who.as_ref()), name, good, detail, keys };
        let held = self.store.record_login(login, throttle::RULE).await.map_err(Denied::Unavailable)?;
        // Others failed meanwhile, and it must wait as if it had come after them. Whether it was right is not told.
        if let Some(standings) = held {
            self.held.put_back(&trial.keys, unrecorded);
            let throttled = self.throttled(peer, trial.name, &trial.keys, &standings).await;
            return Err(throttled.unwrap_or(Denied::Throttled { retry: Duration::ZERO }));
        }
        match outcome {
            Ok((account, credential)) => {
                let pass = self.passes.issue(account, credential);
                Ok(self.session(peer, account, Some(credential), pass))
            }
            Err(_) => Err(Denied::BadCredentials),
        }
    }
}

impl Trial<'_> {
    fn credentials(&self) -> impl Iterator<Item = &Credential> {
        self.found.iter().flat_map(|(_, credentials)| credentials)
    }

    /// Why `credential` opens nothing here.
    fn fault(&self, credential: &Credential) -> Option<String> {
        let (account, _) = self.found.as_ref()?;
        fault(self.peer, self.way, account, credential)
    }

    /// The first of what was proved that opens the door, or else the first.
    fn best<T>(&self, proved: impl Iterator<Item = T>, credential: impl Fn(&T) -> &Credential) -> Option<T> {
        let mut first = None;
        for one in proved {
            if self.fault(credential(&one)).is_none() {
                return Some(one);
            }
            first = first.or(Some(one));
        }
        first
    }
}

/// Why a credential that was proved opens nothing, in the audit log's words.
fn fault(peer: &Peer, way: Way, account: &Account, credential: &Credential) -> Option<String> {
    if account.disabled {
        return Some("the account is disabled".into());
    }
    let (scope, here) = (&credential.scope, service(peer.protocol));
    if scope.expires.is_some_and(|expires| Timestamp(expires) <= Timestamp::now()) {
        Some(format!("{credential} has expired"))
    } else if way == Way::Portal && credential.kind != CredentialKind::Password {
        Some(format!("{credential} is not for the portal"))
    } else if !scope.protocols.is_empty() && !scope.protocols.iter().any(|protocol| protocol == here) {
        Some(format!("{credential} is not for {here}"))
    } else {
        None
    }
}

/// With how many log-ins were held back that have no record.
fn with_unrecorded(detail: String, unrecorded: u64) -> String {
    if unrecorded == 0 { detail } else { format!("{detail} held_back={unrecorded}") }
}

/// The name that a scope has for what a listener speaks.
fn service(protocol: &str) -> &str {
    match protocol {
        "submission" => "smtp",
        "https" => "http",
        other => other,
    }
}
