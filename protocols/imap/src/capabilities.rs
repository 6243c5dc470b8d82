//! The registry of capabilities: one row for each, which says when it is told and which commands need it. Any of them
//! can be switched off for all, for an account, or for a client.

use std::collections::BTreeSet;

use crate::codec::{Command, Item, Key, Literal, Numbers, Search, SortKey, StatusItem};
use crate::config::Config;
use crate::reply::Reply;

/// One row of the registry.
pub struct Capability {
    /// Its name, as CAPABILITY tells it.
    pub name: &'static str,
    /// When it is told.
    pub shown: Shown,
}

/// When a capability is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Always.
    Always,
    /// Once somebody is logged in.
    LoggedIn,
}

const fn always(name: &'static str) -> Capability {
    Capability { name, shown: Shown::Always }
}

const fn after(name: &'static str) -> Capability {
    Capability { name, shown: Shown::LoggedIn }
}

/// Every capability but STARTTLS, LOGINDISABLED and those of AUTH, which depend on the connection.
pub const CAPABILITIES: &[Capability] = &[
    always("IMAP4rev1"),
    always("IMAP4rev2"),
    always("SASL-IR"),
    always("LITERAL+"),
    always("LITERAL-"),
    always("ENABLE"),
    always("ID"),
    after("APPENDLIMIT"),
    after("BINARY"),
    after("CHILDREN"),
    after("COMPRESS=DEFLATE"),
    after("CONDSTORE"),
    after("CREATE-SPECIAL-USE"),
    after("ESEARCH"),
    after("ESORT"),
    after("IDLE"),
    after("LIST-EXTENDED"),
    after("LIST-STATUS"),
    after("MOVE"),
    after("MULTIAPPEND"),
    after("NAMESPACE"),
    after("OBJECTID"),
    after("PREVIEW"),
    after("QRESYNC"),
    after("QUOTA"),
    after("SAVEDATE"),
    after("SEARCHRES"),
    after("SORT"),
    after("SORT=DISPLAY"),
    after("SPECIAL-USE"),
    after("STATUS=DELETED"),
    after("STATUS=SIZE"),
    after("THREAD=ORDEREDSUBJECT"),
    after("THREAD=REFERENCES"),
    after("UIDPLUS"),
    after("UNSELECT"),
    after("UTF8=ACCEPT"),
    after("WITHIN"),
];

/// Whether there is such a capability, written in any case.
pub fn is_known(name: &str) -> bool {
    CAPABILITIES.iter().any(|capability| capability.name.eq_ignore_ascii_case(name))
}

/// The names of all.
pub fn names() -> Vec<&'static str> {
    CAPABILITIES.iter().map(|capability| capability.name).collect()
}

/// Capabilities that are nothing without another, and off with it.
const BUILT_ON: [(&str, &str); 4] =
    [("QRESYNC", "CONDSTORE"), ("ESORT", "SORT"), ("SORT=DISPLAY", "SORT"), ("SEARCHRES", "ESEARCH")];

/// Response codes that belong to a capability.
const CODES: [(&str, &str); 3] = [("APPENDUID", "UIDPLUS"), ("COPYUID", "UIDPLUS"), ("MAILBOXID", "OBJECTID")];

/// The largest literal that comes without being asked for where only LITERAL- is offered (RFC 7888 §5).
const UNASKED: u64 = 4096;

/// What one session is not offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Off(BTreeSet<String>);

impl Off {
    /// What nobody is offered.
    pub fn for_all(config: &Config) -> Off {
        let mut off = Off::default();
        off.add(&config.disable);
        off
    }

    /// Adds what an account is not offered.
    pub fn add_account(&mut self, config: &Config, account: &str) {
        if let Some(names) = config.accounts.get(account) {
            self.add(names);
        }
    }

    /// Adds what a client is not offered that gives itself this name.
    pub fn add_client(&mut self, config: &Config, client: &str) {
        for (_, names) in config.clients.iter().filter(|(name, _)| name.eq_ignore_ascii_case(client)) {
            self.add(names);
        }
    }

