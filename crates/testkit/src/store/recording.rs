//! Every read, in the order in which they were asked for.

use async_trait::async_trait;
use bytes::Bytes;
use fastdata_types::Result;
use fastdata_types::store::{Store, StoreCounters};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// One call that reached the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Size(String),
    /// One per range of a call.
    Range(String, Range<u64>),
    All(String),
    /// The last so many bytes.
    Tail(String, u64),
    List(String),
}

impl Access {
    pub fn location(&self) -> &str {
        match self {
            Access::Size(l) | Access::Range(l, _) | Access::All(l) | Access::Tail(l, _) | Access::List(l) => l,
        }
    }
}

#[derive(Debug)]
pub struct RecordingStore {
    inner: Arc<dyn Store>,
    log: Mutex<Vec<Access>>,
}

impl RecordingStore {
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(RecordingStore { inner, log: Mutex::new(Vec::new()) })
    }

    /// What was asked for since the last call of this.
    pub fn take(&self) -> Vec<Access> {
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, access: Access) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(access);
    }
}

#[async_trait]
impl Store for RecordingStore {
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
        self.note(Access::Size(location.to_owned()));
        self.inner.size(location).await
    }

    async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        ranges.iter().for_each(|range| self.note(Access::Range(location.to_owned(), range.clone())));
        self.inner.read_ranges(location, ranges).await
    }

    async fn read_all(&self, location: &str, limit: u64) -> Result<Bytes> {
        self.note(Access::All(location.to_owned()));
        self.inner.read_all(location, limit).await
    }

    async fn read_tail(&self, location: &str, length: u64) -> Result<(Bytes, u64)> {
        self.note(Access::Tail(location.to_owned(), length));
        self.inner.read_tail(location, length).await
    }

    async fn list(&self, directory: &str) -> Result<Vec<String>> {
        self.note(Access::List(directory.to_owned()));
        self.inner.list(directory).await
    }

    fn counters(&self) -> StoreCounters {
        self.inner.counters()
    }
}
