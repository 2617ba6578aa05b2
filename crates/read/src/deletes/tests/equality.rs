//! Equality delete files.

use super::super::equality_schema;
use super::*;
use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{Fields, Int32Type};
use fastdata_types::metadata::{MappedField, PartitionField};
use fastdata_types::plan::DeleteKind;
use fastdata_types::transform::Transform;
use fastdata_types::{PrimitiveType, Type};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn longs(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn ints(values: &[Option<i32>]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn strings(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn id_and_name() -> Vec<Field> {
    vec![Field::optional(1, "id", PrimitiveType::Long), Field::optional(2, "name", PrimitiveType::String)]
}

impl Scan {
    /// Which rows the equality deletes of a data file delete; `rows` has the columns of `columns`.
    async fn deleted(&self, file: u32, columns: &[Field], rows: &RecordBatch) -> Vec<usize> {
        let schema = Schema::new(0, columns.to_vec()).unwrap();
        bits(self.file(file).await.equality_deleted(rows, &schema).unwrap())
    }
}

/// FACTS: equality deletes match on `equality_ids` only.
#[tokio::test]
async fn only_the_columns_of_equality_ids_count() {
    let mut b = Builder::new(id_and_name());
    let content = batch(vec![
        ("name", 2, strings(&[Some("other"), None])),
        ("extra", 9, longs(&[Some(1), Some(2)])),
        ("renamed", 1, longs(&[Some(5), Some(7)])),
    ]);
    let d = b.equality("mem://e", &[1], 2, &content);
    let a = b.data("mem://a", 1, lists(&[], &[d], None));
    let scan = b.build();
    let rows = batch(vec![("id", 1, longs(&[Some(5), Some(6), Some(7), None])), ("name", 2, strings(&[Some("x"); 4]))]);
    assert_eq!(scan.deleted(a, &id_and_name(), &rows).await, [0, 2]);
    assert_eq!(*scan.file(a).await.equality_field_ids(), BTreeSet::from([1]));
}

/// FACTS: NULL equals NULL, in a single column and in one of several.
#[tokio::test]
async fn null_equals_null() {
    for (ids, expected) in [(vec![1], vec![1, 3]), (vec![1, 2], vec![1]), (vec![2], vec![1, 2])] {
        let mut b = Builder::new(id_and_name());
        let d = b.equality("mem://e", &ids, 2, &batch(vec![("id", 1, longs(&[None])), ("name", 2, strings(&[None]))]));
        let a = b.data("mem://a", 1, lists(&[], &[d], None));
        let rows = batch(vec![("id", 1, longs(&[Some(0), None, Some(1), None])), ("name", 2, strings(&[Some(""), None, None, Some("")]))]);
        assert_eq!(b.build().deleted(a, &id_and_name(), &rows).await, expected, "{ids:?}");
    }
}

/// FACTS: a data file that lacks the column follows Column Projection: what the core fills in (NULLs, a default) is compared.
#[tokio::test]
async fn a_column_that_the_data_file_lacks_matches_as_what_is_filled_in() {
    let mut b = Builder::new(id_and_name());
    let d = b.equality("mem://e", &[2], 2, &batch(vec![("name", 2, strings(&[None, Some("default")]))]));
    let a = b.data("mem://a", 1, lists(&[], &[d], None));
    let scan = b.build();
    for filled in [new_null_array(&DataType::Utf8, 2), strings(&[Some("default"); 2]), new_null_array(&DataType::Null, 2)] {
        let rows = batch(vec![("id", 1, longs(&[Some(0), None])), ("name", 2, filled)]);
        assert_eq!(scan.deleted(a, &id_and_name(), &rows).await, [0, 1]);
    }
}

/// FACTS: `equality_ids` are looked up in all schemas, the column may be dropped since; a null parent means a null leaf.
#[tokio::test]
async fn dropped_columns_and_null_parents() {
    let person = |leaves: Vec<Field>| Field::optional(1, "person", Type::structure(leaves));
    let name = || Field::optional(2, "name", PrimitiveType::String);
    let mut b = Builder::new(vec![person(vec![name(), Field::optional(3, "age", PrimitiveType::Int)])]);
    b.evolve(vec![person(vec![Field::optional(3, "years", PrimitiveType::Int)]), Field::optional(4, "v", PrimitiveType::Int)]);
    let nested = |names: ArrayRef, ages: ArrayRef, nulls: Option<NullBuffer>| -> ArrayRef {
        let fields = Fields::from(vec![arrow_field("name", 2, DataType::Utf8), arrow_field("years", 3, DataType::Int32)]);
        Arc::new(StructArray::new(fields, vec![names, ages], nulls))
    };
    let deleted = nested(strings(&[Some("ann"), Some("x")]), ints(&[Some(3), Some(9)]), Some(NullBuffer::from(vec![true, false])));
    let d = b.equality("mem://e", &[2, 3], 2, &batch(vec![("person", 1, deleted)]));
    let a = b.data("mem://a", 1, lists(&[], &[d], None));
    let scan = b.build();
    let metadata = &scan.deletes.plan.table.metadata;
    let schema = equality_schema(metadata, metadata.current_schema(), &BTreeSet::from([2, 3, 4])).unwrap();
    assert_eq!(schema.full_name(2).unwrap(), "person.name");
    assert_eq!(schema.full_name(3).unwrap(), "person.years");
    assert_eq!(schema.full_name(4).unwrap(), "v");
    let rows = nested(
        strings(&[Some("ann"), Some("bob"), Some("zed"), None]),
        ints(&[Some(3), Some(3), Some(1), None]),
        Some(NullBuffer::from(vec![true, true, false, true])),
    );
    let rows = batch(vec![("person", 1, rows), ("v", 4, ints(&[None; 4]))]);
    // Row 2's struct is null, row 3's leaves are: both are the delete row whose struct is null.
    assert_eq!(scan.deleted(a, &[schema.fields[0].clone(), schema.fields[1].clone()], &rows).await, [0, 2, 3]);
}

#[test]
fn unknown_ids_columns_in_lists_and_unreadable_types_are_refused() {
    let b = Builder::new(vec![
        Field::optional(1, "tags", Type::list(2, false, PrimitiveType::String)),
        Field::optional(3, "any", PrimitiveType::Variant),
        Field::optional(4, "s", Type::structure(vec![])),
    ]);
    let scan = b.build();
    let metadata = &scan.deletes.plan.table.metadata;
    let refusal = |id: i32| equality_schema(metadata, metadata.current_schema(), &BTreeSet::from([id])).unwrap_err();
    assert!(refusal(77).message().contains("77"));
    assert!(refusal(2).message().contains("tags.element"));
    assert_eq!(refusal(3).kind(), ErrorKind::Unsupported);
    assert_eq!(refusal(4).kind(), ErrorKind::Unsupported);
}

#[test]
fn struct_defaults_are_cut_to_the_columns_that_are_needed() {
    let inner = vec![Field::optional(2, "a", PrimitiveType::Int), Field::optional(3, "b", PrimitiveType::Int)];
    let default = fastdata_types::Value::Struct(vec![Some(fastdata_types::Value::Int(7)), Some(fastdata_types::Value::Int(8))]);
    let b = Builder::new(vec![Field::optional(1, "s", Type::structure(inner)).with_default(default)]);
    let scan = b.build();
    let metadata = &scan.deletes.plan.table.metadata;
    let schema = equality_schema(metadata, metadata.current_schema(), &BTreeSet::from([3])).unwrap();
    let expected = fastdata_types::Value::Struct(vec![Some(fastdata_types::Value::Int(8))]);
    assert_eq!(schema.fields[0].initial_default, Some(expected));
}

#[tokio::test]
async fn several_id_sets_apply_to_one_data_file() {
    let mut b = Builder::new(id_and_name());
    let by_id = b.equality("mem://1", &[1], 2, &batch(vec![("id", 1, longs(&[Some(1)]))]));
    let by_name = b.equality("mem://2", &[2], 2, &batch(vec![("name", 2, strings(&[Some("b")]))]));
    let both = b.equality("mem://3", &[2, 1, 2], 2, &batch(vec![("name", 2, strings(&[Some("c")])), ("id", 1, longs(&[Some(3)]))]));
    let a = b.data("mem://a", 1, lists(&[], &[by_id, by_name, both], None));
    let scan = b.build();
    let rows = batch(vec![
        ("id", 1, longs(&[Some(1), Some(2), Some(3), Some(4), Some(3)])),
        ("name", 2, strings(&[Some("x"), Some("b"), Some("c"), Some("c"), Some("d")])),
    ]);
    assert_eq!(scan.deleted(a, &id_and_name(), &rows).await, [0, 1, 2]);
    assert_eq!(*scan.file(a).await.equality_field_ids(), BTreeSet::from([1, 2]));
}

/// FACTS: equality deletes apply where data sequence < delete sequence.
#[tokio::test]
async fn a_key_deletes_only_rows_of_older_data_files() {
    let mut b = Builder::new(id_and_name());
    let early = b.equality("mem://early", &[1], 3, &batch(vec![("id", 1, longs(&[Some(1), Some(2), None]))]));
    let late = b.equality("mem://late", &[1], 5, &batch(vec![("id", 1, longs(&[Some(2), Some(3)]))]));
    let oldest = b.data("mem://oldest", 2, lists(&[], &[early, late], None));
    let middle = b.data("mem://middle", 3, lists(&[], &[late], None));
    let newest = b.data("mem://newest", 5, FileDeletes::default());
    let wrong = b.data("mem://wrong", 5, lists(&[], &[late], None));
    let scan = b.build();
    let rows = batch(vec![("id", 1, longs(&[Some(1), Some(2), Some(3), None])), ("name", 2, strings(&[None; 4]))]);
    assert_eq!(scan.deleted(oldest, &id_and_name(), &rows).await, [0, 1, 2, 3]);
    assert_eq!(scan.deleted(middle, &id_and_name(), &rows).await, [1, 2]);
    assert!(scan.file(newest).await.is_empty());
    assert_eq!(scan.refusal(wrong).await.kind(), ErrorKind::Internal);
}

/// FACTS: only equality deletes under an unpartitioned spec are global; the keys of others stay within their partition.
#[tokio::test]
async fn keys_of_one_partition_do_not_reach_another() {
    let mut b = Builder::new(id_and_name());
    b.specs.push(PartitionSpec {
        id: 1,
        fields: vec![PartitionField { source_id: 2, field_id: 1000, name: "name".into(), transform: Transform::Identity }],
    });
    let one = b.equality("mem://one", &[1], 9, &batch(vec![("id", 1, longs(&[Some(1)]))]));
    let two = b.equality("mem://two", &[1], 9, &batch(vec![("id", 1, longs(&[Some(2)]))]));
    let global = b.equality("mem://global", &[1], 9, &batch(vec![("id", 1, longs(&[Some(3)]))]));
    for (at, value) in [(one, "x"), (two, "y")] {
        b.deletes[at as usize].spec_id = 1;
        b.deletes[at as usize].partition = Arc::new(vec![Some(fastdata_types::Value::String(value.into()))]);
    }
    let x = b.data("mem://x", 1, lists(&[], &[one, global], None));
    let y = b.data("mem://y", 1, lists(&[], &[two, global], None));
    let scan = b.build();
    let rows = batch(vec![("id", 1, longs(&[Some(1), Some(2), Some(3)])), ("name", 2, strings(&[None; 3]))]);
    assert_eq!(scan.deleted(x, &id_and_name(), &rows).await, [0, 2]);
    assert_eq!(scan.deleted(y, &id_and_name(), &rows).await, [1, 2]);
}

/// One delete column of one type against one data column; the rows that are deleted.
async fn against(ty: PrimitiveType, deleted: ArrayRef, data: ArrayRef) -> Result<Vec<usize>> {
    let fields = vec![Field::optional(1, "c", ty)];
    let mut b = Builder::new(fields.clone());
    let d = b.equality("mem://typed", &[1], 2, &batch(vec![("c", 1, deleted)]));
    let a = b.data("mem://a", 1, lists(&[], &[d], None));
    let scan = b.build();
    let applied = scan.ask(a).await?;
    let schema = Schema::new(0, fields).unwrap();
    applied.equality_deleted(&batch(vec![("c", 1, data)]), &schema).map(bits)
}

#[tokio::test]
async fn promotion_on_either_side_makes_no_difference() {
    use PrimitiveType::*;
    let int_and_long = (ints(&[Some(-1), Some(5), None]), longs(&[Some(5), Some(-1), Some(4), None]));
    assert_eq!(against(Long, int_and_long.0.clone(), int_and_long.1.clone()).await.unwrap(), [0, 1, 3]);
    assert_eq!(against(Long, longs(&[Some(5), None]), ints(&[Some(5), Some(6), None])).await.unwrap(), [0, 2]);
    assert_eq!(against(Int, longs(&[Some(5), Some(1 << 40)]), ints(&[Some(5), Some(0)])).await.unwrap(), [0]);
    let float: ArrayRef = Arc::new(Float32Array::from(vec![1.5, 0.1]));
    let double: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 0.1, f64::from(0.1f32)]));
    assert_eq!(against(Double, float, double).await.unwrap(), [0, 2]);
    let narrow: ArrayRef = Arc::new(Decimal128Array::from(vec![150, -7]).with_precision_and_scale(9, 2).unwrap());
    let wide: ArrayRef = Arc::new(Decimal128Array::from(vec![-7, 150, 15]).with_precision_and_scale(30, 2).unwrap());
    assert_eq!(against(Decimal { precision: 30, scale: 2 }, narrow, wide).await.unwrap(), [0, 1]);
    let date: ArrayRef = Arc::new(Date32Array::from(vec![1, -1]));
    let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![86_400_000_000, 1, -86_400_000_000]));
    assert_eq!(against(Timestamp, date.clone(), micros).await.unwrap(), [0, 2]);
    let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![86_400_000_000_000, -86_400_000_000_000]));
    assert_eq!(against(TimestampNs, date, nanos).await.unwrap(), [0, 1]);
}

