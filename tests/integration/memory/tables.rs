//! Tables that are large in one way each, made in seconds: columns share their arrays, nothing is compressed.

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use fastdata_types::arrow_type::arrow_schema;
use fastdata_types::request::StringEncoding;
use fastdata_types::{Field, PrimitiveType, Schema, TableName, Type};
use fastdata_write::{Codec, FileOptions, PositionDeletes, Table, TableOptions, Warehouse};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// `big.t` in the warehouse `w` below a folder of its own.
pub struct Made {
    folder: TempDir,
    /// That a scan returns.
    pub rows: u64,
}

impl Made {
    pub fn directory(&self) -> &Path {
        self.folder.path()
    }
}

/// A new table, and what to keep of it.
pub fn create(format_version: u8, fields: Vec<Field>) -> (TempDir, Table) {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(&folder.path().join("w")).unwrap();
    let options = TableOptions { format_version, ..TableOptions::new(Schema::new(0, fields).unwrap()) };
    let table = warehouse.create_table(&TableName::new(["big"], "t"), options).unwrap();
    (folder, table)
}

pub fn batch(table: &Table, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(Arc::new(arrow_schema(table.schema(), StringEncoding::Utf8).unwrap()), columns).unwrap()
}

fn plain() -> FileOptions {
    FileOptions { codec: Codec::Uncompressed, dictionary: false, ..FileOptions::default() }
}

fn append(table: &mut Table, batches: &[RecordBatch], options: &FileOptions) -> Vec<String> {
    let mut change = table.change();
    let files = change.append(batches, options).unwrap();
    change.commit().unwrap();
    files
}

/// Numbers that no encoding shortens.
fn noise(count: usize, seed: u64) -> ArrayRef {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)) as i64
    };
    Arc::new(Int64Array::from_iter_values(std::iter::repeat_with(next).take(count)))
}

fn words(count: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values((0..count).map(|i| format!("word {:>9}", i.wrapping_mul(2_654_435_761) % 1_000_003))))
}

fn sequence(from: usize, to: usize) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(from as i64..to as i64))
}

/// A thousand columns.
pub fn wide() -> Made {
    let (rows, columns) = (15_000, 1000);
    let name = |i: i32| format!("c{i}");
    let field = |i: i32| match i % 3 {
        0 => Field::optional(i + 1, name(i), PrimitiveType::Long),
        1 => Field::optional(i + 1, name(i), PrimitiveType::Double),
        _ => Field::optional(i + 1, name(i), PrimitiveType::String),
    };
    let (folder, mut table) = create(2, (0..columns).map(field).collect());
    let doubles: ArrayRef = Arc::new(Float64Array::from_iter_values((0..rows).map(|i| i as f64 / 7.0)));
    let arrays = [noise(rows, 1), doubles, words(rows)];
    let batch = batch(&table, (0..columns as usize).map(|i| Arc::clone(&arrays[i % 3])).collect());
    append(&mut table, &[batch], &plain());
    Made { folder, rows: rows as u64 }
}

/// Three columns and many row groups.
pub fn long() -> Made {
    let (rows, parts) = (500_000, 10);
    let (folder, mut table) = create(
        2,
        vec![
            Field::required(1, "id", PrimitiveType::Long),
            Field::optional(2, "x", PrimitiveType::Long),
            Field::optional(3, "word", PrimitiveType::String),
        ],
    );
    let (x, word) = (noise(rows, 2), words(rows));
    let part = |nth: usize| batch(&table, vec![sequence(nth * rows, (nth + 1) * rows), Arc::clone(&x), Arc::clone(&word)]);
    let batches: Vec<RecordBatch> = (0..parts).map(part).collect();
    append(&mut table, &batches, &FileOptions { file_rows: rows * parts, ..plain() });
    Made { folder, rows: (rows * parts) as u64 }
}

/// Three million rows of six columns in one row group: larger than any budget tried.
pub fn huge_row_group() -> Made {
    let (rows, parts) = (500_000, 12);
    let (folder, mut table) = create(2, (1..=6).map(|i| Field::optional(i, format!("c{i}"), PrimitiveType::Long)).collect());
    let arrays: Vec<ArrayRef> = (1..=6).map(|seed| noise(rows, seed)).collect();
    let batches = vec![batch(&table, arrays); parts];
    let whole = rows * parts;
    append(&mut table, &batches, &FileOptions { row_group_rows: whole, file_rows: whole, ..plain() });
    Made { folder, rows: whole as u64 }
}

