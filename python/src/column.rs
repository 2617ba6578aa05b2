//! Arrow arrays taken apart into buffers for NumPy and torch.
//!
//! Contract: a [`Buffer`] is memory with NumPy's array interface, kept alive by whoever holds it. Nothing is copied but what Arrow packs in bits
//! (booleans, validity), offsets, and, where writable memory is asked for, what something else holds as well.

use crate::batch::type_text;
use crate::capsule::with_nulls;
use crate::objects;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, GenericListArray, OffsetSizeTrait, UInt32Array};
use arrow::buffer::{BooleanBuffer, Buffer as Bytes, NullBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, TimeUnit};
use arrow::error::ArrowError;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;

/// Integers up to this one are float64s exactly.
const EXACT: u128 = 1 << 53;

fn wrong(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

#[pyclass(frozen, module = "fastdata._native")]
pub struct Buffer {
    bytes: Bytes,
    /// As NumPy writes it, e.g. `<i8`.
    kind: &'static str,
    length: usize,
    writable: bool,
}

#[pymethods]
impl Buffer {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("typestr", self.kind)?;
        interface.set_item("shape", (self.length,))?;
        interface.set_item("data", (self.bytes.as_ptr() as usize, !self.writable))?;
        Ok(interface)
    }

    fn __len__(&self) -> usize {
        self.length
    }
}

impl Buffer {
    fn owned<T: arrow::datatypes::ArrowNativeType>(values: Vec<T>, kind: &'static str) -> Buffer {
        let length = values.len();
        Buffer { bytes: Bytes::from_vec(values), kind, length, writable: true }
    }
}

/// One byte a bit.
fn unpacked(bits: &BooleanBuffer) -> Buffer {
    Buffer::owned(bits.iter().map(u8::from).collect(), "|b1")
}

/// NumPy's name of a type whose values lie side by side, and the width of one in bytes.
fn fixed(ty: &DataType) -> Option<(&'static str, usize)> {
    Some(match ty {
        DataType::Int8 => ("|i1", 1),
        DataType::Int16 => ("<i2", 2),
        DataType::Int32 => ("<i4", 4),
        DataType::Int64 => ("<i8", 8),
        DataType::UInt8 => ("|u1", 1),
        DataType::UInt16 => ("<u2", 2),
        DataType::UInt32 => ("<u4", 4),
        DataType::UInt64 => ("<u8", 8),
        DataType::Float16 => ("<f2", 2),
        DataType::Float32 => ("<f4", 4),
        DataType::Float64 => ("<f8", 8),
        // Days; NumPy's own days have 64 bits.
        DataType::Date32 => ("<i4", 4),
        DataType::Timestamp(TimeUnit::Microsecond, _) => ("<M8[us]", 8),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => ("<M8[ns]", 8),
        DataType::Time64(TimeUnit::Microsecond) => ("<m8[us]", 8),
        DataType::Time64(TimeUnit::Nanosecond) => ("<m8[ns]", 8),
        _ => return None,
    })
}

#[pyclass(frozen, module = "fastdata._native")]
pub struct Column(pub ArrayRef);

impl Column {
    fn refused(&self, what: &str) -> PyErr {
        PyTypeError::new_err(format!("a column of {} has no {what}", type_text(self.0.data_type())))
    }

    /// `length` values of `width` bytes from the array's first buffer.
    fn first_buffer(&self, width: usize, kind: &'static str, writable: bool) -> PyResult<Buffer> {
        let data = self.0.to_data();
        let whole = data.buffers().first().ok_or_else(|| self.refused("values"))?;
        let bytes = whole.slice_with_length(data.offset() * width, data.len() * width);
        let length = data.len();
        Ok(Buffer { bytes: if writable { self.own(bytes) } else { bytes }, kind, length, writable })
    }

    /// The bytes, copied where something other than this column holds them.
    fn own(&self, bytes: Bytes) -> Bytes {
        // Nobody else has the array; it, the data made of it, and `bytes` hold the memory.
        let ours = Arc::strong_count(&self.0) == 1 && bytes.strong_count() <= 3;
        if ours { bytes } else { aligned(&bytes) }
    }

