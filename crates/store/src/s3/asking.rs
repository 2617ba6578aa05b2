//! One request of a scope, from its credentials to its answer, however often it has to be made.
//!
//! Contract: a request holds one permit of its endpoint until the last byte of its body, and whoever waits for credentials holds none: a catalog or a
//! platform that is slow to lend them keeps nobody else from asking. Credentials that cannot be had now are a fault that may pass, as the
//! store's own are. How: `http` makes a request, `peer` a second one beside it where it is late, `retry` says when to make another after it.

use super::{Object, S3};
use crate::http::{self, Asked, Fault};
use crate::location::{path_below, shown};
use crate::retry::{LEAST_RATE, Retry, Vended, earned};
use crate::settings::Settings;
use fastdata_types::error::Result;
use fastdata_types::store::{CredentialSource, VendedCredential, is_credential};
use futures::{FutureExt, StreamExt};
use object_store::aws::AwsCredential;
use object_store::client::HttpResponse;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, HeaderMap};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// An answer whose body has yet to arrive.
pub(super) struct Answer {
    response: HttpResponse,
    pub(super) settings: Arc<Settings>,
    _permit: OwnedSemaphorePermit,
}

impl Answer {
    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// First byte, end and total size of what the body holds. Some stores answer 200 where a range covers the whole object.
    pub(super) fn span(&self) -> Option<(u64, u64, u64)> {
        match self.response.status() {
            StatusCode::PARTIAL_CONTENT => http::content_range(self.headers()),
            StatusCode::OK => {
                let size = http::header(self.headers(), &CONTENT_LENGTH)?.parse().ok()?;
                Some((0, size, size))
            }
            _ => None,
        }
    }

    pub(super) fn is_unsatisfiable(&self) -> bool {
        self.response.status() == StatusCode::RANGE_NOT_SATISFIABLE
    }

    /// Hands each chunk to `take` until it wants no more, or the body ends. One that comes too slowly is given up.
    pub(super) async fn drain(self, mut take: impl FnMut(&[u8]) -> Result<bool>) -> Result<(), Fault> {
        let silence = self.settings.silence;
        let (began, mut bytes) = (Instant::now(), 0);
        let mut chunks = self.response.into_body().bytes_stream();
        loop {
            match tokio::time::timeout(silence, chunks.next()).await {
                Err(_) => return Err(http::silent(silence)),
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => return Err(http::passing(&error)),
                Ok(Some(Ok(chunk))) => {
                    bytes += chunk.len() as u64;
                    if !take(&chunk)? {
                        return Ok(());
                    }
                    if began.elapsed() > silence + earned(bytes) {
                        let cause = format!("its answer comes at less than {LEAST_RATE} bytes a second");
                        return Err(Fault::Passing { cause, connecting: false, after: None });
                    }
                }
            }
        }
    }
}

/// What a request is made with.
struct Ready {
    settings: Arc<Settings>,
    credential: Option<Arc<AwsCredential>>,
}

impl S3 {
    /// Asks until there is an answer that is no fault.
    pub(super) async fn respond(&self, object: &Object, asked: &Asked<'_>, retry: &mut Retry) -> Result<Answer> {
        loop {
            let (Ready { settings, credential }, permit) = match self.permitted(object, retry).await {
                Ok(permitted) => permitted,
                Err(fault) => {
                    let own = self.settings_with(object, &[])?;
                    retry.after(fault, &own, &object.location, Vended::Never).await?;
                    continue;
                }
            };
            let attempt = || {
                self.counters.requested();
                http::send(&self.network.clients, &settings, credential.as_deref(), &object.location, &object.bucket, asked)
            };
            let sent_at = Instant::now();
            let answered = match settings.hedges {
                true => settings.peer.hedged(attempt, || self.counters.hedged()).await,
                false => settings.peer.alone(attempt()).await,
            };
            log(object, asked, &answered, sent_at.elapsed());
            match answered {
                Ok(response) => return Ok(Answer { response, settings, _permit: permit }),
                Err(fault) => {
                    drop(permit);
                    self.give_way(fault, &settings, object, retry).await?;
                }
            }
        }
    }

