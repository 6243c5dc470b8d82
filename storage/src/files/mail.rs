//! `Mail` in every home: the account's mailboxes as folders, a level of their names a folder, and their messages as
//! files, to be read and to be copied. Nothing of it is kept in `nodes`: it is what the mailboxes hold at that moment.

use std::collections::BTreeMap;

use super::tree::{self, NewNode};
use super::{Kind, Node};
use crate::blobs::retain_all;
use crate::db::{Read, Row, Tx, params};
use crate::mail::subject;
use crate::{Error, Timestamp, VPath};

/// Its name in the home.
pub(super) const FOLDER: &str = "Mail";
/// How messages' names end.
const ENDING: &str = ".eml";
/// The longest subject in a name, in characters and in bytes: a name has 255 bytes at most.
const SUBJECT: (usize, usize) = (80, 235);
/// How many messages are copied with one look at them.
const COPIED_AT_ONCE: usize = 1000;

/// What stands below `Mail` at a path: `Some("")` for the folder itself, else the levels that follow; `None` for all
/// that is no mail.
pub(super) fn below(path: &VPath) -> Option<&str> {
    let rest = path.as_str().strip_prefix('/')?.strip_prefix(FOLDER)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

/// Refuses to change what is mail.
pub(super) fn refuse(path: &VPath) -> Result<(), Error> {
    match below(path) {
        None => Ok(()),
        Some(_) => Err(Error::Denied("mail is changed by IMAP alone; copy it to another folder to change it".into())),
    }
}

/// The folder `Mail` of the home `root`.
pub(super) fn top(root: &Node) -> Node {
    folder(FOLDER, level_id(""), root.created, root.created)
}

/// What stands at `name` below `Mail`.
pub(super) fn find(tx: &Read<'_>, account: i64, name: &str) -> Result<Option<Node>, Error> {
    if name.is_empty() {
        return Ok(Some(top(&tree::root(tx, account)?)));
    }
    if let Some((mailbox, file)) = name.rsplit_once('/')
        && let Some(uid) = uid_of(file)
    {
        let sql = "SELECT id FROM mailboxes WHERE account = $1 AND name = $2";
        let Some(id) = tx.row(sql, params![account, mailbox], |row| row.int(0))? else { return Ok(None) };
        return Ok(messages(tx, id, (uid, uid), 1)?.pop());
    }
    let family = family(tx, account, name)?;
    let Some(first) = family.first() else { return Ok(None) };
    let last = name.rsplit('/').next().unwrap_or(name);
    Ok(Some(if first.name == name { first.folder(last) } else { first.level(last, name) }))
}

/// One page of what stands in the folder `name` below `Mail`, as [`super::Home::list`] promises it.
pub(super) fn list(tx: &Read<'_>, account: i64, name: &str, after: &str, limit: usize) -> Result<Vec<Node>, Error> {
    let family = family(tx, account, name)?;
    let mut folders = BTreeMap::new();
    for mailbox in &family {
        let rest = if name.is_empty() { Some(&*mailbox.name) } else { mailbox.below(name) };
        let Some((level, whole)) =
            rest.map(|rest| rest.split_once('/').map_or((rest, true), |(level, _)| (level, false)))
        else {
            continue;
        };
        let path = &mailbox.name[..mailbox.name.len() - rest.map_or(0, str::len) + level.len()];
        if whole {
            folders.insert(level, mailbox.folder(level));
        } else {
            folders.entry(level).or_insert_with(|| mailbox.level(level, path));
        }
    }
    let mut nodes: Vec<Node> = folders.into_values().filter(|node| node.name.as_str() > after).collect();
    if let Some(mailbox) = family.iter().find(|mailbox| mailbox.name == name) {
        // One more, since the first may be `after` itself.
        let found = messages(tx, mailbox.id, (first_uid(after), i64::MAX), limit + 1)?;
        nodes.extend(found.into_iter().filter(|node| node.name.as_str() > after));
        nodes.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    }
    nodes.truncate(limit);
    Ok(nodes)
}

/// Copies a folder of mail with all that is in it into the files without copying content; its id and the bytes it
/// counts for.
pub(super) fn copy(tx: &mut Tx<'_>, account: i64, from: &str, parent: i64, name: &str) -> Result<(i64, u64), Error> {
    let top = tree::insert(tx, account, Some(parent), name, &NewNode::folder())?;
    let mut made = BTreeMap::from([(from.to_owned(), top)]);
    let mut used = 0;
    for mailbox in family(tx, account, from)? {
        let mut folder = top;
        let below = if from.is_empty() { Some(&*mailbox.name) } else { mailbox.below(from) };
        let mut end = mailbox.name.len() - below.map_or(0, str::len);
        for level in below.into_iter().flat_map(|below| below.split('/')) {
            end += level.len();
            let path = &mailbox.name[..end];
            folder = match made.get(path) {
                Some(&known) => known,
                None => tree::insert(tx, account, Some(folder), level, &NewNode::folder())?,
            };
            made.insert(path.to_owned(), folder);
            end += 1;
        }
        used += copy_messages(tx, account, mailbox.id, folder)?;
    }
    Ok((top, used))
}

fn copy_messages(tx: &mut Tx<'_>, account: i64, mailbox: i64, folder: i64) -> Result<u64, Error> {
    let (mut used, mut first) = (0, 0);
    loop {
        let page = messages(tx, mailbox, (first, i64::MAX), COPIED_AT_ONCE)?;
        for Node { name, blob, size, etag, modified, .. } in &page {
            let new = NewNode { blob: *blob, size: *size, etag, modified: *modified };
            tree::insert(tx, account, Some(folder), name, &new)?;
            used += size;
        }
        match page.last().and_then(|last| uid_of(&last.name)) {
            Some(last) if page.len() == COPIED_AT_ONCE => first = last + 1,
            _ => break,
        }
    }
    let counted = "SELECT blob, COUNT(*) AS number FROM messages WHERE mailbox = $1 GROUP BY blob";
    retain_all(tx, counted, mailbox)?;
    Ok(used)
}

/// A mailbox that can be shown.
struct Shown {
    name: String,
    id: i64,
    created: Timestamp,
    modified: Timestamp,
}

impl Shown {
    /// What follows a level in its name.
    fn below(&self, level: &str) -> Option<&str> {
        self.name.strip_prefix(level)?.strip_prefix('/')
    }

    fn folder(&self, name: &str) -> Node {
        folder(name, -(self.id << 32), self.created, self.modified)
    }

    /// A level above it that is no mailbox itself.
    fn level(&self, name: &str, path: &str) -> Node {
        folder(name, level_id(path), self.created, self.created)
    }
}

/// The mailbox of that name, first, and those below it; for the empty name, all.
fn family(tx: &Read<'_>, account: i64, name: &str) -> Result<Vec<Shown>, Error> {
    let sql = "SELECT name, id, uidvalidity,
             (SELECT saved FROM messages WHERE mailbox = mailboxes.id ORDER BY uid DESC LIMIT 1)
         FROM mailboxes WHERE account = $1 AND (name = $2 OR name > $3 AND name < $4) ORDER BY name";
    // '0' follows '/' in the order of bytes.
    let (from, to) = match name {
        "" => (String::new(), char::MAX.to_string()),
        name => (format!("{name}/"), format!("{name}0")),
    };
    let mut family = tx.rows(sql, params![account, name, &from, &to], |row| {
        // A UIDVALIDITY is the second in which the name was given.
        let created = Timestamp::from_seconds(row.int(2)?);
        let modified = row.optional_int(3)?.map_or(created, Timestamp);
        Ok(Shown { name: row.text(0)?, id: row.int(1)?, created, modified })
    })?;
    family.retain(|mailbox| is_path(&mailbox.name));
    Ok(family)
}

/// Whether a mailbox's name can be a path of folders, none of which could be taken for a message.
fn is_path(name: &str) -> bool {
    VPath::parse(&format!("{FOLDER}/{name}")).is_ok() && name.split('/').all(|level| uid_of(level).is_none())
}

/// Messages of a range of UIDs, in their order.
fn messages(tx: &Read<'_>, mailbox: i64, (from, to): (i64, i64), limit: usize) -> Result<Vec<Node>, Error> {
    let sql = "SELECT uid, messages.size, received, saved, messages.blob, hash, envelope
         FROM messages JOIN blobs ON blobs.id = messages.blob LEFT JOIN parsed ON parsed.blob = messages.blob
         WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 ORDER BY uid LIMIT $4";
    let node = |row: &Row<'_>| {
        let uid = row.int(0)?;
        Ok(Node {
            id: -((mailbox << 32) | uid),
            name: file_name(uid, row.optional_text(6)?.and_then(|envelope| subject(&envelope))),
            kind: Kind::File,
            size: row.int(1)? as u64,
            modified: Timestamp(row.int(2)?),
            created: Timestamp(row.int(3)?),
            etag: crate::blobs::etag(&row.bytes(5)?),
            parent: None,
            blob: Some(row.int(4)?),
        })
    };
    tx.rows(sql, params![mailbox, from, to, limit as i64], node)
}

