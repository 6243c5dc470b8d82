//! Command lines of FTP, both ways (RFC 959 §4.1 and its extensions): pure, so that the fuzzer includes this file as it
//! stands.

use std::borrow::Cow;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};

#[path = "codec/address.rs"]
pub mod address;
#[path = "codec/moment.rs"]
pub mod moment;

use address::{Family, eprt, port};
pub use moment::{Civil, Moment};

/// A command as the client gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[rustfmt::skip]
#[allow(missing_docs, reason = "each is named after its command; what they do stands in `commands`")]
pub enum Command {
    User(String), Pass(Hidden), Acct(Hidden), Rein, Quit,
    Auth(String), Pbsz(u64), Prot(char), Ccc,
    Pasv, Epsv(Epsv), Port(SocketAddrV4), Eprt(SocketAddr),
    Type(Type), Mode(char), Stru(char), Allo(u64), Rest(u64),
    Retr(String), Stor(String), Appe(String), Stou(Option<String>), Abor,
    List(Option<String>), Nlst(Option<String>), Mlsd(Option<String>), Mlst(Option<String>), Stat(Option<String>),
    Cwd(String), Cdup, Pwd, Mkd(String), Rmd(String), Dele(String), Rnfr(String), Rnto(String),
    Size(String), Mdtm(String), Mfmt(Moment, String),
    Hash(String), Sum(Algorithm, String),
    Feat, Opts(String), Help(Option<String>), Noop, Syst, Site(Site), Clnt(String),
    /// A command of RFC 959 that nobody needs here: SMNT.
    Smnt,
}

/// What a reply or a log must never show.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

/// The argument of EPSV (RFC 2428 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epsv {
    /// None: the family of the control connection.
    Same,
    /// One family.
    Of(Family),
    /// From now on nothing but EPSV.
    All,
}

/// How content is represented (RFC 959 §3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `A`, `A N`.
    Ascii,
    /// `I`, `L 8`.
    Image,
}

/// What HASH computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// The checksum of ISO 3309, as in gzip.
    Crc32,
}

impl Algorithm {
    /// All of them, the preferred one first.
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Crc32];

    /// Its name in FEAT, OPTS HASH and the reply (draft-bryan-ftpext-hash §3).
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512 => "SHA-512",
            Algorithm::Crc32 => "CRC32",
        }
    }
}

