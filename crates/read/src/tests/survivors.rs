//! Filters, deletes and computed columns: (filtered scan) is (full scan, then filter), whatever the way of reading.

use super::*;
use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use fastdata_types::Value;
use fastdata_types::expr::{Column, CompareOp};
use fastdata_types::plan::DeleteKind;
use fastdata_types::schema::StructType;
use fastdata_types::schema::metadata_column::{self, FILE, LAST_UPDATED_SEQUENCE_NUMBER, POS, ROW_ID, SPEC_ID};

pub(super) fn column(schema: &Schema, path: &str) -> Box<Expr> {
    let fields = schema.resolve(path).unwrap();
    let field = fields.last().unwrap();
    Box::new(Expr::Column(Column { id: field.id, path: fields.iter().map(|f| f.name.clone()).collect(), ty: field.ty.clone() }))
}

fn compare(op: CompareOp, schema: &Schema, path: &str, value: Value) -> Expr {
    let ty = value.primitive_type().unwrap();
    Expr::Compare { op, left: column(schema, path), right: Box::new(Expr::Literal(Some(value), ty)) }
}

/// The sample rows of these numbers for which `keep` holds.
fn kept(rows: Range<i64>, keep: impl Fn(i64) -> bool) -> RecordBatch {
    let keep: BooleanArray = rows.clone().map(|i| Some(keep(i))).collect();
    filter_record_batch(&sample(rows), &keep).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_scan_is_the_full_scan_then_filtered() {
    let schema = sample_schema();
    let id = |op, value| compare(op, &schema, "id", Value::Long(value));
    let city = compare(CompareOp::Eq, &schema, "place.city", Value::String("city 7".into()));
    let tags = Expr::IsNull { expr: column(&schema, "tags"), negated: false };
    type Keep = fn(i64) -> bool;
    let cases: Vec<(Expr, Keep)> = vec![
        (id(CompareOp::Lt, 5), |i| i < 5),
        (id(CompareOp::Gt, 1 << 40), |_| false),
        (id(CompareOp::GtEq, 0), |_| true),
        (id(CompareOp::Eq, 7777), |i| i == 7777),
        (city.clone(), |i| i % 11 != 0 && i % 3 != 0 && i % 50 == 7),
        (Expr::Not(Box::new(city)), |i| i % 11 != 0 && i % 3 != 0 && i % 50 != 7),
        (tags, |i| i % 5 == 0),
        (Expr::Or(vec![id(CompareOp::Lt, 3), id(CompareOp::GtEq, 9_998)]), |i| !(3..9_998).contains(&i)),
    ];
    for (filter, keep) in cases {
        for (names, budget) in
            [(&["id", "name", "score", "tags", "place"][..], 256 << 20), (&["name", "tags"][..], 6 << 20), (&["id"][..], 64 << 20)]
        {
            let mut world = World::of_samples(&[0..6000, 6000..10_000], 1500).select(names);
            (world.filter, world.budget) = (Some(filter.clone()), budget);
            let expected = kept(0..10_000, keep);
            let at: Vec<usize> = names.iter().map(|name| expected.schema().index_of(name).unwrap()).collect();
            assert_eq!(world.rows().await.unwrap(), expected.project(&at).unwrap(), "{filter:?} {names:?}");
        }
    }
}

#[tokio::test]
async fn rows_that_do_not_survive_are_not_fetched() {
    let schema = sample_schema();
    let mut world = World::of_samples(&[0..60_000], 20_000).select(&["name", "score", "place"]);
    world.filter = Some(compare(CompareOp::Lt, &schema, "id", Value::Long(3)));
    let (mut stream, context, store) = world.open();
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch.unwrap().num_rows();
    }
    let stats = context.stats.snapshot();
    assert_eq!((rows, stats.rows_filtered), (3, 59_997));
    // The footer, the filter column of three row groups, and the rest of the first one.
    assert_eq!(store.requests(), 1 + 3 + 1);
}

