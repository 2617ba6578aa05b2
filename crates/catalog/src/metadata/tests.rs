use super::*;
use fastdata_types::metadata::ManifestSource;
use fastdata_types::transform::Transform;
use fastdata_types::{ErrorKind, PrimitiveType, Type, Value};
use serde_json::{Value as Json, json};
use std::io::Write;

fn v2() -> Json {
    json!({
        "format-version": 2, "table-uuid": "u", "location": "s3://b/t", "last-sequence-number": 3, "last-updated-ms": 7,
        "last-column-id": 2, "current-schema-id": 0, "last-partition-id": 999, "default-spec-id": 0, "default-sort-order-id": 0,
        "schemas": [{"type": "struct", "schema-id": 0, "fields": [
            {"id": 1, "name": "a", "required": true, "type": "long"}, {"id": 2, "name": "b", "required": false, "type": "string"}]}],
        "partition-specs": [{"spec-id": 0, "fields": []}], "sort-orders": [{"order-id": 0, "fields": []}],
        "current-snapshot-id": 5, "snapshots": [
            {"snapshot-id": 4, "timestamp-ms": 1, "manifest-list": "s3://b/t/metadata/1.avro", "sequence-number": 1},
            {"snapshot-id": 5, "parent-snapshot-id": 4, "timestamp-ms": 2, "manifest-list": "s3://b/t/metadata/2.avro", "sequence-number": 2,
             "schema-id": 0, "summary": {"operation": "append", "total-records": 3}}],
        "snapshot-log": [{"timestamp-ms": 1, "snapshot-id": 4}, {"timestamp-ms": 2, "snapshot-id": 5}],
        "refs": {"main": {"snapshot-id": 5, "type": "branch"}, "old": {"snapshot-id": 4, "type": "tag"}}
    })
}

fn parse(json: &Json) -> Result<TableMetadata> {
    parse_metadata(json.to_string().as_bytes())
}

fn with(key: &str, value: Json) -> Json {
    let mut table = v2();
    table[key] = value;
    table
}

fn without(key: &str) -> Json {
    let mut table = v2();
    table.as_object_mut().unwrap().remove(key);
    table
}

fn kind_of(json: &Json) -> ErrorKind {
    parse(json).expect_err("must be refused").kind()
}

