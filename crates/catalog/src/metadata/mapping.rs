//! The name mapping of a table (spec "Column Projection"): which field ids the columns of files without ids have.
//!
//! Contract: a mapping that gives one name to two fields of one level is `corrupt`: it could return either column.

use super::schema::short;
use super::{json_error, raw};
use fastdata_types::metadata::{MappedField, NameMapping};
use fastdata_types::{Error, Result, Stage};
use std::collections::HashSet;

pub const PROPERTY: &str = "schema.name-mapping.default";

pub fn parse(json: &str) -> Result<NameMapping> {
    super::check_depth(json.as_bytes()).and_then(|()| parse_checked(json)).map_err(|e| e.context(format!("table property {PROPERTY}")))
}

fn parse_checked(json: &str) -> Result<NameMapping> {
    let raw: Vec<raw::MappedField> = serde_json::from_str(json).map_err(|e| json_error(&e))?;
    Ok(NameMapping { fields: level(raw)? })
}

fn level(raw: Vec<raw::MappedField>) -> Result<Vec<MappedField>> {
    let mut seen = HashSet::new();
    let mut fields = Vec::with_capacity(raw.len());
    for field in raw {
        let names = field.names.unwrap_or_default();
        for name in &names {
            if !seen.insert(name.clone()) {
                return Err(Error::corrupt(Stage::Catalog, format!("two fields are called '{}'", short(name))));
            }
        }
        fields.push(MappedField { field_id: field.field_id, names, fields: level(field.fields.unwrap_or_default())? });
    }
    Ok(fields)
}
