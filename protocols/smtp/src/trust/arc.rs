//! Chains of results from the servers that a message has passed (RFC 8617).

use std::borrow::Borrow;
use std::fmt;

use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use tokio::time::{Instant, timeout_at};

use super::body::BodyHashes;
use super::dkim::{read, readable, refused};
use super::fields::{Field, fields};
use super::key::{Algorithm, Key};
use super::sign::{Covered, complete};
use super::verdicts::Verdicts;

/// What the chain says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArcVerdict {
    /// There is none.
    None,
    /// It holds, with so many sets.
    Pass(usize),
    Fail,
    /// A key cannot be had now.
    TempError,
}

/// The most sets in a chain (§4.2.1).
const MAX_SETS: usize = 50;

const FIELDS: [&str; 3] = ["ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"];

/// Verifies the chain (§5.2).
pub(super) async fn verify(
    dns: &MessageAuthenticator,
    header: &[u8],
    message: &AuthenticatedMessage<'_>,
    deadline: Instant,
) -> ArcVerdict {
    // Any of the three fields makes a chain: without the others it is a broken one.
    if !fields(header).any(|field| FIELDS.iter().any(|name| field.is(name))) {
        return ArcVerdict::None;
    }
    let Some(newest) = message.ams_headers.last() else { return ArcVerdict::Fail };
    if refused(newest.header.a, &newest.header.h).is_some() {
        return ArcVerdict::Fail;
    }
    let Ok(output) = timeout_at(deadline, dns.verify_arc(message)).await else { return ArcVerdict::TempError };
    match output.result() {
        DkimResult::Pass => ArcVerdict::Pass(output.sets().len()),
        DkimResult::TempError(_) => ArcVerdict::TempError,
        _ => ArcVerdict::Fail,
    }
}

/// The three fields of a set that says what we found, to be put on top of a message that is passed on (§5.1). None for
/// a chain that is broken, full or not known to hold: to seal one now as failed would fail it for ever.
pub(crate) fn seal(
    key: &Key,
    authserv_id: &str,
    header: &[u8],
    body: &BodyHashes,
    verdicts: &Verdicts,
    now: u64,
) -> Option<String> {
    let (sets, cv) = match verdicts.arc {
        ArcVerdict::None => (0, "none"),
        ArcVerdict::Pass(sets @ ..MAX_SETS) => (sets, "pass"),
        _ => return None,
    };
    let header = readable(header);
    let instance = sets + 1;
    let Key { domain, selector, .. } = key;
    let results = format!("ARC-Authentication-Results: i={instance}; {}", verdicts.results(authserv_id));

    let mut field = format!(
        "ARC-Message-Signature: i={instance}; a={}; c=relaxed/relaxed;\r\n\td={domain}; s={selector};\r\n\tt={now}; ",
        key.tag()
    );
    // The signatures that the message came with, so that the next server sees what we judged (§4.1.2).
    let covered = Covered::of(&header, &["DKIM-Signature"]).ok()?;
    covered.name(&mut field, body);
    let signature = complete(field, covered.text, key).ok()?;

    let mut text = Vec::new();
    let message = read(&header, body);
    let earlier = message.aar_headers.iter().zip(&message.ams_headers).zip(&message.as_headers);
    for ((results, signature), seal) in earlier {
        Field { name: results.name, value: results.value }.relaxed(&mut text);
        Field { name: signature.name, value: signature.value }.relaxed(&mut text);
        Field { name: seal.name, value: seal.value }.relaxed(&mut text);
    }
    fields(results.as_bytes()).chain(fields(signature.as_bytes())).for_each(|field| field.relaxed(&mut text));
    let field = format!(
        "ARC-Seal: i={instance}; a={}; cv={cv};\r\n\td={domain}; s={selector};\r\n\tt={now};\r\n\tb=",
        key.tag()
    );
    let seal = complete(field, text, key).ok()?;
    Some(seal + &signature + &results)
}

/// The key to seal with: few of those who read chains know Ed25519.
pub(crate) fn sealing_key<K: Borrow<Key>>(keys: &[K]) -> Option<&K> {
    keys.iter().find(|key| (*key).borrow().algorithm() == Algorithm::Rsa).or(keys.first())
}

impl fmt::Display for ArcVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ArcVerdict::None => "none",
            ArcVerdict::Pass(_) => "pass",
            ArcVerdict::Fail => "fail",
            ArcVerdict::TempError => "temperror",
        })
    }
}
