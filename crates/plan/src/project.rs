//! The pruned schema of a scan: which columns, which leaves of nested ones.
//!
//! Contract: top-level columns come in the order asked for, what is below them in the order of the schema; asking twice is asking once. A path that
//! ends at a nested column takes all of it. Keys of maps always come whole. A column that cannot be read is refused by name
//! before anything is opened.

use fastdata_types::error::nearest;
use fastdata_types::schema::{Field, ListType, MapType, Schema, StructType, Type, metadata_column};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::collections::HashSet;

#[cfg(test)]
mod tests;

/// Prunes `bindable` (table and metadata columns) to `columns`; no columns mean all of `table_schema`.
pub fn project(bindable: &Schema, columns: &[String], table_schema: &Schema) -> Result<Schema> {
    let fields = if columns.is_empty() { table_schema.fields.clone() } else { named(bindable, columns)? };
    for field in &fields {
        check_readable(field, &field.name)?;
    }
    Schema::new(bindable.id, fields)
}

fn named(schema: &Schema, columns: &[String]) -> Result<Vec<Field>> {
    let mut top: Vec<&Field> = Vec::new();
    let mut whole: HashSet<i32> = HashSet::new();
    let mut entered: HashSet<i32> = HashSet::new();
    for column in columns {
        let path = schema.resolve(column).map_err(|e| explain(e, schema, column))?;
        let (Some(first), Some(last)) = (path.first(), path.last()) else { continue };
        if !top.iter().any(|field| field.id == first.id) {
            top.push(first);
        }
        entered.extend(path.iter().map(|field| field.id));
        whole.insert(last.id);
    }
    Ok(top.into_iter().map(|field| prune(field, &whole, &entered)).collect())
}

/// Some metadata columns exist only where their names and ids are free.
fn explain(error: Error, schema: &Schema, column: &str) -> Error {
    let name = column.split('.').next().unwrap_or(column);
    let empty = StructType { fields: vec![] };
    let reserved = metadata_column::fields(empty).iter().any(|field| field.name == name);
    if error.kind() == ErrorKind::NotFound && reserved && schema.fields.iter().all(|field| field.name != name) {
        let message = format!("metadata column '{name}' is not available: columns of the table use the field ids that it needs");
        return Error::unsupported(Stage::Plan, message).advice("leave it out");
    }
    match nearest(column, schema.fields.iter().map(|f| f.name.as_str())).first() {
        Some(near) => error.or_advice(format!("did you mean: {near}")),
        None => error,
    }
}

fn prune(field: &Field, whole: &HashSet<i32>, entered: &HashSet<i32>) -> Field {
    if whole.contains(&field.id) {
        return field.clone();
    }
    let ty = match &field.ty {
        Type::Primitive(_) => return field.clone(),
        Type::Struct(s) => {
            let kept = s.fields.iter().filter(|f| entered.contains(&f.id));
            Type::Struct(StructType { fields: kept.map(|f| prune(f, whole, entered)).collect() })
        }
        Type::List(list) => Type::List(Box::new(ListType { element: prune(&list.element, whole, entered) })),
        Type::Map(map) => {
            let value = if entered.contains(&map.value.id) { prune(&map.value, whole, entered) } else { map.value.clone() };
            Type::Map(Box::new(MapType { key: map.key.clone(), value }))
        }
    };
    Field { ty, ..field.clone() }
}

fn check_readable(field: &Field, name: &str) -> Result<()> {
    if let Type::Primitive(primitive) = &field.ty
        && !primitive.is_readable()
    {
        return Err(Error::unsupported(Stage::Plan, format!("column '{name}' has type {primitive}, which is not supported yet"))
            .advice("leave the column out: name the columns to return"));
    }
    field.ty.children().into_iter().try_for_each(|child| check_readable(child, &format!("{name}.{}", child.name)))
}
