//! One connection to another server (RFC 5321 §3): the greeting, TLS, transactions. It says what was said; what follows
//! from it is up to the courier.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use protocol::{Paced, Shutdown};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use storage::ContentReader;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::answer::{Answer, Extensions, Garbled, LINE, Reading};
use super::letter::Letter;

/// How long is listened for why a server does not take the rest of a message.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long a goodbye may take.
const QUIT: Duration = Duration::from_secs(5);
/// How many recipients are said before anyone looks at an answer.
const GROUP: usize = 100;
/// How much of a message is written at once.
const PIECE: usize = 64 << 10;

/// How many octets of a message a server takes in a second at least.
const SLOWEST: u64 = 2048;

/// Where a conversation stood when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The connection was made.
    Connect,
    /// The greeting was awaited.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// STARTTLS, and the handshake.
    Tls,
    /// AUTH.
    Login,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA.
    Data,
    /// The content, up to its end.
    Content,
    /// The answer to all of it: whether it was taken is not known.
    End,
}

/// Why a conversation cannot go on.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection failed, or nothing came in time.
    Lost(Step, String),
    /// What came is no SMTP.
    Garbled(Step, Garbled),
    /// More came than was asked for, which can only be a mistake or an attack.
    Ahead(Step),
    /// The server does not want to talk.
    Refused(Step, Answer),
    /// The server is this one.
    Ourselves,
    /// The handshake failed.
    Handshake(String),
    /// TLS must be and is not; what the server said to STARTTLS, where it offers that.
    NoTls(Option<Answer>),
    /// The server does not let us log in.
    NoLogin(String),
    /// Somebody else has the message to hand over, or may have.
    Yielded,
    /// This server is stopping.
    Stopped,
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Step::Connect => "on connecting",
            Step::Greeting => "at the greeting",
            Step::Hello => "at EHLO",
            Step::Tls => "at STARTTLS",
            Step::Login => "at AUTH",
            Step::Mail => "at MAIL",
            Step::Rcpt => "at RCPT",
            Step::Data => "at DATA",
            Step::Content => "within the message",
            Step::End => "at the end of the message, which may have been taken",
        })
    }
}

/// How long is waited (RFC 5321 §4.5.3.2), and what ends it before.
#[derive(Clone)]
pub(super) struct Patience {
    /// For a connection.
    pub(super) connect: Duration,
    /// For an answer.
    pub(super) answer: Duration,
    /// For the answer to a whole message: a server that is given less time takes it twice.
    pub(super) end: Duration,
    /// This server is stopping.
    pub(super) stop: Shutdown,
}

impl Patience {
    /// How long a content of so many octets may take: who takes it drop by drop holds a courier, and keeps others from
    /// its place.
    fn for_content(&self, octets: u64) -> Duration {
        self.end + Duration::from_secs(octets / SLOWEST)
    }
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The message was taken for it.
    Taken(Answer),
    /// It was refused.
    Refused(Answer),
    /// The message was refused, whoever it is for.
    Unwanted(Answer),
}

/// A connection that has greeted.
pub(super) struct Client {
    stream: Stream,
    /// What came and was not taken yet.
    input: BytesMut,
    /// What the server offers.
    pub(super) extensions: Extensions,
    /// TLS, where it runs: version and cipher suite.
    pub(super) tls: Option<(String, String)>,
    patience: Patience,
}

impl Client {
    /// Connects, and hears the greeting; with TLS from the first byte on, where `tls` says how.
    pub(super) async fn connect(
        address: SocketAddr,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
        patience: Patience,
    ) -> Result<Client, Broken> {
        let lost = |error: io::Error| Broken::Lost(Step::Connect, error.to_string());
        let mut stop = patience.stop.clone();
        let connected = tokio::select! {
            connected = timeout(patience.connect, TcpStream::connect(address)) => connected,
            () = stop.requested() => return Err(Broken::Stopped),
        };
        let tcp = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(lost)?;
        tcp.set_nodelay(true).map_err(lost)?;
        let (stream, input) = (Stream::Plain(Paced::new(tcp)), BytesMut::new());
        let mut client = Client { stream, input, extensions: Extensions::default(), tls: None, patience };
        if let Some((config, name)) = tls {
            client = client.secured(config, name).await?;
        }
        let greeting = client.answer(Step::Greeting).await?;
        if greeting.code == 220 { Ok(client) } else { Err(Broken::Refused(Step::Greeting, greeting)) }
    }

