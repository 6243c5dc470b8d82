//! Large contents in an S3 bucket. An object is sent in parts while its content still comes in, from a file on the
//! local disk, so that memory is bounded however many uploads there are and however slow their clients.
//!
//! An object's key is made before its content is known. Until a row refers to it, it is one of the `strays`: whoever
//! finds it forsaken there removes it.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig};
use tokio::sync::Semaphore;

use crate::circuit::{Backoff, Circuit};
use crate::error::with_causes;
use crate::{Error, TraceId};

/// The size of a part. S3 takes from 5 MiB, and 10,000 parts of an object.
const PART: u64 = 8 << 20;
/// From this part on they are larger, so that a content of 300 GiB still has a place.
const MANY: usize = 5000;
/// The size of those.
const LARGE_PART: u64 = 64 << 20;
/// How many bytes of parts may be in memory at once, all uploads together.
const IN_FLIGHT: usize = 32 << 20;
/// How long one part may take; the slowest link that is of use.
const PART_TIME: Duration = Duration::from_secs(60);
/// How often reading goes on behind a connection that broke.
const RESUMES: usize = 5;

/// An S3 bucket.
#[derive(Clone)]
pub struct S3 {
    /// The URL of the service; empty for the one of AWS in `region`.
    pub endpoint: String,
    /// The bucket's name.
    pub bucket: String,
    /// The region.
    pub region: String,
    /// The id of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: String,
    /// What the name of every object begins with.
    pub prefix: String,
    /// How long a request may stay without an answer.
    pub limit: Duration,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let S3 { endpoint, bucket, region, prefix, .. } = self;
        write!(formatter, "S3 {{ endpoint: {endpoint}, bucket: {bucket}, region: {region}, prefix: {prefix} }}")
    }
}

/// What a stream of pieces is.
pub(super) type Stream = std::pin::Pin<Box<dyn futures_core::Stream<Item = object_store::Result<Bytes>> + Send>>;

/// The bucket, reached.
#[derive(Clone)]
pub(crate) struct Bucket {
    inner: Arc<Inner>,
}

struct Inner {
    store: AmazonS3,
    options: S3,
    circuit: Circuit,
    in_flight: Semaphore,
}