/// A SITE command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// What there is.
    Help,
    /// `CHMOD mode path`.
    Chmod(String),
    /// `UTIME time path`, or `UTIME path atime mtime ctime UTC`.
    Utime(Moment, String),
    /// Any other.
    Other(String),
}

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It holds control characters, or is not UTF-8 (RFC 2640 §2.2).
    Characters,
    /// No such command.
    Unknown,
    /// The argument is missing or wrong; how it should be.
    Argument(&'static str),
    /// The argument is right, but that value is not supported (504).
    Value(&'static str),
}

/// How a command's argument is read.
enum Argument {
    None(Command),
    /// All behind the one space, as it is: a path may begin and end with spaces.
    Path(fn(String) -> Command),
    /// The same, or none.
    Optional(fn(Option<String>) -> Command),
    /// A path, or none, behind options of `ls`, which are ignored.
    Listing(fn(Option<String>) -> Command),
    Other(fn(&str) -> Result<Command, Fault>),
}

#[rustfmt::skip]
const GRAMMAR: &[(&str, Argument)] = &[
    ("USER", Argument::Path(Command::User)), ("PASS", Argument::Other(|text| Ok(Command::Pass(Hidden(text.into()))))),
    ("ACCT", Argument::Other(|text| Ok(Command::Acct(Hidden(text.into()))))), ("REIN", Argument::None(Command::Rein)),
    ("QUIT", Argument::None(Command::Quit)), ("AUTH", Argument::Other(auth)), ("PBSZ", Argument::Other(pbsz)),
    ("PROT", Argument::Other(|text| letter(text, Command::Prot, "PROT C or PROT P"))),
    ("CCC", Argument::None(Command::Ccc)), ("PASV", Argument::None(Command::Pasv)), ("EPSV", Argument::Other(epsv)),
    ("PORT", Argument::Other(|text| port(text).map(Command::Port))),
    ("EPRT", Argument::Other(|text| eprt(text).map(Command::Eprt))), ("TYPE", Argument::Other(type_)),
    ("MODE", Argument::Other(|text| letter(text, Command::Mode, "MODE S"))),
    ("STRU", Argument::Other(|text| letter(text, Command::Stru, "STRU F"))),
    ("ALLO", Argument::Other(allo)), ("REST", Argument::Other(|text| number(text, "REST offset").map(Command::Rest))),
    ("RETR", Argument::Path(Command::Retr)), ("STOR", Argument::Path(Command::Stor)),
    ("APPE", Argument::Path(Command::Appe)), ("STOU", Argument::Optional(Command::Stou)),
    ("ABOR", Argument::None(Command::Abor)), ("LIST", Argument::Listing(Command::List)),
    ("NLST", Argument::Listing(Command::Nlst)), ("MLSD", Argument::Optional(Command::Mlsd)),
    ("MLST", Argument::Optional(Command::Mlst)), ("STAT", Argument::Listing(Command::Stat)),
    ("CWD", Argument::Path(Command::Cwd)), ("CDUP", Argument::None(Command::Cdup)),
    ("PWD", Argument::None(Command::Pwd)), ("MKD", Argument::Path(Command::Mkd)),
    ("RMD", Argument::Path(Command::Rmd)), ("DELE", Argument::Path(Command::Dele)),
    ("RNFR", Argument::Path(Command::Rnfr)), ("RNTO", Argument::Path(Command::Rnto)),
    ("SIZE", Argument::Path(Command::Size)), ("MDTM", Argument::Path(Command::Mdtm)),
    ("MFMT", Argument::Other(mfmt)), ("HASH", Argument::Path(Command::Hash)),
    ("XSHA256", Argument::Path(|path| Command::Sum(Algorithm::Sha256, path))),
    ("XSHA512", Argument::Path(|path| Command::Sum(Algorithm::Sha512, path))),
    ("XCRC", Argument::Path(|path| Command::Sum(Algorithm::Crc32, path))),
    ("FEAT", Argument::None(Command::Feat)), ("OPTS", Argument::Path(Command::Opts)),
    ("HELP", Argument::Optional(Command::Help)), ("NOOP", Argument::None(Command::Noop)),
    ("SYST", Argument::None(Command::Syst)), ("SITE", Argument::Other(site)), ("CLNT", Argument::Path(Command::Clnt)),
    ("SMNT", Argument::None(Command::Smnt)),
    // RFC 775 names, which old clients still send (RFC 1123 §4.1.3.1).
    ("XCWD", Argument::Path(Command::Cwd)), ("XCUP", Argument::None(Command::Cdup)),
    ("XPWD", Argument::None(Command::Pwd)), ("XMKD", Argument::Path(Command::Mkd)),
    ("XRMD", Argument::Path(Command::Rmd)),
];

impl Command {
    /// Reads a line without its end. Telnet commands in it are dropped (RFC 959 §4.1.3 asks for them before ABOR).
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn parse(line: &[u8]) -> Result<Command, Fault> {
        let line = without_telnet(line);
        let line = std::str::from_utf8(&line).map_err(|_| Fault::Characters)?;
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let known = GRAMMAR.iter().find(|(name, _)| name.eq_ignore_ascii_case(verb));
        let (_, grammar) = known.ok_or(Fault::Unknown)?;
        if line.chars().any(char::is_control) {
            return Err(Fault::Characters);
        }
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match grammar {
            Argument::None(command) => Ok(command.clone()),
            Argument::Path(make) => given(argument).map(make).ok_or(Fault::Argument("an argument is missing")),
            Argument::Optional(make) => Ok(make(given(argument))),
            Argument::Listing(make) => Ok(make(given(without_options(argument)))),
            Argument::Other(read) => read(argument),
        }
    }

    /// The command's name, by which the table of rules knows it.
    #[rustfmt::skip]
    pub fn name(&self) -> &'static str {
        match self {
            Command::User(_) => "USER", Command::Pass(_) => "PASS", Command::Acct(_) => "ACCT", Command::Rein => "REIN",
            Command::Quit => "QUIT", Command::Auth(_) => "AUTH", Command::Pbsz(_) => "PBSZ", Command::Prot(_) => "PROT",
            Command::Ccc => "CCC", Command::Pasv => "PASV", Command::Epsv(_) => "EPSV", Command::Port(_) => "PORT",
            Command::Eprt(_) => "EPRT", Command::Type(_) => "TYPE", Command::Mode(_) => "MODE",
            Command::Stru(_) => "STRU", Command::Allo(_) => "ALLO", Command::Rest(_) => "REST",
            Command::Retr(_) => "RETR", Command::Stor(_) => "STOR", Command::Appe(_) => "APPE",
            Command::Stou(_) => "STOU", Command::Abor => "ABOR", Command::List(_) => "LIST", Command::Nlst(_) => "NLST",
            Command::Mlsd(_) => "MLSD", Command::Mlst(_) => "MLST", Command::Stat(_) => "STAT",
            Command::Cwd(_) => "CWD", Command::Cdup => "CDUP", Command::Pwd => "PWD", Command::Mkd(_) => "MKD",
            Command::Rmd(_) => "RMD", Command::Dele(_) => "DELE", Command::Rnfr(_) => "RNFR",
            Command::Rnto(_) => "RNTO", Command::Size(_) => "SIZE", Command::Mdtm(_) => "MDTM",
            Command::Mfmt(..) => "MFMT", Command::Hash(_) => "HASH",
            Command::Sum(Algorithm::Sha256, _) => "XSHA256", Command::Sum(Algorithm::Sha512, _) => "XSHA512",
            Command::Sum(Algorithm::Crc32, _) => "XCRC", Command::Feat => "FEAT", Command::Opts(_) => "OPTS",
            Command::Help(_) => "HELP", Command::Noop => "NOOP", Command::Syst => "SYST", Command::Site(_) => "SITE",
            Command::Clnt(_) => "CLNT", Command::Smnt => "SMNT",
        }
    }

    fn argument(&self) -> Option<Cow<'_, str>> {
        use Command as C;
        Some(match self {
            C::User(text) | C::Auth(text) | C::Opts(text) | C::Clnt(text) => text.into(),
            C::Pass(Hidden(text)) | C::Acct(Hidden(text)) => text.into(),
            C::Retr(path) | C::Stor(path) | C::Appe(path) | C::Cwd(path) | C::Mkd(path) | C::Rmd(path) => path.into(),
            C::Dele(path) | C::Rnfr(path) | C::Rnto(path) | C::Size(path) | C::Mdtm(path) => path.into(),
            C::Hash(path) | C::Sum(_, path) => path.into(),
            C::Stou(path) | C::List(path) | C::Nlst(path) | C::Mlsd(path) | C::Mlst(path) | C::Stat(path) => {
                path.as_deref()?.into()
            }
            C::Help(topic) => topic.as_deref()?.into(),
            C::Prot(letter) | C::Mode(letter) | C::Stru(letter) => letter.to_string().into(),
            C::Pbsz(number) | C::Allo(number) | C::Rest(number) => number.to_string().into(),
            C::Epsv(Epsv::Same) => return None,
            C::Epsv(Epsv::All) => "ALL".into(),
            C::Epsv(Epsv::Of(family)) => family.number().into(),
            C::Port(target) => address::comma(*target).into(),
            C::Eprt(target) => address::bars(*target).into(),
            C::Type(Type::Ascii) => "A".into(),
            C::Type(Type::Image) => "I".into(),
            C::Mfmt(time, path) => format!("{time} {path}").into(),
            C::Site(Site::Help) => "HELP".into(),
            C::Site(Site::Chmod(rest)) => format!("CHMOD {rest}").into(),
            C::Site(Site::Utime(time, path)) => format!("UTIME {time} {path}").into(),
            C::Site(Site::Other(text)) => text.into(),
            C::Rein | C::Quit | C::Ccc | C::Pasv | C::Abor | C::Cdup | C::Pwd | C::Feat | C::Noop | C::Syst => {
                return None;
            }
            C::Smnt => return None,
        })
    }
}