#[tokio::test]
async fn a_filter_counts_without_columns_and_stops_at_a_limit() {
    let schema = sample_schema();
    let mut world = World::of_samples(&[0..5000], 500);
    world.filter = Some(compare(CompareOp::GtEq, &schema, "id", Value::Long(100)));
    world.options.limit = Some(1000);
    assert_eq!(world.rows().await.unwrap(), sample(100..1100));
    world.options.limit = None;
    world.projection = Schema::new(0, vec![]).unwrap();
    assert_eq!(world.batches().await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 4900);
}

/// A position delete file for one data file.
fn position_deletes(world: &mut World, file: usize, positions: impl Iterator<Item = i64>) {
    let (path, positions) = (world.files[file].path.clone(), positions.collect::<Vec<_>>());
    let schema = Schema::new(
        0,
        vec![
            Field::required(metadata_column::DELETE_FILE_PATH, "file_path", PrimitiveType::String),
            Field::required(metadata_column::DELETE_FILE_POS, "pos", PrimitiveType::Long),
        ],
    )
    .unwrap();
    let paths: ArrayRef = Arc::new(StringArray::from_iter_values(positions.iter().map(|_| path.as_str())));
    let batch = RecordBatch::try_new(with_ids(&schema), vec![paths, Arc::new(Int64Array::from(positions.clone()))]).unwrap();
    add_delete(world, file, batch, DeleteKind::Position { referenced_data_file: Some(path) });
}

fn equality_deletes(world: &mut World, ids: Vec<i64>) {
    let count = ids.len();
    let schema = Schema::new(0, vec![Field::required(1, "id", PrimitiveType::Long)]).unwrap();
    let batch = RecordBatch::try_new(with_ids(&schema), vec![Arc::new(Int64Array::from(ids)) as ArrayRef]).unwrap();
    assert_eq!(batch.num_rows(), count);
    add_delete(world, 0, batch, DeleteKind::Equality { field_ids: vec![1] });
}

