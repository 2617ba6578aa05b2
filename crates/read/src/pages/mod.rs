//! The pages of one column chunk, checked before they are inflated or decoded.
//!
//! Contract: a page is handed to the decoder only after its header's figures were compared with the bytes that are there (sizes, counts
//! of dictionary entries, totals of delta encodings, level lengths), its checksum was right where it has one, and its inflated bytes
//! were counted by the row group's [`PageMeter`]. Whatever a file claims, no more is allocated than the meter allows.

mod codec;
mod cursor;
mod delta;
mod header;
mod meter;
mod of_row_group;
mod recycle;

pub(crate) use cursor::ChunkCursor;
use meter::Charge;
pub(crate) use meter::{Fault, PageMeter};
pub(crate) use of_row_group::RowGroupPages;
pub(crate) use recycle::PageBuffers;

use crate::thrift;
use codec::Codec;
use fastdata_types::{Error, Result, Stage};
use header::{MAX_HEADER_BYTES, PageHeader, PageKind};
use parquet::basic::{Compression, Encoding, Type as PhysicalType};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;
use std::sync::Arc;

/// Bytes that the decoder keeps for a value of a repeated column beside the value itself: two levels and an offset.
const LEVEL_BYTES: u64 = 8;
/// A string or binary view.
const VIEW_BYTES: u64 = 16;

/// Reads the pages of one chunk in order.
pub(crate) struct PageSource {
    cursor: ChunkCursor,
    codec: Codec,
    column: ColumnDescPtr,
    meter: Arc<PageMeter>,
    /// A header that was peeked at; the cursor stands behind it.
    peeked: Option<PageHeader>,
    /// Values that the chunk's metadata still announces.
    values_left: u64,
    /// The decoded dictionary lives as long as its column is read.
    dictionary: Option<Charge>,
}

impl PageSource {
    pub(crate) fn new(
        cursor: ChunkCursor,
        compression: Compression,
        column: ColumnDescPtr,
        values: u64,
        meter: Arc<PageMeter>,
    ) -> Result<PageSource> {
        let codec = Codec::new(compression).map_err(|why| Error::unsupported(Stage::Read, why))?;
        Ok(PageSource { cursor, codec, column, meter, peeked: None, values_left: values, dictionary: None })
    }

    fn corrupt(&self, why: impl std::fmt::Display) -> Error {
        Error::corrupt(Stage::Read, format!("column '{}': {why}", self.column.path().string()))
    }

    /// The next header, index pages left out; the cursor stands behind it.
    fn header(&mut self) -> Result<Option<PageHeader>> {
        loop {
            if let Some(header) = self.peeked {
                return Ok(Some(header));
            }
            if self.cursor.remaining() == 0 {
                return Ok(None);
            }
            let header = self.parse_header()?;
            if u64::from(header.compressed) > self.cursor.remaining() {
                return Err(self.corrupt("a page is longer than its column chunk"));
            }
            if header.kind == PageKind::Index {
                self.cursor.skip(u64::from(header.compressed))?;
                continue;
            }
            self.peeked = Some(header);
        }
    }

    fn parse_header(&mut self) -> Result<PageHeader> {
        let mut wanted = 256;
        loop {
            let remaining = self.cursor.remaining();
            let bytes = self.cursor.peek(wanted)?;
            let complete = bytes.len() as u64 == remaining || bytes.len() >= MAX_HEADER_BYTES;
            match header::parse(bytes.get(..MAX_HEADER_BYTES).unwrap_or(bytes)) {
                Ok((header, length)) => {
                    self.cursor.skip(length as u64)?;
                    return Ok(header);
                }
                Err(thrift::Fault::Truncated) if !complete => wanted = bytes.len().saturating_mul(4),
                Err(thrift::Fault::Truncated) => return Err(self.corrupt("a page header is cut off")),
                Err(thrift::Fault::Malformed(why)) => return Err(self.corrupt(format!("a page header is malformed: {why}"))),
            }
        }
    }

