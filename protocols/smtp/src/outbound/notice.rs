//! Notifications of what became of a message (RFC 3464): a sentence for people, fields for programs, and the message or
//! its header.

use std::fmt::Write;

use storage::{Body, Manner, Return, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The most of a message that comes back whole.
const WHOLE: u64 = 50_000;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It will not be delivered.
    Failed,
    /// It is still tried.
    Delayed,
    /// It went to a server that does not tell itself.
    Relayed,
    /// It lies in a mailbox.
    Delivered,
    /// It went on to several.
    Expanded,
}

/// What became of one recipient.
#[derive(Clone)]
pub(crate) struct Told {
    /// Its address.
    pub(crate) recipient: String,
    /// The address that the sender had written, as it came.
    pub(crate) original: Option<String>,
    /// The enhanced status code (RFC 3463).
    pub(crate) status: String,
    /// The server that said so, where one did.
    pub(crate) host: Option<String>,
    /// What it said, or what we say.
    pub(crate) said: String,
    /// Until when it is tried.
    pub(crate) until: Option<Timestamp>,
}

/// What a notification says of the message.
pub(crate) struct About<'a> {
    /// How it asked to be passed on.
    pub(crate) manner: &'a Manner,
    /// When it came.
    pub(crate) arrived: Timestamp,
}

/// A notification, about recipients of one message.
pub(super) struct Notification<'a> {
    pub(super) action: Action,
    /// What this server is called.
    pub(super) own: &'a str,
    /// To whom it goes: the message's reverse path.
    pub(super) to: &'a str,
    /// Names this notification.
    pub(super) id: &'a str,
    pub(super) now: Timestamp,
    pub(super) about: &'a About<'a>,
    pub(super) recipients: &'a [Told],
    /// The message's header with the empty line at its end.
    pub(super) header: &'a [u8],
    /// The whole message, where it comes back.
    pub(super) whole: Option<&'a [u8]>,
}

/// Whether the whole message comes back.
pub(crate) fn returns_whole(action: Action, manner: &Manner, size: u64) -> bool {
    let wished = manner.ret != Some(Return::Header) && !manner.require_tls && manner.body != Body::Binary;
    action == Action::Failed && wished && size <= WHOLE
}

