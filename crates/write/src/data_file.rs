//! Parquet files of a given layout: row groups, pages, codec, which columns, with or without field ids.
//!
//! Contract: the rows of the file are the rows of the batches, in order. Columns of unknown type are left out, as the specification
//! demands; so are the columns that the options name.

use crate::metrics::{Metrics, MetricsMode, collect, count_nans};
use crate::parquet_schema::{Naming, descriptor, leaves};
use crate::{cannot_write, json, misuse};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
use fastdata_types::arrow_type::arrow_field;
use fastdata_types::request::StringEncoding;
use fastdata_types::schema::StructType;
use fastdata_types::{Error, Field, Result, Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, Type as PhysicalType, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::SchemaDescriptor;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

/// Compression of Parquet pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Uncompressed,
    Snappy,
    Gzip,
    Brotli,
    Lz4Raw,
    Zstd,
}

/// Encodings of the values that no dictionary takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encodings {
    /// What the Parquet library takes: plain in pages of version 1, delta encodings in those of version 2.
    Usual,
    /// Differences for integers, lengths or prefixes apart for bytes, runs for booleans.
    Delta,
    /// The bytes of numbers and fixed values, one stream for each place; others plain.
    ByteStreamSplit,
}

/// What a manifest says of where a file can be split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SplitOffsets {
    /// The starts of the row groups.
    RowGroups,
    Absent,
    /// Whatever is given here, right or wrong.
    Given(Vec<i64>),
}

/// The layout of data files. The default is what a careful writer does.
#[derive(Debug, Clone)]
pub struct FileOptions {
    pub codec: Codec,
    pub row_group_rows: usize,
    /// Rows of a data page at most.
    pub page_rows: usize,
    /// Bytes of a data page, roughly.
    pub page_bytes: usize,
    pub page_v2: bool,
    pub dictionary: bool,
    pub encodings: Encodings,
    /// Statistics in the footer and the page index. Without them the manifest has no bounds either.
    pub statistics: bool,
    /// Rows of one file at most; what is more goes to the next file of the same partition.
    pub file_rows: usize,
    pub metrics: MetricsMode,
    pub split_offsets: SplitOffsets,
    /// Field ids in the Parquet schema. Without them a reader needs the table's name mapping.
    pub field_ids: bool,
    /// Lists and maps with the inner names of old Hive files.
    pub hive_lists: bool,
    /// Ids of top-level columns that the files lack.
    pub omit_columns: Vec<i32>,
}

impl Default for FileOptions {
    fn default() -> Self {
        FileOptions {
            codec: Codec::Zstd,
            row_group_rows: 128 * 1024,
            page_rows: 20_000,
            page_bytes: 1 << 20,
            page_v2: false,
            dictionary: true,
            encodings: Encodings::Usual,
            statistics: true,
            file_rows: 1 << 20,
            metrics: MetricsMode::Truncate(16),
            split_offsets: SplitOffsets::RowGroups,
            field_ids: true,
            hive_lists: false,
            omit_columns: vec![],
        }
    }
}

impl FileOptions {
    fn properties(&self, columns: &SchemaDescriptor) -> WriterProperties {
        let codec = match self.codec {
            Codec::Uncompressed => Compression::UNCOMPRESSED,
            Codec::Snappy => Compression::SNAPPY,
            Codec::Gzip => Compression::GZIP(Default::default()),
            Codec::Brotli => Compression::BROTLI(Default::default()),
            Codec::Lz4Raw => Compression::LZ4_RAW,
            Codec::Zstd => Compression::ZSTD(ZstdLevel::default()),
        };
        let truncated = if self.metrics == MetricsMode::Full { None } else { Some(64) };
        let mut properties = WriterProperties::builder();
        for column in columns.columns() {
            if let Some(encoding) = self.encodings.of(column.physical_type()) {
                properties = properties.set_column_encoding(column.path().clone(), encoding);
            }
        }
        properties
            .set_compression(codec)
            .set_max_row_group_row_count(Some(self.row_group_rows.max(1)))
            .set_data_page_row_count_limit(self.page_rows.max(1))
            .set_write_batch_size(self.page_rows.clamp(1, 1024))
            .set_data_page_size_limit(self.page_bytes.max(1))
            .set_writer_version(if self.page_v2 { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 })
            .set_dictionary_enabled(self.dictionary)
            .set_statistics_enabled(if self.statistics { EnabledStatistics::Page } else { EnabledStatistics::None })
            .set_statistics_truncate_length(truncated)
            .set_created_by(concat!("fastdata ", env!("CARGO_PKG_VERSION")).to_owned())
            .build()
    }
}

