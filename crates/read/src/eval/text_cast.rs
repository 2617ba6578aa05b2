//! Strings to values and back.
//!
//! Contract: a string reads as a value of a type exactly where it would as a literal of a filter; a number is rounded to a decimal's
//! places and to the nearest float, and must be whole for an integer. Values are written so that they read as the same value.

use super::arithmetic::{fits, power_of_ten};
use super::operand::{fault, internal, spread};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringArray};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::ArrowTimestampType;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use fastdata_types::arrow_type::primitive_arrow_type;
use fastdata_types::request::StringEncoding;
use fastdata_types::value::{parse_date, parse_decimal, parse_hex, parse_time_micros, parse_timestamp};
use fastdata_types::{Error, PrimitiveType, Result};
use std::sync::Arc;

pub(super) fn from_text(array: &ArrayRef, to: &PrimitiveType, misfit: &dyn Fn() -> Error) -> Result<ArrayRef> {
    use PrimitiveType as P;
    let plain = arrow_cast(&spread(array)?, &DataType::Utf8View).map_err(fault)?;
    let texts = plain.as_string_view_opt().ok_or_else(|| internal(format!("{} is no string", array.data_type())))?;
    let texts: Vec<Option<&str>> = texts.iter().map(|text| text.map(str::trim)).collect();
    let timestamp = |text: &str, per_second: i64, zone: bool| {
        if names_zone(text) && !zone { None } else { parse_timestamp(text, per_second) }
    };
    const MICROS: i64 = 1_000_000;
    const NANOS: i64 = 1_000_000_000;
    Ok(match to {
        P::Boolean => {
            let values = each(&texts, misfit, |text| match text.to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            })?;
            Arc::new(BooleanArray::from(values))
        }
        P::Int => Arc::new(numbers::<Int32Type>(&texts, misfit, |text| parse_decimal(text, 0)?.try_into().ok())?),
        P::Long => Arc::new(numbers::<Int64Type>(&texts, misfit, |text| parse_decimal(text, 0)?.try_into().ok())?),
        P::Float => Arc::new(numbers::<Float32Type>(&texts, misfit, |text| float(text).map(|v| v as f32))?),
        P::Double => Arc::new(numbers::<Float64Type>(&texts, misfit, float)?),
        P::Decimal { precision, scale } => {
            let values = numbers::<Decimal128Type>(&texts, misfit, |text| {
                rounded_decimal(text, *scale).filter(|unscaled| fits(*unscaled, *precision))
            })?;
            Arc::new(values.with_data_type(primitive_arrow_type(to, StringEncoding::Utf8)?))
        }
        P::Date => Arc::new(numbers::<Date32Type>(&texts, misfit, |text| {
            parse_date(text).or_else(|| {
                let micros = timestamp(text, MICROS, false)?;
                (micros % (86_400 * MICROS) == 0).then(|| i32::try_from(micros / (86_400 * MICROS)).ok()).flatten()
            })
        })?),
        P::Time => Arc::new(numbers::<Time64MicrosecondType>(&texts, misfit, parse_time_micros)?),
        P::Timestamp => Arc::new(numbers::<TimestampMicrosecondType>(&texts, misfit, |text| timestamp(text, MICROS, false))?),
        P::TimestampNs => Arc::new(numbers::<TimestampNanosecondType>(&texts, misfit, |text| timestamp(text, NANOS, false))?),
        P::Timestamptz => {
            Arc::new(numbers::<TimestampMicrosecondType>(&texts, misfit, |text| timestamp(text, MICROS, true))?.with_timezone("UTC"))
        }
        P::TimestamptzNs => {
            Arc::new(numbers::<TimestampNanosecondType>(&texts, misfit, |text| timestamp(text, NANOS, true))?.with_timezone("UTC"))
        }
        P::Uuid => {
            let values = each(&texts, misfit, parse_uuid)?;
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16).map_err(fault)?)
        }
        other => return Err(internal(format!("there is no cast from string to {other}"))),
    })
}

