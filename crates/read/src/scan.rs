//! What all parts of one running scan share.

use crate::decode::Stop;
use crate::deletes::ScanDeletes;
use crate::layout::Layout;
use crate::pages::PageBuffers;
use crate::timers::Timers;
use crate::{ReadContext, ReadOptions};
use fastdata_types::{Error, ErrorKind, Result, ScanPlan, Stage};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Bytes of small files that a scan keeps beside its budget, as a share of it and at most. They are not taken from the budget: files are opened
/// ahead of those that wait for memory, and must not keep it from them.
const SMALL_FILES_SHARE: u64 = 32;
const SMALL_FILES_BYTES: u64 = 32 << 20;

pub(crate) struct Scan {
    pub(crate) plan: Arc<ScanPlan>,
    pub(crate) options: ReadOptions,
    pub(crate) context: ReadContext,
    pub(crate) deletes: ScanDeletes,
    pub(crate) output: Arc<Layout>,
    pub(crate) timers: Timers,
    pub(crate) page_buffers: Arc<PageBuffers>,
    pub(crate) threads: usize,
    /// Row groups that may decode at a time.
    pub(crate) decoding: Arc<Semaphore>,
    /// KiB for the bytes of small files between their footer and their rows.
    small_files: Arc<Semaphore>,
    cancelled: AtomicBool,
    /// What pages took in row groups that were read, in thousandths of the estimate, and 1 more; 0 while none was.
    pages_learned: AtomicU64,
}

impl Scan {
    pub(crate) fn new(plan: Arc<ScanPlan>, options: ReadOptions, context: ReadContext) -> Result<Scan> {
        let threads = context.pool.current_num_threads().max(1);
        // Several scans of a plan run side by side: each tells what it asked for itself.
        let plan = plan.counted();
        Ok(Scan {
            output: Arc::new(Layout::new(plan.projection.as_ref().clone(), options.strings)?),
            deletes: ScanDeletes::new(Arc::clone(&plan), context.clone()),
            timers: Timers::new(Arc::clone(&context.stats)),
            page_buffers: Arc::default(),
            threads,
            decoding: Arc::new(Semaphore::new(threads + 1)),
            small_files: Arc::new(Semaphore::new(
                (context.budget.total() / SMALL_FILES_SHARE).min(SMALL_FILES_BYTES).div_ceil(1024) as usize
            )),
            cancelled: AtomicBool::new(false),
            pages_learned: AtomicU64::new(0),
            plan,
            options,
            context,
        })
    }

    /// Bytes that row groups may take: the deletes of a scan may hold half of the budget.
    pub(crate) fn ceiling(&self) -> u64 {
        let total = self.context.budget.total();
        if self.plan.deletes.is_empty() { total } else { total / 2 }
    }

    /// Room for a small file's bytes, if there is some now.
    pub(crate) fn small_file_room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.small_files).try_acquire_many_owned(kib).ok()
    }

    /// Notes what the pages of a row group took of their estimate.
    pub(crate) fn learn_pages(&self, estimated: u64, peak: u64) {
        let permille = peak.saturating_mul(1000) / estimated.max(1);
        self.pages_learned.fetch_max(permille + 1, Ordering::Relaxed);
    }

    /// What pages took so far, in thousandths of their estimate.
    pub(crate) fn pages_learned(&self) -> Option<u64> {
        self.pages_learned.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn check_cancelled(&self) -> Result<()> {
        match self.cancelled.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Cancelled, Stage::Read, "the scan was dropped")),
            false => Ok(()),
        }
    }

    /// Runs decoding work on the pool, unless the scan was dropped meanwhile.
    pub(crate) async fn on_pool<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Stop> {
        let scan = Arc::clone(self);
        on_pool(&self.context.pool, move || {
            scan.check_cancelled()?;
            work()
        })
        .await
    }
}

/// Runs work on the pool. A panic in it is the error of its scan alone.
pub(crate) async fn on_pool<T: Send + 'static>(
    pool: &rayon::ThreadPool,
    work: impl FnOnce() -> Result<T, Stop> + Send + 'static,
) -> Result<T, Stop> {
    let (sender, receiver) = oneshot::channel();
    pool.spawn(move || {
        let gave_up = || Stop::Failed(Error::corrupt(Stage::Read, "its pages cannot be decoded (the decoder gave up)"));
        let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(gave_up()));
        // The task may have been dropped meanwhile.
        let _ = sender.send(outcome);
    });
    receiver.await.unwrap_or_else(|_| Err(Stop::Failed(Error::internal(Stage::Read, "the decode pool dropped a job"))))
}
