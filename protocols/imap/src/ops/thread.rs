//! THREAD (RFC 5256): messages as trees, by what they answer or by their subjects.

use std::collections::HashMap;

use storage::message::{MessageEnvelope, MessageIds, base_subject, decoded, sent_date};
use storage::{Error, Wanted};

use super::details::{long_header, of_messages};
use super::search::find;
use crate::codec::{Search, ThreadBy};
use crate::reply::{Reply, Untagged};
use crate::selected::Selected;
use crate::session::{Context, Outcome, finish};

/// How deep a thread may be.
const DEPTH: usize = 10_000;

/// THREAD.
pub(crate) async fn thread(
    context: &mut Context<'_>,
    selected: &mut Selected,
    uid: bool,
    by: ThreadBy,
    search: &Search,
) -> Outcome {
    let found = match find(context, selected, search).await {
        Ok(found) => found,
        Err(reply) => return Ok(reply),
    };
    let messages = match read(selected, &found, uid).await {
        Ok(messages) => messages,
        Err(error) => return Ok(Reply::from(&error)),
    };
    let forest = match by {
        ThreadBy::References => by_references(messages),
        ThreadBy::OrderedSubject => by_subject(messages),
    };
    let threads = forest.write();
    context.wire.untagged(if threads.is_empty() { "THREAD".to_owned() } else { format!("THREAD {threads}") });
    Ok(finish(context, selected, uid, Reply::ok("Threaded")).await)
}

/// A message to be threaded.
struct Threaded {
    /// How it is told.
    number: u32,
    /// When it was sent, or came.
    sent: i64,
    /// Its base subject, folded.
    subject: String,
    /// Whether the subject is one of an answer.
    reply: bool,
    ids: MessageIds,
}

async fn read(selected: &Selected, found: &[u32], uid: bool) -> Result<Vec<Threaded>, Error> {
    let (mut messages, mut long) = (Vec::with_capacity(found.len()), Vec::new());
    let wanted = Wanted { envelope: true, header: true, ..Wanted::default() };
    of_messages(&selected.mailbox, &selected.view, found, wanted, |number, message, details| {
        let envelope: MessageEnvelope = serde_json::from_str(&details.envelope).unwrap_or_default();
        if details.header.is_none() {
            long.push((messages.len(), *message));
        }
        let subject = base_subject(&envelope.subject.as_deref().map(decoded).unwrap_or_default());
        messages.push(Threaded {
            number: if uid { message.uid } else { number },
            sent: sent_date(&envelope).unwrap_or(message.received.0),
            subject: subject.text.to_uppercase(),
            reply: subject.reply,
            ids: details.header.as_deref().map(MessageIds::read).unwrap_or_default(),
        });
    })
    .await?;
    for (at, message) in long {
        let header = long_header(&selected.mailbox, &message).await?;
        messages[at].ids = MessageIds::read(&header);
    }
    Ok(messages)
}

/// Trees of messages; a node without a message stands for one that is not there.
#[derive(Default)]
struct Forest {
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

#[derive(Default)]
struct Node {
    message: Option<Threaded>,
    parent: Option<usize>,
    children: Vec<usize>,
}

/// ORDEREDSUBJECT (RFC 5256 §3): one level of answers below the oldest message of each subject.
fn by_subject(mut messages: Vec<Threaded>) -> Forest {
    messages
        .sort_by(|one, other| (&one.subject, one.sent, one.number).cmp(&(&other.subject, other.sent, other.number)));
    let mut forest = Forest::default();
    for message in messages {
        let oldest = forest.roots.last().copied();
        let same = oldest.filter(|&root| {
            forest.nodes[root].message.as_ref().is_some_and(|oldest| oldest.subject == message.subject)
        });
        let node = forest.add(Some(message));
        match same {
            Some(root) => forest.adopt(root, node),
            None => forest.roots.push(node),
        }
    }
    forest.sort_roots();
    forest
}

/// REFERENCES (RFC 5256 §3), its steps by their numbers there.
fn by_references(messages: Vec<Threaded>) -> Forest {
    let mut forest = Forest::default();
    let mut known: HashMap<String, usize> = HashMap::new();
    for message in messages {
        // (1) A chain of all that a message names; what is linked already stays as it is.
        let references = message.ids.references.clone();
        let own = message.ids.message_id.clone();
        let mut before = None;
        for id in references {
            let node = *known.entry(id).or_insert_with(|| forest.add(None));
            if let Some(before) = before
                && forest.nodes[node].parent.is_none()
                && !forest.is_above(node, before)
            {
                forest.adopt(before, node);
            }
            before = Some(node);
        }
        // A Message-ID that another message has already is no name of this one.
        let node = match own {
            Some(id) => match known.get(&id).copied() {
                Some(node) if forest.nodes[node].message.is_none() => {
                    forest.nodes[node].message = Some(message);
                    node
                }
                Some(_) => forest.add(Some(message)),
                None => {
                    let node = forest.add(Some(message));
                    known.insert(id, node);
                    node
                }
            },
            None => forest.add(Some(message)),
        };
        // The last reference is the parent, whatever another message said before.
        if let Some(parent) = before
            && parent != node
        {
            forest.orphan(node);
            if !forest.is_above(node, parent) {
                forest.adopt(parent, node);
            }
        }
    }
    // (2) What has no parent is a root.
    forest.roots = (0..forest.nodes.len()).filter(|&at| forest.nodes[at].parent.is_none()).collect();
    forest.prune();
    forest.sort_roots();
    forest.join_subjects();
    forest.sort_children();
    forest.sort_roots();
    forest
}

impl Forest {
    fn add(&mut self, message: Option<Threaded>) -> usize {
        self.nodes.push(Node { message, ..Node::default() });
        self.nodes.len() - 1
    }