#[tokio::test]
async fn a_delete_column_of_another_type_is_corrupt_and_names_file_and_column() {
    for (ty, deleted) in [
        (PrimitiveType::Long, strings(&[Some("1")])),
        (PrimitiveType::String, longs(&[Some(1)])),
        (PrimitiveType::Date, longs(&[Some(1)])),
        (PrimitiveType::Timestamp, longs(&[Some(1)])),
        (PrimitiveType::Boolean, ints(&[Some(1)])),
        (
            PrimitiveType::Decimal { precision: 9, scale: 3 },
            Arc::new(Decimal128Array::from(vec![1]).with_precision_and_scale(9, 2).unwrap()) as ArrayRef,
        ),
    ] {
        let data = new_null_array(deleted.data_type(), 1);
        let error = against(ty, deleted, data).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("mem://typed") && error.message().contains("'c'"), "{error}");
    }
}

/// As `Comparators` (natural order of boxed values) and `JavaHash` (`Objects.hashCode`) of the Java reference have it in the
/// `StructLikeSet` of deleted keys, and the specification in its order of floats ("Sorting"): NaN equals NaN whatever its bits, -0.0 is
/// not 0.0. A filter differs: there zeros are equal, as in SQL.
#[tokio::test]
async fn nan_equals_nan_and_negative_zero_is_not_zero_as_in_comparators_and_java_hash() {
    let odd_nan = f64::from_bits(f64::NAN.to_bits() | 1 | 1 << 63);
    let deleted: ArrayRef = Arc::new(Float64Array::from(vec![odd_nan, -0.0]));
    let data: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 0.0, -0.0, 1.0]));
    assert_eq!(against(PrimitiveType::Double, deleted, data).await.unwrap(), [0, 2]);
    let deleted: ArrayRef = Arc::new(Float32Array::from(vec![f32::NAN, 0.0]));
    let data: ArrayRef = Arc::new(Float32Array::from(vec![-f32::NAN, 0.0, -0.0]));
    assert_eq!(against(PrimitiveType::Float, deleted, data).await.unwrap(), [0, 1]);
}

