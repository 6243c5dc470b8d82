//! What is asked of a client before its message comes: whether its address is on lists, and whether it comes again.

use auth::Recipient;
use protocol::{Closed, Wire};

use crate::Smtp;
use crate::filters::decision::{self, Decision, Findings};
use crate::filters::dnsbl;
use crate::filters::greylist::{self, Greylisted};
use crate::reply::Reply;
use crate::session::{Client, Transaction};

/// How many recipients one connection is asked to come back for: each is remembered.
const PUT_OFF: u32 = 200;

/// Why a recipient is refused, by who sends; users and our own machines are let through.
pub(crate) async fn refusal(
    smtp: &Smtp,
    wire: &Wire,
    client: &mut Client,
    mail: &Transaction,
    to: &Recipient,
) -> Option<Reply> {
    let peer = wire.conn.peer();
    let address = peer.remote.ip();
    if client.login.is_some() || client.lmtp || smtp.trusted.contains(address) {
        return None;
    }
    let (config, sender) = (&smtp.config, mail.from.as_ref().map(ToString::to_string).unwrap_or_default());
    if !config.dnsbl.lists.is_empty() {
        if client.listed.is_none() {
            let found = dnsbl::ask(&smtp.dns, &config.dnsbl, address).await;
            for why in &found.ignored {
                tracing::info!(%address, why, "a list of addresses was not heard");
            }
            client.listed = Some(found);
        }
        let listed = client.listed.as_ref().map(|found| (&config.dnsbl, found));
        let findings = Findings { dnsbl: listed, ..Findings::default() };
        if let Decision::Refuse(refusal) | Decision::Later(refusal) = decision::decide(&findings) {
            smtp.services.auth.refusal(peer, None, "mail.recipient", to.address(), &refusal.text).await;
            return Some(refusal.into());
        }
    }
    let config = &config.greylist;
    if !config.enabled {
        return None;
    }
    if client.put_off >= PUT_OFF {
        return Some(Reply::new(421, "4.7.1 Greylisted too often; come back later").closing(Closed::Abuse));
    }
    let (key, noted) = (greylist::key(address, &sender, to.address()), config.clone());
    let (forget, window) = (config.remember.max(config.window), config.window);
    let note = move |now, seen| greylist::noted(now, seen, &noted);
    let came = smtp.services.auth.sender_came(key, forget, window, note);
    match came.await.map(|(now, seen)| greylist::decide(now, seen, config)) {
        Ok(Greylisted::Pass) => None,
        Ok(Greylisted::Wait(seconds) | Greylisted::Begin(seconds)) => {
            client.put_off += 1;
            Some(Reply::new(451, format!("4.7.1 Greylisted: unknown senders wait; try again in {seconds} s")))
        }
        Err(error) => Some(Reply::from(&error)),
    }
}
