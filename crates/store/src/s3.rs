//! Objects in S3-compatible stores, for one scope.
//!
//! Contract: each operation gives exactly the bytes asked for or an error that names the location; an object that changes between two
//! requests is noticed by ETag and size; credentials are those vended for the longest prefix of the location, else those of the properties or
//! environment. How: `ranges` decides the requests, `asking` sees one through to its answer; a body that breaks off is taken up where it broke, so
//! no byte is asked for twice.

mod asking;

use crate::environment::Environment;
use crate::http::{self, Asked, Clients, Fault};
use crate::listing::{self, Listing};
use crate::local::{too_large, too_short};
use crate::location::shown;
use crate::peer::Peers;
use crate::policy::Policy;
use crate::ranges::{self, Part, Request, Scatter};
use crate::recent::Recent;
use crate::retry::Retry;
use crate::settings::{Properties, Settings};
use crate::stores::Counters;
use crate::versions::{Versions, changed};
use asking::Answer;
use bytes::{Bytes, BytesMut};
use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::store::CredentialSource;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, LAST_MODIFIED};
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

/// The first request for an object of unknown size.
const FIRST_BYTES: u64 = 8 << 20;
/// More than this is not allocated before the object's size is known.
const TRUSTED_BYTES: u64 = 64 << 20;
/// Settings that one scope keeps.
pub(crate) const MOST_SETTINGS: usize = 16;

/// What all stores of the process share for S3.
pub(crate) struct Network {
    pub(crate) clients: Clients,
    pub(crate) peers: Peers,
    pub(crate) environment: Environment,
}

/// Settings by the properties they came from: the scope's own, and those with each vended credential.
type Resolved = Mutex<Recent<Properties, Settings>>;

#[derive(Clone)]
pub(crate) struct S3 {
    pub(crate) network: Arc<Network>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) versions: Arc<Versions>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) properties: Properties,
    pub(crate) credentials: Option<Arc<dyn CredentialSource>>,
    pub(crate) resolved: Arc<Resolved>,
    /// Retries of renewals that were counted, for all who read through the scope.
    pub(crate) renewals: Arc<AtomicU64>,
}

/// One admitted object.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) location: String,
    pub(crate) spelling: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
}

/// What an answer says about the object.
struct Facts {
    size: u64,
    version: String,
}

impl S3 {
    pub(crate) async fn size(&self, object: &Object) -> Result<u64> {
        let facts = self.head(object).await?;
        self.versions.check(&object.location, &object.spelling, &facts.version, facts.size)?;
        Ok(facts.size)
    }

    pub(crate) async fn read_ranges(self: &Arc<Self>, object: Object, wanted: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let total: u64 = wanted.iter().fold(0, |sum, range| sum.saturating_add(range.end.saturating_sub(range.start)));
        let size = match self.versions.size(&object.spelling) {
            None if total > TRUSTED_BYTES => Some(self.size(&object).await?),
            known => known,
        };
        if let Some(range) = wanted.iter().find(|range| range.start > range.end || size.is_some_and(|size| range.end > size)) {
            return Err(too_short(&object.location, size.unwrap_or(0), range));
        }
        let parts = self.fetch_all(object, ranges::scatter(wanted, ranges::requests(wanted)), None).await?;
        Ok(ranges::gather(wanted.len(), parts))
    }

    pub(crate) async fn read_all(self: &Arc<Self>, object: Object, limit: u64) -> Result<Bytes> {
        let first = FIRST_BYTES.min(limit).max(1);
        let mut retry = Retry::new();
        let answer = self.respond(&object, &get(&object, format!("bytes=0-{}", first - 1)), &mut retry).await?;
        if answer.is_unsatisfiable() {
            return self.surely_empty(&object, answer).await.map(|()| Bytes::new());
        }
        let (_, end, size) = self.expect_range(&object, &answer, 0, None)?;
        if size > limit {
            return Err(too_large(&object.location, size, limit));
        }
        let version = version(answer.headers());
        let whole = 0..size;
        let mut requests = vec![Request { bytes: 0..end, parts: vec![Part { range: 0, bytes: 0..end }] }];
        requests.extend(ranges::requests(std::slice::from_ref(&(end..size))));
        let mut scatters = ranges::scatter(std::slice::from_ref(&whole), requests);
        self.receive(&object, answer, scatters.first_mut(), &mut retry).await?;
        let parts = self.fetch_all(object, scatters, Some(version)).await?;
        Ok(ranges::gather(1, parts).pop().unwrap_or_default())
    }

