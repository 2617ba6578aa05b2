//! Structs, lists and maps whose insides changed.

use super::IcebergField as Field;
use super::*;
use fastdata_types::error::ErrorKind;

fn long(value: i64) -> Option<Value> {
    Some(Value::Long(value))
}

fn map(entries: Vec<(&str, Option<Value>)>) -> Option<Value> {
    Some(Value::Map(entries.into_iter().map(|(key, value)| (Value::String(key.to_owned()), value)).collect()))
}

fn point(fields: Vec<Field>) -> Type {
    Type::structure(fields)
}

fn x() -> Field {
    Field::optional(11, "x", PrimitiveType::Int)
}

/// A struct, a list of structs and a map of structs, each holding `x`; with every way to be null or empty.
fn points() -> (Schema, Vec<Row>) {
    let file = schema(vec![
        Field::optional(1, "s", point(vec![x()])),
        Field::optional(2, "l", Type::list(3, false, point(vec![Field::optional(12, "x", PrimitiveType::Int)]))),
        Field::optional(4, "m", Type::map(5, PrimitiveType::String, 6, false, point(vec![Field::optional(13, "x", PrimitiveType::Int)]))),
    ]);
    let p = |v| structure(vec![v]);
    let rows = vec![
        vec![p(int(1)), list(vec![p(int(1)), None, p(None)]), map(vec![("a", p(int(1))), ("b", None)])],
        vec![None, None, None],
        vec![p(None), list(vec![]), map(vec![])],
        vec![p(int(4)), list(vec![p(int(4))]), map(vec![("c", p(None))])],
    ];
    (file, rows)
}

/// The rows of [`points`] with the children of every struct that is there replaced.
fn with_children(rows: &[Row], children: impl Fn(&Option<Value>) -> Vec<Option<Value>>) -> Vec<Row> {
    fn replace(value: &Option<Value>, children: &dyn Fn(&Option<Value>) -> Vec<Option<Value>>) -> Option<Value> {
        Some(match value.as_ref()? {
            Value::Struct(old) => Value::Struct(children(&old[0])),
            Value::List(items) => Value::List(items.iter().map(|item| replace(item, children)).collect()),
            Value::Map(entries) => Value::Map(entries.iter().map(|(k, v)| (k.clone(), replace(v, children))).collect()),
            other => other.clone(),
        })
    }
    rows.iter().map(|row| row.iter().map(|value| replace(value, &children)).collect()).collect()
}

/// The schema of [`points`] with other children, `ids` apart from one struct to the next.
fn points_of(children: impl Fn(i32) -> Vec<Field>) -> Schema {
    schema(vec![
        Field::optional(1, "s", point(children(11))),
        Field::optional(2, "l", Type::list(3, false, point(children(12)))),
        Field::optional(4, "m", Type::map(5, PrimitiveType::String, 6, false, point(children(13)))),
    ])
}

#[test]
fn null_structs_stay_null_and_defaults_of_their_children_do_not_resurrect_them() {
    let (file, rows) = points();
    let target = points_of(|id| {
        vec![
            Field::required(id + 100, "added", PrimitiveType::Long).with_default(Value::Long(7)),
            Field::optional(id, "renamed", PrimitiveType::Long),
        ]
    });
    let promoted = |x: &Option<Value>| match x {
        Some(Value::Int(x)) => long(i64::from(*x)),
        _ => None,
    };
    let expected = with_children(&rows, |x| vec![long(7), promoted(x)]);
    assert_eq!(reading(&target).rows(&write(&file, &rows)).unwrap(), expected);
}

#[test]
fn a_struct_whose_children_are_all_missing_keeps_its_nulls_and_its_list_lengths() {
    let (file, rows) = points();
    let target = points_of(|id| vec![Field::optional(id + 100, "added", PrimitiveType::String).with_default(Value::String("d".into()))]);
    let bytes = write(&file, &rows);
    assert_eq!(reading(&target).rows(&bytes).unwrap(), with_children(&rows, |_| vec![s("d")]));
    let empty = points_of(|_| vec![]);
    assert_eq!(reading(&empty).rows(&bytes).unwrap(), with_children(&rows, |_| vec![]));
    let unknown = points_of(|id| vec![Field::optional(id, "x", PrimitiveType::Unknown)]);
    assert_eq!(reading(&unknown).rows(&bytes).unwrap(), with_children(&rows, |_| vec![None]));
}

