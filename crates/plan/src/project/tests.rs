use super::*;
use fastdata_types::schema::{PrimitiveType, metadata_column};

fn table() -> Schema {
    let address = Type::structure(vec![Field::optional(5, "city", PrimitiveType::String), Field::optional(6, "zip", PrimitiveType::Int)]);
    let item = Type::structure(vec![Field::optional(12, "sku", PrimitiveType::String), Field::optional(13, "n", PrimitiveType::Int)]);
    Schema::new(
        3,
        vec![
            Field::required(1, "id", PrimitiveType::Long),
            Field::optional(
                2,
                "user",
                Type::structure(vec![Field::optional(3, "name", PrimitiveType::String), Field::optional(4, "address", address)]),
            ),
            Field::optional(10, "items", Type::list(11, false, item.clone())),
            Field::optional(
                20,
                "m",
                Type::map(
                    21,
                    PrimitiveType::String,
                    22,
                    false,
                    Type::structure(vec![Field::optional(23, "a", PrimitiveType::Int), Field::optional(24, "b", PrimitiveType::Int)]),
                ),
            ),
        ],
    )
    .unwrap()
}

fn bindable() -> Schema {
    let mut fields = table().fields;
    fields.extend(metadata_column::fields(StructType { fields: vec![] }));
    Schema::new(3, fields).unwrap()
}

fn projected(columns: &[&str]) -> String {
    let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
    let schema = project(&bindable(), &columns, &table()).unwrap();
    schema.fields.iter().map(|f| format!("{}: {}", f.name, f.ty)).collect::<Vec<_>>().join("; ")
}

#[test]
fn no_columns_are_all_columns_of_the_table() {
    assert_eq!(project(&bindable(), &[], &table()).unwrap(), table());
}

#[test]
fn top_level_columns_come_in_the_order_asked_for_once() {
    assert_eq!(projected(&["_pos", "id", "_pos", "ID"]), "_pos: long; id: long");
}

#[test]
fn dotted_paths_prune_structs_in_schema_order() {
    assert_eq!(projected(&["user.address.city"]), "user: struct<address: struct<city: string>>");
    assert_eq!(projected(&["user.address.zip", "id", "user.name"]), "user: struct<name: string, address: struct<zip: int>>; id: long");
    assert_eq!(projected(&["user.address", "user.address.zip"]), "user: struct<address: struct<city: string, zip: int>>");
    assert_eq!(projected(&["user.address.zip", "user"]), projected(&["user"]));
    assert_eq!(projected(&["\"user\".\"name\""]), projected(&["user.name"]));
}

#[test]
fn elements_and_values_are_pruned_and_keys_come_whole() {
    assert_eq!(projected(&["items.element.n"]), "items: list<struct<n: int>>");
    assert_eq!(projected(&["m.value.b"]), "m: map<string, struct<b: int>>");
    assert_eq!(projected(&["m.key"]), "m: map<string, struct<a: int, b: int>>");
}

#[test]
fn unknown_columns_name_the_nearest() {
    let error = project(&bindable(), &["user.adress.city".into()], &table()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.advice_text().unwrap().contains("user.address.city"), "{error:?}");
    // A metadata column that gave way to columns of the table says so.
    let error = project(&table(), &["_partition".into()], &table()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn unreadable_types_are_refused_by_column_name_unless_left_out() {
    let variant = Type::structure(vec![Field::optional(3, "v", PrimitiveType::Variant), Field::optional(4, "n", PrimitiveType::Int)]);
    let schema = Schema::new(0, vec![Field::required(1, "id", PrimitiveType::Long), Field::optional(2, "s", variant)]).unwrap();
    let error = project(&schema, &[], &schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("'s.v'") && error.message().contains("variant"), "{error}");
    assert!(project(&schema, &["id".into(), "s.n".into()], &schema).is_ok());
}
