//! What mail clients send before anybody logs in: Outlook's request, and the addresses that documents name.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../protocols/http/src/codec.rs"]
#[allow(dead_code, unused_imports)]
mod codec;

use codec::autodiscover::{self, RESPONSE, Wrong};
use codec::mail_domain;

fuzz_target!(|input: &[u8]| {
    whole(input);
    if let Ok(text) = std::str::from_utf8(input) {
        inside(text);
        addresses(text);
    }
});

/// Anything at all as a request: what is read was there or was written as a reference, so it is never longer.
fn whole(input: &[u8]) {
    if let Ok(address) = autodiscover::address(input) {
        assert!(address.len() <= input.len());
    }
}

/// A good request but for the address: without markup it comes back as it was, and entities never stand for more than
/// a character.
fn inside(text: &str) {
    let fields = format!("<EMailAddress>{text}</EMailAddress><AcceptableResponseSchema>{RESPONSE}");
    let request = format!("<Autodiscover><Request>{fields}</AcceptableResponseSchema></Request></Autodiscover>");
    let read = autodiscover::address(request.as_bytes());
    if !text.contains(['<', '&', '>']) {
        assert_eq!(read.as_deref(), Ok(text.trim()));
    }
    match read {
        Ok(address) => assert!(address.len() <= request.len()),
        Err(wrong) => assert!(wrong == Wrong::Request || text.contains('<')),
    }
}

/// What is taken for an address has nothing that could end a line, an element or an attribute's name.
fn addresses(text: &str) {
    if let Some(domain) = mail_domain(text) {
        assert!(text.ends_with(domain) && text.len() <= 254 && text.matches('@').count() == 1);
        assert!(!text.contains(['<', '>', '"', '\\', '(', ')', ',', ';', ':', '[', ']']));
        assert!(!text.chars().any(|char| char.is_control() || char.is_whitespace()));
        assert!(!domain.contains(['&', '\'']));
    }
}
