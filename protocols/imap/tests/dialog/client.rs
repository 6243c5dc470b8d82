//! A client that reads from a script, and the server's side around it: a listener, TLS, a drain.
//!
//! A script is lines. `> command` says it, behind a tag; `>> text` says it as it is; `^` is CRLF. The lines below are
//! what must be answered: untagged responses in any order and no others, then the tagged one without its tag, or `+`.
//! In them `...` is any text (on a line of its own: any untagged responses) and `#name` a word, the same wherever the
//! name stands, also in later commands.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use dialog::{Connection, Served};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::pattern;
use crate::world::World;

/// One connection to a server of its own.
pub(crate) struct Client {
    connection: Connection,
    /// How many octets came.
    pub(crate) received: usize,
    deflate: Option<(Compress, Decompress)>,
    tag: u32,
    words: HashMap<String, String>,
    pub(crate) greeting: String,
}

impl Client {
    /// Connects in the clear with a configuration, and reads the greeting.
    pub(crate) async fn connect(world: &World, config: &str) -> Client {
        let (module, hostname, tls) = (&imap::MODULE, "imap.example.org", &rustls::version::TLS13);
        let connection = Connection::open(world, Served { module, protocol: "imap", hostname, config, tls }).await;
        let (words, greeting) = (HashMap::new(), String::new());
        let mut client = Client { connection, received: 0, deflate: None, tag: 0, words, greeting };
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
        self.secure().await;
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
        self.connection.send(octets).await;
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
                let mut response = self.taken(from);
                response.truncate(from - 2);
                return String::from_utf8_lossy(&response).replace("\r\n", "^");
            }
            self.need(self.input.len() + 1).await;
        }
    }

    async fn need(&mut self, count: usize) {
        while self.input.len() < count {
            let octets = self.more().await;
            self.received += octets.len();
            self.take(&octets);
        }
    }

    fn take(&mut self, octets: &[u8]) {
        let input = &mut self.connection.input;
        let Some((_, decompress)) = &mut self.deflate else { return input.extend_from_slice(octets) };
        let begun = decompress.total_in();
        // Until it makes nothing more of it: it may hold back what did not fit into its window, with all octets taken.
        loop {
            input.reserve(64 << 10);
            let taken = (decompress.total_in() - begun) as usize;
            let made = decompress.total_out();
            decompress.decompress_vec(&octets[taken..], input, FlushDecompress::Sync).unwrap();
            if decompress.total_out() == made {
                return;
            }
        }
    }
}

impl Deref for Client {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// The octets of the literal that a line announces.
fn literal(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('}')?;
    text.rsplit_once('{')?.1.parse().ok()
}
