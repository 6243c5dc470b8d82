//! Bounded lines out of a byte stream: pure, without I/O, and the same for every line-based protocol.

use bytes::{Bytes, BytesMut};

/// A line as it came, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The bytes before the line end.
    pub bytes: Bytes,
    /// Whether the end was CRLF and the line holds no bare CR; SMTP must refuse any other (RFC 5321 §2.3.8).
    pub strict: bool,
}

/// What is kept of a line that is longer than allowed: enough to answer it, and to see what the client does next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LongLine {
    /// Its first octets.
    pub start: Vec<u8>,
    /// Its last octets, with its end.
    pub end: Vec<u8>,
}

/// Why no line came.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The client closed the connection.
    #[error("the client closed the connection")]
    Closed,
    /// Nothing came within the time allowed.
    #[error("nothing came in time")]
    Idle,
    /// The line is longer than allowed; it was dropped up to its end and the stream stands at the next line.
    #[error("the line is too long")]
    TooLong(Box<LongLine>),
    /// The client went on sending a line without end; nothing sensible can follow.
    #[error("a line without end")]
    Endless,
    /// The daemon drains and the client was between commands.
    #[error("the server is shutting down")]
    Shutdown,
    /// What the client logged in by is not valid any more.
    #[error("the password of the session is not valid any more")]
    Withdrawn,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

/// How many bytes of one over-long line are dropped before the connection is given up.
const ENDLESS: usize = 4 << 20;

/// How many octets of the start of an over-long line are kept.
const START: usize = 256;
/// How many octets of its end are kept.
const END: usize = 8;

/// Cuts lines out of what has been read; remembers how far it has looked, so that every byte is looked at once.
#[derive(Debug, Default)]
pub struct Framer {
    scanned: usize,
    /// The current over-long line; `None` while the line is within its limit.
    dropped: Option<Dropped>,
}

/// An over-long line so far.
#[derive(Debug, Default)]
struct Dropped {
    octets: usize,
    kept: Box<LongLine>,
}

impl Dropped {
    fn take(&mut self, octets: &[u8]) {
        let LongLine { start, end } = &mut *self.kept;
        start.extend(octets.iter().take(START - start.len()));
        end.extend_from_slice(&octets[octets.len().saturating_sub(END)..]);
        end.drain(..end.len().saturating_sub(END));
        self.octets += octets.len();
    }
}

impl Framer {
    /// The next line in `buffer`, which loses it; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`ReadError::TooLong`] once for each line above `limit` bytes, when its end has come; [`ReadError::Endless`]
    /// when the end does not come.
    pub fn next(&mut self, buffer: &mut BytesMut, limit: usize) -> Result<Option<Line>, ReadError> {
        let found = buffer[self.scanned..].iter().position(|&byte| byte == b'\n').map(|at| self.scanned + at);
        match found {
            Some(end) => {
                self.scanned = 0;
                let mut line = buffer.split_to(end + 1);
                if self.dropped.is_some() || end > limit + 1 {
                    let mut dropped = self.dropped.take().unwrap_or_default();
                    dropped.take(&line);
                    return Err(ReadError::TooLong(dropped.kept));
                }
                let crlf = end > 0 && line[end - 1] == b'\r';
                line.truncate(if crlf { end - 1 } else { end });
                let strict = crlf && !line.contains(&b'\r');
                Ok(Some(Line { bytes: line.freeze(), strict }))
            }
            None => {
                self.scanned = buffer.len();
                if buffer.len() > limit + 1 || self.dropped.is_some() {
                    let dropped = self.dropped.get_or_insert_default();
                    dropped.take(buffer);
                    buffer.clear();
                    self.scanned = 0;
                    if dropped.octets > ENDLESS {
                        return Err(ReadError::Endless);
                    }
                }
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(framer: &mut Framer, buffer: &mut BytesMut, bytes: &[u8]) -> Result<Option<Line>, ReadError> {
        buffer.extend_from_slice(bytes);
        framer.next(buffer, 10)
    }

    #[test]
    fn lines_come_whole_whatever_the_pieces() {
        let (mut framer, mut buffer) = (Framer::default(), BytesMut::new());
        assert!(feed(&mut framer, &mut buffer, b"NO").unwrap().is_none());
        assert!(feed(&mut framer, &mut buffer, b"OP\r").unwrap().is_none());
        let line = feed(&mut framer, &mut buffer, b"\nQUIT\n").unwrap().unwrap();
        assert_eq!((&line.bytes[..], line.strict), (&b"NOOP"[..], true));
        let line = framer.next(&mut buffer, 10).unwrap().unwrap();
        assert_eq!((&line.bytes[..], line.strict), (&b"QUIT"[..], false), "a bare LF is seen");
        let line = feed(&mut framer, &mut buffer, b"a\rb\r\n").unwrap().unwrap();
        assert!(!line.strict, "a bare CR is seen");
    }

    #[test]
    fn a_line_above_the_limit_is_dropped_once_and_the_next_is_read() {
        let (mut framer, mut buffer) = (Framer::default(), BytesMut::new());
        for _ in 0..100 {
            assert!(feed(&mut framer, &mut buffer, b"0123456789").unwrap().is_none());
            assert!(buffer.len() <= 22, "memory stays bounded");
        }
        let error = feed(&mut framer, &mut buffer, b"{5+}\r\nNOOP\r\n").unwrap_err();
        let ReadError::TooLong(line) = error else { panic!("{error}") };
        assert_eq!(
            (line.start.len(), &line.start[..12], &line.end[..]),
            (START, &b"012345678901"[..], &b"89{5+}\r\n"[..])
        );
        assert_eq!(&framer.next(&mut buffer, 10).unwrap().unwrap().bytes[..], b"NOOP");
    }

    #[test]
    fn of_a_line_above_the_limit_its_start_and_end_are_kept() {
        let (mut framer, mut buffer) = (Framer::default(), BytesMut::new());
        let error = feed(&mut framer, &mut buffer, b"a1 NOOP and more\n").unwrap_err();
        let ReadError::TooLong(line) = error else { panic!("{error}") };
        assert_eq!((&line.start[..], &line.end[..]), (&b"a1 NOOP and more\n"[..], &b"nd more\n"[..]));
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let (mut framer, mut buffer) = (Framer::default(), BytesMut::new());
        let piece = vec![b'x'; 64 << 10];
        let error = (0..100).find_map(|_| feed(&mut framer, &mut buffer, &piece).err()).expect("gives up");
        assert!(matches!(error, ReadError::Endless));
    }
}
