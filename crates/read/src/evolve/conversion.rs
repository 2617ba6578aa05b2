//! Which physical forms of a Parquet leaf are values of an Iceberg type, and how they become its Arrow form.
//!
//! Contract: the forms of spec "Appendix A: Parquet", the promotions of spec "Schema Evolution", other units of time, and integers
//! that widen exactly. Everything else has no conversion and is refused by name. A value that leaves the range of the target is an error, never
//! wrapped.

use super::strings;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, PrimitiveArray, new_null_array};
use arrow::datatypes::*;
use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::request::StringEncoding;
use fastdata_types::schema::PrimitiveType;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit as ParquetUnit, Type as Physical};
use parquet::schema::types::Type;
use std::sync::Arc;

/// How decoded arrays of one leaf become arrays of the target's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    /// The decoder produces the target's values; only the time zone or the precision of the type may differ.
    Same,
    /// Every value is NULL.
    Null,
    /// Strings in either packing; `checked` where the decoder has verified that they are UTF-8.
    String {
        checked: bool,
    },
    Binary,
    /// Integers, floats or decimals that widen.
    Widen,
    /// 256-bit decimals whose values must fit 128 bits.
    NarrowDecimal,
    /// Ticks times this.
    Multiply(i64),
    /// Ticks divided by this, towards the past.
    Divide(i64),
    /// Days times this.
    Days(i64),
}

