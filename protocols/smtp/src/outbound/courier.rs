//! A courier takes messages that are due for one destination to its hosts, one after another, until each recipient has
//! its fate.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::ServerName;
use storage::{Body, Claim, Fate, Timestamp};
use tokio::time::Instant;

use super::client::{Broken, Client, Letter, Step, Verdict};
use super::hosts::{self, Host};
use super::notice::{Action, Told};
use super::{Outbound, chance, notices};

/// The most addresses that are tried, and the most of them that a conversation begins with.
const ADDRESSES: usize = 5;
const CONVERSATIONS: usize = 2;
/// How long a claim lasts: longer than a server may think about the end of a message.
pub(super) const LEASE: Duration = Duration::from_secs(900);
/// A claim that is younger lasts long enough for a message.
const YOUNG: Duration = Duration::from_secs(240);
/// The longest line of a return path.
const RETURN_PATH: u64 = 2048;
/// Who did not hear whether a message was taken does not send it again soon.
const UNKNOWN: Duration = Duration::from_secs(1800);

/// Why a recipient is still there.
#[derive(Debug, Clone)]
struct Trouble {
    /// Whether trying again is of no use.
    is_final: bool,
    /// The enhanced status code (RFC 3463).
    status: String,
    /// The server that said so, where one did.
    host: Option<String>,
    said: String,
    /// Whether it is not known if the message was taken.
    unknown: bool,
}

/// What the sender is told of a recipient, where it wants to hear that.
struct Tell {
    action: Action,
    status: String,
    host: Option<String>,
    said: String,
}

impl Tell {
    fn failed(Trouble { status, host, said, .. }: Trouble) -> Tell {
        Tell { action: Action::Failed, status, host, said }
    }
}

/// What a courier learnt of its destination.
#[derive(Debug)]
pub(super) struct Report {
    /// When it claimed what it takes along.
    claimed: Instant,
    /// A server talked to us, whatever it said of the messages.
    pub(super) reached: bool,
    /// Why none did.
    pub(super) missed: Option<String>,
}

/// A recipient that has no fate yet.
struct Open {
    claim: Claim,
    trouble: Option<Trouble>,
}

/// Takes all of them as far as it goes.
pub(super) async fn deliver(outbound: &Outbound, destination: &str, claims: Vec<Claim>) -> Report {
    let mut open: Vec<Open> = claims.into_iter().map(|claim| Open { claim, trouble: None }).collect();
    let mut report = Report { claimed: Instant::now(), reached: false, missed: None };
    match hosts::hosts(&outbound.smtp.dns, destination, &outbound.smtp.services.hostname, chance).await {
        Ok(hosts) => visit(outbound, &hosts, &mut open, &mut report).await,
        Err(nowhere) => {
            let hosts::Nowhere { is_final, status, said } = nowhere;
            report.missed = (!is_final).then(|| said.clone());
            note(&mut open, &Trouble { is_final, status: status.into(), host: None, said, unknown: false });
        }
    }
    finish(outbound, open).await;
    report
}

/// Visits one host after another, while somebody is left.
async fn visit(outbound: &Outbound, hosts: &[Host], open: &mut Vec<Open>, report: &mut Report) {
    let (mut tried, mut conversations) = (0, 0);
    for host in hosts {
        let (name, addresses) = match host {
            Host::Address(address) => (format!("[{address}]"), vec![*address]),
            Host::Name(name) => match outbound.smtp.dns.addresses(name).await {
                Ok(addresses) => (name.clone(), addresses),
                Err(nothing) => {
                    let is_final = !matches!(nothing, crate::dns::Nothing::Unknown(_)) && hosts.len() == 1;
                    let (status, why) = match nothing {
                        crate::dns::Nothing::Unknown(why) => ("4.4.3", format!(": {why}")),
                        _ if is_final => ("5.4.4", String::new()),
                        _ => ("4.4.4", String::new()),
                    };
                    let said = format!("the host {name} has no address{why}");
                    report.missed = (!is_final).then(|| said.clone());
                    note(open, &Trouble { is_final, status: status.into(), host: None, said, unknown: false });
                    continue;
                }
            },
        };
        for address in addresses {
            if open.is_empty() || tried >= ADDRESSES || conversations >= CONVERSATIONS {
                return;
            }
            tried += 1;
            if talk(outbound, &name, address, open, report).await {
                conversations += 1;
            }
        }
    }
}

