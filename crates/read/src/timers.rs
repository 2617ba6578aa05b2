//! Where the time of a scan goes.

use fastdata_types::stats::StatsCollector;
use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Adds to the figures of one scan.
#[derive(Debug)]
pub(crate) struct Timers {
    stats: Arc<StatsCollector>,
    /// Fetches under way, and since when there has been one: overlapping fetches count once.
    fetching: Mutex<(u64, Option<Instant>)>,
}

impl Timers {
    pub(crate) fn new(stats: Arc<StatsCollector>) -> Self {
        Timers { stats, fetching: Mutex::new((0, None)) }
    }

    pub(crate) async fn storage<T>(&self, fetch: impl Future<Output = T>) -> T {
        let _running = Fetching::start(self);
        fetch.await
    }

    pub(crate) fn timed<T>(&self, counter: &AtomicU64, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        StatsCollector::add(counter, start.elapsed().as_micros() as u64);
        result
    }
}

struct Fetching<'a>(&'a Timers);

impl<'a> Fetching<'a> {
    fn start(timers: &'a Timers) -> Self {
        let mut fetching = timers.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.0 += 1;
        fetching.1.get_or_insert_with(Instant::now);
        Fetching(timers)
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        let mut fetching = self.0.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.0 -= 1;
        if fetching.0 == 0
            && let Some(since) = fetching.1.take()
        {
            StatsCollector::add(&self.0.stats.storage_us, since.elapsed().as_micros() as u64);
        }
    }
}