/// Three thousand files of a few rows.
pub fn small_files() -> Made {
    let (files, rows) = (3000, 20);
    let fields = vec![Field::required(1, "id", PrimitiveType::Long), Field::optional(2, "word", PrimitiveType::String)];
    let (folder, mut table) = create(2, fields);
    let batch = batch(&table, vec![sequence(0, files * rows), words(files * rows)]);
    assert_eq!(append(&mut table, &[batch], &FileOptions { file_rows: rows, ..FileOptions::default() }).len(), files);
    Made { folder, rows: (files * rows) as u64 }
}

/// Lists of half a million numbers and of fifty thousand strings.
pub fn long_lists() -> Made {
    let (rows, numbers, strings) = (48, 500_000, 50_000);
    let fields = vec![
        Field::required(1, "id", PrimitiveType::Long),
        Field::optional(2, "numbers", Type::list(3, true, PrimitiveType::Long)),
        Field::optional(4, "strings", Type::list(5, false, PrimitiveType::String)),
    ];
    let (folder, mut table) = create(2, fields);
    let schema = arrow_schema(table.schema(), StringEncoding::Utf8).unwrap();
    let list = |column: usize, length: usize, values: ArrayRef| -> ArrayRef {
        let arrow::datatypes::DataType::List(element) = schema.field(column).data_type() else { panic!("a list") };
        Arc::new(ListArray::try_new(Arc::clone(element), OffsetBuffer::from_lengths([length]), values, None).unwrap())
    };
    let (numbers, strings) = (list(1, numbers, noise(numbers, 3)), list(2, strings, words(strings)));
    let row = |id: usize| batch(&table, vec![sequence(id, id + 1), Arc::clone(&numbers), Arc::clone(&strings)]);
    let batches: Vec<RecordBatch> = (0..rows).map(row).collect();
    append(&mut table, &batches, &plain());
    Made { folder, rows: rows as u64 }
}

/// Four files of half a million rows: `id` counts through them, `x` is noise.
fn counted(format_version: u8) -> (TempDir, Table, Vec<String>, usize) {
    let rows = 500_000;
    let fields = vec![Field::required(1, "id", PrimitiveType::Long), Field::optional(2, "x", PrimitiveType::Long)];
    let (folder, mut table) = create(format_version, fields);
    let x = noise(rows, 4);
    let batches: Vec<RecordBatch> = (0..4).map(|nth| batch(&table, vec![sequence(nth * rows, (nth + 1) * rows), Arc::clone(&x)])).collect();
    let files = append(&mut table, &batches, &FileOptions { file_rows: rows, ..plain() });
    (folder, table, files, rows)
}

/// Of two million rows a sixteenth goes by position and half a million more by key.
pub fn deletes() -> Made {
    let (folder, mut table, files, rows) = counted(2);
    // The first 31 250 rows of each file, by position; from the last file all others, by id.
    let gone = rows / 16;
    let positions = files.iter().flat_map(|file| (0..gone as i64).map(|at| (Some(file.clone()), at))).collect();
    let mut change = table.change();
    change.delete_positions(&PositionDeletes { rows: positions, file_scoped: false, path_bounds: false }).unwrap();
    change.commit().unwrap();
    let keys = RecordBatch::try_new(
        Arc::new(arrow_schema(&table.projection(&[1]).unwrap(), StringEncoding::Utf8).unwrap()),
        vec![sequence(3 * rows, 4 * rows)],
    )
    .unwrap();
    let mut change = table.change();
    change.delete_equal(&[1], keys, None).unwrap();
    change.commit().unwrap();
    Made { folder, rows: 3 * (rows - gone) as u64 }
}

/// Every other row of two million.
pub fn vectors() -> Made {
    let (folder, mut table, files, rows) = counted(3);
    let vectors: Vec<(String, Vec<u64>)> = files.into_iter().map(|file| (file, (0..rows as u64).step_by(2).collect())).collect();
    let mut change = table.change();
    change.delete_vectors(&vectors).unwrap();
    change.commit().unwrap();
    Made { folder, rows: 2 * rows as u64 }
}

/// A table of one value repeated, for the one who writes its file.
pub fn made(folder: TempDir, rows: u64) -> Made {
    Made { folder, rows }
}
