//! A whole command, read at once.

mod fetch;
mod keys;
mod list;
mod search;
mod select;
mod store;

use super::lexer::{Lexer, Parsed, utf8};
use super::{Command, Fault, Tagged};

pub(super) use store::flag_list;

/// Reads a command: its text without the CRLF at its end, literals in it. `utf8` says whether mailbox names come as
/// UTF-8, as they do after ENABLE (RFC 9051 §5.1, RFC 6855 §3). APPEND is none of these: [`super::append`] reads it.
///
/// # Errors
/// See [`Fault`].
pub fn parse(text: &[u8], utf8: bool) -> Result<Tagged, Fault> {
    let mut lexer = Lexer::new(text, utf8);
    let tag = lexer.tag().map_err(|text| Fault { tag: None, text })?;
    match behind_tag(&mut lexer) {
        Ok(command) => Ok(Tagged { tag, command }),
        Err(text) => Err(Fault { tag: Some(tag), text }),
    }
}

/// The command's name and arguments, up to the end.
fn behind_tag(lexer: &mut Lexer<'_>) -> Parsed<Command> {
    lexer.space().map_err(|_| "a command is its tag, a space and its name")?;
    let name = lexer.name().map_err(|_| "a command is its tag, a space and its name")?;
    let command = match name.as_str() {
        "UID" => {
            lexer.space()?;
            let name = lexer.name()?;
            on_messages(&name, true, lexer)?.ok_or("unknown command behind UID")?
        }
        name => match without_arguments(name) {
            Some(command) => command,
            None => match on_session(name, lexer)? {
                Some(command) => command,
                None => match on_mailboxes(name, lexer)? {
                    Some(command) => command,
                    None => on_messages(name, false, lexer)?.ok_or(UNKNOWN)?,
                },
            },
        },
    };
    lexer.end()?;
    Ok(command)
}

const UNKNOWN: &str = "unknown command; CAPABILITY tells what this server knows";

fn without_arguments(name: &str) -> Option<Command> {
    Some(match name {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "STARTTLS" => Command::StartTls,
        "NAMESPACE" => Command::Namespace,
        "IDLE" => Command::Idle,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge(None),
        _ => return None,
    })
}

/// Commands about the session and the account.
fn on_session(name: &str, lexer: &mut Lexer<'_>) -> Parsed<Option<Command>> {
    Ok(Some(match name {
        "ID" => id(lexer)?,
        "AUTHENTICATE" => authenticate(lexer)?,
        "LOGIN" => {
            lexer.space()?;
            let name = lexer.text()?;
            lexer.space()?;
            Command::Login { name, password: lexer.text()? }
        }
        "ENABLE" => enable(lexer)?,
        "GETQUOTA" => {
            lexer.space()?;
            Command::GetQuota(lexer.text()?)
        }
        "GETQUOTAROOT" => {
            lexer.space()?;
            Command::GetQuotaRoot(lexer.mailbox()?)
        }
        "SETQUOTA" => set_quota(lexer)?,
        "COMPRESS" => {
            lexer.space()?;
            if lexer.name()? != "DEFLATE" {
                return Err("the one compression is DEFLATE");
            }
            Command::Compress
        }
        "APPEND" => return Err("APPEND without a message"),
        _ => return Ok(None),
    }))
}

/// Commands about mailboxes as a whole.
fn on_mailboxes(name: &str, lexer: &mut Lexer<'_>) -> Parsed<Option<Command>> {
    Ok(Some(match name {
        "SELECT" => select::select(false, lexer)?,
        "EXAMINE" => select::select(true, lexer)?,
        "CREATE" => create(lexer)?,
        "DELETE" => {
            lexer.space()?;
            Command::Delete(lexer.mailbox()?)
        }
        "RENAME" => {
            lexer.space()?;
            let from = lexer.mailbox()?;
            lexer.space()?;
            Command::Rename { from, to: without_separator(lexer.mailbox()?) }
        }
        "SUBSCRIBE" | "UNSUBSCRIBE" => {
            lexer.space()?;
            Command::Subscribe(lexer.mailbox()?, name == "SUBSCRIBE")
        }
        "LIST" => list::list(lexer)?,
        "LSUB" => list::lsub(lexer)?,
        "STATUS" => {
            lexer.space()?;
            let mailbox = lexer.mailbox()?;
            lexer.space()?;
            Command::Status { mailbox, items: list::status_items(lexer)? }
        }
        _ => return Ok(None),
    }))
}

