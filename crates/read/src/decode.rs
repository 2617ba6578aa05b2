//! Decoding one pass over one row group: slices of rows, columns side by side.
//!
//! How: each group of columns has a decoder of its own; for every slice all groups run in parallel on the pool, so that one row group
//! keeps every core busy, and each drops the rows that are known to be gone before it converts and packs what is left. A slice whose
//! rows prove large once packed (a repeated long string) is kept as views and packed piece by piece.

use crate::chunks::Chunks;
use crate::layout::Source;
use crate::need::Need;
use crate::open_file::{ColumnGroup, OpenFile, Pass};
use crate::pages::{Fault, PageBuffers, PageMeter};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{FilterBuilder, FilterPredicate};
use arrow::datatypes::DataType;
use fastdata_types::size::{cut, packed_bytes, row_bytes};
use fastdata_types::{Error, Result, Stage};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelection};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Why decoding a row group stopped before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Inflated pages of this many bytes would have to be alive at once.
    Pages(u64),
    /// A single row takes this many bytes.
    Batch(u64),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

/// The error of work that draws on no page.
pub(crate) fn failure(stop: Stop) -> Error {
    match stop {
        Stop::Failed(error) => error,
        Stop::Pages(_) | Stop::Batch(_) => Error::internal(Stage::Read, "rows that were decoded asked for more memory"),
    }
}

/// Which of a file's passes is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Deciding,
    Output,
}

pub(crate) struct PassDecoder {
    file: Arc<OpenFile>,
    which: Which,
    row_group: usize,
    readers: Vec<Option<ParquetRecordBatchReader>>,
    meter: Arc<PageMeter>,
    need: Need,
    /// Rows that are decoded, relative to the row group, ascending.
    ranges: VecDeque<Range<u64>>,
    /// Where the rows of each block end, ascending: no batch goes beyond.
    ends: VecDeque<u64>,
    /// All rows of the row group are decoded, so that the decoders must end where it does.
    to_the_end: bool,
    needs_positions: bool,
    decode_us: u64,
}

/// Decoded rows, in the order of the file, from which rows that are gone were dropped.
pub(crate) struct Slice {
    groups: Vec<Columns>,
    pub(crate) rows: usize,
    /// Positions in the file, where a computed column needs them.
    positions: Vec<u64>,
    /// Rows to make one batch of each, front first, and where their block ends in the row group.
    pub(crate) pieces: VecDeque<(Range<usize>, u64)>,
}

/// The columns of one group.
enum Columns {
    /// As decoded.
    Raw(Vec<ArrayRef>),
    /// As they are returned.
    Ready(Vec<ArrayRef>),
}

struct DecodedGroup {
    columns: Columns,
    packed: u64,
    micros: u64,
}

impl PassDecoder {
    #[expect(clippy::too_many_arguments, reason = "each is a fact of its own, and there is one caller")]
    /// `ranges` are the rows to decode, ascending, relative to the row group, and `ends` where blocks end in it; `rows` is what the row group has.
    pub(crate) fn new(
        file: Arc<OpenFile>,
        which: Which,
        row_group: usize,
        chunks: &Chunks,
        buffers: &Arc<PageBuffers>,
        need: Need,
        (ranges, ends): (Vec<Range<u64>>, VecDeque<u64>),
        rows: u64,
    ) -> Result<Self, Stop> {
        let meter = PageMeter::recycling(need.pages, Arc::clone(buffers));
        let to_the_end = ranges.len() == 1 && ranges.first() == Some(&(0..rows));
        let selection = || {
            let ranges = ranges.iter().map(|range| range.start as usize..range.end as usize);
            (!to_the_end).then(|| RowSelection::from_consecutive_ranges(ranges, rows as usize))
        };
        let pass = pass_of(&file, which)?;
        let mut readers = Vec::with_capacity(pass.groups.len());
        for group in &pass.groups {
            readers.push(match group.projection.leaves() {
                [] => None,
                _ => {
                    let pages = chunks.pages(&file, row_group, &meter);
                    let reader = ParquetRecordBatchReader::try_new_with_row_groups(&group.levels, &pages, need.slice_rows, selection());
                    Some(reader.map_err(|error| stop(&meter, error))?)
                }
            });
        }
        let needs_positions = pass.layout.sources.iter().any(|source| source.needs_positions());
        Ok(PassDecoder {
            which,
            row_group,
            readers,
            meter,
            need,
            ranges: ranges.into(),
            ends,
            to_the_end,
            needs_positions,
            decode_us: 0,
            file,
        })
    }

    /// The most bytes of pages that were alive at once.
    pub(crate) fn peak_pages(&self) -> u64 {
        self.meter.peak()
    }

