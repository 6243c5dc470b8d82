//! Mail that is here: bringing back what was expunged, and the index of its words.

use std::time::Duration;

use serde_json::json;
use storage::{Expunged, Mail, Timestamp};

use super::{Context, moment, printable, said};
use crate::cli;

pub(super) async fn mail(context: &Context<'_>, command: cli::Mail) -> Result<String, String> {
    match command {
        cli::Mail::Undelete { name, mailbox, since, uid, list } => {
            let mail = context.store.mail(account(context, &name).await?, context.actor());
            let chosen = Chosen { mailbox, since: since.map_or(Timestamp(0), ago), uid };
            if list { show(context, &mail, chosen).await } else { restore(context, &mail, chosen).await }
        }
        cli::Mail::Reindex { name } => {
            let of = match &name {
                Some(name) => Some(account(context, name).await?),
                None => None,
            };
            let number = context.store.reindex(of).await.map_err(|error| said(&error))?;
            let (whose, detail) = (name.unwrap_or_default(), format!("messages={number}"));
            let actor = context.actor();
            let recorded = context.store.record(&actor, "mail.reindex", &whose, "done", &detail);
            recorded.await.map_err(|error| said(&error))?;
            Ok(context.done(&format!("the words of {number} messages are collected anew while the daemon runs")))
        }
    }
}

/// The account of that name.
async fn account(context: &Context<'_>, name: &str) -> Result<i64, String> {
    let account = context.store.account(name).await.map_err(|error| said(&error))?;
    account.map(|account| account.id).ok_or_else(|| format!("there is no account {name}"))
}

fn ago(time: Duration) -> Timestamp {
    Timestamp(Timestamp::now().0.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
}

/// Which of the messages that were expunged.
struct Chosen {
    mailbox: Option<String>,
    since: Timestamp,
    uid: Vec<u32>,
}

impl Chosen {
    /// Those of the page that comes after a message, and the last of that page; `None` when there is no other.
    async fn page(&self, mail: &Mail, after: Option<&Expunged>) -> Result<(Vec<Expunged>, Option<Expunged>), String> {
        let page = mail.expunged(self.mailbox.as_deref(), self.since, after).await;
        let mut page = page.map_err(|error| said(&error))?;
        let last = page.last().filter(|_| page.len() == Mail::EXPUNGED).cloned();
        page.retain(|message| self.uid.is_empty() || self.uid.contains(&message.uid));
        Ok((page, last))
    }
}

/// Lists them: as many as a page has, which is as much as anyone reads.
async fn show(context: &Context<'_>, mail: &Mail, chosen: Chosen) -> Result<String, String> {
    let (mut found, mut after) = chosen.page(mail, None).await?;
    while found.len() < Mail::EXPUNGED
        && let Some(last) = after
    {
        let (page, next) = chosen.page(mail, Some(&last)).await?;
        found.extend(page);
        after = next;
    }
    Ok(context.show(&json!({ "messages": found, "more": after.is_some() }), || {
        let mut text: String = found.iter().map(line).collect();
        if found.is_empty() {
            text.push_str("nothing was expunged that can be restored\n");
        }
        if after.is_some() {
            text.push_str("and more; name a mailbox or a time\n");
        }
        text
    }))
}

async fn restore(context: &Context<'_>, mail: &Mail, chosen: Chosen) -> Result<String, String> {
    let (mut restored, mut after) = (0, None);
    loop {
        let (page, next) = chosen.page(mail, after.as_ref()).await?;
        let count = mail.restore(page).await.map_err(|error| format!("{}; {restored} were restored", said(&error)))?;
        restored += count;
        after = match next {
            Some(last) => Some(last),
            None => break,
        };
    }
    let sentence =
        if restored == 1 { "1 message restored\n".into() } else { format!("{restored} messages restored\n") };
    Ok(context.show(&json!({ "restored": restored }), || sentence))
}

fn line(message: &Expunged) -> String {
    let Expunged { expunged, mailbox, uid, size, from, subject, .. } = message;
    let text = |text: &Option<String>| printable(text.as_deref().unwrap_or("-"));
    format!("{} {} {uid} {size} {} {}\n", moment(*expunged), printable(mailbox), text(from), text(subject))
}
