//! A courier takes messages that are due for one destination to its hosts, one after another, until each recipient has
//! its fate.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use storage::{Claim, Fate, Timestamp};
use tokio::time::Instant;

use super::client::{Broken, Client, Verdict};
use super::letter::{self, Letter};
use super::notice::{Action, Told};
use super::notices::{self, Settled};
use super::policy::Wish;
use super::presence::Moment;
use super::route::{self, Stop, Way};
use super::trouble::Trouble;
use super::{Outbound, chance};

/// The most addresses that are tried, and the most of them that a conversation begins with.
const ADDRESSES: usize = 5;
const CONVERSATIONS: usize = 2;
/// How many recipients a courier has first, and how many are claimed at once for one that is on its way, with all
/// others of their messages: few, so that a destination's window is used, whose couriers go on claiming while their
/// host takes what they bring.
const FIRST: u32 = 2;
const BATCH: u32 = 4;
/// Whoever takes longer for a message is slow: what waits for it is claimed one by one, so that nothing waits for a
/// courier that is busy while another one could take it.
const SLOW: Duration = Duration::from_millis(250);
/// After how many recipients, and after what time, a connection is given up (RFC 5321 asks for neither; a host that
/// balances its load wants to see us anew).
const MOST: usize = 100;
const LONGEST: Duration = Duration::from_secs(300);
/// After what time it is given up for another destination that waits for one: hosts that are slow do not have all.
const TURN: Duration = Duration::from_secs(5);
/// How many destinations a claim looks at, unless couriers are sent to more.
pub(super) const NAMES: usize = 64;
/// How many recipients a transaction has where the host says nothing of it: so many all of them take (RFC 5321
/// §4.5.3.1.8).
const RECIPIENTS: usize = 100;
/// How long a claim lasts: longer than a server may think about the end of a message.
pub(super) const LEASE: Duration = Duration::from_secs(900);
/// A claim that is younger lasts long enough for a message.
const YOUNG: Duration = Duration::from_secs(240);
/// How long that is tried still when this server stops.
const LAST: Duration = Duration::from_secs(10);
/// When it is tried again to write down what became of messages.
const AWAY: Duration = Duration::from_secs(2);
/// For how long it is tried to tell a sender that a message went to where nobody tells more.
const TELLING: Duration = Duration::from_secs(60);
/// Who did not hear whether a message was taken does not send it again soon.
const UNKNOWN: Duration = Duration::from_secs(1800);

/// What the sender is told of a recipient, where it wants to hear that.
#[derive(Clone)]
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

/// What is seen of a courier while it is on its way.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How many messages a host has answered since it was looked at.
    pub(super) answered: AtomicU32,
    /// Whether that took long the last time.
    pub(super) slow: AtomicBool,
    /// It gives up its connection for another destination.
    pub(super) leaves: AtomicBool,
}

impl Progress {
    fn answer(&self, took: Duration) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.slow.store(took > SLOW, Ordering::Relaxed);
    }
}

/// How many recipients a courier has first.
pub(super) fn first(slow: bool) -> u32 {
    if slow { 1 } else { FIRST }
}

/// What a courier learnt of its destination.
#[derive(Debug)]
pub(super) struct Report {
    /// Where it goes, from the first destination on that may have something due, and what the senders of what it takes
    /// along say of TLS.
    destinations: Arc<[String]>,
    from: usize,
    wish: Wish,
    /// What it claimed on its way and cannot take along on that connection.
    others: Vec<Open>,
    /// A server talked to us, whatever it said of the messages.
    pub(super) reached: bool,
    progress: Arc<Progress>,
    /// Why none did.
    pub(super) missed: Option<String>,
}

/// A recipient that has no fate yet.
#[derive(Debug)]
struct Open {
    claim: Claim,
    claimed: Moment,
    /// What the newest try said, and of which host on the way.
    trouble: Option<Trouble>,
    host: usize,
}

impl Open {
    /// Those that were asked for at that moment.
    fn all(claims: Vec<Claim>, claimed: Moment) -> impl Iterator<Item = Open> {
        claims.into_iter().map(move |claim| Open { claim, claimed, trouble: None, host: 0 })
    }