fn each<T>(texts: &[Option<&str>], misfit: &dyn Fn() -> Error, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<Option<T>>> {
    texts.iter().map(|text| text.map(|text| parse(text).ok_or_else(misfit)).transpose()).collect()
}

fn numbers<T: ArrowPrimitiveType>(
    texts: &[Option<&str>],
    misfit: &dyn Fn() -> Error,
    parse: impl Fn(&str) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>> {
    Ok(each(texts, misfit, parse)?.into_iter().collect())
}

/// The nearest double; infinite only where the text says so.
fn float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    (!value.is_infinite() || text.to_ascii_lowercase().contains("inf")).then_some(value)
}

fn names_zone(text: &str) -> bool {
    let time = text.find(':').and_then(|at| text.get(at..)).unwrap_or_default();
    text.ends_with(['Z', 'z']) || time.contains(['+', '-'])
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hyphens: Vec<usize> = text.match_indices('-').map(|(at, _)| at).collect();
    if !hyphens.is_empty() && hyphens != [8, 13, 18, 23] {
        return None;
    }
    parse_hex(&text.replace('-', ""))?.try_into().ok()
}

/// The unscaled value of a number's text at `scale` places, halves away from zero.
pub(super) fn rounded_decimal(text: &str, scale: u8) -> Option<i128> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (negative, unsigned) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits: Vec<i128> =
        whole.bytes().chain(fraction.bytes()).map(|b| b.is_ascii_digit().then(|| i128::from(b - b'0'))).collect::<Option<_>>()?;
    if digits.is_empty() {
        return None;
    }
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let significant = digits.get(leading..)?;
    if significant.is_empty() {
        return Some(0);
    }
    // The number is 0.d1d2d3... * 10^point.
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_sub(i64::try_from(leading).ok()?)?;
    let kept = point.checked_add(i64::from(scale))?;
    if kept > 38 {
        return None;
    }
    let Ok(kept) = usize::try_from(kept) else { return Some(0) };
    let mut unscaled: i128 = 0;
    for place in 0..kept {
        unscaled = unscaled.checked_mul(10)?.checked_add(significant.get(place).copied().unwrap_or(0))?;
    }
    let unscaled = unscaled.checked_add(i128::from(significant.get(kept).is_some_and(|digit| *digit >= 5)))?;
    Some(if negative { -unscaled } else { unscaled })
}

pub(super) fn decimal_text(unscaled: i128, scale: u8) -> String {
    let power = power_of_ten(scale).unsigned_abs();
    let magnitude = unscaled.unsigned_abs();
    let sign = if unscaled < 0 { "-" } else { "" };
    match scale {
        0 => format!("{sign}{magnitude}"),
        _ => format!("{sign}{}.{:0width$}", magnitude / power, magnitude % power, width = usize::from(scale)),
    }
}

pub(super) fn to_text(array: &ArrayRef, from: &PrimitiveType, misfit: &dyn Fn() -> Error) -> Result<ArrayRef> {
    use PrimitiveType as P;
    let wrong = || internal(format!("{} is no {from}", array.data_type()));
    fn written<T: ArrowPrimitiveType>(
        array: &ArrayRef,
        wrong: impl Fn() -> Error,
        misfit: &dyn Fn() -> Error,
        text: impl Fn(T::Native) -> Option<String>,
    ) -> Result<ArrayRef> {
        let values = array.as_primitive_opt::<T>().ok_or_else(wrong)?;
        let texts = values.iter().map(|value| value.map(|value| text(value).ok_or_else(misfit)).transpose());
        Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
    }
    match from {
        P::Boolean => {
            let values = array.as_boolean_opt().ok_or_else(wrong)?;
            Ok(Arc::new(values.iter().map(|value| value.map(|value| if value { "true" } else { "false" })).collect::<StringArray>()))
        }
        P::Int => written::<Int32Type>(array, wrong, misfit, |v| Some(v.to_string())),
        P::Long => written::<Int64Type>(array, wrong, misfit, |v| Some(v.to_string())),
        P::Decimal { scale, .. } => written::<Decimal128Type>(array, wrong, misfit, |v| Some(decimal_text(v, *scale))),
        P::Date => written::<Date32Type>(array, wrong, misfit, |days| {
            let date = chrono::DateTime::from_timestamp(i64::from(days) * 86_400, 0)?;
            Some(date.format("%Y-%m-%d").to_string())
        }),
        P::Time => written::<Time64MicrosecondType>(array, wrong, misfit, |micros| {
            let seconds = u32::try_from(micros.div_euclid(1_000_000)).ok()?;
            let nanos = u32::try_from(micros.rem_euclid(1_000_000) * 1000).ok()?;
            let time = chrono::NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos)?;
            Some(time.format("%H:%M:%S%.f").to_string())
        }),
        P::Timestamp | P::Timestamptz => {
            written::<TimestampMicrosecondType>(array, wrong, misfit, |v| moment::<TimestampMicrosecondType>(v, *from == P::Timestamptz))
        }
        P::TimestampNs | P::TimestamptzNs => {
            written::<TimestampNanosecondType>(array, wrong, misfit, |v| moment::<TimestampNanosecondType>(v, *from == P::TimestamptzNs))
        }
        P::Uuid => {
            let values = array.as_fixed_size_binary_opt().ok_or_else(wrong)?;
            Ok(Arc::new(values.iter().map(|value| value.map(uuid_text)).collect::<StringArray>()))
        }
        other => Err(internal(format!("there is no cast from {other} to string"))),
    }
}

fn moment<T: ArrowTimestampType>(value: i64, zone: bool) -> Option<String> {
    let per_second = match T::UNIT {
        arrow::datatypes::TimeUnit::Nanosecond => 1_000_000_000,
        _ => 1_000_000,
    };
    let nanos = u32::try_from(value.rem_euclid(per_second) * (1_000_000_000 / per_second)).ok()?;
    let moment = chrono::DateTime::from_timestamp(value.div_euclid(per_second), nanos)?;
    Some(moment.format(if zone { "%Y-%m-%dT%H:%M:%S%.fZ" } else { "%Y-%m-%dT%H:%M:%S%.f" }).to_string())
}

fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