/// What the decoder should produce for a leaf, and what is then done with it; `None` where the leaf holds no values of the target type.
pub(super) fn conversion(leaf: &Type, target: &PrimitiveType, views: bool) -> Option<(Conversion, DataType)> {
    let same = |ty: DataType| Some((Conversion::Same, ty));
    let stored = stored_type(leaf)?;
    let signed = matches!(stored, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16);
    match (&stored, target) {
        (DataType::Null, _) => Some((Conversion::Null, stored)),
        (DataType::Boolean, PrimitiveType::Boolean)
        | (DataType::Int32, PrimitiveType::Int)
        | (DataType::Int64, PrimitiveType::Long)
        | (DataType::Float32, PrimitiveType::Float)
        | (DataType::Float64, PrimitiveType::Double)
        | (DataType::Date32, PrimitiveType::Date)
        | (DataType::Time64(TimeUnit::Microsecond), PrimitiveType::Time) => same(stored),
        (_, PrimitiveType::Int) if signed => Some((Conversion::Widen, stored)),
        (_, PrimitiveType::Long) if signed || stored == DataType::UInt32 => Some((Conversion::Widen, stored)),
        (DataType::Float16, PrimitiveType::Float | PrimitiveType::Double) | (DataType::Float32, PrimitiveType::Double) => {
            Some((Conversion::Widen, stored))
        }
        (DataType::Decimal128(precision, scale), PrimitiveType::Decimal { precision: p, scale: s }) => {
            (precision <= p && i16::from(*scale) == i16::from(*s)).then_some((Conversion::Same, stored))
        }
        (DataType::Decimal256(precision, scale), PrimitiveType::Decimal { precision: p, scale: s }) => {
            (precision <= p && i16::from(*scale) == i16::from(*s)).then_some((Conversion::NarrowDecimal, stored))
        }
        (DataType::Time32(TimeUnit::Millisecond), PrimitiveType::Time) => Some((Conversion::Multiply(1000), stored)),
        (DataType::Time64(TimeUnit::Nanosecond), PrimitiveType::Time) => Some((Conversion::Divide(1000), stored)),
        (DataType::Date32, PrimitiveType::Timestamp) => Some((Conversion::Days(86_400_000_000), stored)),
        (DataType::Date32, PrimitiveType::TimestampNs) => Some((Conversion::Days(86_400_000_000_000), stored)),
        (DataType::Timestamp(_, _), PrimitiveType::Timestamp | PrimitiveType::Timestamptz) if is_int96(leaf) => {
            same(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        // Nanoseconds of an INT96 may leave 64 bits and the decoder would wrap them.
        (DataType::Timestamp(_, _), _) if is_int96(leaf) => None,
        (DataType::Timestamp(unit, _), PrimitiveType::Timestamp | PrimitiveType::Timestamptz) => match unit {
            TimeUnit::Second => None,
            TimeUnit::Millisecond => Some((Conversion::Multiply(1000), stored)),
            TimeUnit::Microsecond => same(stored),
            TimeUnit::Nanosecond => Some((Conversion::Divide(1000), stored)),
        },
        (DataType::Timestamp(unit, _), PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs) => match unit {
            TimeUnit::Second => None,
            TimeUnit::Millisecond => Some((Conversion::Multiply(1_000_000), stored)),
            TimeUnit::Microsecond => Some((Conversion::Multiply(1000), stored)),
            TimeUnit::Nanosecond => same(stored),
        },
        (DataType::Utf8, PrimitiveType::String) => {
            // The decoder verifies only what is annotated UTF8; JSON it passes as it stands, and as packed strings it may panic.
            let checked = leaf.get_basic_info().converted_type() == ConvertedType::UTF8;
            Some((Conversion::String { checked }, if views || !checked { DataType::Utf8View } else { DataType::Utf8 }))
        }
        (DataType::Binary, PrimitiveType::String) if may_be_text(leaf) => {
            Some((Conversion::String { checked: false }, if views { DataType::BinaryView } else { DataType::Binary }))
        }
        (DataType::Binary, PrimitiveType::Binary) => {
            Some((Conversion::Binary, if views { DataType::BinaryView } else { DataType::Binary }))
        }
        (DataType::FixedSizeBinary(width), PrimitiveType::Fixed(length)) => {
            (i64::from(*width) == i64::from(*length)).then_some((Conversion::Same, stored))
        }
        (DataType::FixedSizeBinary(16), PrimitiveType::Uuid) => same(stored),
        _ => None,
    }
}

fn is_int96(leaf: &Type) -> bool {
    leaf.get_physical_type() == Physical::INT96
}

/// BSON, geometry and the like are bytes under an annotation that says they are no text.
fn may_be_text(leaf: &Type) -> bool {
    let info = leaf.get_basic_info();
    matches!(info.logical_type_ref(), None | Some(LogicalType::Enum)) && info.converted_type() != ConvertedType::BSON
}

/// The Arrow type that the decoder gives a leaf by itself; `None` where it has none that any Iceberg type could take.
fn stored_type(leaf: &Type) -> Option<DataType> {
    let Type::PrimitiveType { basic_info, physical_type, type_length, scale, precision } = leaf else {
        return None;
    };
    let (logical, converted) = (basic_info.logical_type_ref(), basic_info.converted_type());
    let decimal = match (logical, converted) {
        (Some(LogicalType::Decimal(decimal)), _) => Some((decimal.precision, decimal.scale)),
        (None, ConvertedType::DECIMAL) => Some((*precision, *scale)),
        _ => None,
    };
    if matches!(logical, Some(LogicalType::Unknown)) {
        return Some(DataType::Null);
    }
    if let Some((precision, scale)) = decimal {
        let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
        return match physical_type {
            Physical::INT32 | Physical::INT64 => Some(DataType::Decimal128(precision, scale)),
            Physical::FIXED_LEN_BYTE_ARRAY if (1..=16).contains(type_length) => Some(DataType::Decimal128(precision, scale)),
            Physical::FIXED_LEN_BYTE_ARRAY if (17..=32).contains(type_length) => Some(DataType::Decimal256(precision, scale)),
            Physical::BYTE_ARRAY if precision <= 38 => Some(DataType::Decimal128(precision, scale)),
            _ => None,
        };
    }
    Some(match physical_type {
        Physical::BOOLEAN => DataType::Boolean,
        Physical::FLOAT => DataType::Float32,
        Physical::DOUBLE => DataType::Float64,
        Physical::INT96 => DataType::Timestamp(TimeUnit::Nanosecond, None),
        Physical::INT32 => match (logical, converted) {
            (None, ConvertedType::NONE) => DataType::Int32,
            (Some(LogicalType::Integer(int)), _) => match (int.bit_width, int.is_signed) {
                (8, true) => DataType::Int8,
                (16, true) => DataType::Int16,
                (32, true) => DataType::Int32,
                (8, false) => DataType::UInt8,
                (16, false) => DataType::UInt16,
                (32, false) => DataType::UInt32,
                _ => return None,
            },
            (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => DataType::Date32,
            (Some(LogicalType::Time(time)), _) if time.unit == ParquetUnit::MILLIS => DataType::Time32(TimeUnit::Millisecond),
            (None, ConvertedType::TIME_MILLIS) => DataType::Time32(TimeUnit::Millisecond),
            (None, ConvertedType::INT_8) => DataType::Int8,
            (None, ConvertedType::INT_16) => DataType::Int16,
            (None, ConvertedType::INT_32) => DataType::Int32,
            (None, ConvertedType::UINT_8) => DataType::UInt8,
            (None, ConvertedType::UINT_16) => DataType::UInt16,
            (None, ConvertedType::UINT_32) => DataType::UInt32,
            _ => return None,
        },
        Physical::INT64 => match (logical, converted) {
            (None, ConvertedType::NONE | ConvertedType::INT_64) => DataType::Int64,
            (Some(LogicalType::Integer(int)), _) if int.bit_width == 64 && int.is_signed => DataType::Int64,
            (Some(LogicalType::Time(time)), _) => match time.unit {
                ParquetUnit::MILLIS => return None,
                ParquetUnit::MICROS => DataType::Time64(TimeUnit::Microsecond),
                ParquetUnit::NANOS => DataType::Time64(TimeUnit::Nanosecond),
            },
            (None, ConvertedType::TIME_MICROS) => DataType::Time64(TimeUnit::Microsecond),
            (Some(LogicalType::Timestamp(timestamp)), _) => DataType::Timestamp(
                match timestamp.unit {
                    ParquetUnit::MILLIS => TimeUnit::Millisecond,
                    ParquetUnit::MICROS => TimeUnit::Microsecond,
                    ParquetUnit::NANOS => TimeUnit::Nanosecond,
                },
                None,
            ),
            (None, ConvertedType::TIMESTAMP_MILLIS) => DataType::Timestamp(TimeUnit::Millisecond, None),
            (None, ConvertedType::TIMESTAMP_MICROS) => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => return None,
        },
        Physical::BYTE_ARRAY => match (logical, converted) {
            (Some(LogicalType::String | LogicalType::Json), _) => DataType::Utf8,
            (None, ConvertedType::UTF8 | ConvertedType::JSON) => DataType::Utf8,
            (Some(LogicalType::Bson | LogicalType::Enum), _) => DataType::Binary,
            (Some(LogicalType::Geometry(_) | LogicalType::Geography(_) | LogicalType::_Unknown { .. }), _) => DataType::Binary,
            (None, ConvertedType::NONE | ConvertedType::BSON | ConvertedType::ENUM) => DataType::Binary,
            _ => return None,
        },
        Physical::FIXED_LEN_BYTE_ARRAY => match (logical, converted) {
            (None, ConvertedType::NONE) | (Some(LogicalType::Uuid), _) => DataType::FixedSizeBinary(*type_length),
            (Some(LogicalType::Float16), _) if *type_length == 2 => DataType::Float16,
            _ => return None,
        },
    })
}

/// How messages describe a leaf's type: `INT64 (TIMESTAMP_MILLIS)`.
pub(super) fn describe(leaf: &Type) -> String {
    let Type::PrimitiveType { basic_info, physical_type, type_length, precision, scale } = leaf else {
        return "a group".to_owned();
    };
    let physical = match physical_type {
        Physical::FIXED_LEN_BYTE_ARRAY => format!("{physical_type}({type_length})"),
        _ => physical_type.to_string(),
    };
    match (basic_info.logical_type_ref(), basic_info.converted_type()) {
        (Some(LogicalType::Decimal(decimal)), _) => format!("{physical} (DECIMAL({},{}))", decimal.precision, decimal.scale),
        (None, ConvertedType::DECIMAL) => format!("{physical} (DECIMAL({precision},{scale}))"),
        (Some(LogicalType::Integer(int)), _) => {
            format!("{physical} ({}INT_{})", if int.is_signed { "" } else { "U" }, int.bit_width)
        }
        (Some(LogicalType::Timestamp(timestamp)), _) => format!("{physical} (TIMESTAMP, {:?})", timestamp.unit),
        (Some(LogicalType::Time(time)), _) => format!("{physical} (TIME, {:?})", time.unit),
        (Some(LogicalType::Geometry(_)), _) => format!("{physical} (GEOMETRY)"),
        (Some(LogicalType::Geography(_)), _) => format!("{physical} (GEOGRAPHY)"),
        (Some(LogicalType::Uuid), _) => format!("{physical} (UUID)"),
        (Some(LogicalType::Float16), _) => format!("{physical} (FLOAT16)"),
        (Some(LogicalType::Unknown), _) => format!("{physical} (always NULL)"),
        (Some(_), ConvertedType::NONE) => format!("{physical} (with another annotation)"),
        (None, ConvertedType::NONE) => physical,
        (_, converted) => format!("{physical} ({converted})"),
    }
}

impl Conversion {
    /// Converts a decoded array to `target`, the Arrow type of the field.
    pub fn apply(self, array: &ArrayRef, target: &DataType, encoding: StringEncoding) -> Result<ArrayRef> {
        match self {
            Conversion::Null => Ok(new_null_array(target, array.len())),
            Conversion::String { checked } => strings::to_strings(array, encoding, checked),
            Conversion::Binary => strings::to_binary(array),
            _ if array.data_type() == target => Ok(Arc::clone(array)),
            Conversion::Same => relabel(array, target),
            Conversion::Widen => widen(array, target),
            Conversion::NarrowDecimal => narrow_decimal(array, target),
            Conversion::Multiply(factor) => match array.data_type() {
                DataType::Time32(TimeUnit::Millisecond) => {
                    let micros =
                        array.as_primitive::<Time32MillisecondType>().unary::<_, Time64MicrosecondType>(|ms| i64::from(ms) * factor);
                    Ok(Arc::new(micros))
                }
                DataType::Timestamp(TimeUnit::Millisecond, _) => {
                    ticks::<TimestampMillisecondType>(array, target, |t| t.checked_mul(factor))
                }
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    ticks::<TimestampMicrosecondType>(array, target, |t| t.checked_mul(factor))
                }
                _ => Err(undecoded(array, target)),
            },
            Conversion::Divide(divisor) => match array.data_type() {
                DataType::Time64(TimeUnit::Nanosecond) => {
                    let micros =
                        array.as_primitive::<Time64NanosecondType>().unary::<_, Time64MicrosecondType>(|ns| ns.div_euclid(divisor));
                    Ok(Arc::new(micros))
                }
                DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                    ticks::<TimestampNanosecondType>(array, target, |t| Some(t.div_euclid(divisor)))
                }
                _ => Err(undecoded(array, target)),
            },
            Conversion::Days(per_day) => match array.as_primitive_opt::<Date32Type>() {
                Some(days) => {
                    let out = days.try_unary::<_, Int64Type, Error>(|day| i64::from(day).checked_mul(per_day).ok_or_else(out_of_range))?;
                    relabel_ticks(&out, target)
                }
                None => Err(undecoded(array, target)),
            },
        }
    }
}

fn out_of_range() -> Error {
    Error::corrupt(Stage::Read, "a value leaves the range of the table's type")
}

/// The decoder gave a type that the plan did not ask for.
fn undecoded(array: &ArrayRef, target: &DataType) -> Error {
    Error::internal(Stage::Read, format!("decoded as {}, which was not planned for {target}", array.data_type()))
}

fn ticks<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef, target: &DataType, op: impl Fn(i64) -> Option<i64>) -> Result<ArrayRef> {
    let Some(array) = array.as_primitive_opt::<T>() else {
        return Err(undecoded(array, target));
    };
    let out = array.try_unary::<_, Int64Type, Error>(|tick| op(tick).ok_or_else(out_of_range))?;
    relabel_ticks(&out, target)
}

