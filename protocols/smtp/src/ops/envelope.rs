//! MAIL and RCPT: who sends, and whom it is for.

use auth::TraceId;
use protocol::Wire;
use storage::{Body, Manner, Notice, Return};

use crate::Smtp;
use crate::codec::{self, MailParameters, Mailbox, Notify, RcptParameters, Ret};
use crate::ops::{Outcome, out_of_sequence};
use crate::pipeline::gate;
use crate::reply::{self, Problem, Reply};
use crate::session::{Client, State, Transaction, is_submission};

/// How many mailboxes and addresses elsewhere the recipients of a transaction may stand for together: a group is
/// reached by many addresses, each with another `+` and what follows it.
const TARGETS: usize = 2000;

/// Begins a transaction.
pub(crate) async fn mail(
    smtp: &Smtp,
    wire: &Wire,
    state: State,
    from: Option<Mailbox>,
    parameters: &MailParameters,
) -> Outcome {
    let State::Greeted(client) = state else { return out_of_sequence(state) };
    let limit = smtp.config.max_message.0;
    let private = wire.conn.peer().tls.is_some();
    let refused = if parameters.auth.is_some() && !is_submission(wire) {
        Some(reply::unknown_parameter("AUTH"))
    } else if parameters.require_tls && !private {
        // It is offered within TLS alone (RFC 8689 §2).
        Some(reply::unknown_parameter("REQUIRETLS"))
    } else if parameters.size.is_some_and(|size| size > limit) {
        Some(Reply::from(&Problem::TooLarge(limit)))
    } else if !parameters.utf8 && from.as_ref().is_some_and(|from| !from.is_ascii()) {
        Some(needs_utf8())
    } else {
        bad_sender(smtp, wire, &client, from.as_ref()).await
    };
    if let Some(refused) = refused {
        return Ok((State::Greeted(client), refused));
    }
    let (trace, manner) = (TraceId::new(), manner(parameters));
    let MailParameters { utf8, size, .. } = *parameters;
    let mail = Transaction { trace, from, utf8, size, manner, to: Vec::new(), taken: Vec::new() };
    Ok((State::Mail(client, mail), Reply::new(250, "2.1.0 Ok")))
}

/// Adds a recipient.
pub(crate) async fn rcpt(smtp: &Smtp, wire: &Wire, state: State, to: &Mailbox, parameters: RcptParameters) -> Outcome {
    let State::Mail(mut client, mut mail) = state else { return out_of_sequence(state) };
    let too_many = || Reply::new(452, "4.5.3 Too many recipients; send the message to the others by itself");
    // Who names one of them again and again names many.
    let reply = if mail.taken.len() >= smtp.config.max_recipients {
        too_many()
    } else if !(mail.utf8 || to.is_ascii() && parameters.original.as_deref().is_none_or(str::is_ascii)) {
        needs_utf8()
    } else {
        let (peer, login) = (wire.conn.peer(), client.login.as_ref());
        match smtp.services.auth.recipient(peer, login, &to.to_string(), mail.size).await {
            Ok(recipient) => {
                if let Some(refused) = gate::refusal(smtp, wire, &mut client, &mail, &recipient).await {
                    return Ok((State::Mail(client, mail), refused));
                }
                let targets: usize = mail.to.iter().map(|(known, _)| known.count()).sum();
                if targets > 0 && targets + recipient.count() > TARGETS {
                    return Ok((State::Mail(client, mail), too_many()));
                }
                let known = mail.to.iter().position(|(known, _)| known.address() == recipient.address());
                let place = known.unwrap_or(mail.to.len());
                if known.is_none() {
                    mail.to.push((recipient, notice(parameters)));
                }
                mail.taken.push(place);
                Reply::new(250, "2.1.5 Ok")
            }
            Err(refused) => reply::refused_recipient(&refused),
        }
    };
    Ok((State::Mail(client, mail), reply))
}

/// A user sends from an own address and no other (RFC 6409 §6.1), and not with an app password that may only read.
async fn bad_sender(smtp: &Smtp, wire: &Wire, client: &Client, from: Option<&Mailbox>) -> Option<Reply> {
    let login = client.login.as_ref()?;
    if login.read_only {
        let (auth, target) = (&smtp.services.auth, from.map(ToString::to_string).unwrap_or_default());
        auth.refusal(wire.conn.peer(), Some(login), "mail.sender", &target, "this app password is read-only").await;
        return Some(Reply::new(550, "5.7.1 This app password may only read; log in with one that may send"));
    }
    let from = from?;
    match smtp.services.auth.may_send_as(wire.conn.peer(), login, &from.to_string()).await {
        Ok(true) => None,
        Ok(false) => Some(Reply::new(553, "5.7.1 MAIL FROM must be an address of your own")),
        Err(error) => Some(Reply::from(&error)),
    }
}

/// How a message asks to be passed on.
fn manner(parameters: &MailParameters) -> Manner {
    Manner {
        utf8: parameters.utf8,
        body: match parameters.body {
            Some(codec::Body::Binary) => Body::Binary,
            Some(codec::Body::EightBit) => Body::EightBit,
            Some(codec::Body::SevenBit) | None => Body::SevenBit,
        },
        require_tls: parameters.require_tls,
        tls_optional: false,
        ret: parameters.ret.map(|ret| match ret {
            Ret::Full => Return::Full,
            Ret::Headers => Return::Header,
        }),
        envid: parameters.envid.clone(),
    }
}

/// What the sender wants to hear.
fn notice(RcptParameters { notify, original }: RcptParameters) -> Notice {
    match notify {
        Some(Notify { success, failure, delay }) => Notice { success, failure, delay, said: true, original },
        None => Notice { original, ..Notice::default() },
    }
}

fn needs_utf8() -> Reply {
    Reply::new(553, "5.6.7 An address beyond ASCII needs the parameter SMTPUTF8 of MAIL")
}
