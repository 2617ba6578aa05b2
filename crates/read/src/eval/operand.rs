//! What evaluation hands around: an array with a value for each row, or one value that stands for all rows.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Datum, Scalar, new_null_array};
use arrow::array::{
    BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array, NullArray,
    StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::error::ArrowError;
use fastdata_types::arrow_type::primitive_arrow_type;
use fastdata_types::request::StringEncoding;
use fastdata_types::{Error, PrimitiveType, Result, Stage, Value};
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub array: ArrayRef,
    /// The array has one entry, which is the value of every row.
    pub scalar: bool,
}

impl Datum for Operand {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array.as_ref(), self.scalar)
    }
}

impl Operand {
    pub fn rows(array: ArrayRef) -> Operand {
        Operand { array, scalar: false }
    }

    /// The same kind of operand, computed from this one entry by entry.
    pub fn with(&self, array: ArrayRef) -> Operand {
        Operand { array, scalar: self.scalar }
    }

    pub fn is_null_constant(&self) -> bool {
        self.scalar && self.array.logical_null_count() == 1
    }

    /// An array of `rows` entries.
    pub fn expanded(&self, rows: usize) -> Result<ArrayRef> {
        if !self.scalar {
            return Ok(self.array.clone());
        }
        if self.is_null_constant() {
            return Ok(new_null_array(self.array.data_type(), rows));
        }
        take(self.array.as_ref(), &UInt32Array::from_value(0, rows), None).map_err(fault)
    }
}

/// An array of one entry in the Arrow type of `ty`.
pub(super) fn constant(value: Option<&Value>, ty: &PrimitiveType) -> Result<ArrayRef> {
    let data_type = primitive_arrow_type(ty, StringEncoding::Utf8)?;
    let Some(value) = value else { return Ok(new_null_array(&data_type, 1)) };
    let wrong = || internal(format!("a constant of the type {ty} has another type"));
    let array: ArrayRef = match value {
        Value::Boolean(v) => Arc::new(BooleanArray::from(vec![*v])),
        Value::Int(v) => Arc::new(Int32Array::from(vec![*v])),
        Value::Long(v) => Arc::new(Int64Array::from(vec![*v])),
        Value::Float(v) => Arc::new(Float32Array::from(vec![*v])),
        Value::Double(v) => Arc::new(Float64Array::from(vec![*v])),
        Value::Decimal { unscaled, precision, scale } => {
            let array = Decimal128Array::from(vec![*unscaled]);
            Arc::new(array.with_precision_and_scale(*precision, *scale as i8).map_err(fault)?)
        }
        Value::Date(v) => Arc::new(Date32Array::from(vec![*v])),
        Value::Time(v) => Arc::new(Time64MicrosecondArray::from(vec![*v])),
        Value::Timestamp(v) => Arc::new(TimestampMicrosecondArray::from(vec![*v])),
        Value::Timestamptz(v) => Arc::new(TimestampMicrosecondArray::from(vec![*v]).with_timezone("UTC")),
        Value::TimestampNs(v) => Arc::new(TimestampNanosecondArray::from(vec![*v])),
        Value::TimestamptzNs(v) => Arc::new(TimestampNanosecondArray::from(vec![*v]).with_timezone("UTC")),
        Value::String(v) => Arc::new(StringArray::from(vec![v.as_str()])),
        Value::Uuid(v) => Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(v)).map_err(fault)?),
        Value::Fixed(v) => Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(v)).map_err(fault)?),
        Value::Binary(v) => Arc::new(BinaryArray::from(vec![v.as_slice()])),
        Value::Struct(_) | Value::List(_) | Value::Map(_) => return Err(wrong()),
    };
    if array.data_type() == &data_type { Ok(array) } else { Err(wrong()) }
}

/// Applies `compute` to the entries of a dictionary and spreads the results over its rows; to other arrays as they are. A
/// dictionary larger than its rows is spread first.
pub(super) fn by_entry(array: &ArrayRef, compute: &dyn Fn(&ArrayRef) -> Result<BooleanArray>) -> Result<BooleanArray> {
    match array.as_any_dictionary_opt() {
        Some(dictionary) if dictionary.values().len() <= array.len() => {
            let entries = compute(dictionary.values())?;
            let rows = take(&entries, dictionary.keys(), None).map_err(fault)?;
            boolean(rows.as_ref()).cloned()
        }
        Some(_) => compute(&spread(array)?),
        None => compute(array),
    }
}

/// A dictionary as a plain array of its rows.
pub(super) fn spread(array: &ArrayRef) -> Result<ArrayRef> {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => take(dictionary.values().as_ref(), dictionary.keys(), None).map_err(fault),
        None => Ok(array.clone()),
    }
}

pub(super) fn boolean(array: &dyn Array) -> Result<&BooleanArray> {
    array.as_boolean_opt().ok_or_else(|| internal(format!("a condition has the type {}", array.data_type())))
}

pub(super) fn nulls(rows: usize) -> ArrayRef {
    Arc::new(NullArray::new(rows))
}

/// A constant as Arrow's kernels take it.
pub(super) fn scalar(array: ArrayRef) -> Scalar<ArrayRef> {
    Scalar::new(array)
}

pub(super) fn internal(message: impl std::fmt::Display) -> Error {
    Error::internal(Stage::Read, format!("filter: {message}")).advice("report this with the filter and the table's schema")
}

/// Arrow's messages may quote values: they stay out of ours.
pub(super) fn fault(error: ArrowError) -> Error {
    let kind = error.to_string();
    let kind = kind.split(':').next().unwrap_or_default();
    internal(format!("evaluation failed: {kind}"))
}