#[tokio::test]
async fn every_primitive_type_can_be_a_key() {
    use PrimitiveType::*;
    let fixed = |values: &[[u8; 16]]| Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap()) as ArrayRef;
    let cases: Vec<(PrimitiveType, ArrayRef, ArrayRef)> = vec![
        (Boolean, Arc::new(BooleanArray::from(vec![true])), Arc::new(BooleanArray::from(vec![false, true]))),
        (Int, ints(&[Some(2)]), ints(&[Some(1), Some(2)])),
        (Date, Arc::new(Date32Array::from(vec![2])), Arc::new(Date32Array::from(vec![1, 2]))),
        (Time, Arc::new(Time64MicrosecondArray::from(vec![2])), Arc::new(Time64MicrosecondArray::from(vec![1, 2]))),
        (
            Timestamptz,
            Arc::new(TimestampMicrosecondArray::from(vec![2]).with_timezone("UTC")),
            Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC")),
        ),
        (Timestamp, Arc::new(TimestampMillisecondArray::from(vec![2])), Arc::new(TimestampMicrosecondArray::from(vec![2, 2000]))),
        (TimestampNs, Arc::new(TimestampNanosecondArray::from(vec![2])), Arc::new(TimestampNanosecondArray::from(vec![1, 2]))),
        (Uuid, fixed(&[[2; 16]]), fixed(&[[1; 16], [2; 16]])),
        (Fixed(16), fixed(&[[2; 16]]), fixed(&[[1; 16], [2; 16]])),
        (Binary, Arc::new(BinaryArray::from(vec![&b"\xff"[..]])), Arc::new(BinaryArray::from(vec![&b""[..], b"\xff"]))),
        (String, strings(&[Some("a string longer than a view")]), strings(&[None, Some("a string longer than a view")])),
    ];
    for (ty, deleted, data) in cases {
        assert_eq!(against(ty.clone(), deleted, data).await.unwrap(), [1], "{ty}");
    }
}

