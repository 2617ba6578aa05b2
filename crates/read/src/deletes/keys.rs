//! The values of equality columns in one comparable form, whatever Arrow type they arrive in.
//!
//! Problem: a delete file and a data file may hold one column as int and long, float and double, decimals of two precisions, or
//! strings in four encodings. Contract: values that the table's type makes equal get equal keys: integers, dates and times as 64-bit
//! integers in the unit of the table's type, floats as doubles, decimals as 128-bit integers, the rest as bytes. NULL equals NULL and all NaN
//! are one; -0.0 and 0.0 differ. The specification's order of floats has -0 before 0 ("Sorting"), and the Java reference keeps deleted
//! keys in a `StructLikeSet`, whose `Comparators` and `JavaHash` compare boxed numbers, as `Double.compareTo` and `hashCode` do.

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use fastdata_types::PrimitiveType;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// One equality column of a batch.
#[derive(Debug)]
pub(super) struct KeyColumn {
    pub(super) values: KeyValues,
    /// The column's own nulls and those of the structs around it.
    pub(super) nulls: Option<NullBuffer>,
}

#[derive(Debug)]
pub(super) enum KeyValues {
    /// Every row is NULL.
    Nulls,
    Boolean(BooleanArray),
    Integers(ScalarBuffer<i64>),
    /// Bit patterns of doubles, NaN in one form.
    Floats(ScalarBuffer<u64>),
    Decimals(ScalarBuffer<i128>),
    Bytes(BinaryViewArray),
    Fixed(FixedSizeBinaryArray),
}

impl KeyColumn {
    /// `outer` are the nulls of the structs around the column. `Err` says what the array is instead of `ty`.
    pub(super) fn new(array: &ArrayRef, outer: Option<&NullBuffer>, ty: &PrimitiveType) -> Result<KeyColumn, String> {
        let values = key_values(array, ty)?;
        let nulls = NullBuffer::union(array.logical_nulls().as_ref(), outer).filter(|nulls| nulls.null_count() > 0);
        Ok(KeyColumn { values, nulls })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        matches!(self.values, KeyValues::Nulls) || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The value's bytes, for columns that are bytes.
    pub(super) fn bytes(&self, row: usize) -> Option<&[u8]> {
        match &self.values {
            KeyValues::Bytes(array) => Some(array.value(row)),
            KeyValues::Fixed(array) => Some(array.value(row)),
            _ => None,
        }
    }

    /// Whether this row is known to hold the same value as the row before: what a dictionary repeats. `false` says nothing.
    pub(super) fn repeats(&self, row: usize) -> bool {
        let Some(before) = row.checked_sub(1) else { return false };
        match &self.values {
            KeyValues::Nulls => true,
            KeyValues::Bytes(array) => {
                let views = array.views();
                let same = views.get(row).is_some_and(|view| views.get(before) == Some(view));
                same && self.nulls.as_ref().is_none_or(|nulls| nulls.is_null(row) == nulls.is_null(before))
            }
            _ => false,
        }
    }

    /// Appends this row's part of a key of several columns: no two different values have the same form, and none is the prefix of another.
    pub(super) fn append(&self, row: usize, key: &mut Vec<u8>) {
        if self.is_null(row) {
            key.push(0);
            return;
        }
        key.push(1);
        match &self.values {
            KeyValues::Nulls => {}
            KeyValues::Boolean(array) => key.push(u8::from(array.value(row))),
            KeyValues::Integers(values) => key.extend_from_slice(&values[row].to_le_bytes()),
            KeyValues::Floats(values) => key.extend_from_slice(&values[row].to_le_bytes()),
            KeyValues::Decimals(values) => key.extend_from_slice(&values[row].to_le_bytes()),
            KeyValues::Bytes(array) => append_bytes(array.value(row), key),
            KeyValues::Fixed(array) => append_bytes(array.value(row), key),
        }
    }
}

fn append_bytes(bytes: &[u8], key: &mut Vec<u8>) {
    key.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    key.extend_from_slice(bytes);
}

fn key_values(array: &ArrayRef, ty: &PrimitiveType) -> Result<KeyValues, String> {
    let wrong = || format!("it is {}, which is no form of {ty}", array.data_type());
    if *array.data_type() == DataType::Null {
        return Ok(KeyValues::Nulls);
    }
    Ok(match ty {
        PrimitiveType::Unknown if array.logical_null_count() == array.len() => KeyValues::Nulls,
        PrimitiveType::Boolean => KeyValues::Boolean(array.as_boolean_opt().ok_or_else(wrong)?.clone()),
        PrimitiveType::Int | PrimitiveType::Long => KeyValues::Integers(integers(array).ok_or_else(wrong)?),
        PrimitiveType::Date => KeyValues::Integers(days(array).ok_or_else(wrong)?),
        PrimitiveType::Time => KeyValues::Integers(times(array).ok_or_else(wrong)?),
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => KeyValues::Integers(timestamps(array, 1).ok_or_else(wrong)??),
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => KeyValues::Integers(timestamps(array, 1000).ok_or_else(wrong)??),
        PrimitiveType::Float | PrimitiveType::Double => KeyValues::Floats(floats(array).ok_or_else(wrong)?),
        PrimitiveType::Decimal { scale, .. } => KeyValues::Decimals(decimals(array, *scale).ok_or_else(wrong)?),
        PrimitiveType::String | PrimitiveType::Binary | PrimitiveType::Uuid | PrimitiveType::Fixed(_) => bytes(array).ok_or_else(wrong)?,
        _ => return Err(wrong()),
    })
}

fn converted<T: ArrowPrimitiveType>(array: &ArrayRef, convert: impl Fn(T::Native) -> i64) -> Option<ScalarBuffer<i64>> {
    Some(array.as_primitive_opt::<T>()?.values().iter().map(|v| convert(*v)).collect())
}

fn same<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef) -> Option<ScalarBuffer<i64>> {
    Some(array.as_primitive_opt::<T>()?.values().clone())
}