    /// Microseconds spent decoding since the last call, summed over threads.
    pub(crate) fn take_decode_us(&mut self) -> u64 {
        std::mem::take(&mut self.decode_us)
    }

    /// The first row that was not decoded yet, relative to the row group; `None` at the end.
    pub(crate) fn next_row(&self) -> Option<u64> {
        self.ranges.front().map(|range| range.start)
    }

    /// The rows of the next slice, which [`PassDecoder::decode`] takes; empty at the end.
    pub(crate) fn next_ranges(&mut self) -> Vec<Range<u64>> {
        let mut left = self.need.slice_rows as u64;
        let mut taken = Vec::new();
        while left > 0
            && let Some(range) = self.ranges.front_mut()
        {
            let count = left.min(range.end - range.start);
            taken.push(range.start..range.start + count);
            range.start += count;
            left -= count;
            if range.is_empty() {
                self.ranges.pop_front();
            }
        }
        taken
    }

    /// Decodes the rows of `ranges`, the next ones in order, and keeps those whose bit in `keep` is set (all, where it is `None`).
    pub(crate) fn decode(&mut self, ranges: &[Range<u64>], keep: Option<&BooleanBuffer>) -> Result<Slice, Stop> {
        let rows: usize = ranges.iter().map(|range| (range.end - range.start) as usize).sum();
        let filter = keep.map(|keep| FilterBuilder::new(&BooleanArray::new(keep.clone(), None)).optimize().build());
        let kept = filter.as_ref().map_or(rows, FilterPredicate::count);
        let pass = pass_of(&self.file, self.which)?;
        let quota = self.need.batch / pass.groups.len().max(1) as u64;
        let meter = &self.meter;
        let work = self.readers.par_iter_mut().zip(&pass.groups).map(|(reader, group)| {
            let start = Instant::now();
            let decoded = match reader {
                Some(reader) => decode_group(reader, rows, meter)?,
                None => vec![],
            };
            let decoded = match &filter {
                Some(filter) => decoded.iter().map(|array| filter.filter(array)).collect::<Result<Vec<_>, _>>().map_err(kernel)?,
                None => decoded,
            };
            let computed = group.projection.constant_row_bytes().saturating_mul(kept as u64);
            let packed = decoded.iter().map(|array| packed_bytes(array)).sum::<u64>().saturating_add(computed);
            let columns = match packed <= quota {
                true => Columns::Ready(group.projection.transform(&decoded, kept)?),
                false => Columns::Raw(decoded),
            };
            Ok(DecodedGroup { columns, packed, micros: start.elapsed().as_micros() as u64 })
        });
        let groups: Vec<DecodedGroup> = work.collect::<Result<Vec<_>, Stop>>()?;
        self.decode_us += groups.iter().map(|group| group.micros).sum::<u64>();
        let computed = pass.layout.sources.iter().map(|source| self.file.facts.row_bytes(*source)).sum::<u64>();
        let packed = groups.iter().map(|group| group.packed).sum::<u64>().saturating_add(computed.saturating_mul(kept as u64));
        let groups: Vec<Columns> = groups.into_iter().map(|group| group.columns).collect();
        let positions = if self.needs_positions { self.positions(ranges, keep) } else { vec![] };
        let pieces = match packed <= self.need.batch {
            true if kept == 0 => VecDeque::new(),
            true => VecDeque::from([0..kept]),
            false => self.cut(pass, &groups, kept, computed)?,
        };
        let pieces = self.by_block(pieces, ranges, keep);
        Ok(Slice { groups, rows: kept, positions, pieces })
    }

    /// Cuts pieces where blocks end.
    fn by_block(
        &mut self,
        pieces: VecDeque<Range<usize>>,
        ranges: &[Range<u64>],
        keep: Option<&BooleanBuffer>,
    ) -> VecDeque<(Range<usize>, u64)> {
        let first = ranges.first().map_or(0, |range| range.start);
        while self.ends.len() > 1 && self.ends.front().is_some_and(|end| *end <= first) {
            self.ends.pop_front();
        }
        // How many of the rows that are kept lie before an end.
        let kept_before = |end: u64| {
            let rows = ranges.iter().map(|range| range.end.min(end).saturating_sub(range.start)).sum::<u64>() as usize;
            keep.map_or(rows, |keep| keep.slice(0, rows).count_set_bits())
        };
        let mut cut = VecDeque::with_capacity(pieces.len());
        let mut ends = self.ends.iter().copied().map(|end| (kept_before(end), end)).peekable();
        for Range { mut start, end } in pieces {
            while start < end {
                let (kept, block_end) = ends.peek().copied().unwrap_or((usize::MAX, u64::MAX));
                if kept > start {
                    cut.push_back((start..kept.min(end), block_end));
                    start = kept.min(end);
                } else {
                    ends.next();
                }
            }
        }
        cut
    }

