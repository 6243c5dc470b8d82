//! What is said of a message before its content.

use std::borrow::Cow;

use storage::{Body, Claim, Content, Return};

use super::answer::Extensions;
use super::trouble::Trouble;
use crate::codec::Notify;

/// The longest line of a return path.
const RETURN_PATH: u64 = 2048;

/// What is said of a message, and what it is.
pub(super) struct Letter<'a> {
    /// MAIL FROM, with its parameters.
    pub(super) mail: String,
    /// RCPT TO for each recipient, with its parameters.
    pub(super) recipients: Vec<String>,
    /// Fields that go before the content.
    pub(super) head: &'a [u8],
    /// The content.
    pub(super) content: &'a Content,
    /// Where in it the message begins.
    pub(super) start: u64,
    /// Whether its octets are not only lines, so that they must be counted.
    pub(super) is_binary: bool,
}

impl<'a> Letter<'a> {
    /// Its octets.
    pub(super) fn len(&self) -> u64 {
        self.head.len() as u64 + self.content.len() - self.start
    }

    /// A message to some of its recipients, for a host that has these extensions.
    pub(super) async fn new(has: &Extensions, claims: &'a [Claim], content: &'a Content) -> Letter<'a> {
        let first = &claims[0];
        Letter {
            mail: mail(has, first),
            recipients: claims.iter().map(|claim| recipient(has, claim)).collect(),
            head: first.message.head.as_bytes(),
            content,
            start: start(content).await,
            is_binary: first.message.manner.body == Body::Binary,
        }
    }
}

/// An address in ASCII where only its domain is beyond it: for that no host need know SMTPUTF8 (RFC 5890 §2.3.2.1).
pub(crate) fn in_ascii(address: &str) -> Cow<'_, str> {
    match address.rsplit_once('@') {
        Some((local, domain)) if local.is_ascii() && !domain.is_ascii() => {
            Cow::Owned(format!("{local}@{}", storage::ascii_domain(domain)))
        }
        _ => Cow::Borrowed(address),
    }
}

/// Whether a host must know SMTPUTF8 (RFC 6531 §3.2).
pub(super) fn needs_utf8(claim: &Claim) -> bool {
    claim.message.manner.utf8 || ![&claim.from, &claim.recipient].iter().all(|address| in_ascii(address).is_ascii())
}

fn mail(has: &Extensions, claim: &Claim) -> String {
    let (message, manner) = (&claim.message, &claim.message.manner);
    let mut mail = format!("MAIL FROM:<{}>", in_ascii(&claim.from));
    if has.sizes {
        mail.push_str(&format!(" SIZE={}", message.size));
    }
    match manner.body {
        Body::SevenBit => {}
        Body::EightBit => mail.push_str(" BODY=8BITMIME"),
        Body::Binary => mail.push_str(" BODY=BINARYMIME"),
    }
    if needs_utf8(claim) {
        mail.push_str(" SMTPUTF8");
    }
    // A notification may go without it (RFC 8689 §5).
    if manner.require_tls && has.require_tls {
        mail.push_str(" REQUIRETLS");
    }
    if has.dsn && !claim.from.is_empty() {
        match manner.ret {
            Some(Return::Full) => mail.push_str(" RET=FULL"),
            Some(Return::Header) => mail.push_str(" RET=HDRS"),
            None => {}
        }
    }
    if let Some(envid) = manner.envid.as_ref().filter(|_| has.dsn) {
        mail.push_str(&format!(" ENVID={envid}"));
    }
    mail.push_str("\r\n");
    mail
}

fn recipient(has: &Extensions, claim: &Claim) -> String {
    let (mut rcpt, notice) = (format!("RCPT TO:<{}>", in_ascii(&claim.recipient)), &claim.notice);
    if has.dsn && notice.said {
        let notify = Notify { success: notice.success, failure: notice.failure, delay: notice.delay };
        rcpt.push_str(&format!(" NOTIFY={notify}"));
    }
    if let Some(original) = notice.original.as_ref().filter(|_| has.dsn) {
        rcpt.push_str(&format!(" ORCPT={original}"));
    }
    rcpt.push_str("\r\n");
    rcpt
}

/// What the host would have to be able to do for this message, and is not.
pub(super) fn lacking(has: &Extensions, private: bool, place: &str, claim: &Claim) -> Option<Trouble> {
    let (message, manner) = (&claim.message, &claim.message.manner);
    let (status, said) = if has.size.is_some_and(|limit| limit < message.size) {
        ("5.3.4", format!("{place} takes no message of {} bytes", message.size))
    } else if needs_utf8(claim) && !has.utf8 {
        ("5.6.7", format!("{place} takes no addresses and headers beyond ASCII (SMTPUTF8)"))
    } else if manner.body == Body::EightBit && !has.eight_bit {
        ("5.6.3", format!("{place} takes no content beyond ASCII (8BITMIME)"))
    } else if manner.body == Body::Binary && !(has.binary && has.chunking) {
        ("5.6.3", format!("{place} takes no binary content (BINARYMIME)"))
    } else if manner.require_tls && !claim.from.is_empty() && !(has.require_tls && private) {
        ("5.7.30", format!("{place} cannot promise TLS (REQUIRETLS)"))
    } else {
        return None;
    };
    Some(Trouble::lasting(status, said))
}

/// Where the message begins in what was stored: behind the return path, which only the last server writes
/// (RFC 5321 §4.4).
pub(super) async fn start(content: &Content) -> u64 {
    let first = content.read(0..content.len().min(RETURN_PATH)).await.unwrap_or_default();
    match memchr::memchr(b'\n', &first) {
        Some(end) if first.starts_with(b"Return-Path: <") => end as u64 + 1,
        _ => 0,
    }
}
