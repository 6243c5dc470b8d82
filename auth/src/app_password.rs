//! App passwords: made by the server with 100 bits of chance, so that a fast hash keeps them; each opens what its scope
//! says.

use storage::{Account, NewAppPassword, Scope, Verifier};

use crate::sasl::scram;
use crate::{Authority, Secret};

/// What BLAKE3 derives the hash for; with the account in it, so that equal secrets are no equal hashes.
const CONTEXT: &str = "wharfinger app password of an account";

impl Authority {
    /// What a new app password is to be kept as; `text` is shown once, in groups with dashes between.
    ///
    /// # Errors
    /// A sentence, when the store fails.
    pub async fn app_password(
        &self,
        account: &Account,
        text: &Secret,
        label: String,
        scope: Scope,
    ) -> Result<NewAppPassword, String> {
        let scram = self.app_scram_keys(&account.name, text).await?;
        Ok(NewAppPassword { label, scope, verifier: Verifier { hash: to_hex(hash(account.id, text)), scram } })
    }

    /// The keys of SCRAM for an app password. A client of SCRAM sends nothing that could be tidied up here: each way to
    /// type it has keys of its own.
    pub(crate) async fn app_scram_keys(&self, name: &str, text: &Secret) -> Result<String, String> {
        let typed = [text.as_str().to_owned(), plain(text.as_str()), text.as_str().replace('-', " ")];
        let mut keys = Vec::new();
        for text in typed.into_iter().map(Secret::new) {
            keys.push(self.scram_keys(name, text).await?);
        }
        Ok(keys.join(" ").trim().to_owned())
    }

    /// The keys of SCRAM for a secret of an account; empty where SCRAM is off.
    pub(crate) async fn scram_keys(&self, name: &str, secret: Secret) -> Result<String, String> {
        if !self.config.scram {
            return Ok(String::new());
        }
        let salt = self.salt(name).await.map_err(|error| error.to_string())?;
        let work = move || scram::Keys::derive(secret.as_str(), &salt, scram::ITERATIONS).to_string();
        tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
    }
}

/// The hash of an app password as it was typed: spaces and dashes do not matter.
pub(crate) fn hash(account: i64, secret: &Secret) -> blake3::Hash {
    let plain = zeroize::Zeroizing::new(plain(secret.as_str()));
    blake3::Hasher::new_derive_key(CONTEXT).update(&account.to_le_bytes()).update(plain.as_bytes()).finalize()
}

/// Whether a kept hash is this one; compared in constant time.
pub(crate) fn is_same(kept: &str, hash: &blake3::Hash) -> bool {
    blake3::Hash::from_hex(kept).is_ok_and(|kept| kept == *hash)
}

/// An app password, however it was typed, as it was shown: in groups of four with dashes between.
pub(crate) fn grouped(secret: &Secret) -> Secret {
    let plain = zeroize::Zeroizing::new(plain(secret.as_str()));
    let mut text = String::with_capacity(plain.len() * 2);
    for (at, letter) in plain.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        text.push(letter);
    }
    Secret::new(text)
}

fn to_hex(hash: blake3::Hash) -> String {
    hash.to_hex().to_string()
}

fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace() && *letter != '-').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_between_the_groups_does_not_matter() {
        let hash = |account, text: &str| hash(account, &Secret::new(text.into()));
        let kept = to_hex(hash(1, "abcd-efgh"));
        for typed in ["abcd-efgh", "abcdefgh", " abcd efgh ", "abcd - efgh", "abcd\u{a0}efgh"] {
            assert!(is_same(&kept, &hash(1, typed)), "{typed}");
        }
        assert!(!is_same(&kept, &hash(1, "abcd-efgi")) && !is_same(&kept, &hash(2, "abcd-efgh")));
        assert!(!is_same("", &hash(1, "")) && !is_same("$argon2id$", &hash(1, "")));
    }
}