    fn adopt(&mut self, parent: usize, child: usize) {
        self.nodes[child].parent = Some(parent);
        self.nodes[parent].children.push(child);
    }

    fn orphan(&mut self, child: usize) {
        if let Some(parent) = self.nodes[child].parent.take() {
            self.nodes[parent].children.retain(|&other| other != child);
        }
    }

    /// Whether `node` is `other` or stands above it: then it must not become its child. Below very many others nothing
    /// is put, or looking would take for ever.
    fn is_above(&self, node: usize, other: usize) -> bool {
        let mut at = Some(other);
        for _ in 0..DEPTH {
            match at {
                None => return false,
                Some(here) if here == node => return true,
                Some(here) => at = self.nodes[here].parent,
            }
        }
        true
    }

    /// (3) Drops what has no message: without children altogether; with children these take its place, unless it is a
    /// root with several.
    fn prune(&mut self) {
        // Children have been looked at before their parents.
        for at in self.depth_first().into_iter().rev() {
            if self.nodes[at].message.is_some() {
                continue;
            }
            let parent = self.nodes[at].parent;
            let children = self.nodes[at].children.len();
            if children > 1 && parent.is_none() {
                continue;
            }
            let orphans = std::mem::take(&mut self.nodes[at].children);
            for &child in &orphans {
                self.nodes[child].parent = parent;
            }
            match parent {
                Some(parent) => {
                    let place = self.nodes[parent].children.iter().position(|&child| child == at).unwrap_or(0);
                    self.nodes[parent].children.splice(place..=place, orphans);
                }
                None => {
                    let place = self.roots.iter().position(|&root| root == at).unwrap_or(0);
                    self.roots.splice(place..=place, orphans);
                }
            }
        }
    }

    /// (5) Puts roots with the same subject together.
    fn join_subjects(&mut self) {
        let mut by_subject: HashMap<String, usize> = HashMap::new();
        for &root in &self.roots {
            let Some((subject, reply, dummy)) = self.subject(root) else { continue };
            match by_subject.get(subject).copied() {
                None => drop(by_subject.insert(subject.to_owned(), root)),
                Some(held) => {
                    let Some((_, held_reply, held_dummy)) = self.subject(held) else { continue };
                    if !held_dummy && (dummy || held_reply && !reply) {
                        by_subject.insert(subject.to_owned(), root);
                    }
                }
            }
        }
        for root in std::mem::take(&mut self.roots) {
            let held = self.subject(root).and_then(|(subject, ..)| by_subject.get(subject).copied());
            match held {
                Some(held) if held != root => self.join(held, root, &mut by_subject),
                _ => self.roots.push(root),
            }
        }
        // What was joined below a new node is no root any more.
        self.roots.retain(|&root| self.nodes[root].parent.is_none());
        let made = (0..self.nodes.len()).filter(|&at| {
            self.nodes[at].parent.is_none()
                && self.nodes[at].message.is_none()
                && self.nodes[at].children.len() > 1
                && !self.roots.contains(&at)
        });
        let made: Vec<usize> = made.collect();
        self.roots.extend(made);
    }

    fn join(&mut self, held: usize, root: usize, by_subject: &mut HashMap<String, usize>) {
        let is_dummy = |forest: &Forest, at: usize| forest.nodes[at].message.is_none();
        let reply = |forest: &Forest, at: usize| forest.subject(at).is_some_and(|(_, reply, _)| reply);
        match (is_dummy(self, held), is_dummy(self, root)) {
            (true, true) => {
                for child in std::mem::take(&mut self.nodes[root].children) {
                    self.adopt(held, child);
                }
            }
            (true, false) => self.adopt(held, root),
            (false, true) => self.roots.push(root),
            (false, false) if reply(self, root) && !reply(self, held) => self.adopt(held, root),
            (false, false) => {
                // Neither answers the other: both stand below one that is not there.
                let subject = self.subject(held).map(|(subject, ..)| subject.to_owned());
                let above = self.add(None);
                self.adopt(above, held);
                self.adopt(above, root);
                if let Some(subject) = subject {
                    by_subject.insert(subject, above);
                }
            }
        }
    }