fn integers(array: &ArrayRef) -> Option<ScalarBuffer<i64>> {
    match array.data_type() {
        DataType::Int64 => same::<Int64Type>(array),
        DataType::Int32 => converted::<Int32Type>(array, i64::from),
        DataType::Int16 => converted::<Int16Type>(array, i64::from),
        DataType::Int8 => converted::<Int8Type>(array, i64::from),
        _ => None,
    }
}

fn days(array: &ArrayRef) -> Option<ScalarBuffer<i64>> {
    match array.data_type() {
        DataType::Date32 => converted::<Date32Type>(array, i64::from),
        DataType::Int32 => converted::<Int32Type>(array, i64::from),
        _ => None,
    }
}

fn times(array: &ArrayRef) -> Option<ScalarBuffer<i64>> {
    match array.data_type() {
        DataType::Time64(TimeUnit::Microsecond) => same::<Time64MicrosecondType>(array),
        DataType::Time64(TimeUnit::Nanosecond) => converted::<Time64NanosecondType>(array, |v| v.div_euclid(1000)),
        DataType::Time32(TimeUnit::Millisecond) => converted::<Time32MillisecondType>(array, |v| i64::from(v) * 1000),
        DataType::Time32(TimeUnit::Second) => converted::<Time32SecondType>(array, |v| i64::from(v) * 1_000_000),
        _ => None,
    }
}

