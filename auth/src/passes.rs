//! The sessions that go on, and what each was opened by: when that opens the door no more, they end.
//!
//! Whoever takes a password away means the device that has it now, not the next log-in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use storage::{Account, Change, Credential, Pass, Timestamp};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::Authority;

/// How often it is looked whether credentials have expired, and at those who came in while theirs was taken away.
const LOOK: Duration = Duration::from_secs(15);

/// The passes in use, by account.
#[derive(Default)]
pub(crate) struct Passes(Mutex<HashMap<i64, Holders>>);

/// Those of one account.
struct Holders {
    name: String,
    issued: Vec<Issued>,
    /// Whether somebody came in since it was looked at last.
    fresh: bool,
}

struct Issued {
    /// The credential's number; another password has another one.
    credential: i64,
    expires: Option<i64>,
    withdraw: watch::Sender<bool>,
}

impl Passes {
    /// A pass for a session that was opened by `credential`.
    pub(crate) fn issue(&self, account: &Account, credential: &Credential) -> Pass {
        let (withdraw, pass) = Pass::issue();
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Holders { name: account.name.clone(), issued: Vec::new(), fresh: true };
        let holders = accounts.entry(account.id).or_insert_with(new);
        holders.fresh = true;
        // Before it grows, those whose sessions are over make room.
        if holders.issued.len() == holders.issued.capacity() {
            holders.retain(|_| true);
        }
        holders.issued.push(Issued { credential: credential.id, expires: credential.scope.expires, withdraw });
        pass
    }

    /// The accounts to be looked at, with their names; `all` of them, or those where somebody came in.
    fn due(&self, all: bool) -> Vec<(i64, String)> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        accounts.retain(|_, holders| {
            holders.retain(|issued| issued.expires.is_none_or(|expires| Timestamp(expires) > now));
            !holders.issued.is_empty()
        });
        let due = accounts.iter_mut().filter_map(|(&account, holders)| {
            let fresh = std::mem::take(&mut holders.fresh);
            (fresh || all).then(|| (account, holders.name.clone()))
        });
        due.collect()
    }

    /// The name of an account that holds passes.
    fn name(&self, account: i64) -> Option<String> {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.get(&account).map(|holders| holders.name.clone())
    }

    /// Withdraws an account's passes that stand on none of the `valid` credentials.
    fn keep(&self, account: i64, valid: &[i64]) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holders) = accounts.get_mut(&account) {
            holders.retain(|issued| valid.contains(&issued.credential));
        }
    }
}

impl Holders {
    /// Withdraws all but those that are `valid`, and forgets those whose sessions are over.
    fn retain(&mut self, valid: impl Fn(&Issued) -> bool) {
        self.issued.retain(|issued| {
            let valid = valid(issued);
            if !valid {
                issued.withdraw.send_replace(true);
            }
            valid && issued.withdraw.receiver_count() > 0
        });
    }
}

impl Authority {
    /// Ends the sessions of those who may not be here any more, as accounts change on whichever node; does not return.
    pub async fn watch(&self) {
        let mut feed = self.store.follow();
        let mut look = tokio::time::interval(LOOK);
        loop {
            let due = tokio::select! {
                change = feed.recv() => match change {
                    Ok(Change { account, action, .. }) if action.starts_with("account.") => {
                        self.passes.name(account).map(|name| (account, name)).into_iter().collect()
                    }
                    Ok(_) => continue,
                    // What was missed may have been any of them.
                    Err(RecvError::Lagged(_)) => self.passes.due(true),
                    Err(RecvError::Closed) => return,
                },
                _ = look.tick() => self.passes.due(false),
            };
            for (account, name) in due {
                self.look_at(account, &name).await;
            }
        }
    }

    async fn look_at(&self, account: i64, name: &str) {
        let lasts = |held: &&Credential| held.scope.expires.is_none_or(|expires| Timestamp(expires) > Timestamp::now());
        let valid: Vec<i64> = match self.store.credentials(name).await {
            Ok(Some((now, held))) if now.id == account && !now.disabled => {
                held.iter().filter(lasts).map(|held| held.id).collect()
            }
            Ok(_) => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, account = name, "it could not be seen whose sessions are to end");
                return;
            }
        };
        self.passes.keep(account, &valid);
    }
}

#[cfg(test)]
mod tests {
    use storage::{CredentialKind, Role, Scope, Verifier};

    use super::*;

    fn account() -> Account {
        Account { id: 7, name: "alice".into(), role: Role::User, disabled: false, quota: None, used: 0, created: 0 }
    }

    fn credential(id: i64, expires: Option<i64>) -> Credential {
        let verifier = Verifier { hash: String::new(), scram: String::new() };
        let scope = Scope { expires, ..Scope::default() };
        Credential { id, kind: CredentialKind::Password, verifier, label: String::new(), scope, created: 0 }
    }

    #[test]
    fn what_stands_on_nothing_is_withdrawn() {
        let passes = Passes::default();
        let (kept, gone) =
            (passes.issue(&account(), &credential(1, None)), passes.issue(&account(), &credential(2, None)));
        assert_eq!((passes.due(false), passes.due(false)), (vec![(7, "alice".to_owned())], vec![]));
        passes.keep(7, &[1, 3]);
        assert_eq!((kept.is_withdrawn(), gone.is_withdrawn()), (false, true));
        drop(kept);
        assert_eq!(passes.due(true), [], "nobody is left");
    }

    #[test]
    fn what_expires_is_withdrawn() {
        let passes = Passes::default();
        let soon = Timestamp::now().0;
        let (old, new) = (credential(1, Some(soon)), credential(2, Some(soon + 60_000)));
        let (old, new) = (passes.issue(&account(), &old), passes.issue(&account(), &new));
        passes.due(false);
        assert_eq!((old.is_withdrawn(), new.is_withdrawn()), (true, false));
    }

    #[test]
    fn sessions_that_are_over_make_room() {
        let passes = Passes::default();
        for _ in 0..1000 {
            passes.issue(&account(), &credential(1, None));
        }
        assert!(passes.0.lock().unwrap()[&7].issued.len() < 10);
    }
}