    fn next_page(&mut self) -> Result<Option<Page>> {
        let Some(header) = self.header()? else {
            if self.values_left > 0 {
                return Err(self.corrupt(format!("its pages end {} values early", self.values_left)));
            }
            return Ok(None);
        };
        self.peeked = None;
        self.count_values(&header)?;
        let charge = self.meter.charge(self.page_charge(&header)).ok_or_else(shortage)?;
        if let PageKind::Dictionary { values, .. } = header.kind {
            self.dictionary = Some(self.meter.charge(u64::from(values) * self.value_width()).ok_or_else(shortage)?);
        }
        let body = self.cursor.take(header.compressed as usize)?;
        if header.crc.is_some_and(|crc| crc != crc32fast::hash(&body)) {
            return Err(self.corrupt("a page's checksum does not match its bytes"));
        }
        let levels = level_bytes(&header);
        if levels > u64::from(header.uncompressed) || levels > body.len() as u64 {
            return Err(self.corrupt("a page's levels are longer than the page"));
        }
        let compressed = !matches!(header.kind, PageKind::DataV2 { compressed: false, .. });
        let buffer = if self.codec.is_none() || !compressed {
            if body.len() != header.uncompressed as usize {
                return Err(self.corrupt("a page's two sizes differ though it is not compressed"));
            }
            meter::charged(body, charge)
        } else {
            let mut inflated = self.meter.buffers().take(header.uncompressed as usize);
            let (levels, values) = body.split_at(levels as usize);
            inflated.extend_from_slice(levels);
            let size = header.uncompressed as usize - levels.len();
            self.codec.inflate(values, &mut inflated, size).map_err(|why| self.corrupt(why))?;
            meter::charged(recycle::Recycled { bytes: inflated, home: Arc::clone(self.meter.buffers()) }, charge)
        };
        let encoding = self.check_body(&header, &buffer)?;
        Ok(Some(page(header, encoding, buffer)))
    }

    /// Pages may not hold more values than the chunk's metadata announced.
    fn count_values(&mut self, header: &PageHeader) -> Result<()> {
        let values = match header.kind {
            PageKind::Data { values, .. } => values,
            PageKind::DataV2 { values, nulls, rows, .. } => {
                if nulls > values || rows > values {
                    return Err(self.corrupt("a page has more nulls or rows than values"));
                }
                values
            }
            PageKind::Dictionary { .. } | PageKind::Index => return Ok(()),
        };
        self.values_left = self
            .values_left
            .checked_sub(u64::from(values))
            .ok_or_else(|| self.corrupt("its pages hold more values than its metadata says"))?;
        Ok(())
    }

    /// What the page costs while it is alive: its bytes, and what decoding must hold beside them at its worst.
    fn page_charge(&self, header: &PageHeader) -> u64 {
        let repeated = self.column.max_rep_level() > 0;
        let width = self.value_width();
        let beside = match header.kind {
            // All values of a page may belong to one row.
            PageKind::Data { values, encoding, .. } | PageKind::DataV2 { values, encoding, .. } => {
                let levels = if repeated { u64::from(values) * (LEVEL_BYTES + width) } else { 0 };
                let lengths = if delta::has_lengths(encoding) { u64::from(values) * 8 } else { 0 };
                levels + lengths
            }
            PageKind::Dictionary { .. } | PageKind::Index => 0,
        };
        let (windowed, plain) = (self.cursor.is_windowed(), self.codec.is_none());
        let input = if windowed && !plain { u64::from(header.compressed) } else { 0 };
        // A page that is not compressed is a slice of its chunk, and a whole chunk is reserved already.
        let body = if plain && !windowed { 0 } else { u64::from(header.uncompressed) };
        body + beside + input
    }

    /// Bytes of one decoded value; strings are decoded as views.
    fn value_width(&self) -> u64 {
        match self.column.physical_type() {
            PhysicalType::BOOLEAN => 1,
            PhysicalType::INT32 | PhysicalType::FLOAT => 4,
            PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
            PhysicalType::INT96 => 12,
            PhysicalType::BYTE_ARRAY => VIEW_BYTES,
            PhysicalType::FIXED_LEN_BYTE_ARRAY => self.column.type_length().max(0) as u64,
        }
    }

    /// Compares counts that the decoder would allocate by with the bytes that would have to hold them. Returns the encoding to
    /// decode the page with.
    fn check_body(&self, header: &PageHeader, body: &[u8]) -> Result<Encoding> {
        match header.kind {
            PageKind::Dictionary { values, encoding } => {
                let least = match self.column.physical_type() {
                    PhysicalType::BYTE_ARRAY => 4,
                    PhysicalType::BOOLEAN => return Err(self.corrupt("a dictionary of booleans")),
                    _ => self.value_width(),
                };
                if u64::from(values).saturating_mul(least) > body.len() as u64 {
                    return Err(self.corrupt("a dictionary has fewer entries than its header says"));
                }
                Ok(encoding)
            }
            PageKind::Data { values, encoding, definition, repetition } => {
                let mut at = 0usize;
                for (max, kind) in [(self.column.max_rep_level(), repetition), (self.column.max_def_level(), definition)] {
                    if max > 0 {
                        let length = v1_level_bytes(body.get(at..).unwrap_or_default(), kind, max, values)
                            .ok_or_else(|| self.corrupt("a page's levels are longer than the page"))?;
                        at += length;
                    }
                }
                self.check_values(encoding, values, body.get(at..).unwrap_or_default())
            }
            PageKind::DataV2 { values, encoding, .. } => {
                let at = level_bytes(header) as usize;
                self.check_values(encoding, values, body.get(at..).unwrap_or_default())
            }
            PageKind::Index => Ok(Encoding::PLAIN),
        }
    }

