//! How much memory reading one row group takes, and which way of reading it fits.
//!
//! Contract: everything that reading a row group holds is reserved in one piece before its first byte is fetched, so that it can
//! always finish without asking for more: compressed chunks (whole, or a few windows of each), inflated pages, one slice of
//! decoded rows, and the batches that wait. Two figures cannot be known before the pages are seen, how large pages are and how large
//! a row is; they are estimated, held to while decoding ([`crate::pages::PageMeter`]), and where one proves too small the row group goes
//! back, reserves more and carries on where it was. What cannot fit at all is `budget-too-small` with the figure.

use crate::footer::chunk_range;
use crate::open_file::{OpenFile, Pass};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use std::collections::BTreeSet;
use std::ops::Range;

/// Bytes of decoded rows that one slice aims at: small enough for the caches, large enough to make scheduling cheap.
const SLICE_BYTES: u64 = 4 << 20;
/// Writers close pages and dictionaries at about this size.
const PAGE_BYTES: u64 = 1 << 20;
/// A chunk is fetched whole up to this size where the budget allows.
const WHOLE_CHUNKS_BYTES: u64 = 96 << 20;
/// Room for pages that every row group gets.
const LEAST_PAGES: u64 = 256 << 10;
const LARGEST_WINDOW: u64 = 8 << 20;
const SMALLEST_WINDOW: u64 = 256 << 10;
/// Windows from a far store, and how many of a chunk are fetched at a time, the best first: each window costs a round trip and runs at
/// the speed of one connection.
const FAR_WINDOWS: [(u64, u64); 5] = [(8 << 20, 6), (4 << 20, 6), (2 << 20, 6), (1 << 20, 6), (1 << 20, 3)];
/// Windows of a chunk beside those that are being fetched: the one that is read, and one that waits.
const WINDOWS_BESIDE: u64 = 2;
/// Batches of a row group that may exist at a time: being made, waiting or with the consumer.
pub(crate) const BATCHES: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// Bytes that a fetch of a part of a column chunk brings.
    pub(crate) window: u64,
    /// Windows of a chunk that are fetched at a time.
    pub(crate) ahead: u64,
    pub(crate) compressed: u64,
    /// Inflated pages and decoded dictionaries that may be alive at a time.
    pub(crate) pages: u64,
    pub(crate) slice_rows: usize,
    slice_bytes: u64,
    /// The largest batch.
    pub(crate) batch: u64,
}

/// What a request and the budget allow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) batch_rows: usize,
    pub(crate) batch_bytes: u64,
    /// Bytes that one row group may ever take.
    pub(crate) ceiling: u64,
    /// Rows wanted of this row group, where fewer than all.
    pub(crate) rows: Option<u64>,
    /// The store answers after a round trip.
    pub(crate) far: bool,
}

/// Per column chunk: what the estimates are made of.
struct Chunk {
    bytes: u64,
    pages: u64,
}

impl Need {
    pub(crate) fn total(&self) -> u64 {
        self.compressed.saturating_add(self.pages).saturating_add(self.slice_bytes).saturating_add(self.batch.saturating_mul(BATCHES))
    }

