//! Manifests (spec "Manifests"): the Avro file that lists data files or delete files with their statistics.
//!
//! Contract: the schema carries the specification's field ids for the table's format version; sequence numbers and snapshot ids are written
//! null for added entries of v2 and v3, so that readers must inherit them, and in full for all others.

use crate::avro::{Row, container, sanitised};
use crate::metrics::Metrics;
use crate::{cannot_write, json, misuse};
use fastdata_types::metadata::PartitionSpec;
use fastdata_types::{PrimitiveType, Result, Schema, Value};
use serde_json::{Value as Json, json as j};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Content {
    #[default]
    Data = 0,
    /// Position delete files and deletion vectors.
    PositionDeletes = 1,
    EqualityDeletes = 2,
}

/// What a manifest says of one file. All of it can be edited before the commit, to make a table that says less, or other things,
/// than a careful writer would.
#[derive(Debug, Clone, Default)]
pub struct ContentFile {
    pub content: Content,
    pub path: String,
    /// `PARQUET` or `PUFFIN`.
    pub format: String,
    pub spec_id: i32,
    /// One value per field of the spec.
    pub partition: Vec<Option<Value>>,
    pub record_count: u64,
    pub file_size: u64,
    pub metrics: Metrics,
    pub split_offsets: Option<Vec<i64>>,
    pub equality_ids: Vec<i32>,
    pub sort_order_id: Option<i32>,
    pub referenced_data_file: Option<String>,
    pub content_offset: Option<i64>,
    pub content_size: Option<i64>,
    /// Of v3 data files. `None` until the commit assigns it.
    pub first_row_id: Option<i64>,
    /// Data sequence number. 0 until the commit assigns it.
    pub sequence_number: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Existing = 0,
    Added = 1,
    Deleted = 2,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub status: Status,
    pub snapshot_id: i64,
    pub file: Arc<ContentFile>,
}

impl Entry {
    pub fn is_live(&self) -> bool {
        self.status != Status::Deleted
    }
}

/// What the file's header and the encoding of its entries depend on.
pub struct ManifestContext<'a> {
    pub format_version: u8,
    pub schema: &'a Schema,
    pub spec: &'a PartitionSpec,
    /// Types of the partition values, in the order of the spec.
    pub partition_types: Vec<PrimitiveType>,
    pub is_deletes: bool,
    pub sync: [u8; 16],
}

/// Writes the manifest and returns its length in bytes.
pub fn write(path: &Path, entries: &[Entry], context: &ManifestContext) -> Result<u64> {
    let rows = entries.iter().map(|entry| entry_row(entry, context)).collect::<Result<Vec<_>>>()?;
    let mut metadata = vec![
        ("schema", json::schema(context.schema, &BTreeMap::new()).to_string()),
        ("schema-id", context.schema.id.to_string()),
        ("partition-spec", json::partition_fields(context.spec).to_string()),
        ("partition-spec-id", context.spec.id.to_string()),
        ("format-version", context.format_version.to_string()),
    ];
    if context.format_version > 1 {
        metadata.push(("content", if context.is_deletes { "deletes" } else { "data" }.to_owned()));
    }
    let schema = entry_schema(context).to_string();
    let bytes = container(&schema, &metadata, &rows, context.sync).map_err(|e| cannot_write(path, e))?;
    std::fs::write(path, &bytes).map_err(|e| cannot_write(path, e))?;
    Ok(bytes.len() as u64)
}

fn entry_schema(context: &ManifestContext) -> Json {
    let version = context.format_version;
    let snapshot_id = if version == 1 { j!("long") } else { j!(["null", "long"]) };
    let mut fields = vec![field(0, "status", j!("int")), field(1, "snapshot_id", snapshot_id)];
    if version > 1 {
        fields.push(field(3, "sequence_number", j!(["null", "long"])));
        fields.push(field(4, "file_sequence_number", j!(["null", "long"])));
    }
    fields.push(field(2, "data_file", j!({"type": "record", "name": "r2", "fields": file_fields(context)})));
    j!({"type": "record", "name": "manifest_entry", "fields": fields})
}

