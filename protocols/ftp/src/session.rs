//! One control connection: its state, and the one loop that reads, judges, carries out and answers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use auth::Session as Login;
use protocol::{Closed, Conn, Passive, Protection, ReadError, stranger_idle};
use storage::VPath;

use crate::Ftp;
use crate::codec::{Command, Malformed};
use crate::commands;
use crate::ops;
use crate::ops::list::Facts;
use crate::reply::Reply;

/// The longest command line, in bytes: a path of 4096 and room to spare.
pub(crate) const LINE: usize = 8 << 10;
/// How many lines that are no command end a session.
const STRIKES: u32 = 20;
/// How many refused log-ins end a session.
const LOGINS: u32 = 5;

/// What is valid now.
pub(crate) enum State {
    /// Nobody is logged in.
    Stranger,
    /// A name was given and the password is awaited.
    Named(String),
    /// Somebody is logged in.
    User(Box<User>),
}

/// What only exists for one who is logged in.
pub(crate) struct User {
    pub(crate) login: Login,
    pub(crate) folder: VPath,
    /// Where the next transfer begins (REST).
    pub(crate) offset: u64,
    /// What RNTO will rename.
    pub(crate) rename: Option<VPath>,
    pub(crate) facts: Facts,
    /// The algorithm of HASH.
    pub(crate) hash: ops::info::Algorithm,
}

/// How the next data connection opens.
pub(crate) enum Route {
    Passive(Passive),
    Active(SocketAddr),
}

/// A session.
pub(crate) struct Session {
    pub(crate) ftp: Arc<Ftp>,
    pub(crate) conn: Conn,
    pub(crate) state: State,
    pub(crate) route: Option<Route>,
    /// Whether PBSZ was said, without which PROT is not taken (RFC 4217 §9).
    pub(crate) sized: bool,
    pub(crate) private: bool,
    /// After EPSV ALL no other way is taken (RFC 2428 §4).
    pub(crate) only_epsv: bool,
    /// Commands that came during a transfer and wait for its end.
    pub(crate) waiting: VecDeque<Command>,
    strikes: u32,
    refused: u32,
}

/// What follows a command.
pub(crate) enum Next {
    /// Say this and go on.
    Say(Reply),
    /// Begin TLS after saying this.
    Secure(Reply),
    /// Say this and close.
    End(Reply, Closed),
    /// The connection is gone.
    Gone(Closed),
}

impl From<Reply> for Next {
    fn from(reply: Reply) -> Self {
        Next::Say(reply)
    }
}

/// Speaks one connection to its end.
pub(crate) async fn run(ftp: Arc<Ftp>, conn: Conn) -> Closed {
    let greeting = Reply::new(220, format!("{} {} FTP", ftp.services.hostname, ftp.config.banner));
    let mut session = Session::new(ftp, conn);
    if session.say(&greeting).await.is_err() {
        return Closed::Lost;
    }
    loop {
        let next = session.turn().await;
        let (reply, end) = match next {
            Next::Gone(closed) => return closed,
            Next::Say(reply) => (reply, None),
            Next::End(reply, closed) => (reply, Some(closed)),
            Next::Secure(reply) => {
                if session.say(&reply).await.is_err() {
                    return Closed::Lost;
                }
                // Everything the plaintext session knew goes with it (RFC 4217 §4.1).
                let ftp = session.ftp;
                match session.conn.start_tls().await {
                    Ok(conn) => session = Session::new(ftp, conn),
                    Err(_) => return Closed::Tls,
                }
                continue;
            }
        };
        if session.say(&reply).await.is_err() {
            return Closed::Lost;
        }
        if let Some(closed) = end {
            session.conn.close().await;
            return closed;
        }
    }
}

impl Session {
    fn new(ftp: Arc<Ftp>, conn: Conn) -> Self {
        let private = conn.secure() && conn.listener().mode == protocol::TlsMode::Implicit;
        Session {
            ftp,
            conn,
            state: State::Stranger,
            route: None,
            sized: private,
            private,
            only_epsv: false,
            waiting: VecDeque::new(),
            strikes: 0,
            refused: 0,
        }
    }

    pub(crate) async fn say(&mut self, reply: &Reply) -> std::io::Result<()> {
        self.conn.write(&reply.render()).await
    }