    pub(crate) fn of(file: &OpenFile, row_group: &RowGroupMetaData, bounds: &Bounds) -> Need {
        let passes: Vec<&Pass> = file.deciding.iter().map(|d| &d.pass).chain(&file.output).collect();
        let leaves: BTreeSet<usize> = passes.iter().flat_map(|pass| pass.leaves()).collect();
        let columns: Vec<&ColumnChunkMetaData> = leaves.iter().filter_map(|leaf| row_group.columns().get(*leaf)).collect();
        let rows = row_group.num_rows().max(1) as u64;
        let decoded = columns.iter().map(|column| decoded_row_bytes(column, rows)).sum::<u64>();
        let computed = passes.iter().map(|pass| pass.computed_row_bytes(&file.facts)).max().unwrap_or(0);
        let row_bytes = (decoded + computed).max(1);

        let target = SLICE_BYTES.min(bounds.batch_bytes).min(bounds.ceiling / 16).max(1);
        let most_rows = (bounds.batch_rows as u64).min(bounds.rows.unwrap_or(u64::MAX)).clamp(1, rows);
        let slice_rows = match (target / row_bytes).clamp(1, most_rows) {
            // Whole words of the validity masks, and decoders like round figures.
            large if large > 1024 && large < most_rows => large / 1024 * 1024,
            small => small,
        };
        let slice_bytes = slice_rows * row_bytes;
        let chunks: Vec<Chunk> = columns.iter().map(|column| Chunk::of(column, rows, slice_rows)).collect();
        let pages = chunks.iter().map(|chunk| chunk.pages).sum();
        let batch = (slice_bytes * 3 / 2).max(256 << 10).min(bounds.batch_bytes);
        let mut need = Need { window: u64::MAX, ahead: 1, compressed: 0, pages, slice_rows: slice_rows as usize, slice_bytes, batch };
        need.choose_window(&chunks, bounds);
        // A slice takes no more of a chunk than a window, which is what is sure to be there.
        let longest = chunks.iter().map(|chunk| chunk.bytes).filter(|bytes| *bytes > need.longest_whole()).max();
        if let Some(longest) = longest {
            let most = u128::from(need.window) * u128::from(rows) / u128::from(longest);
            need.slice_rows = need.slice_rows.min(usize::try_from(most).unwrap_or(usize::MAX)).max(1);
        }
        need
    }

    /// The need where row groups read before took `permille` of what was estimated for their pages; and never more than there is:
    /// the estimate may be wrong, and decoding will tell.
    pub(crate) fn learned(mut self, permille: Option<u64>, ceiling: u64) -> Need {
        if let Some(permille) = permille {
            self.pages = (self.pages / 1000).saturating_mul(permille.saturating_add(permille / 4)).saturating_add(LEAST_PAGES);
        }
        let other = self.total() - self.pages;
        self.pages = self.pages.min(ceiling.saturating_sub(other).max(LEAST_PAGES));
        self
    }

    /// The longest chunk that is fetched whole; others are fetched window by window.
    pub(crate) fn longest_whole(&self) -> u64 {
        self.window.saturating_mul(self.ahead + WINDOWS_BESIDE)
    }

    /// Chunks whole if they are a fair share of the budget, else in the largest windows that are. From afar a row group may have most of the
    /// budget: row groups one by one are quicker than small windows of two.
    fn choose_window(&mut self, chunks: &[Chunk], bounds: &Bounds) {
        let whole: u64 = chunks.iter().map(|chunk| chunk.bytes).sum();
        let (half, most) = (bounds.ceiling / 2, bounds.ceiling / 8 * 7);
        let few_rows = bounds.rows.is_some() && whole > 4 << 20;
        self.compressed = whole;
        if !few_rows && whole <= WHOLE_CHUNKS_BYTES && self.total() <= half {
            return;
        }
        let mut fits = |window: u64, ahead: u64, share: u64| {
            (self.window, self.ahead) = (window, ahead);
            self.compressed = chunks.iter().map(|chunk| chunk.bytes.min(self.longest_whole())).sum();
            self.total() <= share
        };
        if bounds.far
            && !few_rows
            && [half, most].iter().any(|share| FAR_WINDOWS.iter().any(|(window, ahead)| fits(*window, *ahead, *share)))
        {
            return;
        }
        let mut window = if few_rows { 1 << 20 } else { LARGEST_WINDOW };
        while !fits(window, 1, half) && window > SMALLEST_WINDOW {
            window /= 2;
        }
    }