    /// Says who we are, with HELO where EHLO is not known.
    pub(super) async fn hello(&mut self, name: &str) -> Result<(), Broken> {
        let answer = self.ask(Step::Hello, &format!("EHLO {name}\r\n")).await?;
        if answer.is_good() {
            self.extensions = Extensions::of(&answer);
            let called = answer.lines.first().and_then(|line| line.split(' ').next()).unwrap_or_default();
            return if called.eq_ignore_ascii_case(name) { Err(Broken::Ourselves) } else { Ok(()) };
        }
        self.extensions = Extensions::default();
        if !(500..=504).contains(&answer.code) {
            return Err(Broken::Refused(Step::Hello, answer));
        }
        let answer = self.ask(Step::Hello, &format!("HELO {name}\r\n")).await?;
        if answer.is_good() { Ok(()) } else { Err(Broken::Refused(Step::Hello, answer)) }
    }

    /// Begins TLS; nothing that was said before counts any more (RFC 3207 §4.2). The refusal, where the server does not
    /// want to.
    pub(super) async fn start_tls(
        mut self,
        config: Arc<ClientConfig>,
        host: ServerName<'static>,
    ) -> Result<Result<Client, (Client, Answer)>, Broken> {
        let answer = self.ask(Step::Tls, "STARTTLS\r\n").await?;
        if answer.code != 220 {
            return Ok(Err((self, answer)));
        }
        if !self.input.is_empty() {
            // Said in the clear, perhaps by somebody else (CVE-2021-38371).
            return Err(Broken::Ahead(Step::Tls));
        }
        self.secured(config, host).await.map(Ok)
    }

