//! One session: its states and the one loop that reads, asks the table, runs the operation and writes.

mod collect;

use std::sync::Arc;

use auth::Principal;
use protocol::{Closed, Conn, ReadError, TlsWish, Wire};
use storage::{Error, Mail};

use crate::Imap;
use crate::capabilities::Off;
use crate::codec::append::First;
use crate::codec::{self, Command, Fault, Literal, Tagged};
use crate::commands::{self, Phase};
use crate::ops;
use crate::reply::{self, Reply, Status, Untagged};
use crate::selected::Selected;

use collect::Collected;
pub(crate) use collect::refuse;

/// Where a session stands, with all that is valid there and nothing else.
pub(crate) enum State {
    /// Nobody is logged in.
    NotAuthenticated,
    /// Somebody is.
    Authenticated(Box<User>),
    /// A mailbox is open, too.
    Selected(Box<User>, Box<Selected>),
}

/// Who is logged in.
pub(crate) struct User {
    pub(crate) principal: Principal,
    pub(crate) mail: Mail,
    pub(crate) enabled: Enabled,
}

/// The extensions that a client has turned on, by ENABLE or by using them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Enabled {
    /// IMAP4rev2.
    pub(crate) rev2: bool,
    /// UTF8=ACCEPT (RFC 6855).
    pub(crate) utf8_accept: bool,
    /// CONDSTORE (RFC 7162 §3.1).
    pub(crate) condstore: bool,
    /// QRESYNC (RFC 7162 §3.2).
    pub(crate) qresync: bool,
}

impl Enabled {
    /// Whether names and strings are UTF-8.
    pub(crate) fn utf8(self) -> bool {
        self.rev2 || self.utf8_accept
    }
}

/// What an operation for a logged-in client works with.
pub(crate) struct Context<'a> {
    pub(crate) imap: &'a Imap,
    pub(crate) wire: &'a mut Wire,
    pub(crate) off: &'a Off,
    pub(crate) user: &'a mut User,
    /// The tag of the command: some responses name it.
    pub(crate) tag: &'a str,
}

/// The last response to a command; an error when the connection failed meanwhile.
pub(crate) type Outcome = Result<Reply, ReadError>;

/// Speaks one connection to its end.
pub(crate) async fn run(imap: Arc<Imap>, conn: Conn) -> Closed {
    let mut session = Session::new(imap, conn);
    let greeting = format!("{} {}", session.imap.services.hostname, session.imap.config.banner);
    let capabilities = format!("CAPABILITY {}", ops::any::capabilities(&session));
    Reply::ok(greeting).with(capabilities).write("*", &mut session.wire.out);
    loop {
        match session.turn().await {
            Turn::Next => {}
            Turn::Tls => match Box::pin(session.start_tls()).await {
                Ok(secured) => session = secured,
                Err(closed) => return closed,
            },
            Turn::Compress => match session.compress() {
                Ok(compressed) => session = compressed,
                Err(closed) => return closed,
            },
            Turn::End(closed) => {
                // Whoever is gone cannot be told; nothing else depends on it.
                let _ = session.wire.flush().await;
                Box::pin(session.wire.conn.close()).await;
                return closed;
            }
        }
    }
}

pub(crate) struct Session {
    pub(crate) imap: Arc<Imap>,
    pub(crate) wire: Wire,
    pub(crate) state: State,
    pub(crate) off: Off,
    strikes: u32,
}

/// What the loop does after one command.
enum Turn {
    Next,
    Tls,
    Compress,
    End(Closed),
}

