//! Verifiers made anew, when a password was shown that was right: at the cost that the configuration asks for today,
//! and with the keys of SCRAM where they were not kept when it was set.

use storage::{Credential, CredentialKind, Verifier};

use crate::authority::actor;
use crate::sasl::scram::{ITERATIONS, Keys};
use crate::{Authority, Peer, Principal, Secret, app_password};

impl Authority {
    /// The credential that `secret` was right for, as it is kept from now on. That a new verifier could not be kept is
    /// for the log: the old one goes on to be taken.
    pub(crate) async fn renewed(
        &self,
        peer: &Peer,
        who: &Principal,
        credential: Credential,
        secret: Secret,
    ) -> Credential {
        match self.renew(peer, who, &credential, secret).await {
            Ok(Some(verifier)) => {
                self.forget_costs().await;
                Credential { verifier, ..credential }
            }
            Ok(None) => credential,
            Err(error) => {
                tracing::warn!(error, account = who.name, "a verifier could not be made anew");
                credential
            }
        }
    }

    /// The new verifier; `None` when the old one will do, or was changed meanwhile.
    async fn renew(
        &self,
        peer: &Peer,
        who: &Principal,
        credential: &Credential,
        secret: Secret,
    ) -> Result<Option<Verifier>, String> {
        let held = &credential.verifier;
        let own = credential.kind == CredentialKind::Password;
        let dear = !own || self.passwords.is_current(&held.hash);
        let keyed = !self.config.scram || self.has_scram_keys(&who.name, &held.scram).await?;
        if dear && keyed {
            return Ok(None);
        }
        let scram = match (keyed, own) {
            (true, _) => held.scram.clone(),
            (false, true) => self.scram_keys(&who.name, secret.clone()).await?,
            (false, false) => self.app_scram_keys(&who.name, &app_password::grouped(&secret)).await?,
        };
        let hash = if dear { held.hash.clone() } else { self.passwords.verifier(secret).await? };
        let verifier = Verifier { hash, scram };
        // It is the server's own deed, also where the app password may only read.
        let actor = storage::Actor { read_only: false, ..actor(peer, Some(who)) };
        let kept = self.store.renew_verifier(&actor, &who.name, credential, verifier.clone()).await;
        let kept = kept.map_err(|error| error.detail().map_or_else(|| error.to_string(), str::to_owned))?;
        Ok(kept.then_some(verifier))
    }

    /// Whether a client of SCRAM can be answered by what is kept.
    async fn has_scram_keys(&self, name: &str, kept: &str) -> Result<bool, String> {
        let salt = self.salt(name).await.map_err(|error| error.to_string())?;
        Ok(kept.split(' ').filter_map(Keys::parse).any(|keys| keys.answer(&salt, ITERATIONS)))
    }
}
