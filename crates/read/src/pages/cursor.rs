//! The bytes of one column chunk, front to back: all at once, or window by window while later ones are still being fetched.

use bytes::{Bytes, BytesMut};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// What a fetch hands to the decoder: consecutive windows, or the error that ended it.
pub(crate) type Windows = mpsc::Receiver<Result<Bytes>>;

/// A forward-only reader of a chunk. Where a window is missing it waits for it: a fetch runs on other threads and holds its memory
/// already, so the wait ends; it ends with an error where the row group was given up.
pub(crate) struct ChunkCursor {
    /// What was fetched and not read, in order.
    parts: VecDeque<Bytes>,
    /// Bytes of the chunk that are not in `parts` yet.
    pending: u64,
    windows: Option<Windows>,
    /// Bytes that were taken from `windows`.
    taken: Arc<AtomicU64>,
    /// Bytes that a peek had to join.
    joined: Vec<u8>,
}

impl ChunkCursor {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        ChunkCursor { parts: VecDeque::from([bytes]), pending: 0, windows: None, taken: Arc::default(), joined: Vec::new() }
    }

    /// `taken` tells the fetch's owner how far the reader has come.
    pub(crate) fn windowed(length: u64, windows: Windows, taken: Arc<AtomicU64>) -> Self {
        ChunkCursor { parts: VecDeque::new(), pending: length, windows: Some(windows), taken, joined: Vec::new() }
    }

    pub(crate) fn is_windowed(&self) -> bool {
        self.windows.is_some()
    }

    /// Bytes of the chunk that are left to read.
    pub(crate) fn remaining(&self) -> u64 {
        self.pending + self.buffered() as u64
    }

    /// The next bytes without moving: at least `wanted`, or all that are left.
    pub(crate) fn peek(&mut self, wanted: usize) -> Result<&[u8]> {
        while self.buffered() < wanted && self.pending > 0 {
            self.next_window()?;
        }
        let front = self.parts.front().map_or(0, Bytes::len);
        if front < wanted && front < self.buffered() {
            self.joined.clear();
            for part in &self.parts {
                let left = wanted - self.joined.len();
                self.joined.extend_from_slice(&part[..part.len().min(left)]);
            }
            return Ok(&self.joined);
        }
        Ok(self.parts.front().map_or(&[], |part| part))
    }

    /// The next `length` bytes; the caller has checked that they remain. Bytes that lie in several windows are copied together.
    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes> {
        if self.remaining() < length as u64 {
            return Err(cut_off());
        }
        if self.parts.is_empty() && length > 0 {
            self.next_window()?;
        }
        if let Some(front) = self.parts.front_mut()
            && front.len() >= length
        {
            let taken = front.split_to(length);
            self.drop_empty();
            return Ok(taken);
        }
        let mut joined = BytesMut::with_capacity(length);
        while joined.len() < length {
            let Some(front) = self.parts.front_mut() else {
                self.next_window()?;
                continue;
            };
            let here = front.len().min(length - joined.len());
            joined.extend_from_slice(&front.split_to(here));
            self.drop_empty();
        }
        Ok(joined.freeze())
    }

    pub(crate) fn skip(&mut self, mut length: u64) -> Result<()> {
        if self.remaining() < length {
            return Err(cut_off());
        }
        while length > 0 {
            let Some(front) = self.parts.front_mut() else {
                self.next_window()?;
                continue;
            };
            let here = length.min(front.len() as u64);
            drop(front.split_to(here as usize));
            length -= here;
            self.drop_empty();
        }
        Ok(())
    }

    fn buffered(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    fn drop_empty(&mut self) {
        if self.parts.front().is_some_and(Bytes::is_empty) {
            self.parts.pop_front();
        }
    }

    fn next_window(&mut self) -> Result<()> {
        let cancelled = || Error::new(ErrorKind::Cancelled, Stage::Read, "the scan was dropped");
        let window = self.windows.as_mut().and_then(|windows| windows.blocking_recv()).ok_or_else(cancelled)??;
        if window.is_empty() || window.len() as u64 > self.pending {
            return Err(cut_off());
        }
        self.pending -= window.len() as u64;
        self.taken.fetch_add(window.len() as u64, Ordering::Relaxed);
        self.parts.push_back(window);
        Ok(())
    }
}

fn cut_off() -> Error {
    Error::corrupt(Stage::Read, "a column chunk ends within a page")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windowed(parts: &[&'static [u8]]) -> ChunkCursor {
        let (tx, rx) = mpsc::channel(parts.len());
        for part in parts {
            tx.try_send(Ok(Bytes::from_static(part))).unwrap();
        }
        ChunkCursor::windowed(parts.iter().map(|p| p.len() as u64).sum(), rx, Arc::default())
    }

    #[test]
    fn pages_that_span_windows_come_out_whole() {
        let mut cursor = windowed(&[b"ab", b"cdef", b"g", b"hij"]);
        assert_eq!(&cursor.peek(3).unwrap()[..3], b"abc");
        assert_eq!(cursor.take(4).unwrap(), &b"abcd"[..]);
        assert_eq!(cursor.remaining(), 6);
        cursor.skip(4).unwrap();
        assert_eq!(cursor.peek(100).unwrap(), b"ij");
        assert!(cursor.take(3).is_err());
    }

    #[test]
    fn a_failed_fetch_is_the_error_of_the_read() {
        let (tx, rx) = mpsc::channel(2);
        tx.try_send(Ok(Bytes::from_static(b"ab"))).unwrap();
        tx.try_send(Err(Error::corrupt(Stage::Store, "gone"))).unwrap();
        let mut cursor = ChunkCursor::windowed(10, rx, Arc::default());
        assert_eq!(cursor.take(2).unwrap(), &b"ab"[..]);
        assert!(cursor.take(9).is_err());
        assert!(cursor.take(1).unwrap_err().message().contains("gone"));
        drop(tx);
        assert_eq!(cursor.take(1).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
