//! Single values: defaults, partition values, column bounds and the literals of filters.
//!
//! Contract: [`Value::from_bytes`] decodes the binary form (spec "Appendix D: Single-value serialization"), by the *length* of
//! the bytes where a promotion left the old form in the metadata (spec "Schema Evolution"); [`Value::from_json`] the JSON
//! form. [`Value::order`] is the order of filters and pruning: NaN equals NaN and is greater than all other numbers,
//! -0.0 equals 0.0.

use crate::error::{Error, Result, Stage};
use crate::schema::{PrimitiveType, Type};
use std::cmp::Ordering;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Boolean(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    /// `unscaled * 10^-scale`.
    Decimal {
        unscaled: i128,
        precision: u8,
        scale: u8,
    },
    /// Days from 1970-01-01.
    Date(i32),
    /// Microseconds from midnight.
    Time(i64),
    Timestamp(i64),
    Timestamptz(i64),
    TimestampNs(i64),
    TimestamptzNs(i64),
    String(String),
    Uuid([u8; 16]),
    Fixed(Vec<u8>),
    Binary(Vec<u8>),
    /// One entry per field, in the order of the struct type.
    Struct(Vec<Option<Value>>),
    List(Vec<Option<Value>>),
    Map(Vec<(Value, Option<Value>)>),
}

impl Value {
    /// The primitive type of this value; `None` for nested values.
    pub fn primitive_type(&self) -> Option<PrimitiveType> {
        Some(match self {
            Value::Boolean(_) => PrimitiveType::Boolean,
            Value::Int(_) => PrimitiveType::Int,
            Value::Long(_) => PrimitiveType::Long,
            Value::Float(_) => PrimitiveType::Float,
            Value::Double(_) => PrimitiveType::Double,
            Value::Decimal { precision, scale, .. } => PrimitiveType::Decimal { precision: *precision, scale: *scale },
            Value::Date(_) => PrimitiveType::Date,
            Value::Time(_) => PrimitiveType::Time,
            Value::Timestamp(_) => PrimitiveType::Timestamp,
            Value::Timestamptz(_) => PrimitiveType::Timestamptz,
            Value::TimestampNs(_) => PrimitiveType::TimestampNs,
            Value::TimestamptzNs(_) => PrimitiveType::TimestamptzNs,
            Value::String(_) => PrimitiveType::String,
            Value::Uuid(_) => PrimitiveType::Uuid,
            Value::Fixed(bytes) => PrimitiveType::Fixed(bytes.len() as u32),
            Value::Binary(_) => PrimitiveType::Binary,
            Value::Struct(_) | Value::List(_) | Value::Map(_) => return None,
        })
    }

    pub fn is_nan(&self) -> bool {
        match self {
            Value::Float(v) => v.is_nan(),
            Value::Double(v) => v.is_nan(),
            _ => false,
        }
    }

