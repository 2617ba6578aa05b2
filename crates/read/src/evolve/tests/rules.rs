//! The rules of "Column Projection" and "Default Values", one test each.

use super::*;
use fastdata_types::error::ErrorKind;

fn long(value: i64) -> Option<Value> {
    Some(Value::Long(value))
}

fn two_columns() -> (Schema, Vec<Row>) {
    let schema = schema(vec![Field::required(1, "id", PrimitiveType::Int), Field::optional(2, "name", PrimitiveType::String)]);
    (schema, vec![vec![int(1), s("a")], vec![int(2), None], vec![int(3), s("longer than twelve bytes")], vec![int(4), s("")]])
}
use IcebergField as Field;

#[test]
fn columns_are_found_by_id_whatever_their_names_and_order() {
    let (file, rows) = two_columns();
    let target = schema(vec![Field::optional(2, "id", PrimitiveType::String), Field::required(1, "renamed", PrimitiveType::Long)]);
    let expected: Vec<Row> =
        vec![vec![s("a"), long(1)], vec![None, long(2)], vec![s("longer than twelve bytes"), long(3)], vec![s(""), long(4)]];
    for strings in [StringEncoding::Utf8, StringEncoding::Utf8View, StringEncoding::Dictionary] {
        for views in [true, false] {
            let reading = Reading { strings, views, ..reading(&target) };
            assert_eq!(reading.rows(&write(&file, &rows)).unwrap(), expected);
        }
    }
}

#[test]
fn only_the_leaves_that_are_asked_for_are_read() {
    let file = schema(vec![
        Field::optional(1, "a", PrimitiveType::Int),
        Field::optional(
            2,
            "s",
            Type::structure(vec![Field::optional(3, "x", PrimitiveType::Int), Field::optional(4, "y", PrimitiveType::String)]),
        ),
        Field::optional(
            5,
            "m",
            Type::map(
                6,
                PrimitiveType::String,
                7,
                false,
                Type::structure(vec![Field::optional(8, "p", PrimitiveType::String), Field::optional(9, "q", PrimitiveType::Int)]),
            ),
        ),
    ]);
    let target = schema(vec![
        Field::optional(
            5,
            "m",
            Type::map(6, PrimitiveType::String, 7, false, Type::structure(vec![Field::optional(9, "q", PrimitiveType::Int)])),
        ),
        Field::optional(2, "s", Type::structure(vec![Field::optional(4, "y", PrimitiveType::String)])),
    ]);
    let bytes = write(&file, &[vec![None, None, None]]);
    let reader = SerializedFileReader::new(bytes).unwrap();
    let projection = reading(&target).resolve(&reader).unwrap();
    assert_eq!(projection.leaves(), [2, 3, 5]);
    assert_eq!((projection.leaf_of(4), projection.leaf_of(9), projection.leaf_of(3)), (Some(2), Some(5), None));
}

#[test]
fn a_missing_id_is_its_partition_value_even_null_then_its_initial_default_then_null() {
    let (file, rows) = two_columns();
    let bytes = write(&file, &rows[..1]);
    let default = || Field::optional(7, "added", PrimitiveType::Long).with_default(Value::Long(5));
    let target = schema(vec![default(), Field::optional(8, "other", PrimitiveType::Long)]);
    assert_eq!(reading(&target).rows(&bytes).unwrap(), [[long(5), None]]);
    let partition = Reading { constants: HashMap::from([(7, long(9)), (8, long(3))]), ..reading(&target) };
    assert_eq!(partition.rows(&bytes).unwrap(), [[long(9), long(3)]]);
    let null_partition = Reading { constants: HashMap::from([(7, None)]), ..reading(&target) };
    assert_eq!(null_partition.rows(&bytes).unwrap(), [[None, None]]);
}

#[test]
fn a_partition_value_counts_only_where_the_file_lacks_the_column() {
    let (file, rows) = two_columns();
    let reading = Reading { constants: HashMap::from([(1, int(77))]), ..reading(&file) };
    assert_eq!(reading.rows(&write(&file, &rows)).unwrap(), rows);
}

