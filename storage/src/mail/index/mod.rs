//! The index of words, by which a search knows most messages without reading them. It is derived from the contents, and
//! follows them: what it does not know yet is read. So a search is exact at any time, whatever the index holds.
//!
//! An account's words stand in `terms`, and each document's in `texts` with the account's number before them, so that
//! nobody's search pays for another's mail. A word that is only a part of one is found by way of `terms`, which are in
//! memory while an account is searched.

mod build;
mod query;
mod vocabulary;
mod words;

use std::ops::Range;
use std::sync::LazyLock;

use tokio::sync::Semaphore;

use super::parse::{Structure, Text, parts_of_text, text};
use crate::blobs::Content;
use crate::db::params;
use crate::{Error, Store};

pub use words::fold;

pub(crate) use build::{Turn, forget_documents};
pub(crate) use query::Candidates;
pub(crate) use vocabulary::{Vocabularies, vocabularies};

/// Up to this size a message is read where it is asked for; larger ones take turns on a thread of their own.
const AT_ONCE: usize = 64 << 10;
/// Parts that are no farther apart are read together.
const GAP: usize = 64 << 10;

/// The turn of large messages.
static LARGE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(1));

impl Store {
    /// The text of a content that is a message; `None` when it is not there any more.
    pub(super) async fn text_of(&self, blob: i64) -> Result<Option<Text>, Error> {
        let blobs = self.blobs().clone();
        let found = self.db().read(move |tx| {
            let sql = "SELECT structure FROM blobs LEFT JOIN parsed ON parsed.blob = blobs.id WHERE id = $1";
            let Some(structure) = tx.row(sql, params![blob], |row| row.optional_text(0))? else { return Ok(None) };
            Ok(Some((blobs.locate(tx, blob)?, structure)))
        });
        let Some((located, structure)) = found.await? else { return Ok(None) };
        let content = match self.blobs().open_located(&located).await {
            Ok(content) => content,
            Err(Error::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let structure = structure.and_then(|structure| serde_json::from_str::<Structure>(&structure).ok());
        if let Some(message) = content.bytes().filter(|message| message.len() <= AT_ONCE) {
            let structure = structure.unwrap_or_else(|| Structure::read(&message));
            return Ok(Some(text(&message, &structure)));
        }
        let _turn = LARGE.acquire().await.map_err(Error::internal)?;
        let message = load(&content, structure.as_ref()).await?;
        let read = move || {
            let structure = structure.unwrap_or_else(|| Structure::read(&message));
            text(&message, &structure)
        };
        tokio::task::spawn_blocking(read).await.map(Some).map_err(Error::internal)
    }
}

/// A message of which only what its text needs is read; the rest of it is zeros, which take no memory until they are
/// touched.
async fn load(content: &Content, structure: Option<&Structure>) -> Result<Vec<u8>, Error> {
    let whole = content.len() as usize;
    let mut message = vec![0; whole];
    let all = 0..whole;
    let needed = structure.map_or_else(|| Vec::from([all]), |structure| joined(parts_of_text(structure), whole));
    for Range { start, end } in needed {
        let mut reader = content.reader(start as u64..end as u64);
        let mut at = start;
        while let Some(piece) = reader.next().await? {
            let to = at + piece.len();
            message.get_mut(at..to).ok_or_else(|| Error::internal("a content grew"))?.copy_from_slice(&piece);
            at = to;
        }
    }
    Ok(message)
}

/// Ranges in order, those that are near each other as one.
fn joined(mut ranges: Vec<Range<usize>>, whole: usize) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut all: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => last.end = last.end.max(range.end).min(whole),
            _ => all.push(range.start.min(whole)..range.end.min(whole)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_are_read_together() {
        let far = 3 * GAP;
        assert_eq!(joined(vec![far..far + 9, 0..10, 5..GAP, GAP + 2..GAP + 3], far + 5), [0..GAP + 3, far..far + 5]);
    }
}
