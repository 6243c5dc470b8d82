//! Listings: LIST in the form of `ls -l`, NLST, and MLSD and MLST with facts (RFC 3659 §7).

use protocol::DataConn;
use storage::{Error, Home, Node, Timestamp, VPath};

use super::transfer::{Flow, with_data};
use crate::codec;
use crate::pattern;
use crate::reply::Reply;
use crate::session::{Next, Session};

/// How many nodes are listed at once.
const PAGE: usize = 500;
/// Facts that can be told, in the order they are told in.
const FACTS: [&str; 6] = ["type", "size", "modify", "create", "unique", "perm"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Which facts a client wants (OPTS MLST).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts([bool; FACTS.len()]);

impl Default for Facts {
    fn default() -> Self {
        Facts([true; FACTS.len()])
    }
}

impl Facts {
    /// Reads `type;size;`; unknown facts are left out (RFC 3659 §7.9).
    pub(crate) fn parse(text: &str) -> Facts {
        let wanted: Vec<String> = text.split(';').map(|fact| fact.trim().to_ascii_lowercase()).collect();
        Facts(FACTS.map(|fact| wanted.iter().any(|name| name == fact)))
    }

    /// The chosen facts as OPTS answers them.
    pub(crate) fn chosen(self) -> String {
        FACTS.iter().zip(self.0).filter(|(_, on)| *on).map(|(fact, _)| format!("{fact};")).collect()
    }

    /// All facts as FEAT tells them, a star behind the chosen ones.
    pub(crate) fn feature(self) -> String {
        FACTS.iter().zip(self.0).map(|(fact, on)| format!("{fact}{};", if on { "*" } else { "" })).collect()
    }

    /// One entry without its line end.
    pub(crate) fn entry(self, node: &Node, name: &str, kind: &str) -> String {
        let folder = node.is_folder();
        let mut text = String::new();
        for (fact, on) in FACTS.iter().zip(self.0) {
            let value = match *fact {
                _ if !on => continue,
                "type" => kind.to_owned(),
                "size" if folder => continue,
                "size" => node.size.to_string(),
                "modify" => codec::render_time(node.modified.seconds()),
                "create" => codec::render_time(node.created.seconds()),
                "unique" => format!("{:x}", node.id),
                _ => permissions(node).to_owned(),
            };
            text.push_str(&format!("{fact}={value};"));
        }
        text.push(' ');
        text.push_str(name);
        text
    }
}

#[derive(Clone, Copy)]
enum Form {
    Long,
    Names,
    Machine(Facts),
}

impl Form {
    fn line(self, node: &Node, now: Timestamp) -> String {
        match self {
            Form::Long => long(node, now),
            Form::Names => node.name.clone(),
            Form::Machine(facts) => facts.entry(node, &node.name, if node.is_folder() { "dir" } else { "file" }),
        }
    }
}

/// LIST, NLST and MLSD: over a data connection.
pub(crate) async fn send(session: &mut Session, verb: &str, argument: &str) -> Next {
    match prepare(session, verb, argument).await {
        Ok((home, target, form)) => {
            let work = move |mut data: DataConn| async move {
                let gone = |_| Reply::new(426, "The data connection broke.");
                let now = Timestamp::now();
                match target {
                    Target::File(node) => data.write(crlf(form.line(&node, now)).as_bytes()).await.map_err(gone)?,
                    Target::Folder(path, which) => {
                        let mut after: Option<String> = None;
                        loop {
                            let page = home.list(&path, after.as_deref(), PAGE).await?;
                            let text: String = page.iter().filter_map(|node| which.line(node, form, now)).collect();
                            data.write(text.as_bytes()).await.map_err(gone)?;
                            after = page.last().map(|node| node.name.clone());
                            if page.len() < PAGE {
                                break;
                            }
                        }
                    }
                }
                data.finish().await.map_err(gone)?;
                Ok(Reply::new(226, "That is all."))
            };
            with_data(session, Reply::new(150, "The list follows."), Flow::Out, work).await
        }
        Err(reply) => Next::Say(reply),
    }
}

enum Target {
    File(Node),
    Folder(VPath, Which),
}

/// Which children of a folder.
struct Which {
    pattern: Option<String>,
    /// What the client wrote before the pattern, so that the names it gets can be retrieved as they are.
    prefix: String,
}

impl Which {
    const ALL: Which = Which { pattern: None, prefix: String::new() };

    /// The children that the last name of `argument` means, when it is a pattern.
    fn of(argument: &str) -> Option<Which> {
        let start = argument.rfind('/').map_or(0, |slash| slash + 1);
        let (prefix, name) = argument.split_at(start);
        pattern::is_one(name).then(|| Which { pattern: Some(name.to_owned()), prefix: prefix.to_owned() })
    }

    fn line(&self, node: &Node, form: Form, now: Timestamp) -> Option<String> {
        if self.pattern.as_ref().is_some_and(|pattern| !pattern::matches(pattern, &node.name)) {
            return None;
        }
        let prefix = if matches!(form, Form::Names) { self.prefix.as_str() } else { "" };
        Some(crlf(format!("{prefix}{}", form.line(node, now))))
    }
}

async fn prepare(session: &mut Session, verb: &str, argument: &str) -> Result<(Home, Target, Form), Reply> {
    let user = session.user()?;
    let form = match verb {
        "LIST" => Form::Long,
        "NLST" => Form::Names,
        _ => Form::Machine(user.facts),
    };
    let argument = if verb == "MLSD" { argument } else { without_options(argument) };
    let path = super::path(user, argument)?;
    let node = match (user.login.home.stat(&path).await, path.parent(), Which::of(argument)) {
        (Err(Error::NotFound), Some(folder), Some(which)) if !matches!(form, Form::Machine(_)) => {
            return Ok((user.login.home.clone(), Target::Folder(folder, which), form));
        }
        (found, ..) => found?,
    };
    let target = match (node.is_folder(), form) {
        (true, _) => Target::Folder(path, Which::ALL),
        // RFC 3659 §7.2.1: MLSD of a file is an error.
        (false, Form::Machine(_)) => return Err(Reply::new(501, "That is a file; use MLST.")),
        (false, _) => Target::File((*node).clone()),
    };
    Ok((user.login.home.clone(), target, form))
}

/// Many clients write `LIST -la`: the options of `ls` are skipped.
fn without_options(argument: &str) -> &str {
    let mut rest = argument.trim_start();
    while let Some(option) = rest.strip_prefix('-') {
        rest = option.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
    }
    rest
}

fn crlf(mut line: String) -> String {
    line.push_str("\r\n");
    line
}

/// What may be done with it (RFC 3659 §7.5.5).
fn permissions(node: &Node) -> &'static str {
    match (node.is_folder(), node.is_mail()) {
        (true, false) => "cdeflmp",
        (false, false) => "adfrw",
        (true, true) => "el",
        (false, true) => "r",
    }
}