impl fmt::Display for Command {
    /// Writes it so that it is read as the same.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.argument() {
            Some(argument) => write!(out, "{} {argument}", self.name()),
            None => out.write_str(self.name()),
        }
    }
}

/// The line without the Telnet commands that RFC 854 allows anywhere. The data mark of a Synch is urgent data, so it may
/// come alone, or its IAC may.
fn without_telnet(line: &[u8]) -> Cow<'_, [u8]> {
    const IAC: u8 = 255;
/// The lowest of the codes behind IAC; none of them is found in UTF-8 text.
const COMMANDS: u8 = 240;
    const DATA_MARK: u8 = 242;
    if !line.iter().any(|&byte| byte >= DATA_MARK) {
        return line.into();
    }
    let (mut text, mut rest) = (Vec::with_capacity(line.len()), line);
    while let Some((&byte, behind)) = rest.split_first() {
        rest = match (byte, behind.first()) {
            // WILL, WONT, DO, DONT have an option behind them.
            (IAC, Some(251..=254)) => behind.get(2..).unwrap_or_default(),
            (IAC, Some(240..=250)) => &behind[1..],
            (IAC, _) => behind,
            (DATA_MARK, _) if text.is_empty() => behind,
            _ => {
                text.push(byte);
                behind
            }
        };
    }
    text.into()
}

