//! The side that has the store.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use storage::{Actor, Append, Error, Mail, Mailbox, Store, Timestamp, Wanted};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::frames::{Ask, Held, Link, Tell, short_hash};

/// How many messages are looked up at once.
const LOOKED_UP: u32 = 1000;

/// How long an import waits for another one: that of a command that is gone ends with the batch it was in.
const WAIT: Duration = Duration::from_secs(10);

/// The accounts into which mail is imported. Of two imports at once neither would know what the other stores, and both
/// would store it.
static IMPORTS: LazyLock<Mutex<HashMap<i64, Arc<tokio::sync::Mutex<()>>>>> = LazyLock::new(Mutex::default);

/// Does what the other side asks for an account, until it is gone.
pub(super) async fn serve(store: &Store, name: &str, mut link: Link) {
    let account = match store.account(name).await {
        Ok(Some(account)) => account,
        Ok(None) => {
            let why = format!("there is no account {name}");
            return refuse(&mut link, &Tell::Refused { why, message: false }).await;
        }
        Err(error) => return refuse(&mut link, &refused(&error)).await,
    };
    let actor = Actor::command_line();
    let mail = store.mail(account.id, actor);
    let mut storing = Storing { mail, account: account.id, link, importing: None, coming: None };
    // An end in the middle of a message, or of its side, leaves nothing behind that was not committed.
    while let Ok(Some(ask)) = storing.link.next().await {
        if storing.answer(ask).await.is_err() {
            return;
        }
    }
}

/// Answers whatever is asked first, and no more: who asked must not find the link broken before the answer is read.
pub(super) async fn refuse(link: &mut Link, why: &Tell) {
    if let Ok(Some(_)) = link.next::<Ask>().await {
        let _ = link.send(why).await;
    }
}

fn refused(error: &Error) -> Tell {
    let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let message = matches!(error, Error::Invalid(_) | Error::NotFound | Error::Exists);
    Tell::Refused { why: format!("{error}{detail}"), message }
}

struct Storing {
    mail: Mail,
    account: i64,
    link: Link,
    /// Keeps other imports from the account.
    importing: Option<OwnedMutexGuard<()>>,
    /// What was put since the last commit, or why it cannot be stored.
    coming: Option<Result<Append, Error>>,
}