fn file_fields(context: &ManifestContext) -> Vec<Json> {
    let version = context.format_version;
    let partition: Vec<Json> = context
        .spec
        .fields
        .iter()
        .zip(&context.partition_types)
        .map(|(f, ty)| field(f.field_id, &sanitised(&f.name), j!(["null", partition_type(ty, f.field_id)])))
        .collect();
    let map = |id: i32, name: &str, key: i32, value: i32, ty: &str| {
        let entry = j!({"type": "record", "name": format!("k{key}_v{value}"), "fields": [field(key, "key", j!("int")), field(value, "value", j!(ty))]});
        field(id, name, j!(["null", {"type": "array", "logicalType": "map", "items": entry}]))
    };
    let list =
        |id: i32, name: &str, element: i32, ty: &str| field(id, name, j!(["null", {"type": "array", "element-id": element, "items": ty}]));
    let mut fields = Vec::new();
    if version > 1 {
        fields.push(field(134, "content", j!("int")));
    }
    fields.extend([
        field(100, "file_path", j!("string")),
        field(101, "file_format", j!("string")),
        field(102, "partition", j!({"type": "record", "name": "r102", "fields": partition})),
        field(103, "record_count", j!("long")),
        field(104, "file_size_in_bytes", j!("long")),
    ]);
    if version == 1 {
        fields.push(field(105, "block_size_in_bytes", j!("long")));
    }
    fields.extend([
        map(108, "column_sizes", 117, 118, "long"),
        map(109, "value_counts", 119, 120, "long"),
        map(110, "null_value_counts", 121, 122, "long"),
        map(137, "nan_value_counts", 138, 139, "long"),
        map(125, "lower_bounds", 126, 127, "bytes"),
        map(128, "upper_bounds", 129, 130, "bytes"),
        field(131, "key_metadata", j!(["null", "bytes"])),
        list(132, "split_offsets", 133, "long"),
    ]);
    if version > 1 {
        fields.push(list(135, "equality_ids", 136, "int"));
    }
    fields.push(field(140, "sort_order_id", j!(["null", "int"])));
    if version > 2 {
        fields.push(field(142, "first_row_id", j!(["null", "long"])));
    }
    if version > 1 {
        fields.push(field(143, "referenced_data_file", j!(["null", "string"])));
    }
    if version > 2 {
        fields.push(field(144, "content_offset", j!(["null", "long"])));
        fields.push(field(145, "content_size_in_bytes", j!(["null", "long"])));
    }
    fields
}

/// A field of an Avro record; an optional one defaults to null.
pub fn field(id: i32, name: &str, ty: Json) -> Json {
    let mut out = j!({"name": name, "field-id": id, "type": ty});
    if out["type"].is_array() {
        out["default"] = Json::Null;
    }
    out
}

/// The Avro type of a partition value (spec "Avro"). Fixed types are named after the field, since Avro names are unique in a schema.
fn partition_type(ty: &PrimitiveType, field_id: i32) -> Json {
    let timestamp = |unit: &str, utc: bool| j!({"type": "long", "logicalType": unit, "adjust-to-utc": utc});
    match ty {
        PrimitiveType::Boolean => j!("boolean"),
        PrimitiveType::Int => j!("int"),
        PrimitiveType::Long => j!("long"),
        PrimitiveType::Float => j!("float"),
        PrimitiveType::Double => j!("double"),
        PrimitiveType::Decimal { precision, scale } => j!({
            "type": "fixed", "name": format!("decimal_{field_id}"), "size": decimal_width(*precision),
            "logicalType": "decimal", "precision": precision, "scale": scale,
        }),
        PrimitiveType::Date => j!({"type": "int", "logicalType": "date"}),
        PrimitiveType::Time => j!({"type": "long", "logicalType": "time-micros"}),
        PrimitiveType::Timestamp => timestamp("timestamp-micros", false),
        PrimitiveType::Timestamptz => timestamp("timestamp-micros", true),
        PrimitiveType::TimestampNs => timestamp("timestamp-nanos", false),
        PrimitiveType::TimestamptzNs => timestamp("timestamp-nanos", true),
        PrimitiveType::Uuid => j!({"type": "fixed", "name": format!("uuid_{field_id}"), "size": 16, "logicalType": "uuid"}),
        PrimitiveType::Fixed(length) => j!({"type": "fixed", "name": format!("fixed_{field_id}"), "size": length}),
        PrimitiveType::Binary => j!("bytes"),
        PrimitiveType::String
        | PrimitiveType::Unknown
        | PrimitiveType::Variant
        | PrimitiveType::Geometry(_)
        | PrimitiveType::Geography(_) => j!("string"),
    }
}

