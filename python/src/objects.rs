//! Arrow values as Python objects.
//!
//! Contract: every value of a type that tables have, exactly. Nanoseconds are integers, because `datetime` has none; what `datetime` cannot hold
//! (years before 1 or after 9999) is a `ValueError` or an `OverflowError` of its own.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::sync::Arc;

/// `date.toordinal()` of 1970-01-01.
const EPOCH_DAY: i64 = 719_163;

type Objects = PyResult<Vec<Py<PyAny>>>;

/// One object a row; `None` for NULL.
pub fn of(py: Python<'_>, array: &ArrayRef) -> Objects {
    match array.data_type() {
        DataType::Null => Ok((0..array.len()).map(|_| py.None()).collect()),
        DataType::Boolean => each(py, array, |row| array.as_boolean().value(row).into_py_any(py)),
        DataType::Int8 => numbers::<Int8Type>(py, array),
        DataType::Int16 => numbers::<Int16Type>(py, array),
        DataType::Int32 => numbers::<Int32Type>(py, array),
        DataType::Int64 => numbers::<Int64Type>(py, array),
        DataType::UInt8 => numbers::<UInt8Type>(py, array),
        DataType::UInt16 => numbers::<UInt16Type>(py, array),
        DataType::UInt32 => numbers::<UInt32Type>(py, array),
        DataType::UInt64 => numbers::<UInt64Type>(py, array),
        DataType::Float32 => numbers::<Float32Type>(py, array),
        DataType::Float64 => numbers::<Float64Type>(py, array),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => numbers::<TimestampNanosecondType>(py, array),
        DataType::Time64(TimeUnit::Nanosecond) => numbers::<Time64NanosecondType>(py, array),
        DataType::Date32 => dates(py, array),
        DataType::Time64(TimeUnit::Microsecond) => times(py, array),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => timestamps(py, array, zone.is_some()),
        DataType::Decimal128(..) => decimals(py, array),
        DataType::Utf8 => each(py, array, |row| text(py, array.as_string::<i32>().value(row))),
        DataType::LargeUtf8 => each(py, array, |row| text(py, array.as_string::<i64>().value(row))),
        DataType::Utf8View => each(py, array, |row| text(py, array.as_string_view().value(row))),
        DataType::Binary => each(py, array, |row| bytes(py, array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => each(py, array, |row| bytes(py, array.as_binary::<i64>().value(row))),
        DataType::BinaryView => each(py, array, |row| bytes(py, array.as_binary_view().value(row))),
        DataType::FixedSizeBinary(_) => each(py, array, |row| bytes(py, array.as_fixed_size_binary().value(row))),
        DataType::List(_) => each(py, array, |row| list(py, &array.as_list::<i32>().value(row))),
        DataType::LargeList(_) => each(py, array, |row| list(py, &array.as_list::<i64>().value(row))),
        DataType::FixedSizeList(..) => each(py, array, |row| list(py, &array.as_fixed_size_list().value(row))),
        DataType::Map(..) => each(py, array, |row| {
            let entries: ArrayRef = Arc::new(array.as_map().value(row));
            let (keys, values) = (of(py, entries.as_struct().column(0))?, of(py, entries.as_struct().column(1))?);
            let pairs: Vec<(Py<PyAny>, Py<PyAny>)> = keys.into_iter().zip(values).collect();
            Ok(PyList::new(py, pairs)?.into_any().unbind())
        }),
        DataType::Struct(_) => structs(py, array),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let (words, keys) = (of(py, dictionary.values())?, dictionary.normalized_keys());
            each(py, array, |row| Ok(words[keys[row]].clone_ref(py)))
        }
        other => Err(PyTypeError::new_err(format!("values of {other} have no Python objects"))),
    }
}

fn each(py: Python<'_>, array: &ArrayRef, object: impl Fn(usize) -> PyResult<Py<PyAny>>) -> Objects {
    (0..array.len()).map(|row| if array.is_null(row) { Ok(py.None()) } else { object(row) }).collect()
}

fn numbers<'py, T: ArrowPrimitiveType>(py: Python<'py>, array: &ArrayRef) -> Objects
where
    T::Native: IntoPyObject<'py>,
{
    let values = array.as_primitive::<T>();
    each(py, array, |row| values.value(row).into_py_any(py))
}

fn text(py: Python<'_>, value: &str) -> PyResult<Py<PyAny>> {
    value.into_py_any(py)
}

fn bytes(py: Python<'_>, value: &[u8]) -> PyResult<Py<PyAny>> {
    Ok(PyBytes::new(py, value).into_any().unbind())
}

fn list(py: Python<'_>, values: &ArrayRef) -> PyResult<Py<PyAny>> {
    Ok(PyList::new(py, of(py, values)?)?.into_any().unbind())
}

fn dates(py: Python<'_>, array: &ArrayRef) -> Objects {
    let from_ordinal = py.import("datetime")?.getattr("date")?.getattr("fromordinal")?;
    let days = array.as_primitive::<Date32Type>();
    each(py, array, |row| Ok(from_ordinal.call1((i64::from(days.value(row)) + EPOCH_DAY,))?.unbind()))
}

fn times(py: Python<'_>, array: &ArrayRef) -> Objects {
    let time = py.import("datetime")?.getattr("time")?;
    let micros = array.as_primitive::<Time64MicrosecondType>();
    each(py, array, |row| {
        let (seconds, rest) = (micros.value(row) / 1_000_000, micros.value(row) % 1_000_000);
        Ok(time.call1((seconds / 3600, seconds / 60 % 60, seconds % 60, rest))?.unbind())
    })
}

fn timestamps(py: Python<'_>, array: &ArrayRef, zoned: bool) -> Objects {
    let datetime = py.import("datetime")?;
    let zone = if zoned { datetime.getattr("timezone")?.getattr("utc")? } else { py.None().into_bound(py) };
    let epoch = datetime.getattr("datetime")?.call1((1970, 1, 1, 0, 0, 0, 0, zone))?;
    let delta = datetime.getattr("timedelta")?;
    let micros = array.as_primitive::<TimestampMicrosecondType>();
    each(py, array, |row| {
        let value = micros.value(row);
        let (days, rest) = (value.div_euclid(86_400_000_000), value.rem_euclid(86_400_000_000));
        Ok(epoch.add(delta.call1((days, rest / 1_000_000, rest % 1_000_000))?)?.unbind())
    })
}

fn decimals(py: Python<'_>, array: &ArrayRef) -> Objects {
    let decimal = py.import("decimal")?.getattr("Decimal")?;
    let values = array.as_primitive::<Decimal128Type>();
    each(py, array, |row| Ok(decimal.call1((values.value_as_string(row),))?.unbind()))
}

fn structs(py: Python<'_>, array: &ArrayRef) -> Objects {
    let rows = array.as_struct();
    let columns: Vec<Vec<Py<PyAny>>> = rows.columns().iter().map(|column| of(py, column)).collect::<PyResult<_>>()?;
    each(py, array, |row| {
        let object = PyDict::new(py);
        for (field, column) in rows.fields().iter().zip(&columns) {
            object.set_item(field.name(), &column[row])?;
        }
        Ok(object.into_any().unbind())
    })
}
