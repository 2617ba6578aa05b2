//! One lane of a scan as a stream of batches, each with the position behind it.
//!
//! Contract: a lane yields the surviving rows of its parts, part after part, in the same order on any number of threads, at any budget and
//! from any start: what a stream yields from a position on is what an undisturbed one yields behind it. A start with a hint reads
//! nothing before its part; one without a hint is found by counting survivors from the lane's beginning, which decodes only the columns of
//! the filter and of equality deletes. The budget of the context is this stream's alone: a shuffled lane keeps one window in half of it.
//!
//! How: the blocks of the remaining parts are one stable scan. Without a shuffle its batches go out as they come; with one, the batches of
//! a part are kept until the part is whole, and its rows leave in the order of [`permutation`].

mod permutation;
#[cfg(test)]
mod tests;
mod window;

use crate::scan::{Scan, on_pool};
use crate::stream::{Consumer, count_returned};
use crate::{ReadContext, ReadOptions};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use fastdata_types::lanes::{Lane, LanePlan, LanePosition};
use fastdata_types::plan::Block;
use fastdata_types::request::Order;
use fastdata_types::schema::Schema;
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, MemoryBudget, Result, ScanPlan, Stage};
use futures::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use window::Window;

/// Rows of a lane, and the position after them.
#[derive(Debug, Clone)]
pub struct LaneBatch {
    pub batch: RecordBatch,
    pub position: LanePosition,
}

/// The batches of one lane. Ends after the first error; dropping it stops what it started.
pub struct LaneStream {
    pub schema: SchemaRef,
    pub stats: Arc<StatsCollector>,
    inner: Pin<Box<dyn Stream<Item = Result<LaneBatch>> + Send>>,
}

impl Stream for LaneStream {
    type Item = Result<LaneBatch>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(cx)
    }
}

/// Which lane, from where.
#[derive(Debug, Clone)]
pub struct LaneStart {
    pub lanes: Arc<LanePlan>,
    pub lane: u32,
    pub position: LanePosition,
}

/// Starts reading a lane. Must be called within a tokio runtime.
///
/// Fails at once where the position does not belong to the lane or a file cannot be read at all; every other error comes in the stream, a
/// position beyond the lane's end among them. The options' limit counts from the lane's beginning; their order is always stable.
pub fn read_lane(plan: Arc<ScanPlan>, start: LaneStart, options: ReadOptions, context: ReadContext) -> Result<LaneStream> {
    start.lanes.check(start.lane, &start.position)?;
    plan.files.iter().try_for_each(crate::open_file::check_readable)?;
    let options = ReadOptions { order: Order::Stable, ..options };
    let layout = crate::layout::Layout::new(plan.projection.as_ref().clone(), options.strings)?;
    let (schema, stats) = (Arc::clone(&layout.arrow), Arc::clone(&context.stats));
    let reader = Reader { plan, start, options, context, state: State::New };
    let batches = futures::stream::unfold(reader, |mut reader| async move {
        let next = reader.next().await;
        if next.is_err() {
            reader.state = State::Ended;
        }
        next.transpose().map(|batch| (batch, reader))
    });
    Ok(LaneStream { schema, stats, inner: Box::pin(batches) })
}

/// Counts the surviving rows of a lane: footers and delete files are read, and of the data only what the filter and equality deletes need.
pub async fn count_lane(plan: &ScanPlan, lane: &Lane, context: ReadContext) -> Result<u64> {
    plan.files.iter().try_for_each(crate::open_file::check_readable)?;
    Ok(Counting::start(plan, lane, context)?.total().await?.rows)
}

struct Reader {
    plan: Arc<ScanPlan>,
    start: LaneStart,
    options: ReadOptions,
    context: ReadContext,
    state: State,
}

enum State {
    New,
    Reading(Box<Reading>),
    Ended,
}