    /// Lists as offsets from 0 and the values that they cut; NULL rows are empty.
    fn list(&self) -> PyResult<(Vec<i64>, ArrayRef)> {
        fn parts<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> (Vec<i64>, ArrayRef) {
            let offsets = list.value_offsets();
            let first = offsets.first().map_or(0, |first| first.as_usize());
            let last = offsets.last().map_or(0, |last| last.as_usize());
            (offsets.iter().map(|at| (at.as_usize() - first) as i64).collect(), list.values().slice(first, last - first))
        }
        // Rows that are NULL may have values all the same; taking all rows leaves those out.
        let array = match self.0.null_count() {
            0 => Arc::clone(&self.0),
            _ => take(&self.0, &UInt32Array::from_iter_values(0..self.0.len() as u32), None).map_err(wrong)?,
        };
        match array.data_type() {
            DataType::List(_) => Ok(parts(array.as_list::<i32>())),
            DataType::LargeList(_) => Ok(parts(array.as_list::<i64>())),
            DataType::Map(..) => {
                let map = array.as_map();
                let (first, last) = (map.value_offsets().first().copied().unwrap_or(0), map.value_offsets().last().copied().unwrap_or(0));
                let entries = map.entries().slice(first as usize, (last - first) as usize);
                Ok((map.value_offsets().iter().map(|at| i64::from(at - first)).collect(), Arc::new(entries)))
            }
            _ => Err(self.refused("lists")),
        }
    }

    /// Text and bytes with 64-bit offsets, NULL rows empty.
    fn large(&self) -> PyResult<ArrayRef> {
        let to = match self.0.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::LargeUtf8,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::LargeBinary,
            _ => return Err(self.refused("bytes")),
        };
        let large = cast(&self.0, &to).map_err(wrong)?;
        match large.null_count() {
            0 => Ok(large),
            _ => take(&large, &UInt32Array::from_iter_values(0..large.len() as u32), None).map_err(wrong),
        }
    }
}

