//! One connection to another server (RFC 5321 §3): the greeting, TLS, transactions. It says what was said; what follows
//! from it is up to the courier.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use protocol::Paced;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use storage::Content;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::answer::{Answer, Extensions, Garbled, LINE, Reading};

/// How long each step may take (RFC 5321 §4.5.3.2, where it asks for more than anyone waits otherwise).
const CONNECT: Duration = Duration::from_secs(30);
const COMMAND: Duration = Duration::from_secs(300);
const HANDSHAKE: Duration = Duration::from_secs(120);
const DATA: Duration = Duration::from_secs(120);
const END: Duration = Duration::from_secs(600);
const QUIT: Duration = Duration::from_secs(5);
/// How many recipients are said before anyone looks at an answer.
const GROUP: usize = 100;
/// How much of a message is written at once.
const PIECE: usize = 64 << 10;

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
    Refused(Answer),
    /// The handshake failed.
    Handshake(String),
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The message was taken for it.
    Taken(Answer),
    /// It, or the message, was refused.
    Refused(Answer),
}

/// What is said of a message before its content.
pub(super) struct Letter<'a> {
    /// MAIL FROM, with its parameters.
    pub(super) mail: String,
    /// RCPT TO for each recipient, with its parameters.
    pub(super) recipients: Vec<String>,
    /// Fields that go before the content.
    pub(super) head: &'a [u8],
    /// The content.
    pub(super) content: &'a Content,
    /// Where in it the message begins.
    pub(super) start: u64,
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
}