    /// The order of two values of one type; `None` where the types differ or have no order.
    pub fn order(&self, other: &Value) -> Option<Ordering> {
        Some(match (self, other) {
            (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) | (Value::Date(a), Value::Date(b)) => a.cmp(b),
            (Value::Long(a), Value::Long(b))
            | (Value::Time(a), Value::Time(b))
            | (Value::Timestamp(a), Value::Timestamp(b))
            | (Value::Timestamptz(a), Value::Timestamptz(b))
            | (Value::TimestampNs(a), Value::TimestampNs(b))
            | (Value::TimestamptzNs(a), Value::TimestamptzNs(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => order_f64(f64::from(*a), f64::from(*b)),
            (Value::Double(a), Value::Double(b)) => order_f64(*a, *b),
            (Value::Decimal { unscaled: a, scale: sa, .. }, Value::Decimal { unscaled: b, scale: sb, .. }) if sa == sb => a.cmp(b),
            (Value::String(a), Value::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
            (Value::Fixed(a) | Value::Binary(a), Value::Fixed(b) | Value::Binary(b)) => a.cmp(b),
            _ => return None,
        })
    }

    /// Decodes a bound or partition summary of a field that now has type `ty`. Accepts the forms that the field's type may have
    /// had before a promotion: 4 bytes for `long` (an int), 4 for `double` (a float), 4 for a timestamp (a date).
    /// `None` where the bytes are no value of the type: the caller must then treat the bound as absent.
    pub fn from_bytes(bytes: &[u8], ty: &PrimitiveType) -> Option<Value> {
        let int = || bytes.try_into().ok().map(i32::from_le_bytes);
        let long = || bytes.try_into().ok().map(i64::from_le_bytes);
        let micros_of_day = |unit: i64| int().map(|days| i64::from(days) * 86_400 * unit);
        Some(match ty {
            PrimitiveType::Boolean => match bytes {
                [b] => Value::Boolean(*b != 0),
                _ => return None,
            },
            PrimitiveType::Int => Value::Int(int()?),
            PrimitiveType::Long if bytes.len() == 4 => Value::Long(i64::from(int()?)),
            PrimitiveType::Long => Value::Long(long()?),
            PrimitiveType::Float => Value::Float(f32::from_le_bytes(bytes.try_into().ok()?)),
            PrimitiveType::Double if bytes.len() == 4 => Value::Double(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
            PrimitiveType::Double => Value::Double(f64::from_le_bytes(bytes.try_into().ok()?)),
            PrimitiveType::Decimal { precision, scale } => {
                Value::Decimal { unscaled: i128_from_be_bytes(bytes)?, precision: *precision, scale: *scale }
            }
            PrimitiveType::Date => Value::Date(int()?),
            PrimitiveType::Time => Value::Time(long()?),
            PrimitiveType::Timestamp if bytes.len() == 4 => Value::Timestamp(micros_of_day(1_000_000)?),
            PrimitiveType::Timestamp => Value::Timestamp(long()?),
            PrimitiveType::Timestamptz if bytes.len() == 4 => Value::Timestamptz(micros_of_day(1_000_000)?),
            PrimitiveType::Timestamptz => Value::Timestamptz(long()?),
            PrimitiveType::TimestampNs if bytes.len() == 4 => Value::TimestampNs(micros_of_day(1_000_000_000)?),
            PrimitiveType::TimestampNs => Value::TimestampNs(long()?),
            PrimitiveType::TimestamptzNs if bytes.len() == 4 => Value::TimestamptzNs(micros_of_day(1_000_000_000)?),
            PrimitiveType::TimestamptzNs => Value::TimestamptzNs(long()?),
            PrimitiveType::String => Value::String(std::str::from_utf8(bytes).ok()?.to_owned()),
            PrimitiveType::Uuid => Value::Uuid(bytes.try_into().ok()?),
            PrimitiveType::Fixed(_) => Value::Fixed(bytes.to_vec()),
            PrimitiveType::Binary => Value::Binary(bytes.to_vec()),
            PrimitiveType::Unknown | PrimitiveType::Variant | PrimitiveType::Geometry(_) | PrimitiveType::Geography(_) => return None,
        })
    }

    /// The binary form (spec "Appendix D"), `None` for nested values.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        Some(match self {
            Value::Boolean(v) => vec![u8::from(*v)],
            Value::Int(v) | Value::Date(v) => v.to_le_bytes().to_vec(),
            Value::Long(v)
            | Value::Time(v)
            | Value::Timestamp(v)
            | Value::Timestamptz(v)
            | Value::TimestampNs(v)
            | Value::TimestamptzNs(v) => v.to_le_bytes().to_vec(),
            Value::Float(v) => v.to_le_bytes().to_vec(),
            Value::Double(v) => v.to_le_bytes().to_vec(),
            Value::Decimal { unscaled, .. } => i128_to_be_bytes(*unscaled),
            Value::String(v) => v.as_bytes().to_vec(),
            Value::Uuid(v) => v.to_vec(),
            Value::Fixed(v) | Value::Binary(v) => v.clone(),
            Value::Struct(_) | Value::List(_) | Value::Map(_) => return None,
        })
    }

    /// Decodes the JSON form of a default value (spec "Appendix D: JSON single-value serialization"); JSON null is `Ok(None)`.
    ///
    /// Members that a struct leaves out take their own defaults, so that a few bytes may stand for a large value:
    /// `limit-exceeded` beyond [`MAX_DEFAULT_BYTES`] of memory.
    pub fn from_json(json: &serde_json::Value, ty: &Type) -> Result<Option<Value>> {
        decode_default(json, ty, &mut Room { left: MAX_DEFAULT_BYTES })
    }

    /// Bytes that it takes in memory beside itself, without what allocators add.
    pub fn heap_bytes(&self) -> usize {
        let of = |value: &Option<Value>| size_of::<Option<Value>>() + value.as_ref().map_or(0, Value::heap_bytes);
        match self {
            Value::String(text) => text.len(),
            Value::Fixed(bytes) | Value::Binary(bytes) => bytes.len(),
            Value::Struct(values) | Value::List(values) => values.iter().map(of).sum(),
            Value::Map(entries) => entries.iter().map(|(key, value)| size_of::<Value>() + key.heap_bytes() + of(value)).sum(),
            _ => 0,
        }
    }
}

/// Most memory that one default value may take.
const MAX_DEFAULT_BYTES: usize = 16 << 20;

/// What the members of a default value that its JSON leaves out may still take.
struct Room {
    left: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<()> {
        let too_large = || Error::limit(Stage::Catalog, format!("the default value takes more than {MAX_DEFAULT_BYTES} bytes"));
        self.left = self.left.checked_sub(bytes).ok_or_else(too_large)?;
        Ok(())
    }
}

fn decode_default(json: &serde_json::Value, ty: &Type, room: &mut Room) -> Result<Option<Value>> {
    use serde_json::Value as Json;
    let kind = || match ty {
        Type::Primitive(primitive) => primitive.to_string(),
        Type::Struct(_) => "struct".to_owned(),
        Type::List(_) => "list".to_owned(),
        Type::Map(_) => "map".to_owned(),
    };
    let wrong = || Error::corrupt(Stage::Catalog, format!("default value {} is no {}", short(json), kind()));
    if json.is_null() {
        return Ok(None);
    }
    Ok(Some(match (ty, json) {
        (Type::Primitive(p), _) => primitive_from_json(json, p).ok_or_else(wrong)?,
        (Type::Struct(s), Json::Object(members)) => {
            room.take(s.fields.len().saturating_mul(size_of::<Option<Value>>()))?;
            let mut values = Vec::with_capacity(s.fields.len());
            for field in &s.fields {
                let member = members.get(&field.id.to_string());
                values.push(match member {
                    Some(json) => decode_default(json, &field.ty, room)?,
                    None => {
                        room.take(field.initial_default.as_ref().map_or(0, Value::heap_bytes))?;
                        field.initial_default.clone()
                    }
                });
            }
            Value::Struct(values)
        }
        (Type::List(l), Json::Array(items)) => {
            Value::List(items.iter().map(|item| decode_default(item, &l.element.ty, room)).collect::<Result<_>>()?)
        }
        (Type::Map(m), Json::Object(members)) => {
            let array = |name: &str| members.get(name).and_then(Json::as_array).ok_or_else(wrong);
            let (keys, values) = (array("keys")?, array("values")?);
            if keys.len() != values.len() {
                return Err(wrong());
            }
            let mut entries = Vec::with_capacity(keys.len());
            for (key, value) in keys.iter().zip(values) {
                let key = decode_default(key, &m.key.ty, room)?.ok_or_else(wrong)?;
                entries.push((key, decode_default(value, &m.value.ty, room)?));
            }
            Value::Map(entries)
        }
        _ => return Err(wrong()),
    }))
}

fn short(json: &serde_json::Value) -> String {
    let text: String = json.to_string().chars().take(60).collect();
    text
}

fn primitive_from_json(json: &serde_json::Value, ty: &PrimitiveType) -> Option<Value> {
    let text = || json.as_str();
    Some(match ty {
        PrimitiveType::Boolean => Value::Boolean(json.as_bool()?),
        PrimitiveType::Int => Value::Int(json.as_i64()?.try_into().ok()?),
        PrimitiveType::Long => Value::Long(json.as_i64()?),
        PrimitiveType::Float => Value::Float(json.as_f64()? as f32),
        PrimitiveType::Double => Value::Double(json.as_f64()?),
        PrimitiveType::Decimal { precision, scale } => {
            Value::Decimal { unscaled: parse_decimal(text()?, *scale)?, precision: *precision, scale: *scale }
        }
        PrimitiveType::Date => Value::Date(parse_date(text()?)?),
        PrimitiveType::Time => Value::Time(parse_time_micros(text()?)?),
        PrimitiveType::Timestamp => Value::Timestamp(parse_timestamp(text()?, 1_000_000)?),
        PrimitiveType::Timestamptz => Value::Timestamptz(parse_timestamp(text()?, 1_000_000)?),
        PrimitiveType::TimestampNs => Value::TimestampNs(parse_timestamp(text()?, 1_000_000_000)?),
        PrimitiveType::TimestamptzNs => Value::TimestamptzNs(parse_timestamp(text()?, 1_000_000_000)?),
        PrimitiveType::String => Value::String(text()?.to_owned()),
        PrimitiveType::Uuid => Value::Uuid(*uuid::Uuid::parse_str(text()?).ok()?.as_bytes()),
        PrimitiveType::Fixed(length) => {
            let bytes = parse_hex(text()?)?;
            (bytes.len() == *length as usize).then_some(Value::Fixed(bytes))?
        }
        PrimitiveType::Binary => Value::Binary(parse_hex(text()?)?),
        PrimitiveType::Unknown | PrimitiveType::Variant | PrimitiveType::Geometry(_) | PrimitiveType::Geography(_) => return None,
    })
}

/// NaN equals NaN and is greater than all other numbers; -0.0 equals 0.0.
pub fn order_f64(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

/// A two's-complement big-endian integer of 1 to 16 bytes (longer ones only where the extra bytes are sign).
pub fn i128_from_be_bytes(bytes: &[u8]) -> Option<i128> {
    let negative = *bytes.first()? & 0x80 != 0;
    let fill = if negative { 0xff } else { 0x00 };
    let tail = if bytes.len() > 16 {
        let (extra, tail) = bytes.split_at(bytes.len() - 16);
        let fits = extra.iter().all(|b| *b == fill) && (tail[0] & 0x80 != 0) == negative;
        fits.then_some(tail)?
    } else {
        bytes
    };
    let mut out = [fill; 16];
    out[16 - tail.len()..].copy_from_slice(tail);
    Some(i128::from_be_bytes(out))
}

/// The shortest two's-complement big-endian form, at least one byte.
pub fn i128_to_be_bytes(value: i128) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let mut start = 0;
    while start < 15 {
        let sign = bytes[start + 1] & 0x80 != 0;
        if (bytes[start] == 0 && !sign) || (bytes[start] == 0xff && sign) {
            start += 1;
        } else {
            break;
        }
    }
    bytes[start..].to_vec()
}

/// The unscaled value of a decimal literal at `scale`; `None` where digits would be lost or the value needs more than 38.
pub fn parse_decimal(text: &str, scale: u8) -> Option<i128> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut unscaled: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = char::from(digit).to_digit(10)?;
        unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    let shift = i64::from(scale) + i64::from(exponent) - i64::try_from(fraction.len()).ok()?;
    if unscaled != 0 {
        for _ in 0..shift.max(0) {
            unscaled = unscaled.checked_mul(10)?;
        }
        for _ in 0..(-shift).max(0) {
            if unscaled % 10 != 0 {
                return None;
            }
            unscaled /= 10;
        }
    }
    (unscaled.unsigned_abs() < 10u128.pow(38)).then_some(if negative { -unscaled } else { unscaled })
}

