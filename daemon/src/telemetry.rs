//! Logs, `/healthz`, `/readyz` and `/metrics`. The audit log is not here: it is part of the store.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use protocol::Shutdown;
use storage::Store;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::{Log, LogFormat};
use crate::listen;

/// How long the store may take to show that it is there.
const READY: Duration = Duration::from_secs(3);

/// Changes the log level while the daemon runs.
pub(crate) type LevelHandle = reload::Handle<EnvFilter, Registry>;

/// Begins to log to standard error.
///
/// # Errors
/// A sentence when the level is not one.
pub(crate) fn log(config: &Log) -> Result<LevelHandle, String> {
    let (filter, handle) = reload::Layer::new(filter(config)?);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let begun = match config.format {
        LogFormat::Text => registry.with(layer.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    begun.map_err(|error| error.to_string())?;
    Ok(handle)
}

/// The filter of a configured level.
pub(crate) fn filter(config: &Log) -> Result<EnvFilter, String> {
    // rustls warns of every client that puts an address into SNI, of which there are many; the resolver of every answer
    // that proves nothing, with the whole of it.
    const QUIET: &str = "rustls=error,hickory_net=error,hickory_resolver=error,hickory_proto=error";
    EnvFilter::try_new(format!("{QUIET},{}", config.level))
        .map_err(|error| format!("[log] level = {:?}: {error}; use error, warn, info, debug or trace", config.level))
}

/// Begins to count.
pub(crate) fn metrics() -> Result<PrometheusHandle, String> {
    let handle = PrometheusBuilder::new().install_recorder().map_err(|error| error.to_string())?;
    metrics::describe_counter!("wharfinger_connections", "Connections accepted");
    metrics::describe_counter!("wharfinger_connections_refused", "Connections refused, since a limit was reached");
    metrics::describe_counter!("wharfinger_connections_closed", "Connections ended, by why");
    metrics::describe_gauge!("wharfinger_connections_open", "Connections open now");
    Ok(handle)
}

/// Answers `/healthz`, `/readyz` and `/metrics` on `addresses`, until the process ends: while it drains, `/readyz` says
/// so.
///
/// # Errors
/// When an address cannot be listened on.
pub(crate) fn serve(addresses: &[SocketAddr], health: &Health) -> Result<(), String> {
    for &address in addresses {
        let socket = listen::bind(address)?;
        let health = health.clone();
        tokio::spawn(async move {
            loop {
                match socket.accept().await {
                    Ok((tcp, _)) => drop(tokio::spawn(answer(tcp, health.clone()))),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
    }
    Ok(())
}

/// What is told of the daemon.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) store: Store,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) stop: Shutdown,
}

impl Health {
    /// Whether new clients should be sent here: the daemon does not drain, and its database and bucket answer.
    async fn ready(&self) -> (StatusCode, String) {
        if self.stop.is_requested() {
            return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
        }
        match tokio::time::timeout(READY, self.store.ready()).await {
            Ok(Ok(())) => (StatusCode::OK, "ready\n".to_owned()),
            Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", error.detail().unwrap_or("not ready"))),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n".to_owned()),
        }
    }
}

async fn answer(tcp: tokio::net::TcpStream, health: Health) {
    let service = service_fn(move |request: Request<Incoming>| {
        let health = health.clone();
        async move {
            let (status, text) = match request.uri().path() {
                "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
                "/readyz" => health.ready().await,
                "/metrics" => (StatusCode::OK, health.metrics.render()),
                _ => (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".to_owned()),
            };
            let mut response = Response::new(Full::new(Bytes::from(text)));
            *response.status_mut() = status;
            let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(tcp), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a telemetry connection ended");
    }
}
