//! The side that has the files, writing them.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::frames::{Ask, Held, Link, Tell, broken};
use super::progress::Progress;
use super::{Outcome, maildir_write, mbox_write};
use crate::cli::Format;

/// How many messages are asked for at once.
const BATCH: usize = 100;

/// A message that is to be written.
pub(super) struct Wanted {
    pub(super) uidvalidity: u32,
    pub(super) held: Held,
}

/// Exports to the path.
pub(super) async fn run(link: &mut Link, to: &Format, shown: bool) -> Result<Outcome, String> {
    let mails = to.mails();
    let mut mailboxes = Vec::new();
    link.ask(&Ask::Mailboxes).await?;
    loop {
        match link.told().await? {
            Tell::Mailbox { name, uidvalidity, messages } => mailboxes.push((name, uidvalidity, messages)),
            Tell::End => break,
            other => return Err(unexpected(other)),
        }
    }
    let only = mails.mailbox.as_deref();
    mailboxes.retain(|(name, _, _)| only.is_none_or(|only| only == name));
    if let Some(only) = only.filter(|_| mailboxes.is_empty()) {
        return Err(format!("there is no mailbox {only}"));
    }
    let mut export = Export { link, outcome: Outcome::default(), progress: Progress::new(shown) };
    mailboxes.iter().for_each(|(_, _, messages)| export.progress.expect(u64::from(*messages)));
    for (name, uidvalidity, _) in mailboxes {
        export.progress.at(&name);
        match Target::open(to, &name) {
            Ok(mut target) => export.mailbox(&name, uidvalidity, &mut target).await?,
            Err(error) => export.outcome.problem(name, error.to_string()),
        }
    }
    Ok(export.outcome)
}

fn unexpected(tell: Tell) -> String {
    match tell {
        Tell::Refused { why, .. } => why,
        _ => "the storing side is of another version".into(),
    }
}

struct Export<'a> {
    link: &'a mut Link,
    outcome: Outcome,
    progress: Progress,
}

impl Export<'_> {
    async fn mailbox(&mut self, name: &str, uidvalidity: u32, target: &mut Target) -> Result<(), String> {
        self.link.ask(&Ask::Held { mailbox: name.to_owned() }).await?;
        let mut missing = Vec::new();
        loop {
            match self.link.told().await? {
                Tell::Held(held) if target.has((uidvalidity, held.uid)) => {
                    self.outcome.there += 1;
                    self.progress.add(1);
                }
                Tell::Held(held) => missing.push(Wanted { uidvalidity, held }),
                Tell::End => break,
                other => return Err(unexpected(other)),
            }
        }
        let mut missing = missing.into_iter();
        loop {
            let batch: HashMap<u32, Wanted> =
                missing.by_ref().take(BATCH).map(|wanted| (wanted.held.uid, wanted)).collect();
            if batch.is_empty() {
                return Ok(());
            }
            let count = batch.len() as u64;
            self.fetch(name, batch, target).await?;
            target.flush().map_err(|error| format!("{name} cannot be written: {error}"))?;
            self.progress.add(count);
        }
    }

    async fn fetch(&mut self, name: &str, mut batch: HashMap<u32, Wanted>, target: &mut Target) -> Result<(), String> {
        let mut uids: Vec<u32> = batch.keys().copied().collect();
        uids.sort_unstable();
        self.link.ask(&Ask::Fetch { mailbox: name.to_owned(), uids }).await?;
        loop {
            match self.link.told().await? {
                Tell::Message { uid, size } => {
                    let wanted = batch.remove(&uid);
                    let written = self.message(wanted.as_ref(), size, target).await.map_err(|error| broken(&error))?;
                    match written {
                        Ok(left_out) => {
                            self.outcome.done += 1;
                            for keyword in left_out {
                                let why = "there are more keywords than a Maildir has letters";
                                self.outcome.problem(format!("{name} {uid} without {keyword}"), why);
                            }
                        }
                        Err(error) if is_for_all(&error) => return Err(format!("{name} cannot be written: {error}")),
                        Err(error) => self.outcome.problem(format!("{name} {uid}"), error.to_string()),
                    }
                }
                Tell::End => break,
                other => return Err(unexpected(other)),
            }
        }
        for uid in batch.keys() {
            self.outcome.problem(format!("{name} {uid}"), "it was expunged meanwhile, or its content is lost");
        }
        Ok(())
    }

    /// Takes the bytes of a message, whatever becomes of them: the outer error is the link's, the inner one the file's.
    async fn message(
        &mut self,
        wanted: Option<&Wanted>,
        mut left: u64,
        target: &mut Target,
    ) -> io::Result<io::Result<Vec<String>>> {
        let begun = match wanted {
            Some(wanted) => target.begin(wanted),
            None => Err(io::Error::other("nobody asked for it")),
        };
        let (mut writing, left_out) = match begun {
            Ok((writing, left_out)) => (Ok(writing), left_out),
            Err(error) => (Err(error), Vec::new()),
        };
        while let Some(piece) = self.link.piece(&mut left).await? {
            if let Ok(file) = &mut writing
                && let Err(error) = file.write(&piece)
            {
                writing = Err(error);
            }
        }
        Ok(match (writing, wanted) {
            (Ok(writing), Some(wanted)) => target.end(writing, wanted).map(|()| left_out),
            (Err(error), _) => Err(error),
            (Ok(_), None) => Ok(left_out),
        })
    }
}

