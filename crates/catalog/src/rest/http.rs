//! HTTP towards one catalog: bounded answers, bounded time, counted repeats, and no credential to anybody else.
//!
//! Contract: an answer is read up to a limit and must be JSON. A redirect is followed only to the same scheme, host and port.
//! Faults that may pass (no connection, one that breaks, silence, the statuses 408, 429, 502, 503 and 504) are repeated with growing pauses, or after
//! the pause that the server asks for, until its patience ends. Two things are repeated twice at most: a server that has not once answered this
//! process as it should, and other errors of its own, which seldom pass; silence of the former is not repeated at all. What a server says
//! in an error reaches the message shortened, without control characters and with every secret of ours blotted out.

use super::answers::{Refusal, RefusalBody};
use crate::retries::Retries;
use crate::tls;
use bytes::{Bytes, BytesMut};
use fastdata_types::error::RETRIED;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use url::{Host, Url};

/// Where a fault is not known to pass.
const FEW_ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An answer may take this many times the longest silence, however steadily it drips.
const ANSWER_SILENCES: u32 = 10;
const MAX_REDIRECTS: usize = 5;
/// Bytes of an answer that reports an error.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

pub struct Timeouts {
    pub connect: Duration,
    /// The longest silence while an answer is waited for or read.
    pub silence: Duration,
    /// How long faults that may pass are repeated.
    pub patience: Duration,
}

pub struct Http {
    client: reqwest::Client,
    patience: Duration,
    /// The servers that have answered as they should, by origin.
    answered: Mutex<HashSet<String>>,
}

/// What a server answered: a body, or that it refused.
pub enum Answer {
    Body(Bytes),
    Refused(Refused),
}

pub struct Refused {
    pub status: StatusCode,
    /// `NoSuchTableException` and the like; empty where the body says nothing.
    pub kind: String,
    pub message: String,
    /// The body is a refusal of the REST catalog specification, not that of some proxy.
    pub is_catalogs_own: bool,
}

