//! Parts with NUL get an encoding that every client can take off (RFC 3516 §4.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use storage::message::{Part, Structure};

/// How many octets stand on a line of base 64 (RFC 2045 §6.8: 76 characters).
const LINE: usize = 57;

/// The message with every part that holds NUL in base 64.
pub(super) fn encoded(message: &[u8]) -> Vec<u8> {
    let structure = Structure::read(message);
    let mut out = Vec::with_capacity(message.len() + message.len() / 2);
    let mut at = 0;
    let holds_nul = |part: &&Part| part.children.is_empty() && memchr::memchr(0, &message[part.body()]).is_some();
    for part in structure.parts.iter().filter(holds_nul) {
        // Parts stand in the order of the message, and leaves do not overlap.
        if part.header < at {
            continue;
        }
        out.extend_from_slice(&message[at..part.header]);
        header(&mut out, &message[part.header()]);
        for line in message[part.body()].chunks(LINE) {
            out.extend_from_slice(STANDARD.encode(line).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        at = part.end;
    }
    out.extend_from_slice(&message[at..]);
    out
}

/// Writes a part's header with another encoding in it.
fn header(out: &mut Vec<u8>, header: &[u8]) {
    let (mut at, mut dropping) = (0, false);
    while at < header.len() {
        let end = memchr::memchr(b'\n', &header[at..]).map_or(header.len(), |end| at + end + 1);
        let line = &header[at..end];
        at = end;
        if line == b"\r\n" || line == b"\n" {
            break;
        }
        if !matches!(line[0], b' ' | b'\t') {
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default().trim_ascii_end();
            dropping = name.eq_ignore_ascii_case(b"Content-Transfer-Encoding");
        }
        if !dropping {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use storage::message::decode_transfer;

    use super::*;

    #[test]
    fn parts_with_nul_are_encoded_and_no_others() {
        let message = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nplain\r\n--b\r\n\
            Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\na\0b\r\n--b--\r\n";
        let encoded = encoded(message);
        assert!(memchr::memchr(0, &encoded).is_none());
        let structure = Structure::read(&encoded);
        let part = &structure.parts[2];
        assert_eq!(part.encoding_or_default(), "base64");
        assert_eq!(decode_transfer("base64", &encoded[part.body()]).unwrap().as_ref(), b"a\0b");
        assert_eq!(&encoded[structure.parts[1].body()], b"plain");
        let alone = super::encoded(b"A: b\r\n\r\n\0\0");
        assert_eq!(alone, b"A: b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAA=\r\n");
    }
}
