//! SEARCH, SORT and THREAD (RFC 9051 §6.4.4, RFC 5256).

use super::super::lexer::{Lexer, Parsed, utf8};
use super::super::search::Returns;
use super::super::{Command, Search, SortKey, ThreadBy};
use super::keys;

/// `SEARCH [RETURN (...)] [CHARSET charset] key ...`.
pub(super) fn search(uid: bool, lexer: &mut Lexer<'_>) -> Parsed<Command> {
    let returns = returns(lexer)?;
    let mut charset = None;
    if lexer.eat_text("CHARSET ") {
        charset = Some(parse_charset(lexer)?);
        lexer.space()?;
    }
    let key = keys::parse(charset.as_deref(), lexer)?;
    Ok(Command::Search { uid, search: Search { returns, charset, key } })
}

/// `SORT [RETURN (...)] (order) charset key ...` (RFC 5256 §5, RFC 5267 §3).
pub(super) fn sort(uid: bool, lexer: &mut Lexer<'_>) -> Parsed<Command> {
    let returns = returns(lexer)?;
    let order = lexer.list_of_some(sort_key)?;
    lexer.space()?;
    Ok(Command::Sort { uid, order, search: with_charset(returns, lexer)? })
}

/// `THREAD algorithm charset key ...`.
pub(super) fn thread(uid: bool, lexer: &mut Lexer<'_>) -> Parsed<Command> {
    let by = match lexer.name()?.as_str() {
        "REFERENCES" => ThreadBy::References,
        "ORDEREDSUBJECT" => ThreadBy::OrderedSubject,
        _ => return Err("unknown algorithm; REFERENCES and ORDEREDSUBJECT are known"),
    };
    lexer.space()?;
    Ok(Command::Thread { uid, by, search: with_charset(None, lexer)? })
}

/// `charset key ...`: SORT and THREAD always name the charset.
fn with_charset(returns: Option<Returns>, lexer: &mut Lexer<'_>) -> Parsed<Search> {
    let charset = parse_charset(lexer)?;
    lexer.space()?;
    let key = keys::parse(Some(&charset), lexer)?;
    Ok(Search { returns, charset: Some(charset), key })
}

fn parse_charset(lexer: &mut Lexer<'_>) -> Parsed<String> {
    Ok(utf8(lexer.astring()?)?.to_ascii_uppercase())
}

/// `RETURN (...) `, if it is there.
fn returns(lexer: &mut Lexer<'_>) -> Parsed<Option<Returns>> {
    if !lexer.eat_text("RETURN ") {
        return Ok(None);
    }
    let mut returns = Returns::default();
    lexer.list(|lexer| {
        match lexer.name()?.as_str() {
            "MIN" => returns.min = true,
            "MAX" => returns.max = true,
            "ALL" => returns.all = true,
            "COUNT" => returns.count = true,
            "SAVE" => returns.save = true,
            _ => return Err("unknown return option; MIN, MAX, ALL, COUNT and SAVE are known"),
        }
        Ok(())
    })?;
    lexer.space()?;
    Ok(Some(returns))
}

/// A key to sort by, and whether `REVERSE` stands before it.
fn sort_key(lexer: &mut Lexer<'_>) -> Parsed<(SortKey, bool)> {
    let mut name = lexer.name()?;
    let reverse = name == "REVERSE";
    if reverse {
        lexer.space()?;
        name = lexer.name()?;
    }
    let key = match name.as_str() {
        "ARRIVAL" => SortKey::Arrival,
        "CC" => SortKey::Cc,
        "DATE" => SortKey::Date,
        "FROM" => SortKey::From,
        "SIZE" => SortKey::Size,
        "SUBJECT" => SortKey::Subject,
        "TO" => SortKey::To,
        "DISPLAYFROM" => SortKey::DisplayFrom,
        "DISPLAYTO" => SortKey::DisplayTo,
        _ => return Err("unknown key to sort by"),
    };
    Ok((key, reverse))
}