#[tokio::test]
async fn strings_match_in_every_encoding_they_arrive_in() {
    let values = [Some("a"), None, Some("a string longer than a view"), Some("zz"), Some("")];
    let plain = strings(&values);
    for data_type in [
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::LargeUtf8)),
    ] {
        let data = cast(&plain, &data_type).unwrap();
        let deleted = strings(&[Some("a string longer than a view"), None, Some("")]);
        assert_eq!(against(PrimitiveType::String, deleted, data).await.unwrap(), [1, 2, 4], "{data_type}");
    }
    // A null may stand in the dictionary's values, too.
    let keys = Int32Array::from(vec![Some(0), Some(1), None]);
    let data: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(keys, strings(&[None, Some("a")])));
    assert_eq!(against(PrimitiveType::String, strings(&[None]), data).await.unwrap(), [0, 2]);
}

#[tokio::test]
async fn files_without_ids_go_by_the_name_mapping_else_by_position() {
    let content = || batch(vec![("alias", 0, longs(&[Some(1)])), ("id", 0, longs(&[Some(2)]))]);
    let rows = batch(vec![("id", 1, longs(&[Some(1), Some(2)])), ("name", 2, strings(&[None; 2]))]);
    for (mapping, expected) in [(false, 0), (true, 1)] {
        let mut b = Builder::new(id_and_name());
        if mapping {
            let field = |id: i32, name: &str| MappedField { field_id: Some(id), names: vec![name.to_owned()], fields: vec![] };
            b.mapping = Some(NameMapping { fields: vec![field(1, "id"), field(2, "name")] });
        }
        let d = b.equality("mem://e", &[1], 2, &content());
        let a = b.data("mem://a", 1, lists(&[], &[d], None));
        assert_eq!(b.build().deleted(a, &id_and_name(), &rows).await, [expected]);
    }
}