/// Bytes of the narrowest two's-complement integer with `precision` decimal digits.
pub fn decimal_width(precision: u8) -> usize {
    let largest = 10i128.saturating_pow(u32::from(precision)).saturating_sub(1);
    (1..16).find(|bytes| largest < 1i128 << (8 * bytes - 1)).unwrap_or(16)
}

fn partition_value(row: &mut Row, value: &Value) -> Result<()> {
    match value {
        Value::Boolean(v) => row.boolean(*v),
        Value::Int(v) | Value::Date(v) => row.long(i64::from(*v)),
        Value::Long(v) | Value::Time(v) | Value::Timestamp(v) | Value::Timestamptz(v) | Value::TimestampNs(v) | Value::TimestamptzNs(v) => {
            row.long(*v)
        }
        Value::Float(v) => row.fixed(&v.to_le_bytes()),
        Value::Double(v) => row.fixed(&v.to_le_bytes()),
        Value::Decimal { unscaled, precision, .. } => row.fixed(&unscaled.to_be_bytes()[16 - decimal_width(*precision)..]),
        Value::String(v) => row.string(v),
        Value::Uuid(v) => row.fixed(v),
        Value::Fixed(v) => row.fixed(v),
        Value::Binary(v) => row.bytes(v),
        Value::Struct(_) | Value::List(_) | Value::Map(_) => return Err(misuse("a nested value cannot be a partition value")),
    };
    Ok(())
}

fn entry_row(entry: &Entry, context: &ManifestContext) -> Result<Row> {
    let (version, file) = (context.format_version, &entry.file);
    let mut row = Row::default();
    row.long(entry.status as i64);
    let inherits = version > 1 && entry.status == Status::Added;
    match version {
        1 => row.long(entry.snapshot_id),
        _ => row.optional_long((!inherits).then_some(entry.snapshot_id)),
    };
    if version > 1 {
        let known = (!inherits).then_some(file.sequence_number);
        row.optional_long(known).optional_long(known);
        row.long(file.content as i64);
    }
    row.string(&file.path).string(&file.format);
    if file.partition.len() != context.spec.fields.len() {
        return Err(misuse(format!(
            "file {} has {} partition values, its spec {}",
            file.path,
            file.partition.len(),
            context.spec.fields.len()
        )));
    }
    for value in &file.partition {
        match value {
            None => {
                row.long(0);
            }
            Some(value) => partition_value(row.long(1), value)?,
        }
    }
    row.long(file.record_count as i64).long(file.file_size as i64);
    if version == 1 {
        row.long(64 << 20);
    }
    let m = &file.metrics;
    for counts in [&m.column_sizes, &m.value_counts, &m.null_value_counts, &m.nan_value_counts] {
        row.optional(Some(counts).filter(|c| !c.is_empty()), |row, counts| {
            row.array(counts.iter(), |row, (id, count)| {
                row.long(i64::from(*id)).long(*count as i64);
            });
        });
    }
    for bounds in [&m.lower_bounds, &m.upper_bounds] {
        row.optional(Some(bounds).filter(|b| !b.is_empty()), |row, bounds| {
            row.array(bounds.iter(), |row, (id, bound)| {
                row.long(i64::from(*id)).bytes(bound);
            });
        });
    }
    row.long(0);
    row.optional(file.split_offsets.as_ref(), |row, offsets| {
        row.array(offsets.iter(), |row, offset| {
            row.long(*offset);
        });
    });
    if version > 1 {
        row.optional(Some(&file.equality_ids).filter(|ids| !ids.is_empty()), |row, ids| {
            row.array(ids.iter(), |row, id| {
                row.long(i64::from(*id));
            });
        });
    }
    row.optional_long(file.sort_order_id.map(i64::from));
    if version > 2 {
        row.optional_long(file.first_row_id.filter(|_| entry.status != Status::Added));
    }
    if version > 1 {
        row.optional(file.referenced_data_file.as_ref(), |row, path| {
            row.string(path);
        });
    }
    if version > 2 {
        row.optional_long(file.content_offset).optional_long(file.content_size);
    }
    Ok(row)
}
