//! What other engines rely on: the bytes and the JSON of written tables. Reading them back whole is tested where the reader is.

use crate::values::{batch, rows};
use crate::*;
use arrow::array::RecordBatch;
use fastdata_types::transform::Transform;
use fastdata_types::{Field, PrimitiveType, Schema, TableName, Type, Value};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

fn schema() -> Schema {
    Schema::new(
        0,
        vec![
            Field::required(1, "id", PrimitiveType::Long),
            Field::optional(2, "name", PrimitiveType::String),
            Field::optional(3, "score", PrimitiveType::Double),
            Field::optional(
                4,
                "user",
                Type::structure(vec![
                    Field::optional(5, "city", PrimitiveType::String),
                    Field::optional(6, "tags", Type::list(7, false, PrimitiveType::Int)),
                ]),
            ),
            Field::optional(8, "attrs", Type::map(9, PrimitiveType::String, 10, false, PrimitiveType::Decimal { precision: 20, scale: 3 })),
            Field::optional(11, "at", PrimitiveType::Timestamptz),
        ],
    )
    .unwrap()
}

fn row(id: i64) -> Vec<Option<Value>> {
    let some = |nth: i64, value: Value| (id % nth != 0).then_some(value);
    vec![
        Some(Value::Long(id)),
        some(5, Value::String(format!("a rather long name, number {id}"))),
        some(4, Value::Double(if id % 7 == 0 { f64::NAN } else { id as f64 / 2.0 })),
        some(
            3,
            Value::Struct(vec![
                some(2, Value::String(format!("city {}", id % 3))),
                Some(Value::List((0..id % 4).map(|i| (i != 1).then_some(Value::Int(i as i32))).collect())),
            ]),
        ),
        some(
            6,
            Value::Map(vec![(Value::String("k".into()), Some(Value::Decimal { unscaled: i128::from(id) * 7, precision: 20, scale: 3 }))]),
        ),
        Some(Value::Timestamptz(id * 3_600_000_000)),
    ]
}

fn rows_of(ids: std::ops::Range<i64>) -> RecordBatch {
    batch(&schema(), &ids.map(row).collect::<Vec<_>>()).unwrap()
}

struct Fixture {
    _folder: Option<tempfile::TempDir>,
    warehouse: Warehouse,
}

/// A warehouse that goes away with the test, or stays below the folder that `FASTDATA_KEEP_TABLES` names, for a look with another engine.
fn fixture(test: &str) -> Fixture {
    match std::env::var_os("FASTDATA_KEEP_TABLES") {
        Some(folder) => {
            let folder = Path::new(&folder).join(test);
            let _ = std::fs::remove_dir_all(&folder);
            Fixture { _folder: None, warehouse: Warehouse::open(&folder).unwrap() }
        }
        None => {
            let folder = tempfile::tempdir().unwrap();
            Fixture { warehouse: Warehouse::open(folder.path()).unwrap(), _folder: Some(folder) }
        }
    }
}

fn name(table: &str) -> TableName {
    TableName::new(["ns"], table)
}

fn path_of(location: &str) -> PathBuf {
    PathBuf::from(location.strip_prefix("file://").unwrap())
}

fn metadata(table: &Table) -> Json {
    serde_json::from_slice(&std::fs::read(path_of(table.metadata_location())).unwrap()).unwrap()
}

#[test]
fn rows_come_back_from_the_files_as_they_went_in() {
    let f = fixture("rows");
    let mut table = f.warehouse.create_table(&name("t"), TableOptions::new(schema())).unwrap();
    let options = FileOptions { row_group_rows: 16, page_rows: 5, file_rows: 40, ..FileOptions::default() };
    let mut change = table.change();
    let files = change.append(&[rows_of(0..30), rows_of(30..100)], &options).unwrap();
    change.commit().unwrap();
    assert_eq!(files.len(), 3);
    let mut found = Vec::new();
    for file in &files {
        let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path_of(file)).unwrap()).unwrap();
        for read in builder.build().unwrap() {
            found.extend(rows(&read.unwrap(), &schema()).unwrap());
        }
    }
    let wanted: Vec<_> = (0..100).map(row).collect();
    assert_eq!(format!("{found:?}"), format!("{wanted:?}"));
}

#[test]
fn the_same_seed_writes_the_same_bytes() {
    let write = || {
        let f = fixture("seed");
        let options = TableOptions { partition: vec![("at".into(), Transform::Day)], seed: 7, ..TableOptions::new(schema()) };
        let mut table = f.warehouse.create_table(&name("t"), options).unwrap();
        let mut change = table.change();
        change.append(&[rows_of(0..100)], &FileOptions::default()).unwrap();
        change.commit().unwrap();
        let root = f.warehouse.folder().to_str().unwrap().to_owned();
        let file = table.data_files()[0].clone();
        let text = metadata(&table).to_string().replace(&root, "");
        (text, std::fs::read(path_of(&file.path)).unwrap())
    };
    assert!(write() == write());
}