struct Reading {
    scan: Arc<Scan>,
    consumer: Consumer,
    /// Per block that is read the part it belongs to.
    part_of: Vec<u32>,
    /// The part that rows are yielded from, and how many it has yielded.
    part: u32,
    offset: u64,
    /// Rows of the part that were yielded before this stream.
    skip: u64,
    rows: u64,
    /// A batch of a part that was not begun yet.
    ahead: Option<(u32, RecordBatch)>,
    window: Option<Window>,
    /// Bytes that a window may hold.
    room: u64,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<LaneBatch>> {
        if matches!(self.state, State::New) {
            self.state = match self.open().await? {
                Some(reading) => State::Reading(Box::new(reading)),
                None => State::Ended,
            };
        }
        let State::Reading(reading) = &mut self.state else { return Ok(None) };
        let lane = self.start.lane;
        let next = match self.start.lanes.shuffle {
            None => reading.next_in_order(lane).await?,
            Some(_) => reading.next_shuffled(&self.start, &self.options).await?,
        };
        let Some(batch) = next else {
            self.state = State::Ended;
            return Ok(None);
        };
        count_returned(&self.context.stats, &batch);
        let position = LanePosition::new(&self.start.lanes, lane, reading.rows, reading.part, reading.offset);
        Ok(Some(LaneBatch { batch, position }))
    }

    /// Starts the scan of what is left of the lane; `None` where nothing is.
    async fn open(&self) -> Result<Option<Reading>> {
        let lane = self.start.lanes.lane(self.start.lane)?;
        let position = self.start.position;
        let (part, skip) = match position.hint {
            Some(hint) => (hint.part, hint.offset),
            None if position.rows == 0 => (0, 0),
            None => self.locate(lane).await?,
        };
        let before = position.rows.checked_sub(skip).ok_or_else(|| beyond(self.start.lane, position.rows))?;
        let mut options = self.options.clone();
        if let Some(limit) = &mut options.limit {
            *limit = limit.saturating_sub(before);
        }
        let (blocks, part_of) = blocks_from(lane, part);
        if blocks.is_empty() && skip == 0 {
            return Ok(None);
        }
        let plan = Arc::new(self.plan.with_blocks(blocks));
        let mut context = self.context.clone();
        let total = context.budget.total();
        if self.start.lanes.shuffle.is_some() {
            context.budget = MemoryBudget::new(total / 2);
        }
        let scan = Arc::new(Scan::new(plan, options, context)?);
        Ok(Some(Reading {
            consumer: Consumer::start(Arc::clone(&scan)),
            scan,
            part_of,
            part,
            offset: skip,
            skip,
            rows: position.rows,
            ahead: None,
            window: None,
            room: total / 2,
        }))
    }

    /// Finds the part that a position without a hint lies in, and the rows of it that come before.
    async fn locate(&self, lane: &Lane) -> Result<(u32, u64)> {
        let mut counting = Counting::start(&self.plan, lane, self.context.clone())?;
        counting.to(self.start.position.rows).await?.ok_or_else(|| beyond(self.start.lane, self.start.position.rows))
    }
}

/// The blocks of a lane from one of its parts on, and the part of each.
fn blocks_from(lane: &Lane, part: u32) -> (Vec<Block>, Vec<u32>) {
    let parts = (part..).zip(lane.parts.iter().skip(part as usize));
    parts.flat_map(|(number, part)| part.blocks.iter().map(move |block| (*block, number))).unzip()
}

fn beyond(lane: u32, rows: u64) -> Error {
    Error::invalid(Stage::Request, format!("position {rows} lies beyond the end of lane {lane}"))
        .advice("resume from a position or cursor as it was given out, unchanged")
}

