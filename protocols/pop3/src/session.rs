//! One session: its states and the one loop that reads, asks the table, runs the operation and writes.

use std::sync::Arc;

use protocol::{Closed, Conn, ReadError, SASL_LINE, TlsWish, Wire, stranger_idle};

use crate::Pop3;
use crate::codec::{COMMAND, Command};
use crate::commands::{Phase, Situation, refusal};
use crate::ops::maildrop::Maildrop;
use crate::ops::{self, Outcome};
use crate::reply::{self, Reply};

/// Where a session stands, with all that is valid there and nothing else.
pub(crate) enum State {
    /// Nobody is logged in, or TLS began and everything before it is forgotten.
    Authorization,
    /// USER gave a name.
    Named(String),
    /// Somebody is logged in, and has the maildrop locked until this is dropped.
    Transaction(Box<Maildrop>),
}

impl State {
    fn phase(&self) -> Phase {
        match self {
            State::Authorization => Phase::Authorization,
            State::Named(_) => Phase::Named,
            State::Transaction(_) => Phase::Transaction,
        }
    }
}

/// Speaks one connection to its end.
pub(crate) async fn run(pop3: Arc<Pop3>, conn: Conn) -> Closed {
    let greeting = Reply::ok(format!("{} {} POP3", pop3.services.hostname, pop3.config.banner));
    let mut session = Session::new(pop3, conn);
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
    pop3: Arc<Pop3>,
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
    fn new(pop3: Arc<Pop3>, conn: Conn) -> Self {
        Session { pop3, wire: Wire::new(conn), state: State::Authorization, strikes: 0 }
    }

    /// Reads one line and answers it.
    async fn turn(&mut self) -> Turn {
        let (limit, idle) = match self.state.phase() {
            Phase::Transaction => (COMMAND, self.pop3.idle()),
            Phase::Authorization | Phase::Named => (SASL_LINE, stranger_idle(self.pop3.idle())),
        };
        let line = match self.wire.line(limit, idle).await {
            Ok(line) => line,
            Err(error) => return self.unreadable(&error),
        };
        if !line.strict {
            return self.answer(reply::bare_line());
        }
        match Command::parse(&line.bytes) {
            Ok(command @ Command::Auth { .. }) => self.run(command).await,
            _ if line.bytes.len() > COMMAND => self.unreadable(&ReadError::TooLong(Box::default())),
            Ok(Command::Stls) => self.offer_tls().await,
            Ok(command) => self.run(command).await,
            Err(fault) => self.answer(fault.into()),
        }
    }

    /// Runs a command if the table allows it.
    async fn run(&mut self, command: Command) -> Turn {
        if let Some(refused) = refusal(&command, &self.situation()) {
            return self.answer(refused);
        }
        let (pop3, wire) = (&*self.pop3, &mut self.wire);
        let outcome = match (command, std::mem::replace(&mut self.state, State::Authorization)) {
            (Command::User(name), _) => Ok((State::Named(name), Some(Reply::ok("Send PASS")))),
            (Command::Pass(password), State::Named(name)) => ops::login::pass(pop3, wire, name, password).await,
            (Command::Auth { mechanism: Some(mechanism), initial }, state) => {
                ops::login::auth(pop3, wire, state, &mechanism, initial).await
            }
            (Command::Auth { mechanism: None, .. }, state) => ops::capa::mechanisms(pop3, wire, state).await,
            (Command::Capa, state) => ops::capa::capa(pop3, wire, state).await,
            // Names and passwords are UTF-8 with or without it, and contents are never altered (RFC 6856 §2).
            (Command::Utf8, state) => Ok((state, Some(Reply::ok("UTF-8 it is")))),
            (Command::Quit, state) => ops::maildrop::quit(wire, state).await,
            (command, State::Transaction(maildrop)) => ops::maildrop::run(wire, maildrop, command).await,
            (_, state) => ops::out_of_sequence(state),
        };
        self.settle(outcome)
    }

    fn settle(&mut self, outcome: Outcome) -> Turn {
        match outcome {
            Ok((state, reply)) => {
                self.state = state;
                match reply {
                    Some(reply) => self.answer(reply),
                    None => self.done(),
                }
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
        if reply.ok {
            return self.done();
        }
        self.strikes += u32::from(reply.is_strike());
        if self.strikes < self.pop3.config.max_errors {
            return Turn::Next;
        }
        self.answer(reply::too_many_errors())
    }

    /// Something went well. Whoever is logged in is forgiven by it: errors count in a row, since a session may be long.
    fn done(&mut self) -> Turn {
        if self.state.phase() == Phase::Transaction {
            self.strikes = 0;
        }
        Turn::Next
    }

    fn unreadable(&mut self, error: &ReadError) -> Turn {
        match (reply::no_line(error), self.state.phase()) {
            (Some(reply), _) => self.answer(reply),
            (None, Phase::Authorization | Phase::Named) => Turn::End(Closed::Quit),
            // Without QUIT there is no UPDATE: nothing is removed (RFC 1939 §6).
            (None, Phase::Transaction) => Turn::End(Closed::Lost),
        }
    }

    /// STLS, up to the reply that the handshake follows.
    async fn offer_tls(&mut self) -> Turn {
        if let Some(refused) = refusal(&Command::Stls, &self.situation()) {
            return self.answer(refused);
        }
        match self.wire.tls_wish() {
            TlsWish::Granted => {}
            TlsWish::Active => return self.answer(Reply::err("TLS is active already")),
            TlsWish::Unavailable => return self.answer(Reply::err("TLS is not available here")),
            TlsWish::Injected => {
                let peer = self.wire.conn.peer();
                self.pop3.services.auth.refusal(peer, None, "pop3.stls", "", "octets in the clear behind STLS").await;
                return self.answer(Reply::err("Nothing may follow STLS; goodbye").closing(Closed::Abuse));
            }
        }
        Reply::ok("Begin TLS").write(&mut self.wire.out);
        match self.wire.flush().await {
            Ok(()) => Turn::Tls,
            Err(_) => Turn::End(Closed::Lost),
        }
    }

    async fn start_tls(self) -> Result<Session, Closed> {
        let Session { pop3, wire, strikes, .. } = self;
        Ok(Session { strikes, ..Session::new(pop3, wire.start_tls().await?) })
    }

    fn situation(&self) -> Situation {
        let private = self.pop3.services.auth.cleartext_allowed(self.wire.conn.peer());
        Situation { phase: self.state.phase(), private }
    }
}
