//! What changes nothing: FEAT, OPTS, HELP, STAT, SIZE, MDTM, MLST, HASH, TYPE, MODE, STRU and their kin.

use sha2::{Digest, Sha256, Sha512};
use storage::Timestamp;

use super::list::{self, Facts};
use crate::codec;
use crate::commands::{self, FEATURES, RULES};
use crate::reply::Reply;
use crate::session::{Session, State};

/// The most entries that STAT of a folder tells; LIST tells them all.
const STAT_ENTRIES: usize = 1000;

/// What HASH computes (draft-bryan-ftpext-hash §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Algorithm {
    #[default]
    Sha256,
    Sha512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512 => "SHA-512",
        }
    }
}

pub(crate) async fn run(session: &mut Session, verb: &str, argument: &str) -> Reply {
    let result = match verb {
        "FEAT" => Ok(features(session)),
        "OPTS" => options(session, argument),
        "HELP" => Ok(help(argument)),
        "NOOP" => Ok(Reply::new(200, "Ok.")),
        "SYST" => Ok(Reply::new(215, "UNIX Type: L8")),
        "CLNT" => Ok(Reply::new(200, "Noted.")),
        "ALLO" => Ok(Reply::new(202, "Room is found as it is needed.")),
        "ABOR" => Ok(Reply::new(226, "No transfer is under way.")),
        "TYPE" => transfer_type(argument),
        "MODE" => only(argument, "S", "MODE"),
        "STRU" => only(argument, "F", "STRU"),
        "SITE" => Ok(site(argument)),
        "REST" => restart(session, argument),
        "STAT" => status(session, argument).await,
        "SIZE" | "MDTM" | "MLST" => facts(session, verb, argument).await,
        "HASH" => hash(session, argument).await,
        other => Err(Reply::new(502, format!("{other} is not done here."))),
    };
    result.unwrap_or_else(|reply| reply)
}

fn features(session: &mut Session) -> Reply {
    let chosen = session.user().map(|user| (user.facts, user.hash)).unwrap_or_default();
    let lines = FEATURES.iter().map(|feature| match (*feature, chosen.1) {
        (hash, Algorithm::Sha512) if hash.starts_with("HASH") => "HASH SHA-256;SHA-512*".to_owned(),
        (other, _) => other.to_owned(),
    });
    let lines = lines.chain([format!("MLST {}", chosen.0.feature())]);
    Reply::lines(211, "Features:", lines.collect::<Vec<_>>(), "End")
}

fn options(session: &mut Session, argument: &str) -> Result<Reply, Reply> {
    let (command, options) = argument.split_once(' ').unwrap_or((argument, ""));
    match command.to_ascii_uppercase().as_str() {
        "UTF8" | "UTF-8" if !options.eq_ignore_ascii_case("off") => Ok(Reply::new(200, "Names are UTF-8, always.")),
        "MLST" => {
            let user = session.user()?;
            user.facts = Facts::parse(options);
            Ok(Reply::new(200, format!("MLST OPTS {}", user.facts.chosen())))
        }
        "HASH" => {
            let user = session.user()?;
            user.hash = match options.to_ascii_uppercase().as_str() {
                "" => user.hash,
                "SHA-256" => Algorithm::Sha256,
                "SHA-512" => Algorithm::Sha512,
                _ => return Err(Reply::new(501, "SHA-256 and SHA-512 are what is known here.")),
            };
            Ok(Reply::new(200, user.hash.name()))
        }
        _ => Err(Reply::new(501, "There are no such options.")),
    }
}

fn help(argument: &str) -> Reply {
    if let Some(rule) = commands::rule(&argument.to_ascii_uppercase()) {
        return Reply::new(214, rule.syntax);
    }
    let verbs: Vec<&str> = RULES.iter().map(|rule| rule.verb).collect();
    Reply::lines(
        214,
        "These commands are known:",
        verbs.chunks(10).map(|row| row.join(" ")),
        "HELP command tells more.",
    )
}

/// Types A, I and L 8 all transfer the bytes as they are: what was stored is what is read back, whoever reads it.
/// Changing line ends would break every checksum, SIZE and REST with them, and no system of today needs it.
fn transfer_type(argument: &str) -> Result<Reply, Reply> {
    match argument.to_ascii_uppercase().as_str() {
        "I" | "L 8" | "L8" => Ok(Reply::new(200, "Bytes go as they are.")),
        "A" | "A N" => Ok(Reply::new(200, "Text goes as it is, with the line ends it has.")),
        _ => Err(Reply::new(504, "TYPE A, I and L 8 are known here.")),
    }
}

