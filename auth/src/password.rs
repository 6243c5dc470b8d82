//! Argon2id (RFC 9106), at a bounded number of computations at once: each takes its memory and a core.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{Output, ParamsString, PasswordHash, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;

use crate::Secret;

/// How many computations run at once. Each takes 19 MiB by default and some 20 ms: fifty log-ins a second are more than
/// any household, office or throttled attacker makes, and the memory is the larger part of what the daemon uses.
const AT_ONCE: usize = 1;
/// How many bytes of a new verifier are the hash.
const OUTPUT: usize = 32;

/// The memory of past computations, for the next ones to work in: an allocator would keep some for each thread that
/// ever computed.
type Memory = Mutex<Vec<Vec<Block>>>;

/// Makes and checks password verifiers.
#[derive(Clone)]
pub(crate) struct Passwords {
    params: Params,
    turns: Arc<Semaphore>,
    memory: Arc<Memory>,
    /// The verifier of a password nobody has.
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
        let memory = Arc::default();
        let decoy = hash(&memory, &params, &random_password()?)?;
        Ok(Passwords { params, turns: Arc::new(Semaphore::new(AT_ONCE)), memory, decoy: decoy.into() })
    }

    /// The verifier of a new password.
    pub(crate) async fn verifier(&self, password: Secret) -> Result<String, String> {
        let (params, memory) = (self.params.clone(), self.memory.clone());
        self.run(move || hash(&memory, &params, password.prepared().bytes())).await?
    }

    /// Whether `password` is the one that `verifier` was made of: in the form of RFC 4013 or, where that is another,
    /// as it was typed, since older verifiers were made so.
    pub(crate) async fn matches(&self, verifier: String, password: Secret) -> Result<bool, String> {
        let memory = self.memory.clone();
        let right = move |text: &Secret| is_right(&memory, &verifier, text.bytes()).unwrap_or(false);
        self.run(move || {
            let prepared = password.prepared();
            right(&prepared) || prepared.bytes() != password.bytes() && right(&password)
        })
        .await
    }

    /// What a new verifier begins with, up to the salt.
    pub(crate) fn cost(&self) -> &str {
        split(&self.decoy).0
    }

    /// Whether a verifier is as dear as a new one.
    pub(crate) fn is_current(&self, verifier: &str) -> bool {
        split(verifier).0 == self.cost()
    }

    /// The verifier of a password nobody has, that costs the same time as those that begin with `cost`.
    pub(crate) fn decoy(&self, cost: &str) -> String {
        format!("{cost}{}", split(&self.decoy).1)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
        tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
    }
}

/// A PHC string, split before the salt.
fn split(verifier: &str) -> (&str, &str) {
    let salt = verifier.rmatch_indices('$').nth(1).map_or(verifier.len(), |(at, _)| at);
    verifier.split_at(salt)
}

fn hash(memory: &Memory, params: &Params, password: &[u8]) -> Result<String, String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
    let output =
        compute(memory, (Version::V0x13, params), password, &salt, OUTPUT).map_err(|error| error.to_string())?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
    let verifier = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(|error| error.to_string())?,
        salt: Some(salt.as_salt()),
        hash: Some(output),
    };
    Ok(verifier.to_string())
}

/// The cost stands in the verifier itself, so that old ones go on to be checked as they were made.
fn is_right(memory: &Memory, verifier: &str, password: &[u8]) -> argon2::password_hash::Result<bool> {
    let verifier = PasswordHash::new(verifier)?;
    let (Some(salt), Some(expected)) = (verifier.salt, verifier.hash) else { return Ok(false) };
    if verifier.algorithm != Algorithm::Argon2id.ident() {
        return Ok(false);
    }
    let version = verifier.version.map_or(Ok(Version::V0x13), Version::try_from)?;
    let mut bytes = [0; argon2::password_hash::Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut bytes)?;
    let params = Params::try_from(&verifier)?;
    // Compared in constant time by `Output`.
    Ok(compute(memory, (version, &params), password, salt, expected.len())? == expected)
}

fn compute(
    memory: &Memory,
    (version, params): (Version, &Params),
    password: &[u8],
    salt: &[u8],
    length: usize,
) -> argon2::password_hash::Result<Output> {
    let argon2 = Argon2::new(Algorithm::Argon2id, version, params.clone());
    let mut blocks = memory.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
    if blocks.len() < params.block_count() {
        blocks = vec![Block::default(); params.block_count()];
    }
    let output = Output::init_with(length, |output| {
        argon2.hash_password_into_with_memory(password, salt, output, &mut blocks).map_err(Into::into)
    });
    memory.lock().unwrap_or_else(PoisonError::into_inner).push(blocks);
    output
}

fn random_password() -> Result<[u8; 32], String> {
    let mut password = [0; 32];
    getrandom::fill(&mut password).map_err(|error| error.to_string())?;
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifiers_are_those_of_argon2id() {
        let (memory, params) = (Memory::default(), Params::new(64, 1, 1, None).expect("parameters"));
        let made = hash(&memory, &params, b"a password").expect("a verifier");
        assert!(made.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{made}");
        // As the reference implementation makes it; with more memory than the one before, and then less again.
        let known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        for (verifier, password, right) in [
            (&made[..], "a password", true),
            (known, "password", true),
            (&made, "a password", true),
            (&made, "another", false),
            (known, "another", false),
            (
                "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
                "password",
                false,
            ),
            ("not a verifier", "password", false),
        ] {
            let found = is_right(&memory, verifier, password.as_bytes()).unwrap_or(false);
            assert_eq!(found, right, "{verifier} {password}");
        }
    }
    #[tokio::test]
    async fn verifiers_of_passwords_as_they_were_typed_are_taken() {
        let passwords = Passwords::new(64, 1).expect("parameters");
        let typed = "pa\u{308}sswo\u{308}rd";
        let old = hash(&passwords.memory, &passwords.params, typed.as_bytes()).expect("a verifier");
        let new = passwords.verifier(Secret::new(typed.into())).await.expect("a verifier");
        for (verifier, password, right) in [
            (&old, typed, true),
            (&old, "pässwörd", false),
            (&new, typed, true),
            (&new, "pässwörd", true),
            (&new, "password", false),
        ] {
            let found = passwords.matches(verifier.clone(), Secret::new(password.into())).await;
            assert_eq!(found, Ok(right), "{password}");
        }
        assert!(passwords.is_current(&new) && !passwords.is_current("$argon2id$v=19$m=65,t=1,p=1$c2FsdA$aGFzaA"));
        assert!(passwords.decoy("$argon2id$v=19$m=65,t=1,p=1").starts_with("$argon2id$v=19$m=65,t=1,p=1$"));
    }
}
