//! The admin port: `/healthz`, `/readyz` and `/metrics` over plain HTTP/1.1, on a listener of its own.
//!
//! Contract: it answers whatever the Flight port does, and tells nothing about tables or callers. A connection takes one request and lives
//! for [`LIFE`] at most, at most [`CONNECTIONS`] are open, so slow clients cost little. There is no authorisation here: it listens on
//! loopback unless told otherwise.

use super::{Phase, Telemetry};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use axum::{Router, middleware};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// From its acceptance to its end, whatever a client does with a connection.
pub const LIFE: Duration = Duration::from_secs(10);
/// Connections that are open at once; more wait to be accepted.
pub const CONNECTIONS: usize = 64;
/// How long the loop pauses where the system has no room for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens the admin socket.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        Error::new(ErrorKind::Unavailable, Stage::Serve, format!("listening on {address} for the admin port: {e}"))
            .with_retryable(false)
            .advice("choose another --admin HOST:PORT; port 0 takes a free one")
    })
}

/// Answers until it is dropped.
pub async fn serve(listener: TcpListener, telemetry: Telemetry) {
    serve_for(LIFE, listener, telemetry).await;
}

async fn serve_for(life: Duration, listener: TcpListener, telemetry: Telemetry) {
    let gate = Gate { listener, life, room: Arc::new(Semaphore::new(CONNECTIONS)) };
    // It never ends by itself: accept errors stay in the gate.
    let _ = axum::serve(gate, router(telemetry)).await;
}

fn router(telemetry: Telemetry) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready_or_why_not))
        .route("/metrics", get(metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n"))
        .layer(middleware::map_response(close))
        .with_state(telemetry)
}

async fn ready_or_why_not(State(telemetry): State<Telemetry>) -> Response {
    let phase = telemetry.readiness.phase();
    let status = if phase == Phase::Serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{}\n", phase.name())).into_response()
}

async fn metrics(State(telemetry): State<Telemetry>) -> Response {
    ([(CONTENT_TYPE, super::metrics::CONTENT_TYPE)], telemetry.metrics.render()).into_response()
}

/// One request a connection, and no cache keeps an answer.
async fn close(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Accepts while there is room, and gives every connection its end.
struct Gate {
    listener: TcpListener,
    life: Duration,
    room: Arc<Semaphore>,
}

impl Listener for Gate {
    type Io = Mortal;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Mortal, SocketAddr) {
        loop {
            let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { return std::future::pending().await };
            match self.listener.accept().await {
                Ok((stream, peer)) => return (Mortal { stream, end: Box::pin(tokio::time::sleep(self.life)), _room: room }, peer),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once its time is over.
struct Mortal {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

impl Mortal {
    fn alive<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            ready!(self.end.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncRead for Mortal {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.alive(cx, polled)
    }
}

impl AsyncWrite for Mortal {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.alive(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
