//! The two header fields that a delivering server writes (RFC 5321 §4.4).

use std::fmt::Write;
use std::net::IpAddr;

use auth::{Peer, TraceId};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// What the fields tell.
pub(crate) struct Passage<'a> {
    pub(crate) peer: &'a Peer,
    /// The name the client greeted with.
    pub(crate) client: &'a str,
    /// Whether it greeted with EHLO.
    pub(crate) extended: bool,
    /// Whether it speaks LMTP.
    pub(crate) lmtp: bool,
    /// Whether it logged in.
    pub(crate) authenticated: bool,
    /// Whether the transaction uses SMTPUTF8.
    pub(crate) utf8: bool,
    pub(crate) host: &'a str,
    pub(crate) trace: TraceId,
    /// The sender, without brackets; empty for the null path.
    pub(crate) from: &'a str,
    /// Named only when it is the only one, since others must not learn of each other (RFC 5321 §7.2).
    pub(crate) only_recipient: Option<&'a str>,
    pub(crate) at: OffsetDateTime,
}

impl Passage<'_> {
    /// `Return-Path` and `Received`, with their line ends: what is found out about the message stands between them.
    pub(crate) fn fields(&self) -> (String, String) {
        let path = format!("Return-Path: <{}>\r\n", self.from);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "Received: from {} ({})\r\n", self.client, literal(self.peer.remote.ip()));
        if let Some(tls) = &self.peer.tls {
            let _ = write!(text, "\t(using {} with cipher {})\r\n", tls.version, tls.cipher);
        }
        let _ = write!(text, "\tby {} with {} id {}", self.host, self.with(), self.trace);
        if let Some(recipient) = self.only_recipient {
            let _ = write!(text, "\r\n\tfor <{recipient}>");
        }
        let _ = write!(text, ";\r\n\t{}\r\n", self.at.format(&Rfc2822).unwrap_or_default());
        (path, text)
    }

    /// The registered name of the protocol (RFC 3848, RFC 6531 §3.7.3).
    fn with(&self) -> &'static str {
        let secure = self.peer.tls.is_some();
        match (self.lmtp, self.utf8, secure, self.authenticated) {
            (true, false, false, _) => return "LMTP",
            (true, false, true, _) => return "LMTPS",
            (true, true, false, _) => return "UTF8LMTP",
            (true, true, true, _) => return "UTF8LMTPS",
            (false, ..) => {}
        }
        match (self.utf8, self.extended || secure || self.authenticated, secure, self.authenticated) {
            (true, _, false, false) => "UTF8SMTP",
            (true, _, false, true) => "UTF8SMTPA",
            (true, _, true, false) => "UTF8SMTPS",
            (true, _, true, true) => "UTF8SMTPSA",
            (false, false, ..) => "SMTP",
            (false, true, false, false) => "ESMTP",
            (false, true, false, true) => "ESMTPA",
            (false, true, true, false) => "ESMTPS",
            (false, true, true, true) => "ESMTPSA",
        }
    }
}

/// An address as a domain literal (RFC 5321 §4.1.3).
fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::Tls;

    #[test]
    fn the_fields_tell_the_passage_in_the_registered_words() {
        let trace = TraceId::new();
        let peer = Peer {
            protocol: "smtp",
            remote: "[::ffff:192.0.2.7]:4711".parse().unwrap(),
            local: "[::1]:25".parse().unwrap(),
            tls: Some(Tls { version: "TLSv1.3", cipher: "TLS13_AES_256_GCM_SHA384" }),
            trace,
        };
        let passage = Passage {
            peer: &peer,
            client: "client.example",
            extended: true,
            lmtp: false,
            authenticated: false,
            utf8: false,
            host: "mx.example",
            trace,
            from: "a@b.example",
            only_recipient: Some("alice@mx.example"),
            at: OffsetDateTime::from_unix_timestamp(1_794_000_000).unwrap(),
        };
        let whole = |passage: &Passage<'_>| {
            let (path, received) = passage.fields();
            path + &received
        };
        assert_eq!(
            whole(&passage),
            format!(
                "Return-Path: <a@b.example>\r\n\
                 Received: from client.example ([192.0.2.7])\r\n\
                 \t(using TLSv1.3 with cipher TLS13_AES_256_GCM_SHA384)\r\n\
                 \tby mx.example with ESMTPS id {trace}\r\n\
                 \tfor <alice@mx.example>;\r\n\
                 \tFri, 06 Nov 2026 21:20:00 +0000\r\n"
            )
        );
        assert_eq!(Passage { authenticated: true, ..passage }.with(), "ESMTPSA");
        let clear = Peer { tls: None, ..peer.clone() };
        let plain = Passage { peer: &clear, client: "c", host: "h", from: "", only_recipient: None, ..passage };
        assert_eq!(Passage { extended: false, ..plain }.with(), "SMTP");
        assert_eq!(Passage { utf8: true, ..plain }.with(), "UTF8SMTP");
        assert!(whole(&plain).starts_with("Return-Path: <>\r\nReceived: from c ([192.0.2.7])\r\n\tby h with ESMTP id"));
    }
}
