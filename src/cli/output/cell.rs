//! One value as JSON. The text of every other format derives from it.
//!
//! Contract (docs/output.md): integers of any width are JSON numbers with all their digits; decimals are strings with all their digits;
//! NaN and the infinities are the strings "NaN", "Infinity", "-Infinity"; dates, times and timestamps are ISO 8601 strings
//! (`+00:00` where the type has a zone); uuids are strings; binary and fixed are hexadecimal strings; structs are objects; maps with
//! string keys are objects, others lists of {"key", "value"}.

use arrow::array::*;
use arrow::datatypes::*;
use fastdata_types::{Error, Result, Stage};
use std::fmt::Write;

fn unprintable(data_type: &DataType) -> Error {
    Error::internal(Stage::Output, format!("no text form for Arrow type {data_type}"))
}

/// Appends the JSON of `array[row]`.
pub fn write_json(out: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        out.push_str("null");
        return Ok(());
    }
    macro_rules! number {
        ($type:ty) => {{
            let _ = write!(out, "{}", array.as_primitive::<$type>().value(row));
        }};
    }
    match array.data_type() {
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::Float32 => write_float32(out, array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => write_float64(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => {
            let _ = write!(out, "\"{}\"", array.as_primitive::<Decimal128Type>().value_as_string(row));
        }
        DataType::Utf8 => write_json_string(out, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => write_json_string(out, array.as_string::<i64>().value(row)),
        DataType::Utf8View => write_json_string(out, array.as_string_view().value(row)),
        DataType::Binary => write_hex(out, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => write_hex(out, array.as_binary::<i64>().value(row)),
        DataType::BinaryView => write_hex(out, array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => write_hex(out, array.as_fixed_size_binary().value(row)),
        DataType::Date32 => write_date(out, array.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => write_time(out, array.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            write_timestamp(out, array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000, zone.is_some());
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            write_timestamp(out, array.as_primitive::<TimestampNanosecondType>().value(row), 1_000_000_000, zone.is_some());
        }
        DataType::Dictionary(key, _) if **key == DataType::Int32 => {
            let dictionary = array.as_dictionary::<Int32Type>();
            let index = dictionary.keys().value(row) as usize;
            write_json(out, dictionary.values().as_ref(), index)?;
        }
        DataType::Struct(fields) => {
            let array = array.as_struct();
            out.push('{');
            for (i, field) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_json_string(out, field.name());
                out.push(':');
                write_field(out, field, array.column(i).as_ref(), row)?;
            }
            out.push('}');
        }
        DataType::List(field) => {
            let values = array.as_list::<i32>().value(row);
            out.push('[');
            for i in 0..values.len() {
                if i > 0 {
                    out.push(',');
                }
                write_field(out, field, values.as_ref(), i)?;
            }
            out.push(']');
        }
        DataType::Map(entries, _) => {
            let entry = array.as_map().value(row);
            let DataType::Struct(fields) = entries.data_type() else { return Err(unprintable(array.data_type())) };
            write_map(out, fields, &entry)?;
        }
        other => return Err(unprintable(other)),
    }
    Ok(())
}

/// As `write_json`, but knows what only the field says: that sixteen bytes are a uuid.
pub fn write_field(out: &mut String, field: &Field, array: &dyn Array, row: usize) -> Result<()> {
    if field.metadata().get("ARROW:extension:name").is_some_and(|name| name == "arrow.uuid") && !array.is_null(row) {
        let bytes = array.as_fixed_size_binary_opt().map(|array| array.value(row)).unwrap_or_default();
        out.push('"');
        for (i, byte) in bytes.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                out.push('-');
            }
            let _ = write!(out, "{byte:02x}");
        }
        out.push('"');
        return Ok(());
    }
    write_json(out, array, row)
}

fn write_map(out: &mut String, fields: &Fields, entry: &StructArray) -> Result<()> {
    let (keys, values) = (entry.column(0), entry.column(1));
    let as_object = matches!(keys.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..));
    out.push(if as_object { '{' } else { '[' });
    for i in 0..entry.len() {
        if i > 0 {
            out.push(',');
        }
        if as_object {
            write_json(out, keys.as_ref(), i)?;
            out.push(':');
            write_field(out, &fields[1], values.as_ref(), i)?;
        } else {
            out.push_str("{\"key\":");
            write_field(out, &fields[0], keys.as_ref(), i)?;
            out.push_str(",\"value\":");
            write_field(out, &fields[1], values.as_ref(), i)?;
            out.push('}');
        }
    }
    out.push(if as_object { '}' } else { ']' });
    Ok(())
}

pub fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        plain = at + 1;
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

fn write_hex(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out.push('"');
}

fn write_special(out: &mut String, negative: bool, nan: bool) {
    out.push_str(match (nan, negative) {
        (true, _) => "\"NaN\"",
        (false, false) => "\"Infinity\"",
        (false, true) => "\"-Infinity\"",
    });
}

/// The shortest digits that read back as the same 32-bit value.
fn write_float32(out: &mut String, value: f32) {
    if value.is_finite() {
        let _ = write!(out, "{value:?}");
    } else {
        write_special(out, value < 0.0, value.is_nan());
    }
}

fn write_float64(out: &mut String, value: f64) {
    if value.is_finite() {
        let _ = write!(out, "{value:?}");
    } else {
        write_special(out, value < 0.0, value.is_nan());
    }
}

fn write_date(out: &mut String, days: i32) {
    match civil(i64::from(days)) {
        Some(date) => {
            let _ = write!(out, "\"{date}\"");
        }
        // Beyond the calendar of the date library: the number itself keeps the meaning.
        None => {
            let _ = write!(out, "\"{days} days\"");
        }
    }
}

fn civil(days: i64) -> Option<chrono::NaiveDate> {
    chrono::NaiveDate::from_ymd_opt(1970, 1, 1)?.checked_add_signed(chrono::Duration::try_days(days)?)
}

fn write_time(out: &mut String, micros: i64) {
    let seconds = micros.div_euclid(1_000_000);
    let _ = write!(out, "\"{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    write_fraction(out, micros.rem_euclid(1_000_000), 6);
    out.push('"');
}

fn write_fraction(out: &mut String, fraction: i64, digits: usize) {
    if fraction != 0 {
        let _ = write!(out, ".{fraction:0digits$}");
    }
}

fn write_timestamp(out: &mut String, ticks: i64, per_second: i64, zoned: bool) {
    let seconds = ticks.div_euclid(per_second);
    let Some(date) = civil(seconds.div_euclid(86_400)) else {
        let _ = write!(out, "\"{ticks} ticks\"");
        return;
    };
    let day = seconds.rem_euclid(86_400);
    let _ = write!(out, "\"{date}T{:02}:{:02}:{:02}", day / 3600, day / 60 % 60, day % 60);
    write_fraction(out, ticks.rem_euclid(per_second), if per_second == 1_000_000 { 6 } else { 9 });
    out.push_str(if zoned { "+00:00\"" } else { "\"" });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn json(array: ArrayRef) -> String {
        let mut out = String::new();
        write_json(&mut out, array.as_ref(), 0).unwrap();
        out
    }

    #[test]
    fn values_keep_their_meaning() {
        assert_eq!(json(Arc::new(Int64Array::from(vec![9_007_199_254_740_993]))), "9007199254740993");
        assert_eq!(json(Arc::new(Float64Array::from(vec![f64::NAN]))), "\"NaN\"");
        assert_eq!(json(Arc::new(Float64Array::from(vec![f64::NEG_INFINITY]))), "\"-Infinity\"");
        assert_eq!(json(Arc::new(Float64Array::from(vec![-0.0]))), "-0.0");
        assert_eq!(json(Arc::new(Float32Array::from(vec![0.1]))), "0.1");
        assert_eq!(json(Arc::new(Decimal128Array::from(vec![-5]).with_precision_and_scale(9, 2).unwrap())), "\"-0.05\"");
        assert_eq!(json(Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]]))), "\"00ff\"");
        assert_eq!(json(Arc::new(Date32Array::from(vec![-1]))), "\"1969-12-31\"");
        assert_eq!(json(Arc::new(TimestampMicrosecondArray::from(vec![-1]).with_timezone("UTC"))), "\"1969-12-31T23:59:59.999999+00:00\"");
        assert_eq!(json(Arc::new(TimestampNanosecondArray::from(vec![1]))), "\"1970-01-01T00:00:00.000000001\"");
        assert_eq!(json(Arc::new(Time64MicrosecondArray::from(vec![3_600_000_001]))), "\"01:00:00.000001\"");
        assert_eq!(json(Arc::new(StringArray::from(vec!["a\"\n\u{1}é"]))), "\"a\\\"\\n\\u0001é\"");
    }
}