/// `-la`, `-F` and the like mean something to a shell; clients send them from habit.
fn without_options(argument: &str) -> &str {
    let mut rest = argument;
    while rest.starts_with('-') {
        rest = rest.split_once(' ').map_or("", |(_, behind)| behind.trim_start_matches(' '));
    }
    rest
}

fn auth(text: &str) -> Result<Command, Fault> {
    let mechanism = text.trim().to_ascii_uppercase();
    if mechanism.is_empty() { Err(Fault::Argument("AUTH TLS")) } else { Ok(Command::Auth(mechanism)) }
}

fn pbsz(text: &str) -> Result<Command, Fault> {
    // RFC 2228 §3: up to 32 bits.
    let size = number(text, "PBSZ 0")?;
    if size > u64::from(u32::MAX) { Err(Fault::Argument("PBSZ 0")) } else { Ok(Command::Pbsz(size)) }
}

fn letter(text: &str, make: fn(char) -> Command, usage: &'static str) -> Result<Command, Fault> {
    let mut letters = text.trim().chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) => Ok(make(letter.to_ascii_uppercase())),
        _ => Err(Fault::Argument(usage)),
    }
}

fn number(text: &str, usage: &'static str) -> Result<u64, Fault> {
    let digits = text.trim();
    // The library's parser takes a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::Argument(usage));
    }
    digits.parse().map_err(|_| Fault::Argument(usage))
}

/// `ALLO size [R record]` (RFC 959 §4.1.3).
fn allo(text: &str) -> Result<Command, Fault> {
    let usage = "ALLO bytes";
    number(text.split_whitespace().next().ok_or(Fault::Argument(usage))?, usage).map(Command::Allo)
}

fn epsv(text: &str) -> Result<Command, Fault> {
    let text = text.trim();
    Ok(Command::Epsv(match text {
        "" => Epsv::Same,
        _ if text.eq_ignore_ascii_case("ALL") => Epsv::All,
        _ => Epsv::Of(Family::parse(text)?),
    }))
}

fn type_(text: &str) -> Result<Command, Fault> {
    let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
    let (kind, form) = (words.next().unwrap_or_default(), words.next());
    match (kind.as_str(), form.as_deref()) {
        ("A", None | Some("N")) => Ok(Command::Type(Type::Ascii)),
        ("I", None) | ("L", Some("8")) => Ok(Command::Type(Type::Image)),
        ("A", _) => Err(Fault::Value("of the ASCII forms only N (non-print) is supported")),
        ("L", Some(_)) => Err(Fault::Value("of the local types only L 8 is supported")),
        ("E", _) => Err(Fault::Value("EBCDIC is not supported")),
        _ => Err(Fault::Argument("TYPE A, TYPE I or TYPE L 8")),
    }
}

fn mfmt(text: &str) -> Result<Command, Fault> {
    moment::before_path(text).map(|(time, path)| Command::Mfmt(time, path.to_owned())).ok_or(Fault::Argument(
        "MFMT YYYYMMDDhhmmss path",
    ))
}

fn site(text: &str) -> Result<Command, Fault> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(Command::Site(match verb.to_ascii_uppercase().as_str() {
        "" => return Err(Fault::Argument("SITE HELP")),
        "HELP" => Site::Help,
        "CHMOD" => Site::Chmod(rest.to_owned()),
        "UTIME" => {
            let (time, path) = moment::before_path(rest)
                .or_else(|| moment::behind_path(rest))
                .ok_or(Fault::Argument("SITE UTIME YYYYMMDDhhmmss path"))?;
            Site::Utime(time, path.to_owned())
        }
        _ => Site::Other(text.to_owned()),
    }))
}

#[cfg(test)]
#[path = "codec/tests.rs"]
mod tests;
