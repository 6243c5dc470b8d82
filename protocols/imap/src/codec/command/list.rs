//! LIST, LSUB and the items of STATUS (RFC 9051 §6.3.9, §6.3.11; RFC 5258, RFC 5819).

use super::super::lexer::{Lexer, Parsed};
use super::super::{Command, List, StatusItem};

/// How many patterns LIST takes: each is compared with each mailbox.
const PATTERNS: u32 = 100;

/// `LIST [(selection)] reference pattern(s) [RETURN (...)]`.
pub(super) fn list(lexer: &mut Lexer<'_>) -> Parsed<Command> {
    let mut list = List::default();
    lexer.space()?;
    if lexer.peek() == Some(b'(') {
        list.extended = true;
        lexer.list(|lexer| selection(&mut list, lexer))?;
        if list.recursive && !list.subscribed && !list.special_use {
            // RFC 5258 §3: it needs a selection of mailboxes, and REMOTE is none.
            return Err("RECURSIVEMATCH needs SUBSCRIBED or SPECIAL-USE");
        }
        lexer.space()?;
    }
    list.reference = lexer.mailbox()?;
    lexer.space()?;
    if lexer.peek() == Some(b'(') {
        list.extended = true;
        let mut left = PATTERNS;
        let patterns = lexer.list_of_some(|lexer| {
            left = left.checked_sub(1).ok_or("LIST takes at most 100 patterns")?;
            lexer.pattern()
        })?;
        list.patterns = patterns.into_iter().flatten().collect();
    } else {
        list.patterns = lexer.pattern()?.into_iter().collect();
    }
    if lexer.more() {
        list.extended = true;
        lexer.space()?;
        if !lexer.eat_text("RETURN") {
            return Err("behind the patterns stands RETURN or nothing");
        }
        lexer.space()?;
        lexer.list(|lexer| to_return(&mut list, lexer))?;
    }
    Ok(Command::List(list))
}

/// `LSUB reference pattern`.
pub(super) fn lsub(lexer: &mut Lexer<'_>) -> Parsed<Command> {
    lexer.space()?;
    let reference = lexer.mailbox()?;
    lexer.space()?;
    let patterns = lexer.pattern()?.into_iter().collect();
    Ok(Command::List(List { lsub: true, reference, patterns, ..List::default() }))
}

/// `(MESSAGES ...)`, each once.
pub(super) fn status_items(lexer: &mut Lexer<'_>) -> Parsed<Vec<StatusItem>> {
    let mut items = Vec::new();
    lexer.list_of_some(|lexer| {
        let name = lexer.name()?;
        let item = STATUS_ITEMS.into_iter().find(|item| item.name() == name).ok_or("unknown status item")?;
        if !items.contains(&item) {
            items.push(item);
        }
        Ok(())
    })?;
    Ok(items)
}

const STATUS_ITEMS: [StatusItem; 11] = [
    StatusItem::Messages,
    StatusItem::Recent,
    StatusItem::UidNext,
    StatusItem::UidValidity,
    StatusItem::Unseen,
    StatusItem::Deleted,
    StatusItem::DeletedStorage,
    StatusItem::Size,
    StatusItem::HighestModSeq,
    StatusItem::MailboxId,
    StatusItem::AppendLimit,
];

fn selection(list: &mut List, lexer: &mut Lexer<'_>) -> Parsed<()> {
    match lexer.name()?.as_str() {
        "SUBSCRIBED" => list.subscribed = true,
        "REMOTE" => list.remote = true,
        "RECURSIVEMATCH" => list.recursive = true,
        "SPECIAL-USE" => list.special_use = true,
        _ => return Err("unknown selection option of LIST"),
    }
    Ok(())
}

fn to_return(list: &mut List, lexer: &mut Lexer<'_>) -> Parsed<()> {
    match lexer.name()?.as_str() {
        "SUBSCRIBED" => list.return_subscribed = true,
        "CHILDREN" => list.return_children = true,
        "SPECIAL-USE" => list.return_special_use = true,
        "STATUS" => {
            lexer.space()?;
            list.return_status = status_items(lexer)?;
        }
        _ => return Err("unknown return option of LIST"),
    }
    Ok(())
}