    /// Reads one command and carries it out.
    async fn turn(&mut self) -> Next {
        let idle = match self.state {
            State::User(_) => self.ftp.idle(),
            State::Stranger | State::Named(_) => stranger_idle(self.ftp.idle()),
        };
        let command = match self.waiting.pop_front() {
            Some(command) => command,
            None => match self.conn.line(LINE, idle).await {
                Ok(line) => match Command::parse(&line.bytes) {
                    Ok(command) => command,
                    Err(Malformed::Verb) => return self.strike(Reply::new(500, "That is not a command; try HELP.")),
                    Err(Malformed::Text) => {
                        return self.strike(Reply::new(501, "A command is UTF-8 text without NUL."));
                    }
                },
                Err(error) => return self.unread(&error),
            },
        };
        let Some(rule) = commands::rule(&command.verb) else {
            return self.strike(Reply::new(500, format!("{} is not known here; try HELP.", command.verb)));
        };
        if rule.login && !matches!(self.state, State::User(_)) {
            return self.strike(Reply::new(530, "Log in first with USER and PASS."));
        }
        // Errors count in a row: a session of hours may hold a few commands that are not known here.
        if rule.login {
            self.strikes = 0;
        }
        let next = self.dispatch(&command).await;
        // REST holds for the next transfer, RNFR for the very next command (RFC 959 §4.1.3).
        if let State::User(user) = &mut self.state {
            // Not dropped earlier: a client that asks for SIZE in between was told 350, and would take the whole file
            // for the rest of it.
            if matches!(command.verb.as_str(), "RETR" | "STOR" | "STOU" | "APPE" | "LIST" | "NLST" | "MLSD") {
                user.offset = 0;
            }
            if command.verb != "RNFR" {
                user.rename = None;
            }
        }
        next
    }

    async fn dispatch(&mut self, command: &Command) -> Next {
        let argument = command.argument.as_str();
        match command.verb.as_str() {
            "AUTH" | "PBSZ" | "PROT" | "CCC" | "USER" | "PASS" | "ACCT" | "REIN" => {
                ops::login::run(self, &command.verb, argument).await
            }
            "QUIT" => Next::End(Reply::new(221, "Goodbye."), Closed::Quit),
            "PASV" | "EPSV" | "PORT" | "EPRT" => ops::route::run(self, &command.verb, argument).await.into(),
            "RETR" | "STOR" | "STOU" | "APPE" => ops::transfer::run(self, &command.verb, argument).await,
            "LIST" | "NLST" | "MLSD" => ops::list::send(self, &command.verb, argument).await,
            "CWD" | "CDUP" | "PWD" | "MKD" | "RMD" | "DELE" | "RNFR" | "RNTO" | "MFMT" => {
                ops::files::run(self, &command.verb, argument).await.into()
            }
            _ => ops::info::run(self, &command.verb, argument).await.into(),
        }
    }

    /// Counts against a client that does not speak FTP, or not well.
    fn strike(&mut self, reply: Reply) -> Next {
        self.strikes += 1;
        if self.strikes >= STRIKES {
            return Next::End(Reply::new(421, "Too many errors; goodbye."), Closed::Abuse);
        }
        Next::Say(reply)
    }

    /// Counts refused log-ins.
    pub(crate) fn refuse_login(&mut self, reply: Reply) -> Next {
        self.refused += 1;
        if self.refused >= LOGINS {
            return Next::End(Reply::new(421, "Too many failed log-ins; goodbye."), Closed::Abuse);
        }
        Next::Say(reply)
    }

    pub(crate) fn unread(&mut self, error: &ReadError) -> Next {
        match error {
            ReadError::TooLong(_) => self.strike(Reply::new(500, "That line is too long: 8192 bytes are taken.")),
            ReadError::Endless => Next::End(Reply::new(421, "A line has an end; goodbye."), Closed::Abuse),
            ReadError::Idle => Next::End(Reply::new(421, "Nothing came for too long; goodbye."), Closed::Idle),
            ReadError::Shutdown => Next::End(Reply::new(421, "The server is shutting down."), Closed::Shutdown),
            ReadError::Withdrawn => {
                Next::End(Reply::new(421, "The password is not valid any more; log in anew."), Closed::Withdrawn)
            }
            ReadError::Closed => Next::Gone(Closed::Quit),
            ReadError::Io(_) => Next::Gone(Closed::Lost),
        }
    }

    /// Who is logged in; commands that need it are only reached then.
    pub(crate) fn user(&mut self) -> Result<&mut User, Reply> {
        match &mut self.state {
            State::User(user) => Ok(user),
            State::Stranger | State::Named(_) => Err(Reply::new(530, "Log in first with USER and PASS.")),
        }
    }

    /// How the next data connection is protected.
    ///
    /// # Errors
    /// Over a TLS control connection data goes over TLS too (RFC 4217 §10: 521).
    pub(crate) fn protection(&self) -> Result<Protection, Reply> {
        match (self.conn.secure(), self.private) {
            (true, false) if !self.clear_allowed() => {
                Err(Reply::new(521, "Data is only sent over TLS; send PBSZ 0 and PROT P first."))
            }
            (true, true) => Ok(self.ftp.config.private()),
            (_, _) => Ok(Protection::Clear),
        }
    }

    /// Whether data may go without TLS: where even a password may.
    pub(crate) fn clear_allowed(&self) -> bool {
        let clear = auth::Peer { tls: None, ..self.conn.peer().clone() };
        self.ftp.services.auth.cleartext_allowed(&clear)
    }
}
