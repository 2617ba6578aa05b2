//! One signed request to an S3 endpoint, and what its answer means.
//!
//! Problem: the key on the wire must be the key in the metadata, byte for byte (`a//b`, spaces, `%`), which `object_store::path::Path` cannot
//! hold: it folds `//` and encodes. Contract: the request's path is the key with every byte outside `A-Za-z0-9-._~/` percent-encoded,
//! signed by object_store's SigV4 code and sent on its HTTP client type; no redirect is followed; an answer is either a success or a `Fault`
//! that says whether trying again can help. Messages carry the endpoint, the status and the error code, never a body.

use crate::location::shown;
use crate::peer::PARALLEL_REQUESTS;
use crate::recent::Recent;
use crate::settings::Settings;
use fastdata_types::error::{Error, ErrorKind, Result, Stage};
use futures::StreamExt;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const KEY: &AsciiSet = &QUERY_VALUE.remove(b'/');
const ERROR_BODY_LIMIT: usize = 64 << 10;

/// Ways to connect whose pools are kept.
const MOST_CLIENTS: usize = 8;

/// Connection pools, one for each way to connect, shared by every bucket and credential.
pub(crate) struct Clients(Mutex<Recent<(bool, Duration), HttpClient>>);

impl Default for Clients {
    fn default() -> Clients {
        Clients(Mutex::new(Recent::new(MOST_CLIENTS)))
    }
}

impl Clients {
    fn get(&self, settings: &Settings) -> Result<Arc<HttpClient>> {
        let way = (settings.allows_http(), settings.connect_timeout);
        let make = || {
            let client = reqwest::Client::builder()
                .user_agent(concat!("fastdata/", env!("CARGO_PKG_VERSION")))
                .http1_only()
                .https_only(!settings.allows_http())
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(settings.connect_timeout)
                .pool_max_idle_per_host(PARALLEL_REQUESTS)
                .build()
                .map_err(|error| Error::internal(Stage::Store, "no HTTP client can be made").source(error))?;
            Ok((way, Arc::new(HttpClient::new(client))))
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_make(|known| *known == way, make)
    }
}

/// What is asked of a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'a> {
    pub(crate) method: Method,
    pub(crate) key: &'a str,
    /// Names and values, not encoded.
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) range: Option<String>,
}

/// Why an attempt failed.
pub(crate) enum Fault {
    /// May pass: the network, an overloaded store. `connecting`: the endpoint was not even reached.
    Passing {
        cause: String,
        connecting: bool,
        after: Option<Duration>,
    },
    /// There are no credentials to ask with; there may be some later.
    Wanting(Error),
    /// The credentials were refused; other ones may do.
    Refused(Error),
    Final(Error),
}

impl Fault {
    /// Whether a connection was made to the endpoint.
    pub(crate) fn is_from_endpoint(&self) -> bool {
        matches!(self, Fault::Passing { connecting: false, .. } | Fault::Refused(_))
    }
}

impl Fault {
    /// Why there are no credentials.
    pub(crate) fn wanting(error: Error) -> Fault {
        if error.retryable() { Fault::Wanting(error) } else { Fault::Final(error) }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Final(error)
    }
}

/// Sends one request, signed with `credential` if there is one, and gives any 2xx answer, or 416, whose meaning only the caller knows.
pub(crate) async fn send(
    clients: &Clients,
    settings: &Settings,
    credential: Option<&AwsCredential>,
    location: &str,
    bucket: &str,
    asked: &Asked<'_>,
) -> Result<HttpResponse, Fault> {
    let request = signed(settings, credential, location, bucket, asked)?;
    let client = clients.get(settings)?;
    let answer = match tokio::time::timeout(settings.silence, client.execute(request)).await {
        Err(_) => return Err(silent(settings.silence)),
        Ok(Err(error)) => return Err(untrusted(&error, settings, location).unwrap_or_else(|| passing(&error))),
        Ok(Ok(answer)) => answer,
    };
    let status = answer.status();
    if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(answer);
    }
    let (parts, body) = answer.into_parts();
    let code = tokio::time::timeout(settings.silence, error_code(body)).await.unwrap_or_default();
    Err(meaning(settings, location, bucket, &asked.method, status, code.as_deref(), &parts.headers))
}

fn signed(settings: &Settings, credential: Option<&AwsCredential>, location: &str, bucket: &str, asked: &Asked<'_>) -> Result<HttpRequest> {
    let mut url = format!("{}/{}", settings.bucket_url(bucket), utf8_percent_encode(asked.key, KEY));
    for (index, (name, value)) in asked.query.iter().enumerate() {
        url.push(if index == 0 { '?' } else { '&' });
        url.push_str(&format!("{}={}", utf8_percent_encode(name, QUERY_VALUE), utf8_percent_encode(value, QUERY_VALUE)));
    }
    let unusable = |what: &str| Error::new(ErrorKind::Config, Stage::Store, format!("{}: {what}", shown(location)));
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = url.parse().map_err(|_| unusable("endpoint and bucket do not make a URL"))?;
    if let Some(range) = &asked.range {
        let value = HeaderValue::from_str(range).map_err(|_| Error::internal(Stage::Store, "a byte range is no header value"))?;
        request.headers_mut().insert(RANGE, value);
    }
    if let Some(credential) = credential {
        AwsAuthorizer::new(credential, "s3", &settings.region).authorize(&mut request, None);
    }
    Ok(request)
}

pub(crate) fn silent(silence: Duration) -> Fault {
    Fault::Passing { cause: format!("no answer for {:.1} s", silence.as_secs_f64()), connecting: false, after: None }
}

