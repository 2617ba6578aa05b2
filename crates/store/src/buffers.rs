//! Read buffers that are used again.
//!
//! Problem: writing into fresh memory costs a page fault every 4 KiB, on virtual machines as much as the copy itself several times over.
//! Contract: `fill` gives exactly `length` bytes written by the caller's function, or its error; a buffer is never seen with bytes that were
//! not written for this read, and comes back for the next read when the last `Bytes` on it is dropped. At most `KEPT_BYTES` wait for use.

use bytes::Bytes;
use fastdata_types::error::{Error, Result, Stage};
use std::sync::{Arc, Mutex, PoisonError};

/// Smaller buffers come cheaply from the allocator.
const SMALLEST: usize = 256 << 10;
/// Idle memory over all stores of the process, outside of the scan's budget.
const KEPT_BYTES: usize = 32 << 20;

#[derive(Default)]
pub(crate) struct Buffers {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    pub(crate) fn fill(self: &Arc<Self>, length: usize, write: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Bytes> {
        let mut memory = match self.take(length) {
            Some(memory) => memory,
            None => fresh(length)?,
        };
        let written = write(memory.get_mut(..length).unwrap_or_default());
        let lent = Lent { memory, length, home: self.clone() };
        written?;
        Ok(if lent.memory.len() < SMALLEST { Bytes::from(lent.into_memory()) } else { Bytes::from_owner(lent) })
    }

    /// An idle buffer that is large enough and at most a quarter too large.
    fn take(&self, length: usize) -> Option<Vec<u8>> {
        if length < SMALLEST {
            return None;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |memory: &Vec<u8>| (length..=length.saturating_add(length / 4)).contains(&memory.len());
        let (at, _) = idle.iter().enumerate().filter(|(_, memory)| fits(memory)).min_by_key(|(_, memory)| memory.len())?;
        Some(idle.remove(at))
    }

    /// The newest stay: they are the likeliest to be in the processor's caches and to fit what is read now.
    fn give(&self, memory: Vec<u8>) {
        if memory.len() < SMALLEST || memory.len() > KEPT_BYTES {
            return;
        }
        let mut dropped = Vec::new();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(memory);
        let mut kept: usize = idle.iter().map(Vec::len).sum();
        while kept > KEPT_BYTES {
            let oldest = idle.remove(0);
            kept -= oldest.len();
            dropped.push(oldest);
        }
        drop(idle);
    }
}

/// Zeroed by the kernel page by page, so that nothing is written twice. A size that cannot be had is an error, not an abort.
fn fresh(length: usize) -> Result<Vec<u8>> {
    if length > KEPT_BYTES && Vec::<u8>::new().try_reserve_exact(length).is_err() {
        return Err(Error::limit(Stage::Store, format!("a range of {length} bytes does not fit into memory")));
    }
    Ok(vec![0; length])
}

struct Lent {
    memory: Vec<u8>,
    length: usize,
    home: Arc<Buffers>,
}

impl Lent {
    fn into_memory(mut self) -> Vec<u8> {
        std::mem::take(&mut self.memory)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(buffers: &Arc<Buffers>, length: usize, byte: u8) -> Bytes {
        buffers
            .fill(length, |buffer| {
                buffer.fill(byte);
                Ok(())
            })
            .unwrap()
    }

    fn kept(buffers: &Buffers) -> usize {
        buffers.idle.lock().unwrap().iter().map(Vec::len).sum()
    }

    #[test]
    fn a_large_buffer_comes_back_and_is_exactly_as_long_as_asked() {
        let buffers = Arc::new(Buffers::default());
        let first = filled(&buffers, 1 << 20, 1);
        let slice = first.slice(5..9);
        drop(first);
        assert_eq!((kept(&buffers), &slice[..]), (0, &[1u8; 4][..]));
        drop(slice);
        assert_eq!(kept(&buffers), 1 << 20);
        let second = filled(&buffers, (1 << 20) - 7, 2);
        assert_eq!((second.len(), kept(&buffers)), ((1 << 20) - 7, 0));
        assert!(second.iter().all(|byte| *byte == 2));
        assert_eq!(filled(&buffers, 300 << 10, 3).len(), 300 << 10);
    }

    #[test]
    fn idle_memory_is_bounded_and_small_buffers_are_not_kept() {
        let buffers = Arc::new(Buffers::default());
        let many: Vec<Bytes> = (0..40).map(|_| filled(&buffers, 1 << 20, 1)).collect();
        drop(many);
        assert_eq!(kept(&buffers), KEPT_BYTES);
        let other = Arc::new(Buffers::default());
        drop(filled(&other, 100, 1));
        assert_eq!(kept(&other), 0);
    }

    #[test]
    fn a_failed_read_gives_no_bytes() {
        let buffers = Arc::new(Buffers::default());
        assert!(buffers.fill(1 << 20, |_| Err(Error::internal(Stage::Store, "x"))).is_err());
        assert!(buffers.fill(usize::MAX, |_| Ok(())).is_err());
    }
}
