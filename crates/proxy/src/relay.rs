//! Bodies on their way: where they end, how fast they go, and where they break off.
//!
//! Contract: exactly the bytes of one body are handed on, chunk heads included, and the next message stays in the buffer.

use crate::head::{Framing, invalid};
use bytes::{Buf, BytesMut};
use std::io;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const BUFFER: usize = 256 << 10;
/// A paced body goes on in so many pieces a second.
const PIECES_PER_SECOND: u64 = 100;

/// A head and its length, once it is whole.
type Parsed<T> = io::Result<Option<(T, usize)>>;

/// Reads until `parse` finds a whole head, and gives it with its bytes; `None` where the other end closed before the first byte.
pub(crate) async fn read_head<T>(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    parse: fn(&[u8]) -> Parsed<T>,
) -> io::Result<Option<(T, BytesMut)>> {
    loop {
        if !buffer.is_empty()
            && let Some((head, length)) = parse(buffer)?
        {
            return Ok(Some((head, buffer.split_to(length))));
        }
        if buffer.len() > crate::head::LONGEST {
            return Err(invalid("the head of a message is too long"));
        }
        if fill(source, buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

async fn fill(source: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<usize> {
    buffer.reserve(BUFFER);
    source.read_buf(buffer).await
}

/// What becomes of a body on its way.
#[derive(Debug)]
pub(crate) struct Way {
    bytes_per_second: Option<u64>,
    /// It breaks off after so many bytes.
    cut: Option<u64>,
    started: Instant,
    pub(crate) sent: u64,
}

impl Way {
    pub(crate) fn new(bytes_per_second: Option<u64>, cut: Option<u64>) -> Way {
        Way { bytes_per_second, cut, started: Instant::now(), sent: 0 }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.is_some_and(|cut| self.sent >= cut)
    }

    /// How many of so many bytes may go on at once.
    fn window(&self, available: usize) -> usize {
        let paced = self.bytes_per_second.map_or(available, |speed| available.min((speed / PIECES_PER_SECOND).max(1) as usize));
        self.cut.map_or(paced, |cut| paced.min(cut.saturating_sub(self.sent) as usize))
    }

    pub(crate) async fn send(&mut self, sink: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
        sink.write_all(bytes).await?;
        self.sent += bytes.len() as u64;
        if let Some(speed) = self.bytes_per_second {
            let due = Duration::from_secs_f64(self.sent as f64 / speed.max(1) as f64);
            tokio::time::sleep(due.saturating_sub(self.started.elapsed())).await;
        }
        Ok(())
    }

    /// Bytes that are at hand, up to where they break off.
    pub(crate) async fn send_all(&mut self, sink: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() && !self.is_cut() {
            let (piece, rest) = bytes.split_at(self.window(bytes.len()));
            self.send(sink, piece).await?;
            bytes = rest;
        }
        Ok(())
    }
}

/// Which end of the way failed.
#[derive(Debug)]
pub(crate) enum Broken {
    Source(io::Error),
    Sink,
}

/// Hands on one body, whose first bytes may be in the buffer; nothing after it. Ends early where the way breaks off.
pub(crate) async fn relay(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    sink: &mut (impl AsyncWrite + Unpin),
    framing: Framing,
    way: &mut Way,
) -> Result<(), Broken> {
    let mut extent = Extent::new(framing);
    while !extent.is_whole() && !way.is_cut() {
        if buffer.is_empty() && fill(source, buffer).await.map_err(Broken::Source)? == 0 {
            return match framing {
                Framing::ToTheEnd => Ok(()),
                _ => Err(Broken::Source(io::ErrorKind::UnexpectedEof.into())),
            };
        }
        let window = way.window(buffer.len());
        let length = extent.take(buffer.get(..window).unwrap_or_default()).map_err(Broken::Source)?;
        let piece = buffer.get(..length).unwrap_or_default();
        way.send(sink, piece).await.map_err(|_| Broken::Sink)?;
        buffer.advance(length);
    }
    Ok(())
}

/// How much of what arrives belongs to the body.
#[derive(Debug)]
enum Extent {
    Rest(u64),
    ToTheEnd,
    Chunked(Chunk),
}

/// Where in a chunked body the next byte lies (RFC 9112, Chunked Transfer Coding).
#[derive(Debug, Clone, Copy)]
enum Chunk {
    Size(u64),
    Extension(u64),
    Data(u64),
    DataEnd,
    Trailer { empty: bool },
    Done,
}

impl Extent {
    fn new(framing: Framing) -> Extent {
        match framing {
            Framing::None => Extent::Rest(0),
            Framing::Length(length) => Extent::Rest(length),
            Framing::ToTheEnd => Extent::ToTheEnd,
            Framing::Chunked => Extent::Chunked(Chunk::Size(0)),
        }
    }

    fn is_whole(&self) -> bool {
        matches!(self, Extent::Rest(0) | Extent::Chunked(Chunk::Done))
    }

    /// How many of these bytes are the body's.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Extent::ToTheEnd => Ok(bytes.len()),
            Extent::Rest(rest) => {
                let length = (bytes.len() as u64).min(*rest);
                *rest -= length;
                Ok(length as usize)
            }
            Extent::Chunked(chunk) => chunk.take(bytes),
        }
    }
}

impl Chunk {
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            *self = match (*self, byte) {
                (Chunk::Done, _) => return Ok(at),
                (Chunk::Data(rest), _) => {
                    let length = rest.min((bytes.len() - at) as u64);
                    at += length as usize;
                    *self = if length == rest { Chunk::DataEnd } else { Chunk::Data(rest - length) };
                    continue;
                }
                (Chunk::Size(0) | Chunk::Extension(0), b'\n') => Chunk::Trailer { empty: true },
                (Chunk::Size(size) | Chunk::Extension(size), b'\n') => Chunk::Data(size),
                (Chunk::Size(size), b'\r') => Chunk::Size(size),
                (Chunk::Size(size), b';' | b' ' | b'\t') | (Chunk::Extension(size), _) => Chunk::Extension(size),
                (Chunk::Size(size), digit) => {
                    let digit = char::from(digit).to_digit(16).ok_or_else(|| invalid("the size of a chunk is no number"))?;
                    let size = size.checked_mul(16).and_then(|size| size.checked_add(digit.into()));
                    Chunk::Size(size.ok_or_else(|| invalid("the size of a chunk is too large"))?)
                }
                (Chunk::DataEnd, b'\r') => Chunk::DataEnd,
                (Chunk::DataEnd, b'\n') => Chunk::Size(0),
                (Chunk::DataEnd, _) => return Err(invalid("a chunk is longer than its size")),
                (Chunk::Trailer { empty: true }, b'\n') => Chunk::Done,
                (Chunk::Trailer { empty }, b'\r') => Chunk::Trailer { empty },
                (Chunk::Trailer { .. }, byte) => Chunk::Trailer { empty: byte == b'\n' },
            };
            at += 1;
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"5\r\nhello\r\n1F;name=value\r\n0123456789\r\n0123456789\r\n012345\n\r\n0\r\ntrailer: x\r\n\r\nGET /next";

    #[test]
    fn the_end_of_a_chunked_body_is_found_in_any_pieces() {
        let body = CHUNKED.len() - b"GET /next".len();
        for piece in 1..CHUNKED.len() {
            let mut extent = Extent::new(Framing::Chunked);
            let taken: usize = CHUNKED.chunks(piece).map(|bytes| extent.take(bytes).unwrap()).sum();
            assert!(extent.is_whole());
            assert_eq!(taken, body, "in pieces of {piece}");
        }
        for broken in [&b"x\r\n"[..], b"2\r\nabc\r\n", b"11112222333344445\r\n"] {
            assert!(Extent::new(Framing::Chunked).take(broken).is_err(), "{broken:?}");
        }
    }

    #[tokio::test]
    async fn a_body_goes_no_faster_than_its_way_and_breaks_off_where_told() {
        let bytes = vec![7u8; 300_000];
        let mut way = Way::new(Some(1_000_000), Some(100_000));
        let (mut sink, mut buffer, started) = (Vec::new(), BytesMut::new(), Instant::now());
        relay(&mut bytes.as_slice(), &mut buffer, &mut sink, Framing::Length(300_000), &mut way).await.unwrap();
        assert_eq!((sink.len(), way.sent, way.is_cut()), (100_000, 100_000, true));
        assert!(started.elapsed() >= Duration::from_millis(100), "{:?}", started.elapsed());
    }
}