#[test]
fn metrics_count_nulls_and_nans_and_bound_without_cutting() {
    let f = fixture("metrics");
    let mut table = f.warehouse.create_table(&name("t"), TableOptions::new(schema())).unwrap();
    let mut change = table.change();
    change.append(&[rows_of(0..100)], &FileOptions { row_group_rows: 30, ..FileOptions::default() }).unwrap();
    change.commit().unwrap();
    let m = &table.data_files()[0].metrics;
    assert_eq!((m.value_counts[&1], m.null_value_counts[&1], m.null_value_counts[&2]), (100, 0, 20));
    assert_eq!(m.nan_value_counts[&3], 11);
    assert_eq!(m.lower_bounds[&1], 0i64.to_le_bytes());
    assert_eq!(m.upper_bounds[&1], 99i64.to_le_bytes());
    assert_eq!(m.lower_bounds[&2], b"a rather long na");
    assert_eq!(m.upper_bounds[&2], b"a rather long nb");
    assert_eq!(m.upper_bounds[&3], 49.5f64.to_le_bytes());
    assert_eq!(m.lower_bounds[&5], b"city 1".to_vec());
    assert!(!m.lower_bounds.contains_key(&7) && !m.upper_bounds.contains_key(&10));
}

#[test]
fn deletes_are_listed_with_what_readers_need() {
    let f = fixture("deletes");
    let options = TableOptions { partition: vec![("id".into(), Transform::Bucket(2))], ..TableOptions::new(schema()) };
    let mut table = f.warehouse.create_table(&name("t"), options).unwrap();
    let mut change = table.change();
    let files = change.append(&[rows_of(0..100)], &FileOptions { file_rows: 30, ..FileOptions::default() }).unwrap();
    change.commit().unwrap();
    let rows = files.iter().flat_map(|f| [(Some(f.clone()), 0), (Some(f.clone()), 7)]).collect();
    let mut change = table.change();
    change.delete_positions(&PositionDeletes { rows, file_scoped: false, path_bounds: false }).unwrap();
    let projection = Schema::new(0, vec![schema().fields[0].clone()]).unwrap();
    let keys = batch(&projection, &[vec![Some(Value::Long(50))], vec![Some(Value::Long(51))]]).unwrap();
    for bucket in 0..2 {
        change.delete_equal(&[1], keys.clone(), Some((0, vec![Some(Value::Int(bucket))]))).unwrap();
    }
    let id = change.commit().unwrap();
    let deletes: Vec<_> = table.files(id).unwrap().into_iter().filter(|f| f.content != Content::Data).collect();
    assert_eq!(deletes.len(), 4);
    let positions: u64 = deletes.iter().filter(|f| f.content == Content::PositionDeletes).map(|f| f.record_count).sum();
    assert_eq!(positions, files.len() as u64 * 2);
    assert!(deletes.iter().all(|f| f.sequence_number == 2 && !f.metrics.lower_bounds.contains_key(&2147483546)));
    assert_eq!(metadata(&table)["snapshots"][1]["summary"]["operation"], "delete");
}

#[test]
fn a_new_vector_replaces_the_old_one_and_row_ids_are_handed_out_once() {
    let f = fixture("vectors");
    let mut table = f.warehouse.create_table(&name("t"), TableOptions { format_version: 3, ..TableOptions::new(schema()) }).unwrap();
    let mut change = table.change();
    let files = change.append(&[rows_of(0..100)], &FileOptions { file_rows: 50, ..FileOptions::default() }).unwrap();
    change.commit().unwrap();
    let mut change = table.change();
    change.delete_vectors(&[(files[0].clone(), vec![1, 2, 3]), (files[1].clone(), vec![0, 49])]).unwrap();
    change.commit().unwrap();
    let mut change = table.change();
    change.delete_vectors(&[(files[0].clone(), vec![1, 2, 3, 4, 5])]).unwrap();
    let id = change.commit().unwrap();
    let vectors: Vec<_> = table.files(id).unwrap().into_iter().filter(|f| f.content_offset.is_some()).collect();
    let mut counts: Vec<u64> = vectors.iter().map(|v| v.record_count).collect();
    counts.sort();
    assert_eq!(counts, [2, 5]);
    let v = vectors.iter().find(|v| v.record_count == 5).unwrap();
    let bytes = std::fs::read(path_of(&v.path)).unwrap();
    let blob = &bytes[v.content_offset.unwrap() as usize..][..v.content_size.unwrap() as usize];
    let body = &blob[4..blob.len() - 4];
    assert_eq!(u32::from_be_bytes(blob[..4].try_into().unwrap()) as usize, body.len());
    assert_eq!(body[..4], [0xD1, 0xD3, 0x39, 0x64]);
    assert_eq!(u32::from_be_bytes(blob[blob.len() - 4..].try_into().unwrap()), crc32fast::hash(body));
    let first_ids: Vec<_> = table.data_files().iter().map(|f| f.first_row_id.unwrap()).collect();
    assert_eq!(first_ids, [0, 50]);
    assert_eq!(metadata(&table)["next-row-id"], 100);
}