#[test]
fn the_nulls_of_a_struct_are_read_from_its_cheapest_leaf_or_from_both_sides_of_a_map() {
    let inner = |fields| Field::optional(1, "s", point(fields));
    let cheap = schema(vec![inner(vec![
        Field::optional(2, "text", PrimitiveType::String),
        Field::optional(3, "l", Type::list(4, false, PrimitiveType::Boolean)),
        Field::optional(5, "flag", PrimitiveType::Int),
    ])]);
    let target = schema(vec![inner(vec![Field::optional(9, "added", PrimitiveType::Int)])]);
    let bytes = write(&cheap, &[vec![structure(vec![s("a"), None, None])], vec![None]]);
    let projection = reading(&target).resolve(&SerializedFileReader::new(bytes.clone()).unwrap()).unwrap();
    assert_eq!(projection.leaves(), [2]);
    assert_eq!(reading(&target).column(&bytes).unwrap(), [structure(vec![None]), None]);

    let only_map = schema(vec![inner(vec![Field::optional(2, "m", Type::map(3, PrimitiveType::String, 4, false, PrimitiveType::Int))])]);
    let rows = [vec![structure(vec![map(vec![("k", int(1)), ("l", None)])])], vec![None], vec![structure(vec![None])]];
    assert_eq!(reading(&target).column(&write(&only_map, &rows)).unwrap(), [structure(vec![None]), None, structure(vec![None])]);
}

#[test]
fn a_missing_struct_takes_its_own_default_null_or_the_defaults_of_its_children() {
    let (file, rows) = points();
    let bytes = write(&file, &rows[..2]);
    let children = || {
        vec![
            Field::optional(21, "a", PrimitiveType::Long).with_default(Value::Long(5)),
            Field::optional(22, "b", PrimitiveType::String),
            Field::optional(23, "c", PrimitiveType::String).with_default(Value::String("z".into())),
        ]
    };
    let without = schema(vec![Field::optional(20, "new", point(children()))]);
    assert_eq!(reading(&without).column(&bytes).unwrap(), [None, None]);

    // What the default `{}` is parsed to.
    let braces = Value::Struct(vec![long(5), None, s("z")]);
    let table = schema(vec![Field::optional(20, "new", point(children())).with_default(braces)]);
    assert_eq!(reading(&table).column(&bytes).unwrap(), vec![structure(vec![long(5), None, s("z")]); 2]);

    let mut kept = children();
    kept.remove(1);
    kept.reverse();
    let pruned = schema(vec![Field { ty: point(kept), ..table.fields[0].clone() }]);
    let pruned = Reading { table: Some(&table), ..reading(&pruned) };
    assert_eq!(pruned.column(&bytes).unwrap(), vec![structure(vec![s("z"), long(5)]); 2]);
}

#[test]
fn list_and_map_defaults_fill_every_row() {
    let (file, rows) = points();
    let numbers = Value::List(vec![int(1), None, int(3)]);
    let pairs = Value::Map(vec![(Value::String("k".into()), list(vec![long(2)])), (Value::String("l".into()), None)]);
    let target = schema(vec![
        Field::optional(30, "n", Type::list(31, false, PrimitiveType::Int)).with_default(numbers.clone()),
        Field::optional(32, "e", Type::list(33, false, PrimitiveType::Int)).with_default(Value::List(vec![])),
        Field::optional(34, "p", Type::map(35, PrimitiveType::String, 36, false, Type::list(37, false, PrimitiveType::Long)))
            .with_default(pairs.clone()),
    ]);
    let expected = vec![vec![Some(numbers), Some(Value::List(vec![])), Some(pairs)]; 4];
    assert_eq!(reading(&target).rows(&write(&file, &rows)).unwrap(), expected);
}

