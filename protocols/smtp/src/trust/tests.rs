//! Signing and judging together, over DNS on the loopback interface.

mod chains;
mod examples;
mod policies;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mail_auth::MessageAuthenticator;

use super::arc::{ArcVerdict, seal, sealing_key};
use super::body::{BodyHasher, BodyHashes};
use super::key::{Algorithm, Key, generate, record};
use super::sign::sign;
use super::spf::Outcome;
use super::testing::{Entry, dns};
use super::verdicts::{Envelope, MalformedFrom, Policy, Verdict, Verdicts, judge};

const MESSAGE: &str = "Received: from x by y\r\n\
    From: Alice <alice@a.example>\r\n\
    To: bob@b.example\r\n\
    Cc: carol@c.example\r\n\
    Subject: folded\r\n \tand  spaced \r\n\
    Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n\
    Message-ID: <1@a.example>\r\n\
    Reply-To: list@a.example\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: text/plain\r\n\
    List-Unsubscribe: <https://a.example/>\r\n\
    \r\n\
    Hello  there\t\r\n\r\n- \r\n \t\r\n\r\n";

fn split(message: &str) -> (Vec<u8>, BodyHashes) {
    let end = message.find("\r\n\r\n").map_or(message.len(), |at| at + 4);
    let mut hasher = BodyHasher::new();
    hasher.push(&message.as_bytes()[end..]);
    (message.as_bytes()[..end].to_vec(), hasher.finish())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A signer for a domain, and the entries that DNS has of it.
struct Signer {
    keys: Vec<Key>,
    entries: Vec<(String, Entry)>,
}

impl Signer {
    fn new(domain: &str, algorithms: &[Algorithm]) -> Self {
        let mut signer = Signer { keys: Vec::new(), entries: Vec::new() };
        for (number, algorithm) in algorithms.iter().enumerate() {
            let (der, selector) = (generate(*algorithm).unwrap(), format!("s{number}"));
            signer.entries.push((format!("{selector}._domainkey.{domain}"), Entry::Txt(record(&der).unwrap())));
            signer.keys.push(Key::new(domain, &selector, &der).unwrap());
        }
        signer
    }

    fn with(self, name: &str, text: &str) -> Self {
        self.and(name, Entry::Txt(text.to_owned()))
    }

    fn and(mut self, name: &str, entry: Entry) -> Self {
        self.entries.push((name.to_owned(), entry));
        self
    }

    async fn dns(&self) -> MessageAuthenticator {
        dns(self.entries.iter().map(|(name, entry)| (name.as_str(), entry.clone()))).await
    }

    fn signed(&self, message: &str) -> String {
        let (header, body) = split(message);
        sign(&self.keys, &header, &body, now(), Some(86400)).unwrap() + message
    }
}

/// Sessions run on several threads.
fn sendable<T: Send>(future: T) -> T {
    future
}

async fn judged(dns: &MessageAuthenticator, message: &str, mail_from: &str, spf: Outcome) -> Verdicts {
    let (header, body) = split(message);
    let envelope = Envelope { client: "192.0.2.9".parse().unwrap(), helo: "client.example", mail_from };
    sendable(judge(dns, &header, &body, envelope, Outcome::None, spf)).await
}

async fn dkim(dns: &MessageAuthenticator, message: &str) -> Vec<(Verdict, Option<&'static str>)> {
    let verdicts = judged(dns, message, "x@other.example", Outcome::None).await;
    verdicts.dkim.iter().map(|verdict| (verdict.result, verdict.reason)).collect()
}

#[tokio::test]
async fn both_kinds_of_signature_verify() {
    let signer = Signer::new("a.example", &[Algorithm::Rsa, Algorithm::Ed25519]);
    let dns = signer.dns().await;
    let signed = signer.signed(MESSAGE);
    assert_eq!(dkim(&dns, &signed).await, [(Verdict::Pass, None), (Verdict::Pass, None)]);
    // What relays change: fields of their own, folding, white space at line ends.
    let relayed =
        signed.replace("folded\r\n \tand  spaced ", "folded and\r\n\tspaced").replace("there\t\r\n", "there\r\n");
    assert_eq!(dkim(&dns, &format!("X: y\r\n{relayed}")).await, [(Verdict::Pass, None), (Verdict::Pass, None)]);
    let obsolete = signer.signed(&MESSAGE.replace("Subject:", "Subject \t:").replace("From:", "FROM :"));
    assert_eq!(dkim(&dns, &obsolete).await, [(Verdict::Pass, None), (Verdict::Pass, None)]);
}

#[tokio::test]
async fn any_change_to_what_is_signed_fails() {
    let signer = Signer::new("a.example", &[Algorithm::Ed25519]);
    let dns = signer.dns().await;
    let signed = signer.signed(MESSAGE);
    let changes = [
        ("alice@a.example>", "alicia@a.example>"),
        ("To: bob@", "To: bobby@"),
        ("Cc: carol@", "Cc: carla@"),
        ("spaced", "spread"),
        ("10:00:00", "10:00:01"),
        ("<1@a", "<2@a"),
        ("Reply-To: list", "Reply-To: lost"),
        ("MIME-Version: 1.0", "MIME-Version: 1.1"),
        ("text/plain", "text/html"),
        ("https://a", "https://b"),
        ("d=a.example; s=s0;", "d=a.example; s=s0; i=@sub.a.example;"),
    ];
    for (old, new) in changes {
        assert!(signed.contains(old), "{old}");
        let found = dkim(&dns, &signed.replacen(old, new, 1)).await;
        assert_eq!(found, [(Verdict::Fail, Some("the signature does not match"))], "{new}");
    }
    let found = dkim(&dns, &signed.replace("Hello", "Hallo")).await;
    assert_eq!(found, [(Verdict::Fail, Some("the body has been changed"))]);
    let added = [
        "From: x@a.example",
        "To: x@x.example",
        "Cc: y@y.example",
        "Subject: other",
        "Date: now",
        "Message-ID: <3@x>",
        "Reply-To: x@x.example",
        "Content-Type: text/html",
        "MIME-Version: 2.0",
        "Content-Transfer-Encoding: base64",
    ];
    for field in added {
        for message in
            [format!("{field}\r\n{signed}"), signed.replace("\r\n\r\nHello", &format!("\r\n{field}\r\n\r\nHello"))]
        {
            let found = dkim(&dns, &message).await;
            assert_eq!(found, [(Verdict::Fail, Some("the signature does not match"))], "{field} added");
        }
    }
}

#[tokio::test]
async fn keys_and_signatures_that_do_not_count_are_told_apart() {
    let signer = Signer::new("a.example", &[Algorithm::Ed25519])
        .with("gone._domainkey.a.example", "v=DKIM1; p=")
        .with("rubbish._domainkey.a.example", "v=DKIM1; k=dsa; p=AAAA")
        .and("late._domainkey.a.example", Entry::Broken);
    let dns = signer.dns().await;
    let signed = signer.signed(MESSAGE);
    let cases = [
        ("s=s0", "s=gone", Verdict::PermError, "the key is revoked"),
        ("s=s0", "s=none", Verdict::PermError, "there is no key"),
        ("s=s0", "s=late", Verdict::TempError, "the key cannot be had now"),
        ("s=s0", "s=rubbish", Verdict::PermError, "the key cannot be read"),
        ("a=ed25519-sha256", "a=rsa-sha256", Verdict::PermError, "the key is of another kind"),
        ("a=ed25519-sha256", "a=rsa-sha1", Verdict::PermError, "SHA-1 does not count"),
        ("a=ed25519-sha256", "a=rot13", Verdict::Neutral, "unknown version, algorithm or canonicalization"),
        ("h=From:From:", "h=", Verdict::PermError, "From is not signed"),
        ("v=1;", "v=1; l=5;", Verdict::Policy, "a part of the body is not signed"),
        ("v=1;", "v=2;", Verdict::Neutral, "unknown version, algorithm or canonicalization"),
        ("d=a.example;", "i=x@b.example; d=a.example;", Verdict::PermError, "i= is outside of d="),
        ("d=a.example;", "", Verdict::PermError, "the signature cannot be read"),
    ];
    for (old, new, verdict, reason) in cases {
        assert!(signed.contains(old), "{old}");
        assert_eq!(dkim(&dns, &signed.replacen(old, new, 1)).await, [(verdict, Some(reason))], "{new}");
    }
    let (header, body) = split(MESSAGE);
    let old = sign(&signer.keys, &header, &body, 1000, Some(60)).unwrap() + MESSAGE;
    assert_eq!(dkim(&dns, &old).await, [(Verdict::Fail, Some("the signature has expired"))]);
    let names = "x:".repeat(300);
    let many = signed.replacen("h=From", &format!("h={names}From"), 1);
    assert_eq!(dkim(&dns, &many).await, [(Verdict::PermError, Some("too many names in h="))]);
}

#[tokio::test]
async fn only_ten_signatures_are_looked_at() {
    let signer = Signer::new("a.example", &[Algorithm::Ed25519]);
    let dns = signer.dns().await;
    let signed = signer.signed(MESSAGE);
    let field = signed.strip_suffix(MESSAGE).unwrap();
    let found = dkim(&dns, &format!("{}{}{signed}", "DKIM-Signature: v=1\r\n".repeat(5), field.repeat(11))).await;
    assert_eq!(found, [(Verdict::Pass, None); 10]);
    let found = dkim(&dns, &format!("{}{signed}", "DKIM-Signature: v=1\r\n".repeat(15))).await;
    assert_eq!((found.len(), found[0]), (10, (Verdict::Pass, None)));
}

#[tokio::test]
async fn a_silent_domain_takes_no_time_from_the_others() {
    let signer = Signer::new("a.example", &[Algorithm::Ed25519]).and("silent._domainkey.a.example", Entry::Silent);
    let dns = signer.dns().await;
    let signed = signer.signed(MESSAGE);
    let field = signed.strip_suffix(MESSAGE).unwrap().replace("s=s0", "s=silent");
    let (header, body) = split(&format!("{field}{signed}"));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    let found = super::dkim::verify(&dns, &super::dkim::read(&header, &body), deadline).await;
    let found: Vec<_> = found.iter().map(|verdict| (verdict.result, verdict.reason)).collect();
    assert_eq!(found, [(Verdict::TempError, Some("the key did not come in time")), (Verdict::Pass, None)]);
}

#[tokio::test]
async fn a_header_section_made_to_cost_time_costs_little() {
    let signer = Signer::new("a.example", &[Algorithm::Ed25519]);
    let dns = signer.dns().await;
    let signed = signer.signed(MESSAGE);
    let field = signed.strip_suffix(MESSAGE).unwrap();
    let names: String = (0..200).map(|number| format!("{number}:")).collect();
    let field = field.replacen("h=From", &format!("h={names}From"), 1);
    let message = format!("{}{}{MESSAGE}", field.repeat(10), "a:\r\n".repeat(50_000));
    let start = std::time::Instant::now();
    assert_eq!(dkim(&dns, &message).await, [(Verdict::Fail, Some("the signature does not match")); 10]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
