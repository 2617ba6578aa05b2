//! Column statistics of a data file (spec "Data File Fields"): counts from the Parquet footer, bounds truncated, NaNs counted.
//!
//! Contract: bounds never cut off a value: a lower bound is truncated down, an upper one up, and one that cannot be is left out. NaN is never
//! a bound. Columns below lists and maps have counts and no bounds.

use crate::parquet_schema::Leaf;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float32Type, Float64Type};
use fastdata_types::value::i128_from_be_bytes;
use fastdata_types::{Field, PrimitiveType, Type, Value};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// By field id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    pub column_sizes: BTreeMap<i32, u64>,
    pub value_counts: BTreeMap<i32, u64>,
    pub null_value_counts: BTreeMap<i32, u64>,
    pub nan_value_counts: BTreeMap<i32, u64>,
    /// Single-value binary form.
    pub lower_bounds: BTreeMap<i32, Vec<u8>>,
    pub upper_bounds: BTreeMap<i32, Vec<u8>>,
}

/// What a manifest says of the columns: the values of the property `write.metadata.metrics.default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsMode {
    None,
    Counts,
    /// Strings by characters, binary by bytes.
    Truncate(usize),
    Full,
}

pub fn collect(footer: &ParquetMetaData, leaves: &[Leaf], nans: &BTreeMap<i32, u64>, mode: MetricsMode) -> Metrics {
    let mut out = Metrics::default();
    if mode == MetricsMode::None {
        return out;
    }
    let limit = match mode {
        MetricsMode::None | MetricsMode::Counts => None,
        MetricsMode::Truncate(limit) => Some(limit),
        MetricsMode::Full => Some(usize::MAX),
    };
    for (at, leaf) in leaves.iter().enumerate() {
        let (mut size, mut values, mut nulls) = (0, 0, Some(0u64));
        let mut bounds: Option<(Value, Value)> = None;
        let mut bounds_known = true;
        for chunk in footer.row_groups().iter().map(|group| group.column(at)) {
            size += chunk.compressed_size() as u64;
            values += chunk.num_values() as u64;
            nulls = nulls.zip(chunk.statistics().and_then(Statistics::null_count_opt)).map(|(a, b)| a + b);
            let empty = chunk.statistics().and_then(Statistics::null_count_opt) == Some(chunk.num_values() as u64);
            match chunk.statistics().and_then(|s| min_and_max(s, &leaf.ty)) {
                Some(found) => bounds = Some(bounds.map_or(found.clone(), |known| widen(known, found))),
                None => bounds_known &= empty,
            }
        }
        out.column_sizes.insert(leaf.id, size);
        out.value_counts.insert(leaf.id, values);
        nulls.map(|n| out.null_value_counts.insert(leaf.id, n));
        if let (Some(limit), Some((lower, upper)), true, false) = (limit, bounds, bounds_known, leaf.repeated) {
            truncate_down(&lower, limit).and_then(|v| v.to_bytes()).map(|b| out.lower_bounds.insert(leaf.id, b));
            truncate_up(&upper, limit).and_then(|v| v.to_bytes()).map(|b| out.upper_bounds.insert(leaf.id, b));
        }
    }
    out.nan_value_counts = nans.clone();
    out
}

fn widen(known: (Value, Value), found: (Value, Value)) -> (Value, Value) {
    let lower = if found.0.order(&known.0) == Some(Ordering::Less) { found.0 } else { known.0 };
    let upper = if found.1.order(&known.1) == Some(Ordering::Greater) { found.1 } else { known.1 };
    (lower, upper)
}