/// Days from the epoch of `YYYY-MM-DD`, years outside 0..=9999 with a sign.
pub fn parse_date(text: &str) -> Option<i32> {
    let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some((date - chrono::NaiveDate::from_ymd_opt(1970, 1, 1)?).num_days() as i32)
}

/// Microseconds from midnight of `HH:MM[:SS[.ffffff]]`.
pub fn parse_time_micros(text: &str) -> Option<i64> {
    use chrono::Timelike;
    let time = chrono::NaiveTime::parse_from_str(text, "%H:%M:%S%.f").or_else(|_| chrono::NaiveTime::parse_from_str(text, "%H:%M")).ok()?;
    let nanos = time.nanosecond();
    (nanos % 1000 == 0 && nanos < 1_000_000_000).then(|| i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(nanos / 1000))
}

/// Ticks (`per_second` of them in a second) from the epoch of `YYYY-MM-DD[(T| )HH:MM[:SS[.fffffffff]]][Z|+HH:MM]`; a missing
/// zone is UTC. `None` where digits would be lost or the value leaves 64 bits.
pub fn parse_timestamp(text: &str, per_second: i64) -> Option<i64> {
    const FORMS: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let text = text.trim();
    let (body, zulu) = match text.strip_suffix(['Z', 'z']) {
        Some(body) => (body, true),
        None => (text, false),
    };
    let naive = FORMS
        .iter()
        .find_map(|form| chrono::NaiveDateTime::parse_from_str(body, form).ok())
        .or_else(|| chrono::NaiveDate::parse_from_str(body, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0));
    let utc = match naive {
        Some(naive) => naive.and_utc(),
        None if zulu => return None,
        None => {
            ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z", "%Y-%m-%d %H:%M:%S%.f %#z"]
                .iter()
                .find_map(|form| chrono::DateTime::parse_from_str(body, form).ok())?
                .to_utc()
        }
    };
    let nanos = i64::from(utc.timestamp_subsec_nanos());
    let nanos_per_tick = 1_000_000_000 / per_second;
    if nanos % nanos_per_tick != 0 {
        return None;
    }
    utc.timestamp().checked_mul(per_second)?.checked_add(nanos / nanos_per_tick)
}

