//! Argon2id (RFC 9106), at a bounded number of computations at once: each takes its memory and a core.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::Secret;

/// How many computations run at once.
const AT_ONCE: usize = 2;

/// Makes and checks password verifiers.
#[derive(Clone)]
pub(crate) struct Passwords {
    params: Params,
    turns: Arc<Semaphore>,
    /// The verifier of a password nobody has, so that an unknown name costs the same time.
    decoy: Arc<str>,
}

impl Passwords {
    /// `memory` in KiB, `passes` over it.
    ///
    /// # Errors
    /// A sentence, when Argon2 does not allow the parameters.
    pub(crate) fn new(memory: u32, passes: u32) -> Result<Self, String> {
        let params = Params::new(memory, passes, 1, None)
            .map_err(|error| format!("argon2 does not allow memory = {memory}, passes = {passes}: {error}"))?;
        let decoy = hash(&params, &random_password()?)?;
        Ok(Passwords { params, turns: Arc::new(Semaphore::new(AT_ONCE)), decoy: decoy.into() })
    }

    /// The verifier of a new password.
    pub(crate) async fn verifier(&self, password: Secret) -> Result<String, String> {
        let params = self.params.clone();
        self.run(move || hash(&params, password.bytes())).await?
    }

    /// Whether `password` is the one that `verifier` was made of; the same work without a verifier.
    pub(crate) async fn matches(&self, verifier: Option<String>, password: Secret) -> Result<bool, String> {
        let known = verifier.is_some();
        let verifier = verifier.unwrap_or_else(|| self.decoy.to_string());
        let right = self.run(move || {
            // The cost stands in the verifier itself, so that old ones go on to be checked as they were made.
            PasswordHash::new(&verifier)
                .is_ok_and(|hash| Argon2::default().verify_password(password.bytes(), &hash).is_ok())
        });
        Ok(right.await? && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
        tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
    }
}

fn hash(params: &Params, password: &[u8]) -> Result<String, String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    argon2.hash_password(password, &salt).map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

fn random_password() -> Result<[u8; 32], String> {
    let mut password = [0; 32];
    getrandom::fill(&mut password).map_err(|error| error.to_string())?;
    Ok(password)
}