    fn cut(&self, pass: &Pass, groups: &[Columns], rows: usize, computed: u64) -> Result<VecDeque<Range<usize>>, Stop> {
        let constants: u64 = pass.groups.iter().map(|group| group.projection.constant_row_bytes()).sum();
        let mut sizes = vec![computed.saturating_add(constants); rows];
        for Columns::Raw(arrays) | Columns::Ready(arrays) in groups {
            for array in arrays {
                sizes.iter_mut().zip(row_bytes(array)).for_each(|(size, more)| *size = size.saturating_add(more));
            }
        }
        match sizes.iter().max() {
            Some(largest) if *largest > self.need.batch => Err(Stop::Batch(*largest)),
            _ => Ok(cut(&sizes, self.need.batch, usize::MAX).into()),
        }
    }

    fn positions(&self, ranges: &[Range<u64>], keep: Option<&BooleanBuffer>) -> Vec<u64> {
        let first = self.file.footer.rows(self.row_group).start;
        let all = ranges.iter().cloned().flatten().map(|row| first + row);
        match keep {
            None => all.collect(),
            Some(keep) => all.zip(keep.iter()).filter(|(_, keep)| *keep).map(|(position, _)| position).collect(),
        }
    }

    /// Makes the next batch of a slice, with where its block ends; `None` where it has no more.
    pub(crate) fn batch(&mut self, slice: &mut Slice) -> Result<Option<(RecordBatch, u64)>, Stop> {
        let Some((piece, block_end)) = slice.pieces.pop_front() else { return Ok(None) };
        let pass = pass_of(&self.file, self.which)?;
        let whole = piece == (0..slice.rows);
        let start = Instant::now();
        let part = |array: &ArrayRef| if whole { Arc::clone(array) } else { array.slice(piece.start, piece.len()) };
        let ready = slice.groups.par_iter().zip(&pass.groups).map(|(columns, group)| match columns {
            Columns::Ready(arrays) => Ok(arrays.iter().map(part).collect()),
            Columns::Raw(arrays) => group.projection.transform(&arrays.iter().map(part).collect::<Vec<_>>(), piece.len()),
        });
        let ready: Vec<Vec<ArrayRef>> = ready.collect::<Result<_>>()?;
        let positions = slice.positions.get(piece.clone()).unwrap_or_default();
        let batch = self.assemble(pass, ready, piece.len(), positions)?;
        self.decode_us += start.elapsed().as_micros() as u64;
        Ok(Some((batch, block_end)))
    }