    fn add(&mut self, names: &[String]) {
        self.0.extend(names.iter().map(|name| name.to_ascii_uppercase()));
        for (name, base) in BUILT_ON {
            if self.0.contains(base) {
                self.0.insert(name.to_owned());
            }
        }
    }

    /// Whether a capability is offered.
    pub fn allows(&self, name: &str) -> bool {
        self.0.is_empty() || !self.0.contains(&name.to_ascii_uppercase())
    }

    /// The capability that a literal needs and that is not offered.
    pub fn missing_for(&self, literal: &Literal) -> Option<&'static str> {
        if literal.binary && !self.allows("BINARY") {
            return Some("BINARY");
        }
        if !literal.nonsync || self.allows("LITERAL+") {
            return None;
        }
        match literal.size <= UNASKED {
            true if self.allows("LITERAL-") => None,
            true => Some("LITERAL-"),
            false => Some("LITERAL+"),
        }
    }

    /// A reply without a code that belongs to what is not offered.
    pub fn told(&self, reply: Reply) -> Reply {
        let name = reply.code.as_deref().and_then(|code| code.split(' ').next());
        let off = CODES.iter().any(|(code, base)| Some(*code) == name && !self.allows(base));
        if off { Reply { code: None, ..reply } } else { reply }
    }

    /// The first capability that a command needs and that is not offered.
    pub fn missing(&self, command: &Command) -> Option<&'static str> {
        if self.0.is_empty() {
            return None;
        }
        let mut needed = Vec::new();
        needs(command, &mut needed);
        needed.into_iter().find(|name| !self.allows(name))
    }
}

/// The capabilities that a command is a part of.
fn needs(command: &Command, needed: &mut Vec<&'static str>) {
    let mut when = |wanted: bool, name: &'static str| {
        if wanted {
            needed.push(name);
        }
    };
    let saved = |numbers: &Numbers| *numbers == Numbers::Saved;
    match command {
        Command::Id(_) => when(true, "ID"),
        Command::Enable(_) => when(true, "ENABLE"),
        Command::Authenticate { initial, .. } => when(initial.is_some(), "SASL-IR"),
        Command::Select { condstore, qresync, .. } => {
            when(*condstore, "CONDSTORE");
            when(qresync.is_some(), "QRESYNC");
        }
        Command::Create { special_use, .. } => when(!special_use.is_empty(), "CREATE-SPECIAL-USE"),
        Command::List(list) => {
            when(list.extended, "LIST-EXTENDED");
            when(list.return_children, "CHILDREN");
            when(list.special_use || list.return_special_use, "SPECIAL-USE");
            when(!list.return_status.is_empty(), "LIST-STATUS");
            list.return_status.iter().for_each(|item| status_needs(*item, &mut when));
        }
        Command::Status { items, .. } => items.iter().for_each(|item| status_needs(*item, &mut when)),
        Command::Namespace => when(true, "NAMESPACE"),
        Command::Idle => when(true, "IDLE"),
        Command::GetQuota(_) | Command::GetQuotaRoot(_) | Command::SetQuota(_) => when(true, "QUOTA"),
        Command::Compress => when(true, "COMPRESS=DEFLATE"),
        Command::Unselect => when(true, "UNSELECT"),
        Command::Expunge(uids) => {
            when(uids.is_some(), "UIDPLUS");
            when(uids.as_ref().is_some_and(saved), "SEARCHRES");
        }
        Command::Search { search, .. } => search_needs(search, "ESEARCH", &mut when),
        Command::Sort { order, search, .. } => {
            when(true, "SORT");
            let display = |(key, _): &(SortKey, bool)| matches!(key, SortKey::DisplayFrom | SortKey::DisplayTo);
            when(order.iter().any(display), "SORT=DISPLAY");
            search_needs(search, "ESORT", &mut when);
        }
        Command::Thread { by, search, .. } => {
            when(*by == crate::codec::ThreadBy::References, "THREAD=REFERENCES");
            when(*by == crate::codec::ThreadBy::OrderedSubject, "THREAD=ORDEREDSUBJECT");
            search_needs(search, "ESEARCH", &mut when);
        }
        Command::Fetch { numbers, items, changed_since, vanished, .. } => {
            when(saved(numbers), "SEARCHRES");
            when(changed_since.is_some(), "CONDSTORE");
            when(*vanished, "QRESYNC");
            items.iter().for_each(|item| item_needs(item, &mut when));
        }
        Command::Store { numbers, unchanged_since, .. } => {
            when(saved(numbers), "SEARCHRES");
            when(unchanged_since.is_some(), "CONDSTORE");
        }
        Command::Copy { numbers, .. } => when(saved(numbers), "SEARCHRES"),
        Command::Move { numbers, .. } => {
            when(true, "MOVE");
            when(saved(numbers), "SEARCHRES");
        }
        Command::Capability
        | Command::Noop
        | Command::Logout
        | Command::StartTls
        | Command::Login { .. }
        | Command::Delete(_)
        | Command::Rename { .. }
        | Command::Subscribe(..)
        | Command::Check
        | Command::Close => {}
    }
}