impl Storing {
    async fn answer(&mut self, ask: Ask) -> io::Result<()> {
        let result = match ask {
            Ask::Put { mailbox, flags, received, size } => {
                return self.take(&mailbox, flags, Timestamp(received), size).await;
            }
            Ask::Make { mailbox } => {
                if !self.is_alone().await {
                    let why = "another import into this account is going on; try again when it has ended".to_owned();
                    return self.link.send(&Tell::Refused { why, message: false }).await;
                }
                match self.mail.open(&mailbox).await {
                    Err(Error::NotFound) => make(&self.mail, &mailbox).await,
                    other => other.map(drop),
                }
            }
            Ask::Commit => match self.coming.take() {
                Some(Ok(append)) => append.commit().await.map(drop),
                Some(Err(error)) => Err(error),
                None => Ok(()),
            },
            Ask::Mailboxes => match self.mail.mailboxes().await {
                Ok(mailboxes) => {
                    for mailbox in mailboxes {
                        let (name, counts) = (mailbox.name, mailbox.counts);
                        let (uidvalidity, messages) = (counts.uidvalidity, counts.messages);
                        self.link.begin(&Tell::Mailbox { name, uidvalidity, messages }).await?;
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Ask::Held { mailbox } => match self.mail.open(&mailbox).await {
                Ok(mailbox) => self.held(&mailbox).await?,
                Err(Error::NotFound) => Ok(()),
                Err(error) => Err(error),
            },
            Ask::Fetch { mailbox, uids } => match self.mail.open(&mailbox).await {
                Ok(mailbox) => self.fetch(&mailbox, &uids).await?,
                Err(error) => Err(error),
            },
        };
        let told = result.map_or_else(|error| refused(&error), |()| Tell::End);
        self.link.send(&told).await
    }

    /// Whether this is the only import into the account, and stays so.
    async fn is_alone(&mut self) -> bool {
        if self.importing.is_none() {
            let lock = {
                let mut imports = IMPORTS.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(imports.entry(self.account).or_default())
            };
            self.importing = timeout(WAIT, lock.lock_owned()).await.ok();
        }
        self.importing.is_some()
    }

    async fn take(&mut self, mailbox: &str, flags: Vec<String>, received: Timestamp, size: u64) -> io::Result<()> {
        if self.coming.is_none() {
            self.coming = Some(begin(&self.mail, mailbox).await);
        }
        self.with(async |append| append.begin(flags, Some(received), size).await).await;
        let mut left = size;
        while let Some(piece) = self.link.piece(&mut left).await? {
            self.with(async move |append| append.write(piece).await).await;
        }
        self.with(async |append| append.end().await).await;
        Ok(())
    }

    /// Does something with what is coming, unless that cannot be stored any more.
    async fn with(&mut self, work: impl AsyncFnOnce(&mut Append) -> Result<(), Error>) {
        if let Some(Ok(append)) = &mut self.coming
            && let Err(error) = work(append).await
        {
            self.coming = Some(Err(error));
        }
    }

    async fn held(&mut self, mailbox: &Mailbox) -> io::Result<Result<(), Error>> {
        let view = match mailbox.view().await {
            Ok(view) => view,
            Err(error) => return Ok(Err(error)),
        };
        let wanted = Wanted { ids: true, ..Wanted::default() };
        for first in (1..=view.len()).step_by(LOOKED_UP as usize) {
            let last = view.len().min(first + LOOKED_UP - 1);
            let (Some(from), Some(to)) = (view.message(first), view.message(last)) else { break };
            let details = match mailbox.details(from.uid, to.uid, wanted).await {
                Ok(details) => details,
                Err(error) => return Ok(Err(error)),
            };
            for known in details {
                // What came or went meanwhile is another run's matter.
                let Some(message) = view.number(known.uid).and_then(|number| view.message(number)) else { continue };
                let flags = view.keywords.of(message.flags).map(str::to_owned).collect();
                let (uid, received, size) = (known.uid, message.received.0, u64::from(message.size));
                let held = Held { uid, hash: short_hash(&known.hash), received, flags, size };
                self.link.begin(&Tell::Held(held)).await?;
            }
        }
        Ok(Ok(()))
    }

    async fn fetch(&mut self, mailbox: &Mailbox, uids: &[u32]) -> io::Result<Result<(), Error>> {
        let view = match mailbox.view().await {
            Ok(view) => view,
            Err(error) => return Ok(Err(error)),
        };
        let messages = uids.iter().filter_map(|&uid| view.number(uid)).filter_map(|number| view.message(number));
        for message in messages {
            let content = match mailbox.content(message).await {
                Ok(content) => content,
                // One that is lost must not keep the others.
                Err(Error::Internal(_) | Error::NotFound) => continue,
                Err(error) => return Ok(Err(error)),
            };
            self.link.begin(&Tell::Message { uid: message.uid, size: content.len() }).await?;
            let mut reader = content.reader(0..content.len());
            while let Some(piece) = reader.next().await.map_err(io::Error::other)? {
                self.link.bytes(&piece).await?;
            }
        }
        Ok(Ok(()))
    }
}

/// Begins to put messages into a mailbox, which is made if it is not there.
async fn begin(mail: &Mail, mailbox: &str) -> Result<Append, Error> {
    match mail.append(mailbox).await {
        Err(Error::NotFound) => {}
        other => return other,
    }
    make(mail, mailbox).await?;
    mail.append(mailbox).await
}

/// Makes a mailbox that is not there.
async fn make(mail: &Mail, mailbox: &str) -> Result<(), Error> {
    match mail.create(mailbox, None).await {
        Ok(_) => mail.subscribe(mailbox, true).await,
        Err(Error::Exists) => Ok(()),
        Err(error) => Err(error),
    }
}
