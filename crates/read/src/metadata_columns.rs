//! Columns that are computed, not read: file, position, partition spec, partition, and row lineage.
//!
//! (spec "Reserved Field IDs", "Row Lineage".) `_row_id` is `first_row_id` plus the row's position and
//! `_last_updated_sequence_number` the file's data sequence number, except where the file stores a value of its own; both are NULL
//! where the file has no `first_row_id`.

use crate::evolve::constant_array;
use crate::layout::Source;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use fastdata_types::metadata::TableMetadata;
use fastdata_types::plan::DataFile;
use fastdata_types::request::StringEncoding;
use fastdata_types::schema::{Field, Type};
use fastdata_types::{Error, Result, Stage, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// What the manifest says about one data file, as metadata columns show it.
#[derive(Debug)]
pub(crate) struct FileFacts {
    pub(crate) path: String,
    spec_id: i32,
    /// Partition values by partition field id.
    partition: HashMap<i32, Option<Value>>,
    first_row_id: Option<i64>,
    sequence_number: i64,
}

impl FileFacts {
    pub(crate) fn new(file: &DataFile, table: &TableMetadata) -> FileFacts {
        let fields = table.partition_specs.get(&file.spec_id).map_or(&[][..], |spec| &spec.fields);
        let partition = fields.iter().zip(file.partition.iter()).map(|(field, value)| (field.field_id, value.clone())).collect();
        FileFacts {
            path: file.path.clone(),
            spec_id: file.spec_id,
            partition,
            first_row_id: file.first_row_id,
            sequence_number: file.sequence_number,
        }
    }

    /// One computed column for rows at these positions of the file (given where [`Source::needs_positions`] says so). `stored` is what
    /// the file holds itself.
    pub(crate) fn column(
        &self,
        source: Source,
        field: &Field,
        strings: StringEncoding,
        rows: usize,
        positions: &[u64],
        stored: Option<&ArrayRef>,
    ) -> Result<ArrayRef> {
        if source.needs_positions() && positions.len() != rows {
            return Err(Error::internal(Stage::Read, "the positions of a batch are missing"));
        }
        match source {
            Source::Path => constant_array(Some(&Value::String(self.path.clone())), field, strings, rows),
            Source::SpecId => constant_array(Some(&Value::Int(self.spec_id)), field, strings, rows),
            Source::Position => Ok(Arc::new(Int64Array::from_iter_values(positions.iter().map(|position| *position as i64)))),
            Source::Partition => {
                let Type::Struct(ty) = &field.ty else {
                    return Err(Error::internal(Stage::Read, "_partition is no struct"));
                };
                let values = ty.fields.iter().map(|field| self.partition.get(&field.id).cloned().flatten()).collect();
                constant_array(Some(&Value::Struct(values)), field, strings, rows)
            }
            Source::RowId { .. } => self.lineage(stored, rows, |first, row| first.saturating_add(positions[row] as i64)),
            Source::SequenceNumber { .. } => self.lineage(stored, rows, |_, _| self.sequence_number),
            Source::File(_) => Err(Error::internal(Stage::Read, "a data column is not computed")),
        }
    }

    fn lineage(&self, stored: Option<&ArrayRef>, rows: usize, inherited: impl Fn(i64, usize) -> i64) -> Result<ArrayRef> {
        let Some(first) = self.first_row_id else {
            return Ok(Arc::new(Int64Array::new_null(rows)));
        };
        let stored = stored.and_then(|array| array.as_primitive_opt::<Int64Type>()).filter(|array| array.null_count() < array.len());
        Ok(Arc::new(match stored {
            None => Int64Array::from_iter_values((0..rows).map(|row| inherited(first, row))),
            Some(stored) => {
                Int64Array::from_iter_values(stored.iter().enumerate().map(|(row, own)| own.unwrap_or_else(|| inherited(first, row))))
            }
        }))
    }

    /// About how many bytes a computed column takes per row.
    pub(crate) fn row_bytes(&self, source: Source) -> u64 {
        match source {
            Source::Path => 4 + self.path.len() as u64,
            Source::Partition => self.partition.values().flatten().map(|value| 8 + value.to_bytes().map_or(16, |b| b.len() as u64)).sum(),
            Source::File(_) => 0,
            Source::Position | Source::SpecId | Source::RowId { .. } | Source::SequenceNumber { .. } => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastdata_types::schema::PrimitiveType;

    fn facts(first_row_id: Option<i64>) -> FileFacts {
        FileFacts { path: "s3://b/f.parquet".into(), spec_id: 3, partition: HashMap::new(), first_row_id, sequence_number: 7 }
    }

    fn lineage(facts: &FileFacts, source: Source, stored: Option<ArrayRef>) -> Vec<Option<i64>> {
        let field = Field::optional(1, "x", PrimitiveType::Long);
        let array = facts.column(source, &field, StringEncoding::Utf8, 3, &[4, 5, 9], stored.as_ref()).unwrap();
        array.as_primitive::<Int64Type>().iter().collect()
    }

    #[test]
    fn both_lineage_columns_are_null_without_a_first_row_id_else_stored_values_win() {
        let stored: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1000), None]));
        let (row_id, sequence) = (Source::RowId { stored: 0 }, Source::SequenceNumber { stored: 0 });
        assert_eq!(lineage(&facts(None), row_id, Some(stored.clone())), [None, None, None]);
        assert_eq!(lineage(&facts(None), sequence, Some(stored.clone())), [None, None, None]);
        assert_eq!(lineage(&facts(Some(100)), row_id, Some(stored.clone())), [Some(104), Some(1000), Some(109)]);
        assert_eq!(lineage(&facts(Some(100)), sequence, Some(stored)), [Some(7), Some(1000), Some(7)]);
        assert_eq!(lineage(&facts(Some(100)), row_id, None), [Some(104), Some(105), Some(109)]);
    }
}