#[test]
fn a_missing_required_column_without_a_default_is_corrupt_and_named() {
    let (file, rows) = two_columns();
    let target = schema(vec![Field::required(9, "must", PrimitiveType::Long)]);
    let error = reading(&target).rows(&write(&file, &rows)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("f.parquet") && error.message().contains("'must'"), "{error}");
    let target = schema(vec![Field::required(9, "must", PrimitiveType::Long).with_default(Value::Long(1))]);
    assert_eq!(reading(&target).column(&write(&file, &rows[..1])).unwrap(), [long(1)]);
}

#[test]
fn null_under_a_required_column_is_corrupt_and_named() {
    let (file, rows) = two_columns();
    let target = schema(vec![Field::required(2, "name", PrimitiveType::String)]);
    let error = reading(&target).rows(&write(&file, &rows)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("'name'"), "{error}");
    assert_eq!(reading(&target).column(&write(&file, &rows[..1])).unwrap(), [s("a")]);
}

#[test]
fn columns_without_an_id_are_ignored_where_others_have_one() {
    let bytes = write_message(
        "message m { required int32 a = 1; required int32 b; }",
        vec![LeafValues::Int32(vec![1]).required(), LeafValues::Int32(vec![2]).required()],
    );
    let target = schema(vec![Field::optional(1, "a", PrimitiveType::Int), Field::optional(2, "b", PrimitiveType::Int)]);
    let mapping = Some(NameMapping { fields: mapping_of(&target.fields) });
    assert_eq!(Reading { mapping, ..reading(&target) }.rows(&bytes).unwrap(), [[int(1), None]]);
}

#[test]
fn two_columns_of_one_id_are_refused_only_where_they_are_asked_for() {
    let bytes = write_message(
        "message m { required int32 a = 1; required int32 b = 1; required int32 c = 2; }",
        vec![LeafValues::Int32(vec![1]).required(), LeafValues::Int32(vec![2]).required(), LeafValues::Int32(vec![3]).required()],
    );
    let error = reading(&schema(vec![Field::optional(1, "a", PrimitiveType::Int)])).rows(&bytes).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("'a'"), "{error}");
    assert_eq!(reading(&schema(vec![Field::optional(2, "c", PrimitiveType::Int)])).rows(&bytes).unwrap(), [[int(3)]]);
}

fn nested() -> (Schema, Vec<Row>) {
    let file = schema(vec![
        Field::optional(
            1,
            "l",
            Type::list(
                2,
                false,
                Type::structure(vec![Field::optional(3, "x", PrimitiveType::Int), Field::optional(4, "y", PrimitiveType::String)]),
            ),
        ),
        Field::optional(5, "m", Type::map(6, PrimitiveType::String, 7, false, Type::list(8, false, PrimitiveType::Int))),
    ]);
    let rows = vec![
        vec![
            list(vec![structure(vec![int(1), s("a")]), None]),
            Some(Value::Map(vec![(Value::String("k".into()), list(vec![int(5), None]))])),
        ],
        vec![None, Some(Value::Map(vec![]))],
        vec![list(vec![]), None],
        vec![list(vec![structure(vec![None, None])]), Some(Value::Map(vec![(Value::String("k2".into()), None)]))],
    ];
    (file, rows)
}

#[test]
fn name_mapping_calls_list_and_map_children_element_key_and_value_whatever_the_file_calls_them() {
    let (file, rows) = nested();
    let mapping = Some(NameMapping { fields: mapping_of(&file.fields) });
    assert_eq!(Reading { mapping, ..reading(&file) }.rows(&write_without_ids(&file, &rows)).unwrap(), rows);
}

#[test]
fn name_mapping_finds_nested_fields_by_any_of_their_names_and_ignores_the_unmapped() {
    let (file, rows) = nested();
    let mut fields = mapping_of(&file.fields);
    fields.remove(1);
    fields[0].fields[0].fields[1].names = vec!["old".to_owned(), "y".to_owned()];
    fields[0].fields[0].fields.remove(0);
    let expected: Vec<Row> = vec![
        vec![list(vec![structure(vec![None, s("a")]), None]), None],
        vec![None, None],
        vec![list(vec![]), None],
        vec![list(vec![structure(vec![None, None])]), None],
    ];
    let reading = Reading { mapping: Some(NameMapping { fields }), ..reading(&file) };
    assert_eq!(reading.rows(&write_without_ids(&file, &rows)).unwrap(), expected);
}

