//! All lanes of a plan, or some of them, as one stream.
//!
//! Contract: lanes are pulled side by side, each ahead of the consumer by its part of the prefetch bytes (one larger batch excepted). In order, the
//! batches of a lane come before those of the next; else as they arrive. Dropping a [`Pull`] ends every stream it opened.

use crate::Plan;
use crate::lane::{LaneBatch, bytes_of};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use fastdata_types::lanes::{Cursor, LanePosition};
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, Result, Stage};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Prefetched bytes are counted in units of this many.
const UNIT: u64 = 1024;

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
}

impl Default for PullOptions {
    fn default() -> Self {
        PullOptions { lanes: None, cursor: None, parallel: 4, prefetch_bytes: 64 << 20, ordered: false }
    }
}

/// Batches of a plan. Ends behind the first error.
pub struct Pull {
    pub schema: SchemaRef,
    /// Rows, batches and bytes as they come; what the scan cost the server as each lane ends.
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
        let stats = Arc::new(StatsCollector::default());
        if let Some(cursor) = &options.cursor {
            self.check(cursor)?;
        }
        let chosen = options.lanes.clone().unwrap_or_else(|| (0..self.lanes()).collect());
        let parallel = options.parallel.clamp(1, chosen.len().max(1));
        let quota = (options.prefetch_bytes / parallel as u64).clamp(UNIT, u64::from(u32::MAX));
        let starts: Result<Vec<(u32, LanePosition)>> = chosen
            .into_iter()
            .map(|lane| {
                let position = options.cursor.as_ref().map(|cursor| cursor.position(lane)).unwrap_or_default();
                self.ticket(lane, position)?;
                Ok((lane, position))
            })
            .collect();
        let (plan, counted) = (self.clone(), Arc::clone(&stats));
        let lanes = futures::stream::iter(starts?).map(move |(lane, start)| ahead(plan.clone(), lane, start, quota, Arc::clone(&counted)));
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

struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Pulled {
    /// With its room in the prefetch, given back when it is taken.
    Batch(LaneBatch, OwnedSemaphorePermit),
    Whole,
    Failed(Error),
}

/// One lane, pulled by a task of its own from now on.
fn ahead(
    plan: Plan,
    lane: u32,
    start: LanePosition,
    quota: u64,
    stats: Arc<StatsCollector>,
) -> BoxStream<'static, Result<(u32, LaneBatch)>> {
    let units = move |bytes: u64| bytes.min(quota).div_ceil(UNIT).max(1) as u32;
    let room = Arc::new(Semaphore::new(units(quota) as usize));
    let (sender, receiver) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let mut stream = match plan.lane(lane, start, stats) {
            Ok(stream) => stream,
            Err(error) => return drop(sender.send(Pulled::Failed(error))),
        };
        loop {
            let pulled = match stream.next().await {
                Ok(Some(next)) => {
                    let Ok(permit) = Arc::clone(&room).acquire_many_owned(units(bytes_of(&next.batch))).await else { return };
                    Pulled::Batch(next, permit)
                }
                Ok(None) => Pulled::Whole,
                Err(error) => Pulled::Failed(error),
            };
            let last = !matches!(pulled, Pulled::Batch(..));
            if sender.send(pulled).is_err() || last {
                return;
            }
        }
    });
    let state = (receiver, Task(task));
    futures::stream::unfold(Some(state), move |state| async move {
        let (mut receiver, task) = state?;
        match receiver.recv().await {
            Some(Pulled::Batch(next, _room)) => Some((Ok((lane, next)), Some((receiver, task)))),
            Some(Pulled::Whole) => None,
            Some(Pulled::Failed(error)) => Some((Err(error), None)),
            None => Some((Err(Error::internal(Stage::Client, format!("pulling lane {lane} panicked"))), None)),
        }
    })
    .boxed()
}
