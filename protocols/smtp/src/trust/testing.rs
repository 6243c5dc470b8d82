//! A name server on the loopback interface, for tests.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use mail_auth::MessageAuthenticator;
use tokio::net::UdpSocket;

/// What a name has. Other names do not exist.
#[derive(Clone)]
pub(crate) enum Entry {
    Txt(String),
    /// Something other than TXT.
    Host,
    /// The server fails.
    Broken,
    /// No answer ever comes.
    Silent,
}

/// A resolver that asks a server with these entries.
pub(crate) async fn dns<'a>(entries: impl IntoIterator<Item = (&'a str, Entry)>) -> MessageAuthenticator {
    let entries = entries.into_iter().map(|(name, entry)| (format!("{name}."), entry)).collect();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(serve(socket, entries));
    MessageAuthenticator(resolver(address))
}

async fn serve(socket: UdpSocket, entries: HashMap<String, Entry>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let query = Message::from_vec(&buffer[..length]).unwrap();
        let question = query.queries[0].clone();
        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        reply.metadata.recursion_available = true;
        reply.add_query(question.clone());
        let data = match entries.get(&question.name().to_lowercase().to_ascii()) {
            Some(Entry::Silent) => continue,
            Some(Entry::Txt(text)) if question.query_type() == RecordType::TXT => {
                let strings = text.as_bytes().chunks(255).map(|part| String::from_utf8(part.to_vec()).unwrap());
                Some(RData::TXT(TXT::new(strings.collect())))
            }
            Some(Entry::Host) if question.query_type() == RecordType::A => {
                Some(RData::A(Ipv4Addr::new(192, 0, 2, 1).into()))
            }
            Some(Entry::Txt(_) | Entry::Host) => None,
            Some(Entry::Broken) => {
                reply.metadata.response_code = ResponseCode::ServFail;
                None
            }
            None => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                None
            }
        };
        if let Some(data) = data {
            reply.add_answer(Record::from_rdata(question.name().clone(), 300, data));
        }
        socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
    }
}

fn resolver(address: SocketAddr) -> TokioResolver {
    let mut udp = ConnectionConfig::udp();
    udp.port = address.port();
    let server = NameServerConfig::new(address.ip(), true, vec![udp]);
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_secs(30);
    options.attempts = 0;
    options.use_hosts_file = ResolveHosts::Never;
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    TokioResolver::builder_with_config(ResolverConfig::from_name_servers(vec![server]), TokioRuntimeProvider::default())
        .with_options(options)
        .with_tls_config(tls)
        .build()
        .unwrap()
}