#[test]
fn a_name_that_two_mapped_fields_claim_is_refused() {
    let (file, rows) = two_columns();
    let mut fields = mapping_of(&file.fields);
    fields[1].names.push("id".to_owned());
    let error = Reading { mapping: Some(NameMapping { fields }), ..reading(&file) }.rows(&write_without_ids(&file, &rows)).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("'id'"), "{error}");
}

#[test]
fn without_ids_and_mapping_top_level_column_i_has_id_i() {
    let (file, rows) = two_columns();
    let bytes = write_without_ids(&file, &rows);
    let target = schema(vec![
        Field::optional(2, "other", PrimitiveType::String),
        Field::optional(3, "added", PrimitiveType::Int),
        Field::required(1, "name", PrimitiveType::Int),
    ]);
    let expected: Vec<Row> = rows.iter().map(|row| vec![row[1].clone(), None, row[0].clone()]).collect();
    assert_eq!(reading(&target).rows(&bytes).unwrap(), expected);
}

fn positions() -> (Schema, Vec<Row>) {
    let ids =
        |x: i32, y: i32| Type::structure(vec![Field::optional(x, "x", PrimitiveType::Int), Field::optional(y, "y", PrimitiveType::String)]);
    let file = schema(vec![
        Field::optional(1, "a", ids(11, 12)),
        Field::optional(2, "b", Type::list(13, false, ids(14, 15))),
        Field::optional(3, "c", Type::map(16, PrimitiveType::String, 17, true, ids(18, 19))),
    ]);
    let value = || structure(vec![int(1), s("one")]);
    let rows = vec![vec![value(), list(vec![value(), None]), Some(Value::Map(vec![(Value::String("k".into()), value())]))]];
    (file, rows)
}

#[test]
fn nested_columns_without_ids_are_matched_by_name_in_any_order() {
    let (file, rows) = positions();
    let bytes = write_without_ids(&file, &rows);
    assert_eq!(reading(&file).rows(&bytes).unwrap(), rows);
    let turned = Type::structure(vec![
        Field::optional(30, "added", PrimitiveType::Long).with_default(Value::Long(4)),
        Field::optional(12, "y", PrimitiveType::String),
        Field::optional(11, "x", PrimitiveType::Long),
    ]);
    let target = schema(vec![Field::optional(1, "a", turned)]);
    assert_eq!(reading(&target).rows(&bytes).unwrap(), [[structure(vec![long(4), s("one"), long(1)])]]);
}

#[test]
fn nested_columns_without_ids_are_matched_by_position_after_a_rename_and_else_refused() {
    let (file, rows) = positions();
    let bytes = write_without_ids(&file, &rows);
    let renamed = |extra: Option<Field>| {
        let children = vec![Field::optional(11, "x", PrimitiveType::Int), Field::optional(12, "new", PrimitiveType::String)];
        schema(vec![Field::optional(1, "a", Type::structure(children.into_iter().chain(extra).collect()))])
    };
    assert_eq!(reading(&renamed(None)).rows(&bytes).unwrap(), [[rows[0][0].clone()]]);
    let table = renamed(None);
    let pruned = schema(vec![Field::optional(1, "a", Type::structure(vec![Field::optional(12, "new", PrimitiveType::String)]))]);
    let reading_pruned = Reading { table: Some(&table), ..reading(&pruned) };
    assert_eq!(reading_pruned.rows(&bytes).unwrap(), [[structure(vec![s("one")])]]);
    let error = reading(&renamed(Some(Field::optional(20, "z", PrimitiveType::Int)))).rows(&bytes).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("'a'"), "{error}");
}

#[test]
fn no_column_of_the_file_is_needed_for_constants() {
    let (file, rows) = two_columns();
    let target = schema(vec![Field::optional(9, "c", PrimitiveType::String).with_default(Value::String("d".into()))]);
    let bytes = write(&file, &rows);
    let projection = reading(&target).resolve(&SerializedFileReader::new(bytes.clone()).unwrap()).unwrap();
    assert!(projection.leaves().is_empty() && projection.constant_row_bytes() >= 5);
    assert_eq!(reading(&target).column(&bytes).unwrap(), vec![s("d"); 4]);
}
