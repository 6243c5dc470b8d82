//! SCRAM-SHA-256 (RFC 5802, RFC 7677): the messages and the arithmetic, without a store.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::prepare::prepared;

/// What one guess costs whoever took the keys; every log-in of a client costs the client the same. RFC 7677 §4 asks for
/// 4,096 at least and for 15,000 where clients can bear it.
pub(crate) const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(14_999);
/// The longest nonce of a client: it comes back in the challenge.
const NONCE: usize = 512;
/// How the text of keys begins (RFC 5803 §2).
const SCHEME: &str = "SCRAM-SHA-256";

/// What the server keeps in place of a password: it proves nothing to another server, and a client cannot log in by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored: [u8; 32],
    server: [u8; 32],
}

impl Keys {
    /// The keys of a password (RFC 5802 §3).
    pub(crate) fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Keys {
        let password = prepared(password);
        let mut salted = zeroize::Zeroizing::new([0; 32]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut *salted);
        let (client, server) = (hmac(&*salted, b"Client Key"), hmac(&*salted, b"Server Key"));
        Keys { iterations, salt: salt.to_vec(), stored: sha256(&client), server }
    }

    /// Whether they are what a client proves itself by that was told this salt and these iterations.
    pub(crate) fn answer(&self, salt: &[u8], iterations: NonZeroU32) -> bool {
        self.salt == salt && self.iterations == iterations
    }

    /// Reads what `Display` writes.
    pub(crate) fn parse(text: &str) -> Option<Keys> {
        let mut parts = text.split('$');
        let (scheme, cost, keys) = (parts.next()?, parts.next()?, parts.next()?);
        let (iterations, salt) = cost.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let key = |text: &str| STANDARD.decode(text).ok()?.try_into().ok();
        let (stored, server) = (key(stored)?, key(server)?);
        let (iterations, salt) = (iterations.parse().ok()?, STANDARD.decode(salt).ok()?);
        (scheme == SCHEME && parts.next().is_none()).then_some(Keys { iterations, salt, stored, server })
    }
}

/// As in RFC 5803 §2.
impl fmt::Display for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] = [&self.salt[..], &self.stored, &self.server].map(|bytes| STANDARD.encode(bytes));
        write!(formatter, "{SCHEME}${}:{salt}${stored}:{server}", self.iterations)
    }
}

/// What a client says of channel binding (RFC 5802 §7, `gs2-cbind-flag`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flag {
    /// It cannot.
    Never,
    /// It could, and believes that the server cannot.
    NotOffered,
    /// It does, by the binding of this name.
    Bound(String),
}

/// The client's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) flag: Flag,
    /// For whom the client wants to act; empty for itself.
    pub(crate) acting: String,
    pub(crate) name: String,
    /// The GS2 header as it came.
    header: String,
    bare: String,
    nonce: String,
}

impl First {
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(message: &[u8]) -> Result<First, &'static str> {
        let message = std::str::from_utf8(message).map_err(|_| "the message is not UTF-8")?;
        let mut parts = message.splitn(3, ',');
        let (Some(flag), Some(acting), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("the GS2 header is cut short");
        };
        let header = message[..message.len() - bare.len()].to_owned();
        let flag = match flag {
            "n" => Flag::Never,
            "y" => Flag::NotOffered,
            _ => Flag::Bound(flag.strip_prefix("p=").ok_or("the channel binding flag is not known")?.to_owned()),
        };
        let acting = match acting.strip_prefix("a=") {
            Some(acting) => saslname(acting)?,
            None if acting.is_empty() => String::new(),
            None => return Err("the authorization identity is not readable"),
        };
        // A mandatory extension, `m=`, stands first; none is known (RFC 5802 §5.1). What stands last may be ignored.
        let mut attributes = bare.split(',');
        let name = attributes.next().and_then(|part| part.strip_prefix("n=")).ok_or("the name is missing")?;
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r=")).ok_or("the nonce is missing")?;
        if nonce.is_empty() || nonce.len() > NONCE || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the nonce is not readable");
        }
        let name = prepared(&saslname(name)?);
        if name.is_empty() {
            return Err("the name is empty");
        }
        Ok(First { flag, acting, name, header, bare: bare.to_owned(), nonce: nonce.to_owned() })
    }
}

/// A name as SCRAM writes it: `=2C` for a comma, `=3D` for an equals sign, no other equals sign (RFC 5802 §5.1).
fn saslname(text: &str) -> Result<String, &'static str> {
    let name = text.replace("=2C", ",").replace("=3D", "\0");
    match name.contains('=') || text.contains('\0') {
        true => Err("the name is not readable"),
        false => Ok(name.replace('\0', "=")),
    }
}

