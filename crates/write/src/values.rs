//! Single values in and out of Arrow arrays, of every type that can be stored.
//!
//! Contract: [`array()`] and [`value_at`] are inverse to one another, nulls at every level included. Both are for partition values, small
//! delete files and tests; neither is fast.

use crate::misuse;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, MapArray, NullArray, PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;
use fastdata_types::arrow_type::{arrow_data_type, arrow_schema};
use fastdata_types::request::StringEncoding;
use fastdata_types::{Field as IcebergField, PrimitiveType, Result, Schema as IcebergSchema, Type, Value};
use std::sync::Arc;

/// The value in a row of an array of the Arrow type that belongs to `ty`; `None` is null.
pub fn value_at(array: &dyn Array, ty: &Type, row: usize) -> Result<Option<Value>> {
    if row >= array.len() {
        return Err(misuse(format!("row {row} of an array of {}", array.len())));
    }
    if array.is_null(row) || matches!(ty, Type::Primitive(PrimitiveType::Unknown)) {
        return Ok(None);
    }
    Ok(Some(match ty {
        Type::Primitive(primitive) => primitive_at(array, primitive, row)
            .ok_or_else(|| misuse(format!("an array of {} where values of type {primitive} belong", array.data_type())))?,
        Type::Struct(s) => {
            let columns = array.as_struct_opt().filter(|a| a.num_columns() == s.fields.len());
            let columns = columns.ok_or_else(|| misuse(format!("an array of {} where {ty} belongs", array.data_type())))?;
            let members = s.fields.iter().zip(columns.columns());
            Value::Struct(members.map(|(field, column)| value_at(column, &field.ty, row)).collect::<Result<_>>()?)
        }
        Type::List(l) => {
            let list = array.as_list_opt::<i32>().ok_or_else(|| misuse(format!("an array of {} where {ty} belongs", array.data_type())))?;
            let items = list.value(row);
            Value::List((0..items.len()).map(|i| value_at(&items, &l.element.ty, i)).collect::<Result<_>>()?)
        }
        Type::Map(m) => {
            let map = array.as_map_opt().ok_or_else(|| misuse(format!("an array of {} where {ty} belongs", array.data_type())))?;
            let entries = map.value(row);
            let entry = |i: usize| {
                let key = value_at(entries.column(0), &m.key.ty, i)?.ok_or_else(|| misuse("a map with a null key"))?;
                Ok((key, value_at(entries.column(1), &m.value.ty, i)?))
            };
            Value::Map((0..entries.len()).map(entry).collect::<Result<_>>()?)
        }
    }))
}

fn primitive_at(array: &dyn Array, ty: &PrimitiveType, row: usize) -> Option<Value> {
    fn number<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> Option<T::Native> {
        Some(array.as_primitive_opt::<T>()?.value(row))
    }
    let micros = || number::<TimestampMicrosecondType>(array, row);
    let nanos = || number::<TimestampNanosecondType>(array, row);
    let fixed = || Some(array.as_fixed_size_binary_opt()?.value(row));
    Some(match ty {
        PrimitiveType::Boolean => Value::Boolean(array.as_boolean_opt()?.value(row)),
        PrimitiveType::Int => Value::Int(number::<Int32Type>(array, row)?),
        PrimitiveType::Long => Value::Long(number::<Int64Type>(array, row)?),
        PrimitiveType::Float => Value::Float(number::<Float32Type>(array, row)?),
        PrimitiveType::Double => Value::Double(number::<Float64Type>(array, row)?),
        PrimitiveType::Decimal { precision, scale } => {
            Value::Decimal { unscaled: number::<Decimal128Type>(array, row)?, precision: *precision, scale: *scale }
        }
        PrimitiveType::Date => Value::Date(number::<Date32Type>(array, row)?),
        PrimitiveType::Time => Value::Time(number::<Time64MicrosecondType>(array, row)?),
        PrimitiveType::Timestamp => Value::Timestamp(micros()?),
        PrimitiveType::Timestamptz => Value::Timestamptz(micros()?),
        PrimitiveType::TimestampNs => Value::TimestampNs(nanos()?),
        PrimitiveType::TimestamptzNs => Value::TimestamptzNs(nanos()?),
        PrimitiveType::String => Value::String(match array.data_type() {
            DataType::Utf8View => array.as_string_view().value(row).to_owned(),
            DataType::Dictionary(..) => {
                let dictionary = array.as_dictionary_opt::<Int32Type>()?;
                let key = usize::try_from(dictionary.keys().value(row)).ok()?;
                dictionary.values().as_string_opt::<i32>()?.value(key).to_owned()
            }
            _ => array.as_string_opt::<i32>()?.value(row).to_owned(),
        }),
        PrimitiveType::Uuid => Value::Uuid(fixed()?.try_into().ok()?),
        PrimitiveType::Fixed(_) => Value::Fixed(fixed()?.to_vec()),
        PrimitiveType::Binary => Value::Binary(array.as_binary_opt::<i32>()?.value(row).to_vec()),
        PrimitiveType::Unknown | PrimitiveType::Variant | PrimitiveType::Geometry(_) | PrimitiveType::Geography(_) => return None,
    })
}

