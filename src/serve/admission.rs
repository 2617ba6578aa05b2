//! Which streams may read: each takes a share of the process's memory budget in one piece, first come, first served.
//!
//! Contract: what all admitted streams hold together stays within the budget, and an admitted stream always progresses, since nothing it needs
//! is taken by another. Those that wait are admitted in turn when shares come back; a stream whose client has stopped reading gives its
//! share up (`stream.rs`), one that had it for long takes turns, and one whose share is out of proportion changes it for a fair one. A share too small for a table's smallest step is
//! given back and a larger one awaited, up to the whole budget.

use crate::telemetry::Metrics;
use fastdata_types::budget::Permit;
use fastdata_types::{Error, MemoryBudget, Result, Stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A share is at least this (or the whole budget), at most that.
const SMALLEST: u64 = 4 << 20;
const LARGEST: u64 = 768 << 20;
/// A stream alone takes at most this part of the budget, so that the next ones need not wait for it.
const PARTS: u64 = 4;
/// A share that is so many times the fair one is given back where others wait, one that is so small a part of it where nobody does.
const TOO_LARGE: u64 = 2;
const TOO_SMALL: u64 = 4;
/// Changing a share costs reading a block again: not before a stream had it for this long.
const SHRINK_AFTER: Duration = Duration::from_millis(200);
const GROW_AFTER: Duration = Duration::from_secs(10);
/// Where others wait, a stream that read for this long lets them go first at the next good place.
const TURN: Duration = Duration::from_secs(10);
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

    /// Whether a share that was held for a time is out of proportion by now.
    pub fn is_unfair(&self, share: u64, held: Duration) -> bool {
        match self.wanted() {
            true => held >= SHRINK_AFTER && share > self.share().saturating_mul(TOO_LARGE),
            false => held >= GROW_AFTER && share.saturating_mul(TOO_SMALL) <= self.share(),
        }
    }

    /// Whether it is others' turn after a share was held for a time.
    pub fn is_over(&self, held: Duration) -> bool {
        held >= TURN && self.wanted()
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
        assert_eq!(stream.share(), 200 << 20);
        assert_eq!(stream.larger(100 << 20), Some(400 << 20));
        assert_eq!(stream.larger(400 << 20), Some(800 << 20));
        assert_eq!(stream.larger(800 << 20), None);
    }

    #[tokio::test]
    async fn shares_that_are_out_of_proportion_are_changed() {
        let admission = Admission::new(MemoryBudget::new(80 << 20), 100, Metrics::new());
        let first = admission.open().unwrap();
        let large = first.admit(first.share()).await.unwrap();
        assert_eq!(large.bytes(), 20 << 20);
        let others: Vec<Open> = (0..9).map(|_| admission.open().unwrap()).collect();
        assert!(!first.is_unfair(large.bytes(), GROW_AFTER), "nobody waits");
        let rest = others[0].admit(60 << 20).await.unwrap();
        let mut waiting = Box::pin(others[1].admit(others[1].share()));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert!(!first.is_unfair(large.bytes(), Duration::ZERO), "it was only just taken");
        assert!(first.is_over(TURN) && !first.is_over(SHRINK_AFTER));
        assert!(first.is_unfair(large.bytes(), SHRINK_AFTER) && !first.is_unfair(first.share(), GROW_AFTER));
        drop(waiting);
        drop((rest, others));
        assert!(first.is_unfair(4 << 20, GROW_AFTER) && !first.is_unfair(4 << 20, SHRINK_AFTER));
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
