//! Parquet files that hold deletes: footer, wanted column chunks, batches.
//!
//! Problem: a delete file is small or large, honest or hostile, and only a few of its columns are wanted. Contract: the size that the
//! manifest states must be the file's; only the wanted column chunks of the wanted row groups are fetched; strings and binaries
//! arrive as views, so that a dictionary never grows by being decoded. How: one tail read holds the footer and, of a small
//! file, everything.

use super::work::on_pool;
use crate::ReadContext;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use bytes::{Buf, Bytes};
use fastdata_types::plan::{DeleteFile, FileFormat};
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, Result, Stage, Store};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of the first read: the footer, and the whole of a small file.
pub(super) const TAIL: u64 = 64 * 1024;
/// The largest footer of a delete file.
const MAX_FOOTER: u64 = 16 << 20;
/// Magic at both ends, footer length, and an empty footer.
const SHORTEST_FILE: u64 = 12;
/// Rows of a decoded batch.
pub(super) const BATCH_ROWS: usize = 8192;

/// A delete file's footer, and what was read along with it.
#[derive(Debug)]
pub(super) struct DeleteParquet {
    what: String,
    path: String,
    size: u64,
    tail: Bytes,
    pub(super) metadata: Arc<ParquetMetaData>,
}

/// How a delete file is called in messages.
pub(super) fn name_of(delete: &DeleteFile) -> String {
    format!("delete file '{}'", delete.path)
}

/// Delete files that are not read are refused, never skipped (spec "Delete Formats").
pub(super) fn refuse_unreadable(delete: &DeleteFile, wanted: FileFormat) -> Result<()> {
    if delete.encrypted {
        return Err(Error::unsupported(Stage::Read, format!("{} is encrypted", name_of(delete))));
    }
    if delete.format != wanted {
        return Err(Error::unsupported(
            Stage::Read,
            format!("{} is of format {}, which is not read for this kind of delete", name_of(delete), delete.format.name()),
        )
        .advice("compact the table with the engine that wrote it: the deletes become part of the data files"));
    }
    Ok(())
}

pub(super) async fn open(store: &dyn Store, context: &ReadContext, delete: &DeleteFile) -> Result<DeleteParquet> {
    refuse_unreadable(delete, FileFormat::Parquet)?;
    let what = name_of(delete);
    let (tail, size) = store.read_tail(&delete.path, TAIL).await.map_err(|e| e.context(&what))?;
    StatsCollector::add(&context.stats.delete_files_read, 1);
    let corrupt = |why: String| {
        Error::corrupt(Stage::Read, format!("{what}: {why}")).advice("the delete file is damaged or was replaced: restore it")
    };
    if size != delete.file_size {
        return Err(corrupt(format!("it has {size} bytes, the manifest says {}", delete.file_size)));
    }
    let (length, magic) = match tail.last_chunk::<8>() {
        Some([a, b, c, d, magic @ ..]) if size >= SHORTEST_FILE => (u64::from(u32::from_le_bytes([*a, *b, *c, *d])), *magic),
        _ => return Err(corrupt(format!("{size} bytes are no Parquet file"))),
    };
    match &magic {
        b"PAR1" => {}
        b"PARE" => return Err(Error::unsupported(Stage::Read, format!("{what} is encrypted"))),
        _ => return Err(corrupt("it does not end as a Parquet file does".into())),
    }
    if length > size - SHORTEST_FILE {
        return Err(corrupt(format!("its footer claims {length} of {size} bytes")));
    }
    if length > MAX_FOOTER {
        return Err(Error::limit(Stage::Read, format!("{what}: its footer has {length} bytes, more than {MAX_FOOTER}")));
    }
    let start = size - 8 - length;
    let footer = match (tail.len() as u64).checked_sub(length + 8) {
        Some(before) => tail.slice(before as usize..tail.len() - 8),
        None => {
            let ranges = store.read_ranges(&delete.path, &[start..size - 8]).await.map_err(|e| e.context(&what))?;
            ranges.into_iter().next().ok_or_else(|| Error::internal(Stage::Read, format!("{what}: the store returned no range")))?
        }
    };
    let metadata =
        on_pool(context, &what, move || ParquetMetaDataReader::decode_metadata(&footer).map(Arc::new).map_err(|e| undecodable(&e))).await?;
    Ok(DeleteParquet { what, path: delete.path.clone(), size, tail, metadata })
}

/// The error for a Parquet file that does not decode.
pub(super) fn undecodable(error: &ParquetError) -> Error {
    let detail: String = error.to_string().chars().take(200).collect();
    Error::corrupt(Stage::Read, format!("it does not decode as Parquet: {detail}")).advice("the delete file is damaged: restore it")
}

