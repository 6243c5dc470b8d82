//! One session: its states and the one loop that reads, asks the table, runs the operation and writes.

use std::sync::Arc;

use auth::{Principal, Recipient, TraceId};
use protocol::{Closed, Conn, ReadError, SASL_LINE, TlsWish, Wire};
use storage::{Manner, Notice};

use crate::codec::{Command, Mailbox};
use crate::commands::{Phase, Situation, refusal};
use crate::filters::dnsbl::Verdict;
use crate::ops::message::Intake;
use crate::ops::{self, Outcome};
use crate::reply::{self, Reply};
use crate::{LMTP, SUBMISSION, Smtp};

/// The longest command line: RFC 5321 §4.5.3.1.4 asks for 512 octets, extensions add to it.
const COMMAND: usize = 2048;

/// Where a session stands, with all that is valid there and nothing else.
pub(crate) enum State {
    /// The client has not greeted, or TLS began and everything before it is forgotten.
    Start,
    /// It has greeted; no transaction.
    Greeted(Client),
    /// Between MAIL and the message.
    Mail(Client, Transaction),
    /// BDAT brought a part of the message.
    Chunks(Client, Transaction, Box<Intake>),
}

/// What the client said of itself.
pub(crate) struct Client {
    /// The name it greeted with.
    pub(crate) name: String,
    /// Whether with EHLO, or LHLO.
    pub(crate) extended: bool,
    /// Whether with LHLO.
    pub(crate) lmtp: bool,
    /// Who logged in.
    pub(crate) login: Option<Principal>,
    /// What lists of addresses say of it, once they were asked.
    pub(crate) listed: Option<Verdict>,
    /// For how many recipients it was asked to come back.
    pub(crate) put_off: u32,
}

/// One mail transaction.
pub(crate) struct Transaction {
    /// Its own id: stands in the last reply, in the header and in the audit log.
    pub(crate) trace: TraceId,
    /// `None` for the null path.
    pub(crate) from: Option<Mailbox>,
    /// Whether MAIL said SMTPUTF8.
    pub(crate) utf8: bool,
    /// How long the message is, as MAIL said (RFC 1870 §6).
    pub(crate) size: Option<u64>,
    /// How the message asks to be passed on.
    pub(crate) manner: Manner,
    /// Whom it is for, and what the sender wants to hear about that.
    pub(crate) to: Vec<(Recipient, Notice)>,
    /// The recipients that were taken, by their places in `to`: one that was named twice is there twice.
    pub(crate) taken: Vec<usize>,
}

impl State {
    /// The one way out of a transaction, however it ended: only the client is kept.
    pub(crate) fn reset(self) -> State {
        match self.into_client() {
            Some(client) => State::Greeted(client),
            None => State::Start,
        }
    }

    pub(crate) fn into_client(self) -> Option<Client> {
        match self {
            State::Start => None,
            State::Greeted(client) | State::Mail(client, _) | State::Chunks(client, ..) => Some(client),
        }
    }

    fn client(&self) -> Option<&Client> {
        match self {
            State::Start => None,
            State::Greeted(client) | State::Mail(client, _) | State::Chunks(client, ..) => Some(client),
        }
    }

    fn phase(&self) -> Phase {
        match self {
            State::Start => Phase::Start,
            State::Greeted(_) => Phase::Greeted,
            State::Mail(_, mail) if mail.to.is_empty() => Phase::Sender,
            State::Mail(..) => Phase::Recipients,
            State::Chunks(..) => Phase::Chunks,
        }
    }
}

/// Speaks one connection to its end.
pub(crate) async fn run(smtp: Arc<Smtp>, conn: Conn) -> Closed {
    let spoken = if conn.listener().protocol == LMTP { "LMTP" } else { "ESMTP" };
    let greeting = Reply::new(220, format!("{} {spoken} {}", smtp.services.hostname, smtp.config.banner));
    let mut session = Session::new(smtp, conn);
    greeting.write(&mut session.wire.out);
    loop {
        match session.turn().await {
            Turn::Next => {}
            Turn::Tls => match session.start_tls().await {
                Ok(secured) => session = secured,
                Err(closed) => return closed,
            },
            Turn::End(closed) => {
                // Whoever is gone cannot be told; nothing else depends on it.
                let _ = session.wire.flush().await;
                session.wire.conn.close().await;
                return closed;
            }
        }
    }
}

struct Session {
    smtp: Arc<Smtp>,
    wire: Wire,
    state: State,
    strikes: u32,
}

/// What the loop does after one command.
enum Turn {
    Next,
    Tls,
    End(Closed),
}

impl Session {
    fn new(smtp: Arc<Smtp>, conn: Conn) -> Self {
        Session { smtp, wire: Wire::new(conn), state: State::Start, strikes: 0 }
    }

    /// Reads one line and answers it.
    async fn turn(&mut self) -> Turn {
        let limit = if self.submission() { SASL_LINE } else { COMMAND };
        let line = match self.wire.line(limit, self.smtp.idle()).await {
            Ok(line) => line,
            Err(error) => return self.unreadable(&error),
        };
        if !line.strict {
            self.audit("smtp.command", "a command line with a bare CR or LF").await;
            return self.answer(reply::bare_line());
        }
        match Command::parse(&line.bytes) {
            Ok(command @ Command::Auth { .. }) => self.run(command).await,
            _ if line.bytes.len() > COMMAND => self.unreadable(&ReadError::TooLong(Box::default())),
            Ok(Command::StartTls) => self.offer_tls().await,
            Ok(command) => self.run(command).await,
            Err(fault) => self.answer(fault.into()),
        }
    }

