//! One value for every row: defaults, identity partition values, metadata columns.
//!
//! Contract: the array has exactly the Arrow type of the field. A value that is no value of the field's type is `corrupt`; an array
//! larger than 2 GiB is refused before it is allocated.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Int32Array, ListArray, MapArray,
    NullArray, PrimitiveArray, StringArray, StringViewArray, StructArray, UInt32Array, make_view, new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use fastdata_types::arrow_type;
use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::request::StringEncoding;
use fastdata_types::schema::{Field as IcebergField, PrimitiveType, Type};
use fastdata_types::value::Value;
use std::sync::Arc;

/// Bytes of one array that are accepted.
const MAX_BYTES: u64 = i32::MAX as u64;

/// `rows` times `value`, NULL where it is `None`.
pub(crate) fn constant_array(value: Option<&Value>, field: &IcebergField, strings: StringEncoding, rows: usize) -> Result<ArrayRef> {
    let bytes = row_bytes(value, &field.ty, strings).saturating_mul(rows as u64);
    if bytes > MAX_BYTES {
        return Err(Error::limit(Stage::Read, format!("column '{}': a constant of {rows} rows takes {bytes} bytes", field.name))
            .advice("ask for smaller batches, or for strings as views"));
    }
    let data_type = arrow_type::arrow_data_type(&field.ty, strings).map_err(|e| e.context(format!("column '{}'", field.name)))?;
    match value {
        None if field.required && rows > 0 => {
            Err(Error::corrupt(Stage::Read, format!("column '{}' is required and its value is NULL", field.name)))
        }
        None => Ok(new_null_array(&data_type, rows)),
        Some(_) if field.ty == Type::Primitive(PrimitiveType::Unknown) => Ok(Arc::new(NullArray::new(rows))),
        Some(value) => repeat(value, field, &data_type, strings, rows),
    }
}

/// Bytes that each row of such a constant takes.
pub(super) fn row_bytes(value: Option<&Value>, ty: &Type, strings: StringEncoding) -> u64 {
    let width = match ty {
        Type::Primitive(primitive) => match primitive {
            PrimitiveType::Boolean => 1,
            PrimitiveType::Int | PrimitiveType::Float | PrimitiveType::Date => 4,
            PrimitiveType::Decimal { .. } | PrimitiveType::Uuid => 16,
            PrimitiveType::Fixed(length) => u64::from(*length),
            PrimitiveType::Unknown => 0,
            PrimitiveType::String => match (strings, value) {
                (StringEncoding::Utf8, Some(Value::String(text))) => 4 + text.len() as u64,
                (StringEncoding::Utf8View, _) => 16,
                _ => 4,
            },
            PrimitiveType::Binary => match value {
                Some(Value::Binary(bytes)) => 4 + bytes.len() as u64,
                _ => 4,
            },
            _ => 8,
        },
        Type::Struct(s) => {
            let members = match value {
                Some(Value::Struct(members)) => members.as_slice(),
                _ => &[],
            };
            let member = |at: usize| members.get(at).and_then(Option::as_ref);
            s.fields.iter().enumerate().fold(0u64, |sum, (at, field)| sum.saturating_add(row_bytes(member(at), &field.ty, strings)))
        }
        Type::List(list) => match value {
            Some(Value::List(items)) => {
                items.iter().fold(4u64, |sum, item| sum.saturating_add(row_bytes(item.as_ref(), &list.element.ty, strings)))
            }
            _ => 4,
        },
        Type::Map(map) => match value {
            Some(Value::Map(entries)) => entries.iter().fold(4u64, |sum, (key, value)| {
                sum.saturating_add(row_bytes(Some(key), &map.key.ty, strings)).saturating_add(row_bytes(
                    value.as_ref(),
                    &map.value.ty,
                    strings,
                ))
            }),
            _ => 4,
        },
    };
    // A validity bit, rounded up.
    width.saturating_add(1)
}

