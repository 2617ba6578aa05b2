//! Arrow through PyCapsules (the Arrow PyCapsule Interface): the only file that handles the C structures.

use arrow::array::{Array, RecordBatch, RecordBatchReader, StructArray, make_array};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::ffi::{FFI_ArrowSchema, to_ffi};
use arrow::ffi_stream::FFI_ArrowArrayStream;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::sync::Arc;

const SCHEMA: &std::ffi::CStr = c"arrow_schema";
const ARRAY: &std::ffi::CStr = c"arrow_array";
const STREAM: &std::ffi::CStr = c"arrow_array_stream";

fn wrong(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

pub fn schema<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyCapsule>> {
    let exported = FFI_ArrowSchema::try_from(schema).map_err(wrong)?;
    PyCapsule::new_with_value(py, exported, SCHEMA)
}

/// The batch as a struct array without nulls, and its schema.
pub fn array<'py>(py: Python<'py>, batch: &RecordBatch) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
    let rows = StructArray::try_new_with_length(batch.schema().fields().clone(), batch.columns().to_vec(), None, batch.num_rows());
    let (array, _) = to_ffi(&rows.map_err(wrong)?.to_data()).map_err(wrong)?;
    Ok((schema(py, &batch.schema())?, PyCapsule::new_with_value(py, array, ARRAY)?))
}

pub fn stream<'py>(py: Python<'py>, reader: Box<dyn RecordBatchReader + Send>) -> PyResult<Bound<'py, PyCapsule>> {
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(reader), STREAM)
}

/// The schema that a consumer asks for.
pub fn requested(capsule: &Bound<'_, PyAny>) -> PyResult<Schema> {
    let capsule = capsule.cast::<PyCapsule>().map_err(|_| PyValueError::new_err("requested_schema is no capsule of an Arrow schema"))?;
    let pointer = capsule.pointer_checked(Some(SCHEMA))?;
    // SAFETY: a capsule of this name holds an ArrowSchema by the interface's contract; it stays the capsule's.
    #[expect(unsafe_code, reason = "the interface hands over a pointer")]
    let schema = unsafe { pointer.cast::<FFI_ArrowSchema>().as_ref() };
    Schema::try_from(schema).map_err(wrong)
}

/// How batches become what a consumer asked for: column by column where Arrow can cast one, as it is where it cannot.
pub struct Casts {
    pub schema: SchemaRef,
}

impl Casts {
    /// `None` where nothing is to be cast.
    pub fn of(own: &SchemaRef, requested: &Schema) -> Option<Casts> {
        let same_names = own.fields().iter().zip(requested.fields()).all(|(own, wanted)| own.name() == wanted.name());
        if own.fields().len() != requested.fields().len() || !same_names {
            return None;
        }
        let chosen = own.fields().iter().zip(requested.fields()).map(|(own, wanted)| match own.data_type() == wanted.data_type() {
            false if castable(own.data_type(), wanted.data_type()) => {
                let field = Field::new(own.name(), wanted.data_type().clone(), own.is_nullable());
                Arc::new(field.with_metadata(own.metadata().clone()))
            }
            _ => Arc::clone(own),
        });
        let schema = Schema::new_with_metadata(chosen.collect::<Vec<_>>(), own.metadata().clone());
        (schema.fields() != own.fields()).then(|| Casts { schema: Arc::new(schema) })
    }

    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let options = CastOptions { safe: false, ..Default::default() };
        let columns = batch.columns().iter().zip(self.schema.fields());
        let cast = columns.map(|(column, field)| match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast_with_options(column, field.data_type(), &options),
        });
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), cast.collect::<Result<_, _>>()?, &options)
    }
}

/// Whether every value has the same meaning in another type: a consumer that asks for less gets what there is.
fn castable(own: &DataType, wanted: &DataType) -> bool {
    use DataType::*;
    let text = |ty: &DataType| matches!(ty, Utf8 | LargeUtf8 | Utf8View);
    let bytes = |ty: &DataType| matches!(ty, Binary | LargeBinary | BinaryView);
    let same = match (own, wanted) {
        (own, wanted) if own == wanted => true,
        (own, Dictionary(keys, values)) => text(own) && text(values) && keys.as_ref() == &Int32,
        (Dictionary(_, values), wanted) => text(values) && text(wanted),
        (own, wanted) if text(own) && text(wanted) => true,
        (own, wanted) if bytes(own) && bytes(wanted) => true,
        (Int32, Int64) | (Float32, Float64) => true,
        (Decimal128(digits, scale), Decimal128(more, finer)) => {
            let whole = |digits: u8, scale: i8| i32::from(digits) - i32::from(scale);
            finer >= scale && whole(*more, *finer) >= whole(*digits, *scale)
        }
        (Timestamp(TimeUnit::Microsecond, zone), Timestamp(TimeUnit::Nanosecond, other)) => zone == other,
        (List(own) | LargeList(own), List(wanted) | LargeList(wanted)) => castable(own.data_type(), wanted.data_type()),
        (Struct(own), Struct(wanted)) => {
            let fields = || own.iter().zip(wanted);
            own.len() == wanted.len()
                && fields().all(|(own, wanted)| own.name() == wanted.name() && castable(own.data_type(), wanted.data_type()))
        }
        _ => false,
    };
    same && can_cast_types(own, wanted)
}

/// One array of several rows' worth of columns, for [`super::column`].
pub fn with_nulls(array: &dyn Array, nulls: Option<arrow::buffer::NullBuffer>) -> Result<arrow::array::ArrayRef, ArrowError> {
    let data = array.to_data().into_builder().nulls(nulls).build()?;
    Ok(make_array(data))
}