impl DeleteParquet {
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// The fetched and the inflated size of the wanted chunks, as the footer claims them; both at most what is plausible for the file.
    pub(super) fn claimed_sizes(&self, row_groups: &[usize], leaves: &[usize]) -> (u64, u64) {
        let mut sizes = (0u64, 0u64);
        for chunk in self.chunks(row_groups, leaves) {
            sizes.0 = sizes.0.saturating_add(u64::try_from(chunk.compressed_size()).unwrap_or(0));
            sizes.1 = sizes.1.saturating_add(u64::try_from(chunk.uncompressed_size()).unwrap_or(0));
        }
        sizes
    }

    fn chunks<'a>(
        &'a self,
        row_groups: &'a [usize],
        leaves: &'a [usize],
    ) -> impl Iterator<Item = &'a parquet::file::metadata::ColumnChunkMetaData> + 'a {
        let groups = row_groups.iter().filter_map(|at| self.metadata.row_groups().get(*at));
        groups.flat_map(|group: &RowGroupMetaData| leaves.iter().filter_map(|leaf| group.columns().get(*leaf)))
    }

    /// Fetches the wanted column chunks.
    pub(super) async fn fetch(&self, store: &dyn Store, row_groups: &[usize], leaves: &[usize]) -> Result<SparseFile> {
        let tail_start = self.size - self.tail.len() as u64;
        let mut wanted: Vec<Range<u64>> = Vec::new();
        for chunk in self.chunks(row_groups, leaves) {
            let range = self.chunk_range(chunk)?;
            if range.start < tail_start && !range.is_empty() {
                wanted.push(range);
            }
        }
        wanted.sort_by_key(|r| r.start);
        wanted.dedup();
        let mut pieces = vec![(tail_start, self.tail.clone())];
        if !wanted.is_empty() {
            let bytes = store.read_ranges(&self.path, &wanted).await.map_err(|e| e.context(&self.what))?;
            pieces.extend(wanted.iter().map(|r| r.start).zip(bytes));
        }
        Ok(SparseFile { size: self.size, pieces: Arc::new(pieces) })
    }

    fn chunk_range(&self, chunk: &parquet::file::metadata::ColumnChunkMetaData) -> Result<Range<u64>> {
        let start = match chunk.dictionary_page_offset() {
            Some(offset) if offset > 0 => offset.min(chunk.data_page_offset()),
            _ => chunk.data_page_offset(),
        };
        let range = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
        match range.and_then(|(start, length)| Some(start..start.checked_add(length)?)) {
            Some(range) if range.end <= self.size => Ok(range),
            _ => {
                Err(Error::corrupt(Stage::Read, format!("{}: column '{}' lies outside the file", self.what, chunk.column_path().string())))
            }
        }
    }

    /// A reader of the wanted leaves, in the order of the file.
    pub(super) fn reader(&self, file: SparseFile, row_groups: Vec<usize>, leaves: &[usize]) -> Result<ParquetRecordBatchReader> {
        let failed = |e: ParquetError| undecodable(&e);
        let plain = ArrowReaderMetadata::try_new(Arc::clone(&self.metadata), ArrowReaderOptions::new().with_skip_arrow_metadata(true))
            .map_err(failed)?;
        let fields: Fields = plain.schema().fields().iter().map(with_views).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, plain.schema().metadata().clone()));
        let viewed =
            ArrowReaderMetadata::try_new(Arc::clone(&self.metadata), ArrowReaderOptions::new().with_schema(schema)).map_err(failed)?;
        let mask = ProjectionMask::leaves(viewed.parquet_schema(), leaves.iter().copied());
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, viewed)
            .with_row_groups(row_groups)
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(failed)
    }
}

/// The next batch of a delete file.
pub(super) fn next_batch(reader: &mut ParquetRecordBatchReader) -> Result<Option<RecordBatch>> {
    reader.next().transpose().map_err(|e| undecodable(&ParquetError::ArrowError(e.to_string())))
}

/// The same field with its strings and binaries as views; lists and maps are left alone, no delete reads them.
fn with_views(field: &FieldRef) -> FieldRef {
    let viewed = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Struct(children) => DataType::Struct(children.iter().map(with_views).collect()),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(viewed))
}

/// The parts of a file that were fetched.
#[derive(Debug, Clone)]
pub(super) struct SparseFile {
    size: u64,
    /// Offset in the file, and bytes.
    pieces: Arc<Vec<(u64, Bytes)>>,
}

impl SparseFile {
    /// All fetched bytes from `start` on, within one piece.
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let found = self.pieces.iter().find_map(|(offset, bytes)| {
            let skip = usize::try_from(start.checked_sub(*offset)?).ok()?;
            (skip < bytes.len()).then(|| bytes.slice(skip..))
        });
        found.ok_or_else(|| ParquetError::EOF(format!("byte {start} belongs to no fetched column chunk")))
    }
}

impl Length for SparseFile {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for SparseFile {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let bytes = self.from(start)?;
        match length <= bytes.len() {
            true => Ok(bytes.slice(..length)),
            false => Err(ParquetError::EOF(format!("{length} bytes at {start} exceed the column chunk"))),
        }
    }
}