    /// Credentials that are good now, and a permit of the endpoint that they are for.
    async fn permitted(&self, object: &Object, retry: &mut Retry) -> Result<(Ready, OwnedSemaphorePermit), Fault> {
        let mut ready = self.ready(object).await?;
        loop {
            let peer = ready.settings.peer.clone();
            let queued = Instant::now();
            let permit = peer.permit().await?;
            retry.queued(queued.elapsed());
            // The credentials may have ended in the queue.
            let mut again = pin!(self.ready(object));
            match again.as_mut().now_or_never() {
                Some(now) => ready = now?,
                None => {
                    drop(permit);
                    ready = again.await?;
                    continue;
                }
            }
            if Arc::ptr_eq(&peer, &ready.settings.peer) {
                return Ok((ready, permit));
            }
        }
    }

    async fn ready(&self, object: &Object) -> Result<Ready, Fault> {
        let vended = match &self.credentials {
            None => vec![],
            Some(source) => self.lent(source.as_ref()).await.map_err(Fault::wanting)?,
        };
        let settings = self.settings_with(object, &vended)?;
        let credential = settings.credential(&object.bucket, &object.location).await?;
        Ok(Ready { settings, credential })
    }

    /// What is lent now. Requests that the catalog had to be sent again for it count for whoever notices first.
    async fn lent(&self, source: &dyn CredentialSource) -> Result<Vec<VendedCredential>> {
        let lent = source.current().await;
        let so_far = source.retries();
        let counted = self.renewals.fetch_max(so_far, Ordering::Relaxed);
        self.counters.retried(so_far.saturating_sub(counted));
        lent
    }

    /// `used` are the settings of the request that failed.
    pub(super) async fn give_way(&self, fault: Fault, used: &Settings, object: &Object, retry: &mut Retry) -> Result<()> {
        let (fault, vended) = match (&self.credentials, fault) {
            (Some(source), Fault::Refused(error)) => match self.lent(source.as_ref()).await {
                Ok(current) => {
                    let refused = used.properties == self.settings_with(object, &current)?.properties;
                    (Fault::Refused(error), if refused { Vended::Refused(source.as_ref(), current) } else { Vended::Anew })
                }
                Err(error) => (Fault::wanting(error), Vended::Anew),
            },
            (Some(_), fault) => (fault, Vended::Anew),
            (None, fault) => (fault, Vended::Never),
        };
        retry.after(fault, used, &object.location, vended).await?;
        self.counters.retried(1);
        Ok(())
    }

    /// With the vended credential of the longest prefix that the object lies below, if there is one.
    pub(super) fn settings_with(&self, object: &Object, vended: &[VendedCredential]) -> Result<Arc<Settings>> {
        let below = |prefix: &str| match prefix {
            "" | "s3" | "s3a" | "s3n" => true,
            prefix => path_below(&object.spelling, self.policy.spelling(prefix).trim_end_matches('/')).is_some(),
        };
        let vended = vended.iter().filter(|vended| below(&vended.prefix)).max_by_key(|vended| vended.prefix.len());
        let mut properties = self.properties.clone();
        if let Some(vended) = vended {
            // In whichever spelling: what is lent is never put together with what is there already.
            if vended.properties.iter().any(|(name, value)| lends(name, value)) {
                properties.retain(|name, _| !is_credential(name));
            }
            properties.extend(vended.properties.clone());
        }
        let make = || {
            let mut settings = Settings::resolve(&properties, &self.network.environment)?;
            settings.peer = self.network.peers.get(settings.endpoint_name());
            Ok((properties.clone(), Arc::new(settings)))
        };
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).get_or_make(|known| *known == properties, make)
    }
}

/// What was asked and answered, for `FASTDATA_LOG=debug`.
fn log(object: &Object, asked: &Asked<'_>, answered: &Result<HttpResponse, Fault>, took: Duration) {
    let status = answered.as_ref().map(|response| response.status().as_u16()).ok();
    let fault = match answered {
        Ok(_) => None,
        Err(Fault::Passing { cause, .. }) => Some(shown(cause)),
        Err(Fault::Final(error) | Fault::Refused(error) | Fault::Wanting(error)) => Some(error.message().to_owned()),
    };
    let (method, location, range) = (asked.method.as_str(), shown(&object.location), asked.range.as_deref());
    tracing::debug!(method, location, range, status, fault, ms = took.as_millis() as u64, "asked the store");
}

/// Whether a property opens an S3 store; that none is anonymous, or when a token ends, opens nothing.
fn lends(name: &str, value: &str) -> bool {
    is_credential(name)
        && match name.split_once('.') {
            Some(("s3" | "client", "anonymous")) => value.trim().eq_ignore_ascii_case("true"),
            Some(("s3" | "client", name)) => name != "session-token-expires-at-ms",
            _ => false,
        }
}