impl Http {
    pub fn new(base: &Url, timeouts: &Timeouts) -> Result<Http> {
        let redirects = reqwest::redirect::Policy::custom(|attempt| {
            let same = attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
            if same && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
        });
        let mut builder = reqwest::Client::builder()
            .use_preconfigured_tls(tls::client_config(None)?)
            .user_agent(concat!("fastdata/", env!("CARGO_PKG_VERSION")))
            .redirect(redirects)
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.silence)
            .timeout(timeouts.silence.saturating_mul(ANSWER_SILENCES));
        if is_loopback(base) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|e| Error::internal(Stage::Catalog, "the HTTP client cannot be set up").source(e))?;
        Ok(Http { client, patience: timeouts.patience, answered: Mutex::default() })
    }

    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends what `build` builds, again where that may help. `blot` takes secrets out of the server's words.
    pub async fn send(
        &self,
        build: impl Fn() -> RequestBuilder,
        limit: u64,
        blot: impl Fn(&str) -> String,
        retries: &Retries,
    ) -> Result<Answer> {
        let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
        for attempt in 1.. {
            let request =
                build().build().map_err(|e| Error::internal(Stage::Catalog, "a request cannot be made").source(e.without_url()))?;
            let server = request.url().origin().ascii_serialization();
            let (asked, sent_at) = (format!("{} {}", request.method(), request.url().path()), Instant::now());
            let sent = self.client.execute(request).await;
            let status = sent.as_ref().map(|response| response.status().as_u16()).ok();
            tracing::debug!(server, asked, status, ms = sent_at.elapsed().as_millis() as u64, "asked the catalog");
            let asked_pause = sent.as_ref().ok().and_then(|response| retry_after(response.headers()));
            let (answer, fault) = match sent {
                Ok(response) => {
                    let fault = Fault::of_status(response.status());
                    match self.read(response, limit, &blot).await {
                        Err(Unread::Broken(e)) => (Err(unreachable(&e)), Some(Fault::of_transport(&e))),
                        Err(Unread::Final(e)) => (Err(e), fault),
                        Ok(answer) => (Ok(answer), fault),
                    }
                }
                Err(e) => (Err(unreachable(&e)), Some(Fault::of_transport(&e))),
            };
            let Some(fault) = fault else {
                self.answered().insert(server);
                return answer;
            };
            let most_attempts = match (self.answered().contains(&server), fault) {
                (false, Fault::Silent) => 1,
                (false, _) | (true, Fault::Own) => FEW_ATTEMPTS,
                (true, Fault::Silent | Fault::Passing) => u32::MAX,
            };
            let wait = asked_pause.unwrap_or_else(|| jittered(pause));
            if attempt >= most_attempts || began.elapsed() + wait > self.patience {
                return answer;
            }
            let error = match &answer {
                Ok(_) => format!("{server}: {asked} was answered {}", status.unwrap_or_default()),
                Err(error) => error.message().to_owned(),
            };
            tracing::debug!(target: RETRIED, attempt, error = error.as_str(), "the catalog is asked again");
            tokio::time::sleep(wait).await;
            pause = pause.saturating_mul(4).min(LONGEST_PAUSE);
            retries.add();
        }
        Err(Error::internal(Stage::Catalog, "no attempt was made"))
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, response: Response, limit: u64, blot: impl Fn(&str) -> String) -> Result<Answer, Unread> {
        let (status, url) = (response.status(), response.url().clone());
        if status.is_redirection() {
            return Err(Unread::Final(redirected(&url, &response)));
        }
        if !status.is_success() {
            let body = read_body(response, MAX_REFUSAL_BYTES as u64).await.unwrap_or_default();
            return Ok(Answer::Refused(Refused::new(status, &body, blot)));
        }
        let is_html = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|v| v.trim_start().to_ascii_lowercase().starts_with("text/html"));
        if is_html {
            return Err(Unread::Final(not_json(&url, "HTML")));
        }
        Ok(Answer::Body(read_body(response, limit).await?))
    }
}

/// Why an answer was not read to its end.
enum Unread {
    Broken(reqwest::Error),
    Final(Error),
}

async fn read_body(mut response: Response, limit: u64) -> Result<Bytes, Unread> {
    let url = response.url().clone();
    let too_large = || {
        let error = Error::limit(Stage::Catalog, format!("the answer of {} is larger than {limit} bytes", shown(&url)))
            .advice("check the catalog's `uri`; expire snapshots of a table whose metadata is that large");
        Unread::Final(error)
    };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| Unread::Broken(e.with_url(url.clone())))? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What may end otherwise when it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Passing,
    /// No answer in time.
    Silent,
    /// An error inside the server, which seldom passes.
    Own,
}

impl Fault {
    fn of_status(status: StatusCode) -> Option<Fault> {
        match status.as_u16() {
            408 | 429 | 502..=504 => Some(Fault::Passing),
            501 => None,
            500.. => Some(Fault::Own),
            _ => None,
        }
    }

    fn of_transport(e: &reqwest::Error) -> Fault {
        if e.is_timeout() { Fault::Silent } else { Fault::Passing }
    }
}

impl Refused {
    fn new(status: StatusCode, body: &[u8], blot: impl Fn(&str) -> String) -> Refused {
        let parsed: Option<Refusal> = serde_json::from_slice(body).ok();
        let is_catalogs_own = parsed.is_some();
        let (kind, message) = match parsed {
            Some(Refusal { error: RefusalBody::Iceberg { message, kind }, .. }) => (kind, message),
            Some(Refusal { error: RefusalBody::OAuth(code), error_description }) => (Some(code), error_description),
            None => (None, None),
        };
        // Blotted before it is shortened: of a secret that crosses the cut, a part would stay.
        let clean = |text: Option<String>| printable(&blot(&text.unwrap_or_default()));
        Refused { status, kind: clean(kind), message: clean(message), is_catalogs_own }
    }

