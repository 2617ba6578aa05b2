//! How the columns of one Parquet file become the columns of an Iceberg schema.
//!
//! Problem: a table's schema changes while its files stay as they were written: columns are added, dropped, renamed, reordered and
//! promoted at every nesting level, and files of other origin carry no field ids at all.
//!
//! Contract: fields are found by id at every level (spec "Column Projection"). Files without any id take ids from the name mapping, else
//! from the position of their top-level columns. A field the file lacks is its identity partition value (even NULL), else its
//! `initial-default`, else NULL. Output arrays have exactly the types of [`fastdata_types::arrow_type`]. Whatever cannot be converted
//! without changing a value's meaning is refused by name when the file is resolved, before any row. Digits below the unit of the
//! table's type (a nanosecond file under a microsecond column) are cut towards the past, as engines that write such files do.
//!
//! How: [`file_column`] reads the shape of the file the way the decoder will, [`resolve`] pairs it with the target and selects the
//! leaves, [`hints`] tells the decoder which Arrow types to produce, and [`transform`] rebuilds each decoded batch along that plan.

mod constant;
mod conversion;
mod fallback;
mod file_column;
mod hints;
mod resolve;
mod strings;
mod transform;

#[cfg(test)]
mod tests;

pub(crate) use constant::constant_array;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::FieldRef;
use conversion::Conversion;
use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::metadata::NameMapping;
use fastdata_types::request::StringEncoding;
use fastdata_types::schema::{Field, Schema};
use fastdata_types::value::Value;
use parquet::arrow::FieldLevels;
use parquet::schema::types::SchemaDescriptor;
use std::collections::HashMap;

/// What a file's columns are resolved against.
pub(crate) struct ResolveContext<'a> {
    /// The data file, for messages.
    pub file: &'a str,
    /// The schema that the target is a projection of: where defaults of whole structs and the fallback for files without ids look.
    pub table_schema: &'a Schema,
    pub name_mapping: Option<&'a NameMapping>,
    /// Identity partition values by the id of their source field. They count only where the file lacks the column.
    pub constants: &'a HashMap<i32, Option<Value>>,
    pub strings: StringEncoding,
    /// Whether strings and binaries are decoded as views (to be packed by [`FileProjection::transform`]) or packed at once.
    pub decode_views: bool,
}

/// The plan for one file: which leaves to read and how to turn what is decoded into the target's columns.
pub(crate) struct FileProjection {
    file: String,
    leaves: Vec<usize>,
    levels: FieldLevels,
    columns: Vec<Sourced>,
    leaf_by_field: HashMap<i32, usize>,
    strings: StringEncoding,
    constant_row_bytes: u64,
}

/// A target column and where among the decoded siblings its source stands; `None` where the file lacks it.
struct Sourced {
    source: Option<usize>,
    column: Column,
}

/// One field of the target with its recipe.
struct Column {
    field: FieldRef,
    /// Dotted name, for messages.
    path: String,
    recipe: Recipe,
}

enum Recipe {
    Constant { value: Option<Value>, field: Box<Field> },
    Leaf(Conversion),
    Struct(Vec<Sourced>),
    List(Box<Column>),
    Map { key: Box<Column>, value: Box<Column> },
}

impl FileProjection {
    /// Pairs the target with the file. `target` holds no metadata columns but the two that files may store.
    pub(crate) fn resolve(parquet: &SchemaDescriptor, target: &Schema, context: &ResolveContext) -> Result<FileProjection> {
        resolve::resolve(parquet, target, context).map_err(|e| e.context(format!("data file '{}'", context.file)))
    }

    /// The Parquet leaf columns to read, ascending; empty where no column of the file is needed.
    pub(crate) fn leaves(&self) -> &[usize] {
        &self.leaves
    }

    /// What the decoder needs to produce the arrays that [`FileProjection::transform`] takes.
    pub(crate) fn levels(&self) -> Result<FieldLevels> {
        Ok(self.levels.clone())
    }

    /// One array per target field, in target order, from the top-level arrays in the order of [`FileProjection::levels`].
    pub(crate) fn transform(&self, decoded: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>> {
        self.transform_columns(decoded, rows).map_err(|e| e.context(format!("data file '{}'", self.file)))
    }

    fn transform_columns(&self, decoded: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>> {
        let mut out = Vec::with_capacity(self.columns.len());
        for Sourced { source, column } in &self.columns {
            let array = match source {
                Some(at) => {
                    let array = decoded
                        .get(*at)
                        .filter(|array| array.len() == rows)
                        .ok_or_else(|| Error::internal(Stage::Read, format!("column '{}' was not decoded to {rows} rows", column.path)))?;
                    transform::apply(column, array, None, self.strings)?
                }
                None => transform::fill(column, rows, self.strings)?,
            };
            transform::check_required(column, &array, None)?;
            out.push(array);
        }
        Ok(out)
    }

    /// The Parquet leaf that holds a primitive field of the target; `None` where the file lacks it.
    pub(crate) fn leaf_of(&self, field_id: i32) -> Option<usize> {
        self.leaf_by_field.get(&field_id).copied()
    }

    /// Bytes that constants add to each row, beside what was decoded.
    pub(crate) fn constant_row_bytes(&self) -> u64 {
        self.constant_row_bytes
    }
}
