//! clamd over its socket: the message goes to it in pieces (`INSTREAM`), it answers with one line.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::scan::{NAMED, Scan, verdict};
use super::{CHUNK, Failure};

/// The longest answer that is read.
const ANSWER: u64 = 4096;

/// Where clamd listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host and its port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(String),
}

impl Address {
    /// `host:port`, `[address]:port`, or a path from the root; nothing for anything else.
    pub(crate) fn new(text: &str) -> Option<Address> {
        if text.starts_with('/') {
            return (text.len() > 1).then(|| Address::Unix(text.to_owned()));
        }
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| Address::Tcp(host.to_owned(), port))
    }
}

/// Has a message scanned; `limit` holds for the whole.
///
/// # Errors
/// Says why there is no verdict.
pub(crate) async fn scan<R>(address: &Address, message: R, limit: Duration) -> Result<Scan, Failure>
where
    R: AsyncRead + Send + Unpin,
{
    let scanned = async {
        let away = |error| Failure::Away(format!("{NAMED} cannot be reached: {error}"));
        match address {
            Address::Tcp(host, port) => {
                exchange(TcpStream::connect((host.as_str(), *port)).await.map_err(away)?, message).await
            }
            Address::Unix(path) => exchange(UnixStream::connect(path).await.map_err(away)?, message).await,
        }
    };
    timeout(limit, scanned)
        .await
        .unwrap_or_else(|_| Err(Failure::Away(format!("{NAMED} did not answer within {} s", limit.as_secs()))))
}

async fn exchange<S, R>(stream: S, message: R) -> Result<Scan, Failure>
where
    S: AsyncRead + AsyncWrite + Send,
    R: AsyncRead + Send + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut answer = std::pin::pin!(answer(&mut reader));
    // A message that is too large is answered before its end, and the connection then closed: it is read while writing.
    let sent = tokio::select! {
        biased;
        early = &mut answer => return verdict(&early?),
        sent = send(&mut writer, message) => sent,
    };
    match sent {
        Err(failure @ Failure::Message(_)) => Err(failure),
        // What could not be written may have been answered already; if not, this failed first.
        Err(failure) => answer.await.map_or(Err(failure), |answer| verdict(&answer)),
        Ok(()) => verdict(&answer.await?),
    }
}

/// The command, and the message in pieces with their lengths before them; an empty one is the end.
async fn send<W, R>(writer: &mut W, mut message: R) -> Result<(), Failure>
where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    let away = |error: io::Error| Failure::Away(format!("{NAMED} broke off: {error}"));
    writer.write_all(b"zINSTREAM\0").await.map_err(away)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = message.read(&mut chunk).await.map_err(|error| Failure::Message(error.to_string()))?;
        let announced = u32::try_from(length).unwrap_or_default().to_be_bytes();
        writer.write_all(&announced).await.map_err(away)?;
        writer.write_all(&chunk[..length]).await.map_err(away)?;
        if length == 0 {
            return writer.flush().await.map_err(away);
        }
    }
}