    fn check_values(&self, encoding: Encoding, values: u32, body: &[u8]) -> Result<Encoding> {
        #[allow(deprecated)]
        if matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY) {
            return match body.first() {
                // A page of nulls alone may leave its indexes out altogether, which the decoder takes only in the plain encoding.
                None => Ok(Encoding::PLAIN),
                Some(width) if *width <= 32 => Ok(encoding),
                Some(_) => Err(self.corrupt("dictionary indexes have an impossible bit width")),
            };
        }
        if delta::is_delta(encoding) && !body.is_empty() {
            let prefixes = delta::prefix_bytes(encoding, body, values).map_err(|why| self.corrupt(why))?;
            // Asked only whether it would fit: the decoder writes the values out slice by slice.
            self.meter.charge(prefixes).ok_or_else(shortage)?;
        }
        Ok(encoding)
    }
}

/// The error whose real reason the meter holds.
fn shortage() -> Error {
    Error::internal(Stage::Read, "a page does not fit in the memory reserved for it")
}

/// Bytes of the levels in front of a v2 page, which are never compressed.
fn level_bytes(header: &PageHeader) -> u64 {
    match header.kind {
        PageKind::DataV2 { definition_bytes, repetition_bytes, .. } => u64::from(definition_bytes) + u64::from(repetition_bytes),
        _ => 0,
    }
}

fn v1_level_bytes(body: &[u8], encoding: Encoding, max_level: i16, values: u32) -> Option<usize> {
    #[allow(deprecated)]
    let length = match encoding {
        Encoding::BIT_PACKED => {
            let bits = u64::from(16 - (max_level as u16).leading_zeros());
            usize::try_from((u64::from(values) * bits).div_ceil(8)).ok()?
        }
        _ => {
            let prefix = u32::from_le_bytes(*body.first_chunk::<4>()?);
            (prefix as usize).checked_add(4)?
        }
    };
    (length <= body.len()).then_some(length)
}

fn page(header: PageHeader, encoding: Encoding, buf: bytes::Bytes) -> Page {
    match header.kind {
        PageKind::Dictionary { values, .. } => Page::DictionaryPage { buf, num_values: values, encoding, is_sorted: false },
        PageKind::DataV2 { values, nulls, rows, definition_bytes, repetition_bytes, compressed, .. } => Page::DataPageV2 {
            buf,
            num_values: values,
            encoding,
            num_nulls: nulls,
            num_rows: rows,
            def_levels_byte_len: definition_bytes,
            rep_levels_byte_len: repetition_bytes,
            is_compressed: compressed,
            statistics: None,
        },
        PageKind::Data { values, definition, repetition, .. } => Page::DataPage {
            buf,
            num_values: values,
            encoding,
            def_level_encoding: definition,
            rep_level_encoding: repetition,
            statistics: None,
        },
        // `PageSource::header` never returns one.
        PageKind::Index => Page::DictionaryPage { buf, num_values: 0, encoding: Encoding::PLAIN, is_sorted: false },
    }
}

impl PageSource {
    fn noted<T>(&self, result: Result<T>) -> Result<T, ParquetError> {
        result.map_err(|error| {
            let text = ParquetError::General(error.message().to_owned());
            // A shortage was noted when it arose.
            if error.kind() != fastdata_types::ErrorKind::Internal {
                self.meter.fail(Fault::Failed(error));
            }
            text
        })
    }
}

impl Iterator for PageSource {
    type Item = Result<Page, ParquetError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for PageSource {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let page = self.next_page();
        self.noted(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        let header = self.header();
        Ok(self.noted(header)?.map(|header| match header.kind {
            PageKind::Data { values, .. } => PageMetadata { num_rows: None, num_levels: Some(values as usize), is_dict: false },
            PageKind::DataV2 { values, rows, .. } => {
                PageMetadata { num_rows: Some(rows as usize), num_levels: Some(values as usize), is_dict: false }
            }
            PageKind::Dictionary { .. } | PageKind::Index => PageMetadata { num_rows: None, num_levels: None, is_dict: true },
        }))
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        let skipped = self.header().and_then(|header| match header {
            Some(header) => {
                self.peeked = None;
                self.count_values(&header)?;
                self.cursor.skip(u64::from(header.compressed))
            }
            None => Ok(()),
        });
        self.noted(skipped)
    }
}

#[cfg(test)]
mod tests;
