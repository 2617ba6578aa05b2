//! Latency, errors and short reads, by a seed.

use async_trait::async_trait;
use bytes::Bytes;
use fastdata_types::store::{Store, StoreCounters};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What goes wrong, and how often.
#[derive(Debug, Clone)]
pub struct Faults {
    pub seed: u64,
    /// Only locations that contain this text; all where it is empty.
    pub only: String,
    /// Each read waits for a time in this range first.
    pub latency: Option<Range<Duration>>,
    /// Chance that a read fails, 0 to 1.
    pub errors: f64,
    pub error_kind: ErrorKind,
    /// Chance that a read returns fewer bytes than it was asked for, as a broken store might: the callers' checks must notice.
    pub short_reads: f64,
    /// Reads that go well before any trouble starts.
    pub after: u64,
}

impl Default for Faults {
    /// No trouble at all.
    fn default() -> Self {
        Faults { seed: 0, only: String::new(), latency: None, errors: 0.0, error_kind: ErrorKind::Unavailable, short_reads: 0.0, after: 0 }
    }
}

#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    faults: Faults,
    rng: Mutex<StdRng>,
    reads: AtomicU64,
    made: AtomicU64,
}

impl FaultStore {
    pub fn new(inner: Arc<dyn Store>, faults: Faults) -> Arc<Self> {
        let rng = Mutex::new(StdRng::seed_from_u64(faults.seed));
        Arc::new(FaultStore { inner, faults, rng, reads: AtomicU64::new(0), made: AtomicU64::new(0) })
    }

    /// Errors and short reads so far, so that a test can tell that it met some.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Waits and fails as the dice say. `true`: the bytes are to be cut short.
    async fn trouble(&self, location: &str) -> Result<bool> {
        let nth = self.reads.fetch_add(1, Ordering::Relaxed);
        if !location.contains(&self.faults.only) || nth < self.faults.after {
            return Ok(false);
        }
        let (latency, fails, short) = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            let latency = self.faults.latency.clone().filter(|range| !range.is_empty()).map(|range| rng.random_range(range));
            (latency, rng.random_bool(self.faults.errors), rng.random_bool(self.faults.short_reads))
        };
        if let Some(latency) = latency {
            tokio::time::sleep(latency).await;
        }
        if fails || short {
            self.made.fetch_add(1, Ordering::Relaxed);
        }
        match fails {
            true => Err(Error::new(self.faults.error_kind, Stage::Store, format!("{location}: injected fault")).advice("this is a test")),
            false => Ok(short),
        }
    }
}

fn shortened(bytes: Bytes, short: bool) -> Bytes {
    if short { bytes.slice(..bytes.len() / 2) } else { bytes }
}

#[async_trait]
impl Store for FaultStore {
    fn spelling(&self, location: &str) -> String {
        self.inner.spelling(location)
    }

    fn check(&self, location: &str) -> Result<()> {
        self.inner.check(location)
    }

    fn is_far(&self, location: &str) -> bool {
        self.inner.is_far(location)
    }

    async fn size(&self, location: &str) -> Result<u64> {
        self.trouble(location).await?;
        self.inner.size(location).await
    }

    async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let short = self.trouble(location).await?;
        let read = self.inner.read_ranges(location, ranges).await?;
        Ok(read.into_iter().map(|bytes| shortened(bytes, short)).collect())
    }

    async fn read_all(&self, location: &str, limit: u64) -> Result<Bytes> {
        let short = self.trouble(location).await?;
        Ok(shortened(self.inner.read_all(location, limit).await?, short))
    }

    async fn read_tail(&self, location: &str, length: u64) -> Result<(Bytes, u64)> {
        let short = self.trouble(location).await?;
        let (bytes, size) = self.inner.read_tail(location, length).await?;
        Ok((shortened(bytes, short), size))
    }

    async fn list(&self, directory: &str) -> Result<Vec<String>> {
        self.trouble(directory).await?;
        self.inner.list(directory).await
    }

    fn counters(&self) -> StoreCounters {
        self.inner.counters()
    }
}
