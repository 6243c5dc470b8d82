//! Which documents may hold a text.

use std::sync::Arc;

use super::super::search::Field;
use super::build::{blob_at, marked};
use super::vocabulary::Vocabulary;
use super::words::{Clues, fold};
use crate::db::{Read, params};
use crate::{Error, Store};

/// How many words are asked for at once.
const WORDS: usize = 2000;
/// Of a part of more words than that: the shortest, which are in nearly all messages that have any of them.
const SHORTEST: usize = 200;

/// What the index says of a needle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Candidates {
    /// The contents that have the words of it, ascending.
    pub(crate) found: Vec<i64>,
    /// Whether these hold it for certain; otherwise they are to be looked at.
    pub(crate) certain: bool,
    /// The contents that the index does not know; ascending; `None` for all that are not found. They are to be
    /// looked at.
    pub(crate) unknown: Option<Vec<i64>>,
}

impl Candidates {
    /// The index cannot help.
    pub(crate) fn all() -> Candidates {
        Candidates { found: Vec::new(), certain: true, unknown: None }
    }
}

impl Store {
    /// Which of an account's contents may hold `needle` as a part of that field's text, both folded. What is neither
    /// found nor unknown does not, if it was delivered before this was asked.
    pub(crate) async fn search_words(&self, account: i64, field: Field, needle: &str) -> Result<Candidates, Error> {
        let clues = Clues::of(&fold(needle));
        if clues.all.is_empty() {
            return Ok(Candidates::all());
        }
        let vocabularies = self.caches().vocabularies();
        let known = vocabularies.get(&account).unwrap_or_default();
        let before = known.clone();
        let search = move |tx: &Read<'_>| {
            let vocabulary = Vocabulary::read(tx, account, &known)?;
            Ok((search(tx, account, field, &clues, &vocabulary)?, vocabulary))
        };
        let (candidates, vocabulary) = self.db().read(search).await?;
        if !Arc::ptr_eq(&vocabulary, &before) {
            vocabularies.insert(account, vocabulary);
        }
        Ok(candidates)
    }
}

fn search(
    tx: &Read<'_>,
    account: i64,
    field: Field,
    clues: &Clues,
    vocabulary: &Vocabulary,
) -> Result<Candidates, Error> {
    let mut found = Vec::new();
    let mut everything = false;
    let mut nothing = false;
    let mut lists: Vec<Vec<String>> = Vec::new();
    for clue in &clues.all {
        let mut words = vocabulary.find(clue);
        nothing |= words.is_empty();
        if words.len() > WORDS {
            // Of several words, the others tell the messages apart.
            if !clues.certain {
                continue;
            }
            everything = true;
            words.sort_by_key(|word| word.len());
            words.truncate(SHORTEST);
        }
        lists.push(words.iter().map(|word| marked(account, word)).collect());
    }
    if lists.is_empty() {
        return Ok(Candidates::all());
    }
    if !nothing {
        let column = match field {
            Field::Header => Some("header"),
            Field::Body => Some("body"),
            Field::Text => None,
        };
        let query = tx.dialect().words(column, &lists);
        if let Some(sql) = tx.dialect().by_index() {
            tx.execute(sql, &[])?;
        }
        found = tx.numbers(&tx.dialect().matching(column), params![&query])?.into_iter().map(blob_at).collect();
        found.sort_unstable();
    }
    let sql = "SELECT blob FROM documents WHERE account = $1 AND indexed <> 1 ORDER BY blob";
    let unknown = if everything { None } else { Some(tx.rows(sql, params![account], |row| row.int(0))?) };
    Ok(Candidates { found, certain: clues.certain, unknown })
}
