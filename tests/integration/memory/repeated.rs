//! One 64 KiB string behind a million rows: 64 GiB of values in a file of a few MiB.
//!
//! How: one row group is written as any other, then its encoded column chunks are copied twenty times: each holds the value once, in its
//! dictionary.

use super::tables::{self, Made};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use bytes::Bytes;
use fastdata_types::{Field, PrimitiveType};
use fastdata_write::FileOptions;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use std::sync::Arc;

const VALUE_BYTES: usize = 64 << 10;
const BATCH_ROWS: usize = 512;
const ROW_GROUP_ROWS: usize = 98 * BATCH_ROWS;
const ROW_GROUPS: usize = 20;

pub fn table() -> Made {
    let fields = vec![Field::required(1, "id", PrimitiveType::Long), Field::optional(2, "text", PrimitiveType::String)];
    let (folder, mut table) = tables::create(2, fields);
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..BATCH_ROWS as i64));
    let text: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n("x".repeat(VALUE_BYTES), BATCH_ROWS)));
    let batches = vec![tables::batch(&table, vec![ids, text]); ROW_GROUP_ROWS / BATCH_ROWS];
    let mut change = table.change();
    let location = change.append(&batches, &FileOptions::default()).unwrap().remove(0);
    let path = location.trim_start_matches("file://");
    let repeated = copied(Bytes::from(std::fs::read(path).unwrap()));
    std::fs::write(path, &repeated).unwrap();
    let file = &mut change.added_files()[0];
    file.record_count = (ROW_GROUP_ROWS * ROW_GROUPS) as u64;
    file.file_size = repeated.len() as u64;
    file.split_offsets = None;
    change.commit().unwrap();
    tables::made(folder, (ROW_GROUP_ROWS * ROW_GROUPS) as u64)
}

/// The only row group of a file, many times over.
fn copied(file: Bytes) -> Vec<u8> {
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    let (metadata, row_group) = (reader.metadata(), reader.metadata().row_group(0));
    assert_eq!((metadata.num_row_groups(), row_group.num_rows()), (1, ROW_GROUP_ROWS as i64));
    let schema = metadata.file_metadata().schema_descr().root_schema_ptr();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::new())).unwrap();
    for _ in 0..ROW_GROUPS {
        let mut group = writer.next_row_group().unwrap();
        for column in row_group.columns() {
            let close = ColumnCloseResult {
                bytes_written: column.compressed_size() as u64,
                rows_written: row_group.num_rows() as u64,
                metadata: column.clone(),
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            group.append_column(&file, close).unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}