/// All rows of a batch whose columns are the schema's, in its order.
pub fn rows(batch: &RecordBatch, schema: &IcebergSchema) -> Result<Vec<Vec<Option<Value>>>> {
    let row = |i: usize| schema.fields.iter().zip(batch.columns()).map(|(f, c)| value_at(c, &f.ty, i)).collect();
    (0..batch.num_rows()).map(row).collect()
}

/// A batch of the schema's own Arrow types. Each row has one value per top-level column.
pub fn batch(schema: &IcebergSchema, rows: &[Vec<Option<Value>>]) -> Result<RecordBatch> {
    if let Some(odd) = rows.iter().find(|row| row.len() != schema.fields.len()) {
        return Err(misuse(format!("a row of {} values for {} columns", odd.len(), schema.fields.len())));
    }
    let column = |at: usize, field: &IcebergField| {
        let values: Vec<Option<&Value>> = rows.iter().map(|row| row[at].as_ref()).collect();
        array(&field.ty, &values).map_err(|e| e.context(format!("column '{}'", field.name)))
    };
    let columns = schema.fields.iter().enumerate().map(|(at, field)| column(at, field)).collect::<Result<Vec<_>>>()?;
    let arrow = Arc::new(arrow_schema(schema, StringEncoding::Utf8)?);
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(arrow, columns, &options).map_err(|e| misuse(format!("rows do not fit the schema: {e}")))
}

/// An array of the Arrow type of `ty`.
pub fn array(ty: &Type, values: &[Option<&Value>]) -> Result<ArrayRef> {
    match ty {
        Type::Primitive(primitive) => primitive_array(primitive, values),
        Type::Struct(s) => {
            let mut columns = Vec::with_capacity(s.fields.len());
            for (at, field) in s.fields.iter().enumerate() {
                let member = |value: &Option<&'_ Value>| match value {
                    Some(Value::Struct(members)) if members.len() == s.fields.len() => Ok(members[at].clone()),
                    None => Ok(None),
                    Some(other) => Err(wrong(ty, other)),
                };
                let members = values.iter().map(member).collect::<Result<Vec<Option<Value>>>>()?;
                columns.push(array(&field.ty, &members.iter().map(Option::as_ref).collect::<Vec<_>>())?);
            }
            let DataType::Struct(fields) = arrow_data_type(ty, StringEncoding::Utf8)? else { return Err(misuse("a struct type")) };
            let built = match columns.is_empty() {
                true => Ok(StructArray::new_empty_fields(values.len(), nulls(values))),
                false => StructArray::try_new(fields, columns, nulls(values)),
            };
            built.map(|a| Arc::new(a) as ArrayRef).map_err(|e| misuse(format!("{ty}: {e}")))
        }
        Type::List(l) => {
            let mut items = Vec::new();
            let mut lengths = Vec::with_capacity(values.len());
            for value in values {
                match value {
                    Some(Value::List(list)) => {
                        lengths.push(list.len());
                        items.extend(list.iter().map(Option::as_ref));
                    }
                    None => lengths.push(0),
                    Some(other) => return Err(wrong(ty, other)),
                }
            }
            let DataType::List(element) = arrow_data_type(ty, StringEncoding::Utf8)? else { return Err(misuse("a list type")) };
            let built = ListArray::try_new(element, OffsetBuffer::from_lengths(lengths), array(&l.element.ty, &items)?, nulls(values));
            built.map(|a| Arc::new(a) as ArrayRef).map_err(|e| misuse(format!("{ty}: {e}")))
        }
        Type::Map(m) => {
            let (mut keys, mut items, mut lengths) = (Vec::new(), Vec::new(), Vec::with_capacity(values.len()));
            for value in values {
                match value {
                    Some(Value::Map(entries)) => {
                        lengths.push(entries.len());
                        keys.extend(entries.iter().map(|(key, _)| Some(key)));
                        items.extend(entries.iter().map(|(_, value)| value.as_ref()));
                    }
                    None => lengths.push(0),
                    Some(other) => return Err(wrong(ty, other)),
                }
            }
            let DataType::Map(entries, _) = arrow_data_type(ty, StringEncoding::Utf8)? else { return Err(misuse("a map type")) };
            let DataType::Struct(fields) = entries.data_type() else { return Err(misuse("a map type")) };
            let columns = vec![array(&m.key.ty, &keys)?, array(&m.value.ty, &items)?];
            let built = StructArray::try_new(fields.clone(), columns, None)
                .and_then(|pairs| MapArray::try_new(entries.clone(), OffsetBuffer::from_lengths(lengths), pairs, nulls(values), false));
            built.map(|a| Arc::new(a) as ArrayRef).map_err(|e| misuse(format!("{ty}: {e}")))
        }
    }
}