#[tokio::test]
async fn a_delete_file_without_its_columns_or_ids_is_corrupt() {
    let content = batch(vec![("name", 2, strings(&[Some("a")]))]);
    for ids in [vec![1], vec![]] {
        let mut b = Builder::new(id_and_name());
        let d = b.equality("mem://lacking", &ids, 2, &content);
        let a = b.data("mem://a", 1, lists(&[], &[d], None));
        let error = b.build().refusal(a).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("mem://lacking"), "{error}");
    }
}

#[tokio::test]
async fn a_long_string_repeated_often_takes_the_memory_of_one() {
    let long = "x".repeat(64 << 10);
    let values = StringArray::from(vec![long.as_str(), "short"]);
    let keys = Int32Array::from_iter_values((0..50_000).map(|i| i32::from(i == 49_999)));
    let column: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(values)));
    let mut b = Builder::new(id_and_name());
    b.budget = 16 << 20;
    let bytes = parquet(&[batch(vec![("name", 2, column)])]);
    let d = b.delete("mem://e", bytes, DeleteKind::Equality { field_ids: vec![2] }, 2, 50_000);
    let a = b.data("mem://a", 1, lists(&[], &[d], None));
    let scan = b.build();
    let rows = batch(vec![("id", 1, longs(&[None; 3])), ("name", 2, strings(&[Some("short"), Some(&long), Some("y")]))]);
    assert_eq!(scan.deleted(a, &id_and_name(), &rows).await, [0, 1]);
    assert!(scan.deletes.holdings.held() < 1 << 20, "{}", scan.deletes.holdings.held());
}