#[test]
fn a_nested_partition_value_fills_structs_that_are_there_and_its_leaf_is_null_below_null_structs() {
    let (file, rows) = points();
    let target = schema(vec![Field::optional(1, "s", point(vec![x(), Field::optional(40, "part", PrimitiveType::Int)]))]);
    let reading = Reading { constants: HashMap::from([(40, int(3))]), ..reading(&target) };
    let expected = [structure(vec![int(1), int(3)]), None, structure(vec![None, int(3)]), structure(vec![int(4), int(3)])];
    let bytes = write(&file, &rows);
    assert_eq!(reading.column(&bytes).unwrap(), expected);
    let batch = &reading.batches(&bytes).unwrap()[0];
    assert!(batch.column(0).as_struct().column(1).is_null(1));
}

#[test]
fn null_under_a_required_child_is_corrupt_only_where_its_parent_is_there() {
    let (file, rows) = points();
    let required = |id| vec![Field::required(id, "x", PrimitiveType::Int)];
    let bytes = write(&file, &rows[..1]);
    for (at, name) in [(1, "l.element.x"), (2, "m.value.x")] {
        let target = schema(vec![points_of(required).fields[at].clone()]);
        let good = [vec![rows[0][0].clone(), list(vec![structure(vec![int(1)]), None]), map(vec![("k", None)])]];
        assert!(reading(&target).column(&write(&file, &good)).is_ok());
        let bad = [vec![None, list(vec![structure(vec![None])]), map(vec![("k", structure(vec![None]))])]];
        let error = reading(&target).column(&write(&file, &bad)).unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.message().contains(name), "{error}");
    }
    let target = schema(vec![Field::optional(2, "l", Type::list(3, true, point(vec![Field::optional(12, "x", PrimitiveType::Int)])))]);
    let error = reading(&target).column(&bytes).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("l.element"), "{error}");
}

#[test]
fn structs_as_map_keys_and_lists_of_lists_keep_their_shape() {
    let key = |fields| Type::map(2, point(fields), 3, false, Type::list(4, false, Type::list(5, true, PrimitiveType::Int)));
    let file = schema(vec![Field::optional(
        1,
        "m",
        key(vec![Field::required(6, "a", PrimitiveType::Int), Field::optional(7, "b", PrimitiveType::Int)]),
    )]);
    let target = schema(vec![Field::optional(
        1,
        "m",
        key(vec![Field::optional(7, "bb", PrimitiveType::Int), Field::required(6, "a", PrimitiveType::Int)]),
    )]);
    let row = |a, b| Some(Value::Map(vec![(Value::Struct(vec![a, b]), list(vec![list(vec![int(1), int(2)]), None, list(vec![])]))]));
    let rows = vec![vec![row(int(1), None)], vec![None], vec![Some(Value::Map(vec![]))], vec![row(int(3), int(4))]];
    let expected = [row(None, int(1)), None, Some(Value::Map(vec![])), row(int(4), int(3))];
    assert_eq!(reading(&target).column(&write(&file, &rows)).unwrap(), expected);
}

#[test]
fn a_list_whose_element_has_another_id_is_missing_and_one_without_an_id_is_read() {
    let list_of =
        |id: &str| format!("message m {{ optional group l (LIST) = 1 {{ repeated group list {{ optional int32 element{id}; }} }} }}");
    let leaf = || LeafValues::Int32(vec![5]).levels(&[3], &[0]);
    let of = |field: Field| schema(vec![field]);
    let optional = of(Field::optional(1, "l", Type::list(2, false, PrimitiveType::Int)));
    for id in ["", " = 2"] {
        assert_eq!(reading(&optional).column(&write_message(&list_of(id), vec![leaf()])).unwrap(), [list(vec![int(5)])]);
    }
    // As the Java reference: PruneColumns drops the list, and the column is filled in like any other that the file lacks.
    let other = write_message(&list_of(" = 3"), vec![leaf()]);
    assert_eq!(reading(&optional).column(&other).unwrap(), [None]);
    let default = Value::List(vec![Some(Value::Int(9))]);
    let defaulted = of(Field::optional(1, "l", Type::list(2, false, PrimitiveType::Int)).with_default(default));
    assert_eq!(reading(&defaulted).column(&other).unwrap(), [list(vec![int(9)])]);
    let required = of(Field::required(1, "l", Type::list(2, false, PrimitiveType::Int)));
    let error = reading(&required).column(&other).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("'l'"), "{error}");
}

