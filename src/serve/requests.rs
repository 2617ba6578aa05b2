//! What every request passes: it is counted and timed, and its body arrives within a time or not at all.
//!
//! Contract: [`Requests`] counts one answer per request, with the gRPC code that the client saw: from the headers of an answer without a
//! body, else from its trailers; an answer that was dropped before its end is `CANCELLED`. An error that a caller is told is counted by its
//! kind here and nowhere else. All requests of the Flight service that are served
//! are small, so a body that is not complete within the given time is a client that holds a stream for nothing: `deadline-exceeded`.

use super::status::status_of;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{Level, Rpc};
use bytes::Bytes;
use fastdata_types::proto::ErrorDetail;
use fastdata_types::{Error, ErrorKind, Stage};
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// For a request to arrive whole, from its headers on.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);

/// For `Server::builder().layer(..)`.
#[derive(Debug, Clone)]
pub struct Requests {
    metrics: Metrics,
    within: Duration,
}

impl Requests {
    pub fn new(metrics: Metrics, within: Duration) -> Requests {
        Requests { metrics, within }
    }
}

impl<S> Layer<S> for Requests {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, requests: self.clone() }
    }
}

#[derive(Debug, Clone)]
pub struct Counting<S> {
    inner: S,
    requests: Requests,
}

impl<S, B> Service<http::Request<tonic::body::Body>> for Counting<S>
where
    S: Service<http::Request<tonic::body::Body>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes>,
{
    type Response = http::Response<Counted<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let mut count = Count::of(self.requests.metrics.clone(), Rpc::of_path(request.uri().path()));
        let (began, within) = (Instant::now(), self.requests.within);
        let request = request.map(|body| tonic::body::Body::new(Timely { body, until: None, began, within }));
        let answered = self.inner.call(request);
        Box::pin(async move {
            let answer = answered.await?;
            count.told(answer.headers());
            let (parts, body) = answer.into_parts();
            count.end_if(body.is_end_stream());
            Ok(http::Response::from_parts(parts, Counted { body: Box::pin(body), count }))
        })
    }
}

/// One request until its answer is at its end.
struct Count {
    metrics: Metrics,
    rpc: Rpc,
    began: Instant,
    code: Option<Code>,
    ended: bool,
    _open: Level,
}

impl Count {
    fn of(metrics: Metrics, rpc: Rpc) -> Count {
        Count { _open: metrics.request_open(), metrics, rpc, began: Instant::now(), code: None, ended: false }
    }

    fn told(&mut self, headers: &http::HeaderMap) {
        let Some(status) = Status::from_header_map(headers) else { return };
        self.code = Some(status.code());
        if let Some(detail) = ErrorDetail::from_status(status.details()) {
            self.metrics.error(detail.into_error().kind());
        }
    }

    fn end_if(&mut self, ended: bool) {
        self.ended |= ended;
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let unsaid = if self.ended { Code::Unknown } else { Code::Cancelled };
        self.metrics.request(self.rpc, self.code.unwrap_or(unsaid), self.began.elapsed());
    }
}

/// The body of an answer.
pub struct Counted<B> {
    body: Pin<Box<B>>,
    count: Count,
}

impl<B: Body<Data = Bytes>> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = self.body.as_mut().poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.count.told(trailers);
                }
            }
            Poll::Ready(_) => self.count.end_if(true),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request, which fails once its time is over.
struct Timely {
    body: tonic::body::Body,
    /// Made when the body first keeps the server waiting; most never do.
    until: Option<Pin<Box<Sleep>>>,
    began: Instant,
    within: Duration,
}

impl Body for Timely {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            return polled;
        }
        let end = tokio::time::Instant::from_std(self.began + self.within);
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        until.as_mut().poll(cx).map(|()| {
            let late =
                Error::new(ErrorKind::DeadlineExceeded, Stage::Serve, format!("the request was not complete within {:?}", self.within))
                    .advice("send the whole request at once");
            Some(Err(status_of(&late)))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
