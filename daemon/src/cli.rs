//! The command line. The daemon parses the same words when a command reaches it through its control socket.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Mail, file and web server in one daemon, on one store, with one audit log.
#[derive(Parser)]
#[command(name = "wharfinger", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Args)]
pub(crate) struct Global {
    /// The configuration file [default: /etc/wharfinger/wharfinger.toml where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The folder that holds everything [default: the configuration's, or ./wharfinger-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve (the default command)
    Serve,
    /// Validate the configuration and say what it would do
    Check,
    /// Accounts
    #[command(subcommand)]
    User(User),
    /// Addresses that stand for accounts or other addresses
    #[command(subcommand)]
    Alias(Alias),
    /// Domains whose mail is kept here
    #[command(subcommand)]
    Domain(Domain),
    /// Mail that is here
    #[command(subcommand)]
    Mail(Mail),
    /// Take mail from other programs' folders and files into an account; run again, it goes on where it was
    #[command(subcommand)]
    Import(Format),
    /// Write an account's mail into folders and files; run again, it adds what is missing
    #[command(subcommand)]
    Export(Format),
    /// The side of an import or export that has the store
    #[command(hide = true)]
    StoreMail {
        /// Whose
        name: String,
    },
    /// Mail that waits to be sent to other servers
    #[command(subcommand)]
    Queue(Queue),
    /// The audit log
    #[command(subcommand)]
    Audit(Audit),
    /// Print every change of accounts, files and mail as it is made, on whichever node
    Events {
        /// Only those of this account
        #[arg(long)]
        user: Option<String>,
        /// End after so many
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Tell all that happened under the id that stands in a reply
    Trace {
        /// The sixteen characters
        id: String,
    },
    /// Whether the daemon runs, and what the store holds
    Status,
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Subcommand)]
pub(crate) enum Queue {
    /// List what waits
    List {
        #[command(flatten)]
        which: WhichQueued,
    },
    /// Show what waits of one message, by the id that stands in the reply to it
    Show {
        /// The sixteen characters
        id: String,
    },
    /// Try again at once
    Retry {
        #[command(flatten)]
        which: WhichQueued,
    },
    /// Keep from being sent, and from being given up, until it is tried again by command
    Hold {
        #[command(flatten)]
        which: WhichQueued,
    },
    /// Take out of the queue; nobody is told
    Drop {
        #[command(flatten)]
        which: WhichQueued,
    },
}