fn min_and_max(statistics: &Statistics, ty: &PrimitiveType) -> Option<(Value, Value)> {
    let int = |v: i32| {
        Some(match ty {
            PrimitiveType::Int => Value::Int(v),
            PrimitiveType::Date => Value::Date(v),
            PrimitiveType::Decimal { precision, scale } => Value::Decimal { unscaled: i128::from(v), precision: *precision, scale: *scale },
            _ => return None,
        })
    };
    let long = |v: i64| {
        Some(match ty {
            PrimitiveType::Long => Value::Long(v),
            PrimitiveType::Time => Value::Time(v),
            PrimitiveType::Timestamp => Value::Timestamp(v),
            PrimitiveType::Timestamptz => Value::Timestamptz(v),
            PrimitiveType::TimestampNs => Value::TimestampNs(v),
            PrimitiveType::TimestamptzNs => Value::TimestamptzNs(v),
            PrimitiveType::Decimal { precision, scale } => Value::Decimal { unscaled: i128::from(v), precision: *precision, scale: *scale },
            _ => return None,
        })
    };
    let bytes = |v: &[u8]| match ty {
        PrimitiveType::Decimal { precision, scale } => {
            Some(Value::Decimal { unscaled: i128_from_be_bytes(v)?, precision: *precision, scale: *scale })
        }
        _ => Value::from_bytes(v, ty),
    };
    Some(match statistics {
        Statistics::Boolean(s) => (Value::Boolean(*s.min_opt()?), Value::Boolean(*s.max_opt()?)),
        Statistics::Int32(s) => (int(*s.min_opt()?)?, int(*s.max_opt()?)?),
        Statistics::Int64(s) => (long(*s.min_opt()?)?, long(*s.max_opt()?)?),
        Statistics::Float(s) => (Value::Float(*s.min_opt()?), Value::Float(*s.max_opt()?)),
        Statistics::Double(s) => (Value::Double(*s.min_opt()?), Value::Double(*s.max_opt()?)),
        Statistics::ByteArray(_) | Statistics::FixedLenByteArray(_) => {
            (bytes(statistics.min_bytes_opt()?)?, bytes(statistics.max_bytes_opt()?)?)
        }
        Statistics::Int96(_) => return None,
    })
}

fn truncate_down(value: &Value, limit: usize) -> Option<Value> {
    Some(match value {
        v if v.is_nan() => return None,
        Value::String(v) => Value::String(v.chars().take(limit).collect()),
        Value::Binary(v) => Value::Binary(v.iter().copied().take(limit).collect()),
        v => v.clone(),
    })
}

fn truncate_up(value: &Value, limit: usize) -> Option<Value> {
    match value {
        v if v.is_nan() => None,
        Value::String(v) if v.chars().nth(limit).is_some() => {
            let mut kept: Vec<char> = v.chars().take(limit).collect();
            while let Some(last) = kept.pop() {
                let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
                if let Some(next) = next {
                    kept.push(next);
                    return Some(Value::String(kept.into_iter().collect()));
                }
            }
            None
        }
        Value::Binary(v) if v.len() > limit => {
            let mut kept = v[..limit].to_vec();
            while let Some(last) = kept.pop() {
                if last < u8::MAX {
                    kept.push(last + 1);
                    return Some(Value::Binary(kept));
                }
            }
            None
        }
        v => Some(v.clone()),
    }
}

/// Adds the NaNs of the float columns outside lists and maps to `counts`.
pub fn count_nans(field: &Field, array: &ArrayRef, above: Option<&NullBuffer>, counts: &mut BTreeMap<i32, u64>) {
    let valid = NullBuffer::union(above, array.nulls());
    let live = |row: usize| valid.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    match &field.ty {
        Type::Primitive(PrimitiveType::Float) => {
            let Some(values) = array.as_primitive_opt::<Float32Type>() else { return };
            let nans = values.values().iter().enumerate().filter(|(row, v)| v.is_nan() && live(*row)).count();
            *counts.entry(field.id).or_default() += nans as u64;
        }
        Type::Primitive(PrimitiveType::Double) => {
            let Some(values) = array.as_primitive_opt::<Float64Type>() else { return };
            let nans = values.values().iter().enumerate().filter(|(row, v)| v.is_nan() && live(*row)).count();
            *counts.entry(field.id).or_default() += nans as u64;
        }
        Type::Struct(s) => {
            let Some(members) = array.as_struct_opt() else { return };
            s.fields.iter().zip(members.columns()).for_each(|(f, column)| count_nans(f, column, valid.as_ref(), counts));
        }
        _ => {}
    }
}