fn folder(name: &str, id: i64, created: Timestamp, modified: Timestamp) -> Node {
    let (size, etag) = (0, String::new());
    Node { id, name: name.to_owned(), kind: Kind::Folder, size, modified, created, etag, parent: None, blob: None }
}

/// A number for a level of names: below those of mailboxes and messages, which are below those of files.
fn level_id(path: &str) -> i64 {
    let hash = *blake3::hash(path.as_bytes()).as_bytes();
    let start = hash.iter().take(7).fold(0, |start, &byte| start << 8 | i64::from(byte));
    i64::MIN + start
}

/// The name of a message: its UID in ten digits, so that names are in the order of UIDs, and its subject as far as file
/// systems take it.
fn file_name(uid: i64, subject: Option<String>) -> String {
    let harmless = |letter: char| match letter {
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
        letter if letter.is_control() => ' ',
        letter => letter,
    };
    // Marks of direction let a name look like another.
    let direction =
        |letter: &char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let text: String = subject.unwrap_or_default().chars().filter(|letter| !direction(letter)).map(harmless).collect();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut end = words.char_indices().nth(SUBJECT.0).map_or(words.len(), |(at, _)| at).min(SUBJECT.1);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    match words[..end].trim_end() {
        "" => format!("{uid:010}{ENDING}"),
        subject => format!("{uid:010} {subject}{ENDING}"),
    }
}

