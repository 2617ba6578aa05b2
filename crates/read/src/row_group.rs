//! Reading one row group, start to end: fetch, decide which rows survive, decode what was asked for, hand batches over.
//!
//! Contract: the memory reserved for the row group ([`crate::need`]) is held until its last batch was taken. Where the reservation proves too
//! small the attempt ends, more is reserved, and the next attempt starts with the first row that was not handed over. Decoding runs on
//! the pool in short steps; between them the task waits on nothing but its consumer.

use crate::chunks::{Chunks, Fetches};
use crate::decode::{PassDecoder, Slice, Stop, Which, bits_of, leaves_of, ranges_to_decode};
use crate::need::{BATCHES, Bounds, Need};
use crate::open_file::{Deciding, OpenFile};
use crate::scan::Scan;
use arrow::array::{Array, BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, ErrorKind, Permit, Result, Stage};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// One row group to read, or some of its rows.
pub(crate) struct Unit {
    /// Its place in the order of the plan.
    pub(crate) order: u64,
    pub(crate) file: Arc<OpenFile>,
    pub(crate) row_group: usize,
    /// What is read of it: one piece at least, ascending.
    pub(crate) pieces: Vec<Piece>,
    pub(crate) need: Need,
    pub(crate) bounds: Bounds,
}

/// Rows of one block in a row group.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Counted from the row group's first.
    pub(crate) rows: Range<u64>,
    /// The place of the block in the plan.
    pub(crate) block: u32,
}

/// What a row group's task tells the stream.
pub(crate) enum Event {
    /// Rows of the block with this place in the plan.
    Batch(u32, RecordBatch, Hold),
    /// The row group gave its memory back and asks for this much.
    Reserve(u64, oneshot::Sender<Result<Permit>>),
    Done,
    Failed(Error),
}

/// Keeps the memory of a batch reserved while somebody has the batch.
pub(crate) struct Hold {
    _slot: OwnedSemaphorePermit,
    _memory: Arc<Permit>,
}

/// The stream's end of the task.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) events: mpsc::Sender<Event>,
    /// In stable order the stream must make room among later row groups before one can reserve more.
    pub(crate) ask_to_reserve: bool,
}

/// Waiting for the right to decode, which few row groups have at a time.
pub(crate) struct Turn {
    /// In stable order: fires when the row group before has its right.
    pub(crate) after: Option<oneshot::Receiver<()>>,
    pub(crate) then: Option<oneshot::Sender<()>>,
}

/// What survives from one attempt to the next.
struct Progress {
    /// Surviving rows by the deciding pass.
    alive: Option<BooleanBuffer>,
    /// First row, relative to the row group, that was not handed over.
    next_row: u64,
    turn: Turn,
    decoding: Option<OwnedSemaphorePermit>,
    counted: bool,
}

impl Unit {
    pub(crate) fn what(&self) -> String {
        format!("row group {} of data file '{}'", self.row_group, self.file.facts.path)
    }

    pub(crate) fn rows(&self) -> Range<u64> {
        self.file.footer.rows(self.row_group)
    }