    fn assemble(&self, pass: &Pass, ready: Vec<Vec<ArrayRef>>, rows: usize, positions: &[u64]) -> Result<RecordBatch> {
        let layout = &pass.layout;
        let mut read: Vec<Option<ArrayRef>> = vec![None; layout.target.fields.len()];
        for (group, arrays) in pass.groups.iter().zip(ready) {
            for (at, array) in group.fields.iter().zip(arrays) {
                if let Some(slot) = read.get_mut(*at) {
                    *slot = Some(array);
                }
            }
        }
        let facts = &self.file.facts;
        let mut columns = Vec::with_capacity(layout.sources.len());
        for (source, field) in layout.sources.iter().zip(&layout.schema.fields) {
            let stored = match source {
                Source::File(at) | Source::RowId { stored: at } | Source::SequenceNumber { stored: at } => {
                    read.get(*at).and_then(Option::as_ref)
                }
                _ => None,
            };
            columns.push(match (source, stored) {
                (Source::File(_), Some(array)) => without_waste(array),
                (Source::File(_), None) => return Err(Error::internal(Stage::Read, "a column was not decoded")),
                _ => facts.column(*source, field, layout.strings, rows, positions, stored)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&layout.arrow), columns, &options)
            .map_err(|error| Error::corrupt(Stage::Read, "its columns do not make a batch of the table's schema").source(error))
    }

    /// At the end of the row group: no column may have more rows than its metadata says.
    pub(crate) fn check_end(&mut self) -> Result<(), Stop> {
        if !self.to_the_end {
            return Ok(());
        }
        for reader in self.readers.iter_mut().flatten() {
            match reader.next() {
                None => {}
                Some(Ok(_)) => return Err(Error::corrupt(Stage::Read, "a column has more rows than its row group").into()),
                Some(Err(error)) => return Err(stop(&self.meter, error)),
            }
        }
        Ok(())
    }
}

fn pass_of(file: &OpenFile, which: Which) -> Result<&Pass> {
    match which {
        Which::Deciding => file.deciding.as_ref().map(|deciding| &deciding.pass),
        Which::Output => file.output.as_ref(),
    }
    .ok_or_else(|| Error::internal(Stage::Read, "the file has no such pass"))
}

fn decode_group(reader: &mut ParquetRecordBatchReader, rows: usize, meter: &PageMeter) -> Result<Vec<ArrayRef>, Stop> {
    let batch = match reader.next() {
        Some(Ok(batch)) => batch,
        Some(Err(error)) => return Err(stop(meter, error)),
        None => return Err(Error::corrupt(Stage::Read, "a column has fewer rows than its row group").into()),
    };
    if batch.num_rows() != rows {
        return Err(Error::corrupt(Stage::Read, format!("a column has {} rows where its row group has {rows}", batch.num_rows())).into());
    }
    Ok(batch.columns().to_vec())
}

/// The reason that the meter noted, else the decoder's own error.
fn stop(meter: &PageMeter, error: impl std::error::Error + Send + Sync + 'static) -> Stop {
    match meter.take_fault() {
        Some(Fault::NeedsPages(live)) => Stop::Pages(live),
        Some(Fault::Failed(error)) => Stop::Failed(error),
        None => Stop::Failed(Error::corrupt(Stage::Read, error.to_string())),
    }
}

fn kernel(error: arrow::error::ArrowError) -> Stop {
    Stop::Failed(Error::internal(Stage::Read, "rows could not be filtered").source(error))
}

/// A view array that keeps much more alive than it shows is copied together.
pub(crate) fn without_waste(array: &ArrayRef) -> ArrayRef {
    fn wasteful(kept: usize, shown: usize) -> bool {
        kept > 64 << 10 && kept / 2 > shown
    }
    match array.data_type() {
        DataType::Utf8View => {
            let views = array.as_string_view();
            let kept = views.data_buffers().iter().map(|buffer| buffer.capacity()).sum();
            if wasteful(kept, views.total_buffer_bytes_used()) { Arc::new(views.gc()) } else { Arc::clone(array) }
        }
        DataType::Struct(fields) => {
            let inner = array.as_struct();
            let columns = inner.columns().iter().map(without_waste).collect();
            arrow::array::StructArray::try_new(fields.clone(), columns, inner.nulls().cloned())
                .map_or_else(|_| Arc::clone(array), |packed| Arc::new(packed) as ArrayRef)
        }
        DataType::List(field) => {
            let list = array.as_list::<i32>();
            let values = without_waste(list.values());
            arrow::array::ListArray::try_new(Arc::clone(field), list.offsets().clone(), values, list.nulls().cloned())
                .map_or_else(|_| Arc::clone(array), |packed| Arc::new(packed) as ArrayRef)
        }
        _ => Arc::clone(array),
    }
}

/// Bits of `alive` for these rows, one after the other.
pub(crate) fn bits_of(alive: &BooleanBuffer, ranges: &[Range<u64>]) -> BooleanBuffer {
    if let [range] = ranges {
        return alive.slice(range.start as usize, (range.end - range.start) as usize);
    }
    let mut bits = BooleanBufferBuilder::new(ranges.iter().map(|range| (range.end - range.start) as usize).sum());
    for range in ranges {
        bits.append_buffer(&alive.slice(range.start as usize, (range.end - range.start) as usize));
    }
    bits.finish()
}

/// The rows to decode so that all set bits are among them: short gaps are decoded along, for skipping has its price, too.
pub(crate) fn ranges_to_decode(alive: &BooleanBuffer, from: u64) -> Vec<Range<u64>> {
    /// Skipping fewer rows than this gains nothing.
    const SHORTEST_SKIP: u64 = 256;
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for (start, end) in alive.set_slices() {
        let run = (start as u64).max(from)..end as u64;
        if run.is_empty() {
            continue;
        }
        match ranges.last_mut() {
            Some(last) if run.start - last.end < SHORTEST_SKIP => last.end = run.end,
            _ => ranges.push(run),
        }
    }
    ranges
}

/// A pass's groups, for callers that must know whether there is anything to read.
pub(crate) fn leaves_of(groups: &[ColumnGroup]) -> std::collections::BTreeSet<usize> {
    groups.iter().flat_map(|group| group.projection.leaves().iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_surviving_row_is_among_those_to_decode_and_long_gaps_are_skipped() {
        let mut bits = vec![false; 10_000];
        for at in [0, 5, 300, 4000, 4001, 9999] {
            bits[at] = true;
        }
        let alive = BooleanBuffer::from(bits);
        assert_eq!(ranges_to_decode(&alive, 0), vec![0..6, 300..301, 4000..4002, 9999..10_000]);
        assert_eq!(ranges_to_decode(&alive, 4001), vec![4001..4002, 9999..10_000]);
        let ranges = ranges_to_decode(&alive, 0);
        assert_eq!(bits_of(&alive, &ranges).count_set_bits(), 6);
    }
}
