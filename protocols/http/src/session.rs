//! One connection: hyper speaks HTTP/1.1 or HTTP/2, whichever ALPN agreed on; each request goes to its place.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use auth::{Authority, Peer};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use protocol::{BoxFuture, Closed, Conn, Protocol, Services, Shutdown, TlsMode};

use crate::body::Body;
use crate::commands::Place;
use crate::config::Config;
use crate::linger::Lent;
use crate::ops::setup::Offers;
use crate::ops::{dav, plain, portal, setup, site};
use crate::reply::Refusal;

/// The most fields of one request, and the most bytes of all its fields.
const MAX_FIELDS: usize = 100;
const MAX_HEAD: u32 = 32 << 10;
/// How many requests one HTTP/2 connection may have at once.
const MAX_STREAMS: u32 = 128;
/// How many requests a client may take back before they are answered (CVE-2023-44487), and make us reset
/// (CVE-2025-8671), before the connection is closed.
const MAX_RESET: usize = 64;
/// How much of uploads may be under way on one HTTP/2 request, and on all of a connection.
const WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// How often a silent HTTP/2 peer is asked whether it is there.
const PING: Duration = Duration::from_secs(30);
/// How long a connection that should end may take to do so.
const LINGER: Duration = Duration::from_secs(5);
/// A body of a refused request up to this length is read and dropped, so that the client hears the refusal and the
/// connection lives on.
const DRAIN: u64 = 1 << 20;

/// The web server, shared by all its connections.
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) auth: Arc<Authority>,
    /// The mail servers that clients are told of.
    pub(crate) offers: Offers,
    /// The policy of TLS for those who send mail here.
    pub(crate) mta_sts: Option<Arc<str>>,
    /// Answers by the first digit of their status.
    answers: [metrics::Counter; 5],
}

impl Server {
    pub(crate) fn new(config: Config, services: Services) -> Server {
        let counter = |class: &'static str| metrics::counter!("wharfinger_http_answers", "status" => class);
        let answers = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(counter);
        let offers = Offers::new(config.client_host(&services.hostname), &services.listeners);
        Server { config, auth: services.auth, offers, mta_sts: services.mta_sts, answers }
    }
}

impl Protocol for Server {
    fn serve(self: Arc<Self>, conn: Conn) -> BoxFuture<'static, Closed> {
        Box::pin(serve(self, conn))
    }

    fn busy(&self) -> &'static [u8] {
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    }
}

/// What the requests of one connection share.
pub(crate) struct Link {
    pub(crate) server: Arc<Server>,
    pub(crate) peer: Peer,
    /// Whether only the redirect to HTTPS is served here.
    plain: bool,
    activity: Arc<Activity>,
}

async fn serve(server: Arc<Server>, conn: Conn) -> Closed {
    let stop = conn.shutdown();
    let plain = conn.listener().protocol == "http" && conn.listener().mode == TlsMode::None;
    let (stream, peer, place) = conn.into_stream();
    let h2 = stream.alpn() == Some(b"h2");
    let activity = Arc::new(Activity::new());
    let (header_timeout, idle) = (server.config.header_timeout(), server.config.idle_timeout());
    let link = Arc::new(Link { server, peer, plain, activity: activity.clone() });
    let service = service_fn(move |request| handle(link.clone(), request));
    let (stream, owner) = Lent::new(stream);
    let stream = TokioIo::new(stream);
    let closed = if h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_pending_accept_reset_streams(MAX_RESET)
            .max_local_error_reset_streams(MAX_RESET)
            .max_header_list_size(MAX_HEAD)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(64 << 10)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        drive(builder.serve_connection(stream, service), stop, activity, idle).await
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_headers(MAX_FIELDS)
            .max_header_size(MAX_HEAD as usize)
            .max_buf_size(256 << 10);
        drive(builder.serve_connection(stream, service), stop, activity, idle).await
    };
    owner.linger().await;
    drop(place);
    closed
}