fn only(argument: &str, known: &str, verb: &str) -> Result<Reply, Reply> {
    if argument.eq_ignore_ascii_case(known) {
        return Ok(Reply::new(200, "Ok."));
    }
    Err(Reply::new(504, format!("{verb} {known} is what is known here.")))
}

fn site(argument: &str) -> Reply {
    let command = argument.split(' ').next().unwrap_or_default().to_ascii_uppercase();
    match command.as_str() {
        "HELP" | "" => Reply::new(214, "SITE CHMOD is taken and changes nothing; use MFMT for times."),
        // Files belong to one account, so there is nobody that a mode would keep out: superfluous (RFC 959 §4.2).
        "CHMOD" | "UMASK" => Reply::new(202, "Permissions are not kept here: a home is its owner's alone."),
        _ => Reply::new(504, "There is no such SITE command."),
    }
}

fn restart(session: &mut Session, argument: &str) -> Result<Reply, Reply> {
    let offset = codec::parse_size(argument).ok_or_else(|| Reply::new(501, "REST takes a number of bytes."))?;
    session.user()?.offset = offset;
    Ok(Reply::new(350, format!("The next transfer begins at {offset}.")))
}

async fn status(session: &mut Session, argument: &str) -> Result<Reply, Reply> {
    if !argument.is_empty() {
        let user = session.user()?;
        let path = super::path(user, argument)?;
        let node = user.login.home.stat(&path).await?;
        let now = Timestamp::now();
        let lines = if node.is_folder() {
            let nodes = user.login.home.list(&path, None, STAT_ENTRIES).await?;
            nodes.iter().map(|node| list::long(node, now)).collect()
        } else {
            vec![list::long(&node, now)]
        };
        return Ok(Reply::lines(if node.is_folder() { 212 } else { 213 }, "Status:", lines, "End"));
    }
    let tls = session.conn.peer().tls.map_or("none", |tls| tls.version);
    let trace = session.conn.peer().trace;
    let name = match &session.state {
        State::User(user) => user.login.principal.name.clone(),
        State::Stranger | State::Named(_) => "nobody".to_owned(),
    };
    let lines = [format!("Logged in: {name}"), format!("TLS: {tls}"), format!("Trace id: {trace}")];
    Ok(Reply::lines(211, "Wharfinger", lines, "End"))
}

async fn facts(session: &mut Session, verb: &str, argument: &str) -> Result<Reply, Reply> {
    let user = session.user()?;
    let path = if verb == "MLST" { super::path(user, argument)? } else { super::named(user, argument)? };
    let node = user.login.home.stat(&path).await?;
    Ok(match verb {
        "MLST" => {
            let kind = if node.is_folder() { "dir" } else { "file" };
            Reply::lines(250, "Listing:", [user.facts.entry(&node, path.as_str(), kind)], "End")
        }
        "SIZE" if node.is_folder() => Reply::new(550, "That is a folder, not a file."),
        "SIZE" => Reply::new(213, node.size.to_string()),
        _ => Reply::new(213, codec::render_time(node.modified.seconds())),
    })
}

/// `213 SHA-256 0-SIZE hash name` (draft-bryan-ftpext-hash §3.1).
async fn hash(session: &mut Session, argument: &str) -> Result<Reply, Reply> {
    let user = session.user()?;
    let path = super::named(user, argument)?;
    let (node, content) = user.login.home.open(&path).await?;
    let mut reader = content.reader(0..content.len());
    let (mut short, mut long) = (Sha256::new(), Sha512::new());
    while let Some(piece) = reader.next().await? {
        match user.hash {
            Algorithm::Sha256 => short.update(&piece),
            Algorithm::Sha512 => long.update(&piece),
        }
    }
    let digest = match user.hash {
        Algorithm::Sha256 => short.finalize().to_vec(),
        Algorithm::Sha512 => long.finalize().to_vec(),
    };
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Reply::new(213, format!("{} 0-{} {digest} {argument}", user.hash.name(), node.size)))
}
