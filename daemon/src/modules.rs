//! The table of the protocols. A new one is a crate and a line here.

use protocol::{Module, Port};

/// Every protocol this daemon speaks.
pub(crate) const MODULES: &[&Module] =
    &[&smtp::MODULE, &imap::MODULE, &pop3::MODULE, &ftp::MODULE, &http_files::MODULE];

/// Every default listener with its module.
pub(crate) fn ports() -> impl Iterator<Item = (&'static Module, &'static Port)> {
    MODULES.iter().flat_map(|module| module.ports.iter().map(move |port| (*module, port)))
}

/// The module that speaks `protocol`, and the protocol's static name.
pub(crate) fn speaking(protocol: &str) -> Option<(&'static Module, &'static str)> {
    ports().find(|(_, port)| port.protocol == protocol).map(|(module, port)| (module, port.protocol))
}
