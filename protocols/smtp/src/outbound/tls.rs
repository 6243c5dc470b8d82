//! TLS with other servers: the ways to judge their certificates.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, WantsVerifier,
};

use super::dane::Dane;
use super::policy::{Level, Plan};

/// The clients for all levels; those that many hosts share are made once.
pub(crate) struct Clients {
    provider: Arc<CryptoProvider>,
    any: Arc<ClientConfig>,
    verified: Arc<ClientConfig>,
}

impl Clients {
    /// Clients that trust these roots, where roots count.
    pub(crate) fn new(roots: Arc<RootCertStore>) -> Clients {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let any = judging(&provider, None);
        let verified = builder(&provider).with_root_certificates(roots);
        let [any, verified] = [any, verified].map(|builder| Arc::new(builder.with_no_client_auth()));
        Clients { provider, any, verified }
    }

    /// The client for who has a certificate that the roots vouch for.
    pub(crate) fn verified(&self) -> Arc<ClientConfig> {
        self.verified.clone()
    }

    /// The client for a host.
    pub(crate) fn of(&self, plan: &Plan) -> Arc<ClientConfig> {
        match &plan.level {
            Level::Opportunistic | Level::Encrypted => self.any.clone(),
            Level::Verified => self.verified.clone(),
            Level::Dane(records) => {
                let dane = Dane::new(records.clone(), plan.names.clone(), self.provider.clone());
                let mut config = judging(&self.provider, Some(dane)).with_no_client_auth();
                // It serves once; and what was taken by other records must be judged again.
                config.resumption = Resumption::disabled();
                Arc::new(config)
            }
        }
    }
}

fn builder(provider: &Arc<CryptoProvider>) -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let builder = ClientConfig::builder_with_provider(provider.clone());
    builder.with_safe_default_protocol_versions().unwrap_or_else(|_| ClientConfig::builder())
}

fn judging(provider: &Arc<CryptoProvider>, dane: Option<Dane>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let verifier = Verifier { provider: provider.clone(), dane };
    builder(provider).dangerous().with_custom_certificate_verifier(Arc::new(verifier))
}

/// Judges certificates where roots do not count. Whatever is thought of one, who shows it must have its key.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) provider: Arc<CryptoProvider>,
    /// The records that it must fit; without any it may be whatever it is (RFC 7435), which keeps listeners out and not
    /// impostors.
    pub(super) dane: Option<Dane>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.dane.as_ref().map_or(Ok(()), |dane| dane.verify(end_entity, intermediates, now))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData};
    use rustls::ServerConfig;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::super::dane::Tlsa;
    use super::*;

    /// A server with a certificate for `mx.example`, the root of that, and the server's key.
    fn server() -> (Arc<ServerConfig>, CertificateDer<'static>, Vec<u8>) {
        let [top_key, key] = [(); 2].map(|()| KeyPair::generate().unwrap());
        let mut top = CertificateParams::default();
        top.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = top.self_signed(&top_key).unwrap().der().clone();
        let params = CertificateParams::new(vec!["mx.example".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &Issuer::new(top, top_key)).unwrap().der().clone();
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![certificate], private).unwrap();
        (Arc::new(config), root, key.subject_public_key_info())
    }

    async fn shakes(clients: &Clients, level: Level, name: &str, server: &Arc<ServerConfig>) -> bool {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let plan = Plan { level, server: Some(name.clone()), names: vec![] };
        let (here, there) = tokio::io::duplex(64 << 10);
        let (client, _) = tokio::join!(
            TlsConnector::from(clients.of(&plan)).connect(name, here),
            TlsAcceptor::from(server.clone()).accept(there)
        );
        client.is_ok()
    }

    #[tokio::test]
    async fn each_level_wants_what_it_says() {
        let (server, root, key) = server();
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        let (knows, not) = (Clients::new(Arc::new(roots)), Clients::new(Arc::new(RootCertStore::empty())));
        for level in [Level::Opportunistic, Level::Encrypted] {
            assert!(shakes(&not, level, "other.example", &server).await);
        }
        assert!(shakes(&knows, Level::Verified, "mx.example", &server).await);
        assert!(!shakes(&knows, Level::Verified, "other.example", &server).await);
        assert!(!shakes(&not, Level::Verified, "mx.example", &server).await);
        let record = |data: &[u8]| Tlsa { usage: 3, selector: 1, matching: 0, data: data.to_vec() };
        let (right, wrong) = (Level::Dane(Arc::new(vec![record(&key)])), Level::Dane(Arc::new(vec![record(&[])])));
        assert!(shakes(&not, right, "mx.example", &server).await);
        assert!(!shakes(&knows, wrong, "mx.example", &server).await, "roots do not count");
    }
}