fn status_needs(item: StatusItem, when: &mut impl FnMut(bool, &'static str)) {
    match item {
        StatusItem::Deleted => when(true, "STATUS=DELETED"),
        StatusItem::DeletedStorage => when(true, "QUOTA"),
        StatusItem::Size => when(true, "STATUS=SIZE"),
        StatusItem::HighestModSeq => when(true, "CONDSTORE"),
        StatusItem::MailboxId => when(true, "OBJECTID"),
        StatusItem::AppendLimit => when(true, "APPENDLIMIT"),
        StatusItem::Messages
        | StatusItem::Recent
        | StatusItem::UidNext
        | StatusItem::UidValidity
        | StatusItem::Unseen => {}
    }
}

fn item_needs(item: &Item, when: &mut impl FnMut(bool, &'static str)) {
    match item {
        Item::ModSeq => when(true, "CONDSTORE"),
        Item::EmailId | Item::ThreadId => when(true, "OBJECTID"),
        Item::SaveDate => when(true, "SAVEDATE"),
        Item::Preview(_) => when(true, "PREVIEW"),
        Item::BinarySize(_) => when(true, "BINARY"),
        Item::Section(section) => when(section.binary, "BINARY"),
        _ => {}
    }
}

fn search_needs(search: &Search, returning: &'static str, when: &mut impl FnMut(bool, &'static str)) {
    when(search.returns.is_some(), returning);
    when(search.returns.is_some_and(|returns| returns.save), "SEARCHRES");
    let mut keys = vec![&search.key];
    while let Some(key) = keys.pop() {
        match key {
            Key::Not(key) => keys.push(key),
            Key::Or(one, other) => keys.extend([&**one, &**other]),
            Key::And(all) => keys.extend(all),
            Key::Numbers(Numbers::Saved) | Key::Uid(Numbers::Saved) => when(true, "SEARCHRES"),
            Key::ModSeq(_) => when(true, "CONDSTORE"),
            Key::EmailId(_) | Key::ThreadId(_) => when(true, "OBJECTID"),
            Key::SavedBefore(_) | Key::SavedOn(_) | Key::SavedSince(_) | Key::SaveDateSupported => {
                when(true, "SAVEDATE");
            }
            Key::Older(_) | Key::Younger(_) => when(true, "WITHIN"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_neither_told_nor_done() {
        let config = Config {
            disable: vec!["move".into()],
            accounts: [("alice".to_owned(), vec!["IDLE".to_owned()])].into(),
            clients: [("Old Mail".to_owned(), vec!["QRESYNC".to_owned()])].into(),
            ..Config::default()
        };
        let mut off = Off::for_all(&config);
        assert!(off.missing(&Command::Idle).is_none());
        let moving = Command::Move { uid: false, numbers: Numbers::Saved, mailbox: "a".into() };
        assert_eq!(off.missing(&moving), Some("MOVE"));
        off.add_account(&config, "alice");
        off.add_client(&config, "old mail");
        assert_eq!(off.missing(&Command::Idle), Some("IDLE"));
        assert!(!off.allows("qresync") && off.allows("CONDSTORE"));
    }
}