#[tokio::test]
async fn a_set_that_cannot_fit_is_refused_with_the_figure() {
    let mut b = Builder::new(id_and_name());
    b.budget = 8 << 20;
    let keys = longs(&(0..400_000i64).map(|i| Some(i.wrapping_mul(0x9E3779B97F4A7C1))).collect::<Vec<_>>());
    let d = b.equality("mem://large", &[1], 2, &batch(vec![("id", 1, keys)]));
    let a = b.data("mem://a", 1, lists(&[], &[d], None));
    let scan = b.build();
    let error = scan.refusal(a).await;
    assert_eq!(error.kind(), ErrorKind::BudgetTooSmall, "{error}");
    assert!(error.message().contains("mem://large"), "{error}");
    assert_eq!((scan.deletes.holdings.held(), scan.context.budget.available()), (0, 8 << 20));
}

#[derive(Debug, Clone)]
struct Row {
    id: Option<i64>,
    name: Option<String>,
    flag: Option<bool>,
    when: Option<i64>,
}

fn row() -> impl Strategy<Value = Row> {
    let name = prop_oneof![Just(None), Just(Some("".to_owned())), "[ab]{1,2}".prop_map(Some), "[a]{20,22}".prop_map(Some)];
    (prop::option::weighted(0.8, -2i64..3), name, prop::option::of(any::<bool>()), prop::option::of(0i64..3))
        .prop_map(|(id, name, flag, when)| Row { id, name, flag, when })
}

