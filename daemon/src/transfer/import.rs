//! The side that has the files, reading them.

use std::collections::HashMap;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::frames::{Ask, Link, Tell, broken};
use super::message::Message;
use super::progress::Progress;
use super::{Outcome, maildir, mbox, mbox_files};
use crate::cli::{Format, Mails};

/// How many messages are stored at once, and how many bytes of them.
const BATCH: (usize, u64) = (100, 16 << 20);

/// The end of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// A message as it was read.
pub(super) struct Item {
    pub(super) message: Message,
    pub(super) flags: Vec<String>,
    /// The internal date, in seconds since the Unix epoch.
    pub(super) seconds: i64,
}

impl Item {
    pub(super) fn new(message: Message, flags: Vec<String>, seconds: i64) -> Item {
        // What a broken file tells can be no date of IMAP, whose years have four digits.
        Item { message, flags, seconds: seconds.clamp(0, LAST_SECOND) }
    }
}

/// Imports what lies at the path.
pub(super) async fn run(link: &mut Link, from: &Format, shown: bool) -> Result<Outcome, String> {
    // Nothing is read for an account that is not there.
    link.ask(&Ask::Mailboxes).await?;
    while let Tell::Mailbox { .. } = accepted(link.told().await?)? {}
    let mut import = Import { link, outcome: Outcome::default(), progress: Progress::new(shown) };
    match from {
        Format::Maildir(mails) => import.maildir(mails).await?,
        Format::Mbox(mails) => import.mbox(mails).await?,
    }
    Ok(import.outcome)
}

fn accepted(tell: Tell) -> Result<Tell, String> {
    match tell {
        Tell::Refused { why, .. } => Err(why),
        other => Ok(other),
    }
}

struct Import<'a> {
    link: &'a mut Link,
    outcome: Outcome,
    progress: Progress,
}

/// What a mailbox holds: how often each content of each second.
type Known = HashMap<(String, i64), u32>;

