//! DANE (RFC 6698, RFC 7671, RFC 7672): certificates by what the server's zone says of them.

use std::sync::Arc;

use hickory_resolver::proto::rr::rdata::TLSA;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, Error};
use sha2::{Digest, Sha256, Sha512};
use webpki::{EndEntityCert, KeyUsage};

use super::der;

/// The most records that are used; a certificate is compared with each.
const MOST: usize = 100;

const DANE_TA: u8 = 2;
const DANE_EE: u8 = 3;
const CERT: u8 = 0;
const SPKI: u8 = 1;
const FULL: u8 = 0;
const SHA2_256: u8 = 1;
const SHA2_512: u8 = 2;

/// A TLSA record (RFC 6698 §2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tlsa {
    /// The certificate usage: 2 is a trust anchor, 3 the server's own certificate.
    pub(crate) usage: u8,
    /// What of the certificate is meant: 0 all of it, 1 its public key.
    pub(crate) selector: u8,
    /// How it is given: 0 as it is, 1 by SHA-256, 2 by SHA-512.
    pub(crate) matching: u8,
    /// The certificate association data.
    pub(crate) data: Vec<u8>,
}

impl From<&TLSA> for Tlsa {
    fn from(record: &TLSA) -> Tlsa {
        let (usage, selector, matching) = (record.cert_usage.into(), record.selector.into(), record.matching.into());
        Tlsa { usage, selector, matching, data: record.cert_data.clone() }
    }
}

/// The records that a mail client can use: those for certificates outside the public trust (RFC 7672 §3.1) that are
/// whole. Of the digests for the same thing the strongest alone counts (RFC 7671 §9).
pub(crate) fn usable(records: &[Tlsa]) -> Vec<Tlsa> {
    let whole: Vec<&Tlsa> = records.iter().filter(|record| record.is_usable()).take(MOST).collect();
    let is_strongest = |record: &Tlsa| {
        let same = |other: &Tlsa| (other.usage, other.selector) == (record.usage, record.selector);
        record.matching == FULL || !whole.iter().any(|other| same(other) && other.matching > record.matching)
    };
    whole.iter().filter(|record| is_strongest(record)).map(|record| (*record).clone()).collect()
}

impl Tlsa {
    /// The length is looked at first: data may be empty, or cut off.
    fn is_usable(&self) -> bool {
        let is_whole = match (self.selector, self.matching) {
            (CERT | SPKI, SHA2_256) => self.data.len() == 32,
            (CERT | SPKI, SHA2_512) => self.data.len() == 64,
            (CERT, FULL) => EndEntityCert::try_from(&CertificateDer::from(self.data.as_slice())).is_ok(),
            (SPKI, FULL) => der::key(&self.data).is_some(),
            _ => false,
        };
        is_whole && matches!(self.usage, DANE_TA | DANE_EE)
    }

    /// Whether it is this certificate that is meant.
    fn is_of(&self, der: &[u8], certificate: &EndEntityCert<'_>) -> bool {
        let key = certificate.subject_public_key_info();
        let selected: &[u8] = if self.selector == SPKI { key.as_ref() } else { der };
        match self.matching {
            FULL => self.data == selected,
            SHA2_256 => self.data == Sha256::digest(selected).as_slice(),
            SHA2_512 => self.data == Sha512::digest(selected).as_slice(),
            _ => false,
        }
    }
}

/// What usable TLSA records say, and nothing else: the roots of the system do not count (RFC 7672 §3.1.3).
#[derive(Debug)]
pub(crate) struct Dane {
    records: Arc<Vec<Tlsa>>,
    names: Vec<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Dane {
    /// For usable records, and the names of which the certificate beneath a trust anchor must have one
    /// (RFC 7672 §3.2.2).
    pub(crate) fn new(records: Arc<Vec<Tlsa>>, names: Vec<ServerName<'static>>, provider: Arc<CryptoProvider>) -> Dane {
        Dane { records, names, provider }
    }

    /// Whether the certificate fits a record: one is enough, of whatever usage.
    ///
    /// # Errors
    /// Says why not.
    pub(crate) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        // Neither names nor dates nor the rest of the chain count for the server's own certificate (RFC 7672 §3.1.1).
        let of_server = |record: &Tlsa| record.usage == DANE_EE && record.is_of(end_entity, &certificate);
        if self.records.iter().any(of_server) {
            return Ok(());
        }
        self.verify_chain(&certificate, intermediates, now)
    }

    /// Whether the certificate chains to an anchor that the records name, in time and with a name of ours (RFC 7672
    /// §3.1.2): the words for why not.
    fn verify_chain(
        &self,
        end_entity: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let anchors = self.anchors(end_entity, intermediates);
        if anchors.is_empty() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let algorithms = self.provider.signature_verification_algorithms.all;
        let path = end_entity
            .verify_for_usage(algorithms, &anchors, intermediates, now, KeyUsage::server_auth(), None, None)
            .map_err(|error| match error {
                webpki::Error::CertExpired { .. } => CertificateError::Expired,
                webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
                _ => CertificateError::UnknownIssuer,
            })?;
        if self.names.iter().any(|name| end_entity.verify_is_valid_for_subject_name(name).is_ok()) {
            return Ok(());
        }
        // A name outside the alternative names (RFC 7672 §3.2.3) is bound by no constraint, so nothing that may have
        // constraints may stand above it.
        let is_free = path.anchor().name_constraints.is_none() && path.intermediate_certificates().next().is_none();
        if is_free && end_entity.valid_dns_names().next().is_none() {
            let common = der::common_name(end_entity.subject());
            let fits = |name: &ServerName<'_>| common.is_some_and(|common| super::sts::fits(common, &name.to_str()));
            if self.names.iter().any(fits) {
                return Ok(());
            }
        }
        Err(CertificateError::NotValidForName.into())
    }

    /// The trust anchors: certificates that the server sent, and those that records hold.
    fn anchors(&self, end_entity: &EndEntityCert<'_>, sent: &[CertificateDer<'_>]) -> Vec<TrustAnchor<'static>> {
        let records = || self.records.iter().filter(|record| record.usage == DANE_TA);
        if records().next().is_none() {
            return Vec::new();
        }
        let anchor = |der: &CertificateDer<'_>| Some(webpki::anchor_from_trusted_cert(der).ok()?.to_owned());
        let parsed: Vec<_> = sent.iter().filter_map(|der| Some((der, EndEntityCert::try_from(der).ok()?))).collect();
        let named = parsed.iter().filter(|(der, parsed)| records().any(|record| record.is_of(der, parsed)));
        let mut anchors: Vec<_> = named.filter_map(|(der, _)| anchor(der)).collect();
        for record in records().filter(|record| record.matching == FULL) {
            if record.selector == CERT {
                anchors.extend(anchor(&CertificateDer::from(record.data.as_slice())));
            } else if let Some(key) = der::key(&record.data) {
                // A bare key has no name: it may have signed any of them.
                let issuers = std::iter::once(end_entity.issuer()).chain(parsed.iter().map(|(_, one)| one.issuer()));
                anchors.extend(issuers.map(|issuer| TrustAnchor {
                    subject: issuer.to_vec().into(),
                    subject_public_key_info: key.to_vec().into(),
                    name_constraints: None,
                }));
            }
        }
        anchors
    }
}

#[cfg(test)]
#[path = "dane_tests.rs"]
mod tests;