#[test]
fn evolution_keeps_ids_and_never_reuses_one() {
    let f = fixture("evolution");
    let mut table = f.warehouse.create_table(&name("t"), TableOptions { format_version: 3, ..TableOptions::new(schema()) }).unwrap();
    let mut change = table.change();
    change.append(&[rows_of(0..10)], &FileOptions::default()).unwrap();
    let first = change.commit().unwrap();
    table.tag("before", first).unwrap();
    table
        .update_schema(|s| {
            s.drop("score")?;
            s.rename("user.city", "town")?;
            s.add("user", Field::optional(0, "zip", PrimitiveType::Int).with_default(Value::Int(12345)))?;
            s.add("", Field::optional(0, "score", PrimitiveType::Float))?;
            s.reorder("at", 0)
        })
        .unwrap();
    let schema = table.schema();
    assert_eq!(schema.resolve("user.town").unwrap().last().unwrap().id, 5);
    assert_eq!(schema.resolve("user.zip").unwrap().last().unwrap().id, 12);
    assert_eq!(schema.resolve("score").unwrap().last().unwrap().id, 13);
    assert_eq!(schema.fields[0].name, "at");
    let json = metadata(&table);
    assert_eq!(json["last-column-id"], 13);
    assert_eq!(json["schemas"].as_array().unwrap().len(), 2);
    assert_eq!(json["refs"]["before"]["type"], "tag");
}

#[test]
fn removed_files_stay_as_deleted_entries_and_the_rest_keep_their_sequence_numbers() {
    let f = fixture("removed");
    let mut table = f.warehouse.create_table(&name("t"), TableOptions::new(schema())).unwrap();
    let mut change = table.change();
    let files = change.append(&[rows_of(0..100)], &FileOptions { file_rows: 50, ..FileOptions::default() }).unwrap();
    change.commit().unwrap();
    let mut change = table.change();
    change.remove_files(&files[..1]);
    change.append(&[rows_of(200..210)], &FileOptions::default()).unwrap();
    let id = change.commit().unwrap();
    let live = table.files(id).unwrap();
    assert_eq!(live.iter().map(|f| (f.record_count, f.sequence_number)).collect::<Vec<_>>(), [(10, 2), (50, 1)]);
    assert_eq!(metadata(&table)["snapshots"][1]["summary"]["operation"], "overwrite");
}

#[test]
fn format_1_names_its_manifests_inline_and_keeps_voided_partition_fields() {
    let f = fixture("v1");
    let options = TableOptions {
        format_version: 1,
        inline_manifests: true,
        partition: vec![("name".into(), Transform::Truncate(3)), ("at".into(), Transform::Year)],
        ..TableOptions::new(schema())
    };
    let mut table = f.warehouse.create_table(&name("t"), options).unwrap();
    let mut change = table.change();
    change.append(&[rows_of(0..10)], &FileOptions::default()).unwrap();
    change.commit().unwrap();
    table.update_spec(&[("at", Transform::Year), ("id", Transform::Bucket(4))]).unwrap();
    let mut change = table.change();
    change.append(&[rows_of(10..20)], &FileOptions::default()).unwrap();
    change.commit().unwrap();
    let json = metadata(&table);
    assert_eq!(json["snapshots"][1]["manifests"].as_array().unwrap().len(), 2);
    let transforms: Vec<_> = json["partition-spec"].as_array().unwrap().iter().map(|f| f["transform"].as_str().unwrap()).collect();
    assert_eq!(transforms, ["void", "year", "bucket[4]"]);
    assert!(table.upgrade(2).is_err());
}

#[test]
fn a_table_that_moved_on_is_refused_and_an_existing_name_too() {
    let f = fixture("swap");
    let mut table = f.warehouse.create_table(&name("t"), TableOptions::new(schema())).unwrap();
    assert!(f.warehouse.create_table(&name("t"), TableOptions::new(schema())).is_err());
    f.warehouse.drop_table(&name("t")).unwrap();
    let error = table.set_properties(&[("a", "b")]).unwrap_err();
    assert!(error.retryable(), "{error}");
    let options = TableOptions { properties: [("k".to_owned(), "v".to_owned())].into(), ..TableOptions::new(schema()) };
    f.warehouse.create_table(&name("t"), options).unwrap();
    assert_eq!(f.warehouse.table_properties(&name("t")).unwrap().unwrap()["k"], "v");
    assert_eq!(f.warehouse.table_properties(&name("u")).unwrap(), None);
}

#[test]
fn upper_bounds_that_cannot_be_raised_are_left_out() {
    let one = Schema::new(0, vec![Field::optional(1, "b", PrimitiveType::Binary), Field::optional(2, "s", PrimitiveType::String)]).unwrap();
    let f = fixture("bounds");
    let mut table = f.warehouse.create_table(&name("t"), TableOptions::new(one.clone())).unwrap();
    let top = char::MAX.to_string().repeat(20);
    let rows = batch(&one, &[vec![Some(Value::Binary(vec![255; 20])), Some(Value::String(top))]]).unwrap();
    let mut change = table.change();
    change.append(&[rows], &FileOptions::default()).unwrap();
    change.commit().unwrap();
    let m = &table.data_files()[0].metrics;
    assert!(m.upper_bounds.is_empty(), "{m:?}");
    assert_eq!(m.lower_bounds.len(), 2);
}