/// In units of which `per_micro` make a microsecond: 1 or 1000. The inner `Err` says that a value is out of range.
fn timestamps(array: &ArrayRef, per_micro: i64) -> Option<Result<ScalarBuffer<i64>, String>> {
    let scaled = |values: &mut dyn Iterator<Item = i64>, factor: i64| -> Result<ScalarBuffer<i64>, String> {
        let nulls = array.logical_nulls();
        let scale = |(row, value): (usize, i64)| match value.checked_mul(factor) {
            Some(value) => Ok(value),
            // What lies below a NULL is no value.
            None if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => Ok(0),
            None => Err("a value is out of the range of its type".to_owned()),
        };
        values.enumerate().map(scale).collect::<Result<Vec<i64>, String>>().map(ScalarBuffer::from)
    };
    Some(match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) if per_micro == 1 => Ok(same::<TimestampMicrosecondType>(array)?),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            scaled(&mut array.as_primitive_opt::<TimestampMicrosecondType>()?.values().iter().copied(), per_micro)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) if per_micro == 1000 => Ok(same::<TimestampNanosecondType>(array)?),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Ok(converted::<TimestampNanosecondType>(array, |v| v.div_euclid(1000))?),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            scaled(&mut array.as_primitive_opt::<TimestampMillisecondType>()?.values().iter().copied(), 1000 * per_micro)
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            scaled(&mut array.as_primitive_opt::<TimestampSecondType>()?.values().iter().copied(), 1_000_000 * per_micro)
        }
        DataType::Date32 => {
            scaled(&mut array.as_primitive_opt::<Date32Type>()?.values().iter().map(|v| i64::from(*v)), MICROS_PER_DAY * per_micro)
        }
        DataType::Date64 => scaled(&mut array.as_primitive_opt::<Date64Type>()?.values().iter().copied(), 1000 * per_micro),
        _ => return None,
    })
}

fn floats(array: &ArrayRef) -> Option<ScalarBuffer<u64>> {
    let bits = |v: f64| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() };
    match array.data_type() {
        DataType::Float32 => Some(array.as_primitive_opt::<Float32Type>()?.values().iter().map(|v| bits(f64::from(*v))).collect()),
        DataType::Float64 => Some(array.as_primitive_opt::<Float64Type>()?.values().iter().map(|v| bits(*v)).collect()),
        _ => None,
    }
}

fn decimals(array: &ArrayRef, scale: u8) -> Option<ScalarBuffer<i128>> {
    match array.data_type() {
        DataType::Decimal128(_, s) if u8::try_from(*s) == Ok(scale) => Some(array.as_primitive_opt::<Decimal128Type>()?.values().clone()),
        DataType::Decimal32(_, s) | DataType::Decimal64(_, s) | DataType::Decimal256(_, s) if u8::try_from(*s) == Ok(scale) => {
            let wide = cast(array, &DataType::Decimal128(38, *s)).ok()?;
            (wide.null_count() == array.null_count()).then(|| Some(wide.as_primitive_opt::<Decimal128Type>()?.values().clone()))?
        }
        _ => None,
    }
}

fn bytes(array: &ArrayRef) -> Option<KeyValues> {
    let view = |array: &ArrayRef| match array.data_type() {
        DataType::Utf8View => Some(array.as_string_view().clone().to_binary_view()),
        DataType::BinaryView => Some(array.as_binary_view().clone()),
        _ => None,
    };
    match array.data_type() {
        DataType::FixedSizeBinary(_) => Some(KeyValues::Fixed(array.as_fixed_size_binary_opt()?.clone())),
        DataType::Utf8View | DataType::BinaryView => Some(KeyValues::Bytes(view(array)?)),
        DataType::Utf8 | DataType::LargeUtf8 => Some(KeyValues::Bytes(view(&cast(array, &DataType::Utf8View).ok()?)?)),
        DataType::Binary | DataType::LargeBinary => Some(KeyValues::Bytes(view(&cast(array, &DataType::BinaryView).ok()?)?)),
        DataType::Dictionary(_, values) => {
            let target = match values.as_ref() {
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::BinaryView,
                _ => DataType::Utf8View,
            };
            Some(KeyValues::Bytes(view(&cast(array, &target).ok()?)?))
        }
        _ => None,
    }
}
