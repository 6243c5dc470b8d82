//! Which documents may hold a text.

use super::super::search::Field;
use super::build::marked;
use super::words::{Clue, Clues, Shape, fold};
use crate::db::{Read, params};
use crate::{Error, Store};

/// How many words are asked for at once.
const TERMS: usize = 2000;
/// Of a part of more words than that: the shortest, which are in nearly all messages that have any of them.
const SHORTEST: usize = 200;

/// What the index says of a needle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Candidates {
    /// The contents that have the words of it.
    pub(crate) found: Vec<i64>,
    /// Whether these hold it for certain; otherwise they are to be looked at.
    pub(crate) certain: bool,
    /// The contents that the index does not know; `None` for all that are not found. They are to be looked at.
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
        self.db().read(move |tx| search(tx, account, field, &clues)).await
    }
}

fn search(tx: &Read<'_>, account: i64, field: Field, clues: &Clues) -> Result<Candidates, Error> {
    let mut found = Vec::new();
    let mut everything = false;
    let mut nothing = false;
    let mut lists: Vec<Vec<String>> = Vec::new();
    for clue in &clues.all {
        let mut terms = terms(tx, account, clue)?;
        nothing |= terms.is_empty();
        if terms.len() > TERMS {
            // Of several words, the others tell the messages apart.
            if !clues.certain {
                continue;
            }
            everything = true;
            terms.truncate(SHORTEST);
        }
        lists.push(terms.iter().map(|term| marked(account, term)).collect());
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
        found = tx.rows(&tx.dialect().matching(column), params![&query], |row| row.int(0))?;
    }
    let sql = "SELECT blob FROM documents WHERE account = $1 AND indexed <> 1";
    let unknown = if everything { None } else { Some(tx.rows(sql, params![account], |row| row.int(0))?) };
    Ok(Candidates { found, certain: clues.certain, unknown })
}

/// The words of an account that a clue may mean: the shortest, and one more than is asked for when there are more.
fn terms(tx: &Read<'_>, account: i64, clue: &Clue) -> Result<Vec<String>, Error> {
    if clue.shape == Shape::Whole {
        return Ok(vec![clue.word.clone()]);
    }
    // Letters and digits alone: nothing in them has a meaning for LIKE.
    let pattern = clue.shape.pattern(&clue.word);
    let sql = "SELECT term FROM terms WHERE account = $1 AND term LIKE $2 ORDER BY LENGTH(term) LIMIT $3";
    tx.rows(sql, params![account, &pattern, TERMS as i64 + 1], |row| row.text(0))
}
