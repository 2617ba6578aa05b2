//! The JSON forms of schemas, partition specs and single values (spec "Appendix C" and "Appendix D").

use fastdata_types::metadata::PartitionSpec;
use fastdata_types::{Field, PrimitiveType, Schema, Type, Value};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// `write_defaults` by field id: the model of a field has none, since reading never uses them.
pub fn schema(schema: &Schema, write_defaults: &BTreeMap<i32, Value>) -> Json {
    let mut out = structure(&schema.fields, write_defaults);
    out["schema-id"] = json!(schema.id);
    if !schema.identifier_field_ids.is_empty() {
        out["identifier-field-ids"] = json!(schema.identifier_field_ids);
    }
    out
}

fn structure(fields: &[Field], write_defaults: &BTreeMap<i32, Value>) -> Json {
    let fields: Vec<Json> = fields.iter().map(|field| struct_field(field, write_defaults)).collect();
    json!({"type": "struct", "fields": fields})
}

fn struct_field(field: &Field, write_defaults: &BTreeMap<i32, Value>) -> Json {
    let ty = type_json(&field.ty, write_defaults);
    let mut out = json!({"id": field.id, "name": field.name, "required": field.required, "type": ty});
    if let Some(doc) = &field.doc {
        out["doc"] = json!(doc);
    }
    if let Some(default) = &field.initial_default {
        out["initial-default"] = value(default, &field.ty);
    }
    if let Some(default) = write_defaults.get(&field.id) {
        out["write-default"] = value(default, &field.ty);
    }
    out
}

fn type_json(ty: &Type, write_defaults: &BTreeMap<i32, Value>) -> Json {
    match ty {
        Type::Primitive(primitive) => json!(primitive.to_string()),
        Type::Struct(s) => structure(&s.fields, write_defaults),
        Type::List(l) => json!({
            "type": "list",
            "element-id": l.element.id,
            "element": type_json(&l.element.ty, write_defaults),
            "element-required": l.element.required,
        }),
        Type::Map(m) => json!({
            "type": "map",
            "key-id": m.key.id,
            "key": type_json(&m.key.ty, write_defaults),
            "value-id": m.value.id,
            "value": type_json(&m.value.ty, write_defaults),
            "value-required": m.value.required,
        }),
    }
}

pub fn partition_fields(spec: &PartitionSpec) -> Json {
    let field = |f: &fastdata_types::metadata::PartitionField| json!({"source-id": f.source_id, "field-id": f.field_id, "name": f.name, "transform": f.transform.to_string()});
    Json::Array(spec.fields.iter().map(field).collect())
}

/// A default value. Struct members go by field id.
pub fn value(value: &Value, ty: &Type) -> Json {
    match (value, ty) {
        (Value::Struct(members), Type::Struct(s)) => {
            let entries = s.fields.iter().zip(members).map(|(field, member)| (field.id.to_string(), optional(member, &field.ty)));
            Json::Object(entries.collect())
        }
        (Value::List(items), Type::List(l)) => Json::Array(items.iter().map(|item| optional(item, &l.element.ty)).collect()),
        (Value::Map(entries), Type::Map(m)) => json!({
            "keys": entries.iter().map(|(key, _)| self::value(key, &m.key.ty)).collect::<Vec<_>>(),
            "values": entries.iter().map(|(_, v)| optional(v, &m.value.ty)).collect::<Vec<_>>(),
        }),
        _ => primitive(value),
    }
}

fn optional(value: &Option<Value>, ty: &Type) -> Json {
    value.as_ref().map_or(Json::Null, |v| self::value(v, ty))
}

fn primitive(value: &Value) -> Json {
    match value {
        Value::Boolean(v) => json!(v),
        Value::Int(v) => json!(v),
        Value::Long(v) => json!(v),
        Value::Float(v) => json!(v),
        Value::Double(v) => json!(v),
        Value::Decimal { unscaled, scale, .. } => json!(decimal_text(*unscaled, *scale)),
        Value::Date(_)
        | Value::Time(_)
        | Value::Timestamp(_)
        | Value::Timestamptz(_)
        | Value::TimestampNs(_)
        | Value::TimestamptzNs(_)
        | Value::Uuid(_) => json!(human(value)),
        Value::String(v) => json!(v),
        Value::Fixed(v) | Value::Binary(v) => json!(v.iter().map(|b| format!("{b:02X}")).collect::<String>()),
        Value::Struct(_) | Value::List(_) | Value::Map(_) => Json::Null,
    }
}

fn decimal_text(unscaled: i128, scale: u8) -> String {
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let sign = if unscaled < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A primitive as people write it: for folder names, and for defaults where the JSON form is the same.
pub fn human(value: &Value) -> String {
    let date = |days: i64| {
        chrono::DateTime::from_timestamp(days.saturating_mul(86_400), 0).map_or(days.to_string(), |d| d.format("%Y-%m-%d").to_string())
    };
    let instant = |ticks: i64, per_second: i64, digits: usize, zone: &str| {
        let (seconds, rest) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
        let clock = chrono::DateTime::from_timestamp(seconds, 0).map_or(ticks.to_string(), |d| d.format("%Y-%m-%dT%H:%M:%S").to_string());
        format!("{clock}.{rest:0digits$}{zone}")
    };
    match value {
        Value::Boolean(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Long(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Double(v) => v.to_string(),
        Value::Decimal { unscaled, scale, .. } => decimal_text(*unscaled, *scale),
        Value::Date(days) => date(i64::from(*days)),
        Value::Time(micros) => instant(*micros, 1_000_000, 6, "").split_off("1970-01-01T".len()),
        Value::Timestamp(v) => instant(*v, 1_000_000, 6, ""),
        Value::Timestamptz(v) => instant(*v, 1_000_000, 6, "+00:00"),
        Value::TimestampNs(v) => instant(*v, 1_000_000_000, 9, ""),
        Value::TimestamptzNs(v) => instant(*v, 1_000_000_000, 9, "+00:00"),
        Value::String(v) => v.clone(),
        Value::Uuid(v) => uuid::Uuid::from_bytes(*v).to_string(),
        Value::Fixed(v) | Value::Binary(v) => v.iter().map(|b| format!("{b:02x}")).collect(),
        Value::Struct(_) | Value::List(_) | Value::Map(_) => "nested".to_owned(),
    }
}

/// The default name mapping of a schema: each field under its present name (spec "Column Projection").
pub fn name_mapping(fields: &[&Field]) -> Json {
    let mapped = |field: &&Field| {
        let mut out = json!({"field-id": field.id, "names": [field.name]});
        let children = field.ty.children();
        if !children.is_empty() {
            out["fields"] = name_mapping(&children);
        }
        out
    };
    Json::Array(fields.iter().map(mapped).collect())
}

/// Whether values of this type can be in a data file at all: columns of unknown type are never written (spec "Primitive Types").
pub fn is_stored(ty: &Type) -> bool {
    !matches!(ty, Type::Primitive(PrimitiveType::Unknown))
}
