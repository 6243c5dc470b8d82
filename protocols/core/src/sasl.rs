//! What carries a SASL exchange in a protocol of lines (RFC 4422 §4): base64, one line each way, `*` to cancel.

use std::time::Duration;

use auth::{Denied, Exchange, Session, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{ReadError, Wire, stranger_idle};

/// The longest line of a log-in (RFC 4954 §4); RFC 9051 and RFC 5034 name no limit of their own.
pub const SASL_LINE: usize = 12288;

/// How a protocol carries an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Carrier {
    /// What stands before a challenge, with the space.
    pub prompt: &'static str,
    /// Whether a line must end in CRLF.
    pub strict: bool,
    /// How long a response may take.
    pub idle: Duration,
}

/// Why an exchange came to no end.
#[derive(Debug)]
pub enum Broken {
    /// The client cancelled it.
    Cancelled,
    /// A response is longer than [`SASL_LINE`].
    TooLong,
    /// A response holds a bare CR, or ends in a bare LF.
    BareLine,
    /// A response is not base64.
    Encoding,
    /// A response cannot be read; the sentence says why.
    Malformed(&'static str),
    /// The client is not who it says, or may not log in now. It is in the audit log.
    Denied(Denied),
}

impl Carrier {
    /// Carries challenges and responses until the exchange ends.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn run(
        self,
        wire: &mut Wire,
        mut exchange: Exchange,
        initial: Option<String>,
    ) -> Result<Result<Box<Session>, Broken>, ReadError> {
        let mut response = match initial {
            Some(initial) => decode(initial.as_bytes()),
            None => self.ask(wire, exchange.invitation()).await?,
        };
        loop {
            let octets = match response {
                Ok(octets) => octets,
                Err(broken) => return Ok(Err(broken)),
            };
            response = match exchange.step(&octets).await {
                Step::Challenge(challenge) => self.ask(wire, &challenge).await?,
                Step::Done(session) => return Ok(Ok(session)),
                Step::Denied(denied) => return Ok(Err(Broken::Denied(denied))),
                Step::Malformed(why) => return Ok(Err(Broken::Malformed(why))),
            };
        }
    }

    /// Sends a challenge and decodes the answer.
    async fn ask(self, wire: &mut Wire, challenge: &[u8]) -> Result<Result<Vec<u8>, Broken>, ReadError> {
        wire.out.extend_from_slice(format!("{}{}\r\n", self.prompt, STANDARD.encode(challenge)).as_bytes());
        wire.flush().await?;
        Ok(match wire.line(SASL_LINE, stranger_idle(self.idle)).await {
            Ok(line) if self.strict && !line.strict => Err(Broken::BareLine),
            Ok(line) if &line.bytes[..] == b"*" => Err(Broken::Cancelled),
            Ok(line) => decode(&line.bytes),
            Err(ReadError::TooLong(_)) => Err(Broken::TooLong),
            Err(error) => return Err(error),
        })
    }
}

/// `=` alone is an empty response (RFC 4954 §4, RFC 5034 §4, RFC 4959 §3).
fn decode(text: &[u8]) -> Result<Vec<u8>, Broken> {
    if text == b"=" { Ok(Vec::new()) } else { STANDARD.decode(text).map_err(|_| Broken::Encoding) }
}
