//! Blocks of data files -> decoded, filtered, evolved Arrow batches.
//!
//! Problem: a plan names byte ranges of Parquet files, the deletes that apply to them, and the schema the rows must have. Reading them must
//! keep every core and the network busy, stay within a byte budget whatever the files hold, and never return a wrong or a missing
//! row. Contract: [`read`] returns every row of the plan's blocks that no delete removes and the filter lets pass, once, in
//! the projection's columns, or an error that names the file at fault.
//!
//! How, in the order of the data: [`schedule`] opens files ahead ([`footer`], [`open_file`]) and starts their row groups in plan order, each
//! with its memory reserved ([`need`]); [`row_group`] fetches a row group ([`chunks`]), finds the surviving rows with a first pass over
//! the columns of the filter and of equality deletes, and decodes the rest ([`decode`]) from checked pages ([`pages`]);
//! [`stream`] puts the batches in order, and [`lane`] makes the resumable sequences of them that training reads. [`evolve`] turns a file's columns into the table's, [`deletes`] and [`eval`] say which rows go.

mod ahead;
mod chunks;
mod decode;
mod deletes;
mod eval;
mod evolve;
mod footer;
mod lane;
mod layout;
mod metadata_columns;
mod need;
mod open_file;
mod pages;
mod row_group;
mod scan;
mod schedule;
mod stream;
mod thrift;
mod timers;

#[cfg(test)]
mod tests;

pub use deletes::decode_deletion_vector;
pub use lane::{LaneBatch, LaneStart, LaneStream, count_lanes, read_lanes};

use fastdata_types::request::{Order, StringEncoding};
use fastdata_types::stats::StatsCollector;
use fastdata_types::{BatchStream, MemoryBudget, Result, ScanPlan};
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;

/// How batches are to come.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Most rows of a batch.
    pub batch_rows: usize,
    /// Most bytes of a batch, a single larger row excepted.
    pub batch_bytes: u64,
    pub order: Order,
    pub strings: StringEncoding,
    /// Rows after which the stream ends: the first ones in stable order, any in fast order.
    pub limit: Option<u64>,
}

/// What a scan draws on and reports to.
#[derive(Debug, Clone)]
pub struct ReadContext {
    pub budget: Arc<MemoryBudget>,
    /// Decodes; its threads are never blocked for long.
    pub pool: Arc<rayon::ThreadPool>,
    pub stats: Arc<StatsCollector>,
}

/// Starts reading a plan's blocks through its table's store. Must be called within a tokio runtime.
///
/// Fails at once where a file has a format or an encryption that is not supported; every other error comes in the stream, and ends it.
pub fn read(plan: Arc<ScanPlan>, options: ReadOptions, context: ReadContext) -> Result<BatchStream> {
    plan.files.iter().try_for_each(open_file::check_readable)?;
    let scan = Arc::new(scan::Scan::new(plan, options, context)?);
    let (schema, stats) = (Arc::clone(&scan.output.arrow), Arc::clone(&scan.context.stats));
    let consumer = stream::Consumer::start(scan);
    let batches = futures::stream::unfold(consumer, |mut consumer| async move { consumer.next().await.map(|batch| (batch, consumer)) });
    let counted = Arc::clone(&stats);
    let batches = batches.inspect_ok(move |batch| stream::count_returned(&counted, batch));
    Ok(BatchStream::new(schema, stats, batches.fuse()))
}
