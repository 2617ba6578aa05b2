//! Record batches and schemas as Python objects.

use crate::capsule;
use crate::column::Column;
use crate::error::raised;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches;
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
        self.0.fields().iter().map(|field| field.data_type().to_string()).collect()
    }

    fn nullable(&self) -> Vec<bool> {
        self.0.fields().iter().map(|field| field.is_nullable()).collect()
    }

    fn __len__(&self) -> usize {
        self.0.fields().len()
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
        column.map(|column| Column(Arc::clone(column))).ok_or_else(|| PyIndexError::new_err(format!("column {index} of {}", self.0.num_columns())))
    }

    fn slice(&self, offset: usize, length: usize) -> PyResult<Batch> {
        if offset.checked_add(length).is_none_or(|end| end > self.0.num_rows()) {
            return Err(PyIndexError::new_err(format!("{length} rows from row {offset} of {}", self.0.num_rows())));
        }
        Ok(Batch(self.0.slice(offset, length)))
    }

    fn render(&self, rows: usize) -> PyResult<String> {
        let shown = self.0.slice(0, rows.min(self.0.num_rows()));
        pretty_format_batches(&[shown]).map(|table| table.to_string()).map_err(|e| PyValueError::new_err(e.to_string()))
    }

    /// A batch is handed over as it is: a consumer that wants other types casts.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let casts = match requested_schema {
            Some(requested) => capsule::Casts::of(&self.0.schema(), &capsule::requested(requested)?),
            None => None,
        };
        match casts {
            Some(casts) => capsule::array(py, &casts.apply(&self.0).map_err(|e| PyValueError::new_err(e.to_string()))?),
            None => capsule::array(py, &self.0),
        }
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
