//! Rebuilds decoded arrays along the plan of a file.
//!
//! Contract: a decoded array that is not what the plan asked for is an error, never a panic. A list is rebuilt over just the elements that
//! its rows span, so slices of a large batch cost what they hold. NULL under a required field is `corrupt` and names the column.
//!
//! How: the decoder leaves out the nulls of a struct that the file calls required even below a null one, so the nulls of the ancestors up to the
//! next list are handed down and every struct is rebuilt with all that apply to it.

use super::constant::{constant_array, masked};
use super::{Column, Recipe, Sourced};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::request::StringEncoding;
use std::sync::Arc;

/// The column from its decoded source; `above` are the nulls of the structs around it.
pub(super) fn apply(column: &Column, array: &ArrayRef, above: Option<&NullBuffer>, strings: StringEncoding) -> Result<ArrayRef> {
    match &column.recipe {
        Recipe::Constant { .. } => fill(column, array.len(), strings),
        Recipe::Leaf(conversion) => {
            conversion.apply(array, column.field.data_type(), strings).map_err(|e| e.context(format!("column '{}'", column.path)))
        }
        Recipe::Struct(children) => apply_struct(column, children, array, above, strings),
        Recipe::List(element) => {
            let (Some(list), DataType::List(field)) = (array.as_list_opt::<i32>(), column.field.data_type()) else {
                return Err(unplanned(column, array));
            };
            let (values, offsets) = spanned(list.values(), list.offsets())?;
            let values = apply(element, &values, None, strings)?;
            check_required(element, &values, None)?;
            let list = ListArray::try_new(Arc::clone(field), offsets, values, list.nulls().cloned());
            Ok(Arc::new(list.map_err(|e| rebuild_failed(column, e))?))
        }
        Recipe::Map { key, value } => apply_map(column, key, value, array, strings),
    }
}

/// The column where the file lacks it.
pub(super) fn fill(column: &Column, rows: usize, strings: StringEncoding) -> Result<ArrayRef> {
    match &column.recipe {
        Recipe::Constant { value, field } => constant_array(value.as_ref(), field, strings, rows),
        _ => Err(Error::internal(Stage::Read, format!("column '{}' has no source", column.path))),
    }
}

/// NULL is allowed under a required field only where its parent is NULL too.
pub(super) fn check_required(column: &Column, array: &ArrayRef, parent: Option<&NullBuffer>) -> Result<()> {
    if column.field.is_nullable() {
        return Ok(());
    }
    let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) else {
        return Ok(());
    };
    if parent.is_some_and(|parent| parent.contains(&nulls)) {
        return Ok(());
    }
    Err(Error::corrupt(Stage::Read, format!("column '{}' is required and the file holds NULL in it", column.path))
        .advice("make the column optional in the table's schema, or rewrite the file"))
}

fn apply_struct(
    column: &Column,
    children: &[Sourced],
    array: &ArrayRef,
    above: Option<&NullBuffer>,
    strings: StringEncoding,
) -> Result<ArrayRef> {
    let (Some(decoded), DataType::Struct(fields)) = (array.as_struct_opt(), column.field.data_type()) else {
        return Err(unplanned(column, array));
    };
    let nulls = NullBuffer::union(decoded.nulls(), above).filter(|nulls| nulls.null_count() > 0);
    if children.is_empty() {
        return Ok(Arc::new(StructArray::new_empty_fields(decoded.len(), nulls)));
    }
    let mut arrays = Vec::with_capacity(children.len());
    for Sourced { source, column: child } in children {
        let out = match (source, &nulls) {
            (Some(at), nulls) => {
                let source = decoded.columns().get(*at).ok_or_else(|| unplanned(child, array))?;
                apply(child, source, nulls.as_ref(), strings)?
            }
            (None, Some(nulls)) => masked(fill(child, decoded.len(), strings)?, nulls)?,
            (None, None) => fill(child, decoded.len(), strings)?,
        };
        check_required(child, &out, nulls.as_ref())?;
        arrays.push(out);
    }
    Ok(Arc::new(StructArray::try_new(fields.clone(), arrays, nulls).map_err(|e| rebuild_failed(column, e))?))
}

fn apply_map(column: &Column, key: &Column, value: &Column, array: &ArrayRef, strings: StringEncoding) -> Result<ArrayRef> {
    let (Some(map), DataType::Map(entry_field, _)) = (array.as_map_opt(), column.field.data_type()) else {
        return Err(unplanned(column, array));
    };
    let DataType::Struct(entry_fields) = entry_field.data_type() else {
        return Err(unplanned(column, array));
    };
    let entries: ArrayRef = Arc::new(map.entries().clone());
    let (entries, offsets) = spanned(&entries, map.offsets())?;
    let entries = entries.as_struct_opt().ok_or_else(|| unplanned(column, array))?;
    let [keys, values] = entries.columns() else {
        return Err(unplanned(column, array));
    };
    if entries.null_count() > 0 || keys.null_count() > 0 {
        return Err(Error::corrupt(Stage::Read, format!("column '{}': a map key is NULL", column.path)));
    }
    let (keys, values) = (apply(key, keys, None, strings)?, apply(value, values, None, strings)?);
    check_required(key, &keys, None)?;
    check_required(value, &values, None)?;
    let entries = StructArray::try_new(entry_fields.clone(), vec![keys, values], None).map_err(|e| rebuild_failed(column, e))?;
    let map = MapArray::try_new(Arc::clone(entry_field), offsets, entries, map.nulls().cloned(), false);
    Ok(Arc::new(map.map_err(|e| rebuild_failed(column, e))?))
}

/// The elements between the first and the last offset, and offsets that start at 0.
fn spanned(values: &ArrayRef, offsets: &OffsetBuffer<i32>) -> Result<(ArrayRef, OffsetBuffer<i32>)> {
    let (Some(first), Some(last)) = (offsets.first().copied(), offsets.last().copied()) else {
        return Ok((values.slice(0, 0), OffsetBuffer::new_empty()));
    };
    let (start, end) = (first.max(0) as usize, last.max(first).max(0) as usize);
    if end > values.len() {
        return Err(Error::internal(Stage::Read, "list offsets reach beyond the elements"));
    }
    if start == 0 && end == values.len() {
        return Ok((Arc::clone(values), offsets.clone()));
    }
    let rebased: ScalarBuffer<i32> =
        if first == 0 { offsets.inner().clone() } else { offsets.iter().map(|offset| offset - first).collect::<Vec<_>>().into() };
    Ok((values.slice(start, end - start), OffsetBuffer::new(rebased)))
}

fn unplanned(column: &Column, array: &ArrayRef) -> Error {
    Error::internal(Stage::Read, format!("column '{}' was decoded as {}, which was not planned", column.path, array.data_type()))
}

fn rebuild_failed(column: &Column, error: arrow::error::ArrowError) -> Error {
    Error::internal(Stage::Read, format!("column '{}' could not be rebuilt", column.path)).source(error)
}