    pub(crate) async fn read_tail(self: &Arc<Self>, object: Object, length: u64) -> Result<(Bytes, u64)> {
        if length == 0 || length > ranges::LONGEST {
            let size = self.size(&object).await?;
            let tail = size.saturating_sub(length)..size;
            let bytes = self.read_ranges(object, std::slice::from_ref(&tail)).await?;
            return Ok((bytes.into_iter().next().unwrap_or_default(), size));
        }
        let mut retry = Retry::new();
        let answer = self.respond(&object, &get(&object, format!("bytes=-{length}")), &mut retry).await?;
        if answer.is_unsatisfiable() {
            return self.surely_empty(&object, answer).await.map(|()| (Bytes::new(), 0));
        }
        let Some((start, _, size)) = answer.span().filter(|(first, _, size)| *first == size.saturating_sub(length)) else {
            return Err(ignores_ranges(&object));
        };
        self.versions.check(&object.location, &object.spelling, &version(answer.headers()), size)?;
        let tail = start..size;
        let mut scatters = ranges::scatter(std::slice::from_ref(&tail), ranges::requests(std::slice::from_ref(&tail)));
        self.receive(&object, answer, scatters.first_mut(), &mut retry).await?;
        let parts = self.fetch_all(object, scatters, None).await?;
        Ok((ranges::gather(1, parts).pop().unwrap_or_default(), size))
    }

    /// The names directly below a key prefix.
    pub(crate) async fn list(&self, directory: &Object) -> Result<Vec<String>> {
        let prefix = match directory.key.as_str() {
            "" => String::new(),
            key if key.ends_with('/') => key.to_string(),
            key => format!("{key}/"),
        };
        let mut listing = Listing::default();
        let mut page: Option<String> = None;
        loop {
            let mut query = vec![("list-type", "2"), ("delimiter", "/"), ("encoding-type", "url"), ("prefix", prefix.as_str())];
            if let Some(token) = &page {
                query.insert(0, ("continuation-token", token));
            }
            let mut retry = Retry::new();
            let body = loop {
                let asked = Asked { method: Method::GET, key: "", query: &query, range: None };
                let answer = self.respond(directory, &asked, &mut retry).await?;
                let settings = answer.settings.clone();
                match self.collect(directory, answer).await {
                    Ok(body) => break body,
                    Err(fault) => self.give_way(fault, &settings, directory, &mut retry).await?,
                }
            };
            page = listing.read_page(&directory.location, &prefix, &body)?;
            if page.is_none() {
                return Ok(listing.names);
            }
        }
    }

