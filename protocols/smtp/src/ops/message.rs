//! DATA and BDAT: the message streams from the network into the store, bounded in memory whatever its size.

use std::time::Duration;

use auth::{Authority, Peer, Principal};
use bytes::Bytes;
use protocol::{Closed, Progress, ReadError, Wire};
use storage::{Delivered, Error};

use crate::Smtp;
use crate::ops::{Outcome, out_of_sequence};
use crate::pipeline;
use crate::reply::{Problem, Reply};
use crate::scan::{Framing, Hops, Scanner};
use crate::session::{Client, State, Transaction};
use crate::spool::{Failed, HEADER, LINES, Spool};

/// How long the genuine end of a message that is refused for bare line ends may be silent: who wrote them may have
/// written such an end too, and would wait for our reply for ever.
const BARE_END: Duration = Duration::from_secs(5);

/// DATA (RFC 5321 §4.1.1.4).
pub(crate) async fn data(smtp: &Smtp, wire: &mut Wire, state: State) -> Outcome {
    let State::Mail(client, mail) = state else { return out_of_sequence(state) };
    if pipeline::is_binary(&mail) {
        return Ok((State::Mail(client, mail), Reply::new(503, "5.5.1 Binary content comes by BDAT (RFC 3030)")));
    }
    if wire.conn.has_input() {
        // What is sent before it was asked for may be meant to be read as something else (RFC 2920 §3.1).
        let text = "5.5.0 Nothing may follow DATA before the server answers; goodbye";
        return Ok((State::Mail(client, mail), Reply::new(554, text).closing(Closed::Abuse)));
    }
    let mut intake = Intake::open(smtp, wire, &mail, Framing::Dots);
    Reply::new(354, "End data with <CR><LF>.<CR><LF>").write(&mut wire.out);
    wire.flush().await?;
    let ended = intake.read_to_end(wire).await?;
    let reply = intake.finish(smtp, &client, &mail).await;
    let reply = if ended { reply } else { reply.closing(Closed::Abuse) };
    Ok((State::Mail(client, mail).reset(), reply))
}

/// BDAT (RFC 3030 §2).
pub(crate) async fn bdat(smtp: &Smtp, wire: &mut Wire, state: State, size: u64, last: bool) -> Outcome {
    let (client, mail, mut intake) = match state {
        State::Mail(client, mail) => {
            let framing = if pipeline::is_binary(&mail) { Framing::Binary } else { Framing::Counted };
            let intake = Intake::open(smtp, wire, &mail, framing);
            (client, mail, Box::new(intake))
        }
        State::Chunks(client, mail, intake) => (client, mail, intake),
        other => return out_of_sequence(other),
    };
    if size > intake.limit.saturating_sub(intake.size) {
        intake.fail(Problem::TooLarge(intake.limit));
        let skipped = skip(smtp, wire, size).await?;
        let reply = intake.close(smtp, &client, &mail, last).await;
        return Ok((State::Mail(client, mail).reset(), skipped.unwrap_or(reply)));
    }
    intake.read_counted(wire, size).await?;
    if last || intake.content.is_err() {
        let reply = intake.close(smtp, &client, &mail, last).await;
        return Ok((State::Mail(client, mail).reset(), reply));
    }
    Ok((State::Chunks(client, mail, intake), Reply::new(250, format!("2.0.0 {size} octets received"))))
}

/// Drops the octets of a BDAT that is refused; a reply that closes when there are too many of them to wait for.
pub(crate) async fn skip(smtp: &Smtp, wire: &mut Wire, size: u64) -> Result<Option<Reply>, ReadError> {
    let limit = smtp.config.max_message.0;
    if size > most_dropped(limit) {
        return Ok(Some(Reply::from(&Problem::TooLarge(limit)).closing(Closed::Abuse)));
    }
    wire.skip(size).await?;
    Ok(None)
}

/// How many octets of messages that are too large are read only to answer in order.
fn most_dropped(limit: u64) -> u64 {
    limit.saturating_mul(2).saturating_add(1 << 20)
}

/// A message on its way into the store.
pub(crate) struct Intake {
    scanner: Scanner,
    framing: Framing,
    hops: Hops,
    max_hops: u32,
    /// Octets of content so far.
    size: u64,
    limit: u64,
    /// Where the content goes, until it is clear that it will not be taken.
    content: Result<Spool, Problem>,
    /// The content of one chunk; kept for its space.
    pieces: Vec<Bytes>,
    /// Who brings it, under the trace id of the transaction.
    peer: Peer,
}

impl Intake {
    fn open(smtp: &Smtp, wire: &Wire, mail: &Transaction, framing: Framing) -> Intake {
        Intake {
            scanner: Scanner::new(framing),
            framing,
            hops: Hops::default(),
            max_hops: smtp.config.max_hops,
            size: 0,
            limit: smtp.config.max_message.0,
            content: Ok(Spool::new(smtp.services.auth.clone())),
            pieces: Vec::new(),
            peer: Peer { trace: mail.trace, ..wire.conn.peer().clone() },
        }
    }