fn repeat(value: &Value, field: &IcebergField, data_type: &DataType, strings: StringEncoding, rows: usize) -> Result<ArrayRef> {
    let mismatch = || Error::corrupt(Stage::Read, format!("column '{}': its constant is no {}", field.name, field.ty));
    match (&field.ty, value) {
        (Type::Primitive(primitive), _) => repeat_primitive(value, primitive, data_type, strings, rows).ok_or_else(mismatch),
        (Type::Struct(s), Value::Struct(members)) if s.fields.len() == members.len() => {
            let DataType::Struct(fields) = data_type else { return Err(mismatch()) };
            if fields.is_empty() {
                return Ok(Arc::new(StructArray::new_empty_fields(rows, None)));
            }
            let children = s.fields.iter().zip(members).map(|(field, member)| constant_array(member.as_ref(), field, strings, rows));
            Ok(Arc::new(StructArray::try_new(fields.clone(), children.collect::<Result<_>>()?, None).map_err(|e| mismatch().source(e))?))
        }
        (Type::List(list), Value::List(items)) => {
            let DataType::List(element) = data_type else { return Err(mismatch()) };
            let items = one_of_each(items.iter().map(Option::as_ref), &list.element, strings)?;
            let (values, offsets) = tile(&items, rows)?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, values, None).map_err(|e| mismatch().source(e))?))
        }
        (Type::Map(map), Value::Map(entries)) => {
            let DataType::Map(entry, _) = data_type else { return Err(mismatch()) };
            let DataType::Struct(fields) = entry.data_type() else { return Err(mismatch()) };
            let keys = one_of_each(entries.iter().map(|(key, _)| Some(key)), &map.key, strings)?;
            let values = one_of_each(entries.iter().map(|(_, value)| value.as_ref()), &map.value, strings)?;
            let (keys, offsets) = tile(&keys, rows)?;
            let (values, _) = tile(&values, rows)?;
            let entries = StructArray::try_new(fields.clone(), vec![keys, values], None).map_err(|e| mismatch().source(e))?;
            Ok(Arc::new(MapArray::try_new(Arc::clone(entry), offsets, entries, None, false).map_err(|e| mismatch().source(e))?))
        }
        _ => Err(mismatch()),
    }
}

/// The items of a list one after the other.
fn one_of_each<'a>(items: impl Iterator<Item = Option<&'a Value>>, field: &IcebergField, strings: StringEncoding) -> Result<ArrayRef> {
    let arrays = items.map(|item| constant_array(item, field, strings, 1)).collect::<Result<Vec<_>>>()?;
    if arrays.is_empty() {
        return Ok(arrow::array::new_empty_array(&arrow_type::arrow_data_type(&field.ty, strings)?));
    }
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    arrow::compute::concat(&arrays).map_err(|e| Error::internal(Stage::Read, "a list default could not be built").source(e))
}

/// `items` repeated for each of `rows` lists.
fn tile(items: &ArrayRef, rows: usize) -> Result<(ArrayRef, OffsetBuffer<i32>)> {
    let too_long = || Error::limit(Stage::Read, "a list default repeated for each row exceeds 2^31 items");
    let length = items.len();
    let total = length.checked_mul(rows).filter(|total| *total <= i32::MAX as usize).ok_or_else(too_long)?;
    let indices: UInt32Array = (0..rows).flat_map(|_| 0..length as u32).collect::<Vec<_>>().into();
    debug_assert_eq!(indices.len(), total);
    let values = arrow::compute::take(items, &indices, None)
        .map_err(|e| Error::internal(Stage::Read, "a list default could not be repeated").source(e))?;
    Ok((values, OffsetBuffer::from_repeated_length(length, rows)))
}

fn ticks<T: ArrowPrimitiveType>(value: T::Native, data_type: &DataType, rows: usize) -> Option<ArrayRef> {
    let array = PrimitiveArray::<T>::from_value(value, rows);
    Some(Arc::new(array.with_data_type(data_type.clone())))
}

