//! Mail that waits to be sent to other servers.

use serde_json::json;
use storage::{Listed, Queue, TraceId, Which};

use super::{Context, moment, printable, said};
use crate::cli::{self, WhichQueued};

pub(super) async fn queue(context: &Context<'_>, command: cli::Queue) -> Result<String, String> {
    let (queue, actor) = (context.store.queue(), context.actor());
    let changed = match command {
        cli::Queue::List { which } => return list(context, &queue, chosen(which)?.unwrap_or(Which::All)).await,
        cli::Queue::Show { id } => return show(context, &queue, &id).await,
        cli::Queue::Retry { which } => queue.retry(actor, named(which)?).await,
        cli::Queue::Hold { which } => queue.hold(actor, named(which)?).await,
        cli::Queue::Drop { which } => queue.remove(actor, named(which)?).await,
    };
    let count = changed.map_err(|error| said(&error))?;
    Ok(context.show(&json!({ "recipients": count }), || match count {
        1 => "1 recipient\n".to_owned(),
        count => format!("{count} recipients\n"),
    }))
}

/// What changes something does so to all only when told.
fn named(which: WhichQueued) -> Result<Which, String> {
    chosen(which)?.ok_or_else(|| "name a message, --row, --domain or --address, or say --all".to_owned())
}

fn chosen(which: WhichQueued) -> Result<Option<Which>, String> {
    let WhichQueued { id, all, row, domain, address } = which;
    Ok(match (id, row, domain, address) {
        (Some(id), ..) => Some(trace(&id)?),
        (_, Some(row), ..) => Some(Which::Row(row)),
        (.., Some(domain), _) => Some(Which::Destination(domain)),
        (.., Some(address)) => Some(Which::Address(address)),
        _ => all.then_some(Which::All),
    })
}

fn trace(id: &str) -> Result<Which, String> {
    let trace = TraceId::parse(id).ok_or_else(|| format!("{id} is not an id: it has sixteen characters"))?;
    Ok(Which::Trace(trace.to_string()))
}

async fn list(context: &Context<'_>, queue: &Queue, which: Which) -> Result<String, String> {
    let found = queue.list(which, 0).await.map_err(|error| said(&error))?;
    let more = found.len() == Queue::LISTED;
    Ok(context.show(&json!({ "recipients": found, "more": more }), || {
        let mut text: String = found.iter().map(line).collect();
        if found.is_empty() {
            text.push_str("nothing waits\n");
        }
        if more {
            text.push_str("and more; name a domain or an address\n");
        }
        text
    }))
}

async fn show(context: &Context<'_>, queue: &Queue, id: &str) -> Result<String, String> {
    let found = queue.list(trace(id)?, 0).await.map_err(|error| said(&error))?;
    let Some(first) = found.first() else { return Err(format!("nothing of {id} waits; see wharfinger trace {id}")) };
    Ok(context.show(&json!({ "recipients": found }), || {
        let from = if first.from.is_empty() { "<> (a notification)".to_owned() } else { printable(&first.from) };
        let mut text = format!("from     {from}\nbytes    {}\narrived  {}\n", first.size, moment(first.arrived));
        for row in &found {
            let state = match row {
                Listed { held: true, .. } => "held".to_owned(),
                Listed { sending: true, .. } => "being sent".to_owned(),
                _ => format!("due {}", moment(row.due)),
            };
            let to = printable(&row.recipient);
            text.push_str(&format!("\nto       {to}\nnumber   {}\nstate    {state}\n", row.id));
            text.push_str(&format!("tries    {}, until {}\n", row.attempts, moment(row.expires)));
            if !row.said.is_empty() {
                text.push_str(&format!("newest   {}\n", printable(&row.said)));
            }
        }
        text
    }))
}

fn line(row: &Listed) -> String {
    let Listed { id, trace, due, size, attempts, held, sending, from, recipient, said, .. } = row;
    let state = if *held {
        "held"
    } else if *sending {
        "sending"
    } else {
        "waits"
    };
    let from = if from.is_empty() { "<>".to_owned() } else { printable(from) };
    let (to, said) = (printable(recipient), printable(said));
    format!("{id} {trace} {} {state} {attempts} {size} {from} {to} {said}\n", moment(*due))
}
