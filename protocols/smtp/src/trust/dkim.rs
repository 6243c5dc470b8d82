//! DKIM signatures on incoming mail (RFC 6376 §6).

use std::borrow::Cow;
use std::pin::Pin;
use std::task::Poll;

use base64::{Engine, prelude::BASE64_STANDARD};
use mail_auth::common::crypto::{Algorithm, CryptoError, HashAlgorithm};
use mail_auth::common::headers::Header;
use mail_auth::dkim::{Canonicalization, DkimError, Signature};
use mail_auth::{AuthenticatedMessage, DkimResult, DnsError, Error, MessageAuthenticator};
use tokio::time::{Instant, timeout_at};

use super::body::BodyHashes;
use super::fields::{Field, lines};
use super::verdicts::Verdict;

/// What one signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DkimVerdict {
    pub(crate) result: Verdict,
    /// Why it does not pass.
    pub(crate) reason: Option<&'static str>,
    /// None where the field could not be read.
    pub(crate) signature: Option<Signature>,
}

/// More signatures cost their sender nothing and us a lookup and a calculation each.
const MAX_SIGNATURES: usize = 10;

/// Names in one h=: each is looked for in all fields.
pub(super) const MAX_NAMES: usize = 256;

/// The header section in a form that the library reads as we do: it ends the section at a line without a colon, does
/// not know a name with white space before its colon, and takes quadratic time for some long fields.
pub(super) fn readable(header: &[u8]) -> Cow<'_, [u8]> {
    if lines(header).all(|line| line == b"\r\n" || plain(line).is_some_and(|(_, tight)| tight)) {
        return Cow::Borrowed(header);
    }
    let mut text = Vec::with_capacity(header.len());
    for (field, _) in lines(header).filter_map(plain) {
        text.extend_from_slice(field.name);
        text.push(b':');
        text.extend_from_slice(field.value);
    }
    text.extend_from_slice(b"\r\n");
    Cow::Owned(text)
}

/// A field that can be read without harm, and whether its colon follows the name at once.
fn plain(line: &[u8]) -> Option<(Field<'_>, bool)> {
    let field = Field::parse(line)?;
    let tight = field.name.len() + 1 + field.value.len() == line.len();
    let harmful = bare(line) || newer(field) && line.len() > 16384;
    (!harmful).then_some((field, tight))
}

/// Whether a line end is no CRLF: the library splits there, we do not.
fn bare(line: &[u8]) -> bool {
    !line.ends_with(b"\r\n") || memchr::memchr_iter(b'\n', line).any(|at| at == 0 || line[at - 1] != b'\r')
}

/// The fields of DKIM2, which the library reads in any case.
fn newer(field: Field<'_>) -> bool {
    field.is("DKIM2-Signature") || field.is("Message-Instance")
}

/// Reads a header section for all checks, with our hashes in the place of those of a body that is not there. (The
/// library's own are wrong for bodies that end in lines of white space.)
pub(super) fn read<'a>(header: &'a [u8], body: &BodyHashes) -> AuthenticatedMessage<'a> {
    let mut message = AuthenticatedMessage::parse(header).unwrap_or_default();
    for (form, algorithm, _, hash) in &mut message.body_hashes {
        *hash = match (form, algorithm) {
            (Canonicalization::Simple, HashAlgorithm::Sha256) => body.simple.to_vec(),
            (Canonicalization::Relaxed, HashAlgorithm::Sha256) => body.relaxed.to_vec(),
            _ => Vec::new(),
        };
    }
    message
}

/// Verifies the signatures of a message, all at once, since one slow domain must not take the time of the others.
pub(super) async fn verify(
    dns: &MessageAuthenticator,
    message: &AuthenticatedMessage<'_>,
    deadline: Instant,
) -> Vec<DkimVerdict> {
    let signatures = message.dkim_headers.iter().take(MAX_SIGNATURES).map(|header| one(dns, message, header, deadline));
    let mut verdicts = all(signatures.collect()).await;
    let room = MAX_SIGNATURES - verdicts.len();
    verdicts.extend(message.errors.iter().filter_map(unreadable).take(room));
    verdicts
}

fn unreadable(header: &Header<'_, Error>) -> Option<DkimVerdict> {
    let (result, reason) = match &header.header {
        // What is not covered can be replaced (§8.2), and a reader does not see where it begins.
        Error::Dkim(DkimError::SignatureLength) => (Verdict::Policy, "a part of the body is not signed"),
        Error::Dkim(_) => (Verdict::Neutral, "unknown version, algorithm or canonicalization"),
        _ if header.name.trim_ascii().eq_ignore_ascii_case(b"DKIM-Signature") => {
            (Verdict::PermError, "the signature cannot be read")
        }
        _ => return None,
    };
    Some(DkimVerdict { result, reason: Some(reason), signature: None })
}

