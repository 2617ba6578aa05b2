//! Accepts the connections that the Flight server works on.
//!
//! Problem: tonic's own loop has no cap on connections and no time for handshakes, and an attacker needs no more than open sockets.
//! Contract: at most `connections` are open, one more is closed at once. A connection that has not asked for anything yet has
//! until `handshake` for TLS and the HTTP/2 preface and until `first_request` for its first request; of these at most [`UNPROVEN`] are
//! kept, and a newer one takes the place of the oldest, so that silent sockets do not keep clients out. Nothing of that happens in the
//! loop itself. Failures to accept slow the loop down and never end it. Dropping [`Incoming`] closes the socket; connections live on.

use super::connection::{Admitted, Connection, Deadlines, Peer, Wire};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Refusal;
use futures::{Stream, StreamExt};
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

/// Connections without a request that are kept, and half of all connections at most.
pub const UNPROVEN: usize = 256;
/// After this much silence the system asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// The pauses after failures to accept: the process may be out of file descriptors.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// For a peer that is refused in the handshake to read why, and what of its bytes is read meanwhile, in KiB.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_READS: usize = 64;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open at once.
    pub connections: usize,
    /// From acceptance to the end of the TLS handshake and the HTTP/2 preface.
    pub handshake: Duration,
    /// From acceptance to the headers of the first request.
    pub first_request: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections: 1024, handshake: Duration::from_secs(10), first_request: Duration::from_secs(60) }
    }
}

/// The TLS settings for the next connection: asked for each, so that new certificates are used without a restart.
pub type TlsSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// The connections, for `serve_with_incoming_shutdown` of tonic's server.
pub struct Incoming {
    ready: mpsc::Receiver<Connection>,
    accepting: JoinHandle<()>,
}

/// Starts accepting. Must be called on a tokio runtime.
pub fn incoming(listener: TcpListener, limits: Limits, tls: Option<TlsSource>, metrics: Metrics) -> Incoming {
    start(TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE)), limits, tls, metrics)
}

fn start(sockets: impl Sockets, limits: Limits, tls: Option<TlsSource>, metrics: Metrics) -> Incoming {
    let connections = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
    // Every connection holds a place, so the queue never fills.
    let (queue, ready) = mpsc::channel(connections);
    let door = Door {
        places: Arc::new(Semaphore::new(connections)),
        unproven: Arc::new(Unproven { most: UNPROVEN.min(connections / 2).max(1), waiting: Mutex::default() }),
        limits,
        tls,
        metrics,
        queue,
    };
    Incoming { ready, accepting: tokio::spawn(accept(sockets, door)) }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx).map(|next| next.map(Ok))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Those that have asked for nothing yet, oldest first.
pub(super) struct Unproven {
    most: usize,
    waiting: Mutex<(u64, BTreeMap<u64, CancellationToken>)>,
}

/// A place among them, given back when dropped.
pub(super) struct UnprovenPlace {
    number: u64,
    among: Arc<Unproven>,
    /// Cancelled when a newer connection needs the place.
    pub displaced: CancellationToken,
}

impl Unproven {
    fn enter(self: &Arc<Self>) -> UnprovenPlace {
        let displaced = CancellationToken::new();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, places) = &mut *waiting;
        if places.len() >= self.most
            && let Some((_, oldest)) = places.pop_first()
        {
            oldest.cancel();
        }
        *next += 1;
        places.insert(*next, displaced.clone());
        UnprovenPlace { number: *next, among: Arc::clone(self), displaced }
    }
}

impl Drop for UnprovenPlace {
    fn drop(&mut self) {
        self.among.waiting.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.number);
    }
}

/// What the loop needs to let a connection in.
struct Door {
    places: Arc<Semaphore>,
    unproven: Arc<Unproven>,
    limits: Limits,
    tls: Option<TlsSource>,
    metrics: Metrics,
    queue: mpsc::Sender<Connection>,
}

/// What the system gives us: sockets, and failures that pass.
trait Sockets: Stream<Item = io::Result<TcpStream>> + Unpin + Send + 'static {}

impl<S: Stream<Item = io::Result<TcpStream>> + Unpin + Send + 'static> Sockets for S {}

async fn accept(mut sockets: impl Sockets, door: Door) {
    let mut handshakes = JoinSet::new();
    let mut pause = PAUSES.0;
    loop {
        tokio::select! {
            Some(_) = handshakes.join_next(), if !handshakes.is_empty() => {}
            next = sockets.next() => match next {
                Some(Ok(socket)) => {
                    pause = PAUSES.0;
                    door.admit(socket, &mut handshakes);
                }
                Some(Err(error)) => {
                    door.metrics.accept_failed();
                    tracing::warn!("accepting a connection: {error}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                None => return,
            }
        }
    }
}

impl Door {
    fn admit(&self, socket: TcpStream, handshakes: &mut JoinSet<()>) {
        // A peer that is gone already has no address.
        let Ok(address) = socket.peer_addr() else { return };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics.refused(Refusal::Limit);
            return;
        };
        let accepted = Instant::now();
        let deadlines = Deadlines {
            preface: accepted + self.limits.handshake,
            first_request: accepted + self.limits.first_request.max(self.limits.handshake),
        };
        let admitted = Admitted {
            deadlines,
            unproven: self.unproven.enter(),
            place,
            counted: self.metrics.connected(),
            metrics: self.metrics.clone(),
        };
        let Some(tls) = &self.tls else {
            let peer = Peer { address, certificate: None };
            drop(self.queue.try_send(Connection::new(Wire::Plain(socket), peer, admitted)));
            return;
        };
        let (config, queue) = (tls(), self.queue.clone());
        handshakes.spawn(async move {
            let shaken = tokio::select! {
                shaken = shake_hands(config, socket, address, deadlines.preface) => shaken,
                () = admitted.unproven.displaced.cancelled() => Err(Refusal::Displaced),
            };
            match shaken {
                Ok((wire, peer)) => drop(queue.try_send(Connection::new(wire, peer, admitted))),
                Err(why) => admitted.metrics.refused(why),
            }
        });
    }
}

/// The TLS handshake; a client certificate was checked by it.
async fn shake_hands(config: Arc<ServerConfig>, socket: TcpStream, address: SocketAddr, until: Instant) -> Result<(Wire, Peer), Refusal> {
    let accepted = TlsAcceptor::from(config).accept(socket).into_fallible();
    let stream = match tokio::time::timeout_at(until, accepted).await.map_err(|_| Refusal::Late)? {
        Ok(stream) => stream,
        Err((error, socket)) => {
            tracing::debug!("TLS handshake with {address}: {error}");
            let _ = tokio::time::timeout_at(until.min(Instant::now() + FAREWELL), take_leave(socket)).await;
            return Err(Refusal::Handshake);
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| Arc::from(leaf.as_ref()));
    Ok((Wire::Tls(Box::new(stream)), Peer { address, certificate }))
}

/// Lets the peer read why it was refused: a socket that is closed with bytes unread resets the connection, and the alert with it.
async fn take_leave(mut socket: TcpStream) -> io::Result<()> {
    socket.shutdown().await?;
    let mut unread = [0; 1024];
    for _ in 0..FAREWELL_READS {
        if socket.read(&mut unread).await? == 0 {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
