//! What a decoding pass returns, and where each of its columns comes from.
//!
//! A pass returns columns of an Iceberg schema. Data columns are resolved against each file ([`crate::evolve`]); metadata columns are
//! computed from the file's entry in the manifest and the rows' positions (spec "Reserved Field IDs", "Row Lineage"). The pass that
//! decides which rows survive reads the columns of the filter and of the equality deletes; the other one those that were asked for.

use crate::deletes::equality_schema;
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use fastdata_types::arrow_type::arrow_schema;
use fastdata_types::expr::Expr;
use fastdata_types::metadata::TableMetadata;
use fastdata_types::request::StringEncoding;
use fastdata_types::schema::metadata_column::{self, is_metadata_column};
use fastdata_types::schema::{Field, PrimitiveType, Schema, StructType, Type};
use fastdata_types::{Result, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Layout {
    /// What the pass returns, metadata columns included.
    pub(crate) schema: Schema,
    pub(crate) arrow: ArrowSchemaRef,
    pub(crate) strings: StringEncoding,
    /// The columns to read from files: data columns, and the lineage columns that files may store.
    pub(crate) target: Schema,
    /// One per field of `schema`.
    pub(crate) sources: Vec<Source>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A field of the target, by position.
    File(usize),
    Path,
    Position,
    SpecId,
    Partition,
    /// `stored` is the field of the target that holds values which files store themselves.
    RowId {
        stored: usize,
    },
    SequenceNumber {
        stored: usize,
    },
}

impl Source {
    pub(crate) fn needs_positions(self) -> bool {
        matches!(self, Source::Position | Source::RowId { .. })
    }
}

impl Layout {
    pub(crate) fn new(schema: Schema, strings: StringEncoding) -> Result<Layout> {
        let arrow = Arc::new(arrow_schema(&schema, strings)?);
        let mut target = Vec::new();
        let mut sources = Vec::with_capacity(schema.fields.len());
        for field in &schema.fields {
            let at = target.len();
            sources.push(match field.id {
                metadata_column::FILE => Source::Path,
                metadata_column::POS => Source::Position,
                metadata_column::SPEC_ID => Source::SpecId,
                metadata_column::PARTITION => Source::Partition,
                metadata_column::ROW_ID => Source::RowId { stored: at },
                metadata_column::LAST_UPDATED_SEQUENCE_NUMBER => Source::SequenceNumber { stored: at },
                _ => Source::File(at),
            });
            if matches!(sources.last(), Some(Source::File(_) | Source::RowId { .. } | Source::SequenceNumber { .. })) {
                target.push(field.clone());
            }
        }
        let target = Schema::new(schema.id, target)?;
        Ok(Layout { schema, arrow, strings, target, sources })
    }

    /// Whether every field of `other` is one of this layout's, so that one pass can serve both.
    pub(crate) fn covers(&self, other: &Layout) -> bool {
        other.schema.fields.iter().all(|field| self.schema.fields.contains(field))
    }
}

/// The columns that decide which rows survive: those of the filter, and those that equality deletes compare, which may have been dropped
/// from the table since (spec "Equality Delete Files").
pub(crate) fn deciding_schema(
    table: &TableMetadata,
    schema: &Schema,
    filter: Option<&Expr>,
    equality_ids: &BTreeSet<i32>,
) -> Result<Schema> {
    let mut ids = BTreeSet::new();
    let mut metadata_ids = BTreeSet::new();
    if let Some(filter) = filter {
        filter.walk(&mut |expr| {
            if let Expr::Column(column) = expr {
                if is_metadata_column(column.id) {
                    metadata_ids.insert(column.id);
                } else if column.path.first().is_some_and(|name| name == "_partition") && schema.field_by_id(column.id).is_none() {
                    metadata_ids.insert(metadata_column::PARTITION);
                } else {
                    ids.insert(column.id);
                }
            }
        });
    }
    let mut fields = prune(&schema.fields, &ids);
    merge(&mut fields, equality_schema(table, schema, equality_ids)?.fields);
    if !metadata_ids.is_empty() {
        let known = metadata_column::fields(table.unified_partition_type());
        fields.extend(known.into_iter().filter(|field| metadata_ids.contains(&field.id)));
    }
    Schema::new(schema.id, fields)
}

/// The fields with these ids, whole, and the structs on the way to them.
fn prune(fields: &[Field], ids: &BTreeSet<i32>) -> Vec<Field> {
    fields.iter().filter_map(|field| prune_field(field, ids)).collect()
}

fn prune_field(field: &Field, ids: &BTreeSet<i32>) -> Option<Field> {
    if ids.contains(&field.id) {
        return Some(field.clone());
    }
    let Type::Struct(inner) = &field.ty else { return None };
    let fields = prune(&inner.fields, ids);
    if fields.is_empty() {
        return None;
    }
    // A struct's default has one entry per field.
    let initial_default = match &field.initial_default {
        Some(Value::Struct(_)) => Some(Value::Struct(fields.iter().map(|kept| default_of(field, kept.id)).collect())),
        other => other.clone(),
    };
    Some(Field { ty: Type::Struct(StructType { fields }), initial_default, ..field.clone() })
}

/// What the default of a struct says about one of its fields.
fn default_of(structure: &Field, id: i32) -> Option<Value> {
    let (Type::Struct(ty), Some(Value::Struct(values))) = (&structure.ty, &structure.initial_default) else { return None };
    let at = ty.fields.iter().position(|field| field.id == id)?;
    values.get(at).cloned().flatten()
}

/// Adds fields to those with the same ids, level by level.
fn merge(into: &mut Vec<Field>, from: Vec<Field>) {
    for field in from {
        let Some(known) = into.iter_mut().find(|known| known.id == field.id) else {
            into.push(field);
            continue;
        };
        let Type::Struct(more) = &field.ty else { continue };
        if let (Type::Struct(known), Some(Value::Struct(values))) = (&known.ty, &mut known.initial_default) {
            let added = more.fields.iter().filter(|add| known.fields.iter().all(|known| known.id != add.id));
            values.extend(added.map(|add| default_of(&field, add.id)));
        }
        if let Type::Struct(known) = &mut known.ty {
            merge(&mut known.fields, more.fields.clone());
        }
    }
}

/// Whether a type holds strings, which passes may encode differently.
pub(crate) fn holds_strings(ty: &Type) -> bool {
    *ty == Type::Primitive(PrimitiveType::String) || ty.children().iter().any(|child| holds_strings(&child.ty))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::table_metadata;
    use fastdata_types::expr::Column;

    fn column(id: i32, path: &[&str], ty: PrimitiveType) -> Expr {
        Expr::Column(Column { id, path: path.iter().map(|s| (*s).to_owned()).collect(), ty: ty.into() })
    }

    #[test]
    fn equality_columns_are_found_in_all_schemas_even_when_they_were_dropped() {
        let address = |fields| Field::optional(2, "address", Type::structure(fields));
        let city = Field::optional(3, "city", PrimitiveType::String);
        let zip = Field::optional(4, "zip", PrimitiveType::String);
        let old = Schema::new(
            0,
            vec![
                Field::required(1, "id", PrimitiveType::Long),
                address(vec![city.clone(), zip]),
                Field::optional(9, "gone", PrimitiveType::Int),
            ],
        )
        .unwrap();
        let new = Schema::new(1, vec![Field::required(1, "id", PrimitiveType::Long), address(vec![city])]).unwrap();
        let table = table_metadata(vec![old, new.clone()]);
        let filter = Expr::IsNull { expr: Box::new(column(3, &["address", "city"], PrimitiveType::String)), negated: true };
        let schema = deciding_schema(&table, &new, Some(&filter), &BTreeSet::from([4, 9])).unwrap();
        assert_eq!(schema.full_name(3).as_deref(), Some("address.city"));
        assert_eq!(schema.full_name(4).as_deref(), Some("address.zip"));
        assert_eq!(schema.full_name(9).as_deref(), Some("gone"));
        assert!(schema.field_by_id(1).is_none());
        assert!(deciding_schema(&table, &new, None, &BTreeSet::from([77])).is_err());
    }

    #[test]
    fn lineage_columns_are_looked_for_in_the_file_as_well() {
        let fields = metadata_column::fields(StructType { fields: vec![] });
        let layout = Layout::new(Schema::new(0, fields).unwrap(), StringEncoding::Utf8).unwrap();
        let ids: Vec<i32> = layout.target.fields.iter().map(|f| f.id).collect();
        assert_eq!(ids, [metadata_column::ROW_ID, metadata_column::LAST_UPDATED_SEQUENCE_NUMBER]);
        assert_eq!(layout.sources[4], Source::RowId { stored: 0 });
        assert_eq!(layout.sources[5], Source::SequenceNumber { stored: 1 });
    }
}
