//! What each command needs before it may run: the table that the session's loop asks first.

use crate::codec::Command;
use crate::reply::{self, Reply};

/// One row of the table.
pub struct Rule {
    /// The command's name.
    pub name: &'static str,
    /// Where in a session it is legal.
    pub phases: &'static [Phase],
    /// Whether it carries what proves who a client is, and so may come inside TLS alone.
    pub private: bool,
    /// What it does.
    pub effect: Effect,
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
    /// It removes the messages that are marked, in one transaction with its audit record.
    Removal,
}

const ANY: &[Phase] = &[Phase::Authorization, Phase::Named, Phase::Transaction];
const AUTHORIZATION: &[Phase] = &[Phase::Authorization, Phase::Named];
const NAMED: &[Phase] = &[Phase::Named];
const TRANSACTION: &[Phase] = &[Phase::Transaction];

const fn row(name: &'static str, phases: &'static [Phase], private: bool, effect: Effect) -> Rule {
    Rule { name, phases, private, effect }
}

/// Every command that the codec knows.
pub const RULES: &[Rule] = &[
    row("USER", AUTHORIZATION, true, Effect::Session),
    row("PASS", NAMED, true, Effect::Login),
    row("AUTH", AUTHORIZATION, true, Effect::Login),
    row("STLS", AUTHORIZATION, false, Effect::Session),
    row("CAPA", ANY, false, Effect::Nothing),
    row("UTF8", AUTHORIZATION, false, Effect::Session),
    row("STAT", TRANSACTION, false, Effect::Nothing),
    row("LIST", TRANSACTION, false, Effect::Nothing),
    row("UIDL", TRANSACTION, false, Effect::Nothing),
    row("RETR", TRANSACTION, false, Effect::Nothing),
    row("TOP", TRANSACTION, false, Effect::Nothing),
    row("DELE", TRANSACTION, false, Effect::Session),
    row("RSET", TRANSACTION, false, Effect::Session),
    row("NOOP", TRANSACTION, false, Effect::Nothing),
    row("QUIT", ANY, false, Effect::Removal),
];

/// Where a session stands (RFC 1939 §3); the UPDATE state is what QUIT does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nobody is logged in.
    Authorization,
    /// USER was said, and PASS may follow.
    Named,
    /// Somebody is, and has the maildrop locked.
    Transaction,
}

/// What the table is asked about.
pub struct Situation {
    /// Where the session stands.
    pub phase: Phase,
    /// Whether credentials may be sent on this connection.
    pub private: bool,
}

/// Why `command` may not run now; `None` when it may.
pub fn refusal(command: &Command, now: &Situation) -> Option<Reply> {
    let rule = rule(command);
    if rule.private && !now.private {
        return Some(reply::encryption_required());
    }
    if rule.phases.contains(&now.phase) {
        return None;
    }
    Some(match (rule.name, now.phase) {
        ("PASS", Phase::Authorization) => Reply::err("Send USER first"),
        (_, Phase::Authorization | Phase::Named) => Reply::err("Log in first, with USER and PASS or with AUTH"),
        (_, Phase::Transaction) => Reply::err("Already logged in; this comes before the log-in"),
    })
}

fn rule(command: &Command) -> &'static Rule {
    &RULES[match command {
        Command::User(_) => 0,
        Command::Pass(_) => 1,
        Command::Auth { .. } => 2,
        Command::Stls => 3,
        Command::Capa => 4,
        Command::Utf8 => 5,
        Command::Stat => 6,
        Command::List(_) => 7,
        Command::Uidl(_) => 8,
        Command::Retr(_) => 9,
        Command::Top(..) => 10,
        Command::Dele(_) => 11,
        Command::Rset => 12,
        Command::Noop => 13,
        Command::Quit => 14,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_finds_its_own_row() {
        for rule in RULES {
            let arguments = match rule.name {
                "USER" | "PASS" => " word",
                "RETR" | "DELE" => " 1",
                "TOP" => " 1 1",
                _ => "",
            };
            let line = format!("{}{arguments}", rule.name);
            assert_eq!(super::rule(&Command::parse(line.as_bytes()).unwrap()).name, rule.name);
        }
    }

    #[test]
    fn no_credential_is_taken_in_the_clear() {
        for line in ["USER alice", "PASS secret", "AUTH PLAIN AA==", "AUTH"] {
            for phase in ANY {
                let refused =
                    refusal(&Command::parse(line.as_bytes()).unwrap(), &Situation { phase: *phase, private: false });
                assert!(refused.is_some_and(|reply| reply.text.contains("STLS")), "{line}");
            }
        }
    }

    #[test]
    fn without_a_login_there_is_no_mail() {
        for rule in RULES.iter().filter(|rule| rule.phases == TRANSACTION) {
            assert!(!rule.phases.contains(&Phase::Authorization) && !rule.phases.contains(&Phase::Named));
        }
        assert_eq!(RULES.iter().filter(|rule| rule.phases == TRANSACTION).count(), 8);
    }
}
