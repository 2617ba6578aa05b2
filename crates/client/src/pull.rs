//! All lanes of a plan, or some of them, as one stream.
//!
//! Contract: lanes are pulled side by side, each ahead of the consumer by its part of the prefetch bytes (one larger batch excepted). In order, the
//! batches of a lane come before those of the next; else as they arrive. Dropping a [`Pull`] ends every stream it opened.

use crate::Plan;
use crate::lane::LaneBatch;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use fastdata_types::Result;
use fastdata_types::ahead::ahead;
use fastdata_types::lanes::{Cursor, LanePosition};
use fastdata_types::size::batch_bytes;
use fastdata_types::stats::StatsCollector;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Which lanes, in which order; every one where none is said.
    pub lanes: Option<Vec<u32>>,
    /// Where they begin.
    pub cursor: Option<Cursor>,
    /// Lanes that are pulled at a time.
    pub parallel: usize,
    /// Bytes of batches that came and were not taken, beside what each stream's window holds.
    pub prefetch_bytes: u64,
    /// One lane after the other.
    pub ordered: bool,
    /// Where rows, batches and bytes are counted, and what the scan cost the server.
    pub stats: Arc<StatsCollector>,
}

impl Default for PullOptions {
    fn default() -> Self {
        PullOptions { lanes: None, cursor: None, parallel: 4, prefetch_bytes: 64 << 20, ordered: false, stats: Arc::default() }
    }
}

/// Batches of a plan. Ends behind the first error.
pub struct Pull {
    pub schema: SchemaRef,
    /// Rows, batches and bytes as they come; what planning cost at once, and what reading cost the server as each lane ends.
    pub stats: Arc<StatsCollector>,
    batches: BoxStream<'static, Result<(u32, LaneBatch)>>,
}

impl Stream for Pull {
    type Item = Result<(u32, LaneBatch)>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(cx)
    }
}

impl Pull {
    /// The rows alone.
    pub fn batches(self) -> impl Stream<Item = Result<RecordBatch>> + Send {
        self.batches.map(|next| next.map(|(_, next)| next.batch))
    }
}

impl Plan {
    pub fn pull(&self, options: PullOptions) -> Result<Pull> {
        let stats = Arc::clone(&options.stats);
        if let Some(cursor) = &options.cursor {
            self.check(cursor)?;
        }
        let chosen = options.lanes.clone().unwrap_or_else(|| (0..self.lanes()).collect());
        let parallel = options.parallel.clamp(1, chosen.len().max(1));
        let quota = options.prefetch_bytes / parallel as u64;
        let starts: Result<Vec<(u32, LanePosition)>> = chosen
            .into_iter()
            .map(|lane| {
                let position = options.cursor.as_ref().map(|cursor| cursor.position(lane)).unwrap_or_default();
                self.ticket(lane, position)?;
                Ok((lane, position))
            })
            .collect();
        self.count(&stats);
        let (plan, counted) = (self.clone(), Arc::clone(&stats));
        let lanes = futures::stream::iter(starts?).map(move |(lane, start)| pulled(&plan, lane, start, quota, Arc::clone(&counted)));
        let batches = match options.ordered {
            // Those that are buffered are pulled already.
            true => lanes.map(std::future::ready).buffered(parallel).flatten().boxed(),
            false => lanes.flatten_unordered(parallel).boxed(),
        };
        Ok(Pull { schema: Arc::clone(&self.schema), stats, batches: until_error(batches).boxed() })
    }
}

fn until_error<T: Send>(stream: impl Stream<Item = Result<T>> + Send) -> impl Stream<Item = Result<T>> + Send {
    stream.scan(false, |failed, next| {
        let next = (!*failed).then_some(next);
        *failed |= next.as_ref().is_some_and(Result::is_err);
        std::future::ready(next)
    })
}

/// One lane, pulled by a task of its own from now on.
fn pulled(
    plan: &Plan,
    lane: u32,
    start: LanePosition,
    quota: u64,
    stats: Arc<StatsCollector>,
) -> BoxStream<'static, Result<(u32, LaneBatch)>> {
    match plan.lane(lane, start, stats) {
        Ok(stream) => {
            let stream = stream.into_stream().map_ok(move |next| (lane, next));
            ahead(stream, quota, |(_, next)| batch_bytes(&next.batch), format!("pulling lane {lane}"))
        }
        Err(error) => futures::stream::iter([Err(error)]).boxed(),
    }
}