/// Runs a connection to its end: its own, ours when nothing moves any more, or the daemon's.
async fn drive<C>(connection: C, mut stop: Shutdown, activity: Arc<Activity>, idle: Duration) -> Closed
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut connection = pin!(connection);
    let mut ending = None;
    loop {
        let wait = if ending == Some(Closed::Idle) { LINGER } else { activity.left(idle) };
        tokio::select! {
            biased;
            result = connection.as_mut() => return match (ending, result) {
                (Some(why), _) => why,
                (None, Ok(())) => Closed::Quit,
                (None, Err(error)) => closed_by(&error),
            },
            () = stop.requested(), if ending.is_none() => {
                // hyper would wait for the first request of a connection that never had one.
                if activity.is_unused() {
                    return Closed::Shutdown;
                }
                ending = Some(Closed::Shutdown);
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(wait) => {
                if ending == Some(Closed::Idle) {
                    return Closed::Idle;
                }
                if activity.left(idle).is_zero() {
                    ending = Some(Closed::Idle);
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn closed_by(error: &hyper::Error) -> Closed {
    tracing::debug!(%error, "the connection ended");
    if error.is_timeout() {
        Closed::Idle
    } else if error.is_parse() || error.is_parse_too_large() {
        Closed::Abuse
    } else {
        Closed::Lost
    }
}

/// Answers one request.
async fn handle(link: Arc<Link>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let _running = Running::begin(&link.activity);
    let (head, mut body) = request.into_parts();
    let mut response = match answer(&link, &head, &mut body).await {
        Ok(response) => response,
        Err(refusal) => {
            tracing::debug!(status = refusal.status.as_u16(), message = refusal.message(), "refused");
            let goes_on = drain(&head, body).await;
            let mut response = refusal.answer(from_browser(&head));
            if !goes_on {
                // RFC 9112 §9.6: the client must not send its next request behind a body that nobody reads.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    };
    finish(&link, &head, &mut response);
    Ok(response)
}

/// The table: place, then TLS, then what the place does.
async fn answer(link: &Link, head: &Parts, body: &mut Incoming) -> Result<Response<Body>, Refusal> {
    check_host(head)?;
    let place = Place::of(head.uri.path());
    if link.plain && !place.before_tls() {
        return plain::redirect(link, head, place);
    }
    match place {
        Place::Health => plain::health(head),
        Place::Server if head.method == Method::OPTIONS => Ok(plain::options(place)),
        Place::Server => Err(Refusal::new(StatusCode::BAD_REQUEST, "'*' is for OPTIONS")),
        Place::Dav(path) => dav::answer(link, head, body, path).await,
        Place::Site(name, path) => site::answer(link, head, name, path).await,
        Place::Setup(document) => setup::answer(link, head, body, document).await,
        Place::Portal(path) => portal::answer(link, head, body, path).await,
    }
}

/// RFC 9112 §3.2: exactly one `Host` in HTTP/1.1; RFC 9113 §8.3.1: `:authority` stands for it in HTTP/2.
fn check_host(head: &Parts) -> Result<(), Refusal> {
    let hosts = head.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "a request has one Host field"));
    }
    Ok(())
}

/// The host and port that the client asked.
pub(crate) fn authority(head: &Parts) -> Option<&str> {
    match head.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => head.headers.get(header::HOST)?.to_str().ok(),
    }
}

/// Whether an error is better shown as a page.
fn from_browser(head: &Parts) -> bool {
    let accept = head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Lets a client that is still sending hear the refusal. With HTTP/1.1 a short body is read first, unless the client
/// waits to be asked for it. With HTTP/2 the answer goes out at once and the stream lives on for a moment: some clients
/// overlook an answer with a reset close behind (RFC 9113 §8.1). Whether the connection can go on behind it.
async fn drain(head: &Parts, mut body: Incoming) -> bool {
    if body.is_end_stream() {
        return true;
    }
    let read = async move {
        let mut left = DRAIN;
        while left > 0 {
            match body.frame().await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64)),
            }
        }
        // Unread, it stops the client by its flow control.
        tokio::time::sleep(LINGER).await;
        false
    };
    let read = tokio::time::timeout(LINGER, read);
    if head.version == Version::HTTP_2 {
        tokio::spawn(read);
        return true;
    }
    let short = head.headers.get(header::CONTENT_LENGTH).is_some_and(is_short);
    short && !head.headers.contains_key(header::EXPECT) && read.await.unwrap_or(false)
}

fn is_short(length: &HeaderValue) -> bool {
    length.to_str().ok().and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length < DRAIN)
}

/// What every answer has in common.
fn finish(link: &Link, head: &Parts, response: &mut Response<Body>) {
    if head.method == Method::HEAD {
        // The length that GET would have had (RFC 9110 §8.6), without the bytes.
        let length = std::mem::take(response.body_mut()).len();
        let bodiless = matches!(response.status(), StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT);
        if !bodiless {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    response.body_mut().watched_by(link.activity.clone());
    if link.server.config.hsts && link.peer.tls.is_some() {
        let year = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    // RFC 9112 §6.1: hyper has dropped a Content-Length beside it by now, which may have been an attempt to smuggle a
    // second request past a proxy; nothing that follows on this connection is taken for one. Nor after a request that
    // made no sense.
    let doubtful = head.headers.contains_key(header::TRANSFER_ENCODING) || response.status() == StatusCode::BAD_REQUEST;
    if head.version <= Version::HTTP_11 && doubtful {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let class = usize::from(response.status().as_u16() / 100).clamp(1, 5);
    link.server.answers[class - 1].increment(1);
}

/// When something last moved on a connection, and how many requests are being worked on.
pub(crate) struct Activity {
    began: Instant,
    /// Milliseconds after `began`.
    last: AtomicU64,
    running: AtomicUsize,
}

impl Activity {
    fn new() -> Activity {
        Activity { began: Instant::now(), last: AtomicU64::new(0), running: AtomicUsize::new(0) }
    }

    /// Something moved just now.
    pub(crate) fn touch(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Zero is for never.
        self.last.store(now.max(1), Ordering::Relaxed);
    }

    /// Whether no request ever came.
    fn is_unused(&self) -> bool {
        self.running.load(Ordering::Relaxed) == 0 && self.last.load(Ordering::Relaxed) == 0
    }

    /// How long until the connection counts as idle; zero when it does. A request that is worked on has deadlines of
    /// its own.
    fn left(&self, idle: Duration) -> Duration {
        if self.running.load(Ordering::Relaxed) > 0 {
            return idle;
        }
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        (last + idle).saturating_sub(self.began.elapsed())
    }
}

/// One request that is being worked on; also when its future is dropped, it ends.
struct Running<'a>(&'a Activity);

impl<'a> Running<'a> {
    fn begin(activity: &'a Activity) -> Running<'a> {
        activity.running.fetch_add(1, Ordering::Relaxed);
        Running(activity)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}