/// Commands about messages, which `UID` may stand before.
fn on_messages(name: &str, uid: bool, lexer: &mut Lexer<'_>) -> Parsed<Option<Command>> {
    if !matches!(name, "FETCH" | "STORE" | "SEARCH" | "SORT" | "THREAD" | "COPY" | "MOVE" | "EXPUNGE") {
        return Ok(None);
    }
    lexer.space()?;
    Ok(Some(match name {
        "FETCH" => fetch::fetch(uid, lexer)?,
        "STORE" => store::store(uid, lexer)?,
        "SEARCH" => search::search(uid, lexer)?,
        "SORT" => search::sort(uid, lexer)?,
        "THREAD" => search::thread(uid, lexer)?,
        // Without UID it takes no argument and is read already.
        "EXPUNGE" => Command::Expunge(Some(lexer.numbers()?)),
        copy_or_move => {
            let numbers = lexer.numbers()?;
            lexer.space()?;
            let mailbox = lexer.mailbox()?;
            if copy_or_move == "COPY" {
                Command::Copy { uid, numbers, mailbox }
            } else {
                Command::Move { uid, numbers, mailbox }
            }
        }
    }))
}

/// `ID NIL` or `ID (field value ...)`, within the bounds of RFC 2971 §3.3.
fn id(lexer: &mut Lexer<'_>) -> Parsed<Command> {
    lexer.space()?;
    if lexer.nil() {
        return Ok(Command::Id(Vec::new()));
    }
    let mut left = 30;
    let pairs = lexer.list(|lexer| {
        left -= 1;
        if left < 0 {
            return Err("ID takes at most 30 fields");
        }
        let field = utf8(lexer.string()?)?;
        lexer.space()?;
        let value = lexer.nstring()?.map(utf8).transpose()?;
        if field.len() > 30 || value.as_ref().is_some_and(|value| value.len() > 1024) {
            return Err("a field of ID has at most 30 octets, its value 1024");
        }
        Ok((field, value))
    })?;
    Ok(Command::Id(pairs))
}

/// `AUTHENTICATE mechanism [initial-response]`.
fn authenticate(lexer: &mut Lexer<'_>) -> Parsed<Command> {
    lexer.space()?;
    let mechanism = lexer.name()?;
    if !lexer.more() {
        return Ok(Command::Authenticate { mechanism, initial: None });
    }
    lexer.space()?;
    let initial = lexer.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
    let initial = std::str::from_utf8(initial).unwrap_or_default();
    if initial.is_empty() {
        return Err("an initial response is in base 64");
    }
    Ok(Command::Authenticate { mechanism, initial: Some(initial.to_owned()) })
}

/// `ENABLE` and at least one name.
fn enable(lexer: &mut Lexer<'_>) -> Parsed<Command> {
    let mut names = Vec::new();
    while names.is_empty() || lexer.more() {
        lexer.space()?;
        names.push(lexer.name()?);
    }
    Ok(Command::Enable(names))
}

/// `SETQUOTA root (resource limit ...)` (RFC 9208 §4.1.3).
fn set_quota(lexer: &mut Lexer<'_>) -> Parsed<Command> {
    lexer.space()?;
    let root = lexer.text()?;
    lexer.space()?;
    lexer.list(|lexer| {
        lexer.atom()?;
        lexer.space()?;
        lexer.number64()
    })?;
    Ok(Command::SetQuota(root))
}

/// `CREATE mailbox [(USE (...))]` (RFC 6154 §3).
fn create(lexer: &mut Lexer<'_>) -> Parsed<Command> {
    lexer.space()?;
    let mailbox = without_separator(lexer.mailbox()?);
    let mut special_use = Vec::new();
    if lexer.more() {
        lexer.space()?;
        lexer.list_of_some(|lexer| {
            if lexer.name()? != "USE" {
                return Err("unknown parameter of CREATE; USE is known");
            }
            lexer.space()?;
            special_use = lexer.list(|lexer| {
                lexer.expect(b'\\', "a special use begins with \\")?;
                Ok(format!("\\{}", lexer.atom()?))
            })?;
            Ok(())
        })?;
    }
    Ok(Command::Create { mailbox, special_use })
}

/// A name whose last separator declares that names will be made below it (RFC 9051 §6.3.4); `/` alone stays.
fn without_separator(mut name: String) -> String {
    if name.len() > 1 && name.ends_with('/') {
        name.pop();
    }
    name
}