    /// What its sender says of TLS. No notification is bound to it (RFC 8689 §4.2.1).
    fn wish(&self) -> Wish {
        let manner = &self.claim.message.manner;
        Wish { required: manner.require_tls && !self.claim.from.is_empty(), optional: manner.tls_optional }
    }
}

/// Takes all of them, which were asked for at that moment, as far as it goes: those that want the same of TLS together.
/// The destinations go one way.
pub(super) async fn deliver(
    outbound: &Outbound,
    destinations: Arc<[String]>,
    (claims, claimed): (Vec<Claim>, Moment),
    progress: Arc<Progress>,
) -> Report {
    let (wish, others) = (Wish::default(), Vec::new());
    let mut report = Report { destinations, from: 0, wish, others, reached: false, missed: None, progress };
    let mut left: Vec<Open> = Open::all(claims, claimed).collect();
    while let Some(first) = left.first() {
        let (wish, destination) = (first.wish(), first.claim.destination.clone());
        report.wish = wish;
        let (mut open, others): (Vec<Open>, Vec<Open>) = left.into_iter().partition(|one| one.wish() == wish);
        left = others;
        match unless_stopped(outbound, route::way(outbound, &destination, wish)).await {
            Ok(way) => visit(outbound, &way, &mut open, &mut report).await,
            Err(trouble) => blame(&mut open, 0, trouble, &mut report),
        }
        finish(outbound, open).await;
        left.append(&mut report.others);
    }
    report
}

/// What is asked of others before anybody is talked to, unless this server stops meanwhile.
async fn unless_stopped<T>(outbound: &Outbound, asked: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let mut stop = outbound.patience.stop.clone();
    tokio::select! {
        answer = asked => answer,
        () = stop.requested() => Err(Trouble::of("", &Broken::Stopped)),
    }
}

/// Visits one host after another, while somebody is left.
async fn visit(outbound: &Outbound, way: &Way<'_>, open: &mut Vec<Open>, report: &mut Report) {
    let (mut tried, mut conversations) = (0, 0);
    for at in 0..way.len() {
        if open.is_empty() {
            return;
        }
        let stop = match unless_stopped(outbound, way.stop(outbound, at)).await {
            Ok(stop) => stop,
            // It was tried as well: names that nobody knows are not looked up without end.
            Err(trouble) => {
                blame(open, at, trouble, report);
                tried += 1;
                if tried >= ADDRESSES {
                    return;
                }
                continue;
            }
        };
        for address in &stop.addresses {
            if open.is_empty() || tried >= ADDRESSES || conversations >= CONVERSATIONS {
                return;
            }
            tried += 1;
            let place = format!("{}[{}]", stop.name.trim_matches(['[', ']']), address.ip());
            match greet(outbound, way, &stop, *address, open).await {
                Ok(client) => {
                    conversations += 1;
                    converse(outbound, client, (at, &place), open, report).await;
                }
                Err(broken) => blame(open, at, unsafe_to(&place, &broken, report.wish), report),
            }
        }
    }
}

/// Why a host could not be talked to. Who requires TLS hears at once that it cannot be had (RFC 8689 §4.2.1).
fn unsafe_to(place: &str, broken: &Broken, wish: Wish) -> Trouble {
    let trouble = Trouble::of(place, broken);
    match broken {
        Broken::NoTls(_) | Broken::Handshake(_) if wish.required => Trouble::lasting("5.7.10", trouble.said),
        _ => trouble,
    }
}