/// The same ticks under a timestamp type.
fn relabel_ticks(ticks: &PrimitiveArray<Int64Type>, target: &DataType) -> Result<ArrayRef> {
    Ok(match target {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Arc::new(ticks.reinterpret_cast::<TimestampMicrosecondType>().with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            Arc::new(ticks.reinterpret_cast::<TimestampNanosecondType>().with_timezone_opt(zone.clone()))
        }
        _ => return Err(Error::internal(Stage::Read, format!("{target} is no timestamp"))),
    })
}

fn relabel(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    Ok(match (array.data_type(), target) {
        (DataType::Timestamp(TimeUnit::Microsecond, _), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(zone.clone()))
        }
        (DataType::Timestamp(TimeUnit::Nanosecond, _), DataType::Timestamp(TimeUnit::Nanosecond, zone)) => {
            Arc::new(array.as_primitive::<TimestampNanosecondType>().clone().with_timezone_opt(zone.clone()))
        }
        (DataType::Decimal128(_, from), DataType::Decimal128(precision, scale)) if from == scale => {
            let relabelled = array.as_primitive::<Decimal128Type>().clone().with_precision_and_scale(*precision, *scale);
            Arc::new(relabelled.map_err(|_| undecoded(array, target))?)
        }
        _ => return Err(undecoded(array, target)),
    })
}