/// One id that the table knows is enough, as in the Java reference: the rest of a list or map has its place by its shape.
#[test]
fn a_list_or_map_is_found_by_any_id_in_it() {
    let structs = |element: &str, x: &str| {
        let inside = format!("optional group element{element} {{ optional int32 x{x}; }}");
        let message = format!("message m {{ optional group l (LIST) = 1 {{ repeated group list {{ {inside} }} }} }}");
        write_message(&message, vec![LeafValues::Int32(vec![5]).levels(&[4], &[0])])
    };
    let of_structs = schema(vec![Field::optional(1, "l", Type::list(2, false, point(vec![Field::optional(3, "x", PrimitiveType::Int)])))]);
    for (element, x, expected) in [
        (" = 2", " = 3", list(vec![structure(vec![int(5)])])),
        (" = 9", " = 3", list(vec![structure(vec![int(5)])])),
        (" = 2", " = 9", list(vec![structure(vec![None])])),
        (" = 9", " = 8", None),
    ] {
        assert_eq!(reading(&of_structs).column(&structs(element, x)).unwrap(), [expected], "{element} {x}");
    }
    let maps = schema(vec![Field::optional(1, "m", Type::map(2, PrimitiveType::Int, 3, false, PrimitiveType::Int))]);
    for (key, value, is_found) in [(2, 3, true), (2, 9, true), (9, 3, true), (9, 8, false)] {
        let inside = format!("required int32 key = {key}; optional int32 value = {value};");
        let message = format!("message m {{ optional group m (MAP) = 1 {{ repeated group key_value {{ {inside} }} }} }}");
        let leaves = vec![LeafValues::Int32(vec![4]).levels(&[2], &[0]), LeafValues::Int32(vec![5]).levels(&[3], &[0])];
        let expected = is_found.then(|| Value::Map(vec![(Value::Int(4), int(5))]));
        assert_eq!(reading(&maps).column(&write_message(&message, leaves)).unwrap(), [expected], "{key} {value}");
    }
}