impl Encodings {
    fn of(self, ty: PhysicalType) -> Option<Encoding> {
        match (self, ty) {
            (Encodings::Delta, PhysicalType::BOOLEAN) => Some(Encoding::RLE),
            (Encodings::Delta, PhysicalType::INT32 | PhysicalType::INT64) => Some(Encoding::DELTA_BINARY_PACKED),
            (Encodings::Delta, PhysicalType::BYTE_ARRAY) => Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
            (Encodings::Delta, PhysicalType::FIXED_LEN_BYTE_ARRAY) => Some(Encoding::DELTA_BYTE_ARRAY),
            (Encodings::ByteStreamSplit, PhysicalType::BOOLEAN | PhysicalType::BYTE_ARRAY | PhysicalType::INT96) => None,
            (Encodings::ByteStreamSplit, _) => Some(Encoding::BYTE_STREAM_SPLIT),
            (Encodings::Usual | Encodings::Delta, _) => None,
        }
    }
}

/// What the manifest needs to know of a written file.
pub struct Written {
    pub rows: u64,
    pub bytes: u64,
    pub metrics: Metrics,
    pub split_offsets: Option<Vec<i64>>,
}

/// The fields of `fields` that a file of these options holds.
pub fn stored_fields(fields: &[Field], omit: &[i32]) -> Vec<Field> {
    fields.iter().filter(|f| !omit.contains(&f.id) && json::is_stored(&f.ty)).map(stored_field).collect()
}

fn stored_field(field: &Field) -> Field {
    let mut out = field.clone();
    if let Type::Struct(s) = &field.ty {
        out.ty = Type::Struct(StructType { fields: stored_fields(&s.fields, &[]) });
    } else if let Type::List(l) = &mut out.ty {
        l.element = stored_field(&l.element);
    } else if let Type::Map(m) = &mut out.ty {
        m.value = stored_field(&m.value);
    }
    out
}

/// Writes one file. The batches' columns are those of `fields`, in their order; of these the file holds what the options leave.
pub fn write(path: &Path, fields: &[Field], batches: &[RecordBatch], options: &FileOptions) -> Result<Written> {
    let stored = stored_fields(fields, &options.omit_columns);
    let naming = Naming { field_ids: options.field_ids, hive_lists: options.hive_lists };
    let arrow_fields = stored.iter().map(|f| arrow_field(f, StringEncoding::Utf8)).collect::<Result<Vec<_>>>()?;
    let arrow_schema = Arc::new(ArrowSchema::new(arrow_fields));
    let file = File::create(path).map_err(|e| cannot_write(path, e))?;
    let descriptor = descriptor(&stored, naming)?;
    let writer_options = ArrowWriterOptions::new()
        .with_properties(options.properties(&descriptor))
        .with_skip_arrow_metadata(true)
        .with_parquet_schema(descriptor);
    let failed = |e: parquet::errors::ParquetError| cannot_write(path, e);
    let mut writer = ArrowWriter::try_new_with_options(BufWriter::new(file), arrow_schema.clone(), writer_options).map_err(failed)?;
    let mut nans = BTreeMap::new();
    for batch in batches {
        let batch = stored_batch(batch, fields, &stored, &arrow_schema).map_err(|e| e.context(format!("for {}", path.display())))?;
        stored.iter().zip(batch.columns()).for_each(|(field, column)| count_nans(field, column, None, &mut nans));
        writer.write(&batch).map_err(failed)?;
    }
    let footer = writer.finish().map_err(failed)?;
    let bytes = writer.bytes_written() as u64;
    let starts = footer.row_groups().iter().filter_map(|group| group.columns().first()).map(|chunk| chunk.byte_range().0 as i64);
    let split_offsets = match &options.split_offsets {
        SplitOffsets::RowGroups => Some(starts.collect()),
        SplitOffsets::Absent => None,
        SplitOffsets::Given(offsets) => Some(offsets.clone()),
    };
    let metrics = collect(&footer, &leaves(&stored), &nans, options.metrics);
    Ok(Written { rows: footer.file_metadata().num_rows() as u64, bytes, metrics, split_offsets })
}