fn widen_to<From: ArrowPrimitiveType, To: ArrowPrimitiveType>(array: &ArrayRef) -> ArrayRef
where
    To::Native: std::convert::From<From::Native>,
{
    Arc::new(array.as_primitive::<From>().unary::<_, To>(To::Native::from))
}

fn widen(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    Ok(match (array.data_type(), target) {
        (DataType::Int8, DataType::Int32) => widen_to::<Int8Type, Int32Type>(array),
        (DataType::Int16, DataType::Int32) => widen_to::<Int16Type, Int32Type>(array),
        (DataType::UInt8, DataType::Int32) => widen_to::<UInt8Type, Int32Type>(array),
        (DataType::UInt16, DataType::Int32) => widen_to::<UInt16Type, Int32Type>(array),
        (DataType::Int8, DataType::Int64) => widen_to::<Int8Type, Int64Type>(array),
        (DataType::Int16, DataType::Int64) => widen_to::<Int16Type, Int64Type>(array),
        (DataType::Int32, DataType::Int64) => widen_to::<Int32Type, Int64Type>(array),
        (DataType::UInt8, DataType::Int64) => widen_to::<UInt8Type, Int64Type>(array),
        (DataType::UInt16, DataType::Int64) => widen_to::<UInt16Type, Int64Type>(array),
        (DataType::UInt32, DataType::Int64) => widen_to::<UInt32Type, Int64Type>(array),
        (DataType::Float16, DataType::Float32) => widen_to::<Float16Type, Float32Type>(array),
        (DataType::Float16, DataType::Float64) => widen_to::<Float16Type, Float64Type>(array),
        (DataType::Float32, DataType::Float64) => widen_to::<Float32Type, Float64Type>(array),
        _ => return Err(undecoded(array, target)),
    })
}

fn narrow_decimal(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let (Some(wide), DataType::Decimal128(precision, scale)) = (array.as_primitive_opt::<Decimal256Type>(), target) else {
        return Err(undecoded(array, target));
    };
    let narrow: Decimal128Array = wide.try_unary(|value| value.to_i128().ok_or_else(out_of_range))?;
    Ok(Arc::new(narrow.with_precision_and_scale(*precision, *scale).map_err(|_| undecoded(array, target))?))
}
