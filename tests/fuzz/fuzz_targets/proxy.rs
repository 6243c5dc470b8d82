//! PROXY headers: one that is cut anywhere is incomplete, and asks for no byte behind its end; one that tells a client
//! is read the same after it was written by either version.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../../protocols/core/src/proxy.rs"]
mod proxy;

use proxy::{Origin, Parsed, parse};

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fuzz_target!(|input: &[u8]| {
    whole(input);
    // The signature is long; a fuzzer should not have to find it again in every input.
    if let Some((&family, block)) = input.split_first() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX).to_be_bytes();
        let command = if family & 0x80 == 0 { 0x21 } else { 0x20 };
        whole(&[SIGNATURE, &[command, family & 0x7f], &length, block].concat());
    }
    whole(&[&b"PROXY TCP4 "[..], input].concat());
    whole(&[&b"PROXY TCP6 "[..], input].concat());
});

fn whole(input: &[u8]) {
    let (length, origin) = match parse(input) {
        Parsed::Complete { length, origin } => (length, origin),
        Parsed::Incomplete(missing) => return assert!(missing > 0, "a reader goes on"),
        Parsed::Invalid(_) => return longer(input),
    };
    assert!((15..=16 + 1024).contains(&length) && length <= input.len());
    for cut in 0..length {
        match parse(&input[..cut]) {
            Parsed::Incomplete(missing) => assert!(missing > 0 && cut + missing <= length, "no byte behind the end"),
            other => panic!("cut at {cut} of {length}: {other:?}"),
        }
    }
    assert_eq!(parse(&input[..length]), Parsed::Complete { length, origin }, "what follows does not matter");
    if let Origin::Client { source, destination } = origin {
        for header in [text(source, destination), binary(source, destination)] {
            assert_eq!(parse(&header), Parsed::Complete { length: header.len(), origin });
        }
    }
}

/// What is no header stays none, whatever comes.
fn longer(input: &[u8]) {
    assert!(matches!(parse(&[input, b"\r\n"].concat()), Parsed::Invalid(_)));
}

fn text(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let word = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {word} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

fn binary(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut block = Vec::new();
    for address in [source.ip(), destination.ip()] {
        match address {
            IpAddr::V4(address) => block.extend(address.octets()),
            IpAddr::V6(address) => block.extend(address.octets()),
        }
    }
    block.extend(source.port().to_be_bytes());
    block.extend(destination.port().to_be_bytes());
    let family = if source.is_ipv4() { 0x11 } else { 0x21 };
    [SIGNATURE, &[0x21, family, 0, block.len() as u8], &block].concat()
}