fn of_rows(rows: &[Row]) -> RecordBatch {
    let when: TimestampMicrosecondArray = rows.iter().map(|r| r.when).collect();
    batch(vec![
        ("id", 1, Arc::new(rows.iter().map(|r| r.id).collect::<Int64Array>()) as ArrayRef),
        ("name", 2, Arc::new(rows.iter().map(|r| r.name.as_deref()).collect::<StringArray>())),
        ("flag", 3, Arc::new(rows.iter().map(|r| r.flag).collect::<BooleanArray>())),
        ("when", 4, Arc::new(when)),
    ])
}

fn matches(a: &Row, b: &Row, ids: &BTreeSet<i32>) -> bool {
    ids.iter().all(|id| match id {
        1 => a.id == b.id,
        2 => a.name == b.name,
        3 => a.flag == b.flag,
        _ => a.when == b.when,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any rows, any id sets, any sequence numbers: as comparing each row with each delete row would answer.
    #[test]
    fn equality_deletes_agree_with_comparing_every_pair(
        rows in prop::collection::vec(row(), 0..60),
        files in prop::collection::vec((prop::collection::btree_set(1i32..5, 1..4), 1i64..6, prop::collection::vec(row(), 0..12)), 0..6),
        sequence in 0i64..6,
    ) {
        let columns = vec![
            Field::optional(1, "id", PrimitiveType::Long),
            Field::optional(2, "name", PrimitiveType::String),
            Field::optional(3, "flag", PrimitiveType::Boolean),
            Field::optional(4, "when", PrimitiveType::Timestamp),
        ];
        let mut b = Builder::new(columns.clone());
        let mut applying = vec![];
        for (at, (ids, delete_sequence, deleted)) in files.iter().enumerate() {
            let ids: Vec<i32> = ids.iter().copied().collect();
            let d = b.equality(&format!("mem://{at}"), &ids, *delete_sequence, &of_rows(deleted));
            if *delete_sequence > sequence {
                applying.push(d);
            }
        }
        let a = b.data("mem://a", sequence, lists(&[], &applying, None));
        let expected: Vec<usize> = (0..rows.len()).filter(|at| {
            files.iter().any(|(ids, s, deleted)| *s > sequence && deleted.iter().any(|d| matches(d, &rows[*at], ids)))
        }).collect();
        let scan = b.build();
        let got = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
            .block_on(scan.deleted(a, &columns, &of_rows(&rows)));
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn a_million_rows_are_probed_in_well_under_a_second() {
    // The bound is loose: it catches a quadratic set, not a slow machine.
    let mut b = Builder::new(id_and_name());
    let keys = longs(&(0..100_000i64).map(|i| Some(i * 13)).collect::<Vec<_>>());
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..100_000).map(|i| format!("customer number {}", i * 13))));
    let by_id = b.equality("mem://1", &[1], 2, &batch(vec![("id", 1, keys.clone())]));
    let by_name = b.equality("mem://2", &[2], 2, &batch(vec![("name", 2, names.clone())]));
    let by_both = b.equality("mem://3", &[1, 2], 2, &batch(vec![("id", 1, keys), ("name", 2, names)]));
    let files: Vec<u32> = [by_id, by_name, by_both].iter().map(|d| b.data(&format!("mem://f{d}"), 1, lists(&[], &[*d], None))).collect();
    let rows = batch(vec![
        ("id", 1, Arc::new(Int64Array::from_iter_values(0..1_000_000)) as ArrayRef),
        ("name", 2, Arc::new(StringViewArray::from_iter_values((0..1_000_000).map(|i| format!("customer number {i}")))) as ArrayRef),
    ]);
    let schema = Schema::new(0, id_and_name()).unwrap();
    let scan = b.build();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        for file in files {
            let applied = scan.file(file).await;
            let start = std::time::Instant::now();
            let deleted = applied.equality_deleted(&rows, &schema).unwrap().unwrap();
            let took = start.elapsed();
            assert_eq!(deleted.count_set_bits(), 76_924);
            eprintln!("1 000 000 rows against 100 000 keys: {took:?}");
            assert!(took.as_millis() < 2000, "{took:?}");
        }
    });
}
