//! What other servers bring: what proves whom it is from, what the filters think of it, and what follows from all that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::{Arrival, Ready, Sender};
use crate::filters::decision::{self, Decision, Findings, Refusal};
use crate::filters::report::Report;
use crate::filters::scan::Scan;
use crate::filters::{Failure, clamd, marks, rspamd};
use crate::reply::Problem;
use crate::trust::arc::{self, ArcVerdict};
use crate::trust::fields::{Field, lines};
use crate::trust::forged;
use crate::trust::spf::{self, Outcome, Question};
use crate::trust::verdicts::{self, MalformedFrom, Policy, Verdict, Verdicts};
use crate::trust::{Wish, config};

/// Finds out what is to be thought of a message, and decides.
pub(super) async fn judge(arrival: &Arrival<'_>) -> Result<Ready, Problem> {
    let (smtp, header) = (arrival.smtp, &arrival.message.header);
    // What speaks LMTP is a server of this site, which has judged the one before it.
    if arrival.client.lmtp || smtp.trusted.contains(arrival.peer.remote.ip()) {
        virus(arrival).await?;
        return Ok(Ready { sender: Sender::Proven, header: header.clone(), ..Ready::default() });
    }
    let (verdicts, spam, virus) = tokio::join!(proofs(arrival), spam(arrival), scanned(arrival));
    let config = &smtp.config;
    if let Some(verdicts) = &verdicts {
        refused(&config.trust, verdicts).map_or(Ok(()), |refusal| Err(Problem::Judged(refusal)))?;
    }
    let decision = decision::decide(&Findings {
        dmarc: verdicts.as_ref().map_or(Policy::None, |verdicts| policy(&config.trust, verdicts)),
        dnsbl: arrival.client.listed.as_ref().map(|listed| (&config.dnsbl, listed)),
        rspamd: spam.as_ref().map(|spam| (&config.rspamd, spam)),
        clamd: virus.as_ref().map(|found| (&config.clamd, found)),
    });
    let report = spam.as_ref().and_then(|spam| spam.as_ref().ok());
    let mut fields = match &verdicts {
        Some(verdicts) => verdicts.authentication_results(&smtp.services.hostname),
        None => String::new(),
    };
    fields.push_str(&marks::fields(&decision, report));
    let junk = match decision {
        Decision::Take => None,
        // It is not passed on, and nobody here has another place for it.
        Decision::Junk(why) if arrival.mail.to.iter().any(|(to, _)| to.is_forwarded() && !to.is_here()) => {
            let text = format!("The message looks like junk, which is not forwarded: {why}");
            return Err(Problem::Judged(Refusal { code: 550, status: "5.7.1", text }));
        }
        Decision::Junk(why) => Some(why),
        Decision::Later(refusal) | Decision::Refuse(refusal) => return Err(Problem::Judged(refusal)),
    };
    let onward = match &verdicts {
        Some(verdicts) => sealed(arrival, verdicts).await?,
        None => String::new(),
    };
    let sender = verdicts.as_ref().map_or(Sender::Unknown, |verdicts| match &verdicts.spf {
        Outcome::Pass => Sender::Proven,
        // Who forwards it is not who its domain lets send; its signature may prove it all the same.
        Outcome::Fail { .. } if !verdicts.vouches_for_sender() => Sender::Forged,
        _ => Sender::Unknown,
    });
    Ok(Ready { sender, fields, header: believable(header, &smtp.services.hostname, report), onward, junk })
}

/// SPF, DKIM, DMARC and ARC; `None` where they are not looked at.
async fn proofs(arrival: &Arrival<'_>) -> Option<Verdicts> {
    let smtp = arrival.smtp;
    if !smtp.config.trust.check {
        return None;
    }
    let (from, message) = (arrival.from(), &arrival.message);
    let (client, helo) = (arrival.peer.remote.ip().to_canonical(), arrival.client.name.as_str());
    let question = Question { client, helo, sender: &from, receiver: &smtp.services.hostname };
    let (greeted, sent) = tokio::join!(spf::check_helo(&smtp.dns, &question), spf::check(&smtp.dns, &question));
    let envelope = verdicts::Envelope { client, helo, mail_from: &from };
    let dns = smtp.dns.authenticator();
    Some(verdicts::judge(&dns, &message.header, &message.hashes, envelope, greeted, sent).await)
}

/// What is refused whatever else is known of it.
fn refused(config: &config::Config, verdicts: &Verdicts) -> Option<Refusal> {
    let refusal = |status, text| Some(Refusal { code: 550, status, text });
    if verdicts.malformed_from == Some(MalformedFrom::Several) {
        return refusal("5.6.0", "The message has several From fields; one is allowed".to_owned());
    }
    let dmarc = &verdicts.dmarc;
    let strict = config.dmarc == Wish::Apply && dmarc.policy != Policy::None && !vouched(config, verdicts);
    if strict && dmarc.result == Verdict::TempError {
        let text = "Whether the author's domain vouches for it cannot be found out now (DMARC); try again later";
        return Some(Refusal { code: 451, status: "4.7.0", text: text.to_owned() });
    }
    match &verdicts.spf {
        Outcome::Fail { explanation } if config.spf_fail == Wish::Apply => {
            let text = "Your server may not send for the sender's domain (SPF)".to_owned();
            let said = explanation.as_ref().map(|said| format!("{text}; the domain says: {said}"));
            refusal("5.7.23", said.unwrap_or(text))
        }
        _ => None,
    }
}