fn stored_batch(batch: &RecordBatch, fields: &[Field], stored: &[Field], schema: &Arc<ArrowSchema>) -> Result<RecordBatch> {
    if batch.num_columns() != fields.len() {
        return Err(misuse(format!("a batch of {} columns for a schema of {}", batch.num_columns(), fields.len())));
    }
    let mut columns = Vec::with_capacity(stored.len());
    for (field, target) in stored.iter().zip(schema.fields()) {
        let at = fields.iter().position(|f| f.id == field.id).ok_or_else(|| misuse(format!("no column '{}'", field.name)))?;
        columns
            .push(stored_array(batch.column(at), &fields[at], field, target).map_err(|e| e.context(format!("column '{}'", field.name)))?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(misfit)
}

fn misfit(cause: arrow::error::ArrowError) -> Error {
    misuse(format!("the batch does not fit the table's schema: {cause}"))
}

/// The same values under the target's names and metadata, without what is not stored.
fn stored_array(array: &ArrayRef, given: &Field, stored: &Field, target: &ArrowField) -> Result<ArrayRef> {
    let wrong = || misuse(format!("an array of {} where {} belongs", array.data_type(), given.ty));
    Ok(match (&given.ty, &stored.ty, target.data_type()) {
        (Type::Struct(g), Type::Struct(s), DataType::Struct(targets)) => {
            let columns = array.as_struct_opt().filter(|a| a.num_columns() == g.fields.len()).ok_or_else(wrong)?;
            let mut members = Vec::with_capacity(s.fields.len());
            for (field, target) in s.fields.iter().zip(targets) {
                let at = g.fields.iter().position(|f| f.id == field.id).ok_or_else(wrong)?;
                members.push(stored_array(columns.column(at), &g.fields[at], field, target)?);
            }
            Arc::new(StructArray::try_new(targets.clone(), members, array.nulls().cloned()).map_err(misfit)?)
        }
        (Type::List(g), Type::List(s), DataType::List(target)) => {
            let list = array.as_list_opt::<i32>().ok_or_else(wrong)?;
            let items = stored_array(list.values(), &g.element, &s.element, target)?;
            Arc::new(ListArray::try_new(target.clone(), list.offsets().clone(), items, array.nulls().cloned()).map_err(misfit)?)
        }
        (Type::Map(g), Type::Map(s), DataType::Map(target, _)) => {
            let map = array.as_map_opt().ok_or_else(wrong)?;
            let DataType::Struct(targets) = target.data_type() else { return Err(wrong()) };
            let [key_target, value_target] = &targets[..] else { return Err(wrong()) };
            let pair =
                vec![stored_array(map.keys(), &g.key, &s.key, key_target)?, stored_array(map.values(), &g.value, &s.value, value_target)?];
            let entries = StructArray::try_new(targets.clone(), pair, None).map_err(misfit)?;
            Arc::new(MapArray::try_new(target.clone(), map.offsets().clone(), entries, array.nulls().cloned(), false).map_err(misfit)?)
        }
        _ if array.data_type() == target.data_type() => array.clone(),
        _ => return Err(wrong()),
    })
}
