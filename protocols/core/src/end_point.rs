//! The channel binding `tls-server-end-point` (RFC 5929 §4.1): the served certificate by its hash, made with the hash
//! function of its own signature.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
/// `hashAlgorithm [0]` of RSASSA-PSS-params (RFC 4055 §3.1).
const PSS_HASH: u8 = 0xa0;

/// PKCS #1 (RFC 8017), 1.2.840.113549.1.1, and under it the scheme whose hash stands in its parameters.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const PSS: u8 = 10;
/// ECDSA with SHA-1, and with SHA-2 (RFC 5758 §3.2), 1.2.840.10045.4.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// SHA-2 by itself, 2.16.840.1.101.3.4.2.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

/// The hash function of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// What a log-in is bound to; `None` where RFC 5929 defines nothing: a signature without a hash function of its own
/// (Ed25519), or one that nobody here knows.
pub(crate) fn end_point(certificate: &CertificateDer<'_>) -> Option<Arc<[u8]>> {
    Some(match signature_hash(certificate)? {
        Hash::Sha256 => Sha256::digest(certificate).as_slice().into(),
        Hash::Sha384 => Sha384::digest(certificate).as_slice().into(),
        Hash::Sha512 => Sha512::digest(certificate).as_slice().into(),
    })
}

/// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }` (RFC 5280 §4.1).
fn signature_hash(certificate: &[u8]) -> Option<Hash> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(certificate, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (object, parameters) = element(algorithm, OBJECT)?;
    if let Some(scheme) = object.strip_prefix(RSA) {
        return match scheme {
            // With MD5 and SHA-1 it is SHA-256 all the same.
            [4 | 5 | 11] => Some(Hash::Sha256),
            [12] => Some(Hash::Sha384),
            [13] => Some(Hash::Sha512),
            [PSS] => pss_hash(parameters),
            _ => None,
        };
    }
    match object.strip_prefix(ECDSA)? {
        [1] | [3, 2] => Some(Hash::Sha256),
        [3, 3] => Some(Hash::Sha384),
        [3, 4] => Some(Hash::Sha512),
        _ => None,
    }
}

/// Without a word of it the hash is SHA-1 (RFC 4055 §3.1).
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    let (parameters, _) = element(parameters, SEQUENCE)?;
    let Some((hash, _)) = element(parameters, PSS_HASH) else { return Some(Hash::Sha256) };
    let (object, _) = element(element(hash, SEQUENCE)?.0, OBJECT)?;
    match object.strip_prefix(SHA2)? {
        [1] => Some(Hash::Sha256),
        [2] => Some(Hash::Sha384),
        [3] => Some(Hash::Sha512),
        _ => None,
    }
}

/// The content of the DER element that `input` begins with, when it has this tag, and what stands behind it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    rest.split_at_checked(length).filter(|_| *found == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of an empty body, signed in the way of `algorithm`.
    fn certificate(algorithm: &[u8]) -> CertificateDer<'static> {
        let wrap = |content: &[u8]| [&[SEQUENCE, 0x81, content.len() as u8], content].concat();
        let body = [wrap(b""), wrap(algorithm), vec![0x03, 0x01, 0x00]].concat();
        wrap(&body).into()
    }

    fn object(prefix: &[u8], last: &[u8]) -> Vec<u8> {
        [&[OBJECT, (prefix.len() + last.len()) as u8], prefix, last].concat()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let ed25519 = object(&[0x2b, 0x65], &[0x70]);
        for (algorithm, hash) in [
            (object(RSA, &[4]), Some(Hash::Sha256)),
            (object(RSA, &[5]), Some(Hash::Sha256)),
            (object(RSA, &[11]), Some(Hash::Sha256)),
            (object(RSA, &[12]), Some(Hash::Sha384)),
            (object(RSA, &[13]), Some(Hash::Sha512)),
            (object(RSA, &[1]), None),
            (object(ECDSA, &[3, 2]), Some(Hash::Sha256)),
            (object(ECDSA, &[3, 3]), Some(Hash::Sha384)),
            (object(ECDSA, &[3, 4]), Some(Hash::Sha512)),
            (ed25519, None),
        ] {
            let certificate = certificate(&algorithm);
            assert_eq!(signature_hash(&certificate), hash, "{algorithm:x?}");
            let length = end_point(&certificate).map(|binding| binding.len());
            assert_eq!(length, hash.map(|hash| [32, 48, 64][hash as usize]), "{algorithm:x?}");
        }
    }

    #[test]
    fn the_hash_of_pss_stands_in_its_parameters() {
        let hash = object(SHA2, &[3]);
        let named = [&[SEQUENCE, hash.len() as u8], &hash[..]].concat();
        let tagged = [&[PSS_HASH, named.len() as u8], &named[..]].concat();
        let parameters = [&[SEQUENCE, tagged.len() as u8], &tagged[..]].concat();
        let with = |parameters: &[u8]| signature_hash(&certificate(&[&object(RSA, &[PSS]), parameters].concat()));
        assert_eq!(with(&parameters), Some(Hash::Sha512));
        assert_eq!((with(&[SEQUENCE, 0]), with(&[])), (Some(Hash::Sha256), None));
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let whole = certificate(&object(RSA, &[11]));
        for cut in 0..whole.len() {
            assert_eq!(signature_hash(&whole[..cut]), None, "{cut}");
        }
        for broken in [&[SEQUENCE, 0x84, 255, 255, 255, 255][..], &[SEQUENCE, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[0x80]]
        {
            assert_eq!(signature_hash(broken), None);
        }
    }
}