impl Session {
    fn new(imap: Arc<Imap>, conn: Conn) -> Self {
        let off = Off::for_all(&imap.config);
        Session { imap, wire: Wire::new(conn), state: State::NotAuthenticated, off, strikes: 0 }
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::NotAuthenticated => Phase::NotAuthenticated,
            State::Authenticated(_) => Phase::Authenticated,
            State::Selected(..) => Phase::Selected,
        }
    }

    pub(crate) fn user(&self) -> Option<&User> {
        match &self.state {
            State::NotAuthenticated => None,
            State::Authenticated(user) | State::Selected(user, _) => Some(user),
        }
    }

    fn utf8(&self) -> bool {
        self.user().is_some_and(|user| user.enabled.utf8())
    }

    /// Reads one command and answers it.
    async fn turn(&mut self) -> Turn {
        match self.collect().await {
            Ok(Collected::Text(text)) => match codec::parse(&text, self.utf8()) {
                Ok(Tagged { tag, command }) => Box::pin(self.dispatch(tag, command)).await,
                Err(fault) => self.faulty(fault).await,
            },
            Ok(Collected::Append(first, literal)) => Box::pin(self.append(first, literal)).await,
            Ok(Collected::Fault(fault)) => self.faulty(fault).await,
            Ok(Collected::Refused { tag, reply }) => self.answer(&tag, reply).await,
            Err(error) => self.end(&error),
        }
    }

    async fn faulty(&mut self, fault: Fault) -> Turn {
        let reply = Reply::from(&fault);
        let tag = fault.tag.unwrap_or_else(|| "*".to_owned());
        self.answer(&tag, reply).await
    }

    fn end(&mut self, error: &ReadError) -> Turn {
        match reply::bye(error) {
            Some((text, closed)) => {
                self.wire.untagged(format!("BYE {text}"));
                Turn::End(closed)
            }
            None => Turn::End(if matches!(error, ReadError::Closed) { Closed::Quit } else { Closed::Lost }),
        }
    }

    /// Runs a command if the table and the registry allow it.
    async fn dispatch(&mut self, tag: String, command: Command) -> Turn {
        let tag = tag.as_str();
        let name = commands::name(&command);
        metrics::counter!("wharfinger_imap_commands", "command" => name).increment(1);
        if let Some(refused) = commands::refusal(&command, self.phase()) {
            return self.answer(tag, refused).await;
        }
        if let Some(missing) = self.off.missing(&command) {
            return self.answer(tag, reply::not_offered(missing)).await;
        }
        match command {
            Command::StartTls => return self.offer_tls(tag).await,
            Command::Compress => return self.offer_compression(tag).await,
            _ => {}
        }
        match self.run(tag, command).await {
            Ok(reply) => self.answer(tag, reply).await,
            Err(error) => self.end(&error),
        }
    }

    /// Runs a command. Each operation is boxed, so that a session that waits in one is as small as that one.
    async fn run(&mut self, tag: &str, command: Command) -> Outcome {
        match command {
            Command::Capability => Ok(ops::any::capability(self)),
            Command::Logout => Ok(ops::any::logout(self)),
            Command::Id(fields) => Ok(ops::any::id(self, &fields)),
            Command::Login { name, password } => Box::pin(ops::login::login(self, name, password)).await,
            Command::Authenticate { mechanism, initial } => {
                Box::pin(ops::login::authenticate(self, &mechanism, initial)).await
            }
            Command::Select { mailbox, examine, condstore, qresync } => {
                Box::pin(ops::select::select(self, &mailbox, examine, condstore, qresync)).await
            }
            Command::Close => Box::pin(ops::select::close(self)).await,
            Command::Unselect => Ok(ops::select::unselect(self)),
            Command::Delete(mailbox) => Box::pin(ops::mailboxes::delete(self, &mailbox)).await,
            command => Box::pin(self.run_inside(tag, command)).await,
        }
    }

    /// Runs a command that leaves the session in its state.
    async fn run_inside(&mut self, tag: &str, command: Command) -> Outcome {
        let (user, selected) = match &mut self.state {
            State::NotAuthenticated => (None, None),
            State::Authenticated(user) => (Some(user), None),
            State::Selected(user, selected) => (Some(user), Some(&mut **selected)),
        };
        let Some(user) = user else { return Ok(Reply::ok("Done")) };
        let mut context = Context { imap: &self.imap, wire: &mut self.wire, off: &self.off, user, tag };
        match (command, selected) {
            (Command::Enable(names), _) => Ok(ops::any::enable(&mut context, &names)),
            (Command::Create { mailbox, special_use }, _) => {
                Box::pin(ops::mailboxes::create(&mut context, &mailbox, special_use)).await
            }
            (Command::Rename { from, to }, _) => Box::pin(ops::mailboxes::rename(&mut context, &from, &to)).await,
            (Command::Subscribe(mailbox, on), _) => {
                Box::pin(ops::mailboxes::subscribe(&mut context, &mailbox, on)).await
            }
            (Command::List(list), _) => Box::pin(ops::list::list(&mut context, &list)).await,
            (Command::Namespace, _) => Ok(ops::mailboxes::namespace(&mut context)),
            (Command::Status { mailbox, items }, _) => {
                Box::pin(ops::status::status(&mut context, &mailbox, &items)).await
            }
            (Command::Idle, selected) => Box::pin(ops::idle::idle(&mut context, selected)).await,
            (Command::GetQuota(root), _) => Box::pin(ops::quota::get(&mut context, &root)).await,
            (Command::GetQuotaRoot(mailbox), _) => Box::pin(ops::quota::root(&mut context, &mailbox)).await,
            (Command::SetQuota(_), _) => Ok(Reply::no("Only the administrator sets quotas").with("NOPERM")),
            (Command::Expunge(uids), Some(selected)) => {
                Box::pin(ops::expunge::expunge(&mut context, selected, uids)).await
            }
            (Command::Search { uid, search }, Some(selected)) => {
                Box::pin(ops::search::search(&mut context, selected, uid, &search)).await
            }
            (Command::Sort { uid, order, search }, Some(selected)) => {
                Box::pin(ops::sort::sort(&mut context, selected, uid, &order, &search)).await
            }
            (Command::Thread { uid, by, search }, Some(selected)) => {
                Box::pin(ops::thread::thread(&mut context, selected, uid, by, &search)).await
            }
            (Command::Fetch { uid, numbers, items, changed_since, vanished }, Some(selected)) => {
                let fetch = ops::fetch::Fetch { uid, numbers, items, changed_since, vanished };
                Box::pin(ops::fetch::fetch(&mut context, selected, fetch)).await
            }
            (Command::Store { uid, numbers, how, silent, flags, unchanged_since }, Some(selected)) => {
                let store = ops::store::Store { uid, numbers, how, silent, flags, unchanged_since };
                Box::pin(ops::store::store(&mut context, selected, store)).await
            }
            (Command::Copy { uid, numbers, mailbox }, Some(selected)) => {
                Box::pin(ops::copy::copy(&mut context, selected, uid, &numbers, &mailbox)).await
            }
            (Command::Move { uid, numbers, mailbox }, Some(selected)) => {
                Box::pin(ops::copy::relocate(&mut context, selected, uid, &numbers, &mailbox)).await
            }
            // NOOP and CHECK: what they are for is told with every answer. The table lets nothing else through.
            (_, selected) => Box::pin(ops::any::noop(&mut context, selected)).await,
        }
    }

    async fn append(&mut self, first: First, literal: Literal) -> Turn {
        let First::Message { tag, mailbox, head } = first else {
            return self.faulty(Fault { tag: None, text: "not a command" }).await;
        };
        let (user, selected) = match &mut self.state {
            State::NotAuthenticated => return self.answer(&tag, Reply::bad("Log in first")).await,
            State::Authenticated(user) => (user, None),
            State::Selected(user, selected) => (user, Some(selected)),
        };
        let mut context = Context { imap: &self.imap, wire: &mut self.wire, off: &self.off, user, tag: &tag };
        let outcome = Box::pin(async {
            let reply = ops::append::append(&mut context, &mailbox, head, literal).await?;
            // The client may have put it into the mailbox that is open, and should learn its number at once.
            Ok(match selected {
                Some(selected) => finish(&mut context, selected, true, reply).await,
                None => reply,
            })
        });
        match outcome.await {
            Ok(reply) => self.answer(&tag, reply).await,
            Err(error) => self.end(&error),
        }
    }

    /// Writes the last response to a command, counts it against the client when it was refused, and says how to go on.
    async fn answer(&mut self, tag: &str, reply: Reply) -> Turn {
        reply.write(tag, &mut self.wire.out);
        if let Some(why) = reply.close {
            return Turn::End(why);
        }
        let stranger = self.user().is_none();
        if reply.status == Status::Bad || reply.status == Status::No && stranger {
            self.strikes += 1;
        } else if !stranger {
            // Errors count in a row, since a session may be long; a stranger could end each row by a NOOP.
            self.strikes = 0;
        }
        if self.strikes >= self.imap.config.max_errors {
            self.wire.untagged("BYE Too many errors; goodbye");
            return Turn::End(Closed::Abuse);
        }
        Turn::Next
    }

    /// STARTTLS, up to the reply that the handshake follows.
    async fn offer_tls(&mut self, tag: &str) -> Turn {
        match self.wire.tls_wish() {
            TlsWish::Granted => {}
            TlsWish::Active => return self.answer(tag, Reply::bad("TLS is active already")).await,
            TlsWish::Unavailable => return self.answer(tag, Reply::bad("TLS is not available here")).await,
            TlsWish::Injected => {
                let (auth, peer) = (self.imap.services.auth.clone(), self.wire.conn.peer().clone());
                auth.refusal(&peer, None, "imap.starttls", "", "octets in the clear behind STARTTLS").await;
                let reply = Reply::bad("Nothing may follow STARTTLS; goodbye");
                return self.answer(tag, reply.closing(Closed::Abuse)).await;
            }
        }
        Reply::ok("Begin TLS now").write(tag, &mut self.wire.out);
        match self.wire.flush().await {
            Ok(()) => Turn::Tls,
            Err(_) => Turn::End(Closed::Lost),
        }
    }

    async fn start_tls(self) -> Result<Session, Closed> {
        let Session { imap, wire, strikes, .. } = self;
        Ok(Session { strikes, ..Session::new(imap, wire.start_tls().await?) })
    }

    /// COMPRESS, up to the reply behind which everything is compressed (RFC 4978 §3).
    async fn offer_compression(&mut self, tag: &str) -> Turn {
        if self.wire.conn.has_input() {
            return self.answer(tag, Reply::bad("Nothing may follow COMPRESS before it is answered")).await;
        }
        if self.wire.conn.is_compressed() {
            return self.answer(tag, Reply::no("Compression is active already").with("COMPRESSIONACTIVE")).await;
        }
        Reply::ok("Compression begins now").write(tag, &mut self.wire.out);
        match self.wire.flush().await {
            Ok(()) => Turn::Compress,
            Err(_) => Turn::End(Closed::Lost),
        }
    }

    fn compress(mut self) -> Result<Session, Closed> {
        self.wire = Wire::new(self.wire.conn.compress());
        Ok(self)
    }
}

