//! Which column a dotted name means.
//!
//! Contract: names match exactly, else case-insensitively where that is unique. An unquoted name may itself contain dots
//! (`a.b` finds a column `a.b` before a field `b` of `a`); a quoted part is one name and is never split. Filters reach into
//! structs; what lies in a list or map has no single value per row and is refused.

use crate::position::{Source, shorten};
use crate::tree::Name;
use fastdata_types::expr::Column;
use fastdata_types::schema::{Field, MAX_TYPE_DEPTH};
use fastdata_types::{Error, Result, Schema, Type};

pub(crate) fn resolve(source: &Source, schema: &Schema, names: &[Name], at: usize) -> Result<Column> {
    let joined = names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(".");
    if joined.matches('.').count() > MAX_TYPE_DEPTH {
        return Err(unknown(source, at, &joined));
    }
    let path = if names.iter().any(|name| name.quoted) {
        match schema.resolve_names(names).map_err(|error| error.context(source.place(at)))? {
            Some(path) => path,
            None => {
                let error = unknown(source, at, &joined);
                return Err(match schema.resolve(&joined) {
                    Ok(near) => error.advice(format!("did you mean: {}", spell(&near))),
                    Err(other) => error.advice(other.advice_text().unwrap_or("see describe for the columns").to_owned()),
                });
            }
        }
    } else {
        schema.resolve(&joined).map_err(|error| error.context(source.place(at)))?
    };
    let (field, above) = path.split_last().ok_or_else(|| unknown(source, at, &joined))?;
    if let Some(outer) = above.iter().find(|field| !matches!(field.ty, Type::Struct(_))) {
        let kind = if matches!(outer.ty, Type::List(_)) { "list" } else { "map" };
        return Err(source
            .invalid(at, format_args!("column '{}' lies inside the {kind} '{}'", shorten(&joined), shorten(&outer.name)))
            .advice("filters reach into structs only"));
    }
    if let Type::Primitive(primitive) = &field.ty
        && !primitive.is_readable()
    {
        return Err(
            source.unsupported(at, format_args!("column '{}' has the type {primitive}, which is not supported yet", shorten(&joined)))
        );
    }
    Ok(Column { id: field.id, path: path.iter().map(|field| field.name.clone()).collect(), ty: field.ty.clone() })
}

fn unknown(source: &Source, at: usize, name: &str) -> Error {
    Error::not_found(fastdata_types::Stage::Request, format!("{}: no column named '{}'", source.place(at), shorten(name)))
}

/// The path as a filter spells it, parts that contain dots in quotes.
fn spell(path: &[&Field]) -> String {
    let part = |field: &&Field| if field.name.contains('.') { format!("\"{}\"", field.name) } else { field.name.clone() };
    path.iter().map(part).collect::<Vec<_>>().join(".")
}
