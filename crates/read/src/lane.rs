//! Lanes of a scan, one after the other, as a stream of batches, each with the position behind it.
//!
//! Contract: a lane yields the surviving rows of its parts, part after part, in the same order on any number of threads, at any budget and
//! from any start: what a stream yields from a position on is what an undisturbed one yields behind it. A start with a hint reads
//! nothing before its part; one without a hint is found by counting survivors from the lane's beginning, which decodes only the columns of
//! the filter and of equality deletes. The budget of the context is this stream's alone: a shuffled lane keeps one window in half of it.
//!
//! How: the blocks of all remaining parts are one stable scan, so that a row group that several lanes have rows of is read once. Without a
//! shuffle its batches go out as they come; with one, the batches of a part are kept until the part is whole, and its rows leave in the
//! order of [`permutation`].

mod permutation;
#[cfg(test)]
mod tests;
mod window;

use crate::scan::{Scan, on_pool};
use crate::stream::{Consumer, count_returned};
use crate::{ReadContext, ReadOptions};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use fastdata_types::lanes::{Lane, LanePlan, LanePosition, ShuffleKey};
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
    pub lane: u32,
    pub batch: RecordBatch,
    pub position: LanePosition,
}

/// The batches of lanes. Ends after the first error; dropping it stops what it started.
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

/// Which lanes, in which order, and from where.
#[derive(Debug, Clone)]
pub struct LaneStart {
    pub plan: Arc<LanePlan>,
    pub lanes: Vec<(u32, LanePosition)>,
}

/// Starts reading lanes. Must be called within a tokio runtime.
///
/// Fails at once where a position does not belong to its lane or a file cannot be read at all; every other error comes in the stream, a
/// position beyond its lane's end among them. The options' limit is for a single lane and counts from its beginning; their order is always stable.
pub fn read_lanes(plan: Arc<ScanPlan>, start: LaneStart, options: ReadOptions, context: ReadContext) -> Result<LaneStream> {
    start.lanes.iter().try_for_each(|(lane, position)| start.plan.check(*lane, position))?;
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

/// Counts the surviving rows of each lane: footers and delete files are read, and of the data only what the filter and equality deletes need.
pub async fn count_lanes(plan: &ScanPlan, lanes: &LanePlan, context: ReadContext) -> Result<Vec<u64>> {
    plan.files.iter().try_for_each(crate::open_file::check_readable)?;
    let blocks = (0..).zip(&lanes.lanes).flat_map(|(at, lane)| {
        let blocks = lane.parts.iter().flat_map(|part| &part.blocks);
        blocks.map(move |block| (*block, at))
    });
    let mut counting = Counting::start(plan, blocks.unzip(), context)?;
    let mut counts = vec![0; lanes.lanes.len()];
    while let Some((lane, rows)) = counting.next().await? {
        if let Some(count) = counts.get_mut(lane as usize) {
            *count += rows;
        }
    }
    Ok(counts)
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

/// Where the reading of a lane begins.
#[derive(Debug, Clone, Copy)]
struct Begin {
    lane: u32,
    part: u32,
    /// Rows of the part that were yielded before.
    skip: u64,
    /// Rows of the lane that were.
    rows: u64,
}

/// A part, and which of the lanes that are read it belongs to.
type Place = (usize, u32);

struct Reading {
    scan: Arc<Scan>,
    consumer: Consumer,
    begins: Vec<Begin>,
    /// Of each block that is read.
    place_of: Vec<Place>,
    /// Where rows are yielded from, and how many the part has yielded.
    place: Place,
    offset: u64,
    /// Rows of the part that were yielded before this stream.
    skip: u64,
    /// Rows of the lane.
    rows: u64,
    /// A batch of a part that was not begun yet.
    ahead: Option<(Place, RecordBatch)>,
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
        let next = match self.start.plan.shuffle {
            None => reading.next_in_order().await?,
            Some(key) => reading.next_shuffled(key, &self.start.plan, &self.options).await?,
        };
        let Some(batch) = next else {
            self.state = State::Ended;
            return Ok(None);
        };
        count_returned(&self.context.stats, &batch);
        let lane = reading.lane();
        let position = LanePosition::new(&self.start.plan, lane, reading.rows, reading.place.1, reading.offset);
        Ok(Some(LaneBatch { lane, batch, position }))
    }

    /// Starts the scan of what is left of the lanes; `None` where nothing is.
    async fn open(&self) -> Result<Option<Reading>> {
        let (mut begins, mut blocks, mut place_of) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (number, position)) in self.start.lanes.iter().enumerate() {
            let lane = self.start.plan.lane(*number)?;
            let (part, skip) = match position.hint {
                Some(hint) => (hint.part, hint.offset),
                None if position.rows == 0 => (0, 0),
                None => self.locate(lane, position.rows).await?,
            };
            position.rows.checked_sub(skip).ok_or_else(|| beyond(*number, position.rows))?;
            begins.push(Begin { lane: *number, part, skip, rows: position.rows });
            for (number, part) in (part..).zip(lane.parts.iter().skip(part as usize)) {
                blocks.extend_from_slice(&part.blocks);
                place_of.extend(part.blocks.iter().map(|_| (at, number)));
            }
        }
        let Some(first) = begins.first().copied() else { return Ok(None) };
        if blocks.is_empty() && begins.iter().all(|begin| begin.skip == 0) {
            return Ok(None);
        }
        let mut options = self.options.clone();
        if let Some(limit) = &mut options.limit {
            *limit = limit.saturating_sub(first.rows - first.skip);
        }
        let plan = Arc::new(self.plan.with_blocks(blocks));
        let mut context = self.context.clone();
        let total = context.budget.total();
        if self.start.plan.shuffle.is_some() {
            context.budget = MemoryBudget::new(total / 2);
        }
        let scan = Arc::new(Scan::new(plan, options, context)?);
        Ok(Some(Reading {
            consumer: Consumer::start(Arc::clone(&scan)),
            scan,
            begins,
            place_of,
            place: (0, first.part),
            offset: first.skip,
            skip: first.skip,
            rows: first.rows,
            ahead: None,
            window: None,
            room: total / 2,
        }))
    }

    /// Finds the part that a position without a hint lies in, and the rows of it that come before.
    async fn locate(&self, lane: &Lane, rows: u64) -> Result<(u32, u64)> {
        let blocks = (0..).zip(&lane.parts).flat_map(|(number, part)| part.blocks.iter().map(move |block| (*block, number)));
        let mut counting = Counting::start(&self.plan, blocks.unzip(), self.context.clone())?;
        let (mut before, mut part, mut offset) = (0, 0, 0);
        while let Some((next, count)) = counting.next().await? {
            if next != part {
                (part, offset) = (next, 0);
            }
            if before + count > rows {
                return Ok((part, offset + rows - before));
            }
            before += count;
            offset += count;
        }
        if before == rows { Ok((lane.parts.len() as u32, 0)) } else { Err(beyond(lane.number, rows)) }
    }
}