impl Notification<'_> {
    /// Its content, with CRLF.
    pub(super) fn content(&self) -> Vec<u8> {
        let (subject, opening, word) = match self.action {
            Action::Failed => (
                "Not delivered: your message came back",
                "Your message could not be delivered to the recipients below, and is not tried any more.",
                "failed",
            ),
            Action::Delayed => (
                "Not delivered yet: your message is still tried",
                "Your message could not be delivered to the recipients below yet. It is still tried; you need not send \
                 it again.",
                "delayed",
            ),
            Action::Relayed => (
                "Delivered onward: your message",
                "Your message was passed on to servers that will not tell when it is delivered.",
                "relayed",
            ),
            Action::Delivered => {
                ("Delivered: your message", "Your message lies in the mailboxes of the recipients below.", "delivered")
            }
            Action::Expanded => (
                "Delivered onward: your message",
                "Your message was passed on to all whom the addresses below stand for.",
                "expanded",
            ),
        };
        let beyond_ascii = self.about.manner.utf8;
        let boundary = format!("=_{}", self.id);
        let mut text = String::new();
        let mut line = |content: &str| {
            text.push_str(content);
            text.push_str("\r\n");
        };
        line(&format!("From: Mail delivery <MAILER-DAEMON@{}>", self.own));
        line(&format!("To: <{}>", self.to));
        line(&format!("Subject: {subject}"));
        line(&format!("Date: {}", date(self.now)));
        line(&format!("Message-ID: <{}@{}>", self.id, self.own));
        if let Some(of) = message_id(self.header) {
            line(&format!("References: {of}"));
        }
        line("Auto-Submitted: auto-replied");
        line("MIME-Version: 1.0");
        line(&format!("Content-Type: multipart/report; report-type=delivery-status; boundary=\"{boundary}\""));
        if beyond_ascii || !self.whole.unwrap_or(self.header).is_ascii() {
            line("Content-Transfer-Encoding: 8bit");
        }
        line("");
        line(&format!("--{boundary}"));
        line("Content-Type: text/plain; charset=utf-8");
        line("Content-Transfer-Encoding: 8bit");
        line("");
        line(&format!("This is the mail system of {}.", self.own));
        line("");
        line(opening);
        for told in self.recipients {
            line("");
            line(&format!("<{}>", told.recipient));
            match &told.host {
                Some(host) => line(&format!("    {host} said: {}", told.said)),
                None => line(&format!("    {}", told.said)),
            }
        }
        line("");
        line(&format!("--{boundary}"));
        let status = if beyond_ascii { "message/global-delivery-status" } else { "message/delivery-status" };
        line(&format!("Content-Type: {status}"));
        if beyond_ascii {
            line("Content-Transfer-Encoding: 8bit");
        }
        line("");
        line(&format!("Reporting-MTA: dns; {}", self.own));
        if let Some(envid) = self.about.manner.envid.as_deref().and_then(xtext) {
            line(&format!("Original-Envelope-Id: {envid}"));
        }
        line(&format!("Arrival-Date: {}", date(self.about.arrived)));
        let kind = if beyond_ascii { "utf-8" } else { "rfc822" };
        for told in self.recipients {
            line("");
            if let Some(original) = told.original.as_deref().and_then(original) {
                line(&format!("Original-Recipient: {original}"));
            }
            line(&format!("Final-Recipient: {kind}; {}", told.recipient));
            line(&format!("Action: {word}"));
            line(&format!("Status: {}", told.status));
            if let Some(host) = &told.host {
                line(&format!("Remote-MTA: dns; {host}"));
                line(&format!("Diagnostic-Code: smtp; {}", told.said));
            }
            line(&format!("Last-Attempt-Date: {}", date(self.now)));
            if let Some(until) = told.until.filter(|_| self.action == Action::Delayed) {
                line(&format!("Will-Retry-Until: {}", date(until)));
            }
        }
        line("");
        line(&format!("--{boundary}"));
        let (whole, part) = match (self.whole, beyond_ascii) {
            (Some(whole), false) => (whole, "message/rfc822"),
            (Some(whole), true) => (whole, "message/global"),
            (None, false) => (self.header, "text/rfc822-headers"),
            (None, true) => (self.header, "message/global-headers"),
        };
        let _ = write!(text, "Content-Type: {part}\r\n");
        if !whole.is_ascii() {
            text.push_str("Content-Transfer-Encoding: 8bit\r\n");
        }
        text.push_str("\r\n");
        let mut content = text.into_bytes();
        content.extend_from_slice(whole);
        if !content.ends_with(b"\r\n") {
            content.extend_from_slice(b"\r\n");
        }
        content.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        content
    }
}

fn date(time: Timestamp) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.0) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc2822).ok()).unwrap_or_default()
}

/// The Message-ID of a header, where it is one word.
fn message_id(header: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(header);
    let line = text.lines().find(|line| line.get(..11).is_some_and(|name| name.eq_ignore_ascii_case("message-id:")))?;
    let id = line[11..].trim();
    let plain = id.starts_with('<') && id.ends_with('>') && id.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && id.len() <= 900).then(|| id.to_owned())
}

/// The type of an original recipient, and its address decoded.
fn original(text: &str) -> Option<String> {
    let (kind, address) = text.split_once(';')?;
    Some(format!("{kind}; {}", xtext(address)?))
}

/// What xtext stands for (RFC 3461 §4), where that is one line.
fn xtext(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('+') {
        plain.push_str(before);
        let byte = u8::from_str_radix(behind.get(..2)?, 16).ok()?;
        if !(b' '..=b'~').contains(&byte) {
            return None;
        }
        plain.push(char::from(byte));
        rest = &behind[2..];
    }
    plain.push_str(rest);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_decoded_within_a_line() {
        assert_eq!(xtext("a+2Bb+3Dc").as_deref(), Some("a+b=c"));
        assert_eq!((xtext("a+0D"), xtext("a+2"), xtext("a+zz")), (None, None, None));
        assert_eq!(original("rfc822;bob+40example.org").as_deref(), Some("rfc822; bob@example.org"));
    }

    #[test]
    fn a_message_id_is_taken_where_it_is_one() {
        assert_eq!(message_id(b"Subject: x\r\nmessage-ID: <1@a>\r\n\r\n").as_deref(), Some("<1@a>"));
        assert_eq!(message_id(b"Message-ID: <1 2@a>\r\n\r\n"), None);
        assert_eq!(message_id("Message-\u{1f600}ID: <1@a>".as_bytes()), None);
    }
}