    /// Runs a command if the table allows it.
    async fn run(&mut self, command: Command) -> Turn {
        let refused = refusal(&command, &self.situation());
        let state = std::mem::replace(&mut self.state, State::Start);
        let (smtp, wire) = (&*self.smtp, &mut self.wire);
        let outcome: Outcome = match (refused, command) {
            // Its octets follow whether it is legal or not, and must not be taken for commands (RFC 3030 §4.2).
            (Some(refused), Command::Bdat { size, .. }) => {
                ops::message::skip(smtp, wire, size).await.map(|skipped| (state, skipped.unwrap_or(refused)))
            }
            (Some(refused), _) => Ok((state, refused)),
            (None, Command::Helo(name)) => ops::hello::helo(smtp, state, name),
            (None, Command::Ehlo(name) | Command::Lhlo(name)) => ops::hello::ehlo(smtp, wire, state, name),
            (None, Command::Auth { mechanism, initial }) => {
                ops::auth::auth(smtp, wire, state, &mechanism, initial).await
            }
            (None, Command::Mail { from, parameters }) => {
                ops::envelope::mail(smtp, wire, state, from, &parameters).await
            }
            (None, Command::Rcpt { to, parameters }) => ops::envelope::rcpt(smtp, wire, state, &to, parameters).await,
            (None, Command::Data) => ops::message::data(smtp, wire, state).await,
            (None, Command::Bdat { size, last }) => ops::message::bdat(smtp, wire, state, size, last).await,
            (None, Command::Rset) => Ok((state.reset(), Reply::new(250, "2.0.0 Ok"))),
            (None, Command::Quit) => Ok((State::Start, Reply::new(221, "2.0.0 Goodbye").closing(Closed::Quit))),
            (None, told) => ops::hello::told(state, &told),
        };
        match outcome {
            Ok((state, reply)) => {
                self.state = state;
                self.answer(reply)
            }
            Err(error) => match reply::no_line(&error) {
                Some(reply) => self.answer(reply),
                None => Turn::End(Closed::Lost),
            },
        }
    }

    /// Queues a reply, counts it against the client when it is a refusal, and says how to go on.
    fn answer(&mut self, reply: Reply) -> Turn {
        reply.write(&mut self.wire.out);
        if let Some(why) = reply.close {
            return Turn::End(why);
        }
        if reply.is_strike() {
            self.strikes += 1;
        } else if reply.ends_message() {
            self.strikes = 0;
        }
        if self.strikes < self.smtp.config.max_errors {
            return Turn::Next;
        }
        self.answer(reply::too_many_errors())
    }

    fn unreadable(&mut self, error: &ReadError) -> Turn {
        match (reply::no_line(error), self.state.phase()) {
            (Some(reply), _) => self.answer(reply),
            (None, Phase::Start | Phase::Greeted) => Turn::End(Closed::Quit),
            (None, _) => Turn::End(Closed::Lost),
        }
    }

    /// STARTTLS, up to the reply that the handshake follows.
    async fn offer_tls(&mut self) -> Turn {
        if let Some(refused) = refusal(&Command::StartTls, &self.situation()) {
            return self.answer(refused);
        }
        match self.wire.tls_wish() {
            TlsWish::Granted => {}
            TlsWish::Active => return self.answer(Reply::new(503, "5.5.1 TLS is active already")),
            TlsWish::Unavailable => return self.answer(Reply::new(502, "5.5.1 TLS is not available here")),
            TlsWish::Injected => {
                self.audit("smtp.starttls", "octets in the clear behind STARTTLS").await;
                let reply = Reply::new(554, "5.5.1 Nothing may follow STARTTLS; goodbye");
                return self.answer(reply.closing(Closed::Abuse));
            }
        }
        Reply::new(220, "2.0.0 Ready to start TLS").write(&mut self.wire.out);
        match self.wire.flush().await {
            Ok(()) => Turn::Tls,
            Err(_) => Turn::End(Closed::Lost),
        }
    }

    async fn start_tls(self) -> Result<Session, Closed> {
        let Session { smtp, wire, strikes, .. } = self;
        Ok(Session { strikes, ..Session::new(smtp, wire.start_tls().await?) })
    }

    fn submission(&self) -> bool {
        is_submission(&self.wire)
    }

    fn situation(&self) -> Situation {
        Situation {
            phase: self.state.phase(),
            submission: self.submission(),
            lmtp: is_lmtp(&self.wire),
            private: self.smtp.services.auth.cleartext_allowed(self.wire.conn.peer()),
            logged_in: self.state.client().is_some_and(|client| client.login.is_some()),
        }
    }

    async fn audit(&self, action: &'static str, detail: &str) {
        let who = self.state.client().and_then(|client| client.login.as_ref());
        self.smtp.services.auth.refusal(self.wire.conn.peer(), who, action, "", detail).await;
    }
}

/// Whether the listener takes mail from a server of this site, which hears of each recipient by itself (RFC 2033).
pub(crate) fn is_lmtp(wire: &Wire) -> bool {
    wire.conn.listener().protocol == LMTP
}

/// Whether the listener takes mail from users alone.
pub(crate) fn is_submission(wire: &Wire) -> bool {
    wire.conn.listener().protocol == SUBMISSION
}
