//! Known answers, and the same headers written back.

use super::*;

const NONE: Parsed = Parsed::Invalid("no PROXY header");
const TOO_LONG: Parsed = Parsed::Invalid("the line is longer than 107 bytes");
const END: Parsed = Parsed::Invalid("the line does not end with CRLF");
const WORDS: Parsed = Parsed::Invalid("the line does not hold two addresses and two ports");
const FAMILY: Parsed = Parsed::Invalid("the line names neither TCP4 nor TCP6 nor UNKNOWN");
const VERSION: Parsed = Parsed::Invalid("the version is not 2, or the command neither LOCAL nor PROXY");
const STREAM: Parsed = Parsed::Invalid("the address family is none of a stream's");
const SHORT: Parsed = Parsed::Invalid("the header is too short for its addresses");
const LONG: Parsed = Parsed::Invalid("the header is longer than 1024 bytes");
const EXTENSION: Parsed = Parsed::Invalid("an extension is longer than the header");

fn client(source: &str, destination: &str) -> Origin {
    Origin::Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A header of version 2 with any block.
fn v2(version: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[version, family], &length, block].concat()
}

fn block(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let bytes = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    [bytes(source), bytes(destination), ports].concat()
}

/// What a balancer would send to say this.
fn written(origin: Origin) -> [Vec<u8>; 2] {
    match origin {
        Origin::Client { source, destination } => {
            let (word, family) = if source.is_ipv4() { ("TCP4", 0x11) } else { ("TCP6", 0x21) };
            let (from, to) = ((source.ip(), source.port()), (destination.ip(), destination.port()));
            let line = format!("PROXY {word} {} {} {} {}\r\n", from.0, to.0, from.1, to.1);
            [line.into_bytes(), v2(0x21, family, &block(source, destination))]
        }
        Origin::Unknown => [b"PROXY UNKNOWN\r\n".to_vec(), v2(0x21, 0, b"")],
        // Version 1 cannot say it.
        Origin::Local => [v2(0x20, 0, b""), v2(0x20, 0x11, &[0; 12])],
    }
}

