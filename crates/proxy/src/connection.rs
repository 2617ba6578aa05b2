//! One client's connection: its requests one after the other, each to the server behind or answered here.
//!
//! How: while a request's body goes up, the answer may already come down (`100 Continue`, an early refusal), so both are waited for at once.
//! What ends a connection ends it as the fault demands: orderly, or with a reset, which drops what the client has not read yet.

use crate::answer::Answer;
use crate::faults::Fault;
use crate::head::{Framing, Request, Response};
use crate::relay::{Broken, Way, read_head, relay};
use crate::rules::{Rules, Verdict};
use bytes::BytesMut;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// Lets what was written so far reach the client before its connection breaks.
const LAST_BYTES: Duration = Duration::from_millis(50);

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Orderly,
    Reset,
}

pub(crate) async fn serve(mut client: TcpStream, rules: Arc<Mutex<Rules>>) {
    // Without it small answers would wait for acknowledgements; where it cannot be set they do.
    let _ = client.set_nodelay(true);
    let number = lock(&rules).connected();
    let end = {
        let (reader, writer) = client.split();
        Connection { reader, writer, buffer: BytesMut::new(), upstream: None, rules, number }.run().await
    };
    if end == End::Reset {
        let _ = client.set_zero_linger();
    }
}

fn lock(rules: &Mutex<Rules>) -> MutexGuard<'_, Rules> {
    rules.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Upstream {
    stream: TcpStream,
    buffer: BytesMut,
    used: bool,
}

impl Upstream {
    async fn connect(address: SocketAddr) -> io::Result<Upstream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Upstream { stream, buffer: BytesMut::new(), used: false })
    }

    /// Whether the server has closed a connection that nobody used for a while.
    fn is_closed(&self) -> bool {
        match self.stream.try_read(&mut [0u8; 1]) {
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            // Closed, or bytes that nobody asked for.
            Ok(_) => true,
        }
    }
}

struct Connection<'a> {
    reader: ReadHalf<'a>,
    writer: WriteHalf<'a>,
    /// What the client has sent and nobody has taken yet.
    buffer: BytesMut,
    upstream: Option<Upstream>,
    rules: Arc<Mutex<Rules>>,
    number: u64,
}

