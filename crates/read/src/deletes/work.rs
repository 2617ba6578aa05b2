//! Decoding of delete files on the decode pool.
//!
//! Contract: the closure runs on the rayon pool; a panic inside it is a `corrupt` error that names the file; the time counts as
//! `delete_us`. The waiting side is an async task and blocks no thread.

use crate::ReadContext;
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, Result, Stage};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Runs `decode` on the pool; `what` names the file in an error.
pub(super) async fn on_pool<T: Send + 'static>(
    context: &ReadContext,
    what: &str,
    decode: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let stats = context.stats.clone();
    context.pool.spawn(move || {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(decode));
        StatsCollector::add(&stats.delete_us, start.elapsed().as_micros() as u64);
        // The receiver is gone where the scan was dropped: nobody wants the outcome.
        let _ = sender.send(outcome);
    });
    match receiver.await {
        Ok(Ok(outcome)) => outcome.map_err(|e| e.context(what)),
        Ok(Err(_)) => Err(Error::corrupt(Stage::Read, format!("{what}: the decoder stopped on impossible content"))
            .advice("the file is damaged: restore it, or rewrite the table's deletes with the engine that made them")),
        Err(_) => Err(Error::internal(Stage::Read, format!("{what}: the decode pool dropped its job"))),
    }
}
