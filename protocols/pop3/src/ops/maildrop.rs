//! The maildrop of a session: INBOX as it was at the log-in, with what is marked to be removed (RFC 1939 §5, §6).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use protocol::{Closed, Wire};
use storage::{Content, Error, Mailbox, MaildropLock, Message, View};

use crate::codec::Command;
use crate::ops::{Outcome, out_of_sequence, retrieve};
use crate::reply::Reply;
use crate::session::State;

/// How often a locked maildrop is tried again before the client is told, and after what time: a client whose
/// connection broke is often back before its old session is gone.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// How many messages, and octets of them, are brought at once to who takes one after the other.
const AHEAD: u32 = 16;
const AHEAD_OCTETS: u32 = 256 << 10;

/// What a session holds of it.
pub(crate) struct Maildrop {
    owner: Principal,
    pub(crate) mailbox: Mailbox,
    /// The messages at the log-in: their numbers stay as they are, whatever others do (RFC 1939 §5).
    view: Arc<View>,
    /// The numbers of the messages that are marked.
    marked: BTreeSet<u32>,
    /// The octets of those that are not.
    octets: u64,
    lock: MaildropLock,
    /// The number that was taken last, and up to which one contents are at hand.
    taken: u32,
    at_hand: u32,
}

impl Maildrop {
    /// Locks it and looks what is in it.
    ///
    /// # Errors
    /// [`Error::Busy`] while another session has it locked.
    pub(crate) async fn open(login: auth::Session) -> Result<Maildrop, Error> {
        let auth::Session { principal: owner, mail, .. } = login;
        let mut lock = mail.lock_maildrop().await;
        for _ in 1..TRIES {
            if !matches!(lock, Err(Error::Busy)) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            lock = mail.lock_maildrop().await;
        }
        let lock = lock?;
        let mailbox = mail.open("INBOX").await?;
        let view = mailbox.view().await?;
        let (marked, octets, taken, at_hand) = (BTreeSet::new(), 0, 0, 0);
        let mut maildrop = Maildrop { owner, mailbox, view, marked, octets, lock, taken, at_hand };
        maildrop.reset();
        Ok(maildrop)
    }

    /// How much there is, for a person.
    pub(crate) fn summary(&self) -> String {
        let messages = self.count();
        format!("{messages} message{} ({} octets)", if messages == 1 { "" } else { "s" }, self.octets)
    }

    /// The message of a number, unless it is marked.
    pub(crate) fn message(&self, number: u32) -> Result<&Message, Reply> {
        match self.view.message(number) {
            None => Err(Reply::err(format!("No such message: there are {}", self.view.len()))),
            Some(_) if self.marked.contains(&number) => Err(Reply::err("That message is marked to be removed")),
            Some(message) => Ok(message),
        }
    }

    /// The content of a message. Who takes one after the other gets the next ones with one look at the store.
    pub(crate) async fn content(&mut self, number: u32, message: &Message) -> Result<Content, Error> {
        let in_turn = std::mem::replace(&mut self.taken, number) + 1 == number;
        if in_turn && number > self.at_hand {
            let (mut last, mut octets) = (message.uid, message.size);
            self.at_hand = number;
            while let Some(next) = self.view.message(self.at_hand + 1)
                && self.at_hand - number < AHEAD
                && octets.saturating_add(next.size) <= AHEAD_OCTETS
            {
                (last, octets, self.at_hand) = (next.uid, octets + next.size, self.at_hand + 1);
            }
            self.mailbox.read_ahead(message.uid, last).await?;
        }
        self.mailbox.content(message).await
    }

    fn count(&self) -> usize {
        self.view.len() as usize - self.marked.len()
    }

    fn reset(&mut self) {
        self.marked.clear();
        self.octets = self.view.messages().map(|(_, message)| u64::from(message.size)).sum();
    }