/// Connects and greets, with TLS as the host's plan wants it.
async fn greet(
    outbound: &Outbound,
    way: &Way<'_>,
    stop: &Stop,
    address: SocketAddr,
    open: &[Open],
) -> Result<Client, Broken> {
    let (own, patience) = (&outbound.smtp.services.hostname, outbound.patience.clone());
    let fixed = match way {
        Way::Fixed(route, _) => Some(*route),
        Way::Mx(_) => None,
    };
    let tls = stop.plan.server.clone().map(|name| (outbound.clients.of(&stop.plan), name));
    let implicit = fixed.is_some_and(|route| route.implicit);
    let mut client = Client::connect(address, tls.clone().filter(|_| implicit), patience.clone()).await?;
    client.hello(own).await?;
    if let Some((config, name)) = tls.filter(|_| !implicit && client.extensions.starttls) {
        match client.start_tls(config, name).await {
            Ok(Ok(secured)) => {
                client = secured;
                client.hello(own).await?;
            }
            // It does not want to now.
            Ok(Err((_, answer))) if stop.plan.needs_tls() => return Err(Broken::NoTls(Some(answer))),
            Ok(Err((refusing, _))) => client = refusing,
            // Nobody asked for TLS: what could not be sent with it before goes without it (RFC 7435), and what comes
            // along on the connection.
            Err(Broken::Handshake(why)) if !stop.plan.needs_tls() && open.iter().all(|one| one.claim.attempts > 0) => {
                tracing::info!(host = stop.name, why, "TLS failed again; the messages go in the clear");
                client = Client::connect(address, None, patience).await?;
                client.hello(own).await?;
            }
            Err(broken) => return Err(broken),
        }
    }
    if client.tls.is_none() && stop.plan.needs_tls() {
        return Err(Broken::NoTls(None));
    }
    if let Some(route) = fixed.filter(|route| !route.username.is_empty()) {
        client.log_in(&route.username, &route.password).await?;
    }
    Ok(client)
}

/// Hands over one message after another. What became of one is written down while the next is on its way.
async fn converse(
    outbound: &Outbound,
    mut client: Client,
    (host, place): (usize, &str),
    open: &mut Vec<Open>,
    report: &mut Report,
) {
    report.progress.leaves.store(false, Ordering::Relaxed);
    let (begun, mut taken) = (Instant::now(), 0);
    let (mut at, mut ended, mut done) = (0, Ok(()), Vec::new());
    while ended.is_ok() {
        if at == open.len() {
            // Those that were left are for the next host; the connection is for those that are due now.
            let goes_on = taken > 0 && taken < MOST && begun.elapsed() < LONGEST && !outbound.is_stopping();
            let gives_way = goes_on && begun.elapsed() >= TURN && outbound.gives_way();
            // Whom it has still, it takes to the next host.
            let leaves = gives_way && open.is_empty() && report.others.is_empty();
            report.progress.leaves.store(leaves, Ordering::Relaxed);
            if !goes_on || gives_way || !more(outbound, open, report).await {
                break;
            }
        }
        let count = together(&client, &open[at..]);
        if let Some(trouble) = letter::lacking(&client.extensions, client.tls.is_some(), place, &open[at].claim) {
            report.reached = true;
            note(&mut open[at..at + count], host, &trouble);
            at += count;
            continue;
        }
        let content = match outbound.queue.content(&open[at].claim.message).await {
            Ok(content) => content,
            Err(error) => {
                let trace = open[at].claim.message.trace;
                tracing::error!(%trace, %error, detail = error.detail(), "a message cannot be read");
                note(&mut open[at..at + count], host, &Trouble::ours("4.3.0", error.to_string()));
                at += count;
                continue;
            }
        };
        let claims: Vec<Claim> = open[at..at + count].iter().map(|one| one.claim.clone()).collect();
        let claimed: Vec<Moment> = open[at..at + count].iter().map(|one| one.claimed).collect();
        let letter = Letter::new(&client.extensions, &claims, &content).await;
        let fence = async {
            let ours = |claimed: &Moment| claimed.elapsed() < YOUNG && outbound.presence.is_certain(*claimed);
            claimed.iter().all(ours) || outbound.queue.renew(&claims, LEASE).await.unwrap_or(false)
        };
        let written = settle(outbound, std::mem::take(&mut done), LEASE);
        let asked = Instant::now();
        let sent = async {
            tokio::select! {
                sent = client.send(&letter, fence) => (sent, asked.elapsed()),
                never = keep(outbound, open) => never,
            }
        };
        let (((verdicts, result), took), _) = tokio::join!(sent, written);
        if verdicts.iter().any(Option::is_some) || result.is_ok() {
            report.reached = true;
            report.progress.answer(took);
        }
        let handed = open.drain(at..at + count).zip(verdicts).collect();
        let sorted = sorted(&client, place, handed, &result);
        (taken, done) = (taken + sorted.done.len(), sorted.done);
        let next = at + sorted.left.len();
        open.splice(at..at, sorted.left.into_iter().chain(sorted.again));
        at = next;
        finish(outbound, sorted.apart).await;
        ended = result;
    }
    settle(outbound, done, LEASE).await;
    match ended {
        Ok(()) => client.quit().await,
        Err(broken) => note(&mut open[at..], host, &Trouble::of(place, &broken)),
    }
}

