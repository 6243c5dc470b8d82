use proptest::prelude::*;

use super::*;

fn auth(mechanism: &str, initial: Option<&str>) -> Command {
    Command::Auth { mechanism: Some(mechanism.to_owned()), initial: initial.map(str::to_owned) }
}

#[test]
fn commands_read_and_read_back() {
    for (line, command) in [
        ("USER alice", Command::User("alice".into())),
        ("user  grå@example.org ", Command::User("grå@example.org".into())),
        ("PASS  two words ", Command::Pass(" two words ".into())),
        ("Auth plain AGE=", auth("PLAIN", Some("AGE="))),
        ("AUTH SCRAM-SHA-256-PLUS", auth("SCRAM-SHA-256-PLUS", None)),
        ("AUTH EXTERNAL =", auth("EXTERNAL", Some("="))),
        ("AUTH", Command::Auth { mechanism: None, initial: None }),
        ("stls", Command::Stls),
        ("CAPA", Command::Capa),
        ("UTF8", Command::Utf8),
        ("STAT ", Command::Stat),
        ("LIST", Command::List(None)),
        ("LIST 7", Command::List(Some(7))),
        ("UIDL ", Command::Uidl(None)),
        ("UIDL 4294967295", Command::Uidl(Some(u32::MAX))),
        ("RETR 007", Command::Retr(7)),
        ("RETR 99999999999999999999", Command::Retr(u32::MAX)),
        ("RETR 0", Command::Retr(0)),
        ("TOP 1 0", Command::Top(1, 0)),
        ("top 2  99999999999999999999", Command::Top(2, u32::MAX)),
        ("DELE 3", Command::Dele(3)),
        ("RSET", Command::Rset),
        ("NOOP", Command::Noop),
        ("qUiT", Command::Quit),
    ] {
        assert_eq!(Command::parse(line.as_bytes()).as_ref(), Ok(&command), "{line}");
        assert_eq!(Command::parse(command.to_string().as_bytes()), Ok(command), "{line} written and read");
    }
}

#[test]
fn what_is_no_command_is_told_why() {
    for (line, fault) in [
        (&b""[..], Fault::Unknown),
        (b"APOP a b", Fault::Unknown),
        (b" STAT", Fault::Unknown),
        (b"STAT\t", Fault::Characters),
        (b"NOOP\0", Fault::Characters),
        (b"PASS \xff\xfe", Fault::Characters),
        (b"USER", Fault::Arguments("USER name")),
        (b"USER   ", Fault::Arguments("USER name")),
        (b"PASS", Fault::Arguments("PASS password")),
        (b"STAT 1", Fault::Arguments("STAT")),
        (b"LIST x", Fault::Arguments("LIST [message]")),
        (b"LIST -1", Fault::Arguments("LIST [message]")),
        (b"UIDL 1 2", Fault::Arguments("UIDL [message]")),
        (b"RETR", Fault::Arguments("RETR message")),
        (b"RETR +1", Fault::Arguments("RETR message")),
        (b"RETR 1.0", Fault::Arguments("RETR message")),
        (b"TOP 1", Fault::Arguments("TOP message lines")),
        (b"TOP 1 2 3", Fault::Arguments("TOP message lines")),
        (b"TOP 1 -2", Fault::Arguments("TOP message lines")),
        (b"DELE ", Fault::Arguments("DELE message")),
        (b"AUTH PL/AIN", Fault::Arguments("AUTH mechanism [initial-response]")),
        (b"AUTH PLAIN a b", Fault::Arguments("AUTH mechanism [initial-response]")),
        (b"QUIT now", Fault::Arguments("QUIT")),
    ] {
        assert_eq!(Command::parse(line), Err(fault), "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn what_proves_a_client_is_not_in_logs() {
    for line in ["PASS opensesame", "AUTH PLAIN opensesame"] {
        assert!(!format!("{:?}", Command::parse(line.as_bytes())).contains("opensesame"));
    }
}

fn stuffed(content: &[u8], piece: usize) -> Vec<u8> {
    let (mut stuffing, mut out) = (DotStuffing::new(), Vec::new());
    for piece in content.chunks(piece) {
        stuffing.write(piece, &mut out);
    }
    stuffing.finish(&mut out);
    out
}

#[test]
fn contents_become_lines_whatever_the_pieces() {
    for (content, lines) in [
        (&b""[..], &b".\r\n"[..]),
        (b"one\r\n", b"one\r\n.\r\n"),
        (b"one", b"one\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n..\r\nx.\r\n", b"..\r\n...\r\nx.\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        // A client that ends lines at any LF must not find the end of the response here.
        (b"a\n.\nb\n.\r\nc\r\n", b"a\n..\nb\n..\r\nc\r\n.\r\n"),
        (b"a\r.\r\n", b"a\r.\r\n.\r\n"),
        (b"ends in LF\n", b"ends in LF\n\r\n.\r\n"),
        (b"ends in CR\r", b"ends in CR\r\r\n.\r\n"),
        (b"\n.", b"\n..\r\n.\r\n"),
    ] {
        for piece in 1..=content.len().max(1) {
            assert_eq!(stuffed(content, piece), lines, "{content:?} by {piece}");
        }
    }
}

fn top(content: &[u8], lines: u32, piece: usize) -> Vec<u8> {
    let (mut top, mut out) = (Top::new(lines), Vec::new());
    for piece in content.chunks(piece) {
        let wanted = top.wanted(piece);
        assert!(wanted == piece.len() || top.is_complete());
        out.extend_from_slice(&piece[..wanted]);
    }
    out
}

#[test]
fn the_top_is_the_header_and_some_lines() {
    let message = b"Subject: x\r\n folded\r\n\r\none\r\n\r\nthree\r\nfour";
    for piece in 1..=message.len() {
        for (lines, cut) in [(0, 23), (1, 28), (2, 30), (3, 37), (4, 41), (5, 41), (u32::MAX, 41)] {
            assert_eq!(top(message, lines, piece), &message[..cut], "{lines} lines by {piece}");
        }
        assert_eq!(top(b"A: b\n\nc\nd\n", 1, piece), b"A: b\n\nc\n", "lines that end in LF");
        assert_eq!(top(b"A: no body", 0, piece), b"A: no body");
        assert_eq!(top(b"\r\nbody\r\n", 0, piece), b"\r\n", "no header");
        assert_eq!(top(b"A: b\r\n\r\r\nc\r\n\r\nbody", 0, piece), b"A: b\r\n\r\r\nc\r\n\r\n", "nor are two");
        assert_eq!(top(b"A: b\r\n\rx: c\r\n\r\nbody", 0, piece), b"A: b\r\n\rx: c\r\n\r\n", "a CR is no line");
    }
}

proptest! {
    #[test]
    fn a_client_that_ends_lines_at_any_lf_gets_the_content_back(
        content in "[.\r\na]{0,40}",
        piece in 1_usize..8,
    ) {
        let sent = stuffed(content.as_bytes(), piece);
        let mut got = Vec::new();
        let mut lines = sent.split_inclusive(|&octet| octet == b'\n');
        for line in lines.by_ref() {
            if line == b".\r\n" || line == b".\n" {
                break;
            }
            got.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        prop_assert_eq!(lines.next(), None, "nothing stands behind the end");
        if got != content.as_bytes() {
            prop_assert_eq!(&got, &[content.as_bytes(), b"\r\n"].concat());
        }
    }
}
