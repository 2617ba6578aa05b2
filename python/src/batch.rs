//! Record batches and schemas as Python objects.

use crate::capsule;
use crate::column::Column;
use crate::error::raised;
use arrow::array::{RecordBatch, RecordBatchIterator};
use arrow::datatypes::{DataType, SchemaRef};
use fastdata_types::size::batch_bytes;
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::sync::Arc;

#[pyclass(frozen, eq, module = "fastdata._native")]
#[derive(PartialEq)]
pub struct Schema(pub SchemaRef);

#[pymethods]
impl Schema {
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        capsule::schema(py, &self.0)
    }

    fn names(&self) -> Vec<&str> {
        self.0.fields().iter().map(|field| field.name().as_str()).collect()
    }

    fn types(&self) -> Vec<String> {
        self.0.fields().iter().map(|field| type_text(field.data_type())).collect()
    }

    fn nullable(&self) -> Vec<bool> {
        self.0.fields().iter().map(|field| field.is_nullable()).collect()
    }

    fn __len__(&self) -> usize {
        self.0.fields().len()
    }

    /// A batch without rows.
    fn empty(&self) -> Batch {
        Batch(RecordBatch::new_empty(Arc::clone(&self.0)))
    }
}

#[pyclass(frozen, module = "fastdata._native")]
pub struct Batch(pub RecordBatch);

#[pymethods]
impl Batch {
    #[getter]
    fn num_rows(&self) -> usize {
        self.0.num_rows()
    }

    #[getter]
    fn num_bytes(&self) -> u64 {
        batch_bytes(&self.0)
    }

    fn schema(&self) -> Schema {
        Schema(self.0.schema())
    }

    fn column(&self, index: usize) -> PyResult<Column> {
        let column = self.0.columns().get(index);
        column
            .map(|column| Column(Arc::clone(column)))
            .ok_or_else(|| PyIndexError::new_err(format!("column {index} of {}", self.0.num_columns())))
    }

    fn slice(&self, offset: usize, length: usize) -> PyResult<Batch> {
        if offset.checked_add(length).is_none_or(|end| end > self.0.num_rows()) {
            return Err(PyIndexError::new_err(format!("{length} rows from row {offset} of {}", self.0.num_rows())));
        }
        Ok(Batch(self.0.slice(offset, length)))
    }

    fn render(&self, rows: usize) -> PyResult<String> {
        fastdata::cli::table_text(&self.0, rows).map_err(raised)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        capsule::array(py, &self.cast(requested_schema)?)
    }

    /// For consumers that take streams only.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(&self, py: Python<'py>, requested_schema: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyCapsule>> {
        let batch = self.cast(requested_schema)?;
        let schema = batch.schema();
        capsule::stream(py, Box::new(RecordBatchIterator::new([Ok(batch)], schema)))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        capsule::schema(py, &self.0.schema())
    }

    #[staticmethod]
    fn concat(py: Python<'_>, batches: Vec<Bound<'_, Batch>>) -> PyResult<Batch> {
        let parts: Vec<RecordBatch> = batches.iter().map(|batch| batch.get().0.clone()).collect();
        let joined = py.detach(|| fastdata::lake::join(parts));
        joined.map(Batch).map_err(raised)
    }
}

impl Batch {
    /// In the types that a consumer asks for, as far as they are other forms of the same values.
    fn cast(&self, requested: Option<&Bound<'_, PyAny>>) -> PyResult<RecordBatch> {
        let casts = match requested {
            Some(requested) => capsule::Casts::of(&self.0.schema(), &capsule::requested(requested)?),
            None => None,
        };
        match casts {
            Some(casts) => casts.apply(&self.0).map_err(|e| PyValueError::new_err(e.to_string())),
            None => Ok(self.0.clone()),
        }
    }
}

/// An Arrow type as text, without the metadata of fields.
pub fn type_text(ty: &DataType) -> String {
    let fields = |fields: &arrow::datatypes::Fields| {
        let each: Vec<String> = fields.iter().map(|field| format!("{}: {}", field.name(), type_text(field.data_type()))).collect();
        each.join(", ")
    };
    match ty {
        DataType::List(item) => format!("List({})", type_text(item.data_type())),
        DataType::LargeList(item) => format!("LargeList({})", type_text(item.data_type())),
        DataType::FixedSizeList(item, width) => format!("FixedSizeList({}, {width})", type_text(item.data_type())),
        DataType::Struct(of) => format!("Struct({})", fields(of)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(of) => format!("Map({})", fields(of)),
            other => format!("Map({})", type_text(other)),
        },
        other => other.to_string(),
    }
}
