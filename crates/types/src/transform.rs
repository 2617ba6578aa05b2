//! Partition transforms (spec "Partition Transforms").
//!
//! Contract: [`Transform::parse`] never fails: a transform it does not know, or one with impossible parameters, is
//! [`Transform::Unknown`], which prunes nothing. [`Transform::apply`] maps a source value to its partition value.

use crate::schema::PrimitiveType;
use crate::value::{Value, i128_to_be_bytes};
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Transform {
    Identity,
    /// Number of buckets, 1..=i32::MAX.
    Bucket(u32),
    /// Width, 1..=i32::MAX.
    Truncate(u32),
    Year,
    Month,
    Day,
    Hour,
    /// Always null.
    Void,
    /// Kept by its spelling; never pruned by.
    Unknown(String),
}

impl Transform {
    pub fn parse(text: &str) -> Transform {
        let parameter = |name: &str| -> Option<u32> {
            let inner = text.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            inner.parse::<u32>().ok().filter(|n| (1..=i32::MAX as u32).contains(n))
        };
        match text {
            "identity" => Transform::Identity,
            "year" | "years" => Transform::Year,
            "month" | "months" => Transform::Month,
            "day" | "days" => Transform::Day,
            "hour" | "hours" => Transform::Hour,
            "void" => Transform::Void,
            _ => match (parameter("bucket"), parameter("truncate")) {
                (Some(n), _) => Transform::Bucket(n),
                (_, Some(w)) => Transform::Truncate(w),
                _ => Transform::Unknown(text.to_owned()),
            },
        }
    }

    /// The type of the partition value; unknown transforms have strings by the specification, but are stored as they come.
    pub fn result_type(&self, source: &PrimitiveType) -> PrimitiveType {
        match self {
            Transform::Identity | Transform::Truncate(_) | Transform::Void => source.clone(),
            Transform::Bucket(_) | Transform::Year | Transform::Month | Transform::Hour => PrimitiveType::Int,
            Transform::Day => PrimitiveType::Date,
            Transform::Unknown(_) => PrimitiveType::String,
        }
    }

    /// The partition value of a non-null source value; `None` where the transform gives null, is unknown, or does not
    /// take values of this type. `day` gives a date.
    pub fn apply(&self, value: &Value) -> Option<Value> {
        match self {
            Transform::Identity => Some(value.clone()),
            Transform::Void | Transform::Unknown(_) => None,
            Transform::Bucket(n) => {
                let hash = bucket_hash(value)?;
                Some(Value::Int(((hash & i32::MAX as u32) % n) as i32))
            }
            Transform::Truncate(width) => truncate(value, *width),
            Transform::Year | Transform::Month | Transform::Day | Transform::Hour => self.time(value),
        }
    }