    /// Reads up to CRLF.CRLF, also when the message will be refused; false when it was given up before.
    async fn read_to_end(&mut self, wire: &mut Wire) -> Result<bool, ReadError> {
        let mut progress = Progress::default();
        while self.size <= most_dropped(self.limit) {
            let next = wire.chunk(&mut progress);
            let chunk = match self.scanner.bare() {
                None => next.await?,
                Some(_) => match tokio::time::timeout(BARE_END, next).await {
                    Ok(chunk) => chunk?,
                    Err(_) => return Ok(false),
                },
            };
            if let Some(end) = self.take(&chunk).await {
                // Also when nothing follows: an idle session must not keep the large buffer.
                wire.conn.unread(&chunk[end..]);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads `size` octets.
    async fn read_counted(&mut self, wire: &mut Wire, size: u64) -> Result<(), ReadError> {
        let (mut left, mut progress) = (size, Progress::default());
        while left > 0 {
            let chunk = wire.octets(&mut progress, left).await?;
            left -= chunk.len() as u64;
            self.take(&chunk).await;
        }
        Ok(())
    }

    /// Takes what came; where the message ended in it, if it did.
    async fn take(&mut self, chunk: &Bytes) -> Option<usize> {
        let mut pieces = std::mem::take(&mut self.pieces);
        let end = self.scanner.scan(chunk, &mut pieces);
        for piece in pieces.drain(..) {
            self.size += piece.len() as u64;
            self.hops.see(&piece);
            if self.size > self.limit {
                self.fail(Problem::TooLarge(self.limit));
            } else if self.hops.count() > self.max_hops {
                self.fail(Problem::Loop(self.hops.count()));
            } else if let Some(bare) = self.scanner.bare() {
                self.fail(Problem::Bare(bare, self.framing));
            } else {
                self.keep(piece).await;
            }
        }
        self.pieces = pieces;
        end
    }

    async fn keep(&mut self, piece: Bytes) {
        if let Ok(spool) = &mut self.content
            && let Err(failed) = spool.write(piece).await
        {
            self.fail(match failed {
                Failed::Header => Problem::Header(HEADER, LINES),
                Failed::Store(error) => Problem::Store(error),
            });
        }
    }

    /// The message will not be taken; the first reason counts, and what is stored of it is let go at once.
    fn fail(&mut self, problem: Problem) {
        if self.content.is_ok() {
            self.content = Err(problem);
        }
    }

    /// The reply to a chunk that ends it: after a failure the rest of the chunks finds no transaction, and is refused
    /// one by one.
    async fn close(self, smtp: &Smtp, client: &Client, mail: &Transaction, last: bool) -> Reply {
        let reply = self.finish(smtp, client, mail).await;
        if last { reply } else { Reply { also: Vec::new(), ..reply } }
    }

    /// Has it delivered, or says why not. Only a reply with 250 makes the message ours, and it comes only after the
    /// commit.
    async fn finish(mut self, smtp: &Smtp, client: &Client, mail: &Transaction) -> Reply {
        let missing = self.scanner.finish();
        if self.framing != Framing::Dots && !missing.is_empty() {
            self.keep(Bytes::from_static(missing)).await;
        }
        // This reason counts more than any before it, since the connection must end with it.
        if let Some(bare) = self.scanner.bare() {
            self.content = Err(Problem::Bare(bare, self.framing));
        }
        let peer = &self.peer;
        let results = match self.content {
            Ok(spool) => match spool.finish().await {
                Ok(message) => pipeline::take(pipeline::Arrival { smtp, peer, client, mail, message }).await,
                Err(error) => vec![Err(Problem::Store(error))],
            },
            Err(problem) => vec![Err(problem)],
        };
        let mut replies = Vec::new();
        for result in &results {
            replies.push(self::reply(smtp, peer, client, mail, result).await);
        }
        // One that holds for all is said to each.
        let of = |place: usize| replies.get(place).or(replies.first());
        let each = mail.taken.iter().filter_map(|place| of(*place));
        let also = match client.lmtp {
            true => each.skip(1).map(|reply| (reply.code, reply.text.clone())).collect(),
            false => Vec::new(),
        };
        let first = replies.first().cloned().unwrap_or_else(|| Reply::from(&Problem::Store(Error::NotFound)));
        Reply { also, ..first }
    }
}

/// What the client is told of a delivery.
async fn reply(
    smtp: &Smtp,
    peer: &Peer,
    client: &Client,
    mail: &Transaction,
    result: &Result<Delivered, Problem>,
) -> Reply {
    match result {
        Ok(delivered) => {
            metrics::counter!("wharfinger_smtp_messages", "outcome" => "taken").increment(1);
            tracing::debug!(trace = %mail.trace, size = delivered.size, "message taken");
            Reply::message_taken(mail.trace)
        }
        Err(problem) => {
            metrics::counter!("wharfinger_smtp_messages", "outcome" => "refused").increment(1);
            audit(&smtp.services.auth, peer, client.login.as_ref(), mail, problem).await;
            let reply = Reply::from(problem);
            Reply { text: format!("{} (id {})", reply.text, mail.trace).into(), ..reply }
        }
    }
}

/// What the protocol refused is recorded here; what the store refused, it recorded itself.
async fn audit(authority: &Authority, peer: &Peer, who: Option<&Principal>, mail: &Transaction, problem: &Problem) {
    if let Problem::Store(error) = problem {
        tracing::debug!(trace = %mail.trace, %error, detail = error.detail(), "not delivered");
        return;
    }
    let target = mail.to.iter().map(|(to, _)| to.address()).collect::<Vec<_>>().join(",");
    let from = mail.from.as_ref().map(ToString::to_string).unwrap_or_default();
    let detail = format!("from=<{from}> {}", Reply::from(problem).text);
    authority.refusal(peer, who, "mail.deliver", &target, &detail).await;
}