    /// The handshake.
    async fn secured(self, config: Arc<ClientConfig>, host: ServerName<'static>) -> Result<Client, Broken> {
        let Client { stream, patience, .. } = self;
        let Stream::Plain(tcp) = stream else { return Err(Broken::Handshake("TLS runs already".into())) };
        let handshake = timeout(patience.answer, TlsConnector::from(config).connect(host, tcp));
        let mut stop = patience.stop.clone();
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = stop.requested() => return Err(Broken::Stopped),
        };
        let tls = match shaken {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return Err(Broken::Handshake(error.to_string())),
            Err(_) => return Err(Broken::Handshake("no answer in time".into())),
        };
        let (_, session) = tls.get_ref();
        let version = session.protocol_version().map_or_else(String::new, |version| format!("{version:?}"));
        let cipher = session.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite()));
        let (stream, input) = (Stream::Tls(Box::new(tls)), BytesMut::new());
        Ok(Client { stream, input, extensions: Extensions::default(), tls: Some((version, cipher)), patience })
    }

    /// Logs in (RFC 4954): by PLAIN (RFC 4616), or by LOGIN where that is all the server knows.
    pub(super) async fn log_in(&mut self, name: &str, password: &str) -> Result<(), Broken> {
        let offers = |mechanism: &str| self.extensions.mechanisms.iter().any(|known| known == mechanism);
        let answer = if offers("LOGIN") && !offers("PLAIN") {
            let mut answer = self.ask(Step::Login, "AUTH LOGIN\r\n").await?;
            for response in [name, password] {
                if answer.code != 334 {
                    break;
                }
                answer = self.ask(Step::Login, &format!("{}\r\n", STANDARD.encode(response))).await?;
            }
            answer
        } else {
            let response = STANDARD.encode(format!("\0{name}\0{password}"));
            self.ask(Step::Login, &format!("AUTH PLAIN {response}\r\n")).await?
        };
        if answer.is_good() { Ok(()) } else { Err(Broken::NoLogin(answer.to_string())) }
    }

    /// Hands a message over: what became of each recipient, as far as it is known, and why it is not known of the
    /// others. `fence` is asked right before the message becomes the server's: nobody else may hand it over meanwhile.
    pub(super) async fn send(
        &mut self,
        letter: &Letter<'_>,
        fence: impl Future<Output = bool>,
    ) -> (Vec<Option<Verdict>>, Result<(), Broken>) {
        let mut verdicts = vec![None; letter.recipients.len()];
        let ended = self.transact(letter, &mut verdicts, fence).await;
        (verdicts, ended)
    }

    async fn transact(
        &mut self,
        letter: &Letter<'_>,
        verdicts: &mut [Option<Verdict>],
        fence: impl Future<Output = bool>,
    ) -> Result<(), Broken> {
        if let Err(broken) = self.envelope(letter, verdicts).await {
            // Who was taken was taken for a message that never came; a refusal that was heard stands.
            verdicts.iter_mut().for_each(forget_taken);
            return Err(broken);
        }
        if !verdicts.iter().any(is_taken) {
            return self.reset().await;
        }
        let ended = match letter.is_binary {
            true => self.count(letter, verdicts, fence).await,
            false => self.data(letter, verdicts, fence).await,
        };
        match ended {
            Ok(Some(answer)) => {
                // A chunk that was refused leaves the transaction open, or not (RFC 3030 §2).
                let reset = if letter.is_binary && !answer.is_good() { self.reset().await } else { Ok(()) };
                for verdict in verdicts.iter_mut().filter(|verdict| is_taken(verdict)) {
                    let answer = answer.clone();
                    *verdict = Some(if answer.is_good() { Verdict::Taken(answer) } else { Verdict::Unwanted(answer) });
                }
                reset
            }
            Ok(None) => self.reset().await,
            Err(broken) => {
                verdicts.iter_mut().for_each(forget_taken);
                Err(broken)
            }
        }
    }

    /// MAIL and RCPT: what the server says of each recipient. A refusal of MAIL is one of all.
    async fn envelope(&mut self, letter: &Letter<'_>, verdicts: &mut [Option<Verdict>]) -> Result<(), Broken> {
        let at_once = if self.extensions.pipelining { GROUP } else { 1 };
        let mut begun = None;
        if !self.extensions.pipelining {
            begun = Some(self.ask(Step::Mail, &letter.mail).await?);
        }
        for (number, group) in letter.recipients.chunks(at_once).enumerate() {
            if begun.as_ref().is_some_and(|begun| !begun.is_good()) {
                break;
            }
            // MAIL goes with the first group (RFC 2920 §3.1).
            let first = if begun.is_none() { letter.mail.as_str() } else { "" };
            self.say(Step::Rcpt, format!("{first}{}", group.concat()).as_bytes()).await?;
            if begun.is_none() {
                begun = Some(self.answer(Step::Mail).await?);
            }
            for verdict in verdicts.iter_mut().skip(number * at_once).take(group.len()) {
                let refused = begun.as_ref().filter(|begun| !begun.is_good());
                match (self.answer(Step::Rcpt).await, refused) {
                    (Ok(_), Some(_)) => {}
                    (Ok(answer), None) if answer.is_good() => *verdict = Some(Verdict::Taken(answer)),
                    (Ok(answer), None) => *verdict = Some(Verdict::Refused(answer)),
                    // It was heard why before the connection went.
                    (Err(broken), Some(refused)) => {
                        verdicts.fill(Some(Verdict::Unwanted(refused.clone())));
                        return Err(broken);
                    }
                    (Err(broken), None) => return Err(broken),
                }
            }
        }
        if let Some(refused) = begun.filter(|begun| !begun.is_good()) {
            verdicts.fill(Some(Verdict::Unwanted(refused)));
        }
        Ok(())
    }

    /// The content by DATA, and the answer to it; `None` when it was not asked for, which the verdicts tell.
    async fn data(
        &mut self,
        letter: &Letter<'_>,
        verdicts: &mut [Option<Verdict>],
        fence: impl Future<Output = bool>,
    ) -> Result<Option<Answer>, Broken> {
        let data = self.ask(Step::Data, "DATA\r\n").await?;
        match data.code / 100 {
            3 => {}
            4 | 5 => {
                let taken = verdicts.iter_mut().filter(|verdict| is_taken(verdict));
                taken.for_each(|verdict| *verdict = Some(Verdict::Unwanted(data.clone())));
                return Ok(None);
            }
            // A yes where the content should be asked for: its answers are out of step.
            _ => return Err(Broken::Garbled(Step::Data, Garbled::Unasked)),
        }
        let written = match within(self.patience.for_content(letter.len()), self.write_content(letter)).await {
            Ok(()) => self.nothing_came(Step::Content).await,
            broken => broken,
        };
        if let Err(broken) = written {
            return Err(self.interrupted(broken, verdicts).await);
        }
        if !fence.await {
            return Err(Broken::Yielded);
        }
        self.write(Step::End, b".\r\n").await?;
        self.taken().await.map(Some)
    }

    /// Why the content did not get through: where the server has said so, its refusal counts. A yes would be one to
    /// what it has not seen.
    async fn interrupted(&mut self, broken: Broken, verdicts: &mut [Option<Verdict>]) -> Broken {
        if !matches!(broken, Broken::Stopped)
            && let Ok(Ok(refused)) = timeout(LAST_WORDS, self.read(Step::Content)).await
            && matches!(refused.code / 100, 4 | 5)
        {
            let taken = verdicts.iter_mut().filter(|verdict| is_taken(verdict));
            taken.for_each(|verdict| *verdict = Some(Verdict::Unwanted(refused.clone())));
        }
        broken
    }

    /// The content by BDAT (RFC 3030), of any octets.
    async fn count(
        &mut self,
        letter: &Letter<'_>,
        verdicts: &mut [Option<Verdict>],
        fence: impl Future<Output = bool>,
    ) -> Result<Option<Answer>, Broken> {
        if let Err(broken) = within(self.patience.for_content(letter.len()), self.write_chunk(letter)).await {
            return Err(self.interrupted(broken, verdicts).await);
        }
        let heard = self.answer(Step::Content).await?;
        match heard.code / 100 {
            2 => {}
            4 | 5 => return Ok(Some(heard)),
            _ => return Err(Broken::Garbled(Step::Content, Garbled::Unasked)),
        }
        // The end comes by itself, so that nobody else can have the message when it does.
        if !fence.await {
            return Err(Broken::Yielded);
        }
        self.nothing_came(Step::Content).await?;
        self.write(Step::End, b"BDAT 0 LAST\r\n").await?;
        self.taken().await.map(Some)
    }

    /// Writes the content as one chunk.
    async fn write_chunk(&mut self, letter: &Letter<'_>) -> Result<(), Broken> {
        self.say(Step::Content, format!("BDAT {}\r\n", letter.len()).as_bytes()).await?;
        self.write(Step::Content, letter.head).await?;
        let mut reader = letter.content.reader(letter.start..letter.content.len());
        while let Some(piece) = next(&mut reader).await? {
            self.write(Step::Content, &piece).await?;
        }
        Ok(())
    }

    /// The answer to a whole message: what is neither yes nor no leaves open whether it was taken.
    async fn taken(&mut self) -> Result<Answer, Broken> {
        let answer = self.answer(Step::End).await?;
        match answer.code {
            220 | 221 | 300..=399 => Err(Broken::Garbled(Step::End, Garbled::Unasked)),
            _ => Ok(answer),
        }
    }

    /// Writes the content with dots stuffed (RFC 5321 §4.5.2), up to the line that ends it.
    async fn write_content(&mut self, letter: &Letter<'_>) -> Result<(), Broken> {
        let mut reader = letter.content.reader(letter.start..letter.content.len());
        let (mut out, mut last) = (Vec::with_capacity(PIECE + 1024), [b'\r', b'\n']);
        out.extend_from_slice(letter.head);
        loop {
            let Some(piece) = next(&mut reader).await? else { break };
            for line in piece.split_inclusive(|byte| *byte == b'\n') {
                if last == *b"\r\n" && line.first() == Some(&b'.') {
                    out.push(b'.');
                }
                out.extend_from_slice(line);
                last = match *line {
                    [.., one, two] => [one, two],
                    [one] => [last[1], one],
                    [] => last,
                };
                if out.len() >= PIECE {
                    self.write(Step::Content, &out).await?;
                    out.clear();
                }
            }
        }
        if last != *b"\r\n" {
            out.extend_from_slice(b"\r\n");
        }
        self.write(Step::Content, &out).await
    }

    /// Ends a transaction that was begun.
    async fn reset(&mut self) -> Result<(), Broken> {
        let answer = self.ask(Step::Mail, "RSET\r\n").await?;
        if answer.is_good() { Ok(()) } else { Err(Broken::Refused(Step::Mail, answer)) }
    }

    /// Says goodbye, and does not wait long for an answer.
    pub(super) async fn quit(mut self) {
        let goodbye = async {
            self.say(Step::End, b"QUIT\r\n").await?;
            self.answer(Step::Mail).await
        };
        let _ = timeout(QUIT, goodbye).await;
        let _ = timeout(QUIT, self.stream.shutdown()).await;
    }

    async fn ask(&mut self, step: Step, command: &str) -> Result<Answer, Broken> {
        self.say(step, command.as_bytes()).await?;
        self.answer(step).await
    }

    /// Sends commands. What came before they were sent answers none of them.
    async fn say(&mut self, step: Step, commands: &[u8]) -> Result<(), Broken> {
        self.nothing_came(step).await?;
        self.write(step, commands).await
    }

    /// Whether the server was silent since its last answer: what it says unasked answers nothing.
    async fn nothing_came(&mut self, step: Step) -> Result<(), Broken> {
        if self.input.is_empty() {
            self.input.reserve(1024);
            let (stream, input) = (&mut self.stream, &mut self.input);
            let read = poll_fn(|cx| Poll::Ready(pin!(stream.read_buf(input)).poll(cx))).await;
            match read {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(Broken::Lost(step, "the server closed the connection".into())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(Broken::Lost(step, error.to_string())),
            }
        }
        Err(Broken::Ahead(step))
    }

    async fn write(&mut self, step: Step, octets: &[u8]) -> Result<(), Broken> {
        let (stream, mut stop) = (&mut self.stream, self.patience.stop.clone());
        let written = async {
            stream.write_all(octets).await?;
            stream.flush().await
        };
        tokio::select! {
            written = written => written.map_err(|error| Broken::Lost(step, error.to_string())),
            // Once its end may have gone, it must be heard whether the message was taken.
            () = stop.requested(), if step != Step::End => Err(Broken::Stopped),
        }
    }

    /// The next reply, all of which must come in time.
    async fn answer(&mut self, step: Step) -> Result<Answer, Broken> {
        let mut stop = self.patience.stop.clone();
        let time = if step == Step::End { self.patience.end } else { self.patience.answer };
        tokio::select! {
            answer = timeout(time, self.read(step)) => {
                answer.unwrap_or_else(|_| Err(Broken::Lost(step, "no answer in time".into())))
            }
            () = stop.requested(), if step != Step::End => Err(Broken::Stopped),
        }
    }

    async fn read(&mut self, step: Step) -> Result<Answer, Broken> {
        let mut reading = Reading::default();
        loop {
            while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line = self.input.split_to(end);
                self.input.advance(1);
                let line = line.strip_suffix(b"\r").unwrap_or(&line);
                match reading.take(line) {
                    Ok(Some(answer)) => return Ok(answer),
                    Ok(None) => {}
                    Err(garbled) => return Err(Broken::Garbled(step, garbled)),
                }
            }
            if self.input.len() > LINE {
                return Err(Broken::Garbled(step, Garbled::Endless));
            }
            self.input.reserve(1024);
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return Err(Broken::Lost(step, "the server closed the connection".into())),
                Ok(_) => {}
                Err(error) => return Err(Broken::Lost(step, error.to_string())),
            }
        }
    }
}