    fn mark(&mut self, number: u32) -> Reply {
        let size = match self.message(number) {
            Ok(message) => u64::from(message.size),
            Err(reply) => return reply,
        };
        // Told here, where the client asks, and not at its QUIT.
        if self.owner.read_only {
            return Reply::from(&Error::Denied("this app password is read-only: it removes no messages".into()));
        }
        self.marked.insert(number);
        self.octets -= size;
        Reply::ok(format!("Message {number} is removed at QUIT"))
    }

    /// Names a message for ever: UIDVALIDITY with UID are never given to another (RFC 1939 §7, RFC 9051 §2.3.1.1).
    fn unique_id(&self, message: &Message) -> String {
        format!("{}.{}", self.view.uidvalidity, message.uid)
    }

    /// The UPDATE state: removes what is marked, all or nothing, and unlocks.
    async fn update(self) -> Result<usize, Error> {
        let removed = match self.marked.is_empty() {
            true => Ok(0),
            false => self.mailbox.remove(self.view.uids(self.marked.iter().copied())).await,
        };
        self.lock.unlock().await;
        removed.map(|_| self.marked.len())
    }
}

/// Runs a command of the TRANSACTION state.
pub(crate) async fn run(wire: &mut Wire, mut maildrop: Box<Maildrop>, command: Command) -> Outcome {
    let reply = match command {
        Command::Stat => Some(Reply::ok(format!("{} {}", maildrop.count(), maildrop.octets))),
        Command::List(number) => listing(wire, &maildrop, number, |message| message.size.to_string()).await?,
        Command::Uidl(number) => listing(wire, &maildrop, number, |message| maildrop.unique_id(message)).await?,
        Command::Retr(number) => retrieve::retrieve(wire, &mut maildrop, number, None).await?,
        Command::Top(number, lines) => retrieve::retrieve(wire, &mut maildrop, number, Some(lines)).await?,
        Command::Dele(number) => Some(maildrop.mark(number)),
        Command::Rset => {
            maildrop.reset();
            Some(Reply::ok(maildrop.summary()))
        }
        Command::Noop => Some(Reply::ok("")),
        _ => return out_of_sequence(State::Transaction(maildrop)),
    };
    Ok((State::Transaction(maildrop), reply))
}

/// A line for one message, or for every one that is not marked.
async fn listing(
    wire: &mut Wire,
    maildrop: &Maildrop,
    number: Option<u32>,
    fact: impl Fn(&Message) -> String,
) -> std::io::Result<Option<Reply>> {
    if let Some(number) = number {
        let line = maildrop.message(number).map(|message| Reply::ok(format!("{number} {}", fact(message))));
        return Ok(Some(line.unwrap_or_else(|refused| refused)));
    }
    Reply::ok(maildrop.summary()).write(&mut wire.out);
    for (number, message) in maildrop.view.messages().filter(|(number, _)| !maildrop.marked.contains(number)) {
        wire.out.extend_from_slice(format!("{number} {}\r\n", fact(message)).as_bytes());
        wire.relieve().await?;
    }
    wire.out.extend_from_slice(b".\r\n");
    Ok(None)
}

/// Ends the session; the maildrop is unlocked whether its update succeeds or not (RFC 1939 §6).
pub(crate) async fn quit(wire: &mut Wire, state: State) -> Outcome {
    let reply = match state {
        State::Authorization | State::Named(_) => Reply::ok("Goodbye"),
        State::Transaction(maildrop) => {
            // What was asked for before QUIT is with the client's system before anything is removed.
            wire.flush().await?;
            match maildrop.update().await {
                Ok(0) => Reply::ok("Goodbye"),
                Ok(removed) => Reply::ok(format!("Goodbye; {removed} removed")),
                Err(error) => {
                    let reply = Reply::from(&error);
                    let text = format!("Nothing was removed: {}", reply.text);
                    Reply { text: text.into(), ..reply }
                }
            }
        }
    };
    Ok((State::Authorization, Some(reply.closing(Closed::Quit))))
}
