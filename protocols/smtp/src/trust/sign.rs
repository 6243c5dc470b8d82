//! DKIM signatures for outgoing mail (RFC 6376 §5, RFC 8463).

use std::borrow::Borrow;
use std::fmt::Write;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::body::BodyHashes;
use super::fields::{Field, fields};
use super::key::{Key, KeyError};

/// Signed with all their instances and once more, so that a second field cannot be added: readers of mail show one of
/// two, and not always the signed one (§8.15).
const CLOSED: [&str; 10] = [
    "From",
    "Reply-To",
    "Subject",
    "Date",
    "To",
    "Cc",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Signed if present (§5.4.1); those of lists also because one-click unsubscription asks for it (RFC 8058 §4).
const OPEN: [&str; 15] = [
    "In-Reply-To",
    "References",
    "Resent-Date",
    "Resent-From",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
];

/// Why a message is not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignError {
    /// A signature must cover From (§5.4).
    #[error("the message has no From field")]
    NoFrom,
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// `DKIM-Signature` fields, one for each key, with their line ends. Times are in seconds since 1970.
pub(crate) fn sign(
    keys: &[impl Borrow<Key>],
    header: &[u8],
    body: &BodyHashes,
    now: u64,
    lifetime: Option<u64>,
) -> Result<String, SignError> {
    let covered = Covered::of(header, &[])?;
    let mut text = String::new();
    for key in keys {
        let key = key.borrow();
        let Key { domain, selector, .. } = key;
        let mut field = format!(
            "DKIM-Signature: v=1; a={}; c=relaxed/relaxed;\r\n\td={domain}; s={selector};\r\n\tt={now}; ",
            key.tag()
        );
        if let Some(lifetime) = lifetime {
            // Writing to a string cannot fail.
            let _ = write!(field, "x={}; ", now.saturating_add(lifetime));
        }
        covered.name(&mut field, body);
        text += &complete(field, covered.text.clone(), key)?;
    }
    Ok(text)
}

/// What a signature covers of a header section.
pub(crate) struct Covered {
    /// In the order of h=.
    names: Vec<&'static str>,
    /// The relaxed fields in that order.
    pub(crate) text: Vec<u8>,
}

impl Covered {
    /// Instances go from the bottom up (§5.4.2); a name that is left without one stands for a field that is not there.
    pub(crate) fn of(header: &[u8], more: &[&'static str]) -> Result<Self, SignError> {
        let fields: Vec<Field<'_>> = fields(header).collect();
        if !fields.iter().any(|field| field.is("From")) {
            return Err(SignError::NoFrom);
        }
        let mut covered = Covered { names: Vec::new(), text: Vec::new() };
        let closed = CLOSED.iter().map(|name| (*name, true));
        for (name, closed) in closed.chain(OPEN.iter().chain(more).map(|name| (*name, false))) {
            for field in fields.iter().rev().filter(|field| field.is(name)) {
                covered.names.push(name);
                field.relaxed(&mut covered.text);
            }
            if closed {
                covered.names.push(name);
            }
        }
        Ok(covered)
    }

    /// Writes the tags h= and bh=, and an empty b= to be completed.
    pub(crate) fn name(&self, field: &mut String, body: &BodyHashes) {
        field.push_str("h=");
        let mut column = 20;
        for (at, name) in self.names.iter().enumerate() {
            if at > 0 {
                field.push(':');
            }
            if column + name.len() > 74 {
                field.push_str("\r\n\t");
                column = 8;
            }
            field.push_str(name);
            column += name.len() + 1;
        }
        let hash = BASE64_STANDARD.encode(body.relaxed);
        // Writing to a string cannot fail.
        let _ = write!(field, ";\r\n\tbh={hash};\r\n\tb=");
    }
}

/// Signs a text and after it the field itself, whose b= is still empty and last, and fills that in (RFC 6376 §3.7).
pub(crate) fn complete(mut field: String, mut text: Vec<u8>, key: &Key) -> Result<String, KeyError> {
    if let Some(own) = Field::parse(field.as_bytes()) {
        own.relaxed(&mut text);
        text.truncate(text.len() - 2); // the last line end is not signed
    }
    let signature = BASE64_STANDARD.encode(key.sign(&text)?);
    for (at, letter) in signature.chars().enumerate() {
        if at > 0 && at % 68 == 0 {
            field.push_str("\r\n\t");
        }
        field.push(letter);
    }
    field.push_str("\r\n");
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::body::BodyHasher;
    use crate::trust::key::{Algorithm, generate};

    const HEADER: &str =
        "Received: x\r\nFrom: a@a.example\r\nSubject: one\r\n  two\r\nList-Id: <l.example>\r\nList-Id: <m>\r\n\r\n";

    fn signed(lifetime: Option<u64>) -> String {
        let key = Key::new("a.example", "s", &generate(Algorithm::Ed25519).unwrap()).unwrap();
        sign(&[key], HEADER.as_bytes(), &BodyHasher::new().finish(), 1000, lifetime).unwrap()
    }

    #[test]
    fn the_field_names_what_it_covers_and_closes_it() {
        let field = signed(Some(60));
        let start = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n\
            \td=a.example; s=s;\r\n\
            \tt=1000; x=1060; h=From:From:Reply-To:Subject:Subject:Date:To:Cc:\r\n\
            \tMessage-ID:MIME-Version:Content-Type:Content-Transfer-Encoding:\r\n\
            \tList-Id:List-Id;\r\n\
            \tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\
            \tb=";
        assert!(field.starts_with(start), "{field}");
        assert!(field.ends_with("==\r\n"));
        assert!(!signed(None).contains("x="));
    }

    #[test]
    fn instances_are_taken_from_the_bottom_up() {
        let covered = Covered::of(HEADER.as_bytes(), &["Received"]).unwrap();
        let text = "from:a@a.example\r\nsubject:one two\r\nlist-id:<m>\r\nlist-id:<l.example>\r\nreceived:x\r\n";
        assert_eq!(String::from_utf8(covered.text).unwrap(), text);
        assert_eq!(covered.names.last(), Some(&"Received"));
    }

    #[test]
    fn lines_stay_short_and_rsa_signatures_are_folded() {
        let keys = [Algorithm::Rsa, Algorithm::Ed25519]
            .map(|algorithm| Key::new("a.example", "s", &generate(algorithm).unwrap()).unwrap());
        let text = sign(&keys, HEADER.as_bytes(), &BodyHasher::new().finish(), 1000, None).unwrap();
        assert!(text.lines().all(|line| line.len() <= 78), "{text}");
        assert_eq!(text.matches("DKIM-Signature: ").count(), 2);
        assert_eq!(fields(text.as_bytes()).count(), 2);
    }

    #[test]
    fn without_from_there_is_no_signature() {
        let error = sign(&[] as &[Key], b"Subject: x\r\n\r\n", &BodyHasher::new().finish(), 1000, None);
        assert_eq!(error, Err(SignError::NoFrom));
    }
}