/// Turns CONDSTORE on; a client is told the newest mod-sequence with the first command that does so (RFC 7162 §3.1).
pub(crate) fn enable_condstore(context: &mut Context<'_>, selected: &Selected) {
    if !std::mem::replace(&mut context.user.enabled.condstore, true) {
        context.wire.untagged(format!("OK [HIGHESTMODSEQ {}] CONDSTORE is enabled", selected.view.modseq));
    }
}

/// Tells what has changed in the mailbox, before the last response to a command.
///
/// # Errors
/// The reply that ends the session when the mailbox is gone.
pub(crate) async fn sync(context: &mut Context<'_>, selected: &mut Selected, expunges: bool) -> Result<(), Reply> {
    selected.sync(context.wire, &context.user.enabled, expunges).await.map_err(|error| gone(context.wire, &error))
}

/// Tells what has changed behind a command that is done or refused already: its own reply stands, whatever became of
/// the mailbox meanwhile, or the client would do again what is done.
pub(crate) async fn finish(context: &mut Context<'_>, selected: &mut Selected, expunges: bool, reply: Reply) -> Reply {
    match selected.sync(context.wire, &context.user.enabled, expunges).await {
        Ok(()) => reply,
        Err(Error::NotFound) => {
            context.wire.untagged("BYE The mailbox was deleted");
            reply.closing(Closed::Quit)
        }
        // What has changed is told with the next command.
        Err(error) => {
            tracing::warn!(%error, detail = error.detail(), "changes could not be told");
            reply
        }
    }
}

/// What follows when the open mailbox cannot be read: it was deleted, and the session with it, or the store does not
/// answer just now.
pub(crate) fn gone(wire: &mut Wire, error: &Error) -> Reply {
    match error {
        Error::NotFound => {
            wire.untagged("BYE The mailbox was deleted");
            Reply::no("The mailbox was deleted").with("NONEXISTENT").closing(Closed::Quit)
        }
        other => Reply::from(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn a_waiting_session_is_small() {
        assert!(size(run) < 2500, "{}", size(run));
    }
}