/// Keeps what is taken along from others while a message is on its way, however slow that is.
async fn keep(outbound: &Outbound, open: &[Open]) -> ! {
    let claims: Vec<Claim> = open.iter().map(|one| one.claim.clone()).collect();
    loop {
        tokio::time::sleep(LEASE / 3).await;
        // Whether that could be is asked once more before the message is handed over.
        let _ = outbound.queue.renew(&claims, LEASE).await;
    }
}

/// Claims more for the same destinations; whether there was any that may go over the same connection.
async fn more(outbound: &Outbound, open: &mut Vec<Open>, report: &mut Report) -> bool {
    let before = open.len();
    while let Some(names) = report.destinations.get(report.from..).filter(|names| !names.is_empty()) {
        let (claimed, slow) = (Moment::now(), report.progress.slow.load(Ordering::Relaxed));
        let most = if slow { 1 } else { BATCH };
        match outbound.queue.claim(&names[..names.len().min(NAMES)], most, LEASE).await {
            Ok((claims, empty)) => {
                // What is due there from now on is found by the dispatcher.
                report.from += empty;
                let is_over = !claims.is_empty() || empty == 0;
                for one in Open::all(claims, claimed) {
                    if one.wish() == report.wish { open.push(one) } else { report.others.push(one) }
                }
                if is_over {
                    break;
                }
            }
            Err(error) => {
                tracing::warn!(%error, detail = error.detail(), "nothing more could be claimed");
                break;
            }
        }
    }
    open.len() > before
}

/// How many of the first recipients go into one transaction: those of one message and sender, as many as the host
/// takes.
fn together(client: &Client, open: &[Open]) -> usize {
    let Some(first) = open.first().map(|one| &one.claim) else { return 0 };
    let alike = |claim: &Claim| (claim.message.id, letter::needs_utf8(claim));
    let same = |one: &&Open| alike(&one.claim) == alike(first) && one.claim.from == first.from;
    let most = client.extensions.recipients.unwrap_or(RECIPIENTS);
    open.iter().take(most).take_while(same).count()
}

/// Recipients by what became of them.
#[derive(Default)]
struct Sorted {
    /// They have their fate.
    done: Vec<(Claim, Fate, Option<Tell>)>,
    /// They may have better luck with another host.
    left: Vec<Open>,
    /// No other host is offered them: the message may have been taken, or may be somebody else's to send.
    apart: Vec<Open>,
    /// They were too many for one transaction (RFC 5321 §4.5.3.1.10).
    again: Vec<Open>,
}

fn sorted(client: &Client, place: &str, handed: Vec<(Open, Option<Verdict>)>, result: &Result<(), Broken>) -> Sorted {
    let mut sorted = Sorted::default();
    let is_too_many = |verdict: &Option<Verdict>| match verdict {
        Some(Verdict::Refused(answer)) => answer.is_too_many(),
        _ => false,
    };
    // Who is one too many is not so alone.
    let alone = handed.iter().all(|(_, verdict)| is_too_many(verdict));
    let mut some_taken = false;
    for (one, verdict) in handed {
        match verdict {
            Some(Verdict::Taken(answer)) => {
                some_taken = true;
                let tls = client.tls.as_ref().map_or("none", |(version, _)| version.as_str());
                // A server that knows nothing of notifications sends none (RFC 3461 §5.2.2).
                let relayed = (one.claim.notice.success && !client.extensions.dsn).then(|| Tell {
                    action: Action::Relayed,
                    status: "2.0.0".into(),
                    host: Some(place.to_owned()),
                    said: answer.to_string(),
                });
                sorted.done.push((one.claim, Fate::Sent(format!("to={place} tls={tls} {answer}")), relayed));
            }
            Some(Verdict::Refused(answer)) if some_taken && result.is_ok() && answer.is_too_many() => {
                sorted.again.push(one);
            }
            Some(Verdict::Refused(answer)) if !alone && answer.is_too_many() => {
                let trouble = Trouble { is_final: false, ..Trouble::refused(place, &answer) };
                sorted.left.push(Open { trouble: Some(trouble), ..one });
            }
            Some(Verdict::Refused(answer) | Verdict::Unwanted(answer)) if answer.is_final() => {
                let tell = Tell::failed(Trouble::refused(place, &answer));
                sorted.done.push((one.claim, Fate::Failed(format!("{place} said: {answer}")), Some(tell)));
            }
            Some(Verdict::Refused(answer) | Verdict::Unwanted(answer)) => {
                sorted.left.push(Open { trouble: Some(Trouble::refused(place, &answer)), ..one });
            }
            None => {
                let trouble = result.as_ref().err().map(|broken| Trouble::of(place, broken));
                let unknown = trouble.as_ref().is_some_and(|trouble| trouble.unknown);
                let apart = unknown || matches!(result, Err(Broken::Yielded));
                let open = Open { trouble, ..one };
                if apart { sorted.apart.push(open) } else { sorted.left.push(open) }
            }
        }
    }
    sorted
}