async fn one(
    dns: &MessageAuthenticator,
    message: &AuthenticatedMessage<'_>,
    header: &Header<'_, Signature>,
    deadline: Instant,
) -> DkimVerdict {
    let signature = header.header.clone();
    let verdict = |result, reason| DkimVerdict { result, reason, signature: Some(signature) };
    if let Some(reason) = refused(header.header.a, &header.header.h) {
        return verdict(Verdict::PermError, Some(reason));
    }
    let mut header = header.clone();
    // Neither reports (RFC 6651) nor third parties (RFC 6541): each would cost a lookup more.
    header.header.r = false;
    header.header.atps = None;
    let message = AuthenticatedMessage {
        headers: message.headers.clone(),
        body_hashes: message.body_hashes.clone(),
        dkim_headers: vec![header],
        ..Default::default()
    };
    match timeout_at(deadline, dns.verify_dkim(&message)).await.as_deref() {
        Ok([output, ..]) => {
            let (result, reason) = explain(output.result());
            verdict(result, reason)
        }
        Ok([]) => verdict(Verdict::Neutral, Some("not judged")),
        Err(_) => verdict(Verdict::TempError, Some("the key did not come in time")),
    }
}

/// What the library would let pass.
pub(super) fn refused(algorithm: Algorithm, names: &[String]) -> Option<&'static str> {
    if algorithm == Algorithm::RsaSha1 {
        return Some("SHA-1 does not count"); // RFC 8301 §3.1
    }
    if names.len() > MAX_NAMES {
        return Some("too many names in h=");
    }
    // RFC 6376 §6.1.1
    (!names.iter().any(|name| name.trim().eq_ignore_ascii_case("From"))).then_some("From is not signed")
}

fn explain(result: &DkimResult) -> (Verdict, Option<&'static str>) {
    let (verdict, reason) = match result {
        DkimResult::Pass => return (Verdict::Pass, None),
        DkimResult::None => return (Verdict::None, None),
        DkimResult::TempError(_) => (Verdict::TempError, "the key cannot be had now"),
        DkimResult::Neutral(Error::Dkim(DkimError::FailedBodyHashMatch)) => {
            (Verdict::Fail, "the body has been changed")
        }
        DkimResult::Neutral(Error::Dkim(DkimError::SignatureExpired)) => (Verdict::Fail, "the signature has expired"),
        DkimResult::Neutral(_) => (Verdict::Neutral, "the signature cannot be judged"),
        DkimResult::Fail(Error::Dkim(DkimError::FailedAuidMatch)) => (Verdict::PermError, "i= is outside of d="),
        DkimResult::Fail(Error::Crypto(CryptoError::IncompatibleAlgorithms)) => {
            (Verdict::PermError, "the key is of another kind")
        }
        DkimResult::Fail(_) => (Verdict::Fail, "the signature does not match"),
        DkimResult::PermError(Error::Dkim(DkimError::RevokedPublicKey)) => (Verdict::PermError, "the key is revoked"),
        DkimResult::PermError(Error::Dns(DnsError::RecordNotFound(_))) => (Verdict::PermError, "there is no key"),
        DkimResult::PermError(_) => (Verdict::PermError, "the key cannot be read"),
    };
    (verdict, Some(reason))
}

impl DkimVerdict {
    /// The signature as text, to tell one from another (RFC 6008 §4).
    pub(super) fn text(&self) -> Option<String> {
        self.signature.as_ref().map(|signature| BASE64_STANDARD.encode(&signature.b))
    }
}

/// Runs all futures to their end on this task.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in running.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(context)
            {
                *slot = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_read_alike_is_left_of_a_header_section() {
        let good = b"A: b\r\n\tc\r\nDKIM2-Signature: i=1\r\n\r\n";
        assert!(matches!(readable(good), Cow::Borrowed(text) if text == good));
        let long = format!("Message-Instance: {}\r\n", "a=b;".repeat(5000));
        let header = format!("no field\r\nA \t: b\r\n c\r\n{long}B: x\nFrom: y\r\n: z\r\nC:\r\n\r\n");
        assert_eq!(readable(header.as_bytes()).as_ref(), b"A: b\r\n c\r\nC:\r\n\r\n");
        assert_eq!(readable(b"A: no end").as_ref(), b"\r\n");
    }

    #[tokio::test]
    async fn all_futures_run_at_once_and_keep_their_order() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (mut sender, mut receiver) = (Some(sender), Some(receiver));
        let futures: Vec<Pin<Box<dyn Future<Output = u8>>>> = vec![
            Box::pin(async move { receiver.take().unwrap().await.unwrap() }),
            Box::pin(async move { sender.take().unwrap().send(1).map_or(9, |()| 2) }),
        ];
        assert_eq!(all(futures).await, [1, 2]);
        assert_eq!(all(Vec::<Pin<Box<dyn Future<Output = u8>>>>::new()).await, [0u8; 0]);
    }
}
