//! The bytes of one column chunk, front to back: all at once, or window by window while later ones are still being fetched.

use bytes::{Bytes, BytesMut};
use fastdata_types::{Error, Result, Stage};
use tokio::sync::mpsc;

/// What a fetch hands to the decoder: consecutive windows, or the error that ended it.
pub(crate) type Windows = mpsc::Receiver<Result<Bytes>>;

/// A forward-only reader of a chunk. Where a window is missing it waits for it: a fetch runs on other threads and holds its memory
/// already, so the wait ends.
pub(crate) struct ChunkCursor {
    buffered: Bytes,
    /// Bytes of the chunk that are not in `buffered` yet.
    pending: u64,
    windows: Option<Windows>,
}

impl ChunkCursor {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        ChunkCursor { buffered: bytes, pending: 0, windows: None }
    }

    pub(crate) fn windowed(length: u64, windows: Windows) -> Self {
        ChunkCursor { buffered: Bytes::new(), pending: length, windows: Some(windows) }
    }

    pub(crate) fn is_windowed(&self) -> bool {
        self.windows.is_some()
    }

    /// Bytes of the chunk that are left to read.
    pub(crate) fn remaining(&self) -> u64 {
        self.buffered.len() as u64 + self.pending
    }

    /// At least `wanted` bytes from here without moving, or all that are left.
    pub(crate) fn peek(&mut self, wanted: usize) -> Result<&[u8]> {
        self.fill(wanted)?;
        Ok(&self.buffered)
    }

    /// The next `length` bytes; the caller has checked that they remain.
    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes> {
        self.fill(length)?;
        if self.buffered.len() < length {
            return Err(Error::corrupt(Stage::Read, "a column chunk ends within a page"));
        }
        Ok(self.buffered.split_to(length))
    }

    pub(crate) fn skip(&mut self, mut length: u64) -> Result<()> {
        loop {
            let here = length.min(self.buffered.len() as u64);
            drop(self.buffered.split_to(here as usize));
            length -= here;
            if length == 0 {
                return Ok(());
            }
            if self.pending == 0 {
                return Err(Error::corrupt(Stage::Read, "a column chunk ends within a page"));
            }
            self.buffered = self.next_window()?;
        }
    }

    fn fill(&mut self, wanted: usize) -> Result<()> {
        if self.buffered.len() >= wanted || self.pending == 0 {
            return Ok(());
        }
        if self.buffered.is_empty() {
            self.buffered = self.next_window()?;
        }
        if self.buffered.len() >= wanted || self.pending == 0 {
            return Ok(());
        }
        let mut joined = BytesMut::with_capacity(wanted.max(self.buffered.len()));
        joined.extend_from_slice(&self.buffered);
        self.buffered = Bytes::new();
        while joined.len() < wanted && self.pending > 0 {
            joined.extend_from_slice(&self.next_window()?);
        }
        self.buffered = joined.freeze();
        Ok(())
    }

    fn next_window(&mut self) -> Result<Bytes> {
        let cancelled = || Error::new(fastdata_types::ErrorKind::Cancelled, Stage::Read, "the scan was dropped");
        let window = self.windows.as_mut().and_then(|windows| windows.blocking_recv()).ok_or_else(cancelled)??;
        self.pending = self.pending.saturating_sub(window.len() as u64);
        Ok(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windowed(parts: &[&'static [u8]]) -> ChunkCursor {
        let (tx, rx) = mpsc::channel(parts.len());
        for part in parts {
            tx.try_send(Ok(Bytes::from_static(part))).unwrap();
        }
        ChunkCursor::windowed(parts.iter().map(|p| p.len() as u64).sum(), rx)
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
        let mut cursor = ChunkCursor::windowed(10, rx);
        assert_eq!(cursor.take(2).unwrap(), &b"ab"[..]);
        assert!(cursor.take(1).unwrap_err().message().contains("gone"));
        drop(tx);
        assert_eq!(cursor.take(1).unwrap_err().kind(), fastdata_types::ErrorKind::Cancelled);
    }
}