    async fn head(&self, object: &Object) -> Result<Facts> {
        let asked = Asked { method: Method::HEAD, key: &object.key, query: &[], range: None };
        let answer = self.respond(object, &asked, &mut Retry::new()).await?;
        let size = http::header(answer.headers(), &CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let size = size.ok_or_else(|| {
            Error::unsupported(Stage::Store, format!("{}: the store does not say how large the object is", shown(&object.location)))
        })?;
        Ok(Facts { size, version: version(answer.headers()) })
    }

    /// A range of an empty object cannot be satisfied; that of any other object can.
    async fn surely_empty(&self, object: &Object, unsatisfied: Answer) -> Result<()> {
        let said = http::size_of_unsatisfied(unsatisfied.headers());
        // With its permit: the next request takes one of its own, and would wait for ever where each waits for another's.
        drop(unsatisfied);
        let size = match said {
            Some(size) => size,
            None => self.head(object).await?.size,
        };
        if size == 0 { Ok(()) } else { Err(ignores_ranges(object)) }
    }

    async fn fetch_all(
        self: &Arc<Self>,
        object: Object,
        scatters: Vec<Scatter>,
        expected: Option<String>,
    ) -> Result<Vec<(Part, BytesMut)>> {
        let (mut parts, mut open) = (Vec::new(), Vec::new());
        for scatter in scatters {
            if scatter.position() < scatter.end() { open.push(scatter) } else { parts.extend(scatter.into_parts()) }
        }
        if open.len() == 1 {
            for scatter in open {
                parts.extend(self.fetch(&object, scatter, expected.as_deref()).await?.into_parts());
            }
            return Ok(parts);
        }
        let mut running = JoinSet::new();
        for scatter in open {
            let (this, object, expected) = (self.clone(), object.clone(), expected.clone());
            running.spawn(async move { this.fetch(&object, scatter, expected.as_deref()).await });
        }
        while let Some(done) = running.join_next().await {
            let scatter = done.map_err(|_| Error::internal(Stage::Store, "a fetch panicked"))??;
            parts.extend(scatter.into_parts());
        }
        Ok(parts)
    }

    /// Fills one request's parts, however many attempts it takes. `expected` is the version of an object that may change between reads.
    async fn fetch(&self, object: &Object, mut scatter: Scatter, expected: Option<&str>) -> Result<Scatter> {
        let mut retry = Retry::new();
        while scatter.position() < scatter.end() {
            let wanted = scatter.position()..scatter.end();
            let asked = get(object, format!("bytes={}-{}", wanted.start, wanted.end - 1));
            let answer = self.respond(object, &asked, &mut retry).await?;
            if answer.is_unsatisfiable() {
                return Err(too_short(&object.location, http::size_of_unsatisfied(answer.headers()).unwrap_or(0), &wanted));
            }
            let (_, end, size) = self.expect_range(object, &answer, wanted.start, expected)?;
            if expected.is_none() {
                self.versions.check(&object.location, &object.spelling, &version(answer.headers()), size)?;
            }
            if size < wanted.end {
                return Err(too_short(&object.location, size, &wanted));
            }
            if end > wanted.end {
                return Err(ignores_ranges(object));
            }
            self.receive(object, answer, Some(&mut scatter), &mut retry).await?;
        }
        Ok(scatter)
    }

    fn expect_range(&self, object: &Object, answer: &Answer, start: u64, expected: Option<&str>) -> Result<(u64, u64, u64)> {
        if expected.is_some_and(|expected| expected != version(answer.headers())) {
            return Err(changed(&object.location));
        }
        answer.span().filter(|(first, _, _)| *first == start).ok_or_else(|| ignores_ranges(object))
    }

    /// Takes as much of a body as arrives. Where it breaks off, this waits as long as the fault demands; the rest is for the next request.
    async fn receive(&self, object: &Object, answer: Answer, scatter: Option<&mut Scatter>, retry: &mut Retry) -> Result<()> {
        let Some(scatter) = scatter else { return Ok(()) };
        let settings = answer.settings.clone();
        // The end of the body is waited for too, or the connection could not be used again.
        let drained = answer
            .drain(|chunk| {
                let wanted = scatter.position() < scatter.end();
                self.counters.read(chunk.len() as u64);
                scatter.take(chunk);
                retry.progressed(chunk.len() as u64);
                Ok(wanted)
            })
            .await;
        let fault = match drained {
            _ if scatter.position() >= scatter.end() => return Ok(()),
            Ok(()) => Fault::Passing { cause: "the answer broke off".to_string(), connecting: false, after: None },
            Err(fault) => fault,
        };
        self.give_way(fault, &settings, object, retry).await
    }

    async fn collect(&self, object: &Object, answer: Answer) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        answer
            .drain(|chunk| {
                self.counters.read(chunk.len() as u64);
                body.extend_from_slice(chunk);
                if body.len() > listing::PAGE_LIMIT {
                    return Err(Error::limit(Stage::Store, format!("{}: one page of the listing is too large", shown(&object.location))));
                }
                Ok(true)
            })
            .await?;
        Ok(body)
    }
}

fn get<'a>(object: &'a Object, range: String) -> Asked<'a> {
    Asked { method: Method::GET, key: &object.key, query: &[], range: Some(range) }
}

/// What tells one content of an object from another.
fn version(headers: &HeaderMap) -> String {
    http::header(headers, &ETAG).or_else(|| http::header(headers, &LAST_MODIFIED)).unwrap_or_default().to_string()
}

fn ignores_ranges(object: &Object) -> Error {
    Error::unsupported(Stage::Store, format!("{}: the store does not answer byte ranges as asked", shown(&object.location)))
        .advice("check that s3.endpoint is an S3 endpoint and not a cache or proxy in front of one")
}

#[cfg(test)]
mod tests;