#[test]
fn legacy_lists_and_maps_are_read_by_id_and_by_position() {
    let target = schema(vec![Field::optional(1, "l", Type::list(2, false, PrimitiveType::Int))]);
    let of_structs = schema(vec![Field::optional(1, "l", Type::list(2, false, point(vec![Field::optional(3, "x", PrimitiveType::Long)])))]);
    let flat = |def: &[i16]| LeafValues::Int32(vec![5, 6]).levels(def, &[0, 1, 0]);
    let expected = [list(vec![int(5), int(6)]), None];
    let of_struct = |v| structure(vec![long(v)]);
    let expected_structs = [list(vec![of_struct(5), of_struct(6)]), None];
    for ids in [true, false] {
        let id = |n: i32| if ids { format!(" = {n}") } else { String::new() };
        let (one, two, three) = (id(1), id(2), id(3));
        for (message, def, structs) in [
            (format!("optional group l (LIST){one} {{ repeated int32 element{two}; }}"), [2, 2, 0], false),
            (format!("optional group l (LIST){one} {{ repeated group bag {{ optional int32 array_element{two}; }} }}"), [3, 3, 0], false),
            (format!("optional group l (LIST){one} {{ repeated group list {{ required int32 element{two}; }} }}"), [2, 2, 0], false),
            (format!("optional group l (LIST){one} {{ repeated group array{two} {{ required int32 x{three}; }} }}"), [2, 2, 0], true),
            (format!("optional group l (LIST){one} {{ repeated group l_tuple{two} {{ optional int32 x{three}; }} }}"), [3, 3, 0], true),
        ] {
            let bytes = write_message(&format!("message m {{ {message} }}"), vec![flat(&def)]);
            let (target, expected) = if structs { (&of_structs, &expected_structs) } else { (&target, &expected) };
            assert_eq!(reading(target).column(&bytes).unwrap(), *expected, "{message}");
        }
        let bare = write_message(&format!("message m {{ repeated int32 l{one}; }}"), vec![flat(&[1, 1, 0])]);
        assert_eq!(reading(&target).column(&bare).unwrap(), [list(vec![int(5), int(6)]), list(vec![])]);
    }
    let maps = schema(vec![Field::optional(1, "m", Type::map(2, PrimitiveType::String, 3, false, PrimitiveType::Int))]);
    for (outer, inner) in [("MAP", "key_value"), ("MAP_KEY_VALUE", "map"), ("MAP", "entries (MAP_KEY_VALUE)")] {
        let message = format!(
            "message m {{ optional group m ({outer}) = 1 {{ repeated group {inner} {{ required binary k (UTF8) = 2; optional int32 v = 3; }} }} }}"
        );
        let leaves = vec![bytes(&[b"a", b"b"]).levels(&[2, 2, 0], &[0, 1, 0]), LeafValues::Int32(vec![1]).levels(&[3, 2, 0], &[0, 1, 0])];
        assert_eq!(reading(&maps).column(&write_message(&message, leaves)).unwrap(), [map(vec![("a", int(1)), ("b", None)]), None]);
    }
}

#[test]
fn another_shape_than_the_tables_is_refused_by_name() {
    let (file, rows) = points();
    let bytes = write(&file, &rows);
    for (id, ty) in [
        (1, Type::Primitive(PrimitiveType::Int)),
        (1, Type::list(50, false, PrimitiveType::Int)),
        (2, point(vec![x()])),
        (4, Type::list(50, false, PrimitiveType::Int)),
        (11, point(vec![])),
    ] {
        let target = match id {
            11 => schema(vec![Field::optional(1, "s", point(vec![Field::optional(11, "deep", ty)]))]),
            _ => schema(vec![Field::optional(id, "deep", ty)]),
        };
        let error = reading(&target).rows(&bytes).unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("deep"), "{error}");
    }
}

#[test]
fn slices_of_decoded_batches_transform_to_their_own_rows_only() {
    let (file, rows) = points();
    let bytes = write(&file, &rows);
    let target = points_of(|id| vec![Field::optional(id, "x", PrimitiveType::Long)]);
    let opened: Arc<dyn FileReader> = Arc::new(SerializedFileReader::new(bytes.clone()).unwrap());
    let projection = reading(&target).resolve(opened.as_ref()).unwrap();
    let all = reading(&target).rows(&bytes).unwrap();
    let decoded = ParquetRecordBatchReader::try_new_with_row_groups(&projection.levels().unwrap(), &opened, 100, None)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    for (offset, length) in [(0, 2), (1, 3), (3, 1), (2, 0)] {
        let slice = decoded.slice(offset, length);
        let columns = projection.transform(slice.columns(), length).unwrap();
        assert_eq!(rows_of(&columns, length, &target.fields), all[offset..offset + length]);
    }
    let last = projection.transform(decoded.slice(3, 1).columns(), 1).unwrap();
    assert_eq!(last[1].as_list::<i32>().values().len(), 1);
}

#[test]
fn arrays_that_were_not_planned_are_an_error_and_no_panic() {
    let (file, rows) = points();
    let opened = SerializedFileReader::new(write(&file, &rows)).unwrap();
    let projection = reading(&file).resolve(&opened).unwrap();
    let wrong: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![1, 2]));
    for decoded in [vec![], vec![Arc::clone(&wrong)], vec![wrong; 3]] {
        assert_eq!(projection.transform(&decoded, 2).unwrap_err().kind(), ErrorKind::Internal);
    }
}
