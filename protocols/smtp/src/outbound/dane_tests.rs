use std::slice::from_ref;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, GeneralSubtree, IsCa, Issuer, KeyPair, NameConstraints, PublicKeyData,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use time::macros::datetime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::tls::Verifier;
use super::*;

/// What a server shows: its certificate first, and its key.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

/// A server's certificate, an authority between and one on top.
struct World {
    shown: Shown,
    key: Vec<u8>,
    between: (CertificateDer<'static>, Vec<u8>),
    top: (CertificateDer<'static>, Vec<u8>),
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn server(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

/// The chain beneath authorities of these kinds; the first is on top.
fn world(top: CertificateParams, between: CertificateParams, server: CertificateParams) -> World {
    let [top_key, between_key, key] = [(); 3].map(|()| KeyPair::generate().unwrap());
    let keys = [&top_key, &between_key, &key].map(|key| key.subject_public_key_info());
    let top_der = top.self_signed(&top_key).unwrap().der().clone();
    let top = Issuer::new(top, top_key);
    let between_der = between.signed_by(&between_key, &top).unwrap().der().clone();
    let between = Issuer::new(between, between_key);
    let der = server.signed_by(&key, &between).unwrap().der().clone();
    let [top_key, between_key, server_key] = keys;
    World {
        shown: Shown { chain: vec![der, between_der.clone(), top_der.clone()], key: key.serialize_der() },
        key: server_key,
        between: (between_der, between_key),
        top: (top_der, top_key),
    }
}

fn usual() -> World {
    world(authority("top"), authority("between"), server(&["mx.example"]))
}

fn tlsa(usage: u8, selector: u8, matching: u8, data: &[u8]) -> Tlsa {
    let data = match matching {
        SHA2_256 => Sha256::digest(data).to_vec(),
        SHA2_512 => Sha512::digest(data).to_vec(),
        _ => data.to_vec(),
    };
    Tlsa { usage, selector, matching, data }
}

/// A handshake with each version of TLS, both of which must end the same way.
async fn shakes(shown: &Shown, records: &[Tlsa], names: &[&str]) -> Result<(), String> {
    let old = shakes_by(shown, records, names, &TLS12).await;
    assert_eq!(shakes_by(shown, records, names, &TLS13).await, old);
    old
}

async fn shakes_by(
    shown: &Shown,
    records: &[Tlsa],
    names: &[&str],
    version: &'static SupportedProtocolVersion,
) -> Result<(), String> {
    let records = usable(records);
    assert!(!records.is_empty(), "the records must be usable");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(shown.key.clone()));
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]).unwrap();
    let server = builder.with_no_client_auth().with_single_cert(shown.chain.clone(), key).unwrap();
    let names = names.iter().map(|name| ServerName::try_from((*name).to_owned()).unwrap()).collect();
    let dane = Dane::new(Arc::new(records), names, provider.clone());
    let verifier = Arc::new(Verifier { provider: provider.clone(), dane: Some(dane) });
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let client = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    let (here, there) = tokio::io::duplex(64 << 10);
    let base = ServerName::try_from("mx.example").unwrap();
    let (client, _) = tokio::join!(
        TlsConnector::from(Arc::new(client)).connect(base, here),
        TlsAcceptor::from(Arc::new(server)).accept(there)
    );
    client.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn usage_3_takes_the_certificate_or_its_key_and_no_other() {
    let (one, other) = (usual(), usual());
    let certificate = one.shown.chain[0].clone();
    for (selector, data, wrong) in [(CERT, &certificate[..], &other.shown.chain[0][..]), (SPKI, &one.key, &other.key)] {
        for matching in [FULL, SHA2_256, SHA2_512] {
            let names = &["mx.example"];
            let right = tlsa(DANE_EE, selector, matching, data);
            let wrong = tlsa(DANE_EE, selector, matching, wrong);
            assert_eq!(shakes(&one.shown, from_ref(&right), names).await, Ok(()), "3 {selector} {matching}");
            assert!(shakes(&one.shown, from_ref(&wrong), names).await.is_err(), "3 {selector} {matching}");
            assert_eq!(shakes(&one.shown, &[wrong, right], names).await, Ok(()), "one of two is enough");
        }
    }
}

#[tokio::test]
async fn usage_3_minds_neither_names_nor_dates_nor_the_rest_of_the_chain() {
    let mut params = server(&["other.example"]);
    (params.not_before, params.not_after) = (datetime!(2001-01-01 0:00 UTC), datetime!(2002-01-01 0:00 UTC));
    let mut world = world(authority("top"), authority("between"), params);
    world.shown.chain[1] = usual().top.0;
    let record = tlsa(DANE_EE, SPKI, SHA2_256, &world.key);
    assert_eq!(shakes(&world.shown, &[record], &["mx.example"]).await, Ok(()));
}

#[tokio::test]
async fn usage_3_is_of_the_server_alone() {
    let world = usual();
    let record = tlsa(DANE_EE, CERT, SHA2_256, &world.top.0);
    assert!(shakes(&world.shown, &[record], &["mx.example"]).await.is_err());
}

#[tokio::test]
async fn usage_2_takes_an_anchor_in_the_chain() {
    let (one, other) = (usual(), usual());
    for ((certificate, key), (wrong, wrong_key)) in [(&one.top, &other.top), (&one.between, &other.between)] {
        for matching in [FULL, SHA2_256, SHA2_512] {
            let names = &["mx.example"];
            let full = tlsa(DANE_TA, CERT, matching, certificate);
            let spki = tlsa(DANE_TA, SPKI, matching, key);
            assert_eq!(shakes(&one.shown, &[full], names).await, Ok(()), "2 0 {matching}");
            assert_eq!(shakes(&one.shown, &[spki], names).await, Ok(()), "2 1 {matching}");
            let full = tlsa(DANE_TA, CERT, matching, wrong);
            let spki = tlsa(DANE_TA, SPKI, matching, wrong_key);
            assert!(shakes(&one.shown, &[full], names).await.is_err(), "2 0 {matching}");
            assert!(shakes(&one.shown, &[spki], names).await.is_err(), "2 1 {matching}");
        }
    }
}

#[tokio::test]
async fn usage_2_needs_the_anchor_from_the_server_or_the_record() {
    let mut world = usual();
    let digest = tlsa(DANE_TA, CERT, SHA2_256, &world.top.0);
    let whole = [tlsa(DANE_TA, CERT, FULL, &world.top.0), tlsa(DANE_TA, SPKI, FULL, &world.top.1)];
    world.shown.chain.truncate(2);
    assert!(shakes(&world.shown, &[digest], &["mx.example"]).await.is_err());
    for record in whole {
        assert_eq!(shakes(&world.shown, from_ref(&record), &["mx.example"]).await, Ok(()));
    }
    // The server's own certificate is no anchor of itself.
    let own = tlsa(DANE_TA, CERT, SHA2_256, &world.shown.chain[0]);
    assert!(shakes(&world.shown, &[own], &["mx.example"]).await.is_err());
}

#[tokio::test]
async fn usage_2_minds_names_and_dates() {
    let record = |world: &World| tlsa(DANE_TA, CERT, SHA2_256, &world.top.0);
    let named = world(authority("top"), authority("between"), server(&["*.a.example"]));
    assert_eq!(shakes(&named.shown, &[record(&named)], &["mx.a.example"]).await, Ok(()));
    assert_eq!(shakes(&named.shown, &[record(&named)], &["example", "mx.a.example"]).await, Ok(()), "one of its names");
    for wrong in ["a.example", "b.mx.a.example", "mx.b.example"] {
        let said = shakes(&named.shown, &[record(&named)], &[wrong]).await.unwrap_err();
        assert!(said.contains("NotValidForName"), "{wrong}: {said}");
    }
    let mut params = server(&["mx.example"]);
    params.not_after = datetime!(2002-01-01 0:00 UTC);
    let late = world(authority("top"), authority("between"), params);
    let said = shakes(&late.shown, &[record(&late)], &["mx.example"]).await.unwrap_err();
    assert!(said.to_lowercase().contains("expired"), "{said}");
    // A record of either usage is enough.
    let own = tlsa(DANE_EE, SPKI, SHA2_256, &late.key);
    assert_eq!(shakes(&late.shown, &[record(&late), own], &["mx.example"]).await, Ok(()));
}

#[tokio::test]
async fn usage_2_wants_signatures_that_hold() {
    let (one, other) = (usual(), usual());
    // The same names, another key.
    let shown = Shown { chain: vec![one.shown.chain[0].clone(), other.between.0.clone()], key: one.shown.key };
    let record = tlsa(DANE_TA, CERT, SHA2_256, &other.between.0);
    assert!(shakes(&shown, &[record], &["mx.example"]).await.is_err());
}

#[tokio::test]
async fn a_common_name_counts_without_other_names_and_constraints() {
    let common = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let plain = world(authority("top"), authority("between"), common("mx.example"));
    let below = |world: &World| tlsa(DANE_TA, CERT, SHA2_256, &world.between.0);
    assert_eq!(shakes(&plain.shown, &[below(&plain)], &["mx.example"]).await, Ok(()));
    assert!(shakes(&plain.shown, &[below(&plain)], &["other.example"]).await.is_err());
    let above = tlsa(DANE_TA, CERT, SHA2_256, &plain.top.0);
    assert!(
        shakes(&plain.shown, &[above], &["mx.example"]).await.is_err(),
        "an authority between may have constraints"
    );
    let mut both = server(&["other.example"]);
    both.distinguished_name.push(DnType::CommonName, "mx.example");
    let both = world(authority("top"), authority("between"), both);
    assert!(shakes(&both.shown, &[below(&both)], &["mx.example"]).await.is_err(), "other names are there");
    let mut bound = authority("between");
    let permitted_subtrees = vec![GeneralSubtree::DnsName("other.example".into())];
    bound.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    let bound = world(authority("top"), bound, common("mx.example"));
    assert!(shakes(&bound.shown, &[below(&bound)], &["mx.example"]).await.is_err(), "the anchor has constraints");
}

#[tokio::test]
async fn who_shows_a_certificate_must_have_its_key() {
    // The verifier itself says yes here; only the signature of the handshake says no.
    let (one, other) = (usual(), usual());
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(PrivatePkcs8KeyDer::from(other.shown.key).into()).unwrap();
    let stolen = Arc::new(rustls::sign::CertifiedKey::new(one.shown.chain.clone(), key));
    let record = tlsa(DANE_EE, CERT, SHA2_256, &one.shown.chain[0]);
    for version in [&TLS12, &TLS13] {
        let provider = Arc::new(provider.clone());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]).unwrap();
        let server = builder.with_no_client_auth().with_cert_resolver(Arc::new(Always(stolen.clone())));
        let dane = Dane::new(Arc::new(vec![record.clone()]), vec![], provider.clone());
        let verifier = Arc::new(Verifier { provider: provider.clone(), dane: Some(dane) });
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let client = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        let (here, there) = tokio::io::duplex(64 << 10);
        let (client, _) = tokio::join!(
            TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("mx.example").unwrap(), here),
            TlsAcceptor::from(Arc::new(server)).accept(there)
        );
        let said = client.map(drop).unwrap_err().to_string();
        assert!(said.contains("BadSignature"), "{said}");
    }
}

