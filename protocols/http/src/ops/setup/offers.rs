//! Which mail servers clients are told of.

use protocol::{Offered, TlsMode};

/// The mail servers of this host: those that listen and have TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offers {
    /// The name that clients reach all of them by.
    pub(crate) host: String,
    /// Where mailboxes are read, the best first.
    pub(crate) mailboxes: Vec<(Mailbox, Offer)>,
    /// Where messages are submitted (RFC 6409), the best first.
    pub(crate) submission: Vec<Offer>,
}

/// What a mailbox is read with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mailbox {
    Imap,
    Pop3,
}

/// A port, and whether TLS begins with the first byte there, or on the client's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) port: u16,
    pub(crate) implicit: bool,
}

impl Offers {
    pub(crate) fn new(host: &str, listeners: &[Offered]) -> Offers {
        let mailboxes = [(Mailbox::Imap, "imap"), (Mailbox::Pop3, "pop3")].into_iter();
        let of = |(kind, protocol)| offers(listeners, protocol).into_iter().map(move |offer| (kind, offer));
        Offers {
            host: host.to_owned(),
            mailboxes: mailboxes.flat_map(of).collect(),
            submission: offers(listeners, "submission"),
        }
    }

    /// Whether there is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.mailboxes.is_empty() && self.submission.is_empty()
    }

    /// The best server for each way to read a mailbox.
    pub(crate) fn best(&self) -> impl Iterator<Item = (Mailbox, Offer)> {
        [Mailbox::Imap, Mailbox::Pop3]
            .into_iter()
            .filter_map(|kind| self.mailboxes.iter().find(|mailbox| mailbox.0 == kind).copied())
    }
}

/// The listeners of one protocol: TLS from the first byte before STARTTLS (RFC 8314 §3), and never one without TLS.
fn offers(listeners: &[Offered], protocol: &str) -> Vec<Offer> {
    let secure = listeners.iter().filter(|listener| listener.protocol == protocol && listener.tls != TlsMode::None);
    let offer = |listener: &Offered| Offer { port: listener.port, implicit: listener.tls == TlsMode::Implicit };
    let mut offers: Vec<Offer> = secure.map(offer).collect();
    // A stable sort: among equals the configuration's order stays.
    offers.sort_by_key(|offer| !offer.implicit);
    offers
}

impl Mailbox {
    /// As people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mailbox::Imap => "IMAP",
            Mailbox::Pop3 => "POP3",
        }
    }
}

impl Offer {
    /// As people call the moment when TLS begins.
    pub(crate) fn security(self) -> &'static str {
        if self.implicit { "SSL/TLS" } else { "STARTTLS" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_listens_with_tls_and_the_best_first() {
        let listener = |protocol, port, tls| Offered { protocol, port, tls };
        let offers = Offers::new(
            "mail.example.org",
            &[
                listener("smtp", 25, TlsMode::Starttls),
                listener("pop3", 995, TlsMode::Implicit),
                listener("imap", 143, TlsMode::Starttls),
                listener("imap", 144, TlsMode::None),
                listener("imap", 993, TlsMode::Implicit),
                listener("submission", 587, TlsMode::Starttls),
                listener("submission", 465, TlsMode::Implicit),
                listener("submission", 466, TlsMode::None),
            ],
        );
        let offer = |port, implicit| Offer { port, implicit };
        let (imap, pop3) = (Mailbox::Imap, Mailbox::Pop3);
        let expected = [(imap, offer(993, true)), (imap, offer(143, false)), (pop3, offer(995, true))];
        assert_eq!(offers.mailboxes, expected);
        assert_eq!(offers.submission, [offer(465, true), offer(587, false)]);
        assert_eq!(offers.best().collect::<Vec<_>>(), [(imap, offer(993, true)), (pop3, offer(995, true))]);
        assert!(Offers::new("a", &[listener("imap", 143, TlsMode::None)]).is_empty());
    }
}