/// `None` where the value is of another type. Values that were written before a promotion are promoted.
fn repeat_primitive(value: &Value, ty: &PrimitiveType, data_type: &DataType, strings: StringEncoding, rows: usize) -> Option<ArrayRef> {
    let days = |days: i32, per_day: i64| i64::from(days).checked_mul(per_day);
    match (ty, value) {
        (PrimitiveType::Boolean, Value::Boolean(v)) => {
            let values = if *v { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) };
            Some(Arc::new(BooleanArray::new(values, None)))
        }
        (PrimitiveType::Int, Value::Int(v)) => ticks::<Int32Type>(*v, data_type, rows),
        (PrimitiveType::Long, Value::Long(v)) => ticks::<Int64Type>(*v, data_type, rows),
        (PrimitiveType::Long, Value::Int(v)) => ticks::<Int64Type>(i64::from(*v), data_type, rows),
        (PrimitiveType::Float, Value::Float(v)) => ticks::<Float32Type>(*v, data_type, rows),
        (PrimitiveType::Double, Value::Double(v)) => ticks::<Float64Type>(*v, data_type, rows),
        (PrimitiveType::Double, Value::Float(v)) => ticks::<Float64Type>(f64::from(*v), data_type, rows),
        (PrimitiveType::Decimal { precision, scale }, Value::Decimal { unscaled, precision: p, scale: s })
            if p <= precision && s == scale =>
        {
            ticks::<Decimal128Type>(*unscaled, data_type, rows)
        }
        (PrimitiveType::Date, Value::Date(v)) => ticks::<Date32Type>(*v, data_type, rows),
        (PrimitiveType::Time, Value::Time(v)) => ticks::<Time64MicrosecondType>(*v, data_type, rows),
        (PrimitiveType::Timestamp, Value::Timestamp(v)) | (PrimitiveType::Timestamptz, Value::Timestamptz(v)) => {
            ticks::<TimestampMicrosecondType>(*v, data_type, rows)
        }
        (PrimitiveType::Timestamp, Value::Date(v)) => ticks::<TimestampMicrosecondType>(days(*v, 86_400_000_000)?, data_type, rows),
        (PrimitiveType::TimestampNs, Value::TimestampNs(v)) | (PrimitiveType::TimestamptzNs, Value::TimestamptzNs(v)) => {
            ticks::<TimestampNanosecondType>(*v, data_type, rows)
        }
        (PrimitiveType::TimestampNs, Value::Date(v)) => ticks::<TimestampNanosecondType>(days(*v, 86_400_000_000_000)?, data_type, rows),
        (PrimitiveType::String, Value::String(text)) => repeat_text(text, strings, rows),
        (PrimitiveType::Uuid, Value::Uuid(bytes)) => repeat_fixed(bytes, rows),
        (PrimitiveType::Fixed(length), Value::Fixed(bytes)) if bytes.len() == *length as usize => repeat_fixed(bytes, rows),
        (PrimitiveType::Binary, Value::Binary(bytes)) => {
            let offsets = OffsetBuffer::from_repeated_length(bytes.len(), rows);
            Some(Arc::new(BinaryArray::try_new(offsets, Buffer::from_vec(bytes.repeat(rows)), None).ok()?))
        }
        _ => None,
    }
}

fn repeat_fixed(bytes: &[u8], rows: usize) -> Option<ArrayRef> {
    let width = i32::try_from(bytes.len()).ok()?;
    Some(Arc::new(FixedSizeBinaryArray::try_new_with_len(width, Buffer::from_vec(bytes.repeat(rows)), None, rows).ok()?))
}

fn repeat_text(text: &str, strings: StringEncoding, rows: usize) -> Option<ArrayRef> {
    let length = u32::try_from(text.len()).ok()?;
    Some(match strings {
        StringEncoding::Utf8 => {
            let offsets = OffsetBuffer::from_repeated_length(text.len(), rows);
            Arc::new(StringArray::try_new(offsets, Buffer::from_vec(text.repeat(rows).into_bytes()), None).ok()?)
        }
        StringEncoding::Utf8View => {
            let view = make_view(text.as_bytes(), 0, 0);
            let buffers = if length > 12 { vec![Buffer::from_vec(text.as_bytes().to_vec())] } else { vec![] };
            Arc::new(StringViewArray::try_new(ScalarBuffer::from(vec![view; rows]), buffers, None).ok()?)
        }
        StringEncoding::Dictionary => {
            let keys = Int32Array::from_value(0, rows);
            Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(StringArray::from_iter_values([text]))).ok()?)
        }
    })
}

/// The same array with NULL wherever a parent is: a constant below a null struct must not be taken for a value.
pub(super) fn masked(array: ArrayRef, parent: &NullBuffer) -> Result<ArrayRef> {
    if array.data_type() == &DataType::Null || parent.null_count() == 0 {
        return Ok(array);
    }
    let failed = |e| Error::internal(Stage::Read, "a constant could not be masked").source(e);
    if let Some(s) = arrow::array::AsArray::as_struct_opt(array.as_ref())
        && s.num_columns() > 0
    {
        let nulls = NullBuffer::union(s.nulls(), Some(parent));
        let children = s.columns().iter().map(|child| masked(Arc::clone(child), parent)).collect::<Result<Vec<_>>>()?;
        return Ok(Arc::new(StructArray::try_new(s.fields().clone(), children, nulls).map_err(failed)?));
    }
    let nulls = NullBuffer::union(array.nulls(), Some(parent));
    Ok(arrow::array::make_array(array.to_data().into_builder().nulls(nulls).build().map_err(failed)?))
}
