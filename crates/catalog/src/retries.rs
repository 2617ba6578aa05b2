//! How often the requests of one operation were made again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One count for all clones. What several operations wait for together is counted for the one that began it.
#[derive(Clone, Default)]
pub struct Retries(Arc<AtomicU64>);

impl Retries {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