pub(crate) fn passing(error: &HttpError) -> Fault {
    let mut cause = String::new();
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        let text = error.to_string();
        // Wrappers repeat what they wrap.
        if !cause.contains(&text) {
            cause = if cause.is_empty() { text } else { format!("{cause}: {text}") };
        }
        source = error.source();
    }
    Fault::Passing { cause, connecting: error.kind() == HttpErrorKind::Connect, after: None }
}

/// A certificate that is not trusted now is not trusted the next time either.
fn untrusted(error: &HttpError, settings: &Settings, location: &str) -> Option<Fault> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref::<rustls::Error>() {
            let message = format!("{}: {} shows a certificate that is not trusted: {why}", shown(location), settings.endpoint_name());
            return Some(Fault::Final(Error::new(ErrorKind::Unauthenticated, Stage::Store, message).advice(
                "if its authority is your own, name the file with the authority's certificate in the variable SSL_CERT_FILE (docs/stores/s3.md); check the host name of s3.endpoint and this machine's clock",
            )));
        }
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            // Its own source would be the inner one's.
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

async fn error_code(body: object_store::client::HttpResponseBody) -> Option<String> {
    let mut text = Vec::new();
    let mut chunks = body.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        text.extend_from_slice(&chunk);
        if text.len() > ERROR_BODY_LIMIT {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let code = text.split_once("<Code>")?.1.split_once("</Code>")?.0;
    (code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')).then(|| code.to_string())
}

fn meaning(
    settings: &Settings,
    location: &str,
    bucket: &str,
    method: &Method,
    status: StatusCode,
    code: Option<&str>,
    headers: &HeaderMap,
) -> Fault {
    let said = match code {
        Some(code) => format!("{} {code}", status.as_u16()),
        None => status.to_string(),
    };
    let error = |kind, what: &str| {
        Error::new(kind, Stage::Store, format!("{}: {what} ({} said {said})", shown(location), settings.endpoint_name()))
    };
    match (status.as_u16(), code.unwrap_or_default()) {
        (_, "NoSuchBucket") => Fault::Final(
            error(ErrorKind::MissingFile, &format!("bucket '{bucket}' does not exist"))
                .advice("check the location, or the endpoint of the catalog"),
        ),
        (404, _) => Fault::Final(crate::local::missing(location)),
        (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => Fault::Refused(
            error(ErrorKind::Unauthenticated, "the session token has expired or is not valid").advice("renew the credentials"),
        ),
        // The answer to HEAD has no body that would say it; what is asked is always the same, so that nothing else can be wrong.
        (400, "") if method == Method::HEAD => Fault::Refused(
            error(ErrorKind::Unauthenticated, "the request was refused without a reason, as it is with a session token that has expired")
                .advice("renew the credentials, and check s3.region"),
        ),
        (401, _) | (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AuthorizationHeaderMalformed" | "RequestTimeTooSkewed") => {
            Fault::Refused(
                error(ErrorKind::Unauthenticated, "the credentials were refused")
                    .advice("check s3.access-key-id, s3.secret-access-key, s3.region and this machine's clock"),
            )
        }
        (403, _) => Fault::Refused(
            error(ErrorKind::PermissionDenied, "access denied")
                .advice("grant s3:GetObject and s3:ListBucket; without the latter S3 also denies what does not exist"),
        ),
        (300..=399, _) => {
            let region = header(headers, &HeaderName::from_static("x-amz-bucket-region"));
            let what = region
                .map_or_else(|| "the bucket is elsewhere".to_string(), |region| format!("the bucket is in region '{}'", shown(region)));
            Fault::Final(
                error(ErrorKind::Config, &what).advice("set s3.region, or s3.endpoint and s3.path-style-access, as the bucket needs"),
            )
        }
        (408 | 429 | 500 | 502 | 503 | 504, _)
        | (_, "SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable" | "ThrottlingException") => {
            let after = header(headers, &RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            Fault::Passing { cause: said, connecting: false, after }
        }
        _ => Fault::Final(
            error(ErrorKind::Unavailable, "the store does not accept the request")
                .with_retryable(false)
                .advice("check that s3.endpoint is an S3 endpoint"),
        ),
    }
}

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// First byte, end (exclusive) and total size, from `bytes 0-9/100`.
pub(crate) fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let said = header(headers, &CONTENT_RANGE)?;
    // MinIO's word for the tail of an empty object.
    if said == "bytes 0--1/0" {
        return Some((0, 0, 0));
    }
    let (span, total) = said.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, end, total) = (first.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?, total.parse().ok()?);
    (first < end && end <= total).then_some((first, end, total))
}

/// Total size, from `bytes */100`, as a 416 answer may give it.
pub(crate) fn size_of_unsatisfied(headers: &HeaderMap) -> Option<u64> {
    header(headers, &CONTENT_RANGE)?.strip_prefix("bytes */")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_and_nonsense_is_not() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(text).unwrap());
            content_range(&headers)
        };
        assert_eq!(parse("bytes 5-9/10"), Some((5, 10, 10)));
        assert_eq!(parse("bytes 0--1/0"), Some((0, 0, 0)));
        for nonsense in
            ["bytes 0--1/1", "bytes 5-9/*", "bytes 9-5/10", "bytes 5-10/10", "5-9/10", "bytes 0-18446744073709551615/1", "bytes */10", ""]
        {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn keys_are_encoded_byte_for_byte() {
        let encoded = utf8_percent_encode("a//b c+%2F#?&=;\\'(é)~-_.x", KEY).to_string();
        assert_eq!(encoded, "a//b%20c%2B%252F%23%3F%26%3D%3B%5C%27%28%C3%A9%29~-_.x");
    }
}
