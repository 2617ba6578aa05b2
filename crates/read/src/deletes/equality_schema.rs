//! The columns that equality deletes look at (spec "Equality Delete Files").
//!
//! Problem: an equality delete names field ids, and the column of an id may have been dropped since the delete was written. Contract: ids
//! are looked up in the scan's schema first, then in every schema of the table; the result holds each column at its path, with the
//! structs around it and nothing else. An id that no schema knows, or that lies in a list or map, is `corrupt`: the deletes cannot be
//! applied, and leaving them out would bring rows back.

use fastdata_types::metadata::TableMetadata;
use fastdata_types::schema::{Field, StructType};
use fastdata_types::{Error, PrimitiveType, Result, Schema, Stage, Type, Value};
use std::collections::BTreeSet;

/// The schema of the columns that equality deletes by `ids` need, looked up in all schemas of the table, with struct ancestors.
pub(crate) fn equality_schema(metadata: &TableMetadata, current: &Schema, ids: &BTreeSet<i32>) -> Result<Schema> {
    let mut fields: Vec<Field> = Vec::new();
    for id in ids {
        let ancestry = ancestry_in_any_schema(metadata, current, *id)
            .ok_or_else(|| Error::corrupt(Stage::Read, format!("equality deletes name field id {id}, which no schema of the table has")))?;
        let named = || ancestry.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(".");
        let Some((leaf, structs)) = ancestry.split_last() else { continue };
        match &leaf.ty {
            Type::Primitive(ty) if ty.is_readable() => {}
            other => return Err(Error::unsupported(Stage::Read, format!("equality deletes by column '{}' of type {other}", named()))),
        }
        if !structs.iter().all(|f| matches!(f.ty, Type::Struct(_))) {
            return Err(Error::corrupt(Stage::Read, format!("equality deletes name column '{}', which lies in a list or map", named())));
        }
        graft(&mut fields, &ancestry);
    }
    Schema::new(current.id, fields)
}

fn ancestry_in_any_schema<'a>(metadata: &'a TableMetadata, current: &'a Schema, id: i32) -> Option<Vec<&'a Field>> {
    let others = || metadata.schemas.values().rev().find_map(|schema| schema.ancestry(id));
    current.ancestry(id).or_else(|| metadata.current_schema().ancestry(id)).or_else(others)
}

/// Adds a path of fields, sharing the structs that are there already.
fn graft(fields: &mut Vec<Field>, path: &[&Field]) {
    let Some((first, rest)) = path.split_first() else { return };
    let at = match fields.iter().position(|f| f.id == first.id) {
        Some(at) => at,
        None => {
            fields.push(match &first.ty {
                Type::Primitive(_) => (*first).clone(),
                // Its default is an empty struct or NULL; its fields carry their own.
                _ => Field {
                    ty: Type::structure(vec![]),
                    initial_default: first.initial_default.as_ref().map(|_| Value::Struct(vec![])),
                    ..(*first).clone()
                },
            });
            fields.len() - 1
        }
    };
    let Some(next) = rest.first() else { return };
    let Some(Field { ty: Type::Struct(StructType { fields: below }), initial_default, .. }) = fields.get_mut(at) else { return };
    let known = below.iter().any(|f| f.id == next.id);
    graft(below, rest);
    if let (false, Some(Value::Struct(values))) = (known, initial_default) {
        values.push(default_of(first, next.id));
    }
}

/// What the default of a struct says about one of its fields.
fn default_of(structure: &Field, id: i32) -> Option<Value> {
    let (Type::Struct(ty), Some(Value::Struct(values))) = (&structure.ty, &structure.initial_default) else { return None };
    let at = ty.fields.iter().position(|f| f.id == id)?;
    values.get(at).cloned().flatten()
}

/// One column of an equality delete.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeyField {
    pub(super) id: i32,
    /// Dotted.
    pub(super) name: String,
    pub(super) ty: PrimitiveType,
}

/// The columns of `ids`, in ascending order of id.
pub(super) fn key_fields(schema: &Schema, ids: &BTreeSet<i32>) -> Result<Vec<KeyField>> {
    let field = |id: &i32| {
        let found = schema.field_by_id(*id).and_then(|f| f.ty.as_primitive());
        let ty = found.ok_or_else(|| Error::internal(Stage::Read, format!("equality column {id} was not decoded")))?.clone();
        Ok(KeyField { id: *id, name: schema.full_name(*id).unwrap_or_default(), ty })
    };
    ids.iter().map(field).collect()
}