impl Bucket {
    /// # Errors
    /// [`Error::Invalid`] with a sentence that names the key of the configuration.
    pub(crate) fn new(options: &S3) -> Result<Bucket, Error> {
        for (name, value) in [("bucket", &options.bucket), ("region", &options.region)] {
            if value.is_empty() {
                return Err(Error::invalid(format!("[blobs] kind = \"s3\" needs {name}")));
            }
        }
        let client = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout_disabled()
            .with_read_timeout(options.limit)
            .with_connect_timeout(Duration::from_secs(3));
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(3),
            ..BackoffConfig::default()
        };
        let retry = RetryConfig { backoff, max_retries: 10, retry_timeout: options.limit };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&options.bucket)
            .with_region(&options.region)
            .with_client_options(client)
            .with_retry(retry);
        if !options.endpoint.is_empty() {
            builder = builder.with_endpoint(&options.endpoint);
        }
        if !options.access_key.is_empty() {
            builder = builder.with_access_key_id(&options.access_key).with_secret_access_key(&options.secret_key);
        }
        let store = builder.build().map_err(|error| Error::invalid(format!("[blobs]: {error}")))?;
        let in_flight = Semaphore::new(IN_FLIGHT);
        let inner = Inner { store, options: options.clone(), circuit: Circuit::new("the bucket"), in_flight };
        Ok(Bucket { inner: Arc::new(inner) })
    }

    /// Puts, reads and removes an object, so that what is wrong with the configuration shows at the start.
    ///
    /// # Errors
    /// [`Error::Invalid`] with a sentence that says what to do.
    pub(crate) async fn probe(&self) -> Result<(), Error> {
        let key = self.key(&format!("probe-{}", TraceId::new()));
        let store = &self.inner.store;
        let tried = async {
            // Some services make a bucket that is not there when something is put into it.
            store.list_with_delimiter(Some(&key)).await?;
            store.put(&key, Bytes::from_static(b"wharfinger").into()).await?;
            store.get(&key).await?.bytes().await?;
            store.delete(&key).await
        };
        tried.await.map_err(|error| {
            let S3 { bucket, endpoint, region, .. } = &self.inner.options;
            let told = describe(&error);
            let place = if endpoint.is_empty() { format!("S3 in {region}") } else { endpoint.clone() };
            let advice = match &told {
                told if told.contains("NoSuchBucket") => "create it, or correct [blobs] bucket",
                told if told.contains("InvalidAccessKeyId") => "correct [blobs] access_key",
                told if told.contains("SignatureDoesNotMatch") => "correct [blobs] secret_key",
                told if told.contains("AccessDenied") => "let the key read, write and delete in it",
                _ => "correct [blobs] endpoint, or start the service",
            };
            Error::invalid(format!("the bucket {bucket} at {place} cannot be used: {told}; {advice}"))
        })
    }

    /// Whether the bucket answers, asked anew.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn answers(&self) -> Result<(), Error> {
        match self.ask(self.inner.store.head(&self.key("probe"))).await {
            Ok(_) | Err(Error::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn key(&self, place: &str) -> Key {
        let prefix = self.inner.options.prefix.trim_matches('/');
        if prefix.is_empty() { Key::from(place) } else { Key::from(format!("{prefix}/{place}")) }
    }

    /// One request, behind the circuit breaker.
    async fn ask<T>(&self, work: impl Future<Output = object_store::Result<T>>) -> Result<T, Error> {
        self.inner.circuit.check()?;
        let error = match tokio::time::timeout(PART_TIME, work).await {
            Ok(Ok(value)) => {
                self.inner.circuit.succeeded();
                return Ok(value);
            }
            Ok(Err(object_store::Error::NotFound { source, .. })) if !source.to_string().contains("NoSuchBucket") => {
                self.inner.circuit.succeeded();
                return Err(Error::NotFound);
            }
            Ok(Err(error)) => describe(&error),
            Err(_) => format!("no answer within {} s", PART_TIME.as_secs()),
        };
        self.inner.circuit.failed(&error);
        Err(Error::Unavailable(format!("the bucket {}: {error}", self.inner.options.bucket)))
    }

    /// The content at `place`, when it is there.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the bucket has lost it.
    pub(super) async fn object(&self, place: &str, size: u64) -> Result<Object, Error> {
        let key = self.key(place);
        let found = self.ask(self.inner.store.head(&key)).await?;
        if found.size != size {
            return Err(Error::internal(format!("the object {key} has {} bytes and not {size}", found.size)));
        }
        Ok(Object { bucket: self.clone(), key, size })
    }

    /// Removes what stands at `place`, and what an upload left there; that nothing does is fine.
    pub(super) async fn remove(&self, place: &str, upload: &str) -> Result<(), Error> {
        let key = self.key(place);
        if !upload.is_empty() {
            match self.ask(self.inner.store.abort_multipart(&key, &upload.to_owned())).await {
                Ok(()) | Err(Error::NotFound) => {}
                // Done with already, says a server that does not say it by 404.
                Err(Error::Unavailable(why)) if why.contains("NoSuchUpload") => {}
                Err(error) => return Err(error),
            }
        }
        match self.ask(self.inner.store.delete(&key)).await {
            Ok(()) | Err(Error::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Begins an object that is sent in parts; the id of its upload.
    pub(super) async fn begin(&self, place: &str) -> Result<String, Error> {
        self.ask(self.inner.store.create_multipart(&self.key(place))).await
    }

    /// Sends one part from a file.
    pub(super) async fn part(
        &self,
        place: &str,
        upload: &str,
        number: usize,
        file: &Arc<File>,
        range: Range<u64>,
    ) -> Result<PartId, Error> {
        let (_permit, bytes) = self.piece(file, range).await?;
        let (key, upload) = (self.key(place), upload.to_owned());
        self.ask(self.inner.store.put_part(&key, &upload, number, bytes.into())).await
    }

    /// Ends an object that was sent in parts.
    pub(super) async fn complete(&self, place: &str, upload: &str, parts: Vec<PartId>) -> Result<(), Error> {
        let (key, upload) = (self.key(place), upload.to_owned());
        self.ask(self.inner.store.complete_multipart(&key, &upload, parts)).await.map(drop)
    }

    /// Sends a whole object of at most one part's size.
    pub(super) async fn put(&self, place: &str, file: &Arc<File>, size: u64) -> Result<(), Error> {
        let (_permit, bytes) = self.piece(file, 0..size).await?;
        self.ask(self.inner.store.put(&self.key(place), bytes.into())).await.map(drop)
    }

    /// A piece of a file in memory, when there is room for it.
    async fn piece(
        &self,
        file: &Arc<File>,
        range: Range<u64>,
    ) -> Result<(tokio::sync::SemaphorePermit<'_>, Bytes), Error> {
        let length = range.end - range.start;
        let wanted = u32::try_from(length.min(IN_FLIGHT as u64)).unwrap_or(u32::MAX);
        let permit = self.inner.in_flight.acquire_many(wanted).await.map_err(Error::internal)?;
        let (file, mut piece) = (file.clone(), vec![0; length as usize]);
        let read = tokio::task::spawn_blocking(move || file.read_exact_at(&mut piece, range.start).map(|()| piece));
        Ok((permit, Bytes::from(read.await.map_err(Error::internal)??)))
    }
}

/// The bytes that part `number` of a content holds, counted from 0.
pub(super) fn part_range(number: usize) -> Range<u64> {
    let (small, large) = (number.min(MANY) as u64, number.saturating_sub(MANY) as u64);
    let start = small * PART + large * LARGE_PART;
    start..start + if number < MANY { PART } else { LARGE_PART }
}

/// An object with a name of its own.
#[derive(Clone)]
pub struct Object {
    bucket: Bucket,
    key: Key,
    pub(super) size: u64,
}

impl Object {
    /// The next piece of `range`; a stream that broke is taken up again where it ended.
    pub(super) async fn next(&self, stream: &mut Option<Stream>, range: Range<u64>) -> Result<Bytes, Error> {
        let mut backoff = Backoff::new();
        let mut told = Error::Unavailable("the bucket sent nothing".into());
        for _ in 0..RESUMES {
            if stream.is_none() {
                let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
                let got = self.bucket.ask(self.bucket.inner.store.get_opts(&self.key, options)).await;
                *stream = Some(got.map_err(|error| self.lost(error))?.into_stream());
            }
            let next = stream.as_mut().map(|stream| std::future::poll_fn(|context| stream.as_mut().poll_next(context)));
            match tokio::time::timeout(self.bucket.inner.options.limit, next.ok_or(Error::Busy)?).await {
                Ok(Some(Ok(piece))) if piece.is_empty() => continue,
                Ok(Some(Ok(piece))) => return Ok(piece),
                Ok(Some(Err(error))) => told = Error::Unavailable(describe(&error)),
                Ok(None) | Err(_) => {}
            }
            *stream = None;
            tokio::time::sleep(backoff.delay()).await;
        }
        Err(told)
    }

    fn lost(&self, error: Error) -> Error {
        match error {
            Error::NotFound => Error::internal(format!("the object {} is missing in the bucket", self.key)),
            other => other,
        }
    }
}

/// An error of the service in one line, with the code and message it told.
fn describe(error: &object_store::Error) -> String {
    let text = with_causes(error);
    // The body is XML: its code and message are what a reader wants.
    let part = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(part, _)| part.to_owned())
    };
    match (part("Code"), part("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        _ => text.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        let mut end = 0;
        for number in 0..10_000 {
            let range = part_range(number);
            assert_eq!(range.start, end);
            end = range.end;
        }
        assert!(end > 300 << 30);
    }
}