/// Talks to one host; whether a conversation came about.
async fn talk(outbound: &Outbound, host: &str, address: IpAddr, open: &mut Vec<Open>, report: &mut Report) -> bool {
    let place = format!("{host}[{address}]");
    let mut client = match greet(outbound, host, address).await {
        Ok(client) => client,
        Err(broken) => {
            let trouble = trouble(&place, &broken);
            report.missed.get_or_insert_with(|| trouble.said.clone());
            note(open, &trouble);
            return false;
        }
    };
    let mut at = 0;
    let mut ended = Ok(());
    while at < open.len() && ended.is_ok() {
        let (message, from) = (open[at].claim.message.clone(), open[at].claim.from.clone());
        let count =
            open[at..].iter().take_while(|one| one.claim.message.id == message.id && one.claim.from == from).count();
        if let Some(trouble) = cannot(&client, &place, &open[at].claim) {
            note(&mut open[at..at + count], &trouble);
            at += count;
            continue;
        }
        let content = match outbound.queue.content(&message).await {
            Ok(content) => content,
            Err(error) => {
                let (said, status) = (error.to_string(), "4.3.0".into());
                note(&mut open[at..at + count], &Trouble { is_final: false, status, host: None, said, unknown: false });
                at += count;
                continue;
            }
        };
        let claims: Vec<Claim> = open[at..at + count].iter().map(|one| one.claim.clone()).collect();
        let start = start(&content).await;
        let letter = Letter { start, ..letter(&client, &claims, &content) };
        let young = report.claimed.elapsed() < YOUNG;
        let fence = async { young || outbound.queue.renew(&claims, LEASE).await.unwrap_or(false) };
        let (verdicts, result) = client.send(&letter, fence).await;
        report.reached |= verdicts.iter().any(Option::is_some) || result.is_ok();
        let mut done = Vec::new();
        let mut left = Vec::new();
        for (one, verdict) in open.drain(at..at + count).zip(verdicts) {
            match verdict {
                Some(Verdict::Taken(answer)) => {
                    let tls = client.tls.as_ref().map_or("none", |(version, _)| version.as_str());
                    // A server that knows nothing of notifications sends none (RFC 3461 §5.2.2).
                    let relayed = (one.claim.notice.success && !client.extensions.dsn).then(|| Tell {
                        action: Action::Relayed,
                        status: "2.0.0".into(),
                        host: Some(place.clone()),
                        said: answer.to_string(),
                    });
                    done.push((one.claim, Fate::Sent(format!("to={place} tls={tls} {answer}")), relayed));
                }
                Some(Verdict::Refused(answer)) if answer.is_final() => {
                    let tell = Tell::failed(refused(&place, &answer));
                    done.push((one.claim, Fate::Failed(format!("{place} said: {answer}")), Some(tell)));
                }
                Some(Verdict::Refused(answer)) => {
                    left.push(Open { trouble: Some(refused(&place, &answer)), ..one });
                }
                None => left.push(match &result {
                    Ok(()) => one,
                    Err(broken) => Open { trouble: Some(trouble(&place, broken)), ..one },
                }),
            }
        }
        // What may have been taken is not offered to the next host.
        let (unknown, left): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|one| one.trouble.as_ref().is_some_and(|trouble| trouble.unknown));
        let next = at + left.len();
        open.splice(at..at, left);
        at = next;
        settle(outbound, done).await;
        finish(outbound, unknown).await;
        ended = result;
    }
    match ended {
        Ok(()) => client.quit().await,
        Err(broken) => {
            let trouble = trouble(&place, &broken);
            note(&mut open[at..], &trouble);
        }
    }
    true
}

/// Connects and greets, with TLS where the server has it.
async fn greet(outbound: &Outbound, host: &str, address: IpAddr) -> Result<Client, Broken> {
    let address = SocketAddr::new(address, outbound.smtp.config.outbound.port);
    let own = &outbound.smtp.services.hostname;
    let mut client = Client::connect(address, None).await?;
    client.hello(own).await?;
    if !client.extensions.starttls {
        return Ok(client);
    }
    let name = ServerName::try_from(host.to_owned()).or_else(|_| ServerName::try_from(address.ip().to_string()));
    let Ok(name) = name else { return Ok(client) };
    match client.start_tls(outbound.tls.clone(), name).await {
        Ok(Ok(mut client)) => {
            client.hello(own).await?;
            Ok(client)
        }
        // It does not want to now.
        Ok(Err((client, _))) => Ok(client),
        // Nobody asked for TLS: better in the clear than not at all (RFC 7435).
        Err(Broken::Handshake(why)) => {
            tracing::info!(host, why, "TLS failed; the message goes in the clear");
            let mut client = Client::connect(address, None).await?;
            client.hello(own).await?;
            Ok(client)
        }
        Err(broken) => Err(broken),
    }
}

