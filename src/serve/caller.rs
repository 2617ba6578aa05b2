//! Who calls: found out once for each request, before a service sees it.
//!
//! Contract: a request of the Flight service carries a [`Caller`] when it gets to it; one whose caller is not known is answered here. Health checks
//! need no caller: a load balancer has no token. A service that panics fails its request and nothing else.

use super::connection::Peer;
use super::status::status_of;
use crate::auth::{Authenticator, Identity, Policy};
use fastdata_types::{Access, Error, Result, Stage};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Extensions;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tower::Service;

const HEALTH: &str = "/grpc.health.v1.Health/";

#[derive(Debug, Clone)]
pub struct Caller {
    pub identity: Identity,
    pub access: Arc<dyn Access>,
    pub peer: Option<SocketAddr>,
}

impl Caller {
    pub fn of(extensions: &Extensions) -> Result<Caller> {
        extensions.get::<Caller>().cloned().ok_or_else(|| Error::internal(Stage::Serve, "a request without a caller"))
    }

    pub fn principal(&self) -> &str {
        &self.identity.principal
    }
}

/// How callers are known and what they may see.
pub struct Door {
    pub authenticator: Authenticator,
    pub policy: Policy,
}

impl Door {
    async fn identify(&self, headers: &http::HeaderMap, peer: Option<&Peer>) -> Result<Caller> {
        let certificate = peer.and_then(|peer| peer.certificate.as_deref());
        let identity = self.authenticator.identify(headers, certificate).await?;
        Ok(Caller { access: self.policy.of(&identity), identity, peer: peer.map(|peer| peer.address) })
    }
}

/// A service that only known callers get to.
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    door: Arc<Door>,
}

impl<S> Guarded<S> {
    pub fn new(inner: S, door: Arc<Door>) -> Self {
        Guarded { inner, door }
    }
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // The clone that was polled ready is the one to call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let door = Arc::clone(&self.door);
        Box::pin(async move {
            if !request.uri().path().starts_with(HEALTH) {
                let peer = request.extensions().get::<Peer>().cloned();
                match door.identify(request.headers(), peer.as_ref()).await {
                    Ok(caller) => drop(request.extensions_mut().insert(caller)),
                    Err(error) => return Ok(status_of(&error).into_http()),
                }
            }
            match AssertUnwindSafe(async move { inner.call(request).await }).catch_unwind().await {
                Ok(answer) => answer,
                Err(_) => {
                    let error = Error::internal(Stage::Serve, "the request panicked; the server's log says where");
                    Ok(status_of(&error).into_http())
                }
            }
        })
    }
}