#[pymethods]
impl Column {
    #[getter]
    fn kind(&self) -> &'static str {
        match self.0.data_type() {
            DataType::Boolean => "fixed",
            ty if fixed(ty).is_some() => "fixed",
            DataType::Decimal128(..) => "decimal",
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "bytes",
            DataType::List(_) | DataType::LargeList(_) | DataType::Map(..) => "list",
            DataType::FixedSizeList(..) => "fixed_list",
            DataType::Struct(_) => "struct",
            DataType::Dictionary(..) => "dictionary",
            DataType::Null => "null",
            _ => "other",
        }
    }

    #[getter]
    fn r#type(&self) -> String {
        type_text(self.0.data_type())
    }

    #[getter]
    fn length(&self) -> usize {
        self.0.len()
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    #[getter]
    fn null_count(&self) -> usize {
        self.0.logical_null_count()
    }

    fn values(&self, writable: bool) -> PyResult<Buffer> {
        match self.0.data_type() {
            DataType::Boolean => {
                let array: &BooleanArray = self.0.as_boolean();
                let values = match array.nulls() {
                    Some(nulls) => array.values() & nulls.inner(),
                    None => array.values().clone(),
                };
                Ok(unpacked(&values))
            }
            DataType::Dictionary(..) => {
                let keys = self.0.as_dictionary_opt::<Int32Type>().ok_or_else(|| self.refused("32-bit indices"))?.keys();
                let (values, length) = (keys.values(), keys.len());
                let indices: Vec<i32> = (0..length).map(|row| if keys.is_null(row) { -1 } else { values[row] }).collect();
                Ok(Buffer::owned(indices, "<i4"))
            }
            ty => {
                let (kind, width) = fixed(ty).ok_or_else(|| self.refused("values of a fixed width"))?;
                // What lies under a NULL is arbitrary.
                match self.0.nulls().filter(|nulls| nulls.null_count() > 0) {
                    Some(nulls) => zeroed(&self.0, nulls, width, kind),
                    None => self.first_buffer(width, kind, writable),
                }
            }
        }
    }

    /// Of decimals: the nearest float64, NULLs as 0.
    fn floats(&self) -> PyResult<Buffer> {
        let DataType::Decimal128(_, scale) = self.0.data_type() else { return Err(self.refused("decimals")) };
        let (divisor, decimals) = (10f64.powi(i32::from(*scale)), self.0.as_primitive::<Decimal128Type>());
        let float = |row: usize| {
            let value = decimals.value(row);
            if decimals.is_null(row) {
                Ok(0.0)
            } else if value.unsigned_abs() <= EXACT && (0..=22).contains(scale) {
                // Both are float64s exactly, so the quotient is rounded once.
                Ok(value as f64 / divisor)
            } else {
                decimals.value_as_string(row).parse()
            }
        };
        let floats: Result<Vec<f64>, std::num::ParseFloatError> = (0..decimals.len()).map(float).collect();
        Ok(Buffer::owned(floats.map_err(|e| PyValueError::new_err(e.to_string()))?, "<f8"))
    }

    fn validity(&self) -> Option<Buffer> {
        self.0.logical_nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| unpacked(nulls.inner()))
    }

    fn offsets(&self) -> PyResult<Buffer> {
        match self.kind() {
            "list" => Ok(Buffer::owned(self.list()?.0, "<i8")),
            _ => {
                let large = self.large()?;
                let offsets = match large.data_type() {
                    DataType::LargeUtf8 => large.as_string::<i64>().value_offsets().to_vec(),
                    _ => large.as_binary::<i64>().value_offsets().to_vec(),
                };
                let first = offsets.first().copied().unwrap_or(0);
                Ok(Buffer::owned(offsets.into_iter().map(|at| at - first).collect(), "<i8"))
            }
        }
    }

    fn data(&self, writable: bool) -> PyResult<Buffer> {
        let large = self.large()?;
        let (offsets, values) = match large.data_type() {
            DataType::LargeUtf8 => (large.as_string::<i64>().value_offsets(), large.as_string::<i64>().values()),
            _ => (large.as_binary::<i64>().value_offsets(), large.as_binary::<i64>().values()),
        };
        let (first, last) = (offsets.first().copied().unwrap_or(0) as usize, offsets.last().copied().unwrap_or(0) as usize);
        let bytes = values.slice_with_length(first, last - first);
        // The values of a cast may be the column's own.
        let bytes = if writable { Bytes::from_vec(bytes.to_vec()) } else { bytes };
        Ok(Buffer { bytes, kind: "|u1", length: last - first, writable })
    }

    fn width(&self) -> PyResult<i32> {
        match self.0.data_type() {
            DataType::FixedSizeList(_, width) => Ok(*width),
            _ => Err(self.refused("fixed width of lists")),
        }
    }

    fn child(&self) -> PyResult<Column> {
        match self.0.data_type() {
            DataType::FixedSizeList(_, width) => {
                let (data, width) = (self.0.to_data(), *width as usize);
                Ok(Column(self.0.as_fixed_size_list().values().slice(0, data.len() * width)))
            }
            DataType::Dictionary(..) => Ok(Column(Arc::clone(self.0.as_any_dictionary().values()))),
            _ => Ok(Column(self.list()?.1)),
        }
    }

    /// A child is NULL where its struct is.
    fn fields(&self) -> PyResult<Vec<(String, Column)>> {
        let rows = self.0.as_struct_opt().ok_or_else(|| self.refused("fields"))?;
        let fields = rows.fields().iter().zip(rows.columns()).map(|(field, column)| {
            let column = match (rows.nulls(), column.data_type()) {
                (None, _) | (_, DataType::Null) => Arc::clone(column),
                (nulls, _) => with_nulls(column, NullBuffer::union(nulls, column.nulls())).map_err(wrong)?,
            };
            Ok((field.name().clone(), Column(column)))
        });
        fields.collect()
    }

    fn objects(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        objects::of(py, &self.0)
    }
}

/// Values with 0 under NULLs.
fn zeroed(array: &ArrayRef, nulls: &NullBuffer, width: usize, kind: &'static str) -> PyResult<Buffer> {
    let data = array.to_data();
    let whole = data.buffers().first().ok_or_else(|| PyTypeError::new_err("an array without values"))?;
    let mut bytes = whole.slice_with_length(data.offset() * width, data.len() * width).to_vec();
    for (row, value) in bytes.chunks_exact_mut(width).enumerate() {
        if nulls.is_null(row) {
            value.fill(0);
        }
    }
    Ok(Buffer { bytes: aligned(&bytes), kind, length: data.len(), writable: true })
}

/// In memory that any number may begin in.
fn aligned(bytes: &[u8]) -> Bytes {
    let mut buffer = arrow::buffer::MutableBuffer::with_capacity(bytes.len());
    buffer.extend_from_slice(bytes);
    buffer.into()
}
