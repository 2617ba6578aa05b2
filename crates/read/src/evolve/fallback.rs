//! Ids for the nested fields of files that carry none, in tables without a name mapping.
//!
//! Contract: top-level column i (from 1) has id i, as the Java reference has it; the specification knows no position fallback. Below
//! the top level a struct's children are matched by name where every one of the file's names is a field of the table, else
//! by position where the counts agree (a rename), else the column is refused: a guess could return one column under another's name.

use super::file_column::{FileColumn, Shape};
use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::schema::{Field, Type};
use std::collections::HashMap;

/// Gives the children of `column` the ids of `field`'s children. Shapes that do not fit are left for the pairing to refuse.
pub(super) fn assign_nested_ids(column: &mut FileColumn, field: &Field, path: &str) -> Result<()> {
    match (&mut column.shape, &field.ty) {
        (Shape::Struct(children), Type::Struct(s)) => {
            let by_name: HashMap<&str, &Field> = s.fields.iter().map(|f| (f.name.as_str(), f)).collect();
            let named = children.iter().all(|child| by_name.contains_key(child.name));
            if !named && children.len() != s.fields.len() {
                return Err(Error::unsupported(
                    Stage::Read,
                    format!(
                        "column '{path}': the file has no field ids and its {} nested columns do not match the table's",
                        children.len()
                    ),
                )
                .advice("give the table a name mapping (property schema.name-mapping.default)"));
            }
            for (at, child) in children.iter_mut().enumerate() {
                let Some(field) = (if named { by_name.get(child.name).copied() } else { s.fields.get(at) }) else { continue };
                child.id = Some(field.id);
                assign_nested_ids(child, field, &format!("{path}.{}", field.name))?;
            }
        }
        (Shape::List(element), Type::List(list)) => {
            element.id = Some(list.element.id);
            assign_nested_ids(element, &list.element, &format!("{path}.element"))?;
        }
        (Shape::Map { key, value }, Type::Map(map)) => {
            key.id = Some(map.key.id);
            value.id = Some(map.value.id);
            assign_nested_ids(key, &map.key, &format!("{path}.key"))?;
            assign_nested_ids(value, &map.value, &format!("{path}.value"))?;
        }
        _ => {}
    }
    Ok(())
}
