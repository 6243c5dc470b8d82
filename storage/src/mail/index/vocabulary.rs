//! The words of an account's mail, in memory while it is searched, so that a text is found in the middle of them too.

use std::sync::Arc;

use memchr::memmem::Finder;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::words::Clue;
use crate::Error;
use crate::db::{Read, params};

/// How much memory the words of all accounts take, in bytes; those of an account that nobody searches go first.
const ROOM: u64 = 64 << 20;
/// Words that were added are put beside those before them while these are no longer than this, in bytes.
const PIECE: usize = 64 << 10;

/// The words of the accounts that were searched last.
pub(crate) type Vocabularies = Cache<i64, Arc<Vocabulary>, BySize>;

pub(crate) fn vocabularies() -> Vocabularies {
    Cache::with_weighter(100, ROOM, BySize)
}

#[derive(Clone)]
pub(crate) struct BySize;

impl Weighter<i64, Arc<Vocabulary>> for BySize {
    fn weight(&self, _: &i64, vocabulary: &Arc<Vocabulary>) -> u64 {
        vocabulary.pieces.iter().map(|piece| piece.len() as u64 + 64).sum::<u64>() + 64
    }
}

/// Every word of an account that a snapshot knows, and maybe later ones, which are in no document of it.
#[derive(Default, Clone)]
pub(crate) struct Vocabulary {
    /// The first and the last of the rows it was read from. Their numbers are never given again, and the first goes
    /// when the words are collected anew.
    rows: Option<(i64, i64)>,
    /// The words, with a space before and behind each.
    pieces: Vec<Arc<str>>,
}

impl Vocabulary {
    /// The words that a snapshot knows, with those of `known` if they can be used.
    pub(super) fn read(tx: &Read<'_>, account: i64, known: &Arc<Vocabulary>) -> Result<Arc<Vocabulary>, Error> {
        // One by one each is looked up; together all rows would be gone through.
        let sql =
            "SELECT (SELECT MIN(id) FROM terms WHERE account = $1), (SELECT MAX(id) FROM terms WHERE account = $1)";
        let rows = tx.row(sql, params![account], |row| Ok(row.optional_int(0)?.zip(row.optional_int(1)?)))?;
        let Some((first, last)) = rows.flatten() else { return Ok(Arc::default()) };
        let (mut read, after) = match known.rows {
            Some((from, to)) if from == first && to >= last => return Ok(known.clone()),
            Some((from, to)) if from == first => (Vocabulary::clone(known), to),
            _ => (Vocabulary::default(), 0),
        };
        let new = tx.row(tx.dialect().terms(), params![account, after], |row| row.optional_text(0))?;
        read.add(&new.flatten().unwrap_or_default());
        read.rows = Some((first, last));
        Ok(Arc::new(read))
    }

    fn add(&mut self, words: &str) {
        let before = self.pieces.pop_if(|piece| piece.len() <= PIECE);
        let before = before.as_deref().unwrap_or(" ");
        self.pieces.push(Arc::from(format!("{before}{words} ")));
    }

    /// The words that a clue may mean.
    pub(super) fn find(&self, clue: &Clue) -> Vec<&str> {
        let pattern = clue.shape.pattern(&clue.word);
        let finder = Finder::new(&pattern);
        self.pieces.iter().flat_map(|piece| Found { rest: piece, finder: &finder }).collect()
    }
}

/// The words of a piece that a pattern lies in, each once.
struct Found<'a, 'b> {
    /// It begins and ends with a space.
    rest: &'a str,
    finder: &'b Finder<'b>,
}

impl<'a> Iterator for Found<'a, '_> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let at = self.finder.find(self.rest.as_bytes())?;
        // A pattern may begin with the space before the word.
        let inside = at + usize::from(self.rest[at..].starts_with(' '));
        let (before, behind) = self.rest.split_at(inside);
        let start = before.rfind(' ').map_or(0, |space| space + 1);
        let end = behind.find(' ').map_or(self.rest.len(), |space| inside + space);
        let word = &self.rest[start..end];
        self.rest = &self.rest[end..];
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::Shape;
    use super::*;

    #[test]
    fn words_are_found_by_their_parts() {
        let mut vocabulary = Vocabulary::default();
        vocabulary.add("order border ordered bord");
        vocabulary.add("größe order2 r");
        let find = |word: &str, shape| vocabulary.find(&Clue { word: word.to_owned(), shape });
        assert_eq!(find("order", Shape::Within), ["order", "border", "ordered", "order2"]);
        assert_eq!(find("order", Shape::Start), ["order", "ordered", "order2"]);
        assert_eq!(find("order", Shape::End), ["order", "border"]);
        assert_eq!(find("order", Shape::Whole), ["order"]);
        assert_eq!(find("r", Shape::Whole), ["r"]);
        assert_eq!(find("ö", Shape::Within), ["größe"]);
        assert_eq!(find("r", Shape::Within), ["order", "border", "ordered", "bord", "größe", "order2", "r"]);
        assert_eq!(find("x", Shape::Within), [""; 0]);
    }

    #[test]
    fn few_words_share_a_piece() {
        let mut vocabulary = Vocabulary::default();
        let long = "x".repeat(PIECE);
        for words in ["a b", "c", &long, "d", "e"] {
            vocabulary.add(words);
        }
        let lengths: Vec<usize> = vocabulary.pieces.iter().map(|piece| piece.len()).collect();
        assert_eq!(lengths, [" a b c ".len() + PIECE + 1, " d e ".len()]);
    }
}
