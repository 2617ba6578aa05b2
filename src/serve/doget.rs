//! DoGet below the gRPC library: its response is made of the record batches' own buffers, which a message codec would copy.
//!
//! Contract: as gRPC says: the request is one uncompressed message, the response a series of them and a status in the trailers. Everything
//! else goes on to the service inside.

use super::caller::Caller;
use super::flight::Flight;
use super::status::status_of;
use super::stream::{Next, Outgoing};
use arrow_flight::Ticket;
use fastdata_types::proto::ErrorDetail;
use fastdata_types::{Error, Result, Stage};
use http_body::Frame;
use http_body_util::{BodyExt, Limited, StreamBody};
use prost::Message;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

const PATH: &str = "/arrow.flight.protocol.FlightService/DoGet";
/// Tickets are some hundred bytes and what the caller wrote.
const MOST_REQUEST_BYTES: usize = 1 << 20;
const PREFIX: usize = 5;

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// A service that answers DoGet itself.
#[derive(Clone)]
pub struct DoGet<S> {
    inner: S,
    flight: Arc<Flight>,
}

impl<S> DoGet<S> {
    pub fn new(inner: S, flight: Arc<Flight>) -> Self {
        DoGet { inner, flight }
    }
}

impl<S> Service<Request> for DoGet<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.uri().path() != PATH {
            return Box::pin(self.inner.call(request));
        }
        let flight = Arc::clone(&self.flight);
        Box::pin(async move {
            let answer = async {
                let caller = Caller::of(request.extensions())?;
                let ticket = message(request.into_body()).await?;
                flight.open(&caller, &ticket).await
            };
            Ok(match answer.await {
                Ok(outgoing) => response(outgoing),
                Err(error) => status_of(&error).into_http(),
            })
        })
    }
}

/// The bytes of the ticket in a request.
async fn message(body: Body) -> Result<bytes::Bytes> {
    let wrong = |what: &str| Error::invalid(Stage::Serve, format!("DoGet: {what}")).advice("send one Ticket, uncompressed");
    let read = Limited::new(body, MOST_REQUEST_BYTES).collect().await;
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| {
        // One that was too late has been told why already.
        let told = cause.downcast_ref::<Status>().and_then(|status| ErrorDetail::from_status(status.details()));
        told.map_or_else(|| wrong("the request does not come whole, or is larger than 1 MiB"), ErrorDetail::into_error)
    };
    let bytes = read.map_err(failed)?.to_bytes();
    let Some((prefix, message)) = bytes.split_at_checked(PREFIX) else { return Err(wrong("the request is no gRPC message")) };
    let len = prefix[1..].iter().fold(0usize, |len, byte| len << 8 | usize::from(*byte));
    if prefix[0] != 0 || len != message.len() {
        return Err(wrong("the request is no single uncompressed gRPC message"));
    }
    Ok(Ticket::decode(message).map_err(|_| wrong("the request is no Ticket"))?.ticket)
}

fn response(outgoing: Outgoing) -> Response {
    let frames = futures::stream::unfold(outgoing, |mut outgoing| async move {
        let frame = match outgoing.next().await? {
            Next::Data(bytes) => Frame::data(bytes),
            Next::Status(status) => Frame::trailers(trailers(&status)),
        };
        Some((Ok::<_, Status>(frame), outgoing))
    });
    let mut response = http::Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(http::header::CONTENT_TYPE, tonic::metadata::GRPC_CONTENT_TYPE);
    response
}

fn trailers(status: &Status) -> http::HeaderMap {
    let mut trailers = http::HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // A status whose message is no header value still fails the stream.
        trailers.clear();
        trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from(status.code() as i32));
    }
    trailers
}