/// The server's first message, and what the client's last one must answer.
#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    client_bare: String,
    message: String,
    nonce: String,
    /// What the client must say of the channel: the GS2 header and the binding's data (RFC 5802 §6).
    channel: String,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl Challenge {
    /// Answers `first`; `binding` is the data of the channel binding that the client named, empty for none.
    pub(crate) fn new(first: First, nonce: &str, salt: &[u8], iterations: NonZeroU32, binding: &[u8]) -> Challenge {
        let nonce = first.nonce + nonce;
        let message = format!("r={nonce},s={},i={iterations}", STANDARD.encode(salt));
        let channel = STANDARD.encode([first.header.as_bytes(), binding].concat());
        Challenge { client_bare: first.bare, message, nonce, channel, salt: salt.to_vec(), iterations }
    }

    /// What is sent.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Reads the client's last message.
    ///
    /// # Errors
    /// See [`Fault`].
    pub(crate) fn answer(&self, message: &[u8]) -> Result<Proof, Fault> {
        let message = std::str::from_utf8(message).map_err(|_| Fault::Malformed("the message is not UTF-8"))?;
        let (begun, proof) = message.rsplit_once(",p=").ok_or(Fault::Malformed("the proof is missing"))?;
        let mut attributes = begun.split(',');
        let channel = attributes.next().and_then(|part| part.strip_prefix("c="));
        let channel = channel.ok_or(Fault::Malformed("the channel binding is missing"))?;
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r="));
        if nonce != Some(&self.nonce) {
            return Err(Fault::Malformed("the nonce is another one"));
        }
        let proof = STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok());
        let proof = proof.ok_or(Fault::Malformed("the proof is not readable"))?;
        if channel != self.channel {
            return Err(Fault::Channel);
        }
        let signed = format!("{},{},{begun}", self.client_bare, self.message);
        Ok(Proof { signed, proof, salt: self.salt.clone(), iterations: self.iterations })
    }
}

/// Why the client's last message proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot be read.
    Malformed(&'static str),
    /// The client speaks over another channel than this one: somebody sits between.
    Channel,
}

/// That the client knows a password, to be compared with keys.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    signed: String,
    proof: [u8; 32],
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl Proof {
    /// Whether the password of `keys` is the one.
    pub(crate) fn proves(&self, keys: &Keys) -> bool {
        let signature = hmac(&keys.stored, self.signed.as_bytes());
        let client: Vec<u8> = signature.iter().zip(&self.proof).map(|(one, other)| one ^ other).collect();
        let right = verify_slices_are_equal(&sha256(&client), &keys.stored).is_ok();
        // Keys made in another way than the client was told prove nothing to it.
        right && self.is_answered(keys)
    }

    /// Whether the client was asked for what these keys were made of.
    pub(crate) fn is_answered(&self, keys: &Keys) -> bool {
        keys.answer(&self.salt, self.iterations)
    }

    /// The server's last message: that it knows the keys.
    pub(crate) fn acknowledgement(&self, keys: &Keys) -> String {
        format!("v={}", STANDARD.encode(hmac(&keys.server, self.signed.as_bytes())))
    }
}

/// What a client says last, who believes that `password` is the one; for tests.
#[cfg(test)]
pub(crate) fn client_final(first: &str, challenge: &str, binding: &[u8], password: &str) -> String {
    let part = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
    let salt = STANDARD.decode(part("s=")).unwrap();
    let mut salted = [0; 32];
    let iterations = part("i=").parse().unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, prepared(password).as_bytes(), &mut salted);
    let key = hmac(&salted, b"Client Key");
    let bare = first.splitn(3, ',').nth(2).unwrap();
    let channel = STANDARD.encode([&first.as_bytes()[..first.len() - bare.len()], binding].concat());
    let begun = format!("c={channel},r={}", part("r="));
    let signature = hmac(&sha256(&key), format!("{bare},{challenge},{begun}").as_bytes());
    let proof: Vec<u8> = key.iter().zip(&signature).map(|(one, other)| one ^ other).collect();
    format!("{begun},p={}", STANDARD.encode(proof))
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    octets(tag.as_ref())
}

fn sha256(message: &[u8]) -> [u8; 32] {
    octets(digest::digest(&digest::SHA256, message).as_ref())
}

/// What SHA-256 makes always fits.
fn octets(bytes: &[u8]) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(bytes);
    octets
}

#[cfg(test)]
#[path = "scram_tests.rs"]
mod tests;
