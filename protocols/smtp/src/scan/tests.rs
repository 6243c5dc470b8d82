//! The scanner against a plain reference, whatever pieces the octets come in.

use super::*;
use proptest::prelude::*;

/// What RFC 5321 §4.5.2 says, octet by octet, on the whole input.
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

/// The first CR or LF that is no part of a CRLF within `input`, which is one whole message.
fn first_bare(input: &[u8]) -> Option<Bare> {
    (0..input.len()).find_map(|at| match input[at] {
        b'\r' if input.get(at + 1) != Some(&b'\n') => Some(Bare::Cr),
        b'\n' if at == 0 || input[at - 1] != b'\r' => Some(Bare::Lf),
        _ => None,
    })
}

/// Feeds `input` in pieces of the given sizes, over and over.
fn scan(framing: Framing, input: &[u8], sizes: &[usize]) -> (Vec<u8>, Option<usize>, Scanner) {
    let (mut scanner, mut pieces, mut at) = (Scanner::new(framing), Vec::new(), 0);
    for size in sizes.iter().cycle() {
        if at == input.len() {
            break;
        }
        let chunk = Bytes::copy_from_slice(&input[at..(at + size).min(input.len())]);
        if let Some(used) = scanner.scan(&chunk, &mut pieces) {
            return (pieces.concat(), Some(at + used), scanner);
        }
        at += chunk.len();
    }
    (pieces.concat(), None, scanner)
}

fn whole(input: &[u8]) -> (Vec<u8>, Option<usize>, Option<Bare>) {
    let (content, end, scanner) = scan(Framing::Dots, input, &[input.len().max(1)]);
    (content, end, scanner.bare())
}

#[test]
fn only_crlf_dot_crlf_ends_data() {
    for (input, content, end) in [
        (&b"a\r\n.\r\nQUIT\r\n"[..], &b"a\r\n"[..], Some(6)),
        (b".\r\n", b"", Some(3)),
        (b"..\r\n...\r\n.x\r\n.\r\n", b".\r\n..\r\nx\r\n", Some(16)),
        (b"a.\r\nb\r\n..\r\n.\r\n", b"a.\r\nb\r\n.\r\n", Some(14)),
    ] {
        assert_eq!(whole(input), (content.to_vec(), end, None), "{input:?}");
    }
}

#[test]
fn what_smuggling_uses_ends_nothing_and_is_seen() {
    for input in [
        &b"a\n.\nMAIL"[..],
        b"a\r\n.\nMAIL",
        b"a\n.\r\nMAIL",
        b"a\r.\rMAIL",
        b"a\r\n.\rMAIL",
        b"a\r.\r\nMAIL",
        b"a\n\n.\n\nMAIL",
        b".\nMAIL",
        b".\rMAIL",
        b"a\r\n.\0\r\nMAIL\n",
    ] {
        let (_, end, bare) = whole(input);
        assert_eq!(end, None, "{input:?}");
        assert!(bare.is_some(), "{input:?}");
    }
    // The genuine end is found all the same, so that the reply comes at the right moment.
    let (_, end, bare) = whole(b"a\n.\nMAIL\r\n.\r\n");
    assert_eq!((end, bare), (Some(13), Some(Bare::Lf)));
}

#[test]
fn a_counted_message_keeps_its_dots_and_gets_a_last_line_end() {
    let (content, end, mut scanner) = scan(Framing::Counted, b".\r\n..a\r\n.\r\nb", &[2]);
    assert_eq!((&content[..], end, scanner.bare()), (&b".\r\n..a\r\n.\r\nb"[..], None, None));
    assert_eq!(scanner.finish(), b"\r\n");
    let (_, _, mut scanner) = scan(Framing::Counted, b"a\r", &[1]);
    assert_eq!((scanner.finish(), scanner.bare()), (&b""[..], Some(Bare::Cr)));
    assert_eq!(Scanner::new(Framing::Counted).finish(), b"");
}

#[test]
fn hops_are_counted_in_the_header_alone() {
    let header =
        b"Received: a\r\n\tfolded\r\nreceived:b\r\nX-Received: c\r\nReceived-SPF: d\r\nSubject: Received: e\r\n";
    let message = [&header[..], b"RECEIVED: f\r\n\r\nReceived: in the body\r\n"].concat();
    for size in 1..20 {
        let mut hops = Hops::default();
        message.chunks(size).for_each(|piece| hops.see(piece));
        assert_eq!(hops.count(), 3, "in pieces of {size}");
    }
    let mut hops = Hops::default();
    hops.see(b"\r\nReceived: no header at all\r\n");
    assert_eq!(hops.count(), 0);
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(&b"\r\n"[..]),
        Just(&b"."[..]),
        Just(&b"\r"[..]),
        Just(&b"\n"[..]),
        Just(&b"a"[..]),
        Just(&b"\r\n.\r\n"[..]),
    ];
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_pieces_do_not_matter(input in octets(), sizes in prop::collection::vec(1usize..5, 1..6)) {
        let (content, end, scanner) = scan(Framing::Dots, &input, &sizes);
        let (expected, expected_end) = reference(&input);
        prop_assert_eq!(end, expected_end);
        match end {
            Some(end) => {
                prop_assert_eq!(&content, &expected);
                prop_assert_eq!(scanner.bare(), first_bare(&input[..end]));
            }
            // Without an end a last CR behind a dot is still held back.
            None => prop_assert!(content == expected || [&content[..], b"\r"].concat() == expected),
        }
    }

    #[test]
    fn stuffed_content_comes_back(lines in prop::collection::vec("[a.]{0,5}", 0..12), size in 1usize..7) {
        let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let mut sent: String = lines
            .iter()
            .map(|line| if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") })
            .collect();
        sent.push_str(".\r\n");
        let (got, end, scanner) = scan(Framing::Dots, format!("{sent}QUIT\r\n").as_bytes(), &[size]);
        prop_assert_eq!((String::from_utf8(got).unwrap(), end, scanner.bare()), (content, Some(sent.len()), None));
    }
}
