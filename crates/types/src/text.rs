//! Single values as people read them.
//!
//! Contract: a value is written as the specification's JSON form writes it ("Appendix D: JSON single-value serialization"), without
//! quotes; a partition value as its transform means it, the way Iceberg names partitions: `2024`, `2024-03`, `2024-03-01`,
//! `2024-03-01-05`. What no calendar has is written as the number it is stored as.

use crate::transform::Transform;
use crate::value::Value;
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta};
use std::fmt;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(v) => write!(f, "{v}"),
            Value::Int(v) => write!(f, "{v}"),
            Value::Long(v) => write!(f, "{v}"),
            Value::Float(v) => write!(f, "{v}"),
            Value::Double(v) => write!(f, "{v}"),
            Value::Decimal { unscaled, scale, .. } => decimal(f, *unscaled, usize::from(*scale)),
            Value::Date(days) => or_number(f, date(*days).map(|date| date.to_string()), *days),
            Value::Time(micros) => or_number(f, time(*micros), *micros),
            Value::Timestamp(v) => or_number(f, timestamp(*v, 1_000_000, SecondsFormat::Micros, ""), *v),
            Value::Timestamptz(v) => or_number(f, timestamp(*v, 1_000_000, SecondsFormat::Micros, "+00:00"), *v),
            Value::TimestampNs(v) => or_number(f, timestamp(*v, 1_000_000_000, SecondsFormat::Nanos, ""), *v),
            Value::TimestamptzNs(v) => or_number(f, timestamp(*v, 1_000_000_000, SecondsFormat::Nanos, "+00:00"), *v),
            Value::String(text) => f.write_str(text),
            Value::Uuid(bytes) => write!(f, "{}", uuid::Uuid::from_bytes(*bytes)),
            Value::Fixed(bytes) | Value::Binary(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Value::Struct(values) => listed(f, ['{', '}'], values),
            Value::List(values) => listed(f, ['[', ']'], values),
            Value::Map(entries) => {
                f.write_str("{")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {}", if i > 0 { ", " } else { "" }, Nullable(value))?;
                }
                f.write_str("}")
            }
        }
    }
}

impl Transform {
    /// A value of this transform's partition field.
    pub fn text_of(&self, value: &Value) -> String {
        let Value::Int(stored) = value else { return value.to_string() };
        let text = match self {
            Transform::Year => Some((1970 + i64::from(*stored)).to_string()),
            Transform::Month => Some(format!("{:04}-{:02}", 1970 + i64::from(stored.div_euclid(12)), stored.rem_euclid(12) + 1)),
            Transform::Day => date(*stored).map(|date| date.to_string()),
            Transform::Hour => date(stored.div_euclid(24)).map(|date| format!("{date}-{:02}", stored.rem_euclid(24))),
            _ => None,
        };
        text.unwrap_or_else(|| value.to_string())
    }
}

struct Nullable<'a>(&'a Option<Value>);

impl fmt::Display for Nullable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value}"),
            None => f.write_str("NULL"),
        }
    }
}

fn listed(f: &mut fmt::Formatter<'_>, [open, close]: [char; 2], values: &[Option<Value>]) -> fmt::Result {
    write!(f, "{open}")?;
    for (i, value) in values.iter().enumerate() {
        write!(f, "{}{}", if i > 0 { ", " } else { "" }, Nullable(value))?;
    }
    write!(f, "{close}")
}

fn or_number(f: &mut fmt::Formatter<'_>, text: Option<String>, number: impl fmt::Display) -> fmt::Result {
    match text {
        Some(text) => f.write_str(&text),
        None => write!(f, "{number}"),
    }
}

fn decimal(f: &mut fmt::Formatter<'_>, unscaled: i128, scale: usize) -> fmt::Result {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    write!(f, "{sign}{whole}{}{fraction}", if scale > 0 { "." } else { "" })
}

fn date(days: i32) -> Option<NaiveDate> {
    NaiveDate::default().checked_add_signed(TimeDelta::try_days(i64::from(days))?)
}

fn time(micros: i64) -> Option<String> {
    let (seconds, micros) = (u32::try_from(micros.div_euclid(1_000_000)).ok()?, micros.rem_euclid(1_000_000) as u32);
    let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds, micros * 1000)?;
    Some(time.format("%H:%M:%S%.6f").to_string())
}

fn timestamp(ticks: i64, per_second: i64, digits: SecondsFormat, zone: &str) -> Option<String> {
    let nanos = ticks.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let moment = DateTime::from_timestamp(ticks.div_euclid(per_second), nanos as u32)?;
    Some(moment.to_rfc3339_opts(digits, true).trim_end_matches('Z').to_owned() + zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_json_form_writes_them() {
        let decimal = |unscaled, scale| Value::Decimal { unscaled, precision: 38, scale };
        for (value, text) in [
            (Value::Boolean(true), "true"),
            (Value::Long(-5), "-5"),
            (Value::Double(1.5), "1.5"),
            (decimal(1420, 2), "14.20"),
            (decimal(-5, 2), "-0.05"),
            (decimal(7, 0), "7"),
            (Value::Date(17486), "2017-11-16"),
            (Value::Date(-1), "1969-12-31"),
            (Value::Date(i32::MAX), "2147483647"),
            (Value::Time(81_068_000_001), "22:31:08.000001"),
            (Value::Time(-1), "-1"),
            (Value::Timestamp(1_510_871_468_000_001), "2017-11-16T22:31:08.000001"),
            (Value::Timestamptz(-1), "1969-12-31T23:59:59.999999+00:00"),
            (Value::TimestampNs(1_510_871_468_000_001_001), "2017-11-16T22:31:08.000001001"),
            (Value::TimestamptzNs(0), "1970-01-01T00:00:00.000000000+00:00"),
            (Value::Timestamp(i64::MAX), "9223372036854775807"),
            (Value::String("a b".into()), "a b"),
            (Value::Uuid(*uuid::uuid!("f79c3e09-677c-4bbd-a479-3f349cb785e7").as_bytes()), "f79c3e09-677c-4bbd-a479-3f349cb785e7"),
            (Value::Binary(vec![0, 1, 0xfe]), "0001fe"),
            (Value::List(vec![Some(Value::Int(1)), None]), "[1, NULL]"),
            (Value::Struct(vec![None, Some(Value::Int(2))]), "{NULL, 2}"),
            (Value::Map(vec![(Value::Int(1), None), (Value::Int(2), Some(Value::Int(3)))]), "{1: NULL, 2: 3}"),
        ] {
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn partition_values_are_written_as_their_transform_means_them() {
        for (transform, value, text) in [
            (Transform::Year, Value::Int(54), "2024"),
            (Transform::Month, Value::Int(574), "2017-11"),
            (Transform::Month, Value::Int(-1), "1969-12"),
            (Transform::Day, Value::Int(17486), "2017-11-16"),
            (Transform::Day, Value::Date(17486), "2017-11-16"),
            (Transform::Hour, Value::Int(17486 * 24 + 22), "2017-11-16-22"),
            (Transform::Hour, Value::Int(-1), "1969-12-31-23"),
            (Transform::Bucket(16), Value::Int(3), "3"),
            (Transform::Truncate(10), Value::Int(-10), "-10"),
            (Transform::Identity, Value::String("x".into()), "x"),
        ] {
            assert_eq!(transform.text_of(&value), text, "{transform} {value:?}");
        }
    }
}