#[test]
fn lines() {
    let four = client("192.0.2.1:56324", "198.51.100.2:443");
    let six = client("[2001:db8::1]:1", "[::ffff:192.0.2.1]:65535");
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    let longer = format!("PROXY UNKNOWN {}\r\n", "f".repeat(92));
    let complete = |text: &str, origin| Parsed::Complete { length: text.find('\n').unwrap() + 1, origin };
    for (text, expected) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", Some(four)),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nEHLO a\r\n", Some(four)),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", Some(client("0.0.0.0:0", "255.255.255.255:65535"))),
        ("PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 65535\r\n", Some(six)),
        ("PROXY TCP6 2001:0DB8:0:0:0:0:0:1 ::FFFF:192.0.2.1 1 65535\r\n", Some(six)),
        ("PROXY UNKNOWN\r\n", Some(Origin::Unknown)),
        ("PROXY UNKNOWN whatever stands \0 here\r\n\r\n", Some(Origin::Unknown)),
        (&longest, Some(Origin::Unknown)),
    ] {
        assert_eq!(parse(text.as_bytes()), complete(text, expected.unwrap()), "{text:?}");
    }
    for (text, expected) in [
        ("", Parsed::Incomplete(15)),
        ("P", Parsed::Incomplete(14)),
        ("PROXY UNKNOWN", Parsed::Incomplete(2)),
        ("PROXY UNKNOWN\r", Parsed::Incomplete(1)),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 44", Parsed::Incomplete(2)),
        (&longest[..105], Parsed::Incomplete(2)),
        (&longest[..106], Parsed::Incomplete(1)),
        (&longer[..106], TOO_LONG),
        (&longer, TOO_LONG),
        ("EHLO a\r\n", NONE),
        ("proxy UNKNOWN\r\n", NONE),
        ("PROXY\tUNKNOWN\r\n", NONE),
        (" PROXY UNKNOWN\r\n", NONE),
        ("PROXY UNKNOWN\n", END),
        ("PROXY UNKNOWN\rx\r\n", END),
        ("PROXY UNKNOWN\r\r\n", END),
        ("PROXY \r\n", FAMILY),
        ("PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", FAMILY),
        ("PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n", FAMILY),
        ("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", FAMILY),
        ("PROXY UNKNOWNS\r\n", FAMILY),
        ("PROXY TCP4\r\n", WORDS),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", WORDS),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", WORDS),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", WORDS),
        ("PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", WORDS),
        ("PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n", WORDS),
        ("PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n", WORDS),
        ("PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", WORDS),
        ("PROXY TCP4 ::1 ::2 1 2\r\n", WORDS),
        ("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", WORDS),
        ("PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n", WORDS),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", WORDS),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", WORDS),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", WORDS),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", WORDS),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 0x2\r\n", WORDS),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 \u{662}\r\n", WORDS),
    ] {
        assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn blocks() {
    let four = client("192.0.2.1:56324", "198.51.100.2:443");
    let plain = b"\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb";
    let with = |extensions: &[u8]| v2(0x21, 0x11, &[plain, extensions].concat());
    let complete = |bytes: &[u8], origin| Parsed::Complete { length: bytes.len(), origin };
    for (bytes, origin) in [
        (with(b""), four),
        (with(b"\x04\0\0"), four),
        (with(b"\x03\0\x04\0\0\0\0\x02\0\x01x"), four),
        (with(&[&b"\x04\x03\xf1"[..], &[0; 1009]].concat()), four),
        (v2(0x21, 0x21, &[&[0; 31][..], b"\x01\0\x07\0\x09"].concat()), client("[::]:7", "[::1]:9")),
        (v2(0x21, 0x31, &[0; 216]), Origin::Unknown),
        (v2(0x21, 0, b"anything"), Origin::Unknown),
        (v2(0x20, 0, b""), Origin::Local),
        (v2(0x20, 0x11, plain), Origin::Local),
        (v2(0x20, 0xff, b"anything"), Origin::Local),
    ] {
        assert_eq!(parse(&bytes), complete(&bytes, origin), "{bytes:?}");
        let followed = [&bytes[..], b"\x16\x03\x01"].concat();
        assert_eq!(parse(&followed), complete(&bytes, origin), "what follows is left alone");
    }
    for (bytes, expected) in [
        (SIGNATURE[..1].to_vec(), Parsed::Incomplete(15)),
        (with(b"")[..15].to_vec(), Parsed::Incomplete(1)),
        (with(b"")[..16].to_vec(), Parsed::Incomplete(12)),
        (with(b"")[..20].to_vec(), Parsed::Incomplete(8)),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), NONE),
        (v2(0x11, 0x11, plain), VERSION),
        (v2(0x31, 0x11, plain), VERSION),
        (v2(0x22, 0x11, plain), VERSION),
        (v2(0x21, 0x12, plain), STREAM),
        (v2(0x21, 0x10, plain), STREAM),
        (v2(0x21, 0x01, plain), STREAM),
        (v2(0x21, 0x41, plain), STREAM),
        (v2(0x21, 0x11, &plain[..11]), SHORT),
        (v2(0x21, 0x21, plain), SHORT),
        (v2(0x21, 0x31, &[0; 215]), SHORT),
        (v2(0x20, 0, &[0; 1025])[..16].to_vec(), LONG),
        (v2(0x21, 0x11, &[0; 65535])[..16].to_vec(), LONG),
        (with(b"\x04"), EXTENSION),
        (with(b"\x04\0"), EXTENSION),
        (with(b"\x04\0\x01"), EXTENSION),
        (with(b"\x04\0\0\x04\0\x02x"), EXTENSION),
        (with(b"\x04\xff\xffx"), EXTENSION),
    ] {
        assert_eq!(parse(&bytes), expected, "{bytes:?}");
    }
}

#[test]
fn what_is_written_is_read_and_never_beyond_its_end() {
    for origin in [
        client("192.0.2.1:1", "198.51.100.2:25"),
        client("255.255.255.255:65535", "0.0.0.0:0"),
        client("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[::]:0"),
        Origin::Local,
        Origin::Unknown,
    ] {
        for header in written(origin) {
            let stream = [&header[..], b"\r\nwhat follows\r\n"].concat();
            let mut read = 0;
            while let Parsed::Incomplete(missing) = parse(&stream[..read]) {
                assert!(missing > 0, "it goes on");
                read += missing;
            }
            assert_eq!(parse(&stream[..read]), Parsed::Complete { length: read, origin });
            assert_eq!(read, header.len());
            for cut in 0..header.len() {
                let parsed = parse(&header[..cut]);
                assert!(matches!(parsed, Parsed::Incomplete(missing) if cut + missing <= header.len()), "{parsed:?}");
            }
        }
    }
}
