//! Decoding a delete file's rows into what they become.
//!
//! Problem: neither the size of inflated pages nor that of the deletes is known before they are decoded. Contract: what is fetched and
//! inflated, and what the rows become, is reserved before it takes memory. How: row groups are fetched a few MiB at a time and decoded
//! from checked pages ([`crate::pages`]) on the pool; where pages or the deletes prove larger than reserved, decoding stops, more is
//! reserved, and the row group or batch is done again, which is why a [`RowSink`] must not mind rows that come twice.

use super::delete_parquet::{DeleteParquet, undecodable};
use super::memory::{Asker, Reservation};
use super::work::on_pool;
use crate::ReadContext;
use crate::pages::{ChunkCursor, Fault, PageMeter, RowGroupPages};
use arrow::array::RecordBatch;
use bytes::Bytes;
use fastdata_types::{Error, Result, Stage, Store};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::errors::ParquetError;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of column chunks that are fetched together.
const FETCH: u64 = 8 << 20;
/// Reserved for the inflated pages of one column until they prove larger.
const PAGES: u64 = 512 << 10;

/// What the rows of a delete file go into.
pub(super) trait RowSink: Send + 'static {
    /// Takes the rows of a batch of the wanted leaves. `Some(bytes)` where the sink must be allowed that many bytes first: then the
    /// same rows come again, as they do where pages proved too large.
    fn take(&mut self, batch: &RecordBatch, allowed: u64) -> Result<Option<u64>>;
}

/// Chunks by row group and leaf.
type Chunks = HashMap<(usize, usize), Bytes>;

/// A delete file whose first wanted row groups are fetched.
pub(super) struct Reading {
    file: Arc<DeleteParquet>,
    leaves: Arc<Vec<usize>>,
    /// Row groups that are fetched together.
    runs: VecDeque<Vec<usize>>,
    fetched: Option<(Vec<usize>, Arc<Chunks>)>,
    fetched_bytes: u64,
    memory: Reservation,
}

impl Reading {
    /// `leaves` ascend.
    pub(super) async fn start(
        file: DeleteParquet,
        store: &dyn Store,
        asker: &Asker,
        row_groups: Vec<usize>,
        leaves: Vec<usize>,
    ) -> Result<Reading> {
        let mut runs: VecDeque<Vec<usize>> = VecDeque::new();
        let mut run_bytes = 0u64;
        for row_group in row_groups {
            let mut bytes = 0u64;
            for leaf in &leaves {
                let range = file.range(row_group, *leaf)?;
                bytes = bytes.saturating_add(range.end - range.start);
            }
            run_bytes = run_bytes.saturating_add(bytes);
            match runs.back_mut() {
                Some(run) if run_bytes <= FETCH => run.push(row_group),
                _ => {
                    runs.push_back(vec![row_group]);
                    run_bytes = bytes;
                }
            }
        }
        let memory = asker.reservation(file.what.clone());
        let mut reading = Reading { file: Arc::new(file), leaves: Arc::new(leaves), runs, fetched: None, fetched_bytes: 0, memory };
        reading.fetch(store).await?;
        Ok(reading)
    }

    fn page_floor(&self) -> u64 {
        PAGES.saturating_mul(self.leaves.len() as u64)
    }

    /// Fetches the next run of row groups, if there is one.
    async fn fetch(&mut self, store: &dyn Store) -> Result<()> {
        self.fetched = None;
        let Some(run) = self.runs.pop_front() else { return Ok(()) };
        let tail_start = self.file.size - self.file.tail.len() as u64;
        let mut chunks = Chunks::new();
        let mut wanted: Vec<((usize, usize), Range<u64>)> = Vec::new();
        for row_group in &run {
            for leaf in self.leaves.iter() {
                let range = self.file.range(*row_group, *leaf)?;
                match range.start.checked_sub(tail_start) {
                    Some(start) => {
                        let bytes = self.file.tail.slice(start as usize..(range.end - tail_start) as usize);
                        chunks.insert((*row_group, *leaf), bytes);
                    }
                    None => wanted.push(((*row_group, *leaf), range)),
                }
            }
        }
        self.fetched_bytes = wanted.iter().map(|(_, range)| range.end - range.start).fold(0, u64::saturating_add);
        self.memory.grow_to(self.fetched_bytes.saturating_add(self.page_floor())).await?;
        if !wanted.is_empty() {
            let ranges: Vec<Range<u64>> = wanted.iter().map(|(_, range)| range.clone()).collect();
            let fetched = store.read_ranges(&self.file.path, &ranges).await.map_err(|e| e.context(&self.file.what))?;
            for ((at, range), bytes) in wanted.into_iter().zip(fetched) {
                if bytes.len() as u64 != range.end - range.start {
                    return Err(Error::internal(Stage::Read, format!("{}: the store returned too few bytes", self.file.what)));
                }
                chunks.insert(at, bytes);
            }
        }
        self.fetched = Some((run, Arc::new(chunks)));
        Ok(())
    }