/// Whether no other message will fare better.
fn is_for_all(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Where a mailbox is written.
enum Target {
    Maildir(maildir_write::Folder),
    Mbox(mbox_write::Mbox),
}

enum Writing {
    Maildir(maildir_write::Writing),
    Mbox(mbox_write::Writing),
}

impl Target {
    /// A mailbox that is exported alone lies at the path itself, all of them in it.
    fn open(to: &Format, mailbox: &str) -> io::Result<Target> {
        let mails = to.mails();
        let (root, alone): (&Path, bool) = (&mails.path, mails.mailbox.is_some());
        match to {
            Format::Maildir(_) => {
                let place = if alone { root.to_owned() } else { maildir_write::place(root, mailbox) };
                maildir_write::Folder::open(root, place).map(Target::Maildir)
            }
            Format::Mbox(_) => {
                let place = if alone { root.to_owned() } else { mbox_write::place(root, mailbox) };
                mbox_write::Mbox::open((!alone).then_some(root), &place).map(Target::Mbox)
            }
        }
    }

    fn has(&self, message: (u32, u32)) -> bool {
        match self {
            Target::Maildir(folder) => folder.has(message),
            Target::Mbox(mbox) => mbox.has(message),
        }
    }

    fn begin(&mut self, wanted: &Wanted) -> io::Result<(Writing, Vec<String>)> {
        match self {
            Target::Maildir(folder) => {
                let (writing, left_out) = folder.begin(wanted)?;
                Ok((Writing::Maildir(writing), left_out.into_iter().map(str::to_owned).collect()))
            }
            Target::Mbox(_) => Ok((Writing::Mbox(mbox_write::Writing::new()), Vec::new())),
        }
    }

    fn end(&mut self, writing: Writing, wanted: &Wanted) -> io::Result<()> {
        match (self, writing) {
            (Target::Maildir(folder), Writing::Maildir(writing)) => folder.end(writing, wanted),
            (Target::Mbox(mbox), Writing::Mbox(writing)) => mbox.end(writing, wanted),
            _ => Err(io::Error::other("another kind of file was begun")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::Maildir(_) => Ok(()),
            Target::Mbox(mbox) => mbox.flush(),
        }
    }
}

impl Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Writing::Maildir(writing) => writing.write(bytes),
            Writing::Mbox(writing) => writing.write(bytes),
        }
    }
}