    /// The rows to read from one on.
    fn ranges_from(&self, row: u64) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for piece in &self.pieces {
            let rows = piece.rows.start.max(row)..piece.rows.end;
            match ranges.last_mut() {
                _ if rows.is_empty() => {}
                Some(last) if last.end == rows.start => last.end = rows.end,
                _ => ranges.push(rows),
            }
        }
        ranges
    }

    /// The block that a row belongs to.
    fn block_of(&self, row: u64) -> u32 {
        self.pieces.iter().find(|piece| row < piece.rows.end).or(self.pieces.last()).map_or(0, |piece| piece.block)
    }

    /// Reads the row group and reports how it went.
    pub(crate) async fn read(self: Arc<Self>, scan: Arc<Scan>, need: Need, permit: Permit, turn: Turn, sink: Sink) {
        let outcome = self.read_all(&scan, need, permit, turn, &sink).await;
        let event = match outcome {
            Ok(()) => Event::Done,
            Err(error) => Event::Failed(error),
        };
        // Nobody listens where the scan was dropped.
        let _ = sink.events.send(event).await;
    }

    async fn read_all(self: &Arc<Self>, scan: &Arc<Scan>, mut need: Need, permit: Permit, turn: Turn, sink: &Sink) -> Result<()> {
        let mut progress = Progress { alive: None, next_row: 0, turn, decoding: None, counted: false };
        let mut permit = Arc::new(permit);
        loop {
            let stop = match self.attempt(scan, need, &permit, &mut progress, sink).await {
                Ok(()) => return Ok(()),
                Err(stop) => stop,
            };
            drop(permit);
            let (grown, live, batch) = match stop {
                Stop::Failed(error) => return Err(self.explain(error)),
                Stop::Pages(live) => (need.with_pages(live, self.bounds.ceiling), live, 0),
                Stop::Batch(bytes) => (need.with_batch(bytes, self.bounds.ceiling), 0, bytes),
            };
            need = grown.ok_or_else(|| self.too_small(scan, live, batch))?;
            if !sink.ask_to_reserve {
                // Whoever has memory may be waiting for this right. In stable order the stream takes the memory from them instead.
                progress.decoding = None;
            }
            permit = Arc::new(self.reserve(scan, need.total(), sink).await?);
        }
    }

    /// The refusal after pages or a batch of so many bytes did not fit, with the budget that suffices. Row groups have a share of the budget:
    /// deletes may hold the rest.
    pub(crate) fn too_small(&self, scan: &Scan, live: u64, batch: u64) -> Error {
        let budget = &scan.context.budget;
        let row_group = self.file.footer.metadata.row_group(self.row_group);
        let figure = Need::sufficient(&self.file, row_group, &self.bounds, live, batch);
        let share = budget.total() / self.bounds.ceiling.max(1);
        budget.too_small(figure.saturating_mul(share.max(1)).max(budget.total() + 1), &self.what())
    }

    async fn reserve(&self, scan: &Scan, bytes: u64, sink: &Sink) -> Result<Permit> {
        if !sink.ask_to_reserve {
            return scan.context.budget.acquire(bytes, &self.what()).await;
        }
        let (reply, answer) = oneshot::channel();
        sink.events.send(Event::Reserve(bytes, reply)).await.map_err(|_| cancelled())?;
        answer.await.map_err(|_| cancelled())?
    }

    fn explain(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::Cancelled || error.message().contains(&self.file.facts.path) {
            return error;
        }
        error.context(self.what()).or_advice("the file is damaged or was replaced: restore it, or remove it from the table")
    }

    async fn attempt(
        self: &Arc<Self>,
        scan: &Arc<Scan>,
        need: Need,
        permit: &Arc<Permit>,
        progress: &mut Progress,
        sink: &Sink,
    ) -> Result<(), Stop> {
        let rows = self.rows();
        let count = rows.end - rows.start;
        let file = &self.file;
        let row_group = file.footer.metadata.row_group(self.row_group);
        let mut known = HashMap::new();
        if let Some(deciding) = &file.deciding {
            let emits = deciding.emits.is_some();
            if emits || progress.alive.is_none() {
                let leaves = leaves_of(&deciding.pass.groups);
                let (chunks, mut fetches) = Chunks::fetch(scan, file, row_group, &leaves, &need, HashMap::new()).await?;
                if let Some(output) = &file.output {
                    known = chunks.whole_of(&leaves_of(&output.groups));
                }
                self.turn(scan, progress).await?;
                let everything = self.ranges_from(if emits { progress.next_row } else { 0 });
                if everything.is_empty() {
                    return Ok(());
                }
                let decoder = self.decoder(scan, permit, Which::Deciding, (chunks, &mut fetches), need, everything, count).await?;
                if emits {
                    return self.emit(scan, decoder, fetches, permit, progress, sink).await;
                }
                progress.alive = Some(self.decide(scan, decoder, fetches, count).await?);
            }
        }
        let Some(output) = &file.output else { return Ok(()) };
        let ranges = match &progress.alive {
            Some(alive) => ranges_to_decode(alive, progress.next_row),
            None => self.ranges_from(progress.next_row),
        };
        if ranges.iter().all(|range| range.is_empty()) {
            return Ok(());
        }
        let (chunks, mut fetches) = Chunks::fetch(scan, file, row_group, &leaves_of(&output.groups), &need, known).await?;
        self.turn(scan, progress).await?;
        let decoder = self.decoder(scan, permit, Which::Output, (chunks, &mut fetches), need, ranges, count).await?;
        self.emit(scan, decoder, fetches, permit, progress, sink).await
    }

    /// Waits for the right to decode, once.
    async fn turn(&self, scan: &Arc<Scan>, progress: &mut Progress) -> Result<()> {
        if progress.decoding.is_none() {
            if let Some(after) = progress.turn.after.take() {
                // The row group before may be gone: then it is this one's turn anyhow.
                let _ = after.await;
            }
            progress.decoding = Some(Arc::clone(&scan.decoding).acquire_owned().await.map_err(|_| cancelled())?);
            if let Some(then) = progress.turn.then.take() {
                let _ = then.send(());
            }
        }
        if !std::mem::replace(&mut progress.counted, true) {
            StatsCollector::add(&scan.context.stats.row_groups_read, 1);
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    async fn decoder(
        self: &Arc<Self>,
        scan: &Arc<Scan>,
        permit: &Arc<Permit>,
        which: Which,
        (chunks, fetches): (Chunks, &mut Fetches),
        need: Need,
        ranges: Vec<Range<u64>>,
        rows: u64,
    ) -> Result<Steps, Stop> {
        let (unit, permit, buffers) = (Arc::clone(self), Arc::clone(permit), Arc::clone(&scan.page_buffers));
        // Between two slices others get their turn where the next one may have to wait for bytes.
        let step_rows = if fetches.is_windowed() { 1 } else { Steps::STEP_ROWS };
        fetches.ready().await;
        scan.on_pool(move || {
            let ends = unit.pieces.iter().map(|piece| piece.rows.end).collect();
            let decoder = PassDecoder::new(Arc::clone(&unit.file), which, unit.row_group, &chunks, &buffers, need, (ranges, ends), rows)?;
            Ok(Steps { unit, decoder, step_rows, slice: None, block: 0, handed_over: false, _memory: permit })
        })
        .await
    }

    /// Runs the deciding pass over the rows to read: a bit for each row of the row group, set where the row is to be read and survives.
    async fn decide(&self, scan: &Arc<Scan>, mut steps: Steps, mut fetches: Fetches, rows: u64) -> Result<BooleanBuffer, Stop> {
        let mut alive = BooleanBufferBuilder::new(rows as usize);
        loop {
            fetches.ready().await;
            let worker = Arc::clone(scan);
            let (next, back, done) = scan
                .on_pool(move || {
                    let done = steps.decide_some(&worker, &mut alive)?;
                    Ok::<_, Stop>((steps, alive, done))
                })
                .await?;
            (steps, alive) = (next, back);
            if done {
                alive.append_n((rows as usize).saturating_sub(alive.len()), false);
                return Ok(alive.finish());
            }
        }
    }

    /// Decodes slice by slice and hands the batches over.
    async fn emit(
        &self,
        scan: &Arc<Scan>,
        mut steps: Steps,
        mut fetches: Fetches,
        permit: &Arc<Permit>,
        progress: &mut Progress,
        sink: &Sink,
    ) -> Result<(), Stop> {
        let slots = Arc::new(Semaphore::new(BATCHES as usize));
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await.map_err(|_| cancelled())?;
            fetches.ready().await;
            let (worker, alive) = (Arc::clone(scan), progress.alive.clone());
            let (next, step) = scan
                .on_pool(move || {
                    let step = steps.next_batch(&worker, alive.as_ref())?;
                    Ok::<_, Stop>((steps, step))
                })
                .await?;
            steps = next;
            if let Some(batch) = step {
                let hold = Hold { _slot: slot, _memory: Arc::clone(permit) };
                sink.events.send(Event::Batch(steps.block, batch, hold)).await.map_err(|_| cancelled())?;
            } else if steps.slice.is_none() && steps.decoder.next_row().is_none() {
                scan.learn_pages(self.need.pages, steps.decoder.peak_pages());
                return Ok(());
            }
            // Only between slices: a slice that was begun is always handed over in full.
            if steps.slice.as_ref().is_none_or(|slice| slice.pieces.is_empty()) {
                progress.next_row = steps.decoder.next_row().unwrap_or(u64::MAX);
            }
        }
    }
}

