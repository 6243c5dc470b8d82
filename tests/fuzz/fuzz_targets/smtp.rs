//! SMTP: command lines mean the same after they are written back, and the end and content of a message are what the
//! RFC says, whatever pieces they come in.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../../protocols/smtp/src/codec.rs"]
mod codec;
#[allow(dead_code)]
#[path = "../../../protocols/smtp/src/scan.rs"]
mod scan;

use codec::Command;
use scan::{Framing, Hops, Scanner};

fuzz_target!(|input: &[u8]| {
    let Some((&seed, input)) = input.split_first() else { return };
    command(input);
    data(input, seed);
    counted(input, seed);
});

/// What parses is written so that it parses to the same, on one line.
fn command(line: &[u8]) {
    let Ok(command) = Command::parse(line) else { return };
    let written = command.to_string();
    assert!(!written.contains(['\r', '\n', '\0']), "a command is one line");
    assert_eq!(Command::parse(written.as_bytes()), Ok(command));
}

/// DATA: end and content agree with a plain reading of RFC 5321 §4.5.2, and no bare CR or LF goes unseen.
fn data(input: &[u8], seed: u8) {
    let (mut scanner, mut content) = (Scanner::new(Framing::Dots), Vec::new());
    let mut end = None;
    let mut at = 0;
    for piece in pieces(input, seed) {
        if let Some(used) = scanner.scan(&piece, &mut content) {
            end = Some(at + used);
            break;
        }
        at += piece.len();
    }
    let (expected, expected_end) = reference(input);
    assert_eq!(end, expected_end);
    let content = content.concat();
    match end {
        Some(end) => {
            assert_eq!(content, expected);
            assert_eq!(scanner.bare().is_some(), has_bare(&input[..end]));
            if scanner.bare().is_none() {
                let stuffed = content.split_inclusive(|&byte| byte == b'\n');
                let sent: Vec<u8> = stuffed.flat_map(stuff).chain(*b".\r\n").collect();
                assert!(sent.len() <= input[..end].len() && reference(&sent).0 == content, "stuffing is undone");
            }
        }
        // A CR behind a dot is held back: it may be part of the end.
        None => assert!(content == expected || [&content[..], b"\r"].concat() == expected),
    }
    hops(&content, seed);
}

/// BDAT: every octet is content.
fn counted(input: &[u8], seed: u8) {
    let (mut scanner, mut content) = (Scanner::new(Framing::Counted), Vec::new());
    for piece in pieces(input, seed) {
        assert_eq!(scanner.scan(&piece, &mut content), None);
    }
    assert_eq!(content.concat(), input);
    let missing = scanner.finish();
    assert_eq!(scanner.bare().is_some(), has_bare(input));
    assert!(scanner.bare().is_some() || input.is_empty() || [input, missing].concat().ends_with(b"\r\n"));
}

/// Counting does not depend on the pieces.
fn hops(content: &[u8], seed: u8) {
    let (mut whole, mut cut) = (Hops::default(), Hops::default());
    whole.see(content);
    pieces(content, seed).for_each(|piece| cut.see(&piece));
    assert_eq!(whole.count(), cut.count());
}

/// Pieces of changing sizes that the seed determines.
fn pieces(input: &[u8], seed: u8) -> impl Iterator<Item = Bytes> {
    let (mut rest, mut state) = (Bytes::copy_from_slice(input), u32::from(seed) + 1);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(rest.split_to((1 + (state >> 24) as usize % 7).min(rest.len())))
    })
}

fn reference(input: &[u8]) -> (Vec<u8>, Option<usize>) {
    let (mut content, mut at) = (Vec::new(), 0);
    while at < input.len() {
        let line_start = at == 0 || (at >= 2 && &input[at - 2..at] == b"\r\n");
        if line_start && input[at] == b'.' {
            if input[at + 1..].starts_with(b"\r\n") {
                return (content, Some(at + 3));
            }
        } else {
            content.push(input[at]);
        }
        at += 1;
    }
    (content, None)
}

fn has_bare(input: &[u8]) -> bool {
    (0..input.len()).any(|at| match input[at] {
        b'\r' => input.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || input[at - 1] != b'\r',
        byte => byte == 0,
    })
}

/// A line as a client sends it.
fn stuff(line: &[u8]) -> Vec<u8> {
    let dot: &[u8] = if line.starts_with(b".") { b"." } else { b"" };
    [dot, line].concat()
}
