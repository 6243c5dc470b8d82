//! POP3: command lines mean the same after they are written back, and a response ends where it should and nowhere
//! else, whatever a message holds and in whatever pieces it comes.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../../protocols/pop3/src/codec.rs"]
mod codec;

use codec::{Command, DotStuffing, Top};

fuzz_target!(|input: &[u8]| {
    let Some((&seed, input)) = input.split_first() else { return };
    command(input);
    let piece = 1 + usize::from(seed % 16);
    response(input, piece);
    top(input, u32::from(seed / 16), piece);
});

/// What parses is written so that it parses to the same, on one line; no log tells a secret.
fn command(line: &[u8]) {
    let Ok(command) = Command::parse(line) else { return };
    let written = command.to_string();
    assert!(!written.contains(['\r', '\n', '\0']), "a command is one line");
    if let Command::Pass(password) = &command {
        assert_eq!(format!("{command:?}"), "PASS ...", "{password} is not told");
    }
    assert_eq!(Command::parse(written.as_bytes()), Ok(command));
}

/// A client that ends lines at CRLF finds the end where it is, and so does one that ends them at any LF, who gets the
/// content as it was.
fn response(content: &[u8], piece: usize) {
    let (mut stuffing, mut sent) = (DotStuffing::new(), Vec::new());
    for piece in content.chunks(piece) {
        stuffing.write(piece, &mut sent);
    }
    stuffing.finish(&mut sent);
    let framed = [b"\r\n", &sent[..]].concat();
    let end = framed.windows(5).position(|octets| octets == b"\r\n.\r\n").expect("an end");
    assert_eq!(end + 5, framed.len(), "nothing stands behind the end");
    let mut got = Vec::new();
    let mut lines = sent.split_inclusive(|&octet| octet == b'\n');
    for line in lines.by_ref().take_while(|line| *line != b".\r\n" && *line != b".\n") {
        got.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    assert!(lines.next().is_none(), "nothing stands behind the end");
    assert!(got == content || got == [content, b"\r\n"].concat());
}

/// TOP takes the lines that a plain reading finds, and says so as soon as it has them.
fn top(content: &[u8], lines: u32, piece: usize) {
    let (mut top, mut got) = (Top::new(lines), Vec::new());
    for piece in content.chunks(piece) {
        let complete = top.is_complete();
        let wanted = top.wanted(piece);
        assert!(wanted <= piece.len() && (!complete || wanted == 0));
        assert!(wanted == piece.len() || top.is_complete());
        got.extend_from_slice(&piece[..wanted]);
    }
    let mut all = content.split_inclusive(|&octet| octet == b'\n');
    let mut expected = Vec::new();
    for line in all.by_ref() {
        expected.extend_from_slice(line);
        if line == b"\r\n" || line == b"\n" {
            break;
        }
    }
    all.take(lines as usize).for_each(|line| expected.extend_from_slice(line));
    assert_eq!(got, expected);
}