/// A decoder with what it works on, moved to the pool for each step.
struct Steps {
    unit: Arc<Unit>,
    decoder: PassDecoder,
    /// Rows to look at in one step before others get their turn.
    step_rows: u64,
    slice: Option<Slice>,
    /// The block of the last batch's rows.
    block: u32,
    /// Something of the slice was handed over.
    handed_over: bool,
    _memory: Arc<Permit>,
}

impl Steps {
    /// Where all bytes are there.
    const STEP_ROWS: u64 = 128 << 10;

    /// Decodes some slices and appends a bit per row to `alive`. True at the end of the row group.
    fn decide_some(&mut self, scan: &Scan, alive: &mut BooleanBufferBuilder) -> Result<bool, Stop> {
        let mut looked_at = 0;
        while looked_at < self.step_rows {
            scan.check_cancelled()?;
            let ranges = self.decoder.next_ranges();
            if ranges.is_empty() {
                self.decoder.check_end()?;
                return Ok(true);
            }
            let rows = ranges.iter().map(|range| range.end - range.start).sum::<u64>();
            looked_at += rows;
            let mut slice = self.decoder.decode(&ranges, None)?;
            StatsCollector::add(&scan.context.stats.rows_decoded, rows);
            let mut decided = BooleanBufferBuilder::new(slice.rows);
            while let Some((batch, _)) = self.decoder.batch(&mut slice)? {
                decided.append_buffer(&self.survivors(scan, &batch)?);
            }
            let decided = decided.finish();
            let kept = match self.deleted(scan, &ranges) {
                Some(deleted) => {
                    let kept = &decided & &!&deleted;
                    let lost = decided.count_set_bits() - kept.count_set_bits();
                    StatsCollector::add(&scan.context.stats.rows_deleted, lost as u64);
                    kept
                }
                None => decided,
            };
            let mut at = 0;
            for range in &ranges {
                // What lies between two pieces is not read.
                alive.append_n((range.start as usize).saturating_sub(alive.len()), false);
                let rows = (range.end - range.start) as usize;
                alive.append_buffer(&kept.slice(at, rows));
                at += rows;
            }
            StatsCollector::add(&scan.context.stats.decode_us, self.decoder.take_decode_us());
        }
        Ok(false)
    }