    /// Decodes all rows into the sink; `kept` is the memory that the sink may fill.
    pub(super) async fn drain<S: RowSink>(
        mut self,
        store: &dyn Store,
        context: &ReadContext,
        mut sink: S,
        kept: &mut Reservation,
    ) -> Result<S> {
        while let Some((run, chunks)) = self.fetched.take() {
            for row_group in run {
                sink = self.drain_row_group(context, row_group, &chunks, sink, kept).await?;
            }
            drop(chunks);
            self.fetch(store).await?;
        }
        Ok(sink)
    }

    async fn drain_row_group<S: RowSink>(
        &mut self,
        context: &ReadContext,
        row_group: usize,
        chunks: &Arc<Chunks>,
        mut sink: S,
        kept: &mut Reservation,
    ) -> Result<S> {
        let mut decoding: Option<Decoding> = None;
        loop {
            let pages = self.memory.bytes().saturating_sub(self.fetched_bytes);
            let (file, leaves, chunks, allowed) = (Arc::clone(&self.file), Arc::clone(&self.leaves), Arc::clone(chunks), kept.bytes());
            let (back, outcome) = on_pool(context, &self.file.what, move || {
                let mut sink = sink;
                let decoding = match decoding {
                    Some(decoding) => Ok(decoding),
                    None => Decoding::new(&file, row_group, &leaves, &chunks, pages),
                };
                let outcome = match decoding {
                    Ok(decoding) => decoding.run(&mut sink, allowed)?,
                    Err(Stop::Pages(live)) => Outcome::Pages(live),
                    Err(Stop::Failed(error)) => return Err(error),
                };
                Ok((sink, outcome))
            })
            .await?;
            sink = back;
            match outcome {
                Outcome::Done => return Ok(sink),
                Outcome::Sink { needs, rest } => {
                    kept.grow_to(needs).await?;
                    decoding = Some(*rest);
                }
                Outcome::Pages(live) => {
                    let pages = live.max(pages.saturating_add(self.page_floor()));
                    self.memory.grow_to(self.fetched_bytes.saturating_add(pages)).await?;
                    decoding = None;
                }
            }
        }
    }
}

/// How decoding a row group went.
enum Outcome {
    Done,
    /// The sink wants to be allowed this many bytes.
    Sink {
        needs: u64,
        rest: Box<Decoding>,
    },
    /// Pages of this many bytes would be alive at once.
    Pages(u64),
}

enum Stop {
    Pages(u64),
    Failed(Error),
}

/// A row group half way.
struct Decoding {
    reader: ParquetRecordBatchReader,
    meter: Arc<PageMeter>,
    /// Decoded, and not taken yet.
    pending: Option<RecordBatch>,
    rows_left: u64,
}

impl Decoding {
    fn new(file: &DeleteParquet, row_group: usize, leaves: &[usize], chunks: &Chunks, pages: u64) -> Result<Self, Stop> {
        let meter = PageMeter::new(pages);
        let group = file.metadata.row_groups().get(row_group);
        let rows_left = group.and_then(|group| u64::try_from(group.num_rows()).ok());
        let rows_left = rows_left.ok_or_else(|| Stop::Failed(Error::corrupt(Stage::Read, "a row group has a negative row count")))?;
        let (levels, batch_rows) = file.levels(leaves).map_err(Stop::Failed)?;
        let cursor = |leaf| chunks.get(&(row_group, leaf)).map(|bytes| ChunkCursor::whole(bytes.clone()));
        let source = RowGroupPages { metadata: &file.metadata, row_group, meter: Arc::clone(&meter), cursor };
        let reader = ParquetRecordBatchReader::try_new_with_row_groups(&levels, &source, batch_rows, None);
        let reader = reader.map_err(|error| stop(&meter, &error))?;
        Ok(Decoding { reader, meter, pending: None, rows_left })
    }

    fn run(mut self, sink: &mut impl RowSink, allowed: u64) -> Result<Outcome> {
        loop {
            let batch = match self.pending.take() {
                Some(batch) => batch,
                None => match self.reader.next() {
                    Some(Ok(batch)) => batch,
                    None if self.rows_left == 0 => return Ok(Outcome::Done),
                    None => return Err(Error::corrupt(Stage::Read, format!("a row group ends {} rows early", self.rows_left))),
                    Some(Err(error)) => match stop(&self.meter, &ParquetError::ArrowError(error.to_string())) {
                        Stop::Pages(live) => return Ok(Outcome::Pages(live)),
                        Stop::Failed(error) => return Err(error),
                    },
                },
            };
            if let Some(needs) = sink.take(&batch, allowed)? {
                self.pending = Some(batch);
                return Ok(Outcome::Sink { needs, rest: Box::new(self) });
            }
            let left = self.rows_left.checked_sub(batch.num_rows() as u64);
            self.rows_left = left.ok_or_else(|| Error::corrupt(Stage::Read, "a row group has more rows than its metadata says"))?;
        }
    }
}

/// The reason that the meter noted, else the decoder's own error.
fn stop(meter: &PageMeter, error: &ParquetError) -> Stop {
    match meter.take_fault() {
        Some(Fault::NeedsPages(live)) => Stop::Pages(live),
        Some(Fault::Failed(error)) => Stop::Failed(error),
        None => Stop::Failed(undecodable(error)),
    }
}
