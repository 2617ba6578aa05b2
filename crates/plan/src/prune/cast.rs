//! Domains through casts that keep the order of values.
//!
//! Contract: only widenings (and timestamp to date, which floors) carry bounds over; any other cast leaves everything possible. A bound that the cast
//! cannot represent is dropped, and NULL becomes possible.

use super::domain::{Domain, Upper};
use fastdata_types::Value;
use fastdata_types::schema::PrimitiveType;

pub(crate) fn domain(from: &Domain, source: &PrimitiveType, to: &PrimitiveType) -> Domain {
    if source == to {
        return from.clone();
    }
    if !keeps_order(source, to) {
        return Domain::unknown(to.is_float());
    }
    // A prefix bound is one of strings, which no widening takes.
    let upper = from.upper.as_ref().filter(|upper| !upper.prefix);
    // Values before 1970 may be floored or cut off; one day covers both.
    let days_up = i32::from(*to == PrimitiveType::Date);
    let upper = upper
        .and_then(|upper| value(&upper.value, to))
        .map(|v| if let Value::Date(days) = v { Value::Date(days.saturating_add(days_up)) } else { v });
    let same_hash = matches!((source, to), (PrimitiveType::Int, PrimitiveType::Long));
    Domain {
        null: true,
        nan: from.nan && to.is_float(),
        value: from.value,
        lower: from.lower.as_ref().and_then(|lower| value(lower, to)),
        upper: upper.map(Upper::exact),
        buckets: if same_hash { from.buckets.clone() } else { vec![] },
    }
    .checked()
}

fn keeps_order(source: &PrimitiveType, to: &PrimitiveType) -> bool {
    use PrimitiveType as P;
    match (source, to) {
        (P::Int, P::Long | P::Float | P::Double | P::Decimal { .. })
        | (P::Long, P::Float | P::Double | P::Decimal { .. })
        | (P::Float, P::Double)
        | (P::Decimal { .. }, P::Double)
        | (P::Date, P::Timestamp | P::TimestampNs)
        | (P::Timestamp, P::TimestampNs | P::Date)
        | (P::Timestamptz, P::TimestamptzNs)
        | (P::TimestampNs, P::Date) => true,
        (P::Decimal { scale: from, .. }, P::Decimal { scale: to, .. }) => from <= to,
        _ => false,
    }
}

/// The value in the wider type; `None` where it does not fit.
fn value(value: &Value, to: &PrimitiveType) -> Option<Value> {
    use PrimitiveType as P;
    let day = 86_400_i64;
    let integer = match value {
        Value::Int(v) => Some(i64::from(*v)),
        Value::Long(v) => Some(*v),
        _ => None,
    };
    Some(match (value, to) {
        (Value::Int(_), P::Long) => Value::Long(integer?),
        (Value::Int(_) | Value::Long(_), P::Float) => Value::Float(integer? as f32),
        (Value::Int(_) | Value::Long(_), P::Double) => Value::Double(integer? as f64),
        (Value::Int(_) | Value::Long(_), P::Decimal { precision, scale }) => rescale(i128::from(integer?), 0, *precision, *scale)?,
        (Value::Float(v), P::Double) => Value::Double(f64::from(*v)),
        (Value::Decimal { unscaled, scale: from, .. }, P::Decimal { precision, scale }) => rescale(*unscaled, *from, *precision, *scale)?,
        (Value::Date(v), P::Timestamp) => Value::Timestamp(i64::from(*v).checked_mul(day * 1_000_000)?),
        (Value::Date(v), P::TimestampNs) => Value::TimestampNs(i64::from(*v).checked_mul(day * 1_000_000_000)?),
        (Value::Timestamp(v), P::TimestampNs) => Value::TimestampNs(v.checked_mul(1000)?),
        (Value::Timestamptz(v), P::TimestamptzNs) => Value::TimestamptzNs(v.checked_mul(1000)?),
        (Value::Timestamp(v), P::Date) => Value::Date(i32::try_from(v.div_euclid(day * 1_000_000)).ok()?),
        (Value::TimestampNs(v), P::Date) => Value::Date(i32::try_from(v.div_euclid(day * 1_000_000_000)).ok()?),
        _ => return None,
    })
}

fn rescale(unscaled: i128, from: u8, precision: u8, scale: u8) -> Option<Value> {
    let factor = 10_i128.checked_pow(u32::from(scale.checked_sub(from)?))?;
    let unscaled = unscaled.checked_mul(factor)?;
    let limit = 10_u128.checked_pow(u32::from(precision))?;
    (unscaled.unsigned_abs() < limit).then_some(Value::Decimal { unscaled, precision, scale })
}
