//! What a partition value says of the column it was made from: the inclusive projection, read backwards (spec "Scan Planning").
//!
//! Contract: through the manifest's own spec; void and unknown transforms say nothing. Year, month, day and hour values below or at zero
//! may be one too high (older Java wrote them so), hence reach one unit lower. The least integers truncate to the greatest ones in Java, which wraps
//! around, hence a partition value up there says nothing of how low its values are.

use super::column::PruneColumn;
use super::domain::{Buckets, Domain, Upper};
use crate::manifest::list::FieldSummary;
use chrono::NaiveDate;
use fastdata_types::Value;
use fastdata_types::metadata::PartitionSpec;
use fastdata_types::schema::PrimitiveType;
use fastdata_types::transform::Transform;

/// The domains of `columns` in files with this partition tuple. Fields that the manifest has no value for say nothing.
pub(crate) fn of_tuple(columns: &[PruneColumn], spec: &PartitionSpec, tuple: &[Option<Value>], present: &[bool]) -> Vec<Domain> {
    project(columns, spec, |at, transform, column| {
        if !present.get(at).copied().unwrap_or(false) {
            return None;
        }
        Some(match tuple.get(at)? {
            None => Domain::only_null(),
            Some(value) => of_range(transform, Some(value), Some(value), &column.ty),
        })
    })
}

/// The domains of `columns` in all files of a manifest. `types` are those of the partition fields.
pub(crate) fn of_summaries(
    columns: &[PruneColumn],
    spec: &PartitionSpec,
    types: &[PrimitiveType],
    summaries: &[FieldSummary],
) -> Vec<Domain> {
    if summaries.len() != spec.fields.len() {
        return columns.iter().map(|column| Domain::of_type(&column.ty)).collect();
    }
    project(columns, spec, |at, transform, column| {
        let (summary, ty) = (summaries.get(at)?, types.get(at)?);
        let bound = |bytes: &Option<Vec<u8>>| Value::from_bytes(bytes.as_ref()?, ty).filter(|value| !value.is_nan());
        let (lower, upper) = (bound(&summary.lower), bound(&summary.upper));
        let mut domain = of_range(transform, lower.as_ref(), upper.as_ref(), &column.ty);
        domain.null = summary.contains_null;
        domain.nan = column.ty.is_float() && (*transform != Transform::Identity || summary.contains_nan != Some(false));
        domain.value = true;
        Some(domain.checked())
    })
}

fn project(
    columns: &[PruneColumn],
    spec: &PartitionSpec,
    domain: impl Fn(usize, &Transform, &PruneColumn) -> Option<Domain>,
) -> Vec<Domain> {
    let of_column = |column: &PruneColumn| {
        let fields = spec.fields.iter().enumerate().filter(|(_, f)| f.source_id == column.id);
        let fields = fields.filter(|(_, f)| !matches!(f.transform, Transform::Void | Transform::Unknown(_)));
        fields.filter_map(|(at, f)| domain(at, &f.transform, column)).fold(Domain::of_type(&column.ty), |known, new| known.and(&new))
    };
    columns.iter().map(of_column).collect()
}

/// The source values whose partition values lie within the bounds; nulls are the caller's.
fn of_range(transform: &Transform, lower: Option<&Value>, upper: Option<&Value>, source: &PrimitiveType) -> Domain {
    let mut domain = Domain { null: false, ..Domain::of_type(source) };
    match transform {
        Transform::Identity => match (lower, upper) {
            (Some(lower), Some(upper)) if lower == upper || lower.is_nan() => return Domain::exactly(lower.clone()),
            _ => {
                domain.lower = lower.cloned();
                domain.upper = upper.cloned().map(Upper::exact);
            }
        },
        Transform::Bucket(count) => {
            if let (Some(Value::Int(lower)), Some(Value::Int(upper))) = (lower, upper) {
                domain.buckets.push(Buckets { count: *count, lower: *lower, upper: *upper });
            }
        }
        Transform::Truncate(width) => {
            domain.lower = lower.filter(|lower| !may_be_wrapped(lower, upper, *width)).cloned();
            domain.upper = upper.and_then(|upper| end_of_truncated(upper, *width));
        }
        Transform::Year | Transform::Month | Transform::Day | Transform::Hour => {
            let unit = |value: &Value| match value {
                Value::Int(v) | Value::Date(v) => Some(i64::from(*v)),
                _ => None,
            };
            domain.lower = lower.and_then(unit).and_then(|v| start(transform, if v <= 0 { v - 1 } else { v }, source));
            domain.upper = upper.and_then(unit).and_then(|v| before(start(transform, v + 1, source)?)).map(Upper::exact);
        }
        Transform::Void | Transform::Unknown(_) => {}
    }
    domain.checked()
}

