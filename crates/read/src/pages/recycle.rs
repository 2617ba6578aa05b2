//! Buffers of inflated pages, used again: on virtual machines a page fault costs more than inflating the bytes that fill it.

use std::sync::{Arc, Mutex, PoisonError};

/// Smaller buffers come cheaply from the allocator.
const SMALLEST: usize = 32 << 10;
/// Memory that waits for use, beside the scan's budget.
const KEPT_BYTES: usize = 24 << 20;

/// Shared by the row groups of one scan.
#[derive(Debug, Default)]
pub(crate) struct PageBuffers {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl PageBuffers {
    /// An empty buffer for `size` bytes.
    pub(super) fn take(&self, size: usize) -> Vec<u8> {
        if size >= SMALLEST {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = |buffer: &Vec<u8>| (size..=size.saturating_mul(2)).contains(&buffer.capacity());
            // The last one returned is the likeliest to be in a cache still.
            if let Some(at) = idle.iter().rposition(fits) {
                return idle.swap_remove(at);
            }
        }
        Vec::with_capacity(size)
    }

    fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < SMALLEST || buffer.capacity() > KEPT_BYTES {
            return;
        }
        buffer.clear();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = idle.iter().map(Vec::capacity).sum();
        if kept + buffer.capacity() <= KEPT_BYTES {
            idle.push(buffer);
        }
    }
}

/// A page's bytes, which go back when nobody refers to them any more.
pub(super) struct Recycled {
    pub(super) bytes: Vec<u8>,
    pub(super) home: Arc<PageBuffers>,
}

impl AsRef<[u8]> for Recycled {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Recycled {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_page_is_used_again_and_idle_memory_is_bounded() {
        let home = Arc::new(PageBuffers::default());
        let mut bytes = home.take(100_000);
        bytes.resize(100_000, 1);
        let address = bytes.as_ptr();
        drop(Recycled { bytes, home: Arc::clone(&home) });
        let again = home.take(90_000);
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
        for _ in 0..100 {
            drop(Recycled { bytes: vec![0; 1 << 20], home: Arc::clone(&home) });
        }
        assert!(home.idle.lock().unwrap().iter().map(Vec::capacity).sum::<usize>() <= KEPT_BYTES);
    }
}
