//! SORT (RFC 5256, RFC 5957, RFC 5267).

use std::cmp::Ordering;

use storage::message::{Address, MessageEnvelope, base_subject, decoded, sent_date};
use storage::{Error, Wanted, ranges};

use super::details::of_messages;
use super::search::{as_told, find, highest, tell};
use crate::codec::{Search, SortKey};
use crate::reply::{Reply, Untagged};
use crate::selected::Selected;
use crate::session::{Context, Outcome, finish};

/// SORT.
pub(crate) async fn sort(
    context: &mut Context<'_>,
    selected: &mut Selected,
    uid: bool,
    order: &[(SortKey, bool)],
    search: &Search,
) -> Outcome {
    let found = match find(context, selected, search).await {
        Ok(found) => found,
        Err(reply) => return Ok(reply),
    };
    let modseq = highest(&selected.view, &found, &search.key, search.returns);
    let sorted = match sorted(selected, found, order).await {
        Ok(sorted) => sorted,
        Err(error) => return Ok(Reply::from(&error)),
    };
    let numbers = as_told(&selected.view, &sorted, uid);
    match search.returns {
        Some(returns) => tell(context, uid, returns, &numbers, modseq, in_order),
        None if numbers.is_empty() => context.wire.untagged("SORT"),
        None => {
            let modseq = modseq.map(|modseq| format!(" (MODSEQ {modseq})")).unwrap_or_default();
            context.wire.untagged(format!("SORT {}{modseq}", joined(&numbers, " ")));
        }
    }
    Ok(finish(context, selected, uid, Reply::ok("Sorted")).await)
}

fn joined(numbers: &[u32], between: &str) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(between)
}

/// Numbers in their order; a range stands only for what ascends one by one.
fn in_order(numbers: &[u32]) -> String {
    let range = |&(from, to): &(u32, u32)| if from == to { from.to_string() } else { format!("{from}:{to}") };
    ranges(numbers.iter().copied()).iter().map(range).collect::<Vec<_>>().join(",")
}

/// What a message is ordered by, one value for each key.
enum Value {
    Number(i64),
    Text(String),
}

impl Value {
    fn compare(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Number(one), Value::Number(other)) => one.cmp(other),
            (Value::Text(one), Value::Text(other)) => one.cmp(other),
            _ => Ordering::Equal,
        }
    }
}

async fn sorted(selected: &Selected, found: Vec<u32>, order: &[(SortKey, bool)]) -> Result<Vec<u32>, Error> {
    let view = &selected.view;
    let mut rows: Vec<(u32, Vec<Value>)> = Vec::with_capacity(found.len());
    let plain = |key: &SortKey| matches!(key, SortKey::Arrival | SortKey::Size);
    if order.iter().all(|(key, _)| plain(key)) {
        for number in found {
            let Some(message) = view.message(number) else { continue };
            let envelope = MessageEnvelope::default();
            rows.push((number, order.iter().map(|(key, _)| value(*key, message, &envelope)).collect()));
        }
    } else {
        let wanted = Wanted { envelope: true, ..Wanted::default() };
        of_messages(&selected.mailbox, view, &found, wanted, |number, message, details| {
            let envelope: MessageEnvelope = serde_json::from_str(&details.envelope).unwrap_or_default();
            rows.push((number, order.iter().map(|(key, _)| value(*key, message, &envelope)).collect()));
        })
        .await?;
    }
    // Stable, so that what is equal stays in the order of the mailbox (RFC 5256 §3).
    rows.sort_by(|(_, one), (_, other)| {
        let compared = order.iter().zip(one.iter().zip(other)).map(|((_, reverse), (one, other))| {
            let compared = one.compare(other);
            if *reverse { compared.reverse() } else { compared }
        });
        compared.fold(Ordering::Equal, Ordering::then)
    });
    Ok(rows.into_iter().map(|(number, _)| number).collect())
}

fn value(key: SortKey, message: &storage::Message, envelope: &MessageEnvelope) -> Value {
    match key {
        SortKey::Arrival => Value::Number(message.received.0),
        SortKey::Size => Value::Number(i64::from(message.size)),
        SortKey::Date => Value::Number(sent_date(envelope).unwrap_or(message.received.0)),
        SortKey::Subject => {
            let subject = envelope.subject.as_deref().map(decoded).unwrap_or_default();
            Value::Text(folded(&base_subject(&subject).text))
        }
        SortKey::From => mailbox(&envelope.from),
        SortKey::To => mailbox(&envelope.to),
        SortKey::Cc => mailbox(&envelope.cc),
        SortKey::DisplayFrom => display(&envelope.from),
        SortKey::DisplayTo => display(&envelope.to),
    }
}

/// The first address, by what stands before its `@` (RFC 5256 §3).
fn mailbox(list: &[Address]) -> Value {
    Value::Text(list.first().and_then(|address| address.mailbox.as_deref()).map(folded).unwrap_or_default())
}

/// The first address as it is shown: its name, or itself without one (RFC 5957 §3).
fn display(list: &[Address]) -> Value {
    let Some(address) = list.first() else { return Value::Text(String::new()) };
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let name = address.name.as_deref().map(decoded).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| match &address.host {
        Some(host) => format!("{}@{host}", part(&address.mailbox)),
        None => part(&address.mailbox),
    });
    Value::Text(folded(&name))
}

/// Text as it is ordered by.
fn folded(text: &str) -> String {
    text.to_uppercase()
}