/// Which of the mail that waits.
#[derive(clap::Args)]
#[group(multiple = false)]
pub(crate) struct WhichQueued {
    /// The id that stands in the reply to the message
    pub(crate) id: Option<String>,
    /// All of it
    #[arg(long)]
    pub(crate) all: bool,
    /// One recipient, by the number in the list
    #[arg(long)]
    pub(crate) row: Option<i64>,
    /// What goes to this domain
    #[arg(long)]
    pub(crate) domain: Option<String>,
    /// What is from or to this address
    #[arg(long)]
    pub(crate) address: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum User {
    /// Add an account
    Add {
        /// What its owner logs in with
        name: String,
        #[command(flatten)]
        password: Password,
        /// It administers the server
        #[arg(long)]
        admin: bool,
        /// The most it may store, like 500M or 10G
        #[arg(long, value_parser = size)]
        quota: Option<i64>,
    },
    /// List the accounts
    List,
    /// Show one account
    Show {
        /// Which
        name: String,
    },
    /// Give an account another password
    Passwd {
        /// Which
        name: String,
        #[command(flatten)]
        password: Password,
    },
    /// Set how much an account may store
    Quota {
        /// Which
        name: String,
        /// Like 500M or 10G; `none` is without limit
        size: String,
    },
    /// Passwords for single devices and programs, which may open less than the account's own
    #[command(subcommand)]
    AppPassword(AppPassword),
    /// Forbid an account to log in; its mail still arrives
    Disable {
        /// Which
        name: String,
    },
    /// Allow an account to log in again
    Enable {
        /// Which
        name: String,
    },
    /// Remove an account with all its mail and files
    Remove {
        /// Which
        name: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum AppPassword {
    /// Make one and print it
    Add {
        /// Whose
        name: String,
        /// What it is for, like `phone`
        #[arg(long)]
        label: String,
        /// Where it is taken; `Mail` among the files is for imap and pop3 [default: everywhere]
        #[arg(long, value_delimiter = ',', value_parser = ["smtp", "imap", "pop3", "ftp", "http"])]
        protocols: Vec<String>,
        /// It may read and change nothing
        #[arg(long)]
        read_only: bool,
        /// When it ends, like 12h, 90d or 1y [default: never]
        #[arg(long, value_parser = span, value_name = "TIME")]
        expires: Option<Duration>,
    },
    /// List those of an account
    List {
        /// Whose
        name: String,
    },
    /// Remove one
    Remove {
        /// Whose
        name: String,
        /// Its number
        id: i64,
    },
}

#[derive(Args)]
pub(crate) struct Password {
    /// Read the password from standard input; without it one is made and printed
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Subcommand)]
pub(crate) enum Alias {
    /// Make an address stand for accounts and for addresses elsewhere, in place of what it stood for
    Add {
        /// Like sales@example.org; @example.org is whatever nobody else has there
        address: String,
        /// Accounts by their names, and addresses
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// List the aliases
    List,
    /// Remove an alias
    Remove {
        /// Which
        address: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum Domain {
    /// Take on the mail of a domain
    Add {
        /// Like example.org
        name: String,
    },
    /// List the domains
    List,
    /// Give a domain up
    Remove {
        /// Which
        name: String,
    },
    /// Print every DNS record that the domain is to have
    Dns {
        /// Which
        name: String,
    },
    /// Compare what DNS says with what it is to say
    Check {
        /// Which
        name: String,
    },
    /// Make new keys to sign mail with; said again once their records are published, they are used
    Rotate {
        /// Which
        name: String,
        /// Use them although DNS does not show them
        #[arg(long)]
        now: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum Mail {
    /// Restore messages that were expunged, each into the mailbox it was in
    Undelete {
        /// Whose
        name: String,
        /// Only those of this mailbox
        #[arg(long, value_name = "MAILBOX")]
        mailbox: Option<String>,
        /// Only what was expunged within this time, like 90m, 12h or 3d
        #[arg(long, value_parser = span)]
        since: Option<Duration>,
        /// Only the messages of these UIDs
        #[arg(long, requires = "mailbox", num_args = 1..)]
        uid: Vec<u32>,
        /// List them and restore nothing
        #[arg(long)]
        list: bool,
    },
    /// Collect the words of all messages anew, by which searches find them; searches are exact meanwhile too
    Reindex {
        /// Only those of this account
        name: Option<String>,
    },
}

/// How mail lies outside the store.
#[derive(Subcommand)]
pub(crate) enum Format {
    /// A Maildir with its folders: a file for each message
    Maildir(Mails),
    /// An mbox file, or a folder of them: a file for each mailbox
    Mbox(Mails),
}

#[derive(Args)]
pub(crate) struct Mails {
    /// Whose mail
    pub(crate) name: String,
    /// The folder or file outside the store
    pub(crate) path: PathBuf,
    /// Import into this mailbox and below it, or export this one alone
    #[arg(long, value_name = "MAILBOX")]
    pub(crate) mailbox: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Print the records that match, oldest first
    Query {
        /// Who acted
        #[arg(long)]
        user: Option<String>,
        /// What was done: a family like `file`, or an action like `file.put`
        #[arg(long)]
        action: Option<String>,
        /// done, refused or failed
        #[arg(long)]
        outcome: Option<String>,
        /// At most this many, the newest ones
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Print the newest records
    Tail {
        /// How many
        #[arg(short = 'n', default_value_t = 20)]
        lines: usize,
    },
    /// Prove that no record was altered, removed or left out
    Verify,
}

/// Bytes, with an optional K, M, G or T for powers of 1024.
pub(crate) fn size(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let power = "KMGT".find(unit.to_ascii_uppercase()).ok_or("the unit is one of K, M, G, T")?;
            (&text[..at], 1_i64 << (10 * (power + 1)))
        }
        _ => (text, 1),
    };
    let number: i64 = digits.parse().map_err(|_| "a size is a number like 500M or 10G".to_owned())?;
    number.checked_mul(factor).filter(|size| *size >= 0).ok_or_else(|| "that size cannot be".to_owned())
}

/// A time: a number of minutes, hours, days, weeks or years.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    const HOUR: u64 = 3600;
    let unknown = || "a time is a number with m, h, d, w or y, like 90d".to_owned();
    let (at, unit) = text.char_indices().next_back().ok_or_else(unknown)?;
    let seconds = match unit {
        'm' => 60,
        'h' => HOUR,
        'd' => 24 * HOUR,
        'w' => 7 * 24 * HOUR,
        'y' => 365 * 24 * HOUR,
        _ => return Err(unknown()),
    };
    let number: u32 = text[..at].parse().map_err(|_| unknown())?;
    match u64::from(number) * seconds {
        0 => Err("a time of nothing".to_owned()),
        span if span > 100 * 365 * 24 * HOUR => Err("a hundred years at most".to_owned()),
        span => Ok(Duration::from_secs(span)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn spans_are_read() {
        let hours = |hours: u64| Ok(Duration::from_secs(hours * 3600));
        assert_eq!(
            (span("12h"), span("90d"), span("2w"), span("1y")),
            (hours(12), hours(2160), hours(336), hours(8760))
        );
        for wrong in ["", "d", "90", "0d", "-1d", "1.5d", "101y", "9999999999y", "90 d", "1é"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!((size("10"), size("1k"), size("2G")), (Ok(10), Ok(1024), Ok(2 << 30)));
        assert!(size("").is_err() && size("G").is_err() && size("1X").is_err() && size("-1").is_err());
        assert!(size("99999999999T").is_err());
    }
}
