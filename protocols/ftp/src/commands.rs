//! The commands as data: what each needs, what it does, how it is called.

/// What a command does to the account's data; every one that changes it is audited by the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Only the session changes.
    Session,
    /// Data is read.
    Reads,
    /// Data changes.
    Changes,
}

/// What is known of a command before it is carried out.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The verb.
    pub verb: &'static str,
    /// Whether it needs a log-in.
    pub login: bool,
    /// What it does.
    pub effect: Effect,
    /// How it is written, for HELP.
    pub syntax: &'static str,
}

const fn free(verb: &'static str, syntax: &'static str) -> Rule {
    Rule { verb, login: false, effect: Effect::Session, syntax }
}

const fn user(verb: &'static str, effect: Effect, syntax: &'static str) -> Rule {
    Rule { verb, login: true, effect, syntax }
}

use Effect::{Changes, Reads, Session};

/// Every command there is.
pub const RULES: &[Rule] = &[
    free("AUTH", "AUTH TLS"),
    free("PBSZ", "PBSZ 0"),
    free("PROT", "PROT P|C"),
    free("CCC", "CCC"),
    free("USER", "USER name"),
    free("PASS", "PASS password"),
    free("ACCT", "ACCT"),
    free("REIN", "REIN"),
    free("QUIT", "QUIT"),
    free("FEAT", "FEAT"),
    free("OPTS", "OPTS command [options]"),
    free("HELP", "HELP [command]"),
    free("NOOP", "NOOP"),
    free("SYST", "SYST"),
    free("CLNT", "CLNT name"),
    user("PASV", Session, "PASV"),
    user("EPSV", Session, "EPSV [1|2|ALL]"),
    user("PORT", Session, "PORT h1,h2,h3,h4,p1,p2"),
    user("EPRT", Session, "EPRT |1|address|port|"),
    user("TYPE", Session, "TYPE A|I|L 8"),
    user("MODE", Session, "MODE S"),
    user("STRU", Session, "STRU F"),
    user("ALLO", Session, "ALLO size"),
    user("REST", Session, "REST offset"),
    user("ABOR", Session, "ABOR"),
    user("CWD", Reads, "CWD path"),
    user("CDUP", Reads, "CDUP"),
    user("PWD", Session, "PWD"),
    user("LIST", Reads, "LIST [path]"),
    user("NLST", Reads, "NLST [path]"),
    user("MLSD", Reads, "MLSD [path]"),
    user("MLST", Reads, "MLST [path]"),
    user("STAT", Reads, "STAT [path]"),
    user("SIZE", Reads, "SIZE path"),
    user("MDTM", Reads, "MDTM path"),
    user("HASH", Reads, "HASH path"),
    user("RETR", Reads, "RETR path"),
    user("STOR", Changes, "STOR path"),
    user("STOU", Changes, "STOU"),
    user("APPE", Changes, "APPE path"),
    user("MFMT", Changes, "MFMT YYYYMMDDHHMMSS path"),
    user("MKD", Changes, "MKD path"),
    user("RMD", Changes, "RMD path"),
    user("DELE", Changes, "DELE path"),
    user("RNFR", Reads, "RNFR path"),
    user("RNTO", Changes, "RNTO path"),
    user("SITE", Session, "SITE HELP"),
];

/// The rule of a verb.
pub fn rule(verb: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.verb == verb)
}

/// What FEAT tells beyond RFC 959 (RFC 2389 §3).
pub const FEATURES: &[&str] = &[
    "AUTH TLS",
    "CLNT",
    "EPRT",
    "EPSV",
    "HASH SHA-256*;SHA-512",
    "MDTM",
    "MFMT",
    "PBSZ",
    "PROT",
    "REST STREAM",
    "SIZE",
    "TVFS",
    "UTF8",
];
