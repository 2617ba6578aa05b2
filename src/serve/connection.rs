//! One connection of the Flight server: the bytes, who is at the other end, and the watch over its first moments.
//!
//! Problem: hyper waits for ever for a preface and for a first request. Contract: until the headers of the first request are complete the
//! bytes that arrive are followed, frame by frame (RFC 9113, sections 3.4 and 4.1), and the connection fails when its time is over
//! or a newer one takes its place. From then on it is a plain pipe. Headers of later requests need no time of their own: between the frames of
//! one header block no other frame may be sent (section 6.10), so a client that stops there cannot answer the keep-alive ping.

use super::listen::UnprovenPlace;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{Level, Refusal};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

/// Who is at the other end: an extension of every request of the connection.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// The client's certificate as DER, where it showed one that the TLS settings accept.
    pub certificate: Option<Arc<[u8]>>,
}

pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// For TLS, the preface and the first SETTINGS frame.
    pub preface: Instant,
    /// For the headers of the first request.
    pub first_request: Instant,
}

/// What a connection holds from its acceptance on.
pub(super) struct Admitted {
    pub deadlines: Deadlines,
    pub unproven: UnprovenPlace,
    pub place: OwnedSemaphorePermit,
    pub counted: Level,
    pub metrics: Metrics,
}

pub struct Connection {
    wire: Wire,
    peer: Peer,
    watch: Option<Watch>,
    _place: OwnedSemaphorePermit,
    _counted: Level,
}

impl Connection {
    pub(super) fn new(wire: Wire, peer: Peer, admitted: Admitted) -> Connection {
        let Admitted { deadlines, unproven, place, counted, metrics } = admitted;
        let watch = Watch {
            displaced: Box::pin(unproven.displaced.clone().cancelled_owned()),
            until: Box::pin(tokio::time::sleep_until(deadlines.preface)),
            first_request: deadlines.first_request,
            opening: Opening::default(),
            _unproven: unproven,
            metrics,
        };
        Connection { wire, peer, watch: Some(watch), _place: place, _counted: counted }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// Over a connection that has asked for nothing yet.
struct Watch {
    displaced: Pin<Box<WaitForCancellationFutureOwned>>,
    until: Pin<Box<Sleep>>,
    first_request: Instant,
    opening: Opening,
    _unproven: UnprovenPlace,
    metrics: Metrics,
}

impl Watch {
    /// Why the connection must end, if it must. Registers for being woken when that changes.
    fn verdict(&mut self, cx: &mut Context<'_>) -> Option<Refusal> {
        if self.displaced.as_mut().poll(cx).is_ready() {
            return Some(Refusal::Displaced);
        }
        self.until.as_mut().poll(cx).is_ready().then_some(Refusal::Late)
    }

    /// Follows what arrived; true once the first request's headers are complete.
    fn saw(&mut self, bytes: &[u8]) -> bool {
        let had_settings = self.opening.settings;
        self.opening.feed(bytes);
        if self.opening.settings && !had_settings {
            self.until.as_mut().reset(self.first_request);
        }
        self.opening.request
    }
}

/// How far the opening of an HTTP/2 connection has come. Only lengths, types and flags of frames are looked at: whether they
/// are right is for the one that reads them.
#[derive(Debug, Default)]
struct Opening {
    preface: usize,
    header: [u8; FRAME_HEADER],
    header_bytes: usize,
    /// Of the current frame's payload.
    left: usize,
    /// The first SETTINGS frame is here.
    settings: bool,
    /// The first header block is here.
    request: bool,
}

const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

impl Opening {
    fn feed(&mut self, mut bytes: &[u8]) {
        let preface = bytes.len().min(PREFACE - self.preface);
        self.preface += preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() && !self.request {
            let wanted = if self.header_bytes < FRAME_HEADER { FRAME_HEADER - self.header_bytes } else { self.left };
            let (here, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            if self.header_bytes < FRAME_HEADER {
                self.header[self.header_bytes..self.header_bytes + here.len()].copy_from_slice(here);
                self.header_bytes += here.len();
                if self.header_bytes == FRAME_HEADER {
                    self.left = usize::from(self.header[0]) << 16 | usize::from(self.header[1]) << 8 | usize::from(self.header[2]);
                }
            } else {
                self.left -= here.len();
            }
            if self.header_bytes == FRAME_HEADER && self.left == 0 {
                self.frame_ended();
            }
        }
    }

    fn frame_ended(&mut self) {
        self.header_bytes = 0;
        let (kind, flags) = (self.header[3], self.header[4]);
        self.settings |= kind == SETTINGS;
        self.request |= matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0;
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let connection = &mut *self;
        if let Some(watch) = &mut connection.watch
            && let Some(why) = watch.verdict(cx)
        {
            watch.metrics.refused(why);
            connection.watch = None;
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let polled = match &mut connection.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if let Some(watch) = &mut connection.watch
            && watch.saw(&buffer.filled()[before..])
        {
            connection.watch = None;
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut bytes = (payload as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.resize(FRAME_HEADER + payload, 0xff);
        bytes
    }

    #[test]
    fn an_opening_is_followed_however_it_is_cut() {
        let settings = [vec![b'P'; PREFACE], frame(SETTINGS, 0, 12)].concat();
        let request = [frame(8, 0, 4), frame(HEADERS, 0, 300), frame(CONTINUATION, END_HEADERS, 0)].concat();
        let whole = [settings.clone(), request].concat();
        for step in 1..whole.len() {
            let mut opening = Opening::default();
            let mut fed = 0;
            for bytes in whole.chunks(step) {
                opening.feed(bytes);
                fed += bytes.len();
                assert_eq!(opening.settings, fed >= settings.len(), "{fed} bytes by {step}");
                assert_eq!(opening.request, fed == whole.len(), "{fed} bytes by {step}");
            }
        }
    }
}