fn beyond(lane: u32, rows: u64) -> Error {
    Error::invalid(Stage::Request, format!("position {rows} lies beyond the end of lane {lane}"))
        .advice("resume from a position or cursor as it was given out, unchanged")
}

impl Reading {
    fn lane(&self) -> u32 {
        self.begins.get(self.place.0).map_or(0, |begin| begin.lane)
    }

    /// The next batch of the scan and its place.
    async fn pull(&mut self) -> Result<Option<(Place, RecordBatch)>> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        let Some(batch) = self.consumer.next().await else { return Ok(None) };
        let place = self.place_of.get(self.consumer.block() as usize).copied();
        Ok(Some((place.ok_or_else(|| Error::internal(Stage::Read, "a batch of no block"))?, batch?)))
    }

    /// Rows in the order of the scan, but for those that were yielded before.
    async fn next_in_order(&mut self) -> Result<Option<RecordBatch>> {
        while let Some((place, batch)) = self.pull().await? {
            self.reach(place)?;
            let skipped = self.skip.min(batch.num_rows() as u64);
            self.skip -= skipped;
            if skipped < batch.num_rows() as u64 {
                let batch = batch.slice(skipped as usize, batch.num_rows() - skipped as usize);
                self.advance(batch.num_rows() as u64);
                return Ok(Some(batch));
            }
        }
        self.end()
    }

    async fn next_shuffled(&mut self, key: ShuffleKey, plan: &LanePlan, options: &ReadOptions) -> Result<Option<RecordBatch>> {
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
            let Some((place, first)) = self.pull().await? else { return self.end() };
            self.reach(place)?;
            let (lane, part) = (self.lane(), place.1);
            let rows = plan.lane(lane)?.parts.get(part as usize).map_or(0, |part| part.rows);
            let mut window = Window::new(self.room, rows, lane, part);
            window.push(first)?;
            while let Some((next, batch)) = self.pull().await? {
                if next != place {
                    self.ahead = Some((next, batch));
                    break;
                }
                window.push(batch)?;
            }
            let skip = std::mem::take(&mut self.skip);
            let options = options.clone();
            let permuted = on_pool(&self.scan.context.pool, move || Ok((window.permute(key, skip, &options), window))).await;
            let (reaches, window) = permuted.map_err(crate::decode::failure)?;
            if !reaches {
                return Err(beyond(lane, self.rows));
            }
            self.window = Some(window);
        }
    }

    /// Goes over to a place; all that was to be skipped of those before must have been there.
    fn reach(&mut self, place: Place) -> Result<()> {
        if place == self.place {
            return Ok(());
        }
        self.end()?;
        for at in self.place.0 + 1..=place.0 {
            let Some(begin) = self.begins.get(at).copied() else { continue };
            (self.place, self.rows) = ((at, begin.part), begin.rows);
            (self.offset, self.skip) = (begin.skip, begin.skip);
            if (at, begin.part) != place {
                self.end()?;
            }
        }
        if self.place != place {
            (self.place, self.offset) = (place, 0);
        }
        Ok(())
    }

    /// Nothing more comes of the place.
    fn end(&self) -> Result<Option<RecordBatch>> {
        if self.skip > 0 { Err(beyond(self.lane(), self.rows)) } else { Ok(None) }
    }

    fn advance(&mut self, rows: u64) {
        self.rows += rows;
        self.offset += rows;
    }
}

/// A scan without columns: survivors are counted, and told with the number that their block was given.
struct Counting {
    consumer: Consumer,
    number_of: Vec<u32>,
}

impl Counting {
    fn start(plan: &ScanPlan, (blocks, number_of): (Vec<Block>, Vec<u32>), context: ReadContext) -> Result<Counting> {
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
        Ok(Counting { consumer: Consumer::start(scan), number_of })
    }

    async fn next(&mut self) -> Result<Option<(u32, u64)>> {
        let Some(batch) = self.consumer.next().await else { return Ok(None) };
        let number = self.number_of.get(self.consumer.block() as usize).copied();
        let number = number.ok_or_else(|| Error::internal(Stage::Read, "a batch of no block"))?;
        Ok(Some((number, batch?.num_rows() as u64)))
    }
}