/// The bytes of pairs of hexadecimal digits.
pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Field;

    #[test]
    fn bounds_are_decoded_by_their_length() {
        let day = 19_000i32.to_le_bytes();
        assert_eq!(Value::from_bytes(&day, &PrimitiveType::Timestamp), Some(Value::Timestamp(19_000 * 86_400_000_000)));
        assert_eq!(Value::from_bytes(&day, &PrimitiveType::TimestampNs), Some(Value::TimestampNs(19_000 * 86_400_000_000_000)));
        assert_eq!(Value::from_bytes(&7i32.to_le_bytes(), &PrimitiveType::Long), Some(Value::Long(7)));
        assert_eq!(Value::from_bytes(&1.5f32.to_le_bytes(), &PrimitiveType::Double), Some(Value::Double(1.5)));
        assert_eq!(Value::from_bytes(&[1, 2, 3], &PrimitiveType::Long), None);
    }

    #[test]
    fn decimals_keep_every_digit_or_fail() {
        assert_eq!(parse_decimal("-12.34", 2), Some(-1234));
        assert_eq!(parse_decimal("12.340", 2), Some(1234));
        assert_eq!(parse_decimal("12.345", 2), None);
        assert_eq!(parse_decimal("1e3", 2), Some(100_000));
        assert_eq!(parse_decimal(".", 2), None);
        assert_eq!(parse_decimal("0e999999999", 2), Some(0));
        for lost in ["1e-2147483648", "1e2147483647", "-5e-2147483648"] {
            assert_eq!(parse_decimal(lost, 0), None, "{lost}");
        }
        for v in [0, 1, -1, 127, 128, -128, -129, i128::from(i64::MAX), -(10i128.pow(37))] {
            assert_eq!(i128_from_be_bytes(&i128_to_be_bytes(v)), Some(v));
        }
    }

    /// `{}` stands for all members and their defaults: three bytes of JSON for a megabyte, or for a thousand columns.
    #[test]
    fn default_values_that_explode_end_at_the_limit() {
        let of = |fields: Vec<Field>, items: usize| {
            let ty = Type::list(1, false, Type::structure(fields));
            Value::from_json(&serde_json::Value::Array(vec![serde_json::json!({}); items]), &ty)
        };
        let long = || vec![Field::optional(2, "s", PrimitiveType::String).with_default(Value::String("a".repeat(1 << 20)))];
        let wide = || (2..10_002).map(|id| Field::optional(id, "c", PrimitiveType::Int)).collect();
        for fields in [long(), wide()] {
            let Ok(Some(Value::List(items))) = of(fields.clone(), 10) else { panic!() };
            assert_eq!(items.len(), 10);
            assert_eq!(of(fields, 100_000).unwrap_err().kind(), crate::ErrorKind::LimitExceeded);
        }
    }

    #[test]
    fn the_message_about_a_wrong_default_is_short() {
        let fields = (0..1000).map(|id| Field::optional(id, "x".repeat(1000), PrimitiveType::Int)).collect();
        let error = Value::from_json(&serde_json::json!("a".repeat(100_000)), &Type::structure(fields)).unwrap_err();
        assert!(error.message().len() < 200 && error.message().ends_with("is no struct"), "{}", error.message().len());
    }

    #[test]
    fn nan_equals_nan_and_is_greatest_and_zeros_are_equal() {
        assert_eq!(Value::Double(f64::NAN).order(&Value::Double(f64::NAN)), Some(Ordering::Equal));
        assert_eq!(Value::Double(f64::NAN).order(&Value::Double(f64::INFINITY)), Some(Ordering::Greater));
        assert_eq!(Value::Float(-0.0).order(&Value::Float(0.0)), Some(Ordering::Equal));
    }

    #[test]
    fn hexadecimal_takes_pairs_of_digits_only() {
        assert_eq!(parse_hex("00fF"), Some(vec![0, 255]));
        for bad in ["0", "+f", "zz", "é"] {
            assert_eq!(parse_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn timestamps_parse_with_and_without_zone() {
        assert_eq!(parse_timestamp("1970-01-01T00:00:01.000001", 1_000_000), Some(1_000_001));
        assert_eq!(parse_timestamp("1970-01-01 01:00:00+01:00", 1_000_000), Some(0));
        assert_eq!(parse_timestamp("1970-01-02", 1_000_000), Some(86_400_000_000));
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.000000001", 1_000_000), None);
        assert_eq!(parse_timestamp("1970-01-01T00:00:00Z", 1_000_000_000), Some(0));
    }
}