/// The answer without the NUL that ends it.
async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Failure> {
    let (mut stream, mut answer) = (stream.take(ANSWER), Vec::new());
    loop {
        if let Some(end) = memchr::memchr(0, &answer) {
            answer.truncate(end);
            return Ok(answer);
        }
        match stream.read_buf(&mut answer).await {
            Ok(0) if answer.len() as u64 == ANSWER => {
                return Err(Failure::Away(format!("{NAMED} answers without end")));
            }
            Ok(0) => return Err(Failure::Away(format!("{NAMED} closed the connection before its answer was whole"))),
            Ok(_) => {}
            Err(error) => return Err(Failure::Away(format!("{NAMED} broke off: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tokio::time::{Instant, sleep};

    const SOON: Duration = Duration::from_secs(20);

    /// What is made of a server that does `serve` with its one connection.
    async fn asked<F>(message: &[u8], limit: Duration, serve: impl FnOnce(TcpStream) -> F) -> Result<Scan, Failure>
    where
        F: Future<Output = ()>,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::new(&listener.local_addr().unwrap().to_string()).unwrap();
        let served = async {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            scan = scan(&address, message, limit) => scan,
            () = served => unreachable!(),
        }
    }

    /// Reads the command and the message as clamd does.
    async fn taken(stream: &mut TcpStream) -> Vec<u8> {
        let mut command = [0; 10];
        stream.read_exact(&mut command).await.unwrap();
        assert_eq!(&command, b"zINSTREAM\0");
        let mut message = Vec::new();
        loop {
            let length = stream.read_u32().await.unwrap() as usize;
            if length == 0 {
                return message;
            }
            let known = message.len();
            message.resize(known + length, 0);
            stream.read_exact(&mut message[known..]).await.unwrap();
        }
    }

    fn why(scan: Result<Scan, Failure>) -> String {
        match scan {
            Err(Failure::Away(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_large_message_arrives_whole() {
        let message: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
        let expected = message.clone();
        let scan = asked(&message, SOON, |mut stream| async move {
            assert_eq!(taken(&mut stream).await, expected);
            stream.write_all(b"stream: OK\0").await.unwrap();
        });
        assert_eq!(scan.await, Ok(Scan::Clean));
    }

    #[tokio::test]
    async fn an_answer_before_the_end_is_heard() {
        let scan = asked(&[7; 8 << 20], SOON, |mut stream| async move {
            stream.read_exact(&mut [0; 20_000]).await.unwrap();
            stream.write_all(b"INSTREAM size limit exceeded. ERROR\0").await.unwrap();
            // Closed with octets unread, which resets the connection.
        });
        assert_eq!(scan.await, Err(Failure::TooLarge(NAMED)));
    }

    #[tokio::test]
    async fn broken_and_hostile_servers_are_away() {
        let closes = asked(b"a", SOON, |stream| async move { drop(stream) }).await;
        assert!(matches!(closes, Err(Failure::Away(_))), "{closes:?}");
        let half = asked(b"a", SOON, |mut stream| async move {
            taken(&mut stream).await;
            stream.write_all(b"stream: OK").await.unwrap();
        });
        assert!(why(half.await).contains("before its answer was whole"), "an answer without its end is none");
        let endless =
            asked(b"a", SOON, |mut stream| async move { while stream.write_all(&[b'a'; 1000]).await.is_ok() {} });
        assert!(why(endless.await).contains("without end"));
    }

    #[tokio::test]
    async fn a_slow_server_is_not_waited_for() {
        let begun = Instant::now();
        let silent = asked(&[7; 8 << 20], Duration::from_secs(1), |stream| async move {
            sleep(SOON).await;
            drop(stream);
        });
        assert!(why(silent.await).contains("within 1 s"));
        let trickling = asked(b"a", Duration::from_secs(1), |mut stream| async move {
            while stream.write_all(b"s").await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
        });
        assert!(why(trickling.await).contains("within 1 s"));
        assert!(begun.elapsed() < SOON);
    }

    #[tokio::test]
    async fn nobody_there_is_away() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let nobody = scan(&Address::Tcp("127.0.0.1".into(), port), &b"a"[..], SOON).await;
        assert!(why(nobody).contains("cannot be reached"));
        let nobody = scan(&Address::Unix("/nonexistent/clamd.ctl".into()), &b"a"[..], SOON).await;
        assert!(why(nobody).contains("cannot be reached"));
    }

    #[test]
    fn addresses_are_told_apart() {
        assert_eq!(Address::new("[::1]:3310"), Some(Address::Tcp("::1".into(), 3310)));
        assert_eq!(Address::new("scan.example:3310"), Some(Address::Tcp("scan.example".into(), 3310)));
        assert_eq!(Address::new("/run/clamd.ctl"), Some(Address::Unix("/run/clamd.ctl".into())));
        assert_eq!(Address::new("scan.example"), None);
    }
}
