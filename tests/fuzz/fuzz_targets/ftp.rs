//! FTP: what parses is written back so that it parses to the same, and no reply can be forged by what a client says.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../../protocols/ftp/src/codec.rs"]
mod codec;

use codec::Command;

fuzz_target!(|line: &[u8]| {
    command(line);
    let Ok(text) = std::str::from_utf8(line) else { return };
    addresses(text);
    moments(text);
    quotes(text);
});

/// A command is one line of clean text, and Telnet codes before it change nothing.
fn command(line: &[u8]) {
    let Ok(command) = Command::parse(line) else { return };
    assert!((3..=16).contains(&command.verb.len()));
    assert!(command.verb.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
    assert!(!command.argument.chars().any(char::is_control), "an argument may stand in a reply or a log");
    assert!(command.argument.len() < line.len());
    let written = command.render();
    assert_eq!(Command::parse(&written).as_ref(), Ok(&command));
    for synch in [&b"\xff\xf4\xff\xf2"[..], b"\xff\xf4\xff", b"\xff\xf4\xf2", b"\xf2"] {
        assert_eq!(Command::parse(&[synch, &written].concat()).as_ref(), Ok(&command));
    }
}

fn addresses(text: &str) {
    if let Some(target) = codec::parse_port(text) {
        let std::net::IpAddr::V4(address) = target.ip() else { panic!("PORT is IPv4") };
        assert_eq!(codec::parse_port(&codec::render_port(address, target.port())), Some(target));
    }
    if let Ok(target) = codec::parse_eprt(text) {
        assert_eq!(codec::parse_eprt(&codec::render_eprt(target)), Ok(target));
    }
    if let Some(size) = codec::parse_size(text) {
        assert_eq!(codec::parse_size(&size.to_string()), Some(size));
        assert!(!text.contains(['+', '-']));
    }
    let _ = codec::parse_epsv(text);
}

/// Times are the same after writing, and in the order of their texts.
fn moments(text: &str) {
    let Some(seconds) = codec::parse_time(text) else { return };
    let written = codec::render_time(seconds);
    assert_eq!(codec::parse_time(&written), Some(seconds));
    assert!(text.starts_with(&written) || &text[12..14] == "60", "only a leap second is written otherwise");
    let (year, month, day) = codec::date_of(seconds.div_euclid(86_400));
    assert_eq!(format!("{year:04}{month:02}{day:02}"), text[..8]);
}

/// Quoting can be undone: the quote that ends a path is the only one that stands alone.
fn quotes(text: &str) {
    let quoted = codec::quote(text);
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("quotes around it");
    assert_eq!(inner.replace("\"\"", "\""), text);
    assert_eq!(inner.matches('"').count(), 2 * text.matches('"').count());
}
