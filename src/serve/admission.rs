//! Which streams may read: each takes a share of the process's memory budget in one piece, first come, first served.
//!
//! Contract: what all admitted streams hold together stays within the budget, and an admitted stream always progresses, since nothing it needs
//! is taken by another. Those that wait are admitted in turn when shares come back; a stream whose client has stopped reading gives its
//! share up (`stream.rs`). A share too small for a table's smallest step is given back and a larger one awaited, up to the whole budget.

use crate::telemetry::Metrics;
use fastdata_types::budget::Permit;
use fastdata_types::{Error, MemoryBudget, Result, Stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A share is at least this (or the whole budget), at most that.
const SMALLEST: u64 = 4 << 20;
const LARGEST: u64 = 768 << 20;
/// A stream alone takes at most this part of the budget, so that the next ones need not wait for it.
const PARTS: u64 = 8;
/// Messages are no smaller than this, however many streams there are.
const SMALLEST_MESSAGE: usize = 64 << 10;
/// What the messages of all streams that are on their way may come to.
const MESSAGES: usize = 256 << 20;

/// The streams of one server.
pub struct Admission {
    budget: Arc<MemoryBudget>,
    open: AtomicUsize,
    waiting: AtomicUsize,
    most: usize,
    metrics: Metrics,
}

/// A stream that counts as open until it is dropped.
pub struct Open {
    admission: Arc<Admission>,
}

struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Counted(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub fn new(budget: Arc<MemoryBudget>, most: usize, metrics: Metrics) -> Arc<Admission> {
        Arc::new(Admission { budget, open: AtomicUsize::new(0), waiting: AtomicUsize::new(0), most, metrics })
    }

    /// Opens a stream, if there are not too many.
    pub fn open(self: &Arc<Self>) -> Result<Open> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open { admission: Arc::clone(self) };
        if before >= self.most {
            return Err(Error::limit(Stage::Serve, format!("the server has {} streams open, as many as it may", self.most))
                .with_retryable(true)
                .advice("close streams that are not read, or try again later; server.limits.streams sets the number"));
        }
        Ok(open)
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Open {
    /// The share to begin with: smaller, the more streams are open.
    pub fn share(&self) -> u64 {
        let total = self.admission.budget.total();
        let open = self.admission.open.load(Ordering::Relaxed) as u64;
        (total / PARTS.max(open.saturating_mul(2))).clamp(SMALLEST.min(total), LARGEST)
    }

    /// A larger share than one that was too small; `None` where that was all there is.
    pub fn larger(&self, share: u64) -> Option<u64> {
        let total = self.admission.budget.total();
        (share < total).then(|| share.saturating_mul(4).min(total))
    }

    /// Waits for a share.
    pub async fn admit(&self, share: u64) -> Result<Permit> {
        if let Some(permit) = self.admission.budget.try_acquire(share, "a stream's share")? {
            return Ok(permit);
        }
        let _waiting = (Counted::one(&self.admission.waiting), self.admission.metrics.waiting());
        self.admission.budget.acquire(share, "a stream's share").await
    }

    /// Whether another stream waits for what this one holds.
    pub fn wanted(&self) -> bool {
        self.admission.waiting.load(Ordering::Relaxed) > 0
    }

    /// How large a message of this stream may be.
    pub fn message_bytes(&self, most: usize) -> usize {
        let open = self.admission.open.load(Ordering::Relaxed).max(1);
        (MESSAGES / open).clamp(SMALLEST_MESSAGE.min(most), most)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastdata_types::ErrorKind;

    #[tokio::test]
    async fn shares_stay_within_the_budget_and_come_in_turn() {
        let admission = Admission::new(MemoryBudget::new(64 << 20), 1_000, Metrics::new());
        let open: Vec<Open> = (0..100).map(|_| admission.open().unwrap()).collect();
        assert_eq!(open[0].share(), SMALLEST);
        let mut held = Vec::new();
        for stream in &open[..16] {
            held.push(stream.admit(stream.share()).await.unwrap());
        }
        let mut next = Box::pin(open[16].admit(SMALLEST));
        assert!(futures::poll!(next.as_mut()).is_pending() && open[0].wanted());
        held.pop();
        drop(next.await.unwrap());
        assert!(!open[0].wanted());
    }

    #[test]
    fn a_stream_alone_has_a_good_part_and_grows_to_the_whole() {
        let admission = Admission::new(MemoryBudget::new(800 << 20), 10, Metrics::new());
        let stream = admission.open().unwrap();
        assert_eq!(stream.share(), 100 << 20);
        assert_eq!(stream.larger(100 << 20), Some(400 << 20));
        assert_eq!(stream.larger(400 << 20), Some(800 << 20));
        assert_eq!(stream.larger(800 << 20), None);
    }

    #[test]
    fn more_streams_than_the_limit_are_refused_and_counted_right() {
        let admission = Admission::new(MemoryBudget::new(64 << 20), 2, Metrics::new());
        let (a, _b) = (admission.open().unwrap(), admission.open().unwrap());
        let error = admission.open().err().unwrap();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::LimitExceeded, true));
        assert_eq!(admission.streams(), 2);
        drop(a);
        assert!(admission.open().is_ok());
    }
}
