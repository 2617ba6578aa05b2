//! Just enough of table metadata JSON for the corpus, so that planning can be tested without a catalog.

use fastdata_types::metadata::{LogEntry, ManifestSource, PartitionField, PartitionSpec, Snapshot, SnapshotRef, TableMetadata};
use fastdata_types::schema::{Field, PrimitiveType, Schema, Type};
use fastdata_types::transform::Transform;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

pub fn load(path: &Path) -> TableMetadata {
    let mut bytes = std::fs::read(path).unwrap();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
        bytes = plain;
    }
    parse(&serde_json::from_slice(&bytes).unwrap())
}

fn long(json: &Json, key: &str) -> Option<i64> {
    // Two tables have snapshot ids beyond 63 bits; they are ids all the same.
    json.get(key).and_then(|v| v.as_i64().or_else(|| v.as_u64().map(|v| v as i64)))
}

fn int(json: &Json, key: &str) -> Option<i32> {
    long(json, key).map(|v| v as i32)
}

fn text(json: &Json, key: &str) -> String {
    json[key].as_str().unwrap_or_default().to_owned()
}

fn array<'a>(json: &'a Json, key: &str) -> &'a [Json] {
    json.get(key).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn parse(json: &Json) -> TableMetadata {
    let schemas: Vec<Schema> = match array(json, "schemas") {
        [] => vec![schema(&json["schema"])],
        many => many.iter().map(schema).collect(),
    };
    let specs: Vec<PartitionSpec> = match array(json, "partition-specs") {
        [] => vec![PartitionSpec { id: 0, fields: fields(array(json, "partition-spec")) }],
        many => many.iter().map(|s| PartitionSpec { id: int(s, "spec-id").unwrap(), fields: fields(array(s, "fields")) }).collect(),
    };
    let snapshots: Vec<Arc<Snapshot>> = array(json, "snapshots").iter().map(|s| Arc::new(snapshot(s))).collect();
    let current = long(json, "current-snapshot-id").filter(|id| *id != -1);
    let mut refs: BTreeMap<String, SnapshotRef> = json["refs"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, r)| (name.clone(), SnapshotRef { snapshot_id: long(r, "snapshot-id").unwrap(), is_branch: r["type"] == "branch" }))
        .collect();
    if let Some(id) = current {
        refs.entry("main".into()).or_insert(SnapshotRef { snapshot_id: id, is_branch: true });
    }
    TableMetadata {
        format_version: int(json, "format-version").unwrap() as u8,
        uuid: json["table-uuid"].as_str().map(str::to_owned),
        location: text(json, "location"),
        last_updated_ms: 0,
        last_sequence_number: 0,
        current_schema_id: int(json, "current-schema-id").unwrap_or(schemas[0].id),
        schemas: schemas.into_iter().map(|s| (s.id, Arc::new(s))).collect(),
        default_spec_id: int(json, "default-spec-id").unwrap_or(0),
        partition_specs: specs.into_iter().map(|s| (s.id, Arc::new(s))).collect(),
        sort_orders: BTreeMap::new(),
        default_sort_order_id: 0,
        properties: BTreeMap::new(),
        current_snapshot_id: current,
        snapshot_index: snapshots.iter().enumerate().map(|(at, s)| (s.id, at)).collect(),
        snapshots,
        snapshot_log: array(json, "snapshot-log")
            .iter()
            .map(|e| LogEntry { timestamp_ms: long(e, "timestamp-ms").unwrap(), snapshot_id: long(e, "snapshot-id").unwrap() })
            .collect(),
        refs,
        next_row_id: None,
        name_mapping: None,
    }
}

fn snapshot(json: &Json) -> Snapshot {
    let summary: BTreeMap<String, String> =
        json["summary"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect();
    let inline = || ManifestSource::Inline(array(json, "manifests").iter().map(|m| m.as_str().unwrap().to_owned()).collect());
    Snapshot {
        id: long(json, "snapshot-id").unwrap(),
        parent_id: long(json, "parent-snapshot-id"),
        sequence_number: long(json, "sequence-number").unwrap_or(0),
        timestamp_ms: long(json, "timestamp-ms").unwrap(),
        manifests: json.get("manifest-list").map_or_else(inline, |list| ManifestSource::List(list.as_str().unwrap().to_owned())),
        operation: summary.get("operation").cloned(),
        summary,
        schema_id: int(json, "schema-id"),
        first_row_id: long(json, "first-row-id"),
    }
}

fn fields(json: &[Json]) -> Vec<PartitionField> {
    let field = |(at, f): (usize, &Json)| PartitionField {
        source_id: int(f, "source-id").unwrap(),
        field_id: int(f, "field-id").unwrap_or(1000 + at as i32),
        name: text(f, "name"),
        transform: Transform::parse(f["transform"].as_str().unwrap()),
    };
    json.iter().enumerate().map(field).collect()
}

fn schema(json: &Json) -> Schema {
    Schema::new(int(json, "schema-id").unwrap_or(0), array(json, "fields").iter().map(field).collect()).unwrap()
}

fn field(json: &Json) -> Field {
    Field::new(int(json, "id").unwrap(), text(json, "name"), json["required"] == true, ty(&json["type"]))
}

fn ty(json: &Json) -> Type {
    if let Some(name) = json.as_str() {
        return Type::Primitive(primitive(name));
    }
    let id = |key: &str| int(json, key).unwrap();
    match json["type"].as_str().unwrap() {
        "struct" => Type::structure(array(json, "fields").iter().map(field).collect()),
        "list" => Type::list(id("element-id"), json["element-required"] == true, ty(&json["element"])),
        "map" => Type::map(id("key-id"), ty(&json["key"]), id("value-id"), json["value-required"] == true, ty(&json["value"])),
        other => panic!("type {other}"),
    }
}

fn primitive(name: &str) -> PrimitiveType {
    let inside = |prefix: &str, close: char| name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(close));
    if let Some(parameters) = inside("decimal(", ')') {
        let (precision, scale) = parameters.split_once(',').unwrap();
        return PrimitiveType::Decimal { precision: precision.trim().parse().unwrap(), scale: scale.trim().parse().unwrap() };
    }
    if let Some(length) = inside("fixed[", ']') {
        return PrimitiveType::Fixed(length.parse().unwrap());
    }
    match name {
        "boolean" => PrimitiveType::Boolean,
        "int" => PrimitiveType::Int,
        "long" => PrimitiveType::Long,
        "float" => PrimitiveType::Float,
        "double" => PrimitiveType::Double,
        "date" => PrimitiveType::Date,
        "time" => PrimitiveType::Time,
        "timestamp" => PrimitiveType::Timestamp,
        "timestamptz" => PrimitiveType::Timestamptz,
        "timestamp_ns" => PrimitiveType::TimestampNs,
        "timestamptz_ns" => PrimitiveType::TimestamptzNs,
        "string" => PrimitiveType::String,
        "uuid" => PrimitiveType::Uuid,
        "binary" => PrimitiveType::Binary,
        other => panic!("type {other}"),
    }
}