    /// The error for a refusal that means nothing special to the caller. `what` was asked of `url`.
    pub fn error(self, url: &Url, what: &str) -> Error {
        let kind = match self.status.as_u16() {
            401 | 419 => ErrorKind::Unauthenticated,
            403 => ErrorKind::PermissionDenied,
            404 => ErrorKind::NotFound,
            406 | 501 => ErrorKind::Unsupported,
            408 | 429 | 500.. => ErrorKind::Unavailable,
            _ => ErrorKind::InvalidRequest,
        };
        let said = [self.kind, self.message].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(": ");
        let said = if said.is_empty() { String::new() } else { format!(" ({said})") };
        let error = Error::new(kind, Stage::Catalog, format!("{what}: {} answered {}{said}", shown(url), self.status));
        match kind {
            ErrorKind::Unauthenticated => error.advice("check `token` or `credential` of this catalog, or get a new token"),
            ErrorKind::PermissionDenied => error.advice("ask the catalog's owner for the right to read this"),
            ErrorKind::NotFound if !self.is_catalogs_own => {
                error.advice("no REST catalog seems to be there: check its `uri`, `prefix` and `warehouse`")
            }
            ErrorKind::Unavailable => error.advice("try again later; if it stays so, see the catalog server's own log"),
            _ => error,
        }
    }
}

/// The pause that a server asks for, as far as it is granted; `None` where it names no whole number of seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// The random half keeps many processes from coming back together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 1024;
    pause / 2 + pause.mul_f64(random as f64 / 2048.0)
}

fn redirected(url: &Url, response: &Response) -> Error {
    let target = response.headers().get(reqwest::header::LOCATION).and_then(|v| v.to_str().ok()).and_then(|v| url.join(v).ok());
    let target = target.map_or_else(|| "nowhere".to_owned(), |t| t.origin().ascii_serialization());
    let message = format!("{} redirects to {target}, which is another server: no credential is sent there", shown(url));
    Error::new(ErrorKind::Config, Stage::Catalog, message).advice("if that server is the catalog, set it as `uri`")
}

pub fn not_json(url: &Url, what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, Stage::Catalog, format!("{} answered with {what} instead of the catalog's JSON", shown(url)))
        .with_retryable(false)
        .advice("check the catalog's `uri`: this may be a login page, a proxy, or another service")
}

/// An error of the transport: the endpoint, and the innermost cause in its own words.
fn unreachable(e: &reqwest::Error) -> Error {
    let endpoint = e.url().map_or_else(|| "the catalog".to_owned(), shown);
    let mut cause: &dyn std::error::Error = e;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let (what, advice) = if e.is_timeout() {
        ("did not answer in time".to_owned(), "try again, or raise `rest.client.socket-timeout-ms` and `fastdata.rest.retry-timeout`")
    } else if e.is_connect() {
        (format!("cannot be reached: {cause}"), "check the catalog's `uri`, the network, and that the server runs")
    } else {
        (format!("broke off: {cause}"), "try again; if it stays so, see the catalog server's own log")
    };
    Error::new(ErrorKind::Unavailable, Stage::Catalog, format!("{endpoint} {what}")).advice(advice)
}

/// A URL as messages show it: without the query, which may hold tokens, and without user and password.
pub fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_asks_for_no_longer_pause_than_the_longest_and_nonsense_asks_for_none() {
        let asked = |text: &'static str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(asked(" 2 "), Some(Duration::from_secs(2)));
        for huge in ["6", "9223372036854775807", "18446744073709551615"] {
            assert_eq!(asked(huge), Some(LONGEST_PAUSE), "{huge}");
        }
        for nonsense in ["-1", "1.5", "", "soon", "99999999999999999999999999", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
        }
    }
}