    /// The next batch of what is returned. `None` may mean that a step found no surviving row, or came to the end of a slice.
    fn next_batch(&mut self, scan: &Scan, alive: Option<&BooleanBuffer>) -> Result<Option<RecordBatch>, Stop> {
        let mut looked_at = 0;
        while looked_at < self.step_rows {
            scan.check_cancelled()?;
            if let Some(slice) = &mut self.slice {
                if let Some((batch, block_end)) = self.decoder.batch(slice)? {
                    self.block = self.unit.block_of(block_end.saturating_sub(1));
                    if let Some(batch) = self.emitted(scan, batch)? {
                        self.handed_over = true;
                        StatsCollector::add(&scan.context.stats.decode_us, self.decoder.take_decode_us());
                        return Ok(Some(batch));
                    }
                    continue;
                }
                self.slice = None;
                // The next slice may end this attempt: the following one must begin behind what was handed over.
                if std::mem::take(&mut self.handed_over) && self.decoder.next_row().is_some() {
                    return Ok(None);
                }
            }
            let ranges = self.decoder.next_ranges();
            if ranges.is_empty() {
                self.decoder.check_end()?;
                return Ok(None);
            }
            let rows = ranges.iter().map(|range| range.end - range.start).sum::<u64>();
            looked_at += rows;
            let keep = match alive {
                Some(alive) => Some(bits_of(alive, &ranges)),
                None => {
                    let keep = self.deleted(scan, &ranges).map(|deleted| !&deleted);
                    let lost = keep.as_ref().map_or(0, |keep| keep.len() - keep.count_set_bits());
                    StatsCollector::add(&scan.context.stats.rows_deleted, lost as u64);
                    StatsCollector::add(&scan.context.stats.rows_decoded, rows);
                    keep
                }
            };
            let keep = keep.filter(|keep| keep.count_set_bits() < keep.len());
            self.slice = Some(self.decoder.decode(&ranges, keep.as_ref())?);
            StatsCollector::add(&scan.context.stats.decode_us, self.decoder.take_decode_us());
        }
        Ok(None)
    }

