//! An S3 server for tests, on a loopback port, that remembers what it was asked and fails on demand.
//!
//! Contract: GET with byte ranges, HEAD and ListObjectsV2 as S3 answers them, path style; keys are compared as the percent-decoded bytes of the
//! request's path, so `a//b` and `a/b` are two objects. Every request is logged as it came over the wire, with the status it got and what it
//! suffered. Faults are taken from a queue, one for each request, and where that is empty drawn from a seed.

mod wire;

pub use fastdata_proxy::{Change, Exchange, Fault, Faults};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fastdata_proxy::{Answer, Seeded, Signed};
use futures::StreamExt;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wire::{Breaker, Wires};

#[derive(Debug, Clone)]
struct Stored {
    bytes: Bytes,
    etag: String,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<(String, String), Stored>,
    log: Vec<Exchange>,
    faults: VecDeque<Fault>,
    seeded: Option<Seeded>,
    keys: Option<BTreeSet<String>>,
    page: usize,
    puts: u64,
    as_minio: bool,
}

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub struct S3Server {
    endpoint: String,
    inner: Arc<Mutex<Inner>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl S3Server {
    /// Serves on a free loopback port, on the current runtime.
    pub async fn start() -> S3Server {
        let inner = Arc::new(Mutex::new(Inner { page: 1000, ..Inner::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let endpoint = format!("http://{}", listener.local_addr().expect("a bound address"));
        let service = Router::new().fallback(answer).with_state(inner.clone()).into_make_service_with_connect_info::<Breaker>();
        let task = tokio::spawn(async move {
            let _ = axum::serve(Wires(listener), service).await;
        });
        S3Server { endpoint, inner, task }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Iceberg's properties for this server, with the credentials `test` and `secret`.
    pub fn properties(&self) -> BTreeMap<String, String> {
        [
            ("s3.endpoint", self.endpoint.as_str()),
            ("s3.access-key-id", "test"),
            ("s3.secret-access-key", "secret"),
            ("s3.region", "us-east-1"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
    }

    /// Every put gives the object a new ETag.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) {
        let mut inner = self.lock();
        inner.puts += 1;
        let etag = format!("\"{:032x}\"", inner.puts);
        inner.objects.insert((bucket.to_string(), key.to_string()), Stored { bytes: bytes.into(), etag });
    }

    /// Puts every file below a directory, its path below `prefix` (empty, or ending in `/`) as the key.
    pub fn put_directory(&self, bucket: &str, prefix: &str, directory: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let key = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.put_directory(bucket, &format!("{key}/"), &entry.path())?;
            } else {
                self.put(bucket, &key, std::fs::read(entry.path())?);
            }
        }
        Ok(())
    }

    pub fn remove(&self, bucket: &str, key: &str) {
        self.lock().objects.remove(&(bucket.to_string(), key.to_string()));
    }

    /// The next requests suffer these, in order.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.extend(faults);
    }

    /// From now on requests suffer what the seed holds for them, from the first request of each object on; nothing without one.
    pub fn suffer(&self, faults: Option<Faults>) {
        self.lock().seeded = faults.map(Seeded::new);
    }

    /// From now on only requests signed with one of these access key ids are answered.
    pub fn accept_only(&self, access_key_ids: impl IntoIterator<Item = impl Into<String>>) {
        self.lock().keys = Some(access_key_ids.into_iter().map(Into::into).collect());
    }

    /// How many names one page of a listing holds.
    pub fn page_size(&self, names: usize) {
        self.lock().page = names.max(1);
    }

    /// From now on ranges of nothing are answered as MinIO does: a 416 does not say how large the object is, and the tail of an empty object is
    /// a 206 that ends before it begins.
    pub fn answer_as_minio(&self) {
        self.lock().as_minio = true;
    }

    /// How many requests came since the log was taken.
    pub fn log_length(&self) -> usize {
        self.lock().log.len()
    }

    /// The requests since the last call, in the order they came.
    pub fn take_log(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.lock().log)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request gets, and when.
struct Verdict {
    response: Response,
    pause: Duration,
    fault: Option<Fault>,
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, ConnectInfo(breaker): ConnectInfo<Breaker>, request: Request) -> Response {
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    let (response, pause) = {
        let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = inner.decide(&method, uri.path(), uri.query().unwrap_or_default(), &headers, &breaker);
        inner.log.push(Exchange {
            method: method.to_string(),
            path: uri.path().to_string(),
            query: uri.query().unwrap_or_default().to_string(),
            range: text(&headers, header::RANGE).map(str::to_string),
            signed: signed(&headers),
            status: verdict.response.status().as_u16(),
            fault: verdict.fault,
        });
        (verdict.response, verdict.pause)
    };
    tokio::time::sleep(pause).await;
    response
}

impl Inner {
    fn decide(&mut self, method: &Method, path: &str, query: &str, headers: &HeaderMap, breaker: &Breaker) -> Verdict {
        let signed = signed(headers);
        if self.keys.as_ref().is_some_and(|keys| !signed.access_key_id.as_ref().is_some_and(|id| keys.contains(id))) {
            let response = whole(Answer::error(403, "InvalidAccessKeyId", &signed));
            return Verdict { response, pause: Duration::ZERO, fault: None };
        }
        let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
        let drawn = self.seeded.as_mut().map(|seeded| seeded.draw(bucket, &key)).unwrap_or_default();
        let fault = self.faults.pop_front().or(drawn.fault);
        let pause = if let Some(Fault::Hang(pause)) = fault { pause } else { drawn.pause };
        let changed = drawn.changed.map(|bytes| Stored { bytes, etag: Change::ETAG.to_owned() });
        if fault == Some(Fault::Reset(0)) {
            breaker.reset();
        }
        let response = match fault.as_ref().and_then(|fault| Answer::refusal(fault, &signed)) {
            Some(answer) => whole(answer),
            None => match (method.as_str(), key.as_str()) {
                ("GET", "") => list(self, bucket, query),
                ("GET" | "HEAD", _) => match changed.as_ref().or_else(|| self.objects.get(&(bucket.to_string(), key))) {
                    Some(stored) => {
                        let range = text(headers, header::RANGE);
                        let mut answer = Answer::object(&stored.bytes, &stored.etag, range);
                        if self.as_minio && answer.status == 416 {
                            answer = as_minio(answer, stored.bytes.is_empty() && range.is_some_and(|range| range.starts_with("bytes=-")));
                        }
                        response(answer, Cut::of(fault.as_ref(), breaker))
                    }
                    None => whole(Answer::error(404, "NoSuchKey", &signed)),
                },
                _ => whole(Answer::error(405, "MethodNotAllowed", &signed)),
            },
        };
        Verdict { response, pause, fault }
    }
}

/// Where a body ends too early, and whether the connection is reset there or only ends.
struct Cut {
    bytes: usize,
    breaker: Option<Breaker>,
}

impl Cut {
    fn of(fault: Option<&Fault>, breaker: &Breaker) -> Option<Cut> {
        match *fault? {
            Fault::Truncate(bytes) => Some(Cut { bytes, breaker: None }),
            Fault::Reset(bytes) => Some(Cut { bytes, breaker: Some(breaker.clone()) }),
            _ => None,
        }
    }

    fn body(self, bytes: Bytes) -> Body {
        let kept = bytes.slice(..self.bytes.min(bytes.len()));
        // The pause lets what was written so far reach the client.
        let end = async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.breaker.iter().for_each(Breaker::reset);
            Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
        };
        Body::from_stream(futures::stream::iter([Ok(kept)]).chain(futures::stream::once(end)))
    }
}

/// What MinIO answers where a range cannot be satisfied.
fn as_minio(mut unsatisfied: Answer, is_tail_of_nothing: bool) -> Answer {
    unsatisfied.headers.retain(|(name, _)| *name != "content-range");
    if is_tail_of_nothing {
        unsatisfied.headers.push(("content-range", "bytes 0--1/0".to_owned()));
        return Answer { status: 206, body: Bytes::new(), ..unsatisfied };
    }
    unsatisfied
}

fn whole(answer: Answer) -> Response {
    response(answer, None)
}

fn response(answer: Answer, cut: Option<Cut>) -> Response {
    let mut response = Response::builder().status(answer.status).header(header::CONTENT_LENGTH, answer.body.len());
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let body = match cut {
        None => Body::from(answer.body),
        Some(cut) => cut.body(answer.body),
    };
    response.body(body).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn list(inner: &Inner, bucket: &str, query: &str) -> Response {
    let parameters: BTreeMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_string(), percent_decode_str(value).decode_utf8_lossy().into_owned()))
        .collect();
    let parameter = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
    let (prefix, after) = (parameter("prefix"), parameter("continuation-token"));
    let delimited = parameter("delimiter") == "/";
    let mut entries = BTreeMap::new();
    for (of, key) in inner.objects.keys() {
        let Some(rest) = (of == bucket).then(|| key.strip_prefix(prefix)).flatten() else { continue };
        match rest.split_once('/').filter(|_| delimited) {
            Some((folder, _)) => entries.insert(format!("{prefix}{folder}/"), true),
            None => entries.insert(key.clone(), false),
        };
    }
    let rest: Vec<_> = entries.into_iter().filter(|(key, _)| key.as_str() > after).collect();
    let mut xml =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    let url = parameter("encoding-type") == "url";
    for (key, folder) in rest.iter().take(inner.page) {
        let key = if url { utf8_percent_encode(key, NON_ALPHANUMERIC).to_string().replace("%20", "+") } else { escape(key) };
        let _ = match folder {
            true => write!(xml, "<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>"),
            false => write!(xml, "<Contents><Key>{key}</Key></Contents>"),
        };
    }
    if url {
        xml.push_str("<EncodingType>url</EncodingType>");
    }
    let _ = write!(xml, "<IsTruncated>{}</IsTruncated>", rest.len() > inner.page);
    if let Some((last, _)) = rest.get(inner.page - 1).filter(|_| rest.len() > inner.page) {
        let _ = write!(xml, "<NextContinuationToken>{}</NextContinuationToken>", escape(last));
    }
    xml.push_str("</ListBucketResult>");
    ([(header::CONTENT_TYPE, "application/xml")], xml).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn signed(headers: &HeaderMap) -> Signed {
    Signed::read(|name| headers.get(name)?.to_str().ok())
}
