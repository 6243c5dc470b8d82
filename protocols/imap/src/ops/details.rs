//! What is known of scattered messages, read in runs.

use bytes::Bytes;
use storage::{Details, Error, Mailbox, Message, View, Wanted};

/// How many messages are read at once.
const RUN: u32 = 500;
/// Messages that are no further apart than this are read together with those between them.
const GAP: u32 = 8;

/// How much of a message is read for its header.
const HEADER: u64 = 4 << 20;

/// The start of a message whose header is too long to be kept apart.
pub(crate) async fn long_header(mailbox: &Mailbox, message: &Message) -> Result<Bytes, Error> {
    mailbox.content(message).await?.read(0..HEADER).await
}

/// Calls `each` with every message of ascending sequence numbers and what is known of it; those that are gone are left
/// out.
pub(crate) async fn of_messages(
    mailbox: &Mailbox,
    view: &View,
    numbers: &[u32],
    wanted: Wanted,
    mut each: impl FnMut(u32, &Message, &Details),
) -> Result<(), Error> {
    let mut rest = numbers;
    while let Some(&first) = rest.first() {
        let mut count = 1;
        while count < rest.len() && rest[count] - rest[count - 1] <= GAP && rest[count] - first < RUN {
            count += 1;
        }
        let (run, others) = rest.split_at(count);
        rest = others;
        let uid = |number: u32| view.message(number).map_or(0, |message| message.uid);
        let details = mailbox.details(uid(first), uid(run[count - 1]), wanted).await?;
        for &number in run {
            let Some(message) = view.message(number) else { continue };
            if let Ok(at) = details.binary_search_by_key(&message.uid, |known| known.uid) {
                each(number, message, &details[at]);
            }
        }
    }
    Ok(())
}