    /// The subject of a tree: of its root, or of the first below it; whether it is one of an answer, and whether the
    /// root is not there. `None` without a subject.
    fn subject(&self, root: usize) -> Option<(&str, bool, bool)> {
        let node = &self.nodes[root];
        let message = match &node.message {
            Some(message) => message,
            None => self.nodes[*node.children.first()?].message.as_ref()?,
        };
        let subject = message.subject.as_str();
        (!subject.is_empty()).then_some((subject, message.reply, node.message.is_none()))
    }

    /// When a tree begins: its root's date, or of one that is not there its first child's.
    fn sent(&self, at: usize) -> (i64, u32) {
        let node = &self.nodes[at];
        let message = node.message.as_ref();
        let first = || node.children.first().and_then(|&child| self.nodes[child].message.as_ref());
        message.or_else(first).map_or((i64::MAX, u32::MAX), |message| (message.sent, message.number))
    }

    fn sort_roots(&mut self) {
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_key(|&root| self.sent(root));
        self.roots = roots;
    }

    /// (6) Children in the order in which they were sent.
    fn sort_children(&mut self) {
        for at in 0..self.nodes.len() {
            let mut children = std::mem::take(&mut self.nodes[at].children);
            children.sort_by_key(|&child| self.sent(child));
            self.nodes[at].children = children;
        }
    }

    /// All nodes, each before its children.
    fn depth_first(&self) -> Vec<usize> {
        let mut all = Vec::with_capacity(self.nodes.len());
        let mut waiting = self.roots.clone();
        while let Some(at) = waiting.pop() {
            all.push(at);
            waiting.extend(&self.nodes[at].children);
        }
        all
    }

    /// The trees as the response has them (RFC 5256 §4). A thread may be as deep as there are messages.
    fn write(&self) -> String {
        enum Piece {
            Tree(usize),
            Inside(usize),
            Close,
        }
        let mut text = String::new();
        let mut waiting: Vec<Piece> = self.roots.iter().rev().map(|&root| Piece::Tree(root)).collect();
        while let Some(piece) = waiting.pop() {
            match piece {
                Piece::Close => text.push(')'),
                Piece::Tree(at) => {
                    text.push('(');
                    waiting.push(Piece::Close);
                    waiting.push(Piece::Inside(at));
                }
                Piece::Inside(at) => {
                    let node = &self.nodes[at];
                    if let Some(message) = &node.message {
                        if !text.ends_with('(') {
                            text.push(' ');
                        }
                        text.push_str(&message.number.to_string());
                    }
                    match &node.children[..] {
                        [only] if node.message.is_some() => waiting.push(Piece::Inside(*only)),
                        children => {
                            if !children.is_empty() && node.message.is_some() {
                                text.push(' ');
                            }
                            waiting.extend(children.iter().rev().map(|&child| Piece::Tree(child)));
                        }
                    }
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u32, subject: &str, own: &str, references: &[&str]) -> Threaded {
        let base = base_subject(subject);
        Threaded {
            number,
            sent: i64::from(number),
            subject: base.text.to_uppercase(),
            reply: base.reply,
            ids: MessageIds {
                message_id: Some(own.to_owned()),
                references: references.iter().map(|id| (*id).to_owned()).collect(),
            },
        }
    }

    #[test]
    fn answers_stand_below_what_they_answer() {
        let forest = by_references(vec![
            message(1, "a", "1", &[]),
            message(2, "Re: a", "2", &["1"]),
            message(3, "Re: a", "3", &["1", "2"]),
            message(4, "Re: a", "4", &["1"]),
            message(5, "other", "5", &[]),
        ]);
        assert_eq!(forest.write(), "(1 (2 3)(4))(5)");
    }

    #[test]
    fn what_is_missing_joins_its_answers_and_loops_end() {
        let forest = by_references(vec![
            message(1, "x", "1", &["gone"]),
            message(2, "y", "2", &["gone"]),
            message(3, "loop", "3", &["4"]),
            message(4, "loop 2", "4", &["3"]),
        ]);
        let written = forest.write();
        assert!(written.contains("((1)(2))"), "{written}");
        assert!(written.contains('3') && written.contains('4'), "{written}");
        let same = by_references(vec![message(1, "Re: s", "1", &[]), message(2, "s", "2", &[])]);
        assert_eq!(same.write(), "(2 1)");
        let both = by_references(vec![message(1, "s", "1", &[]), message(2, "s", "2", &[])]);
        assert_eq!(both.write(), "((1)(2))");
    }

    #[test]
    fn subjects_make_threads_too() {
        let forest = by_subject(vec![
            message(1, "a", "1", &[]),
            message(2, "b", "2", &[]),
            message(3, "Re: a", "3", &[]),
            message(4, "re: A", "4", &[]),
        ]);
        assert_eq!(forest.write(), "(1 (3)(4))(2)");
    }

    #[test]
    fn threads_may_be_very_deep() {
        let name = |at: u32| at.to_string();
        let messages = (1..9_000).map(|at| message(at, "x", &name(at), &[&name(at - 1)])).collect();
        let written = by_references(messages).write();
        assert!(written.starts_with("(1 2 3 4 ") && written.ends_with(" 8999)"));
    }
}