    /// What to reserve after pages of `live` bytes did not fit. `None` where even the whole budget will not do.
    pub(crate) fn with_pages(mut self, live: u64, ceiling: u64) -> Option<Need> {
        let wanted = (live.saturating_add(live / 4)).max(self.pages.saturating_mul(2));
        let other = self.total() - self.pages;
        let most = ceiling.saturating_sub(other);
        if live > most {
            // Many large pages may lie within one slice: take fewer rows at a time.
            if self.slice_rows == 1 {
                return None;
            }
            self.slice_rows = (self.slice_rows / 8).max(1);
        }
        self.pages = wanted.min(most).max(self.pages);
        Some(self)
    }

    /// What to reserve after a single row of `bytes` proved larger than a batch.
    pub(crate) fn with_batch(mut self, bytes: u64, ceiling: u64) -> Option<Need> {
        self.batch = bytes;
        (self.total() <= ceiling).then_some(self)
    }

    /// Bytes with which a row group can be read after pages of `live` bytes, or a batch of `batch` bytes, did not fit. Decoding stopped at
    /// the first that did not, and more may have followed, so pages count at least what they were estimated to take; and with more memory
    /// larger slices are decoded, so the figure is one at which the need stays below it.
    pub(crate) fn sufficient(file: &OpenFile, row_group: &RowGroupMetaData, bounds: &Bounds, live: u64, batch: u64) -> u64 {
        let mut ceiling = bounds.ceiling;
        for _ in 0..64 {
            let mut need = Need::of(file, row_group, &Bounds { ceiling, ..*bounds });
            need.pages = need.pages.max(live.saturating_add(live / 4));
            need.batch = need.batch.max(batch);
            if need.total() <= ceiling {
                break;
            }
            ceiling = need.total();
        }
        ceiling
    }
}

impl Chunk {
    fn of(column: &ColumnChunkMetaData, rows: u64, slice_rows: u64) -> Chunk {
        let range = chunk_range(column);
        let uncompressed = column.uncompressed_size().max(0) as u64;
        let page = uncompressed.min(PAGE_BYTES);
        let dictionary = dictionary_bytes(column, &range).min(uncompressed).min(PAGE_BYTES);
        // All pages that one slice touches are alive together where strings point into them.
        let touched = uncompressed / rows * slice_rows;
        let levels = if column.column_descr().max_rep_level() > 0 { 3 * page } else { 0 };
        Chunk { bytes: range.end - range.start, pages: page + page / 4 + dictionary * 3 / 2 + touched + levels + (16 << 10) }
    }
}

/// The inflated size of a chunk's dictionary, by the place it takes in the file and the chunk's ratio of compression; 0 where there is none.
fn dictionary_bytes(column: &ColumnChunkMetaData, range: &Range<u64>) -> u64 {
    let stored = (column.data_page_offset().max(0) as u64).saturating_sub(range.start);
    let chunk = (range.end - range.start).max(1);
    u64::try_from(u128::from(stored) * u128::from(column.uncompressed_size().max(0) as u64) / u128::from(chunk)).unwrap_or(u64::MAX)
}

/// Bytes that a row of this column takes decoded, with its share of levels.
fn decoded_row_bytes(column: &ColumnChunkMetaData, rows: u64) -> u64 {
    let values = (column.num_values().max(0) as u64).div_ceil(rows).max(1);
    let descriptor = column.column_descr();
    let width = match descriptor.physical_type() {
        PhysicalType::BOOLEAN => 1,
        PhysicalType::INT32 | PhysicalType::FLOAT => 4,
        PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
        PhysicalType::INT96 => 12,
        PhysicalType::FIXED_LEN_BYTE_ARRAY => (descriptor.type_length().max(0) as u64).max(16),
        // A view, and its share of the bytes once packed.
        PhysicalType::BYTE_ARRAY => 16 + (column.uncompressed_size().max(0) as u64 / rows / values),
    };
    let levels = if descriptor.max_rep_level() > 0 { 8 } else { 1 };
    values.saturating_mul(width + levels)
}
