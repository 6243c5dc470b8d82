//! Why a recipient is still there, in the words that go into the queue's list and into notifications.

use super::answer::Answer;
use super::client::{Broken, Step};
use super::policy::Refusal;

/// Why a recipient is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Whether trying again is of no use.
    pub(super) is_final: bool,
    /// The enhanced status code (RFC 3463).
    pub(super) status: String,
    /// The server that said so, where one did.
    pub(super) host: Option<String>,
    pub(super) said: String,
    /// Whether it is not known if the message was taken.
    pub(super) unknown: bool,
    /// Whether it says that the host does not do its work, rather than something of the message.
    pub(super) blames_host: bool,
    /// Whether nothing need be waited for but that this server runs again, or that somebody else is done with it.
    pub(super) passes_at_once: bool,
}

impl Trouble {
    /// One that passes, of which we speak ourselves.
    pub(super) fn passing(status: &str, said: String) -> Trouble {
        Trouble {
            is_final: false,
            status: status.into(),
            host: None,
            said,
            unknown: false,
            blames_host: true,
            passes_at_once: false,
        }
    }

    /// One that does not.
    pub(super) fn lasting(status: &str, said: String) -> Trouble {
        Trouble { is_final: true, blames_host: false, ..Trouble::passing(status, said) }
    }

    /// Something of the message, or of us, that passes.
    pub(super) fn ours(status: &str, said: String) -> Trouble {
        Trouble { blames_host: false, ..Trouble::passing(status, said) }
    }

    /// A recipient or a message that was refused.
    pub(super) fn refused(place: &str, answer: &Answer) -> Trouble {
        let status = answer.status().map_or_else(|| format!("{}.0.0", answer.code / 100), str::to_owned);
        let of_server = Trouble { host: Some(place.to_owned()), ..Trouble::ours(&status, answer.to_string()) };
        Trouble { is_final: answer.is_final(), ..of_server }
    }

    /// A conversation that could not go on.
    pub(super) fn of(place: &str, broken: &Broken) -> Trouble {
        match broken {
            Broken::Lost(Step::Connect, why) => Trouble::passing("4.4.1", format!("{place} cannot be reached: {why}")),
            Broken::Lost(step, why) => {
                let said = format!("the connection to {place} was lost ({step}): {why}");
                Trouble { unknown: *step == Step::End, ..Trouble::passing("4.4.2", said) }
            }
            Broken::Garbled(step, why) => {
                let said = format!("{place} sent {why} ({step})");
                Trouble { unknown: *step == Step::End, ..Trouble::passing("4.5.0", said) }
            }
            // What is said in the clear there would be a part of what is said within TLS (CVE-2021-38371).
            Broken::Ahead(Step::Tls) => {
                Trouble::passing("4.7.0", format!("{place} sent data in the clear behind its answer to STARTTLS"))
            }
            Broken::Ahead(step) => Trouble::passing("4.5.0", format!("{place} answered before it was asked ({step})")),
            Broken::Refused(step, answer) => {
                // A host that does not want to talk says nothing of the message, whatever it calls that; one that does
                // not want to talk to us by our name will not tomorrow.
                let is_final = *step == Step::Hello && answer.is_final();
                let digit = if is_final { '5' } else { '4' };
                let status =
                    answer.status().map_or_else(|| format!("{digit}.0.0"), |of| format!("{digit}{}", &of[1..]));
                let passing = Trouble::passing(&status, answer.to_string());
                Trouble { is_final, host: Some(place.to_owned()), ..passing }
            }
            Broken::Ourselves => Trouble::lasting("5.4.6", format!("{place} is this server: mail loops back to it")),
            // Perhaps it is the message's turn to go in the clear the next time.
            Broken::Handshake(why) => Trouble::ours("4.7.5", format!("TLS with {place} failed: {why}")),
            Broken::NoTls(None) => Trouble::passing("4.7.4", format!("TLS is required, but {place} does not offer it")),
            Broken::NoTls(Some(answer)) => {
                let said = format!("TLS is required, but {place} does not begin it: {answer}");
                Trouble::passing("4.7.4", said)
            }
            // It will let nobody else in either.
            Broken::NoLogin(why) => Trouble::passing("4.7.8", format!("{place} does not let us log in: {why}")),
            Broken::Yielded => {
                Trouble { passes_at_once: true, ..Trouble::ours("4.3.2", "somebody else sends it".to_owned()) }
            }
            Broken::Stopped => {
                Trouble { passes_at_once: true, ..Trouble::ours("4.3.2", "this server was stopped".to_owned()) }
            }
        }
    }

    /// As the list of the queue shows it.
    pub(super) fn shown(&self) -> String {
        match &self.host {
            Some(host) => format!("{host} said: {}", self.said),
            None => format!("{} {}", self.status, self.said),
        }
    }
}

impl From<Refusal> for Trouble {
    fn from(Refusal { is_final, status, said }: Refusal) -> Trouble {
        Trouble { is_final, blames_host: !is_final, ..Trouble::passing(status, said) }
    }
}
