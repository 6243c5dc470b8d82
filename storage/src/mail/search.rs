//! Which messages of a mailbox hold a text.

use std::collections::HashMap;

use super::index::{Candidates, fold};
use super::live::Mailbox;
use super::view::Message;
use crate::{Error, Store};

/// Up to so many messages are read without asking the index.
const FEW: usize = 5;

/// Where a text is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The header.
    Header,
    /// The body: every part that is text, decoded.
    Body,
    /// Both.
    Text,
}

impl Mailbox {
    /// The UIDs of those messages that hold `needle`, in any case, in their order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn holding(&self, field: Field, needle: &str, messages: &[Message]) -> Result<Vec<u32>, Error> {
        let needle = fold(needle);
        let asked = self.ask(field, &needle, messages.len()).await?;
        let (mut uids, mut read) = (Vec::new(), HashMap::new());
        for message in messages {
            let holds = match (asked.of(message.blob), read.get(&message.blob)) {
                (Answer::Holds, _) | (Answer::MayHold, Some(true)) => true,
                (Answer::HoldsNot, _) | (Answer::MayHold, Some(false)) => false,
                (Answer::MayHold, None) => {
                    let holds = self.mail.store.text_contains(message.blob, field, &needle).await?;
                    read.insert(message.blob, holds);
                    holds
                }
            };
            if holds {
                uids.push(message.uid);
            }
        }
        Ok(uids)
    }

    /// The UIDs of those messages that may hold the words of `needle`, whatever stands between them, without reading
    /// any: none that does is left out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn may_hold(&self, field: Field, needle: &str, messages: &[Message]) -> Result<Vec<u32>, Error> {
        let asked = self.ask(field, &fold(needle), messages.len()).await?;
        let may = messages.iter().filter(|message| asked.of(message.blob) != Answer::HoldsNot);
        Ok(may.map(|message| message.uid).collect())
    }

    /// Asks the index, where it is about more than a few messages.
    async fn ask(&self, field: Field, needle: &str, messages: usize) -> Result<Candidates, Error> {
        if messages <= FEW {
            return Ok(Candidates::all());
        }
        self.mail.store.search_words(self.mail.account, field, needle).await
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Holds,
    MayHold,
    HoldsNot,
}

impl Candidates {
    fn of(&self, blob: i64) -> Answer {
        let among = |blobs: &Vec<i64>| blobs.binary_search(&blob).is_ok();
        match (among(&self.found), &self.unknown) {
            (true, _) if self.certain => Answer::Holds,
            (true, _) | (false, None) => Answer::MayHold,
            (false, Some(unknown)) if among(unknown) => Answer::MayHold,
            (false, Some(_)) => Answer::HoldsNot,
        }
    }
}

impl Store {
    /// Whether a content holds a needle, which is folded; what is gone does not.
    async fn text_contains(&self, blob: i64, field: Field, needle: &str) -> Result<bool, Error> {
        let Some(text) = self.text_of(blob).await? else { return Ok(false) };
        let within = |text: &str| fold(text).contains(needle);
        Ok(match field {
            Field::Header => within(&text.header),
            Field::Body => within(&text.body),
            Field::Text => within(&text.header) || within(&text.body),
        })
    }
}
