//! What each command needs before it may run: the table that the session's loop asks first.

use crate::codec::Command;
use crate::reply::Reply;

/// One row of the table.
pub struct Rule {
    /// The command's name.
    pub name: &'static str,
    /// Where in a session it is legal.
    pub phases: &'static [Phase],
    /// On a submission listener: whether it may come before TLS (RFC 3207 §4, RFC 8314 §3.3) and before a log-in.
    pub open: bool,
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
    /// It may put a message into the store, in one transaction with its audit record.
    Delivery,
}

const ANY: &[Phase] = &[Phase::Start, Phase::Greeted, Phase::Sender, Phase::Recipients, Phase::Chunks];
const OUTSIDE: &[Phase] = &[Phase::Start, Phase::Greeted];
const GREETED: &[Phase] = &[Phase::Greeted];
const ENVELOPE: &[Phase] = &[Phase::Sender, Phase::Recipients];
const MESSAGE: &[Phase] = &[Phase::Recipients];
const CHUNKS: &[Phase] = &[Phase::Recipients, Phase::Chunks];

/// Every command that the codec knows.
pub const RULES: &[Rule] = &[
    Rule { name: "HELO", phases: ANY, open: true, effect: Effect::Session },
    Rule { name: "EHLO", phases: ANY, open: true, effect: Effect::Session },
    Rule { name: "LHLO", phases: ANY, open: true, effect: Effect::Session },
    Rule { name: "STARTTLS", phases: OUTSIDE, open: true, effect: Effect::Session },
    Rule { name: "AUTH", phases: GREETED, open: true, effect: Effect::Login },
    Rule { name: "MAIL", phases: GREETED, open: false, effect: Effect::Session },
    Rule { name: "RCPT", phases: ENVELOPE, open: false, effect: Effect::Session },
    Rule { name: "DATA", phases: MESSAGE, open: false, effect: Effect::Delivery },
    Rule { name: "BDAT", phases: CHUNKS, open: false, effect: Effect::Delivery },
    Rule { name: "RSET", phases: ANY, open: true, effect: Effect::Session },
    Rule { name: "NOOP", phases: ANY, open: true, effect: Effect::Nothing },
    Rule { name: "VRFY", phases: ANY, open: false, effect: Effect::Nothing },
    Rule { name: "EXPN", phases: ANY, open: false, effect: Effect::Nothing },
    Rule { name: "HELP", phases: ANY, open: true, effect: Effect::Nothing },
    Rule { name: "QUIT", phases: ANY, open: true, effect: Effect::Session },
];

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The client has not greeted.
    Start,
    /// It has, and there is no transaction.
    Greeted,
    /// A transaction without recipients.
    Sender,
    /// A transaction with recipients.
    Recipients,
    /// A message of which BDAT brought a part.
    Chunks,
}

/// What the table is asked about.
pub struct Situation {
    /// Where the session stands.
    pub phase: Phase,
    /// Whether the listener takes mail only from users.
    pub submission: bool,
    /// Whether it speaks LMTP.
    pub lmtp: bool,
    /// Whether credentials may be sent on this connection.
    pub private: bool,
    /// Whether somebody is logged in.
    pub logged_in: bool,
}

/// Why `command` may not run now; `None` when it may.
pub fn refusal(command: &Command, now: &Situation) -> Option<Reply> {
    let rule = rule(command);
    // Each protocol has its greeting, so that nobody takes one for the other (RFC 2033 §4.1).
    match (rule.name, now.lmtp) {
        ("HELO" | "EHLO", true) => return Some(Reply::new(500, "5.5.1 This is LMTP: greet with LHLO")),
        ("LHLO", false) => return Some(Reply::new(500, "5.5.1 This is SMTP: greet with EHLO")),
        _ => {}
    }
    if now.submission && !rule.open && !now.private {
        return Some(Reply::new(530, "5.7.0 Must issue a STARTTLS command first"));
    }
    if now.submission && !rule.open && !now.logged_in {
        return Some(Reply::new(530, "5.7.0 Authentication required: log in with AUTH first"));
    }
    if rule.phases.contains(&now.phase) {
        return None;
    }
    Some(match (rule.name, now.phase) {
        ("DATA" | "BDAT", Phase::Sender) => Reply::new(554, "5.5.1 No valid recipients"),
        (_, Phase::Start) if now.lmtp => Reply::new(503, "5.5.1 Send LHLO first"),
        (_, Phase::Start) => Reply::new(503, "5.5.1 Send EHLO or HELO first"),
        ("DATA", Phase::Chunks) => Reply::new(503, "5.5.1 BDAT has begun the message; end it with BDAT or RSET"),
        (_, Phase::Greeted) => Reply::new(503, "5.5.1 Send MAIL first"),
        ("MAIL", _) => Reply::new(503, "5.5.1 Nested MAIL command; send RSET to begin anew"),
        _ => Reply::new(503, "5.5.1 Not during a mail transaction"),
    })
}

fn rule(command: &Command) -> &'static Rule {
    &RULES[match command {
        Command::Helo(_) => 0,
        Command::Ehlo(_) => 1,
        Command::Lhlo(_) => 2,
        Command::StartTls => 3,
        Command::Auth { .. } => 4,
        Command::Mail { .. } => 5,
        Command::Rcpt { .. } => 6,
        Command::Data => 7,
        Command::Bdat { .. } => 8,
        Command::Rset => 9,
        Command::Noop => 10,
        Command::Vrfy(_) => 11,
        Command::Expn(_) => 12,
        Command::Help => 13,
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
                "HELO" | "EHLO" | "LHLO" | "VRFY" | "EXPN" => " name",
                "AUTH" => " PLAIN",
                "MAIL" => " FROM:<>",
                "RCPT" => " TO:<postmaster>",
                "BDAT" => " 0",
                _ => "",
            };
            let line = format!("{}{arguments}", rule.name);
            assert_eq!(super::rule(&Command::parse(line.as_bytes()).unwrap()).name, rule.name);
        }
    }

    #[test]
    fn only_a_message_changes_the_store_and_only_inside_a_transaction() {
        for rule in RULES.iter().filter(|rule| rule.effect == Effect::Delivery) {
            assert!(!rule.open && !rule.phases.contains(&Phase::Start) && !rule.phases.contains(&Phase::Greeted));
        }
    }
}