/// What the author's domain wants done, unless somebody vouches for the message whose word is taken.
fn policy(config: &config::Config, verdicts: &Verdicts) -> Policy {
    match verdicts.malformed_from {
        _ if config.dmarc != Wish::Apply => Policy::None,
        // Notifications of simple servers come without, and with nobody's name.
        Some(MalformedFrom::Missing | MalformedFrom::Nobody) if verdicts.is_notification() => Policy::None,
        // Nobody can be asked.
        Some(_) => Policy::Quarantine,
        None if verdicts.dmarc.result == Verdict::Fail && !vouched(config, verdicts) => verdicts.dmarc.policy,
        None => Policy::None,
    }
}

/// Whether a server whose word is taken has found that the author's domain vouches for the message, and sealed that.
fn vouched(config: &config::Config, verdicts: &Verdicts) -> bool {
    let sealed = verdicts.sealer.as_ref().is_some_and(|sealer| config.believes(sealer));
    matches!(verdicts.arc, ArcVerdict::Pass(_)) && sealed && verdicts.sealed_pass
}

/// What rspamd thinks; `None` where there is none.
async fn spam(arrival: &Arrival<'_>) -> Option<Result<Report, Failure>> {
    let smtp = arrival.smtp;
    let service = smtp.filters.rspamd.as_ref()?;
    let (from, mail, id) = (arrival.from(), arrival.mail, arrival.mail.trace.to_string());
    let to: Vec<&str> = mail.to.iter().map(|(to, _)| to.address()).collect();
    let envelope = rspamd::Envelope {
        client: arrival.peer.remote.ip().to_canonical(),
        hostname: None,
        helo: &arrival.client.name,
        user: None,
        from: &from,
        to: &to,
        id: &id,
        tls: arrival.peer.tls.as_ref().map(|tls| (tls.version, tls.cipher)),
    };
    let limit = Duration::from_secs(smtp.config.rspamd.timeout);
    let (message, length) = (arrival.message.reader(), arrival.message.len);
    Some(told(arrival, rspamd::check(service, &envelope, message, length, limit).await))
}

/// What clamd finds; `None` where there is none.
async fn scanned(arrival: &Arrival<'_>) -> Option<Result<Scan, Failure>> {
    let address = arrival.smtp.filters.clamd.as_ref()?;
    let limit = Duration::from_secs(arrival.smtp.config.clamd.timeout);
    Some(told(arrival, clamd::scan(address, arrival.message.reader(), limit).await))
}

fn told<T>(arrival: &Arrival<'_>, found: Result<T, Failure>) -> Result<T, Failure> {
    if let Err(why) = &found {
        tracing::warn!(trace = %arrival.mail.trace, %why, "a message was not filtered");
    }
    found
}

/// Refuses what carries a virus, whoever sends it: nobody wants it in Junk who vouches for its sender.
pub(super) async fn virus(arrival: &Arrival<'_>) -> Result<(), Problem> {
    let found = scanned(arrival).await;
    let clamd = found.as_ref().map(|found| (&arrival.smtp.config.clamd, found));
    match decision::decide(&Findings { clamd, ..Findings::default() }) {
        Decision::Take => Ok(()),
        // Nobody's Junk takes what a user sends: until it can be looked at, it waits with who sends it.
        Decision::Junk(_) if matches!(found, Some(Err(_))) => {
            let text = "The message cannot be checked now; try again later".to_owned();
            Err(Problem::Judged(Refusal { code: 451, status: "4.3.0", text }))
        }
        Decision::Junk(why) => {
            let text = format!("The message cannot be sent: {why}");
            Err(Problem::Judged(Refusal { code: 550, status: "5.7.1", text }))
        }
        Decision::Later(refusal) | Decision::Refuse(refusal) => Err(Problem::Judged(refusal)),
    }
}

/// What was found, sealed for those it is forwarded to: what they cannot find out any more (RFC 8617).
async fn sealed(arrival: &Arrival<'_>, verdicts: &Verdicts) -> Result<String, Problem> {
    let Some(domain) = arrival.mail.to.iter().find_map(|(to, _)| to.forwarding_domain()) else {
        return Ok(String::new());
    };
    let (smtp, message) = (arrival.smtp, &arrival.message);
    let keys = smtp.keys.active(&smtp.services.auth, domain).await.map_err(Problem::Store)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let seal = arc::sealing_key(&keys)
        .and_then(|key| arc::seal(key, &smtp.services.hostname, &message.header, &message.hashes, verdicts, now));
    Ok(seal.unwrap_or_default())
}

/// The header without what only this server may say.
pub(super) fn believable(header: &Bytes, host: &str, report: Option<&Report>) -> Bytes {
    let names = marks::forgeable(report);
    let ours = |line: &&[u8]| Field::parse(line).is_some_and(|field| names.iter().any(|name| field.is(name)));
    let kept = forged::without_forged(header, host);
    if !lines(&kept).any(|line| ours(&line)) {
        return Bytes::copy_from_slice(&kept);
    }
    lines(&kept).filter(|line| !ours(line)).flatten().copied().collect::<Vec<u8>>().into()
}