fn nulls(values: &[Option<&Value>]) -> Option<NullBuffer> {
    values.iter().any(Option::is_none).then(|| values.iter().map(Option::is_some).collect::<Vec<bool>>().into())
}

fn wrong(ty: &Type, value: &Value) -> fastdata_types::Error {
    let given = value.primitive_type().map_or("nested".to_owned(), |t| t.to_string());
    misuse(format!("a value of type {given} where {ty} belongs"))
}

fn primitive_array(ty: &PrimitiveType, values: &[Option<&Value>]) -> Result<ArrayRef> {
    macro_rules! pick {
        ($variant:ident) => {{
            let mut out = Vec::with_capacity(values.len());
            for value in values {
                out.push(match value {
                    Some(Value::$variant(v)) => Some(v.clone()),
                    None => None,
                    Some(other) => return Err(wrong(&Type::Primitive(ty.clone()), other)),
                });
            }
            out
        }};
    }
    fn numbers<T: ArrowPrimitiveType>(values: Vec<Option<T::Native>>, data_type: DataType) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::from_iter(values).with_data_type(data_type))
    }
    let data_type = arrow_data_type(&Type::Primitive(ty.clone()), StringEncoding::Utf8)?;
    let fixed = |values: Vec<Option<Vec<u8>>>, length: i32| {
        FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), length)
            .map(|a| Arc::new(a) as ArrayRef)
            .map_err(|e| misuse(format!("{ty}: {e}")))
    };
    Ok(match ty {
        PrimitiveType::Boolean => Arc::new(BooleanArray::from(pick!(Boolean))),
        PrimitiveType::Int => Arc::new(Int32Array::from(pick!(Int))),
        PrimitiveType::Long => Arc::new(Int64Array::from(pick!(Long))),
        PrimitiveType::Float => Arc::new(Float32Array::from(pick!(Float))),
        PrimitiveType::Double => Arc::new(Float64Array::from(pick!(Double))),
        PrimitiveType::Decimal { precision, scale } => {
            let mut out = Vec::with_capacity(values.len());
            for value in values {
                out.push(match value {
                    Some(Value::Decimal { unscaled, scale: s, .. }) if s == scale => Some(*unscaled),
                    None => None,
                    Some(other) => return Err(wrong(&Type::Primitive(ty.clone()), other)),
                });
            }
            let built = Decimal128Array::from(out).with_precision_and_scale(*precision, *scale as i8);
            Arc::new(built.map_err(|e| misuse(format!("{ty}: {e}")))?)
        }
        PrimitiveType::Date => numbers::<Date32Type>(pick!(Date), data_type),
        PrimitiveType::Time => numbers::<Time64MicrosecondType>(pick!(Time), data_type),
        PrimitiveType::Timestamp => numbers::<TimestampMicrosecondType>(pick!(Timestamp), data_type),
        PrimitiveType::Timestamptz => numbers::<TimestampMicrosecondType>(pick!(Timestamptz), data_type),
        PrimitiveType::TimestampNs => numbers::<TimestampNanosecondType>(pick!(TimestampNs), data_type),
        PrimitiveType::TimestamptzNs => numbers::<TimestampNanosecondType>(pick!(TimestamptzNs), data_type),
        PrimitiveType::String => Arc::new(StringArray::from(pick!(String))),
        PrimitiveType::Uuid => fixed(pick!(Uuid).into_iter().map(|v| v.map(|b| b.to_vec())).collect(), 16)?,
        PrimitiveType::Fixed(length) => fixed(pick!(Fixed), i32::try_from(*length).map_err(|_| misuse(format!("{ty} is too long")))?)?,
        PrimitiveType::Binary => {
            let owned = pick!(Binary);
            Arc::new(owned.iter().map(|v| v.as_deref()).collect::<BinaryArray>())
        }
        PrimitiveType::Unknown => match values.iter().flatten().next() {
            Some(other) => return Err(wrong(&Type::Primitive(ty.clone()), other)),
            None => Arc::new(NullArray::new(values.len())),
        },
        PrimitiveType::Variant | PrimitiveType::Geometry(_) | PrimitiveType::Geography(_) => {
            return Err(misuse(format!("type {ty} is not written")));
        }
    })
}