impl Client {
    /// Connects, and hears the greeting.
    pub(super) async fn connect(address: SocketAddr, from: Option<SocketAddr>) -> Result<Client, Broken> {
        let connect = async {
            let socket = match address {
                SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
                SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
            };
            if let Some(from) = from {
                socket.bind(from)?;
            }
            socket.connect(address).await
        };
        let connected = timeout(CONNECT, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let lost = |error: io::Error| Broken::Lost(Step::Connect, error.to_string());
        let tcp = connected.map_err(lost)?;
        tcp.set_nodelay(true).map_err(lost)?;
        let (stream, input) = (Stream::Plain(Paced::new(tcp)), BytesMut::new());
        let mut client = Client { stream, input, extensions: Extensions::default(), tls: None };
        let greeting = client.answer(Step::Greeting, COMMAND).await?;
        if greeting.code == 220 { Ok(client) } else { Err(Broken::Refused(greeting)) }
    }

    /// Says who we are, with HELO where EHLO is not known.
    pub(super) async fn hello(&mut self, name: &str) -> Result<(), Broken> {
        let answer = self.ask(Step::Hello, &format!("EHLO {name}\r\n"), COMMAND).await?;
        if answer.is_good() {
            self.extensions = Extensions::of(&answer);
            return Ok(());
        }
        self.extensions = Extensions::default();
        if !(500..=504).contains(&answer.code) {
            return Err(Broken::Refused(answer));
        }
        let answer = self.ask(Step::Hello, &format!("HELO {name}\r\n"), COMMAND).await?;
        if answer.is_good() { Ok(()) } else { Err(Broken::Refused(answer)) }
    }

    /// Begins TLS; nothing that was said before counts any more (RFC 3207 §4.2). The refusal, where the server does not
    /// want to.
    pub(super) async fn start_tls(
        mut self,
        config: Arc<ClientConfig>,
        host: ServerName<'static>,
    ) -> Result<Result<Client, (Client, Answer)>, Broken> {
        let answer = self.ask(Step::Tls, "STARTTLS\r\n", COMMAND).await?;
        if answer.code != 220 {
            return Ok(Err((self, answer)));
        }
        if !self.input.is_empty() {
            // Said in the clear, perhaps by somebody else (CVE-2021-38371).
            return Err(Broken::Ahead(Step::Tls));
        }
        let Stream::Plain(tcp) = self.stream else { return Err(Broken::Handshake("TLS runs already".into())) };
        let handshake = TlsConnector::from(config).connect(host, tcp);
        let tls = match timeout(HANDSHAKE, handshake).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return Err(Broken::Handshake(error.to_string())),
            Err(_) => return Err(Broken::Handshake("no answer in time".into())),
        };
        let (_, session) = tls.get_ref();
        let version = session.protocol_version().map_or_else(String::new, |version| format!("{version:?}"));
        let cipher = session.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite()));
        let (stream, input) = (Stream::Tls(Box::new(tls)), BytesMut::new());
        Ok(Ok(Client { stream, input, extensions: Extensions::default(), tls: Some((version, cipher)) }))
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
        let refuse_all = |verdicts: &mut [Option<Verdict>], answer: &Answer| {
            for verdict in verdicts.iter_mut().filter(|verdict| !matches!(verdict, Some(Verdict::Refused(_)))) {
                *verdict = Some(Verdict::Refused(answer.clone()));
            }
        };
        let at_once = if self.extensions.pipelining { GROUP } else { 1 };
        let mut begun = None;
        if !self.extensions.pipelining {
            begun = Some(self.ask(Step::Mail, &letter.mail, COMMAND).await?);
        }
        for (number, group) in letter.recipients.chunks(at_once).enumerate() {
            if begun.as_ref().is_some_and(|begun| !begun.is_good()) {
                break;
            }
            // MAIL goes with the first group (RFC 2920 §3.1).
            let first = if begun.is_none() { letter.mail.as_str() } else { "" };
            self.say(Step::Rcpt, format!("{first}{}", group.concat()).as_bytes()).await?;
            if begun.is_none() {
                begun = Some(self.answer(Step::Mail, COMMAND).await?);
            }
            for verdict in verdicts.iter_mut().skip(number * at_once).take(group.len()) {
                let answer = self.answer(Step::Rcpt, COMMAND).await?;
                *verdict = Some(if answer.is_good() { Verdict::Taken(answer) } else { Verdict::Refused(answer) });
            }
        }
        let begun = begun.unwrap_or(Answer { code: 503, lines: vec![] });
        if !begun.is_good() {
            verdicts.iter_mut().for_each(|verdict| *verdict = None);
            refuse_all(verdicts, &begun);
            return self.reset().await;
        }
        if !verdicts.iter().any(|verdict| matches!(verdict, Some(Verdict::Taken(_)))) {
            return self.reset().await;
        }
        let data = self.ask(Step::Data, "DATA\r\n", DATA).await;
        let known = std::mem::take(&mut verdicts.to_vec());
        let forget = |verdicts: &mut [Option<Verdict>]| {
            for (verdict, known) in verdicts.iter_mut().zip(&known) {
                *verdict = known.clone().filter(|verdict| matches!(verdict, Verdict::Refused(_)));
            }
        };
        let data = match data {
            Ok(data) => data,
            Err(broken) => {
                forget(verdicts);
                return Err(broken);
            }
        };
        if data.code != 354 {
            refuse_all(verdicts, &data);
            // A yes where the content should be asked for is no answer at all.
            return if data.is_good() { Err(Broken::Ahead(Step::Data)) } else { self.reset().await };
        }
        let ended = async {
            self.write_content(letter).await?;
            if !self.input.is_empty() {
                return Err(Broken::Ahead(Step::Content));
            }
            if !fence.await {
                return Err(Broken::Lost(Step::Content, "somebody else sends it".into()));
            }
            self.ask(Step::End, ".\r\n", END).await
        };
        match ended.await {
            Ok(answer) if answer.is_good() => {
                for verdict in verdicts.iter_mut().filter(|verdict| matches!(verdict, Some(Verdict::Taken(_)))) {
                    *verdict = Some(Verdict::Taken(answer.clone()));
                }
                Ok(())
            }
            Ok(answer) => {
                refuse_all(verdicts, &answer);
                Ok(())
            }
            Err(broken) => {
                forget(verdicts);
                Err(broken)
            }
        }
    }

    /// Writes the content with dots stuffed (RFC 5321 §4.5.2), up to the line that ends it.
    async fn write_content(&mut self, letter: &Letter<'_>) -> Result<(), Broken> {
        let mut reader = letter.content.reader(letter.start..letter.content.len());
        let (mut out, mut last) = (Vec::with_capacity(PIECE + 1024), [b'\r', b'\n']);
        out.extend_from_slice(letter.head);
        loop {
            let piece = match reader.next().await {
                Ok(piece) => piece,
                // Without its end nobody takes it for a message.
                Err(error) => return Err(Broken::Lost(Step::Content, error.to_string())),
            };
            let Some(piece) = piece else { break };
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
        let answer = self.ask(Step::Mail, "RSET\r\n", COMMAND).await?;
        if answer.is_good() { Ok(()) } else { Err(Broken::Refused(answer)) }
    }

    /// Says goodbye, and does not wait long for an answer.
    pub(super) async fn quit(mut self) {
        let goodbye = async {
            self.say(Step::End, b"QUIT\r\n").await?;
            self.answer(Step::End, QUIT).await
        };
        let _ = timeout(QUIT, goodbye).await;
        let _ = timeout(QUIT, self.stream.shutdown()).await;
    }

    async fn ask(&mut self, step: Step, command: &str, time: Duration) -> Result<Answer, Broken> {
        self.say(step, command.as_bytes()).await?;
        self.answer(step, time).await
    }

    /// Sends commands. What came before they were sent answers none of them.
    async fn say(&mut self, step: Step, commands: &[u8]) -> Result<(), Broken> {
        if !self.input.is_empty() {
            return Err(Broken::Ahead(step));
        }
        self.write(step, commands).await
    }

    async fn write(&mut self, step: Step, octets: &[u8]) -> Result<(), Broken> {
        let written = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| Broken::Lost(step, error.to_string()))
    }

    /// The next reply, all of which must come in time.
    async fn answer(&mut self, step: Step, time: Duration) -> Result<Answer, Broken> {
        let read = async {
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
        };
        timeout(time, read).await.unwrap_or_else(|_| Err(Broken::Lost(step, "no answer in time".into())))
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