/// What the host would have to be able to do for this message, and is not.
fn cannot(client: &Client, place: &str, claim: &Claim) -> Option<Trouble> {
    let (message, has) = (&claim.message, &client.extensions);
    let (status, said) = if has.size.is_some_and(|limit| limit < message.size) {
        ("5.3.4", format!("{place} takes no message of {} bytes", message.size))
    } else if message.manner.utf8 && !has.utf8 {
        ("5.6.7", format!("{place} takes no addresses and headers beyond ASCII (SMTPUTF8)"))
    } else if message.manner.body == Body::EightBit && !has.eight_bit {
        ("5.6.3", format!("{place} takes no content beyond ASCII (8BITMIME)"))
    } else if message.manner.body == Body::Binary && !(has.binary && has.chunking) {
        ("5.6.3", format!("{place} takes no binary content (BINARYMIME)"))
    } else if message.manner.require_tls && !(has.require_tls && client.tls.is_some()) {
        ("5.7.30", format!("{place} cannot promise TLS (REQUIRETLS)"))
    } else {
        return None;
    };
    Some(Trouble { is_final: true, status: status.into(), host: None, said, unknown: false })
}

/// What is said of a message before its content.
fn letter<'a>(client: &Client, claims: &'a [Claim], content: &'a storage::Content) -> Letter<'a> {
    let (message, has) = (&claims[0].message, &client.extensions);
    let manner = &message.manner;
    let mut mail = format!("MAIL FROM:<{}>", claims[0].from);
    if has.sizes {
        mail.push_str(&format!(" SIZE={}", message.size));
    }
    if manner.body == Body::EightBit && has.eight_bit {
        mail.push_str(" BODY=8BITMIME");
    }
    if manner.utf8 {
        mail.push_str(" SMTPUTF8");
    }
    if manner.require_tls {
        mail.push_str(" REQUIRETLS");
    }
    if has.dsn {
        if let Some(ret) = manner.ret {
            mail.push_str(if ret == storage::Return::Full { " RET=FULL" } else { " RET=HDRS" });
        }
        if let Some(envid) = &manner.envid {
            mail.push_str(&format!(" ENVID={envid}"));
        }
    }
    mail.push_str("\r\n");
    let recipient = |claim: &Claim| {
        let mut rcpt = format!("RCPT TO:<{}>", claim.recipient);
        if has.dsn && claim.notice.said {
            let wishes =
                [(claim.notice.success, "SUCCESS"), (claim.notice.failure, "FAILURE"), (claim.notice.delay, "DELAY")];
            let wishes: Vec<&str> = wishes.iter().filter(|(wished, _)| *wished).map(|(_, name)| *name).collect();
            let wishes = if wishes.is_empty() { "NEVER".to_owned() } else { wishes.join(",") };
            rcpt.push_str(&format!(" NOTIFY={wishes}"));
        }
        if let Some(original) = claim.notice.original.as_ref().filter(|_| has.dsn) {
            rcpt.push_str(&format!(" ORCPT={original}"));
        }
        rcpt.push_str("\r\n");
        rcpt
    };
    let head = message.head.as_bytes();
    Letter { mail, recipients: claims.iter().map(recipient).collect(), head, content, start: 0 }
}

fn refused(place: &str, answer: &super::answer::Answer) -> Trouble {
    let status = answer.status().map_or_else(|| format!("{}.0.0", answer.code / 100), str::to_owned);
    let (is_final, said) = (answer.is_final(), answer.to_string());
    Trouble { is_final, status, host: Some(place.to_owned()), said, unknown: false }
}