/// Shows the same to everybody.
#[derive(Debug)]
struct Always(Arc<rustls::sign::CertifiedKey>);

impl rustls::server::ResolvesServerCert for Always {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[test]
fn records_that_are_not_whole_or_not_for_mail_cannot_be_used() {
    let world = usual();
    let (certificate, key) = (&world.shown.chain[0], &world.key);
    let well = [
        tlsa(DANE_EE, SPKI, SHA2_256, key),
        tlsa(DANE_TA, CERT, SHA2_512, certificate),
        tlsa(DANE_EE, CERT, FULL, certificate),
        tlsa(DANE_TA, SPKI, FULL, key),
    ];
    assert_eq!(usable(&well), well);
    let raw = |usage, selector, matching, data: &[u8]| Tlsa { usage, selector, matching, data: data.to_vec() };
    let digest = [7; 64];
    for wrong in [
        raw(0, 1, 1, &digest[..32]),
        raw(1, 1, 1, &digest[..32]),
        raw(4, 1, 1, &digest[..32]),
        raw(255, 1, 1, &digest[..32]),
        raw(3, 2, 1, &digest[..32]),
        raw(3, 1, 3, &digest[..32]),
        raw(3, 1, 1, &[]),
        raw(3, 1, 1, &digest[..31]),
        raw(3, 1, 1, &digest),
        raw(3, 1, 2, &digest[..32]),
        raw(3, 1, 2, &digest[..63]),
        raw(2, 0, 0, &[]),
        raw(3, 0, 0, &certificate[..certificate.len() - 1]),
        raw(3, 0, 0, key),
        raw(3, 1, 0, &key[..key.len() - 1]),
        raw(3, 1, 0, certificate),
    ] {
        assert_eq!(usable(from_ref(&wrong)), [], "{wrong:?}");
    }
    assert_eq!(usable(&vec![well[0].clone(); MOST + 1]).len(), MOST);
}

#[tokio::test]
async fn of_digests_the_strongest_alone_counts() {
    let (one, other) = (usual(), usual());
    let weak = tlsa(DANE_EE, SPKI, SHA2_256, &one.key);
    let strong = tlsa(DANE_EE, SPKI, SHA2_512, &other.key);
    assert_eq!(usable(&[weak.clone(), strong.clone()]), from_ref(&strong));
    assert!(shakes(&one.shown, &[weak.clone(), strong.clone()], &["mx.example"]).await.is_err());
    // What is given whole counts beside digests, and other usages and selectors are apart.
    let whole = tlsa(DANE_EE, SPKI, FULL, &one.key);
    assert_eq!(usable(&[whole.clone(), strong.clone()]), [whole, strong.clone()]);
    let apart = [weak.clone(), tlsa(DANE_EE, CERT, SHA2_512, &other.shown.chain[0])];
    assert_eq!(usable(&apart), apart);
    // A strong one that is cut off does not count against others.
    let cut = Tlsa { data: strong.data[..40].to_vec(), ..strong };
    assert_eq!(usable(&[cut, weak.clone()]), [weak]);
}
