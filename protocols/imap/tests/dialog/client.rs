//! A client that reads from a script, and the server's side around it: a listener, TLS, a drain.
//!
//! A script is lines. `> command` says it, behind a tag; `>> text` says it as it is; `^` is CRLF. The lines below are
//! what must be answered: untagged responses in any order and no others, then the tagged one without its tag, or `+`.
//! In them `...` is any text (on a line of its own: any untagged responses) and `#name` a word, the same wherever the
//! name stands, also in later commands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use protocol::{Closed, Conn, Ends, Listener, PassivePorts, Services, Shutdown, ShutdownTrigger, TlsMode, TlsService};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::pattern;
use crate::world::World;

/// A byte stream with or without TLS.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// One connection to a server of its own.
pub(crate) struct Client {
    wire: Option<Box<dyn Wire>>,
    input: Vec<u8>,
    /// How many octets came.
    pub(crate) received: usize,
    deflate: Option<(Compress, Decompress)>,
    tag: u32,
    words: HashMap<String, String>,
    pub(crate) greeting: String,
    pub(crate) stop: ShutdownTrigger,
    served: JoinHandle<Closed>,
    certificate: CertificateDer<'static>,
}

impl Client {
    /// Connects in the clear with a configuration, and reads the greeting.
    pub(crate) async fn connect(world: &World, config: &str) -> Client {
        let services =
            Services { auth: world.authority.clone(), hostname: "imap.example.org".into(), listeners: Arc::default() };
        let module =
            (imap::MODULE.build)(config.parse().unwrap(), services).map_err(|error| error.to_string()).unwrap();
        let (certificate, tls) = certificate();
        let listener = Arc::new(Listener {
            name: "imap".to_owned(),
            protocol: "imap",
            mode: TlsMode::Starttls,
            tls: Some(tls),
            passive: PassivePorts::new(1..=1),
        });
        let (stop, shutdown) = Shutdown::channel();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (tcp, _) = socket.accept().await.unwrap();
            let ends = Ends::of(&tcp).unwrap();
            let conn = Conn::open(tcp, ends, listener, shutdown, Box::new(())).await.unwrap();
            module.serve(conn).await
        });
        let wire: Box<dyn Wire> = Box::new(TcpStream::connect(address).await.unwrap());
        let mut client = Client {
            wire: Some(wire),
            input: Vec::new(),
            received: 0,
            deflate: None,
            tag: 0,
            words: HashMap::new(),
            greeting: String::new(),
            stop,
            served,
            certificate,
        };
        client.greeting = client.response().await;
        client
    }

    /// A client with TLS in which nobody is logged in.
    pub(crate) async fn secured(world: &World, config: &str) -> Client {
        let mut client = Client::connect(world, config).await;
        client.start_tls().await;
        client
    }

    /// A client that is logged in as alice.
    pub(crate) async fn logged_in(world: &World) -> Client {
        Client::of(world, "alice", "").await
    }

    /// A client that is logged in, with a configuration.
    pub(crate) async fn of(world: &World, name: &str, config: &str) -> Client {
        let mut client = Client::secured(world, config).await;
        client.script(&format!("> LOGIN {name} secret-of-{name}\nOK [CAPABILITY ...] ...")).await;
        client
    }

    /// STARTTLS with its handshake.
    pub(crate) async fn start_tls(&mut self) {
        self.script("> STARTTLS\nOK ...").await;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("imap.example.org").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let secured = connector.connect(name, self.wire.take().unwrap()).await.unwrap();
        self.wire = Some(Box::new(secured));
    }

    /// Speaks a script.
    #[track_caller]
    pub(crate) fn script(&mut self, script: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let lines: Vec<String> = script.lines().map(|line| line.trim_start().to_owned()).collect();
        async move {
            let mut lines = lines.iter().filter(|line| !line.is_empty()).peekable();
            let mut said = String::new();
            while let Some(line) = lines.next() {
                if let Some(text) = line.strip_prefix(">> ") {
                    said = pattern::filled(text, &self.words);
                    self.send(format!("{said}\r\n").replace('^', "\r\n")).await;
                } else if let Some(text) = line.strip_prefix("> ") {
                    self.tag += 1;
                    said = pattern::filled(text, &self.words);
                    self.send(format!("t{} {said}\r\n", self.tag).replace('^', "\r\n")).await;
                }
                let mut expected = vec![];
                if !line.starts_with('>') {
                    expected.push(line.as_str());
                }
                while let Some(line) = lines.next_if(|line| !line.starts_with('>')) {
                    expected.push(line);
                }
                self.answered(&format!("{caller}: {said}"), &expected).await;
            }
        }
    }

    /// Reads as many responses as are needed, which must be these.
    async fn answered(&mut self, said: &str, expected: &[&str]) {
        let Some((last, untagged)) = expected.split_last() else { return };
        // `...` alone: there may be others.
        let others = untagged.contains(&"...");
        let mut left: Vec<&str> = untagged.iter().filter(|line| **line != "...").copied().collect();
        let alone = last.starts_with('*');
        if alone {
            left.push(last);
        }
        while !left.is_empty() || !alone {
            let response = self.response().await;
            let tagged = response.strip_prefix(&format!("t{} ", self.tag));
            if tagged.is_some() || response.starts_with('+') {
                let text = tagged.unwrap_or(&response);
                assert!(pattern::matches(last, text, &mut self.words), "{said}\nexpected {last}\ngot      {text}");
                assert!(left.is_empty(), "{said}\nexpected {left:#?}\nbefore   {text}");
                return;
            }
            match left.iter().position(|wanted| pattern::matches(wanted, &response, &mut self.words)) {
                Some(at) => drop(left.remove(at)),
                None if others => {}
                None => panic!("{said}\nexpected {left:#?} {last}\ngot      {response}"),
            }
        }
    }

    /// What a name stands for.
    pub(crate) fn word(&self, name: &str) -> &str {
        &self.words[name]
    }

    /// Ends all subscriptions that a new account has.
    pub(crate) async fn clear_subscriptions(&mut self) {
        for name in ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"] {
            self.script(&format!("> UNSUBSCRIBE {name}\nOK ...")).await;
        }
    }

    /// Compresses what goes both ways from now on.
    pub(crate) fn compress(&mut self) {
        self.deflate = Some((Compress::new(Compression::fast(), false), Decompress::new(false)));
    }

    /// Sends octets as they are, or compressed.
    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        let mut octets = octets.as_ref().to_vec();
        if let Some((compress, _)) = &mut self.deflate {
            let mut out = Vec::with_capacity(octets.len() + 1024);
            compress.compress_vec(&octets, &mut out, FlushCompress::Sync).unwrap();
            octets = out;
        }
        self.wire.as_mut().unwrap().write_all(&octets).await.unwrap();
    }

    /// The next response with its literals, without its last CRLF; `^` is a CRLF within.
    pub(crate) async fn response(&mut self) -> String {
        let mut from = 0;
        loop {
            while let Some(end) = self.input[from..].windows(2).position(|pair| pair == b"\r\n") {
                let line = &self.input[from..from + end];
                from += end + 2;
                if let Some(size) = literal(line) {
                    from += size;
                    self.need(from).await;
                    continue;
                }
                let rest = self.input.split_off(from);
                let mut response = std::mem::replace(&mut self.input, rest);
                response.truncate(from - 2);
                return String::from_utf8_lossy(&response).replace("\r\n", "^");
            }
            self.need(self.input.len() + 1).await;
        }
    }

    async fn need(&mut self, count: usize) {
        while self.input.len() < count {
            let mut octets = Vec::new();
            let read = self.wire.as_mut().unwrap().read_buf(&mut octets);
            let read = tokio::time::timeout(Duration::from_secs(20), read).await.expect("a response in time");
            assert_ne!(read.unwrap(), 0, "a response, not the end behind {:?}", String::from_utf8_lossy(&self.input));
            self.received += octets.len();
            self.take(&octets);
        }
    }

    fn take(&mut self, octets: &[u8]) {
        let Some((_, decompress)) = &mut self.deflate else { return self.input.extend_from_slice(octets) };
        let begun = decompress.total_in();
        loop {
            self.input.reserve(64 << 10);
            let taken = (decompress.total_in() - begun) as usize;
            decompress.decompress_vec(&octets[taken..], &mut self.input, FlushDecompress::Sync).unwrap();
            // A buffer that is full may not have had room for all.
            if self.input.len() < self.input.capacity() {
                return;
            }
        }
    }

    /// Whether nothing is said for a moment.
    pub(crate) async fn is_silent(&mut self) -> bool {
        let read = self.wire.as_mut().unwrap().read_buf(&mut self.input);
        let _ = tokio::time::timeout(Duration::from_millis(300), read).await;
        self.input.is_empty()
    }

    /// Whether the server closes now, with nothing more to say; and why.
    pub(crate) async fn ended(mut self) -> Closed {
        // A reset is an end too: octets of ours were left unread.
        let _ = self.wire.as_mut().unwrap().read_to_end(&mut self.input).await;
        assert_eq!(String::from_utf8_lossy(&self.input), "", "nothing more is said");
        self.served.await.unwrap()
    }
}

/// The octets of the literal that a line announces.
fn literal(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('}')?;
    text.rsplit_once('{')?.1.parse().ok()
}

fn certificate() -> (CertificateDer<'static>, TlsService) {
    let made = rcgen::generate_simple_self_signed(["imap.example.org".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate = made.cert.der().clone();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.clone()], key);
    (certificate, TlsService::new(Arc::new(config.unwrap()), protocol::Resumption::Service))
}
