//! The keys that sign outgoing mail (RFC 6376 §3.3, RFC 8463).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::{Engine, prelude::BASE64_STANDARD};
use storage::NewDkimKey;
use time::OffsetDateTime;

/// A private key and the name under which its public half is published.
pub(crate) struct Key {
    pub(crate) domain: String,
    pub(crate) selector: String,
    secret: Secret,
}

/// The signature algorithms that new keys are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// 2048 bits, what every receiver knows and a TXT record can hold (RFC 8301 §3.2).
    Rsa,
    /// Short and fast, known to few receivers yet (RFC 8463).
    Ed25519,
}

/// Why a key is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither Ed25519 nor RSA of at least 2048 bits, or no PKCS#8 at all.
    #[error("not a PKCS#8 key for Ed25519 or for RSA of 2048 bits or more")]
    Unusable,
    /// The name cannot stand in a signature.
    #[error("not a domain or selector of letters, digits and hyphens")]
    Name,
    /// The library refused to work.
    #[error("the cryptographic library failed")]
    Library,
}

enum Secret {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Makes a private key, in PKCS#8 DER. RSA takes up to a second of processor time.
pub fn generate(algorithm: Algorithm) -> Result<Vec<u8>, KeyError> {
    match algorithm {
        Algorithm::Rsa => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Library)?;
            let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| KeyError::Library)?;
            Ok(der.as_ref().to_vec())
        }
        Algorithm::Ed25519 => {
            let der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(|_| KeyError::Library)?;
            Ok(der.as_ref().to_vec())
        }
    }
}

/// The text of the TXT record at `SELECTOR._domainkey.DOMAIN` for a private key in PKCS#8 DER.
pub fn record(pkcs8: &[u8]) -> Result<String, KeyError> {
    let (kind, public) = match Secret::parse(pkcs8)? {
        Secret::Rsa(pair) => {
            // RFC 6376 names the bare RSAPublicKey; what is published and understood everywhere is its X.509 form.
            let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(|_| KeyError::Library)?;
            ("rsa", BASE64_STANDARD.encode(der.as_ref()))
        }
        Secret::Ed25519(pair) => ("ed25519", BASE64_STANDARD.encode(pair.public_key().as_ref())),
    };
    Ok(format!("v=DKIM1; k={kind}; p={public}"))
}

/// Keys for a domain: one that every receiver can check, and one of the newer kind. Their selectors tell the day.
///
/// # Errors
/// A sentence, when the library fails.
pub fn pair() -> Result<Vec<NewDkimKey>, String> {
    let day = OffsetDateTime::now_utc().date();
    let day = format!("{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day());
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    let random = u32::from_le_bytes(random);
    let key = |algorithm: Algorithm, name: &'static str, letter: char| {
        let secret = generate(algorithm).map_err(|error| error.to_string())?;
        let public = record(&secret).map_err(|error| error.to_string())?;
        Ok::<_, String>(NewDkimKey { selector: format!("w{day}{random:08x}{letter}"), algorithm: name, secret, public })
    };
    Ok(vec![key(Algorithm::Rsa, "rsa", 'r')?, key(Algorithm::Ed25519, "ed25519", 'e')?])
}

impl Key {
    /// The names go into signatures as they are: A-labels, where the domain is an international one.
    pub(crate) fn new(domain: &str, selector: &str, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let good = |name: &str| name.len() <= 253 && name.split('.').all(label);
        if !good(domain) || !good(selector) {
            return Err(KeyError::Name);
        }
        let secret = Secret::parse(pkcs8)?;
        Ok(Key { domain: domain.to_ascii_lowercase(), selector: selector.to_owned(), secret })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self.secret {
            Secret::Rsa(_) => Algorithm::Rsa,
            Secret::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// The value of the tag a=.
    pub(crate) fn tag(&self) -> &'static str {
        match self.secret {
            Secret::Rsa(_) => "rsa-sha256",
            Secret::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// Signs the SHA-256 of a text. Takes about a millisecond with RSA.
    pub(crate) fn sign(&self, text: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.secret {
            Secret::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature)
                    .map_err(|_| KeyError::Library)?;
                Ok(signature)
            }
            // The hash is what Ed25519 takes as its message (RFC 8463 §3).
            Secret::Ed25519(pair) => Ok(pair.sign(digest(&SHA256, text).as_ref()).as_ref().to_vec()),
        }
    }
}

impl Secret {
    fn parse(pkcs8: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(pkcs8) {
            return Ok(Secret::Ed25519(pair));
        }
        RsaKeyPair::from_pkcs8(pkcs8).map(Secret::Rsa).map_err(|_| KeyError::Unusable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_hold_the_public_half_in_the_form_of_their_kind() {
        let rsa = record(&generate(Algorithm::Rsa).unwrap()).unwrap();
        let ed25519 = record(&generate(Algorithm::Ed25519).unwrap()).unwrap();
        assert!(rsa.starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"), "{rsa}");
        assert_eq!(ed25519.len(), "v=DKIM1; k=ed25519; p=".len() + 44, "{ed25519}");
        assert_eq!(record(b"no key"), Err(KeyError::Unusable));
    }

    #[test]
    fn names_that_would_break_a_signature_are_refused() {
        let der = generate(Algorithm::Ed25519).unwrap();
        for (domain, selector) in [("a;b=.example", "s"), ("", "s"), ("a.example", ""), ("a..b", "s"), ("bü.de", "s")]
        {
            assert_eq!(Key::new(domain, selector, &der).err(), Some(KeyError::Name), "{domain} {selector}");
        }
        let key = Key::new("A.Example", "s_1.x", &der).unwrap();
        assert_eq!((key.domain.as_str(), key.algorithm()), ("a.example", Algorithm::Ed25519));
    }
}