impl Reading {
    /// The next batch of the scan and its part.
    async fn pull(&mut self) -> Result<Option<(u32, RecordBatch)>> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        let Some(batch) = self.consumer.next().await else { return Ok(None) };
        let part = self.part_of.get(self.consumer.block() as usize).copied();
        Ok(Some((part.ok_or_else(|| Error::internal(Stage::Read, "a batch of no block"))?, batch?)))
    }

    /// Rows in the order of the scan, but for those that were yielded before.
    async fn next_in_order(&mut self, lane: u32) -> Result<Option<RecordBatch>> {
        while let Some((part, batch)) = self.pull().await? {
            if part != self.part {
                self.begin(part, lane)?;
            }
            let skipped = self.skip.min(batch.num_rows() as u64);
            self.skip -= skipped;
            if skipped < batch.num_rows() as u64 {
                let batch = batch.slice(skipped as usize, batch.num_rows() - skipped as usize);
                self.advance(batch.num_rows() as u64);
                return Ok(Some(batch));
            }
        }
        self.end(lane)
    }

    async fn next_shuffled(&mut self, start: &LaneStart, options: &ReadOptions) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(window) = self.window.as_mut().filter(|window| !window.is_empty()) {
                let (batches, rows) = window.next_rows();
                let schema = Arc::clone(&self.scan.output.arrow);
                // The scan itself may have ended: its last window is still here.
                let gathered = on_pool(&self.scan.context.pool, move || Ok(window::gather(&schema, &batches, &rows)?)).await;
                let batch = gathered.map_err(crate::decode::failure)?;
                self.advance(batch.num_rows() as u64);
                return Ok(Some(batch));
            }
            self.window = None;
            let Some((part, first)) = self.pull().await? else { return self.end(start.lane) };
            if part != self.part {
                self.begin(part, start.lane)?;
            }
            let rows = start.lanes.lane(start.lane)?.parts.get(part as usize).map_or(0, |part| part.rows);
            let mut window = Window::new(self.room, rows, start.lane, part);
            window.push(first)?;
            while let Some((next, batch)) = self.pull().await? {
                if next != part {
                    self.ahead = Some((next, batch));
                    break;
                }
                window.push(batch)?;
            }
            let key = start.lanes.shuffle.unwrap_or_default();
            let skip = std::mem::take(&mut self.skip);
            let options = options.clone();
            let permuted = on_pool(&self.scan.context.pool, move || Ok((window.permute(key, skip, &options), window))).await;
            let (reaches, window) = permuted.map_err(crate::decode::failure)?;
            if !reaches {
                return Err(beyond(start.lane, self.rows));
            }
            self.window = Some(window);
        }
    }

    /// Goes over to another part; all that was to be skipped of the last one must have been there.
    fn begin(&mut self, part: u32, lane: u32) -> Result<()> {
        if self.skip > 0 {
            return Err(beyond(lane, self.rows));
        }
        (self.part, self.offset) = (part, 0);
        Ok(())
    }

    fn end(&self, lane: u32) -> Result<Option<RecordBatch>> {
        if self.skip > 0 { Err(beyond(lane, self.rows)) } else { Ok(None) }
    }

    fn advance(&mut self, rows: u64) {
        self.rows += rows;
        self.offset += rows;
    }
}

/// A scan of a lane without columns: survivors are counted, part by part.
struct Counting {
    consumer: Consumer,
    part_of: Vec<u32>,
    parts: u32,
    part: u32,
    offset: u64,
    rows: u64,
}

impl Counting {
    fn start(plan: &ScanPlan, lane: &Lane, context: ReadContext) -> Result<Counting> {
        let (blocks, part_of) = blocks_from(lane, 0);
        let mut plan = plan.with_blocks(blocks);
        plan.projection = Arc::new(Schema::new(plan.schema.id, vec![])?);
        let options = ReadOptions {
            batch_rows: 1 << 20,
            batch_bytes: fastdata_types::request::DEFAULT_BATCH_BYTES,
            order: Order::Stable,
            strings: Default::default(),
            limit: None,
        };
        let scan = Arc::new(Scan::new(Arc::new(plan), options, context)?);
        Ok(Counting { consumer: Consumer::start(scan), part_of, parts: lane.parts.len() as u32, part: 0, offset: 0, rows: 0 })
    }

    /// Counts on to where the lane has yielded so many rows: the part, and the rows of it before that place. `None` where it has fewer.
    async fn to(&mut self, rows: u64) -> Result<Option<(u32, u64)>> {
        while let Some(batch) = self.consumer.next().await {
            let count = batch?.num_rows() as u64;
            let part = self.part_of.get(self.consumer.block() as usize).copied().unwrap_or(self.parts);
            if part != self.part {
                (self.part, self.offset) = (part, 0);
            }
            if self.rows + count > rows {
                return Ok(Some((part, self.offset + rows - self.rows)));
            }
            self.rows += count;
            self.offset += count;
        }
        Ok((self.rows == rows).then_some((self.parts, 0)))
    }

    async fn total(mut self) -> Result<Self> {
        self.to(u64::MAX).await?;
        Ok(self)
    }
}