/// The largest value that truncates to this one.
fn end_of_truncated(value: &Value, width: u32) -> Option<Upper> {
    let more = i64::from(width) - 1;
    Some(match value {
        Value::Int(v) => Upper::exact(Value::Int(i32::try_from(i64::from(*v) + more).ok()?)),
        Value::Long(v) => Upper::exact(Value::Long(v.checked_add(more)?)),
        Value::Decimal { unscaled, precision, scale } => {
            Upper::exact(Value::Decimal { unscaled: unscaled.checked_add(i128::from(more))?, precision: *precision, scale: *scale })
        }
        Value::String(v) => Upper { prefix: v.chars().count() >= width as usize, value: value.clone() },
        Value::Binary(v) => Upper { prefix: v.len() >= width as usize, value: value.clone() },
        _ => return None,
    })
}

/// Whether a partition value within the bounds may be that of integers so low that truncating them wrapped around: its own values would go beyond
/// the greatest integer. A `long` may be an `int` that was promoted.
fn may_be_wrapped(lower: &Value, upper: Option<&Value>, width: u32) -> bool {
    let end = |upper: i64| i128::from(upper) + i128::from(width) - 1;
    match (lower, upper) {
        (Value::Int(_), Some(Value::Int(upper))) => end((*upper).into()) > i32::MAX.into(),
        (Value::Long(lower), Some(Value::Long(upper))) => {
            let end = end(*upper);
            end > i64::MAX.into() || (*lower <= i32::MAX.into() && end > i32::MAX.into())
        }
        (Value::Int(_) | Value::Long(_), _) => true,
        _ => false,
    }
}

/// The first source value of a year, month, day or hour, counted from 1970.
fn start(transform: &Transform, unit: i64, source: &PrimitiveType) -> Option<Value> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let days_to = |year: i64, month: i64| {
        let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, u32::try_from(month).ok()?, 1)?;
        Some((date - epoch).num_days())
    };
    let hours = match transform {
        Transform::Year => days_to(unit.checked_add(1970)?, 1)?.checked_mul(24)?,
        Transform::Month => days_to(unit.div_euclid(12).checked_add(1970)?, unit.rem_euclid(12) + 1)?.checked_mul(24)?,
        Transform::Day => unit.checked_mul(24)?,
        Transform::Hour => unit,
        _ => return None,
    };
    let ticks = |per_second: i64| hours.checked_mul(3600)?.checked_mul(per_second);
    Some(match source {
        PrimitiveType::Date if *transform != Transform::Hour => Value::Date(i32::try_from(hours / 24).ok()?),
        PrimitiveType::Timestamp => Value::Timestamp(ticks(1_000_000)?),
        PrimitiveType::Timestamptz => Value::Timestamptz(ticks(1_000_000)?),
        PrimitiveType::TimestampNs => Value::TimestampNs(ticks(1_000_000_000)?),
        PrimitiveType::TimestamptzNs => Value::TimestamptzNs(ticks(1_000_000_000)?),
        _ => return None,
    })
}

/// The tick before.
fn before(value: Value) -> Option<Value> {
    Some(match value {
        Value::Date(v) => Value::Date(v.checked_sub(1)?),
        Value::Timestamp(v) => Value::Timestamp(v.checked_sub(1)?),
        Value::Timestamptz(v) => Value::Timestamptz(v.checked_sub(1)?),
        Value::TimestampNs(v) => Value::TimestampNs(v.checked_sub(1)?),
        Value::TimestamptzNs(v) => Value::TimestamptzNs(v.checked_sub(1)?),
        _ => return None,
    })
}