fn trouble(place: &str, broken: &Broken) -> Trouble {
    let ours = |status: &str, said: String, unknown| Trouble {
        is_final: false,
        status: status.into(),
        host: None,
        said,
        unknown,
    };
    match broken {
        Broken::Lost(Step::Connect, why) => ours("4.4.1", format!("{place} cannot be reached: {why}"), false),
        Broken::Lost(step, why) => {
            ours("4.4.2", format!("the connection to {place} was lost ({step:?}): {why}"), *step == Step::End)
        }
        Broken::Garbled(step, why) => ours("4.5.0", format!("{place} sent {why} ({step:?})"), *step == Step::End),
        Broken::Ahead(step) => ours("4.5.0", format!("{place} answered before it was asked ({step:?})"), false),
        // A host that does not want to talk says nothing of the message, whatever it calls that.
        Broken::Refused(answer) => Trouble {
            is_final: false,
            status: answer.status().map_or_else(|| "4.0.0".to_owned(), |status| format!("4{}", &status[1..])),
            host: Some(place.to_owned()),
            said: answer.to_string(),
            unknown: false,
        },
        Broken::Handshake(why) => ours("4.7.5", format!("TLS with {place} failed: {why}"), false),
    }
}

fn note(open: &mut [Open], trouble: &Trouble) {
    open.iter_mut().for_each(|one| one.trouble = Some(trouble.clone()));
}

/// Brings back what was tried for too long, in the words of the newest try.
pub(super) async fn give_up(outbound: &Outbound, claims: Vec<Claim>) {
    let expired = |claim: Claim| {
        let said = if claim.said.is_empty() { "it was not tried".to_owned() } else { claim.said.clone() };
        let said = format!("given up: {said}");
        let tell = Tell { action: Action::Failed, status: "4.4.7".into(), host: None, said: said.clone() };
        (claim, Fate::Failed(said), Some(tell))
    };
    settle(outbound, claims.into_iter().map(expired).collect()).await;
}

/// Ends what no host has taken: it waits, or comes back.
async fn finish(outbound: &Outbound, open: Vec<Open>) {
    let now = Timestamp::now();
    let ends = |Open { claim, trouble }: Open| {
        let trouble = trouble.unwrap_or(Trouble {
            is_final: false,
            status: "4.4.0".into(),
            host: None,
            said: "no host was left to try".into(),
            unknown: false,
        });
        let said = match &trouble.host {
            Some(host) => format!("{host} said: {}", trouble.said),
            None => format!("{} {}", trouble.status, trouble.said),
        };
        if trouble.is_final || claim.expires <= now {
            return (claim, Fate::Failed(said), Some(Tell::failed(trouble)));
        }
        let age = Duration::from_millis(u64::try_from(now.0 - claim.message.arrived.0).unwrap_or(0));
        let delay = outbound.delay(age);
        let delay = if trouble.unknown { delay.max(UNKNOWN) } else { delay };
        (claim, Fate::Deferred(said, delay), None)
    };
    settle(outbound, open.into_iter().map(ends).collect()).await;
}

/// Tells senders that their messages are still tried.
pub(super) async fn warn(outbound: &Outbound, claims: Vec<Claim>) {
    let late = |claim: Claim| {
        let said = if claim.said.is_empty() { "it was not tried yet".to_owned() } else { claim.said.clone() };
        let tell = Tell { action: Action::Delayed, status: "4.4.7".into(), host: None, said };
        (claim, Fate::Warned, Some(tell))
    };
    settle(outbound, claims.into_iter().map(late).collect()).await;
}

/// Writes fates down, with the notifications that follow from them.
async fn settle(outbound: &Outbound, fates: Vec<(Claim, Fate, Option<Tell>)>) {
    if fates.is_empty() {
        return;
    }
    let mut notices = Vec::new();
    for action in [Action::Failed, Action::Delayed, Action::Relayed] {
        let about = fates.iter().filter_map(|(claim, _, tell)| {
            let Tell { status, host, said, .. } = tell.as_ref().filter(|tell| tell.action == action)?;
            let wished = action != Action::Failed || claim.notice.failure;
            let told = || Told {
                recipient: claim.recipient.clone(),
                original: claim.notice.original.clone(),
                status: status.clone(),
                host: host.clone(),
                said: said.clone(),
                until: Some(claim.expires),
            };
            (wished && !claim.from.is_empty()).then_some((claim, told()))
        });
        notices.extend(notices::made(outbound, action, about.collect()).await);
    }
    let fates = fates.into_iter().map(|(claim, fate, _)| (claim, fate)).collect();
    notices::settle(outbound, fates, notices).await;
}

/// Where the message begins in what was stored: behind the return path, which only the last server writes
/// (RFC 5321 §4.4).
pub(super) async fn start(content: &storage::Content) -> u64 {
    let first = content.read(0..content.len().min(RETURN_PATH)).await.unwrap_or_default();
    match memchr::memchr(b'\n', &first) {
        Some(end) if first.starts_with(b"Return-Path: <") => end as u64 + 1,
        _ => 0,
    }
}
