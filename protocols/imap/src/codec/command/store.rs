//! STORE, and flags wherever they stand (RFC 9051 §6.4.6, §2.3.2).

use std::collections::HashSet;

use super::super::lexer::{Lexer, Parsed};
use super::super::{Command, StoreHow};

/// `STORE numbers [(UNCHANGEDSINCE n)] [+-]FLAGS[.SILENT] flags`.
pub(super) fn store(uid: bool, lexer: &mut Lexer<'_>) -> Parsed<Command> {
    let numbers = lexer.numbers()?;
    lexer.space()?;
    let mut unchanged_since = None;
    if lexer.peek() == Some(b'(') {
        lexer.list_of_some(|lexer| {
            if lexer.name()? != "UNCHANGEDSINCE" {
                return Err("unknown modifier of STORE; UNCHANGEDSINCE is known");
            }
            lexer.space()?;
            unchanged_since = Some(lexer.number64()?);
            Ok(())
        })?;
        lexer.space()?;
    }
    let (how, silent) = match lexer.name()?.as_str() {
        "FLAGS" => (StoreHow::Replace, false),
        "FLAGS.SILENT" => (StoreHow::Replace, true),
        "+FLAGS" => (StoreHow::Add, false),
        "+FLAGS.SILENT" => (StoreHow::Add, true),
        "-FLAGS" => (StoreHow::Remove, false),
        "-FLAGS.SILENT" => (StoreHow::Remove, true),
        _ => return Err("STORE stores FLAGS, +FLAGS or -FLAGS, perhaps .SILENT"),
    };
    lexer.space()?;
    let flags = if lexer.peek() == Some(b'(') { flag_list(lexer)? } else { bare_flags(lexer)? };
    Ok(Command::Store { uid, numbers, how, silent, flags, unchanged_since })
}

/// `(flag ...)`; perhaps empty.
pub(in super::super) fn flag_list(lexer: &mut Lexer<'_>) -> Parsed<Vec<String>> {
    lexer.list(flag).map(each_once)
}

/// Flags to the end of the command.
fn bare_flags(lexer: &mut Lexer<'_>) -> Parsed<Vec<String>> {
    let mut flags = vec![flag(lexer)?];
    while lexer.more() {
        lexer.space()?;
        flags.push(flag(lexer)?);
    }
    Ok(each_once(flags))
}

/// The flags of RFC 9051 §2.3.2 that a client may set.
const SYSTEM: [&str; 5] = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];

/// A system flag, in the RFC's spelling, or a keyword as it came.
fn flag(lexer: &mut Lexer<'_>) -> Parsed<String> {
    if !lexer.eat(b'\\') {
        return lexer.atom().map(str::to_owned).map_err(|_| "a flag is missing or malformed");
    }
    let name = lexer.atom().map_err(|_| "a flag is missing or malformed")?;
    let system = SYSTEM.iter().find(|system| system[1..].eq_ignore_ascii_case(name));
    system.map(|&system| system.to_owned()).ok_or("unknown system flag, or one that a client cannot set")
}

/// Flags are the same in any case; the first spelling stays.
fn each_once(mut flags: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    flags.retain(|flag| seen.insert(flag.to_ascii_lowercase()));
    flags
}
