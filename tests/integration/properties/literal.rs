//! Constants of filters: how SQL spells them, and how they compare with values, written without the engine's own code.

use fastdata_types::Value;
use std::cmp::Ordering;

/// What a column is compared with.
#[derive(Debug, Clone)]
pub enum Literal {
    Null,
    /// Of the column's type.
    Value(Value),
    /// `tenths / 10`, of no type yet: beside or between the values of an integer column.
    Tenths(i128),
}

impl Literal {
    pub fn sql(&self) -> String {
        match self {
            Literal::Null => "NULL".to_owned(),
            Literal::Tenths(tenths) => decimal(*tenths, 1),
            Literal::Value(value) => spelled(value),
        }
    }
}

fn spelled(value: &Value) -> String {
    let quoted = |text: String| format!("'{}'", text.replace('\'', "''"));
    let float = |v: f64| match v {
        v if v.is_nan() => quoted("NaN".to_owned()),
        v if v.is_infinite() => quoted(if v > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()),
        v => format!("{v:?}"),
    };
    match value {
        Value::Boolean(v) => if *v { "TRUE" } else { "FALSE" }.to_owned(),
        Value::Int(v) => v.to_string(),
        Value::Long(v) => v.to_string(),
        Value::Float(v) => float(f64::from(*v)),
        Value::Double(v) => float(*v),
        Value::Decimal { unscaled, scale, .. } => decimal(*unscaled, *scale),
        Value::Date(v) => format!("DATE {}", quoted(moment(i64::from(*v) * 86_400, 0, "%Y-%m-%d"))),
        Value::Time(v) => quoted(moment(v.div_euclid(1_000_000), v.rem_euclid(1_000_000) * 1000, "%H:%M:%S%.6f")),
        Value::Timestamp(v) => quoted(micros(*v)),
        Value::Timestamptz(v) => quoted(format!("{}+00:00", micros(*v))),
        Value::TimestampNs(v) => quoted(nanos(*v)),
        Value::TimestamptzNs(v) => quoted(format!("{}Z", nanos(*v))),
        Value::String(v) => quoted(v.clone()),
        Value::Uuid(v) => {
            let hex = hex(v);
            quoted([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
        }
        Value::Fixed(v) | Value::Binary(v) => format!("X'{}'", hex(v)),
        nested => panic!("{nested:?} is no literal"),
    }
}

fn decimal(unscaled: i128, scale: u8) -> String {
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let sign = if unscaled < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn micros(v: i64) -> String {
    moment(v.div_euclid(1_000_000), v.rem_euclid(1_000_000) * 1000, "%Y-%m-%d %H:%M:%S%.6f")
}

fn nanos(v: i64) -> String {
    moment(v.div_euclid(1_000_000_000), v.rem_euclid(1_000_000_000), "%Y-%m-%dT%H:%M:%S%.9f")
}

fn moment(seconds: i64, nanos: i64, format: &str) -> String {
    chrono::DateTime::from_timestamp(seconds, nanos as u32).expect("a moment of the calendar").format(format).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The order of a value and a constant of one kind; `None` where the constant is NULL.
pub fn order(value: &Value, literal: &Literal) -> Option<Ordering> {
    match literal {
        Literal::Null => None,
        Literal::Value(other) => Some(order_values(value, other)),
        Literal::Tenths(tenths) => Some(match value {
            Value::Int(v) => (i128::from(*v) * 10).cmp(tenths),
            Value::Long(v) => (i128::from(*v) * 10).cmp(tenths),
            Value::Float(v) => order_floats(f64::from(*v), *tenths as f64 / 10.0),
            Value::Double(v) => order_floats(*v, *tenths as f64 / 10.0),
            Value::Decimal { unscaled, scale, .. } => order_tenths(*unscaled, *scale, *tenths),
            other => panic!("{other:?} is no number"),
        }),
    }
}

/// `unscaled / 10^scale` and `tenths / 10`. A product that leaves 128 bits is the larger by far.
fn order_tenths(unscaled: i128, scale: u8, tenths: i128) -> Ordering {
    let factor = 10i128.pow(u32::from(scale));
    match (unscaled.checked_mul(10), tenths.checked_mul(factor)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, Some(_)) => unscaled.cmp(&0),
        (_, None) => 0.cmp(&tenths),
    }
}

/// The order of two values of one type, as docs/filters.md states it.
pub fn order_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) | (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Long(a), Value::Long(b))
        | (Value::Time(a), Value::Time(b))
        | (Value::Timestamp(a), Value::Timestamp(b))
        | (Value::Timestamptz(a), Value::Timestamptz(b))
        | (Value::TimestampNs(a), Value::TimestampNs(b))
        | (Value::TimestamptzNs(a), Value::TimestamptzNs(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => order_floats(f64::from(*a), f64::from(*b)),
        (Value::Double(a), Value::Double(b)) => order_floats(*a, *b),
        (Value::Decimal { unscaled: a, .. }, Value::Decimal { unscaled: b, .. }) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.chars().cmp(b.chars()),
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        (Value::Fixed(a), Value::Fixed(b)) | (Value::Binary(a), Value::Binary(b)) => a.cmp(b),
        (a, b) => panic!("{a:?} and {b:?} do not compare"),
    }
}

/// NaN equals itself and comes last; the zeros are equal.
fn order_floats(a: f64, b: f64) -> Ordering {
    if a < b {
        Ordering::Less
    } else if a > b {
        Ordering::Greater
    } else {
        a.is_nan().cmp(&b.is_nan())
    }
}

/// LIKE without an escape character, by trying every split.
pub fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|skipped| like(&text[skipped..], rest)),
        Some((wanted, rest)) => text.split_first().is_some_and(|(given, left)| (*wanted == '_' || wanted == given) && like(left, rest)),
    }
}