/// A line of `ls -l`: the year for what is older than half a year or lies ahead, the time otherwise.
pub(crate) fn long(node: &Node, now: Timestamp) -> String {
    let seconds = node.modified.seconds();
    let (year, month, day) = codec::date_of(seconds.div_euclid(86_400));
    let recent = (0..180 * 86_400).contains(&(now.seconds() - seconds));
    let when = if recent {
        let rest = seconds.rem_euclid(86_400);
        format!("{:02}:{:02}", rest / 3600, rest / 60 % 60)
    } else {
        format!("{year:5}")
    };
    let mode = match (node.is_folder(), node.is_mail()) {
        (true, false) => "drwx------",
        (false, false) => "-rw-------",
        (true, true) => "dr-x------",
        (false, true) => "-r--------",
    };
    let month = MONTHS[usize::try_from(month - 1).unwrap_or(0) % 12];
    format!("{mode}   1 owner    owner {:>14} {month} {day:>2} {when} {}", node.size, node.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_ls_are_skipped() {
        for (argument, path) in [("", ""), ("-la", ""), ("-l -a /x y", "/x y"), ("/-x", "/-x")] {
            assert_eq!(without_options(argument), path);
        }
    }

    #[test]
    fn facts_are_chosen() {
        let facts = Facts::parse("Size;nonsense;type");
        assert_eq!(facts.chosen(), "type;size;");
        assert_eq!(facts.feature(), "type*;size*;modify;create;unique;perm;");
    }
}
