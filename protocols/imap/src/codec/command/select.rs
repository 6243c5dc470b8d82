//! SELECT and EXAMINE with their parameters (RFC 7162 §3.1.8, §3.2.5).

use super::super::lexer::{Lexer, Parsed};
use super::super::{Command, Qresync, SequenceSet};

/// `SELECT mailbox [(CONDSTORE)]`, `SELECT mailbox (QRESYNC (...))`.
pub(super) fn select(examine: bool, lexer: &mut Lexer<'_>) -> Parsed<Command> {
    lexer.space()?;
    let mailbox = lexer.mailbox()?;
    let (mut condstore, mut qresync) = (false, None);
    if lexer.more() {
        lexer.space()?;
        lexer.list_of_some(|lexer| {
            match lexer.name()?.as_str() {
                "CONDSTORE" => condstore = true,
                "QRESYNC" => qresync = Some(parse_qresync(lexer)?),
                _ => return Err("unknown parameter; CONDSTORE and QRESYNC are known"),
            }
            Ok(())
        })?;
    }
    Ok(Command::Select { mailbox, examine, condstore, qresync })
}

/// `(uidvalidity modseq [known-uids] [(known-sequence-set known-uid-set)])`.
fn parse_qresync(lexer: &mut Lexer<'_>) -> Parsed<Qresync> {
    lexer.space()?;
    lexer.expect(b'(', "QRESYNC takes a list")?;
    let uidvalidity = lexer.nz_number()?;
    lexer.space()?;
    let modseq = lexer.number64()?;
    let mut qresync = Qresync { uidvalidity, modseq, known: None, matches: None };
    if lexer.eat(b' ') && lexer.peek() != Some(b'(') {
        qresync.known = Some(known(lexer)?);
        lexer.eat(b' ');
    }
    if lexer.eat(b'(') {
        let numbers = known(lexer)?;
        lexer.space()?;
        let uids = known(lexer)?;
        lexer.expect(b')', "a parenthesis is not closed")?;
        qresync.matches = Some((numbers, uids));
    }
    lexer.expect(b')', "a parenthesis is not closed")?;
    Ok(qresync)
}

/// A set of what the client knows, which `*` is not.
fn known(lexer: &mut Lexer<'_>) -> Parsed<SequenceSet> {
    let set = lexer.sequence_set()?;
    let open = set.0.iter().any(|range| range.from == u32::MAX || range.to == u32::MAX);
    if open { Err("* is nothing that a client knows") } else { Ok(set) }
}
