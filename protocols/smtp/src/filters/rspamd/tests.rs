//! rspamd, played by small servers.

use super::*;
use crate::filters::report::Action;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

const SOON: Duration = Duration::from_secs(20);
const GOOD: &str = r#"{"action": "reject", "score": 20, "required_score": 15}"#;
const ENVELOPE: Envelope<'_> = Envelope {
    client: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
    hostname: None,
    helo: "client.example",
    user: None,
    from: "",
    to: &["alice@mx.example", "jörg@mx.example"],
    id: "42",
    tls: None,
};

fn of(url: &str, password: &str) -> Option<Service> {
    let config = Rspamd { url: url.to_owned(), password: password.to_owned(), ..Rspamd::default() };
    Service::new(&config)
}

/// What is made of a server that does `serve` with its one connection.
async fn asked<F, R>(
    message: R,
    length: u64,
    limit: Duration,
    serve: impl FnOnce(TcpStream) -> F,
) -> Result<Report, Failure>
where
    F: Future<Output = ()>,
    R: AsyncRead + Send + Unpin + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = of(&format!("http://{}/", listener.local_addr().unwrap()), "secret").unwrap();
    let served = async {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        report = check(&service, &ENVELOPE, message, length, limit) => report,
        () = served => unreachable!(),
    }
}

/// Reads the head of a request, and as much more as `length`.
async fn taken(stream: &mut TcpStream, length: usize) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await.unwrap();
    (String::from_utf8(head).unwrap(), message)
}

async fn answered(answer: String) -> Result<Report, Failure> {
    asked(&b"a message"[..], 9, SOON, |mut stream| async move {
        taken(&mut stream, 9).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await
}

fn why(report: Result<Report, Failure>) -> String {
    match report {
        Err(Failure::Away(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_message_and_its_envelope_arrive_whole() {
    let message: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
    let expected = message.clone();
    let report = asked(std::io::Cursor::new(message), 300_000, SOON, |mut stream| async move {
        let (head, message) = taken(&mut stream, 300_000).await;
        assert_eq!(message, expected);
        assert!(head.starts_with("POST /checkv2 HTTP/1.1\r\n"), "{head}");
        for line in [
            "ip: 192.0.2.7",
            "helo: client.example",
            "from: <>",
            "rcpt: <alice@mx.example>",
            "rcpt: <jörg@mx.example>",
            "queue-id: 42",
            "password: secret",
            "content-length: 300000",
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
        }
        assert!(!head.contains("user:") && !head.contains("deliver-to:"), "{head}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{GOOD}", GOOD.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let report = report.await.unwrap();
    assert_eq!((report.action, report.score, report.required), (Action::Reject, 20.0, 15.0));
}

#[tokio::test]
async fn an_answer_may_end_with_the_connection() {
    let report =
        answered(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{GOOD}", GOOD.len()));
    assert_eq!(report.await.unwrap().action, Action::Reject);
    let report = asked(&b"a"[..], 1, SOON, |mut stream| async move {
        taken(&mut stream, 1).await;
        stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{GOOD}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    assert_eq!(report.await.unwrap().action, Action::Reject);
}

#[tokio::test]
async fn refusals_are_told() {
    let status = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n{{\"a\r}}");
    assert!(why(answered(status("403 Forbidden")).await).contains("answered 403"));
    assert!(why(answered(status("200 OK")).await).contains("not understood"));
    assert_eq!(answered(status("413 Too large")).await, Err(Failure::TooLarge(NAMED)));
}

#[tokio::test]
async fn an_answer_before_the_end_is_heard() {
    let early = asked(std::io::Cursor::new(vec![7; 8 << 20]), 8 << 20, SOON, |mut stream| async move {
        taken(&mut stream, 20_000).await;
        stream.write_all(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        // Closed with octets unread, which resets the connection.
    });
    assert_eq!(early.await, Err(Failure::TooLarge(NAMED)));
}

#[tokio::test]
async fn hostile_servers_are_away() {
    assert!(why(answered("SSH-2.0-server\r\n".to_owned()).await).contains("broke off"));
    let closes = asked(&b"a"[..], 1, SOON, |stream| async move { drop(stream) });
    assert!(why(closes.await).contains("broke off"));
    let half = asked(&b"a"[..], 1, SOON, |mut stream| async move {
        taken(&mut stream, 1).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{").await.unwrap();
    });
    assert!(why(half.await).contains("broke off its answer"));
    for head in ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        let endless = asked(&b"a"[..], 1, SOON, |mut stream| async move {
            taken(&mut stream, 1).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(format!("400\r\n{}\r\n", "a".repeat(1024)).as_bytes()).await.is_ok() {}
        });
        assert!(why(endless.await).contains("without end"), "{head}");
    }
    let endless_head = asked(&b"a"[..], 1, SOON, |mut stream| async move {
        taken(&mut stream, 1).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while stream.write_all(format!("A: {}\r\n", "a".repeat(10_000)).as_bytes()).await.is_ok() {}
    });
    assert!(why(endless_head.await).contains("broke off"));
}

#[tokio::test]
async fn a_slow_server_is_not_waited_for() {
    let message = std::io::Cursor::new(vec![7; 8 << 20]);
    let silent = asked(message, 8 << 20, Duration::from_secs(1), |stream| async move {
        sleep(SOON).await;
        drop(stream);
    });
    assert!(why(silent.await).contains("within 1 s"));
    let trickling = asked(&b"a"[..], 1, Duration::from_secs(1), |mut stream| async move {
        taken(&mut stream, 1).await;
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(why(trickling.await).contains("within 1 s"));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_not_the_fault_of_the_server() {
    let short = asked(&b"short"[..], 500, SOON, |mut stream| async move {
        taken(&mut stream, 0).await;
        sleep(SOON).await;
    });
    assert!(matches!(short.await, Err(Failure::Message(_))));
}

#[tokio::test]
async fn nobody_there_is_away() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let service = of(&format!("http://127.0.0.1:{port}"), "").unwrap();
    assert!(why(check(&service, &ENVELOPE, &b""[..], 0, SOON).await).contains("cannot be reached"));
    let large = check(&service, &ENVELOPE, &b""[..], (50 << 20) + 1, SOON).await;
    assert_eq!(large, Err(Failure::TooLarge(NAMED)), "it is not even asked");
}

#[test]
fn no_client_can_spoil_the_request() {
    let service = of("http://127.0.0.1", "").unwrap();
    let to = vec!["a-recipient-with-a-long-name@mx.example"; 100_000];
    let envelope = Envelope { helo: "a\r\nPassword: b\u{7f}\t\0\u{80}ö", to: &to, ..ENVELOPE };
    let head = head(&service, &envelope, 0);
    assert_eq!(head["helo"].as_bytes(), "aPassword: bö".as_bytes());
    assert!(!head.contains_key("password"));
    let told: usize = head.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    assert!((40 << 10..60 << 10).contains(&told), "{told}");
}

#[test]
fn urls_are_read() {
    let of = |url: &str| of(url, "").map(|service| (service.authority, service.path));
    let pair = |authority: &str, path: &str| Some((authority.to_owned(), path.to_owned()));
    assert_eq!(of("http://rspamd.example"), pair("rspamd.example:11333", "/checkv2"));
    assert_eq!(of("http://[::1]:80/rspamd/"), pair("[::1]:80", "/rspamd/checkv2"));
    assert_eq!(of("http://a:0"), None);
    assert_eq!(of("http://a:1?b"), None);
}