/// A schema with one column of the type given.
fn of_type(ty: Json) -> Json {
    with("schemas", json!([{"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "c", "required": false, "type": ty}]}]))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn version_2_is_read_with_its_refs_log_and_snapshots() {
    let table = parse(&v2()).unwrap();
    assert_eq!((table.format_version, table.location.as_str(), table.current_snapshot_id), (2, "s3://b/t", Some(5)));
    assert_eq!(table.snapshot(5).unwrap().parent_id, Some(4));
    assert_eq!(table.snapshot(5).unwrap().operation.as_deref(), Some("append"));
    assert_eq!(table.snapshot(5).unwrap().summary["total-records"], "3");
    assert_eq!(table.snapshot(4).unwrap().schema_id, None, "a snapshot may lack schema-id and summary");
    assert_eq!(table.snapshot_log.len(), 2);
    assert!(table.refs["main"].is_branch && !table.refs["old"].is_branch);
}

#[test]
fn version_1_may_name_one_schema_one_spec_and_inline_manifests() {
    let table = parse(&json!({
        "format-version": 1, "location": "/t", "last-updated-ms": 1, "last-column-id": 1, "current-snapshot-id": 9,
        "schema": {"type": "struct", "fields": [{"id": 1, "name": "a", "required": true, "type": "int"}]},
        "partition-spec": [{"name": "a", "transform": "identity", "source-id": 1}, {"name": "b", "transform": "bucket[4]", "source-id": 1}],
        "snapshots": [{"snapshot-id": 9, "timestamp-ms": 1, "manifests": ["/t/m0.avro", "/t/m1.avro"]}]
    }))
    .unwrap();
    assert_eq!((table.uuid.clone(), table.current_schema_id, table.default_spec_id), (None, 0, 0));
    let ids: Vec<i32> = table.partition_specs[&0].fields.iter().map(|f| f.field_id).collect();
    assert_eq!(ids, [1000, 1001]);
    let ManifestSource::Inline(manifests) = &table.snapshot(9).unwrap().manifests else { panic!() };
    assert_eq!(manifests.len(), 2);
    assert_eq!(table.refs["main"].snapshot_id, 9, "main is there without refs");
}

#[test]
fn current_snapshot_minus_one_is_none() {
    let mut table = with("current-snapshot-id", json!(-1));
    table["refs"] = json!({});
    let table = parse(&table).unwrap();
    assert_eq!(table.current_snapshot_id, None);
    assert!(table.refs.is_empty());
    let mut table = v2();
    table["snapshots"][0]["parent-snapshot-id"] = json!(-1);
    assert_eq!(parse(&table).unwrap().snapshot(4).unwrap().parent_id, None);
}

#[test]
fn format_version_4_and_later_is_refused_by_name() {
    for version in [4, 99] {
        // Everything else may look different there.
        let e = parse(&json!({"format-version": version, "location": 7})).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        assert!(e.message().contains(&version.to_string()), "{e}");
    }
    assert_eq!(kind_of(&with("format-version", json!(0))), ErrorKind::Corrupt);
    assert_eq!(kind_of(&without("format-version")), ErrorKind::Corrupt);
}

#[test]
fn references_to_what_is_not_there_are_corrupt() {
    for (key, value) in [
        ("current-schema-id", json!(77)),
        ("current-snapshot-id", json!(77)),
        ("default-spec-id", json!(77)),
        ("default-sort-order-id", json!(77)),
        ("refs", json!({"main": {"snapshot-id": 4, "type": "branch"}})),
        ("refs", json!({"main": {"snapshot-id": 5, "type": "tag"}})),
    ] {
        assert_eq!(kind_of(&with(key, value.clone())), ErrorKind::Corrupt, "{key} {value}");
    }
    for key in ["schemas", "current-schema-id", "partition-specs", "default-spec-id", "sort-orders", "last-partition-id", "location"] {
        let e = parse(&without(key)).unwrap_err();
        assert!(e.kind() == ErrorKind::Corrupt && e.message().contains(key), "{key}: {e}");
    }
}

#[test]
fn ids_used_twice_are_corrupt() {
    let field = json!({"id": 1, "name": "a", "required": true, "type": "long"});
    let schema = json!({"type": "struct", "schema-id": 0, "fields": [field, field]});
    let snapshot = v2()["snapshots"][1].clone();
    let one = json!({"name": "p", "transform": "identity", "source-id": 1, "field-id": 1000});
    for (key, value) in [
        ("schemas", json!([schema])),
        ("schemas", json!([v2()["schemas"][0], v2()["schemas"][0]])),
        ("snapshots", json!([snapshot, snapshot])),
        ("partition-specs", json!([{"spec-id": 0, "fields": [one, one]}])),
        ("partition-specs", json!([{"spec-id": 0, "fields": []}, {"spec-id": 0, "fields": []}])),
    ] {
        assert_eq!(kind_of(&with(key, value.clone())), ErrorKind::Corrupt, "{key}");
    }
}

#[test]
fn snapshot_ids_beyond_63_bits_stay_distinct() {
    let text = v2().to_string().replace(":5", ":9876543210123456789").replace(":4", ":9876543210123456788");
    let table = parse_metadata(text.as_bytes()).unwrap();
    let id = 9_876_543_210_123_456_789u64.cast_signed();
    assert_eq!((table.current_snapshot_id, table.snapshot(id).unwrap().parent_id), (Some(id), Some(id - 1)));
}

#[test]
fn a_snapshot_parent_cycle_does_not_matter() {
    let mut table = v2();
    table["snapshots"][0]["parent-snapshot-id"] = json!(5);
    assert_eq!(parse(&table).unwrap().snapshots.len(), 2);
}

#[test]
fn a_key_that_comes_twice_is_refused_and_an_unknown_one_is_not() {
    let text = v2().to_string();
    let body = text.strip_suffix('}').unwrap();
    let twice = format!("{body},\"location\":\"file:///etc\"}}");
    let e = parse_metadata(twice.as_bytes()).unwrap_err();
    assert!(e.kind() == ErrorKind::Corrupt && e.message().contains("location") && !e.message().contains("etc"), "{e}");
    let twice = text.replace("\"old\":", "\"old\":{\"snapshot-id\":5,\"type\":\"tag\"},\"old\":");
    assert_eq!(parse_metadata(twice.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt);
    let unknown = format!("{body},\"x\":{{\"y\":[1]}},\"x\":2}}");
    assert!(parse_metadata(unknown.as_bytes()).is_ok());
}

#[test]
fn every_primitive_type_of_version_3_is_known() {
    for (text, expected) in [
        ("boolean", PrimitiveType::Boolean),
        ("timestamp_ns", PrimitiveType::TimestampNs),
        ("timestamptz_ns", PrimitiveType::TimestamptzNs),
        ("decimal(38, 10)", PrimitiveType::Decimal { precision: 38, scale: 10 }),
        ("decimal(9,2)", PrimitiveType::Decimal { precision: 9, scale: 2 }),
        ("fixed[12]", PrimitiveType::Fixed(12)),
        ("unknown", PrimitiveType::Unknown),
        ("variant", PrimitiveType::Variant),
        ("geometry(srid:3857)", PrimitiveType::Geometry("geometry(srid:3857)".into())),
        ("geography(OGC:CRS84, karney)", PrimitiveType::Geography("geography(OGC:CRS84, karney)".into())),
    ] {
        assert_eq!(parse(&of_type(json!(text))).unwrap().current_schema().fields[0].ty, Type::Primitive(expected));
    }
    for (text, kind) in [
        ("decimal(39,0)", ErrorKind::Corrupt),
        ("decimal(4,5)", ErrorKind::Corrupt),
        ("fixed[-1]", ErrorKind::Corrupt),
        ("fixed[99999999999]", ErrorKind::Corrupt),
        ("hologram", ErrorKind::Unsupported),
        ("", ErrorKind::Unsupported),
    ] {
        let e = parse(&of_type(json!(text))).unwrap_err();
        assert!(e.kind() == kind && e.message().contains("'c'"), "{text}: {e}");
    }
    assert_eq!(kind_of(&of_type(json!({"type": "list", "element": "int"}))), ErrorKind::Corrupt);
    assert_eq!(kind_of(&of_type(json!(17))), ErrorKind::Corrupt);
}

#[test]
fn the_initial_default_is_read_and_the_write_default_never() {
    let schema = |default: Json, ty: &str| {
        let field = json!({"id": 1, "name": "c", "required": false, "type": ty, "initial-default": default, "write-default": "nonsense"});
        with("schemas", json!([{"type": "struct", "schema-id": 0, "fields": [field]}]))
    };
    let default = |json: &Json| parse(json).unwrap().current_schema().fields[0].initial_default.clone();
    assert_eq!(default(&schema(json!(34), "long")), Some(Value::Long(34)));
    assert_eq!(default(&schema(json!("2007-12-03"), "date")), Some(Value::Date(13850)));
    assert_eq!(default(&schema(Json::Null, "long")), None);
    let e = parse(&schema(json!("x"), "long")).unwrap_err();
    assert!(e.kind() == ErrorKind::Corrupt && e.message().contains("'c'"), "{e}");
}

/// Each of them is small as JSON and within its own limit.
#[test]
fn default_values_that_explode_are_refused_for_all_columns_together() {
    // With its quotes as long as one may be.
    let long = "x".repeat((1 << 20) - 2);
    let column = |id: usize| {
        let member = json!({"id": id + 2, "name": "m", "required": false, "type": "string", "initial-default": long});
        let element = json!({"type": "struct", "fields": [member]});
        json!({"id": id, "name": "l", "required": false, "initial-default": vec![json!({}); 10],
            "type": {"type": "list", "element-id": id + 1, "element-required": false, "element": element}})
    };
    let table = |columns: usize| {
        let fields: Vec<Json> = (0..columns).map(|at| column(10 * at + 10)).collect();
        with("schemas", json!([{"type": "struct", "schema-id": 0, "fields": fields}]))
    };
    assert!(parse(&table(5)).is_ok());
    assert_eq!(kind_of(&table(6)), ErrorKind::LimitExceeded);
}

#[test]
fn a_spec_keeps_fields_of_dropped_columns_unknown_transforms_and_several_sources() {
    let spec = json!([{"spec-id": 0, "fields": [
        {"name": "gone", "transform": "identity", "source-id": 99, "field-id": 1000},
        {"name": "odd", "transform": "evil[3]", "source-id": 1, "field-id": 1001},
        {"name": "two", "transform": "bucket[8]", "source-ids": [1, 2], "field-id": 1002},
        {"name": "one", "transform": "bucket[8]", "source-ids": [1], "field-id": 1003}]}]);
    let table = parse(&with("partition-specs", spec)).unwrap();
    let fields = &table.partition_specs[&0].fields;
    assert_eq!(fields[0].source_id, 99);
    assert!(matches!(fields[1].transform, Transform::Unknown(_)) && matches!(fields[2].transform, Transform::Unknown(_)));
    assert_eq!(fields[3].transform, Transform::Bucket(8));
    assert_eq!(
        kind_of(&with("partition-specs", json!([{"spec-id": 0, "fields": [{"name": "p", "transform": "identity"}]}]))),
        ErrorKind::Corrupt
    );
}

#[test]
fn more_schemas_and_partition_fields_than_can_be_looked_through_are_refused() {
    let specs = |each: usize| {
        let fields =
            |spec: usize| (0..each).map(move |at| json!({"name": "p", "transform": "void", "source-id": 1, "field-id": spec * each + at}));
        json!((0..4).map(|id| json!({"spec-id": id, "fields": fields(id).collect::<Vec<_>>()})).collect::<Vec<_>>())
    };
    assert!(parse(&with("partition-specs", specs(2_500))).is_ok());
    assert_eq!(kind_of(&with("partition-specs", specs(2_501))), ErrorKind::LimitExceeded);
    let schemas = |count: usize| json!((0..count).map(|id| json!({"type": "struct", "schema-id": id, "fields": []})).collect::<Vec<_>>());
    assert!(parse(&with("schemas", schemas(100_000))).is_ok());
    assert_eq!(kind_of(&with("schemas", schemas(100_001))), ErrorKind::LimitExceeded);
}

#[test]
fn the_name_mapping_is_read_from_its_property() {
    let mapping = json!([{"field-id": 1, "names": ["a", "A"]}, {"names": ["s"], "fields": [{"field-id": 2, "names": ["b"]}]}]);
    let table = parse(&with("properties", json!({"schema.name-mapping.default": mapping.to_string(), "n": 7, "t": true}))).unwrap();
    let fields = &table.name_mapping.as_ref().unwrap().fields;
    assert_eq!((fields[0].field_id, fields[1].fields[0].field_id), (Some(1), Some(2)));
    assert_eq!(table.properties["n"], "7");
    for bad in [r#"[{"field-id":1,"names":["a"]},{"field-id":2,"names":["a"]}]"#, "{", "[[[["] {
        assert_eq!(kind_of(&with("properties", json!({"schema.name-mapping.default": bad}))), ErrorKind::Corrupt, "{bad}");
    }
}

#[test]
fn compression_is_told_by_the_bytes_and_a_bomb_is_refused_in_little_memory() {
    let plain = v2().to_string();
    assert!(parse_metadata(&gzip(plain.as_bytes())).is_ok());
    assert!(parse_metadata(&zstd::encode_all(plain.as_bytes(), 3).unwrap()).is_ok());
    let packed = gzip(plain.as_bytes());
    assert_eq!(parse_metadata(&packed[..packed.len() / 2]).unwrap_err().kind(), ErrorKind::Corrupt);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..=(MAX_METADATA_BYTES >> 20) {
        encoder.write_all(&[b'a'; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    assert_eq!(parse_metadata(&bomb).unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn deep_nesting_is_refused_without_recursion() {
    let open = r#"{"type":"list","element-id":7,"element-required":false,"element":"#;
    let ty = format!("{}\"int\"{}", open.repeat(50_000), "}".repeat(50_000));
    let text = v2().to_string().replacen("\"long\"", &ty, 1);
    assert_eq!(parse_metadata(text.as_bytes()).unwrap_err().kind(), ErrorKind::LimitExceeded);
    // 60 lists deep is odd but within the limit, on the stack of a test thread.
    let ty = (0..60).fold(json!("int"), |ty, i| json!({"type": "list", "element-id": 1000 + i, "element-required": false, "element": ty}));
    assert!(parse(&of_type(ty)).is_ok());
    let ty = (0..80).fold(json!("int"), |ty, i| json!({"type": "list", "element-id": 1000 + i, "element-required": false, "element": ty}));
    assert_eq!(kind_of(&of_type(ty)), ErrorKind::LimitExceeded);
}

#[test]
fn errors_never_repeat_what_the_file_says() {
    let secret = "root:x:0:0";
    for bytes in [secret.to_owned(), format!("{{\"format-version\":\"{secret}\"}}"), with("last-updated-ms", json!(secret)).to_string()] {
        let e = parse_metadata(bytes.as_bytes()).unwrap_err();
        assert!(e.kind() == ErrorKind::Corrupt && !e.message().contains("root"), "{e}");
    }
}

#[test]
fn any_cut_or_changed_byte_is_an_error_or_a_table_but_never_a_panic() {
    let bytes = v2().to_string().into_bytes();
    for end in 0..bytes.len() {
        assert!(parse_metadata(&bytes[..end]).is_err());
    }
    for at in 0..bytes.len() {
        for with in [0u8, b'9', b'"', b'{', b']', b'-', 0xff] {
            let mut changed = bytes.clone();
            changed[at] = with;
            let _ = parse_metadata(&changed);
        }
    }
}

#[test]
fn an_encrypted_metadata_file_is_refused_by_name_and_keys_of_manifest_lists_are_read() {
    let error = parse_metadata(b"AGS1\0\0\x10\0rest").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("encrypted"), "{error}");
    let mut table = v2();
    table["snapshots"][1]["key-id"] = json!("k1");
    table["encryption-keys"] = json!([{"key-id": "k1", "encrypted-key-metadata": "AA=="}]);
    let table = parse(&table).unwrap();
    assert_eq!(table.snapshot(5).unwrap().key_id.as_deref(), Some("k1"));
    assert_eq!(table.snapshot(4).unwrap().key_id, None);
}
