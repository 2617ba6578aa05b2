//! Tells the Parquet decoder which Arrow types to produce for the selected leaves.
//!
//! Contract: a hint covers every column of the file, selected or not, because the decoder insists on it; leaves without a wish get the Null type,
//! which the decoder takes as none. The Arrow schema that a file may embed is never consulted: the Parquet types are authoritative.

use super::file_column::{FileColumn, Shape};
use arrow::datatypes::{DataType, Field, Fields};
use fastdata_types::error::{Error, Result, Stage};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::schema::types::{SchemaDescriptor, Type};
use std::collections::HashMap;
use std::sync::Arc;

/// The decoder's plan for `leaves`; `wishes` are decoded types by leaf that differ from the decoder's own choice.
pub(super) fn levels(
    parquet: &SchemaDescriptor,
    columns: &[FileColumn],
    leaves: &[usize],
    wishes: &HashMap<usize, DataType>,
) -> Result<FieldLevels> {
    if leaves.is_empty() {
        return nothing();
    }
    let hint: Option<Fields> = (!wishes.is_empty()).then(|| columns.iter().map(|column| hint_field(column, wishes)).collect());
    let mask = ProjectionMask::leaves(parquet, leaves.iter().copied());
    parquet_to_arrow_field_levels(parquet, mask, hint.as_ref()).map_err(|e| {
        Error::corrupt(Stage::Read, "its Parquet schema contradicts itself and cannot be decoded")
            .advice("rewrite the file with another writer")
            .source(e)
    })
}

/// The plan that reads no leaf, whatever the file's schema looks like.
fn nothing() -> Result<FieldLevels> {
    let failed = |e| Error::internal(Stage::Read, "an empty Parquet schema was refused").source(e);
    let root = Type::group_type_builder("nothing").build().map_err(failed)?;
    parquet_to_arrow_field_levels(&SchemaDescriptor::new(Arc::new(root)), ProjectionMask::all(), None).map_err(failed)
}

fn hint_field(column: &FileColumn, wishes: &HashMap<usize, DataType>) -> Field {
    Field::new(column.name, hint(column, wishes), true)
}

fn hint(column: &FileColumn, wishes: &HashMap<usize, DataType>) -> DataType {
    match &column.shape {
        Shape::Primitive(_) => wishes.get(&column.leaves.start).cloned().unwrap_or(DataType::Null),
        Shape::Struct(children) => DataType::Struct(children.iter().map(|child| hint_field(child, wishes)).collect()),
        Shape::List(element) => DataType::List(Arc::new(hint_field(element, wishes))),
        Shape::Map { key, value } => {
            let entries = Fields::from(vec![hint_field(key, wishes), hint_field(value, wishes)]);
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
        }
        Shape::Malformed(_) => DataType::Null,
    }
}
