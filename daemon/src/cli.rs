//! The command line. The daemon parses the same words when a command reaches it through its control socket.

use std::path::PathBuf;

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
    /// Addresses that stand for one account or more
    #[command(subcommand)]
    Alias(Alias),
    /// Domains whose mail is kept here
    #[command(subcommand)]
    Domain(Domain),
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

#[derive(Args)]
pub(crate) struct Password {
    /// Read the password from standard input; without it one is made and printed
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Subcommand)]
pub(crate) enum Alias {
    /// Make an address stand for accounts, in place of what it stood for
    Add {
        /// Like sales@example.org
        address: String,
        /// The accounts
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!((size("10"), size("1k"), size("2G")), (Ok(10), Ok(1024), Ok(2 << 30)));
        assert!(size("").is_err() && size("G").is_err() && size("1X").is_err() && size("-1").is_err());
        assert!(size("99999999999T").is_err());
    }
}
