//! Rows to partitions: each row of a batch goes to the tuple that the spec's transforms give it.

use crate::values::value_at;
use crate::{json, misuse};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take_record_batch;
use fastdata_types::metadata::PartitionSpec;
use fastdata_types::{Field, Result, Schema, Type, Value};
use std::collections::HashMap;

/// One value per field of the spec.
pub type Tuple = Vec<Option<Value>>;

/// Splits a batch of the schema's columns; partitions come in the order of their first row, rows keep their order.
pub fn split(batch: &RecordBatch, schema: &Schema, spec: &PartitionSpec) -> Result<Vec<(Tuple, RecordBatch)>> {
    if spec.fields.is_empty() || batch.num_rows() == 0 {
        return Ok(vec![(vec![None; spec.fields.len()], batch.clone())]);
    }
    let sources = spec.fields.iter().map(|f| source(batch, schema, f.source_id)).collect::<Result<Vec<_>>>()?;
    let mut by_tuple: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut parts: Vec<(Tuple, Vec<u64>)> = Vec::new();
    let mut last: Option<(Vec<Option<Value>>, usize)> = None;
    for row in 0..batch.num_rows() {
        let values = sources.iter().map(|(field, column)| value_at(column, &field.ty, row)).collect::<Result<Vec<_>>>()?;
        let at = match &last {
            Some((same, at)) if *same == values => *at,
            _ => {
                let apply = |(field, value): (&fastdata_types::metadata::PartitionField, &Option<Value>)| {
                    value.as_ref().and_then(|v| field.transform.apply(v))
                };
                let tuple: Tuple = spec.fields.iter().zip(&values).map(apply).collect();
                *by_tuple.entry(key(&tuple)).or_insert_with(|| {
                    parts.push((tuple, Vec::new()));
                    parts.len() - 1
                })
            }
        };
        parts[at].1.push(row as u64);
        last = Some((values, at));
    }
    let mut out = Vec::with_capacity(parts.len());
    for (tuple, rows) in parts {
        let taken = take_record_batch(batch, &UInt64Array::from(rows)).map_err(|e| misuse(format!("a batch that cannot be split: {e}")))?;
        out.push((tuple, taken));
    }
    Ok(out)
}

/// Equal for equal tuples: the binary forms, with lengths. All NaNs are one partition.
pub fn key(tuple: &[Option<Value>]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in tuple {
        match value {
            None => out.push(0),
            Some(v) if v.is_nan() => out.push(2),
            Some(v) => {
                let bytes = v.to_bytes().unwrap_or_default();
                out.push(1);
                out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                out.extend_from_slice(&bytes);
            }
        }
    }
    out
}

/// The column of a partition source, through structs; null where a struct above is null.
fn source<'a>(batch: &RecordBatch, schema: &'a Schema, id: i32) -> Result<(&'a Field, ArrayRef)> {
    let unknown = || misuse(format!("the partition spec refers to column {id}, which the schema lacks"));
    let path = schema.ancestry(id).ok_or_else(unknown)?;
    let mut at = schema.fields.iter().position(|f| f.id == path[0].id).ok_or_else(unknown)?;
    let mut column = batch.columns().get(at).cloned().ok_or_else(unknown)?;
    for pair in path.windows(2) {
        let Type::Struct(s) = &pair[0].ty else {
            return Err(misuse(format!("column '{}' is partitioned by a field inside it and is no struct", pair[0].name)));
        };
        at = s.fields.iter().position(|f| f.id == pair[1].id).ok_or_else(unknown)?;
        column = member(column.as_struct_opt().ok_or_else(unknown)?, at)?;
    }
    Ok((path[path.len() - 1], column))
}

fn member(parent: &StructArray, at: usize) -> Result<ArrayRef> {
    let child = parent.columns().get(at).ok_or_else(|| misuse("a struct with fewer columns than its type"))?;
    let nulls = NullBuffer::union(parent.nulls(), child.nulls());
    let data = child.to_data().into_builder().nulls(nulls).build();
    data.map(arrow::array::make_array).map_err(|e| misuse(format!("a struct that cannot be split: {e}")))
}

/// The folder of a partition below `data/`, in Hive's style: `day=2024-01-01/name=a%20b`.
pub fn folder(tuple: &[Option<Value>], spec: &PartitionSpec) -> String {
    use fastdata_types::transform::Transform;
    let months = |v: i32| format!("{:04}-{:02}", 1970 + v.div_euclid(12), v.rem_euclid(12) + 1);
    let text = |transform: &Transform, value: &Value| match (transform, value) {
        (Transform::Year, Value::Int(v)) => (1970 + v).to_string(),
        (Transform::Month, Value::Int(v)) => months(*v),
        _ => json::human(value),
    };
    let part = |(field, value): (&fastdata_types::metadata::PartitionField, &Option<Value>)| {
        let value = value.as_ref().map_or("null".to_owned(), |v| text(&field.transform, v));
        format!("{}={}", escaped(&field.name), escaped(&value))
    };
    spec.fields.iter().zip(tuple).map(part).collect::<Vec<_>>().join("/")
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes().take(80) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