    fn time(&self, value: &Value) -> Option<Value> {
        let (ticks, per_second) = match value {
            Value::Date(days) => (i64::from(*days) * 86_400, 1),
            Value::Timestamp(v) | Value::Timestamptz(v) => (*v, 1_000_000),
            Value::TimestampNs(v) | Value::TimestamptzNs(v) => (*v, 1_000_000_000),
            _ => return None,
        };
        let seconds = ticks.div_euclid(per_second);
        let days = i32::try_from(seconds.div_euclid(86_400)).ok()?;
        match self {
            Transform::Day => Some(Value::Date(days)),
            Transform::Hour if !matches!(value, Value::Date(_)) => Some(Value::Int(i32::try_from(seconds.div_euclid(3_600)).ok()?)),
            Transform::Year | Transform::Month => {
                use chrono::Datelike;
                let date = chrono::NaiveDate::from_ymd_opt(1970, 1, 1)?.checked_add_signed(chrono::Duration::try_days(i64::from(days))?)?;
                let years = date.year() - 1970;
                Some(Value::Int(if *self == Transform::Year { years } else { years * 12 + date.month0() as i32 }))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Transform::Identity => f.write_str("identity"),
            Transform::Bucket(n) => write!(f, "bucket[{n}]"),
            Transform::Truncate(w) => write!(f, "truncate[{w}]"),
            Transform::Year => f.write_str("year"),
            Transform::Month => f.write_str("month"),
            Transform::Day => f.write_str("day"),
            Transform::Hour => f.write_str("hour"),
            Transform::Void => f.write_str("void"),
            Transform::Unknown(text) => f.write_str(text),
        }
    }
}

fn truncate(value: &Value, width: u32) -> Option<Value> {
    let w = i64::from(width);
    Some(match value {
        Value::Int(v) => Value::Int((i64::from(*v) - i64::from(*v).rem_euclid(w)).try_into().ok()?),
        Value::Long(v) => Value::Long(v.checked_sub(v.rem_euclid(w))?),
        Value::Decimal { unscaled, precision, scale } => {
            Value::Decimal { unscaled: unscaled.checked_sub(unscaled.rem_euclid(i128::from(width)))?, precision: *precision, scale: *scale }
        }
        Value::String(v) => Value::String(v.chars().take(width as usize).collect()),
        Value::Binary(v) => Value::Binary(v[..v.len().min(width as usize)].to_vec()),
        Value::Fixed(v) => Value::Fixed(v[..v.len().min(width as usize)].to_vec()),
        _ => return None,
    })
}

/// The 32-bit hash of a value (spec "Appendix B: 32-bit Hash Requirements").
fn bucket_hash(value: &Value) -> Option<u32> {
    let long = |v: i64| murmur3_x86_32(&v.to_le_bytes());
    Some(match value {
        Value::Int(v) | Value::Date(v) => long(i64::from(*v)),
        Value::Long(v) | Value::Time(v) | Value::Timestamp(v) | Value::Timestamptz(v) => long(*v),
        // Nanosecond timestamps hash as microseconds, so that both units share buckets.
        Value::TimestampNs(v) | Value::TimestamptzNs(v) => long(v.div_euclid(1000)),
        Value::Decimal { unscaled, .. } => murmur3_x86_32(&i128_to_be_bytes(*unscaled)),
        Value::String(v) => murmur3_x86_32(v.as_bytes()),
        Value::Uuid(v) => murmur3_x86_32(v),
        Value::Fixed(v) | Value::Binary(v) => murmur3_x86_32(v),
        _ => return None,
    })
}

fn murmur3_x86_32(bytes: &[u8]) -> u32 {
    let mix = |k: u32| k.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash = 0u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        hash ^= mix(u32::from_le_bytes(*word));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let last = tail.iter().rev().fold(0u32, |k, byte| (k << 8) | u32::from(*byte));
    hash ^= mix(last);
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of the specification's Appendix B.
    #[test]
    fn hashes_match_the_specification() {
        let hash = |v: Value| bucket_hash(&v).unwrap() as i32;
        assert_eq!(hash(Value::Int(34)), 2017239379);
        assert_eq!(hash(Value::Long(34)), 2017239379);
        assert_eq!(hash(Value::Decimal { unscaled: 1420, precision: 9, scale: 2 }), -500754589);
        assert_eq!(hash(Value::Date(17486)), -653330422);
        assert_eq!(hash(Value::Time(81_068_000_000)), -662762989);
        assert_eq!(hash(Value::Timestamp(1_510_871_468_000_000)), -2047944441);
        assert_eq!(hash(Value::Timestamp(1_510_871_468_000_001)), -1207196810);
        assert_eq!(hash(Value::TimestampNs(1_510_871_468_000_001_001)), -1207196810);
        assert_eq!(hash(Value::String("iceberg".into())), 1210000089);
        let uuid = *uuid::Uuid::parse_str("f79c3e09-677c-4bbd-a479-3f349cb785e7").unwrap().as_bytes();
        assert_eq!(hash(Value::Uuid(uuid)), 1488055340);
        assert_eq!(hash(Value::Binary(vec![0, 1, 2, 3])), -188683207);
    }

    #[test]
    fn impossible_parameters_are_unknown_transforms() {
        for text in ["bucket[0]", "bucket[-1]", "bucket[4294967296]", "truncate[0]", "evil[3]", "bucket[", ""] {
            assert_eq!(Transform::parse(text), Transform::Unknown(text.to_owned()));
        }
        assert_eq!(Transform::parse("bucket[16]"), Transform::Bucket(16));
    }

    #[test]
    fn time_transforms_floor_before_the_epoch() {
        let before = Value::Timestamp(-1);
        assert_eq!(Transform::Year.apply(&before), Some(Value::Int(-1)));
        assert_eq!(Transform::Month.apply(&before), Some(Value::Int(-1)));
        assert_eq!(Transform::Day.apply(&before), Some(Value::Date(-1)));
        assert_eq!(Transform::Hour.apply(&before), Some(Value::Int(-1)));
        assert_eq!(Transform::Month.apply(&Value::Date(17486)), Some(Value::Int(574)));
    }

    #[test]
    fn truncate_floors_numbers_and_counts_characters() {
        assert_eq!(Transform::Truncate(10).apply(&Value::Int(-1)), Some(Value::Int(-10)));
        assert_eq!(
            Transform::Truncate(50).apply(&Value::Decimal { unscaled: 1065, precision: 9, scale: 2 }),
            Some(Value::Decimal { unscaled: 1050, precision: 9, scale: 2 })
        );
        assert_eq!(Transform::Truncate(2).apply(&Value::String("äöü".into())), Some(Value::String("äö".into())));
    }
}