impl Import<'_> {
    async fn maildir(&mut self, mails: &Mails) -> Result<(), String> {
        let outcome = &mut self.outcome;
        let mut problem =
            |path: &Path, error: &io::Error| outcome.problem(path.display().to_string(), error.to_string());
        let folders = maildir::folders(&mails.path, mails.mailbox.as_deref(), &mut problem);
        if folders.is_empty() {
            return Err(format!("there is no Maildir in {}", mails.path.display()));
        }
        folders.iter().for_each(|folder| self.progress.expect(folder.count()));
        for folder in folders {
            let outcome = &mut self.outcome;
            let mut problem =
                |path: &Path, error: &io::Error| outcome.problem(path.display().to_string(), error.to_string());
            let messages = folder.messages(&mut problem);
            let messages = messages.map(|(path, item)| (path.display().to_string(), item.map(Some), 1));
            self.mailbox(&folder.mailbox, messages).await?;
        }
        Ok(())
    }

    async fn mbox(&mut self, mails: &Mails) -> Result<(), String> {
        let outcome = &mut self.outcome;
        let mut problem = |path: &Path, why: &str| outcome.problem(path.display().to_string(), why);
        let files = mbox_files::find(&mails.path, mails.mailbox.as_deref(), &mut problem);
        if files.is_empty() && self.outcome.problems.is_empty() {
            return Err(format!("there is no mbox in {}", mails.path.display()));
        }
        let length = |path: &PathBuf| path.metadata().map_or(0, |file| file.len());
        files.iter().for_each(|(_, path)| self.progress.expect(length(path)));
        for (mailbox, path) in files {
            match mbox::Messages::open(&path, path == mails.path) {
                Ok(messages) => self.mailbox(&mailbox, messages).await?,
                Err(error) => self.outcome.problem(path.display().to_string(), error.to_string()),
            }
        }
        Ok(())
    }

    /// Imports messages into a mailbox: each with where it lies, and how much of the whole it is. Where there is none,
    /// it was deleted.
    async fn mailbox(
        &mut self,
        mailbox: &str,
        messages: impl Iterator<Item = (String, io::Result<Option<Item>>, u64)>,
    ) -> Result<(), String> {
        self.progress.at(mailbox);
        if let Some(why) = self.asked(&Ask::Make { mailbox: mailbox.to_owned() }).await? {
            self.outcome.problem(mailbox, why);
            return Ok(());
        }
        let mut known = self.known(mailbox).await?;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (place, item, part) in messages {
            match item {
                Ok(None) => self.outcome.deleted += 1,
                Ok(Some(item)) if is_there(&mut known, &item) => self.outcome.there += 1,
                Ok(Some(item)) => {
                    bytes += item.message.size;
                    batch.push((place, item));
                }
                Err(error) => self.outcome.problem(place, error.to_string()),
            }
            if batch.len() >= BATCH.0 || bytes >= BATCH.1 {
                self.store(mailbox, std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            self.progress.add(part);
        }
        self.store(mailbox, batch).await
    }

    async fn known(&mut self, mailbox: &str) -> Result<Known, String> {
        let mut known = Known::new();
        self.link.ask(&Ask::Held { mailbox: mailbox.to_owned() }).await?;
        while let Tell::Held(held) = accepted(self.link.told().await?)? {
            *known.entry((held.hash, held.received.div_euclid(1000))).or_default() += 1;
        }
        Ok(known)
    }

    /// Stores messages in one transaction; where one of them cannot be stored, each in its own.
    async fn store(&mut self, mailbox: &str, mut batch: Vec<(String, Item)>) -> Result<(), String> {
        if batch.is_empty() || self.put(mailbox, batch.iter_mut().map(|(_, item)| item)).await?.is_none() {
            self.outcome.done += batch.len() as u64;
            return Ok(());
        }
        for (place, mut item) in batch {
            let Some(why) = self.put(mailbox, std::iter::once(&mut item)).await? else {
                self.outcome.done += 1;
                continue;
            };
            // It may be its keywords: the message matters more.
            let before = item.flags.len();
            item.flags.retain(|flag| flag.starts_with('\\'));
            if item.flags.len() < before && self.put(mailbox, std::iter::once(&mut item)).await?.is_none() {
                self.outcome.done += 1;
                self.outcome.problem(place, format!("imported without its keywords: {why}"));
            } else {
                self.outcome.problem(place, why);
            }
        }
        Ok(())
    }

    /// Why they could not be stored.
    async fn put(&mut self, mailbox: &str, items: impl Iterator<Item = &mut Item>) -> Result<Option<String>, String> {
        for Item { message, flags, seconds } in items {
            let (mailbox, flags, size) = (mailbox.to_owned(), flags.clone(), message.size);
            let put = Ask::Put { mailbox, flags, received: seconds.saturating_mul(1000), size };
            self.send(&put, message).await.map_err(|error| broken(&error))?;
        }
        self.asked(&Ask::Commit).await
    }

    /// Why it was not done, where it is the matter of this message or mailbox alone.
    async fn asked(&mut self, ask: &Ask) -> Result<Option<String>, String> {
        self.link.ask(ask).await?;
        match self.link.told().await? {
            Tell::Refused { why, message: true } => Ok(Some(why)),
            other => accepted(other).map(|_| None),
        }
    }

    async fn send(&mut self, put: &Ask, message: &mut Message) -> io::Result<()> {
        self.link.begin(put).await?;
        message.content.rewind()?;
        let mut piece = vec![0; 64 << 10];
        loop {
            match message.content.read(&mut piece)? {
                0 => return Ok(()),
                length => self.link.bytes(&piece[..length]).await?,
            }
        }
    }
}

/// Whether the mailbox holds this one; of equal ones as many as there are.
fn is_there(known: &mut Known, item: &Item) -> bool {
    match known.get_mut(&(item.message.hash.clone(), item.seconds)) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}