/// Notes why all of them are still there, and what that says of the destination.
fn blame(open: &mut [Open], host: usize, trouble: Trouble, report: &mut Report) {
    if trouble.blames_host {
        report.missed.get_or_insert_with(|| trouble.said.clone());
    }
    note(open, host, &trouble);
}

/// Notes what a host on the way says, unless it says never and another one may take the message later.
fn note(open: &mut [Open], host: usize, trouble: &Trouble) {
    for one in open {
        match &one.trouble {
            Some(known) if trouble.is_final && !known.is_final && one.host != host => {}
            _ => (one.trouble, one.host) = (Some(trouble.clone()), host),
        }
    }
}

/// Brings back what was tried for too long, in the words of the newest try; whether all of it was written down.
pub(super) async fn give_up(outbound: &Outbound, claims: Vec<Claim>) -> bool {
    let expired = |claim: Claim| {
        let said = if claim.said.is_empty() { "it was not tried".to_owned() } else { claim.said.clone() };
        expired(claim, &said)
    };
    settle(outbound, claims.into_iter().map(expired).collect(), Duration::ZERO).await
}

/// Brings one back whose time is over (RFC 3463 §3.5).
fn expired(claim: Claim, said: &str) -> (Claim, Fate, Option<Tell>) {
    let said = format!("given up: {said}");
    let tell = Tell { action: Action::Failed, status: "4.4.7".into(), host: None, said: said.clone() };
    (claim, Fate::Failed(said), Some(tell))
}

/// Ends what no host has taken: it waits, or comes back.
async fn finish(outbound: &Outbound, open: Vec<Open>) {
    // Recipients of one message are tried again together.
    let (now, chance) = (Timestamp::now(), chance());
    let ends = |Open { claim, trouble, .. }: Open| {
        let trouble = trouble.unwrap_or_else(|| Trouble::passing("4.4.0", "no host was left to try".into()));
        let said = trouble.shown();
        if trouble.is_final {
            return (claim, Fate::Failed(said), Some(Tell::failed(trouble)));
        }
        if claim.expires <= now && !trouble.passes_at_once {
            return expired(claim, &said);
        }
        let age = Duration::from_millis(u64::try_from(now.0 - claim.message.arrived.0).unwrap_or(0));
        let delay = outbound.delay(age, chance);
        let delay = match &trouble {
            Trouble { passes_at_once: true, .. } => Duration::ZERO,
            Trouble { unknown: true, .. } => delay.max(UNKNOWN),
            _ => delay,
        };
        (claim, Fate::Deferred(said, delay), None)
    };
    settle(outbound, open.into_iter().map(ends).collect(), LEASE).await;
}

/// Tells senders that their messages are still tried; whether all were told.
pub(super) async fn warn(outbound: &Outbound, claims: Vec<Claim>) -> bool {
    let late = |claim: Claim| {
        let said = if claim.said.is_empty() { "it was not tried yet".to_owned() } else { claim.said.clone() };
        let tell = Tell { action: Action::Delayed, status: "4.4.7".into(), host: None, said };
        (claim, Fate::Warned, Some(tell))
    };
    settle(outbound, claims.into_iter().map(late).collect(), Duration::ZERO).await
}