/// The UID in the name of a message, whatever follows it.
fn uid_of(name: &str) -> Option<i64> {
    let name = name.strip_suffix(ENDING)?;
    let digits = name.split_once(' ').map_or(name, |(digits, _)| digits);
    let uid: u32 = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(i64::from(uid))
}

/// The first UID whose message may have a name after `after`.
fn first_uid(after: &str) -> i64 {
    let mut first = 0;
    let mut letters = after.bytes();
    for place in (0..10).rev() {
        let power = 10_i64.pow(place);
        match letters.next() {
            None | Some(..b'0') => return first,
            Some(digit @ b'0'..=b'9') => first += i64::from(digit - b'0') * power,
            Some(_) => return first + 10 * power,
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_for_file_systems() {
        let name = |subject: &str| file_name(5, Some(subject.to_owned()));
        assert_eq!(name(" a\r\n\tb/c\\d:e*f?g\"h<i>j|k "), "0000000005 a b_c_d_e_f_g_h_i_j_k.eml");
        assert_eq!((name(""), file_name(4_294_967_295, None)), ("0000000005.eml".into(), "4294967295.eml".into()));
        assert_eq!(name("\u{202e}exe\u{7f}"), "0000000005 exe.eml");
        assert_eq!(name(&"ä".repeat(200)), format!("0000000005 {}.eml", "ä".repeat(80)));
        assert!(VPath::parse(&name(&"\u{1f600}".repeat(100))).is_ok(), "at most 255 bytes");
    }

    #[test]
    fn the_number_alone_decides() {
        for (name, uid) in [("5.eml", Some(5)), ("0000000005 x y.eml", Some(5)), ("5 .eml", Some(5))] {
            assert_eq!(uid_of(name), uid);
        }
        for name in ["5", "x.eml", "+5.eml", "5x.eml", "4294967296.eml", ".eml", " 5.eml"] {
            assert_eq!(uid_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_page_begins_after_any_name() {
        for after in
            ["", "0000000004", "0000000004 x.eml", "000000001", "00 ", "A", "0000000003A", "5", "x", "00000000:"]
        {
            let later = |uid: &i64| file_name(*uid, None).as_str() > after;
            let skipped = (0..100).take_while(|uid| *uid < first_uid(after)).filter(later).count();
            assert_eq!(skipped, 0, "{after:?} leaves nothing out");
            let before = (0..100).skip_while(|uid| *uid < first_uid(after)).filter(|uid| !later(uid)).count();
            assert!(before <= 1, "{after:?} has {before} too many");
        }
    }
}
