//! What each command needs before it may run: the table that the session's loop asks first.

use crate::codec::Command;
use crate::reply::Reply;

/// One row of the table.
pub struct Rule {
    /// The command's name.
    pub name: &'static str,
    /// Where in a session it is legal.
    pub phases: &'static [Phase],
    /// What it does.
    pub effect: Effect,
}

/// Where a session stands (RFC 9051 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nobody is logged in.
    NotAuthenticated,
    /// Somebody is.
    Authenticated,
    /// A mailbox is open, too.
    Selected,
}

/// What a command does when it succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It tells something.
    Nothing,
    /// It changes the session alone.
    Session,
    /// It proves who the client is; the log-in audits itself.
    Login,
    /// It changes the account's mail, in one transaction with its audit record.
    Change,
}

const ANY: &[Phase] = &[Phase::NotAuthenticated, Phase::Authenticated, Phase::Selected];
const OUTSIDE: &[Phase] = &[Phase::NotAuthenticated];
const INSIDE: &[Phase] = &[Phase::Authenticated, Phase::Selected];
const SELECTED: &[Phase] = &[Phase::Selected];

const fn rule(name: &'static str, phases: &'static [Phase], effect: Effect) -> Rule {
    Rule { name, phases, effect }
}

/// Every command that the codec knows, and APPEND.
pub const RULES: &[Rule] = &[
    rule("CAPABILITY", ANY, Effect::Nothing),
    rule("NOOP", ANY, Effect::Nothing),
    rule("LOGOUT", ANY, Effect::Session),
    rule("ID", ANY, Effect::Session),
    rule("STARTTLS", OUTSIDE, Effect::Session),
    rule("AUTHENTICATE", OUTSIDE, Effect::Login),
    rule("LOGIN", OUTSIDE, Effect::Login),
    rule("ENABLE", INSIDE, Effect::Session),
    rule("SELECT", INSIDE, Effect::Session),
    rule("CREATE", INSIDE, Effect::Change),
    rule("DELETE", INSIDE, Effect::Change),
    rule("RENAME", INSIDE, Effect::Change),
    rule("SUBSCRIBE", INSIDE, Effect::Change),
    rule("LIST", INSIDE, Effect::Nothing),
    rule("NAMESPACE", INSIDE, Effect::Nothing),
    rule("STATUS", INSIDE, Effect::Nothing),
    rule("IDLE", INSIDE, Effect::Nothing),
    rule("GETQUOTA", INSIDE, Effect::Nothing),
    rule("GETQUOTAROOT", INSIDE, Effect::Nothing),
    rule("SETQUOTA", INSIDE, Effect::Nothing),
    rule("COMPRESS", INSIDE, Effect::Session),
    rule("CHECK", SELECTED, Effect::Nothing),
    rule("CLOSE", SELECTED, Effect::Change),
    rule("UNSELECT", SELECTED, Effect::Session),
    rule("EXPUNGE", SELECTED, Effect::Change),
    rule("SEARCH", SELECTED, Effect::Session),
    rule("SORT", SELECTED, Effect::Session),
    rule("THREAD", SELECTED, Effect::Session),
    rule("FETCH", SELECTED, Effect::Change),
    rule("STORE", SELECTED, Effect::Change),
    rule("COPY", SELECTED, Effect::Change),
    rule("MOVE", SELECTED, Effect::Change),
    rule("APPEND", INSIDE, Effect::Change),
];

/// Why `command` may not run now; `None` when it may.
pub fn refusal(command: &Command, now: Phase) -> Option<Reply> {
    refused(name(command), now)
}

/// Why APPEND, which is no [`Command`], may not run now.
pub fn append_refusal(now: Phase) -> Option<Reply> {
    refused("APPEND", now)
}

fn refused(name: &str, now: Phase) -> Option<Reply> {
    let rule = RULES.iter().find(|rule| rule.name == name)?;
    if rule.phases.contains(&now) {
        return None;
    }
    Some(Reply::bad(match (rule.phases, now) {
        (_, Phase::NotAuthenticated) => "Log in first",
        (phases, Phase::Authenticated) if phases == SELECTED => "Select a mailbox first",
        _ => "Already logged in",
    }))
}

/// The name of a command's row.
pub fn name(command: &Command) -> &'static str {
    match command {
        Command::Capability => "CAPABILITY",
        Command::Noop => "NOOP",
        Command::Logout => "LOGOUT",
        Command::Id(_) => "ID",
        Command::StartTls => "STARTTLS",
        Command::Authenticate { .. } => "AUTHENTICATE",
        Command::Login { .. } => "LOGIN",
        Command::Enable(_) => "ENABLE",
        Command::Select { .. } => "SELECT",
        Command::Create { .. } => "CREATE",
        Command::Delete(_) => "DELETE",
        Command::Rename { .. } => "RENAME",
        Command::Subscribe(..) => "SUBSCRIBE",
        Command::List(_) => "LIST",
        Command::Namespace => "NAMESPACE",
        Command::Status { .. } => "STATUS",
        Command::Idle => "IDLE",
        Command::GetQuota(_) => "GETQUOTA",
        Command::GetQuotaRoot(_) => "GETQUOTAROOT",
        Command::SetQuota(_) => "SETQUOTA",
        Command::Compress => "COMPRESS",
        Command::Check => "CHECK",
        Command::Close => "CLOSE",
        Command::Unselect => "UNSELECT",
        Command::Expunge(_) => "EXPUNGE",
        Command::Search { .. } => "SEARCH",
        Command::Sort { .. } => "SORT",
        Command::Thread { .. } => "THREAD",
        Command::Fetch { .. } => "FETCH",
        Command::Store { .. } => "STORE",
        Command::Copy { .. } => "COPY",
        Command::Move { .. } => "MOVE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_touches_mail_before_a_login() {
        for rule in RULES.iter().filter(|rule| rule.effect == Effect::Change) {
            assert!(!rule.phases.contains(&Phase::NotAuthenticated), "{}", rule.name);
        }
        assert!(refusal(&Command::Close, Phase::Authenticated).is_some());
        assert!(refusal(&Command::Close, Phase::Selected).is_none());
        assert!(append_refusal(Phase::NotAuthenticated).is_some());
    }
}
