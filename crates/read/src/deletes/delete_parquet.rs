//! Parquet files that hold deletes: footer, wanted column chunks, batches.
//!
//! Problem: a delete file is small or large, honest or hostile, and only a few of its columns are wanted. Contract: the size that the
//! manifest states must be the file's; only the wanted column chunks of the wanted row groups are fetched; what is fetched and
//! inflated is reserved before; strings and binaries arrive as views, so that a dictionary does not grow by being decoded. How: one
//! tail read holds the footer and, of a small file, everything; [`super::drain`] decodes.

use super::memory::{Asker, Reservation};
use super::work::on_pool;
use crate::ReadContext;
use crate::footer::{chunk_range, has_encrypted_columns};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use bytes::Bytes;
use fastdata_types::plan::{DeleteFile, FileFormat};
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, Result, Stage, Store};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels, parquet_to_arrow_schema};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of the first read: the footer, and the whole of a small file.
const TAIL: u64 = 64 << 10;
/// The largest footer of a delete file.
const MAX_FOOTER: u64 = 16 << 20;
/// Magic at both ends, footer length, and an empty footer.
const SHORTEST_FILE: u64 = 12;
/// Rows of a decoded batch.
const BATCH_ROWS: usize = 8192;
/// Bytes of a decoded batch of wide fixed-size values.
const BATCH_BYTES: usize = 4 << 20;

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

pub(super) fn corrupt(what: &str, why: impl std::fmt::Display) -> Error {
    Error::corrupt(Stage::Read, format!("{what}: {why}")).advice("the delete file is damaged or was replaced: restore it")
}

/// A delete file's footer, and what was read along with it.
#[derive(Debug)]
pub(super) struct DeleteParquet {
    /// Its name in messages.
    pub(super) what: String,
    pub(super) path: String,
    pub(super) size: u64,
    /// The last bytes of the file, footer included.
    pub(super) tail: Bytes,
    pub(super) metadata: ParquetMetaData,
    /// For tail and footer.
    _memory: Reservation,
}

impl DeleteParquet {
    pub(super) async fn open(store: &dyn Store, context: &ReadContext, asker: &Asker, delete: &DeleteFile) -> Result<Self> {
        refuse_unreadable(delete, FileFormat::Parquet)?;
        let what = name_of(delete);
        let mut memory = asker.reservation(what.clone());
        memory.grow_to(TAIL.min(delete.file_size)).await?;
        let (tail, size) = store.read_tail(&delete.path, TAIL).await.map_err(|e| e.context(&what))?;
        StatsCollector::add(&context.stats.delete_files_read, 1);
        if size != delete.file_size {
            return Err(corrupt(&what, format!("it has {size} bytes, the manifest says {}", delete.file_size)));
        }
        let length = footer_length(&what, &tail, size)?;
        let (kept, inside) = (tail.len() as u64, length + 8);
        let footer = match kept.checked_sub(inside) {
            Some(before) => tail.slice(before as usize..tail.len() - 8),
            None => {
                memory.grow_to(kept + length).await?;
                let range = size - inside..size - 8;
                let ranges = store.read_ranges(&delete.path, std::slice::from_ref(&range)).await.map_err(|e| e.context(&what))?;
                ranges.into_iter().next().ok_or_else(|| Error::internal(Stage::Read, format!("{what}: the store returned no range")))?
            }
        };
        if has_encrypted_columns(&footer) {
            return Err(Error::unsupported(Stage::Read, format!("{what} has encrypted columns")));
        }
        let parse = move || ParquetMetaDataReader::decode_metadata(&footer).map_err(|e| undecodable(&e));
        let metadata = on_pool(context, &what, parse).await?;
        Ok(DeleteParquet { what, path: delete.path.clone(), size, tail, metadata, _memory: memory })
    }

    fn chunk(&self, row_group: usize, leaf: usize) -> Result<&ColumnChunkMetaData> {
        let chunk = self.metadata.row_groups().get(row_group).and_then(|group| group.columns().get(leaf));
        chunk.ok_or_else(|| corrupt(&self.what, format!("row group {row_group} lacks a column")))
    }

    /// Where a wanted chunk lies, checked.
    pub(super) fn range(&self, row_group: usize, leaf: usize) -> Result<Range<u64>> {
        let chunk = self.chunk(row_group, leaf)?;
        let wrong = |why: &str| corrupt(&self.what, format!("column '{}' {why}", chunk.column_path().string()));
        if chunk.file_path().is_some_and(|path| !path.is_empty()) {
            return Err(Error::unsupported(Stage::Read, format!("{}: it keeps columns in other files", self.what)));
        }
        if chunk.data_page_offset() < 0 || chunk.compressed_size() < 0 || chunk.num_values() < 0 {
            return Err(wrong("has a negative offset, size or count"));
        }
        let range = chunk_range(chunk);
        if range.end > self.size { Err(wrong("lies outside the file")) } else { Ok(range) }
    }

    /// The decoder's plan for the wanted leaves, strings and binaries as views, and how many rows a batch has.
    pub(super) fn levels(&self, leaves: &[usize]) -> Result<(FieldLevels, usize)> {
        let schema = self.metadata.file_metadata().schema_descr();
        let mask = ProjectionMask::leaves(schema, leaves.iter().copied());
        let width = |leaf: &usize| match schema.columns().get(*leaf) {
            Some(column) if column.physical_type() == PhysicalType::FIXED_LEN_BYTE_ARRAY => column.type_length().max(0) as usize,
            _ => 16,
        };
        let rows = (BATCH_BYTES / leaves.iter().map(width).sum::<usize>().max(1)).clamp(1, BATCH_ROWS);
        if let Ok(plain) = parquet_to_arrow_schema(schema, None) {
            let hint: Fields = plain.fields().iter().map(with_views).collect();
            let levels = parquet_to_arrow_field_levels(schema, mask, Some(&hint)).map_err(|e| undecodable(&e))?;
            return Ok((levels, rows));
        }
        // A column that is not wanted has no Arrow form: without a hint, strings are copied, so batches are short.
        let levels = parquet_to_arrow_field_levels(schema, mask, None).map_err(|e| undecodable(&e))?;
        Ok((levels, rows.min(16)))
    }
}

/// Length of the footer's metadata, from the last eight bytes.
fn footer_length(what: &str, tail: &Bytes, size: u64) -> Result<u64> {
    let (length, magic) = match tail.last_chunk::<8>() {
        Some([a, b, c, d, magic @ ..]) if size >= SHORTEST_FILE => (u64::from(u32::from_le_bytes([*a, *b, *c, *d])), *magic),
        _ => return Err(corrupt(what, format!("{size} bytes are no Parquet file"))),
    };
    match &magic {
        b"PAR1" => {}
        b"PARE" => return Err(Error::unsupported(Stage::Read, format!("{what} is encrypted"))),
        _ => return Err(corrupt(what, "it does not end as a Parquet file does")),
    }
    if length > size - SHORTEST_FILE {
        return Err(corrupt(what, format!("its footer claims {length} of {size} bytes")));
    }
    if length > MAX_FOOTER {
        return Err(Error::limit(Stage::Read, format!("{what}: its footer has {length} bytes, more than {MAX_FOOTER}")));
    }
    Ok(length)
}

pub(super) fn undecodable(error: &ParquetError) -> Error {
    let detail: String = error.to_string().chars().take(200).collect();
    Error::corrupt(Stage::Read, format!("it does not decode as Parquet: {detail}")).advice("the delete file is damaged: restore it")
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
