//! What a scan cost, and where the time went.

use crate::store::StoreCounters;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One struct for every outlet: `--stats`, the log, the end record and metrics. Times are in microseconds; `decode`,
/// `filter` and `delete` are summed over threads, the others are wall time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScanStats {
    pub rows: u64,
    pub batches: u64,
    /// Bytes of the Arrow batches that were returned.
    pub bytes_returned: u64,
    /// Rows that were decoded before filters and deletes.
    pub rows_decoded: u64,
    pub rows_deleted: u64,
    pub rows_filtered: u64,
    pub files_read: u64,
    pub row_groups_read: u64,
    /// Row groups that their statistics or the limit ruled out.
    pub row_groups_pruned: u64,
    pub delete_files_read: u64,
    pub requests: u64,
    pub bytes_fetched: u64,
    /// Requests that were repeated after a fault: to the store, to the catalog, to a server.
    pub retries: u64,
    /// Requests that were sent beside one that was late.
    pub hedges: u64,
    pub planning_us: u64,
    pub storage_us: u64,
    pub decode_us: u64,
    pub filter_us: u64,
    pub delete_us: u64,
    /// Waiting for the consumer to take a batch.
    pub consumer_us: u64,
    pub total_us: u64,
    /// Making messages of batches; only a server does.
    pub wire_us: u64,
    /// From the start of reading, planning done, to the first batch with rows; 0 where none came.
    pub first_batch_us: u64,
}

impl ScanStats {
    /// The figures without those that count what was read besides the rows returned: they would tell of rows that a policy hides.
    pub fn without_hidden(&self) -> ScanStats {
        ScanStats {
            rows_decoded: 0,
            rows_deleted: 0,
            rows_filtered: 0,
            files_read: 0,
            row_groups_read: 0,
            row_groups_pruned: 0,
            delete_files_read: 0,
            requests: 0,
            bytes_fetched: 0,
            ..self.clone()
        }
    }
}

/// What a store did, as a part of what a scan cost.
impl From<StoreCounters> for ScanStats {
    fn from(done: StoreCounters) -> ScanStats {
        let StoreCounters { requests, bytes, retries, hedges } = done;
        ScanStats { requests, bytes_fetched: bytes, retries, hedges, ..ScanStats::default() }
    }
}

macro_rules! collector {
    ($($name:ident),* $(,)?) => {
        /// The same figures while the scan runs, added to from many threads.
        #[derive(Debug, Default)]
        pub struct StatsCollector {
            $(pub $name: AtomicU64,)*
        }

        impl StatsCollector {
            /// The figures so far.
            pub fn snapshot(&self) -> ScanStats {
                ScanStats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }

            /// The figures so far, which begin at nothing again.
            pub fn take(&self) -> ScanStats {
                ScanStats { $($name: self.$name.swap(0, Ordering::Relaxed),)* }
            }

            /// Adds figures that were collected elsewhere.
            pub fn add_all(&self, stats: &ScanStats) {
                $(Self::add(&self.$name, stats.$name);)*
            }
        }
    };
}

collector!(
    rows,
    batches,
    bytes_returned,
    rows_decoded,
    rows_deleted,
    rows_filtered,
    files_read,
    row_groups_read,
    row_groups_pruned,
    delete_files_read,
    requests,
    bytes_fetched,
    retries,
    hedges,
    planning_us,
    storage_us,
    decode_us,
    filter_us,
    delete_us,
    consumer_us,
    total_us,
    wire_us,
    first_batch_us,
);

impl StatsCollector {
    /// Adds what a store did.
    pub fn add_store(&self, done: &StoreCounters) {
        self.add_all(&ScanStats::from(*done));
    }

    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    /// A batch of so many rows came, of what was begun then. Tells how long the first took; later ones change nothing.
    pub fn came(&self, rows: usize, begun: Instant) {
        if rows > 0 {
            let took = begun.elapsed().as_micros().max(1) as u64;
            let _ = self.first_batch_us.compare_exchange(0, took, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
