//! What other servers say and publish: replies, SPF records, policies of TLS, certificates, reports of a filter,
//! senders, headers. Anything is either refused or bounded and fit to be written on a line.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../../protocols/smtp/src/outbound/answer.rs"]
mod answer;
#[allow(dead_code)]
#[path = "../../../protocols/smtp/src/outbound/der.rs"]
mod der;
#[allow(dead_code)]
#[path = "../../../protocols/smtp/src/trust/fields.rs"]
mod fields;
#[allow(dead_code)]
#[path = "../../../protocols/smtp/src/trust/forged.rs"]
mod forged;
#[allow(dead_code)]
#[path = "../../../auth/src/local_part.rs"]
mod local_part;
#[allow(dead_code)]
#[path = "../../../protocols/smtp/src/trust/spf/macros.rs"]
mod macros;
#[allow(dead_code)]
#[path = "../../../protocols/smtp/src/trust/spf/record.rs"]
mod record;
#[allow(dead_code)]
#[path = "../../../protocols/smtp/src/filters/report.rs"]
mod report;
#[allow(dead_code)]
#[path = "../../../protocols/smtp/src/filters/scan.rs"]
mod scan;
#[allow(dead_code)]
#[path = "../../../auth/src/srs.rs"]
mod srs;
#[allow(dead_code)]
#[path = "../../../protocols/smtp/src/outbound/sts.rs"]
mod sts;

use answer::{Extensions, Reading};
use macros::{MacroString, Values};
use record::Record;
use report::Report;
use scan::Scan;
use sts::Policy;

fuzz_target!(|input: &[u8]| {
    let Some((kind, input)) = input.split_first() else { return };
    match kind % 8 {
        0 => replies(input),
        1 => spf(input),
        2 => policy(input),
        3 => drop((der::key(input), der::common_name(input))),
        4 => filter(input),
        5 => sender(input),
        6 => scanner(input),
        _ => header(input),
    }
});

/// Used by `scan` from its parent.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    TooLarge(&'static str),
    Away(String),
}

/// Used by `report` and `scan` from their parent.
fn printable(text: &str, most: usize) -> String {
    text.chars().filter(|sign| (' '..='~').contains(sign)).take(most).collect()
}

/// What is kept of a reply fits on a line.
fn replies(input: &[u8]) {
    let mut reading = Reading::default();
    for line in input.split(|byte| *byte == b'\n') {
        match reading.take(line) {
            Ok(Some(answer)) => {
                let shown = answer.to_string();
                assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "one line of ASCII");
                assert!(answer.status().is_none_or(|status| shown.contains(status)));
                Extensions::of(&answer);
            }
            Ok(None) => {}
            Err(_) => return,
        }
    }
}

/// What a record expands to is bounded, and a name where it must be one.
fn spf(input: &[u8]) {
    let _ = Record::is_one(input) && Record::parse(input).is_some();
    let Ok(text) = std::str::from_utf8(input) else { return };
    let values = Values {
        local: "a.b",
        origin: "c.example",
        domain: "d.example",
        client: IpAddr::from([192, 0, 2, 1]),
        validated: "unknown",
        helo: "e.example",
        receiver: "f.example",
        time: 0,
    };
    if let Some(name) = MacroString::domain_spec(text).and_then(|name| name.name(&values)) {
        assert!(name.len() <= macros::NAME);
    }
}

/// What is read is written so that it reads the same.
fn policy(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    sts::id(text.lines());
    if let Ok(policy) = text.parse::<Policy>() {
        assert_eq!(policy.text().parse(), Ok(policy));
    }
}

/// No field that a filter adds breaks the header.
fn filter(input: &[u8]) {
    let Ok(report) = Report::read(input) else { return };
    for (name, value) in &report.fields {
        assert!(name.starts_with("X-") || name.starts_with("x-"));
        assert!(!value.contains(['\r', '\n']));
    }
}

/// What a scanner says fits on a line, and is no verdict unless it is one word for word.
fn scanner(input: &[u8]) {
    let line = |text: &str| text.len() <= 300 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    match scan::verdict(input) {
        Ok(Scan::Clean) => assert_eq!(input, b"stream: OK"),
        Ok(Scan::Found(said)) | Err(Failure::Away(said)) => assert!(line(&said), "{said}"),
        Err(Failure::TooLarge(_)) => {}
    }
}

/// A sender that is rewritten is one word of a command, and leads back.
fn sender(input: &[u8]) {
    let Ok(local) = std::str::from_utf8(input) else { return };
    let srs = srs::Srs::new([7; 32]);
    let sender = format!("{}@a.example", local_part::quoted(local));
    let Some(there) = srs.rewrite(&sender, "us.example", 0) else { return };
    let (local, _) = there.rsplit_once('@').unwrap();
    let plain = local_part::unquote(local);
    assert!(local.starts_with('"') || !local.contains([' ', '<', '>', '"', '\\']), "{there}");
    if plain.starts_with("SRS0") {
        assert_eq!(srs.original(&plain, 0).as_deref(), Some(&*sender));
    }
}

/// Only whole lines go, and of those only fields that claim to be ours.
fn header(input: &[u8]) {
    assert_eq!(fields::lines(input).collect::<Vec<_>>().concat(), input);
    let kept = forged::without_forged(input, "mx.example");
    let gone = fields::lines(input).filter(|line| {
        fields::Field::parse(line).is_some_and(|field| field.is("Authentication-Results"))
    });
    fields::tells_pass(input);
    assert!(fields::bare(input).count() <= input.len());
    assert!(kept.len() + gone.map(<[u8]>::len).sum::<usize>() >= input.len());
}
