//! Passwords in memory.

use zeroize::Zeroize;

use crate::prepare::prepared;

/// A password; wiped from memory when dropped, never shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a password.
    pub fn new(text: String) -> Self {
        Secret(text)
    }

    /// Its text, for who takes it out of a larger one (HTTP Basic, SASL PLAIN).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same in the form of RFC 4013.
    pub(crate) fn prepared(&self) -> Secret {
        Secret(prepared(&self.0))
    }

    /// Its bytes, for whoever checks it.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret")
    }
}