/// What was written, or that it was not in time.
async fn within(limit: Duration, written: impl Future<Output = Result<(), Broken>>) -> Result<(), Broken> {
    let slow = |_| Err(Broken::Lost(Step::Content, "it takes the message too slowly".into()));
    timeout(limit, written).await.unwrap_or_else(slow)
}

/// The next piece of a content; without its end nobody takes it for a message.
async fn next(reader: &mut ContentReader) -> Result<Option<Bytes>, Broken> {
    reader.next().await.map_err(|error| Broken::Lost(Step::Content, error.to_string()))
}

fn is_taken(verdict: &Option<Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Taken(_)))
}

fn forget_taken(verdict: &mut Option<Verdict>) {
    if is_taken(verdict) {
        *verdict = None;
    }
}

/// What bytes go over.
enum Stream {
    Plain(Paced<TcpStream>),
    Tls(Box<TlsStream<Paced<TcpStream>>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_content_has_so_long_and_no_longer() {
        let (second, (_trigger, stop)) = (Duration::from_secs(1), Shutdown::channel());
        let patience = Patience { connect: second, answer: second, end: second * 600, stop };
        assert_eq!(patience.for_content(SLOWEST * 50), second * 650);
        assert!(within(second * 60, std::future::ready(Ok(()))).await.is_ok());
        let lost = within(second / 100, std::future::pending()).await.unwrap_err();
        assert!(matches!(lost, Broken::Lost(Step::Content, why) if why.contains("too slowly")));
    }
}