impl Connection<'_> {
    async fn run(mut self) -> End {
        loop {
            let (request, head) = match read_head(&mut self.reader, &mut self.buffer, Request::parse).await {
                Ok(Some(read)) => read,
                Ok(None) => return End::Orderly,
                Err(_) => return End::Reset,
            };
            let verdict = lock(&self.rules).decide(&request, self.number);
            let mut way = Way::new(verdict.bandwidth, cut(verdict.fault.as_ref()));
            let end = self.exchange(&request, &head, &verdict, &mut way).await;
            lock(&self.rules).ended(verdict.entry, way.sent);
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// `Some` where the connection ends with this request.
    async fn exchange(&mut self, request: &Request, head: &[u8], verdict: &Verdict, way: &mut Way) -> Option<End> {
        if self.left_during(verdict.pause).await {
            return Some(End::Orderly);
        }
        if verdict.fault == Some(Fault::Reset(0)) {
            return Some(End::Reset);
        }
        // Pacing begins with the answer.
        *way = Way::new(verdict.bandwidth, cut(verdict.fault.as_ref()));
        let ended = match &verdict.answer {
            Some(answer) => self.answer(request, answer, verdict, way).await,
            None => self.forward(request, head, verdict, way).await,
        };
        match (ended, &verdict.fault) {
            (Some(end), _) => Some(end),
            (None, Some(Fault::Reset(_))) => {
                tokio::time::sleep(LAST_BYTES).await;
                Some(End::Reset)
            }
            (None, Some(Fault::Truncate(_))) => Some(End::Orderly),
            (None, _) => request.closes.then_some(End::Orderly),
        }
    }

    /// Waits; whether the client has gone meanwhile.
    async fn left_during(&mut self, pause: Duration) -> bool {
        if pause.is_zero() {
            return false;
        }
        let mut byte = [0u8; 1];
        let gone = async {
            if matches!(self.reader.peek(&mut byte).await, Ok(0) | Err(_)) {
                return;
            }
            // There is more to read, so that the client's going does not show.
            std::future::pending().await
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = gone => true,
        }
    }

    async fn answer(&mut self, request: &Request, answer: &Answer, verdict: &Verdict, way: &mut Way) -> Option<End> {
        let mut nowhere = tokio::io::sink();
        let drained = relay(&mut self.reader, &mut self.buffer, &mut nowhere, request.framing, &mut Way::new(None, None)).await;
        if drained.is_err() {
            return Some(End::Orderly);
        }
        lock(&self.rules).answered(verdict.entry, answer.status);
        let body = if request.method == "HEAD" { &[][..] } else { &answer.body };
        let sent = async {
            self.writer.write_all(answer.head().as_bytes()).await?;
            way.send_all(&mut self.writer, body).await
        };
        sent.await.is_err().then_some(End::Orderly)
    }

    async fn forward(&mut self, request: &Request, head: &[u8], verdict: &Verdict, way: &mut Way) -> Option<End> {
        if self.upstream.as_ref().is_some_and(|upstream| upstream.used && upstream.is_closed()) {
            self.upstream = None;
        }
        let upstream = match self.upstream.take() {
            Some(upstream) => upstream,
            None => match Upstream::connect(verdict.upstream).await {
                Ok(upstream) => upstream,
                Err(_) => return Some(End::Reset),
            },
        };
        let Upstream { mut stream, buffer: mut coming, .. } = upstream;
        let outcome = {
            let (mut from, mut to) = stream.split();
            let upload = async {
                to.write_all(head).await.map_err(|_| Broken::Sink)?;
                relay(&mut self.reader, &mut self.buffer, &mut to, request.framing, &mut Way::new(None, None)).await
            };
            let answer = respond(&mut from, &mut coming, &mut self.writer, &request.method, way, &self.rules, verdict.entry);
            let (mut upload, mut answer) = (pin!(upload), pin!(answer));
            let (mut uploading, mut uploaded) = (true, false);
            loop {
                tokio::select! {
                    sent = &mut upload, if uploading => match sent {
                        Ok(()) => (uploading, uploaded) = (false, true),
                        Err(Broken::Source(_)) => return Some(End::Orderly),
                        // A server that takes no more may still answer.
                        Err(Broken::Sink) => uploading = false,
                    },
                    answered = &mut answer => break answered.map(|closes| closes || !uploaded),
                }
            }
        };
        match outcome {
            Ok(true) => Some(End::Orderly),
            Ok(false) if way.is_cut() => None,
            Ok(false) => {
                self.upstream = Some(Upstream { stream, buffer: coming, used: true });
                None
            }
            Err(Broken::Source(error)) if error.kind() == io::ErrorKind::UnexpectedEof && way.sent > 0 => Some(End::Orderly),
            Err(Broken::Source(_)) => Some(End::Reset),
            Err(Broken::Sink) => Some(End::Orderly),
        }
    }
}

fn cut(fault: Option<&Fault>) -> Option<u64> {
    match fault? {
        Fault::Truncate(bytes) | Fault::Reset(bytes) => Some(*bytes as u64),
        _ => None,
    }
}

/// Hands on the answer, interim ones first; whether the server closes its connection after it.
async fn respond(
    from: &mut ReadHalf<'_>,
    coming: &mut BytesMut,
    writer: &mut WriteHalf<'_>,
    method: &str,
    way: &mut Way,
    rules: &Mutex<Rules>,
    entry: u64,
) -> Result<bool, Broken> {
    loop {
        let read = read_head(from, coming, Response::parse).await.map_err(Broken::Source)?;
        let (response, head) = read.ok_or_else(|| Broken::Source(io::ErrorKind::UnexpectedEof.into()))?;
        if response.is_interim() {
            writer.write_all(&head).await.map_err(|_| Broken::Sink)?;
            continue;
        }
        lock(rules).answered(entry, response.status);
        writer.write_all(&head).await.map_err(|_| Broken::Sink)?;
        let framing = response.framing(method);
        relay(from, coming, writer, framing, way).await?;
        return Ok(response.closes || framing == Framing::ToTheEnd);
    }
}