    /// Rows of ranges of the row group that position deletes or a vector remove.
    fn deleted(&self, scan: &Scan, ranges: &[Range<u64>]) -> Option<BooleanBuffer> {
        let first = self.unit.rows().start;
        let of = |range: &Range<u64>| self.unit.file.deletes.deleted_positions(first + range.start..first + range.end);
        scan.timers.timed(&scan.context.stats.delete_us, || {
            if let [range] = ranges {
                return of(range);
            }
            let mut deleted = BooleanBufferBuilder::new(ranges.iter().map(|range| (range.end - range.start) as usize).sum());
            for range in ranges {
                match of(range) {
                    Some(bits) => deleted.append_buffer(&bits),
                    None => deleted.append_n((range.end - range.start) as usize, false),
                }
            }
            Some(deleted.finish()).filter(|deleted| deleted.count_set_bits() > 0)
        })
    }

    /// Where this pass also decides: the rows of a batch that survive, in the output's columns. `None` where none do.
    fn emitted(&self, scan: &Scan, batch: RecordBatch) -> Result<Option<RecordBatch>, Stop> {
        let Some(Deciding { emits: Some(emits), .. }) = &self.unit.file.deciding else { return Ok(Some(batch)) };
        let alive = self.survivors(scan, &batch)?;
        let internal = |error: ArrowError| Error::internal(Stage::Read, "rows could not be filtered").source(error);
        let rows = alive.count_set_bits();
        if rows == 0 {
            return Ok(None);
        }
        let columns = emits.iter().filter_map(|at| batch.columns().get(*at).cloned()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(&scan.output.arrow);
        let projected = RecordBatch::try_new_with_options(schema, columns, &options).map_err(internal)?;
        if rows == projected.num_rows() {
            return Ok(Some(projected));
        }
        Ok(Some(filter_record_batch(&projected, &BooleanArray::new(alive, None)).map_err(internal)?))
    }

    /// The rows of a batch of the deciding pass that no equality delete removes and the filter lets pass.
    fn survivors(&self, scan: &Scan, batch: &RecordBatch) -> Result<BooleanBuffer> {
        let stats = &scan.context.stats;
        let file = &self.unit.file;
        let Some(deciding) = &file.deciding else {
            return Ok(BooleanBuffer::new_set(batch.num_rows()));
        };
        let schema = &deciding.pass.layout.schema;
        let deleted = scan.timers.timed(&stats.delete_us, || match file.deletes.equality_field_ids().is_empty() {
            true => Ok(None),
            false => file.deletes.equality_deleted(batch, schema),
        })?;
        let mut alive = match deleted {
            Some(deleted) => {
                StatsCollector::add(&stats.rows_deleted, deleted.count_set_bits() as u64);
                !&deleted
            }
            None => BooleanBuffer::new_set(batch.num_rows()),
        };
        if let Some(predicate) = &deciding.predicate {
            let passed = scan.timers.timed(&stats.filter_us, || predicate.evaluate(batch))?;
            if passed.len() != batch.num_rows() {
                return Err(Error::internal(Stage::Read, "the filter returned another number of rows"));
            }
            // NULL does not pass.
            let passed = match passed.nulls() {
                Some(nulls) => passed.values() & nulls.inner(),
                None => passed.values().clone(),
            };
            let before = alive.count_set_bits();
            alive = &alive & &passed;
            StatsCollector::add(&stats.rows_filtered, (before - alive.count_set_bits()) as u64);
        }
        Ok(alive)
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, Stage::Read, "the scan was dropped")
}