/// Writes fates down, with the notifications that follow from them; whether all were. What one of them keeps from being
/// written does not keep the others. While the database is away it is tried again, for as long as `patience` lasts;
/// what a server has taken is not forgotten before this server stops, since nobody can claim it meanwhile.
async fn settle(outbound: &Outbound, fates: Vec<(Claim, Fate, Option<Tell>)>, patience: Duration) -> bool {
    let (begun, mut all) = (Instant::now(), true);
    // What nobody need be told of waits for no notification.
    let (plain, telling): (Vec<_>, Vec<_>) = fates.into_iter().partition(|(_, _, tell)| tell.is_none());
    let mut left: VecDeque<Vec<_>> = [plain, telling].into_iter().filter(|fates| !fates.is_empty()).collect();
    while let Some(fates) = left.pop_front() {
        let sent = fates.iter().any(|(_, fate, _)| matches!(fate, Fate::Sent(_)));
        let passed = begun.elapsed();
        let settled = settle_together(outbound, fates.clone(), passed < TELLING).await;
        let limit = match settled {
            Settled::Away if sent => Duration::MAX,
            Settled::Away => patience,
            _ => patience.min(TELLING),
        };
        let limit = if outbound.is_stopping() { limit.min(LAST) } else { limit };
        match settled {
            Settled::Done => {}
            Settled::Apart if fates.len() > 1 => left.extend(apart(fates)),
            Settled::Away | Settled::Faulty if passed < limit => {
                tokio::time::sleep(AWAY).await;
                left.push_back(fates);
            }
            // Their claims run out, and then they are tried again.
            _ => {
                all = false;
                tracing::error!(recipients = fates.len(), "what became of messages could not be written down");
            }
        }
    }
    all
}

/// Those of each message and sender by themselves, as one notification tells of them; each alone, where that is what
/// they are.
fn apart(fates: Vec<(Claim, Fate, Option<Tell>)>) -> Vec<Vec<(Claim, Fate, Option<Tell>)>> {
    type One = (Claim, Fate, Option<Tell>);
    let same = |(one, ..): &One, (next, ..): &One| one.message.id == next.message.id && one.from == next.from;
    let parts: Vec<Vec<One>> = fates.chunk_by(same).map(<[One]>::to_vec).collect();
    if parts.len() > 1 { parts } else { fates.into_iter().map(|one| vec![one]).collect() }
}

/// All of them, or none. Unless it is to be `told`, what was sent is so without a notification that cannot be made.
async fn settle_together(outbound: &Outbound, fates: Vec<(Claim, Fate, Option<Tell>)>, told: bool) -> Settled {
    let mut notices = Vec::new();
    for action in [Action::Failed, Action::Delayed, Action::Relayed] {
        let about = fates.iter().filter_map(|(claim, _, tell)| {
            let Tell { status, host, said, .. } = tell.as_ref().filter(|tell| tell.action == action)?;
            let wished = action != Action::Failed || claim.notice.failure;
            let told = || Told {
                recipient: letter::in_ascii(&claim.recipient).into_owned(),
                original: claim.notice.original.clone(),
                status: status.clone(),
                host: host.clone(),
                said: said.clone(),
                until: Some(claim.expires),
            };
            (wished && !claim.from.is_empty()).then_some((claim, told()))
        });
        match notices::made(outbound, action, about.collect()).await {
            Ok(made) => notices.extend(made),
            // That it was sent counts more than that it is told.
            Err(error) if action == Action::Relayed && fates.len() == 1 && !told => {
                tracing::warn!(%error, detail = error.detail(), "a sender is not told that a message was passed on");
            }
            Err(error) => {
                tracing::warn!(%error, detail = error.detail(), "a notification cannot be made now");
                return if fates.len() > 1 { Settled::Apart } else { Settled::Faulty };
            }
        }
    }
    let fates = fates.into_iter().map(|(claim, fate, _)| (claim, fate)).collect();
    notices::settle(outbound, fates, notices).await
}