fn add_delete(world: &mut World, file: usize, batch: RecordBatch, kind: DeleteKind) {
    let bytes = parquet_bytes(std::slice::from_ref(&batch), WriterProperties::default());
    let path = format!("deletes/{}.parquet", world.deletes.len());
    let number = world.deletes.len() as u32;
    match kind {
        // Global: it applies to every older file.
        DeleteKind::Equality { .. } => world.files.iter_mut().for_each(|file| file.deletes.equality.push(number)),
        _ => world.files[file].deletes.positions.push(number),
    }
    world.deletes.push(DeleteFile {
        path: path.clone(),
        format: FileFormat::Parquet,
        file_size: bytes.len() as u64,
        record_count: batch.num_rows() as u64,
        spec_id: 0,
        partition: Arc::new(vec![]),
        sequence_number: 9,
        encrypted: false,
        kind,
    });
    world.objects.push((path, bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_are_gone_and_the_others_are_all_there() {
    let schema = sample_schema();
    let deleted = |i: i64| i % 3 == 1 || (2000..2900).contains(&i);
    for filtered in [false, true] {
        for equality in [false, true] {
            let mut world = World::of_samples(&[0..3000, 3000..5000], 700);
            position_deletes(&mut world, 0, (0..3000).filter(|i| deleted(*i)));
            if equality {
                equality_deletes(&mut world, vec![0, 3, 1500]);
                equality_deletes(&mut world, vec![4000, 4999, 1_000_000]);
            }
            if filtered {
                world.filter = Some(compare(CompareOp::NotEq, &schema, "id", Value::Long(6)));
            }
            let gone = |i: i64| (i < 3000 && deleted(i)) || (filtered && i == 6) || (equality && [0, 3, 1500, 4000, 4999].contains(&i));
            let world = world.select(&["name", "id", "place"]);
            let expected = kept(0..5000, |i| !gone(i)).project(&[1, 0, 4]).unwrap();
            assert_eq!(world.rows().await.unwrap(), expected, "filter {filtered}, equality {equality}");
            if equality && !filtered {
                let world = world.select(&["score"]);
                assert_eq!(world.rows().await.unwrap().num_rows(), expected.num_rows());
            }
        }
    }
}

fn metadata_fields(ids: &[i32]) -> Vec<Field> {
    let all = metadata_column::fields(StructType { fields: vec![] });
    ids.iter().map(|id| all.iter().find(|f| f.id == *id).unwrap().clone()).collect()
}

#[tokio::test]
async fn metadata_columns_tell_the_file_and_position_of_surviving_rows() {
    let mut world = World::of_samples(&[0..1000, 1000..2000], 300);
    position_deletes(&mut world, 1, (0..1000).filter(|i| i % 2 == 0));
    world.files[1].first_row_id = Some(50_000);
    world.files[1].sequence_number = 8;
    let mut fields = vec![world.schema.fields[0].clone()];
    fields.extend(metadata_fields(&[POS, FILE, SPEC_ID, ROW_ID, LAST_UPDATED_SEQUENCE_NUMBER]));
    world.projection = Schema::new(0, fields).unwrap();
    let rows = world.rows().await.unwrap();
    assert_eq!(rows.num_rows(), 1500);
    let long = |at: usize| rows.column(at).as_primitive::<Int64Type>();
    let files = rows.column(2).as_string::<i32>();
    for row in 0..1500 {
        let id = long(0).value(row);
        assert_eq!(long(1).value(row), id % 1000);
        assert_eq!(files.value(row), format!("data/{}.parquet", id / 1000));
        match id < 1000 {
            true => assert!(long(4).is_null(row) && long(5).is_null(row)),
            false => assert_eq!((long(4).value(row), long(5).value(row)), (50_000 + id % 1000, 8)),
        }
    }
}

#[tokio::test]
async fn a_filter_may_look_at_metadata_columns() {
    let mut world = World::of_samples(&[0..1000, 1000..2000], 300).select(&["id"]);
    let pos = Expr::Column(Column { id: POS, path: vec!["_pos".into()], ty: PrimitiveType::Long.into() });
    let literal = Expr::Literal(Some(Value::Long(997)), PrimitiveType::Long);
    world.filter = Some(Expr::Compare { op: CompareOp::GtEq, left: Box::new(pos), right: Box::new(literal) });
    let rows = world.rows().await.unwrap();
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[997, 998, 999, 1997, 1998, 1999]);
}

/// A dictionary of long strings makes slices that are cut into pieces; a rare huge value in the next slice ends the attempt.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_of_a_slice_does_not_come_again_where_the_next_one_needs_more_memory() {
    let schema = Schema::new(
        0,
        vec![
            Field::required(1, "id", PrimitiveType::Long),
            Field::required(2, "k", PrimitiveType::Int),
            Field::required(3, "s", PrimitiveType::String),
        ],
    )
    .unwrap();
    let text = |row: i64| if row == 60 { "y".repeat(2000) } else { "x".repeat(300) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..20_000)),
        Arc::new(Int32Array::from_iter_values((0..20_000).map(|row| i32::from(row < 3)))),
        Arc::new(StringArray::from_iter_values((0..20_000).map(text))),
    ];
    let batch = RecordBatch::try_new(with_ids(&schema), columns).unwrap();
    for order in [Order::Stable, Order::Fast] {
        for batch_bytes in [600, 1000, 1500, 100_000] {
            let mut world = World::new(schema.clone());
            world.add(parquet_bytes(std::slice::from_ref(&batch), WriterProperties::default()), 20_000);
            let is_one = compare(CompareOp::Eq, &schema, "k", Value::Int(1));
            let there = Expr::IsNull { expr: column(&schema, "s"), negated: true };
            world.filter = Some(Expr::And(vec![is_one, there, compare(CompareOp::GtEq, &schema, "id", Value::Long(0))]));
            (world.options.order, world.options.batch_bytes) = (order, batch_bytes);
            let rows = world.rows().await.unwrap();
            assert_eq!(rows.column(0).as_primitive::<Int64Type>().values().to_vec(), [0, 1, 2], "{order:?}, {batch_bytes} bytes a batch");
        }
    }
}
