//! Pairs the fields of the target with the columns of a file, level by level.
//!
//! Contract: linear in the number of fields and columns. A field that two columns claim, a type without a conversion and a required field
//! without a value are errors that name the column.

use super::conversion::conversion;
use super::file_column::{FileColumn, Ids, Shape, file_columns, has_ids};
use super::{Column, FileProjection, Recipe, ResolveContext, Sourced, constant, fallback, hints};
use arrow::datatypes::DataType;
use fastdata_types::arrow_type::arrow_field;
use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::schema::{Field, PrimitiveType, Schema, Type};
use fastdata_types::value::Value;
use parquet::schema::types::SchemaDescriptor;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) fn resolve(parquet: &SchemaDescriptor, target: &Schema, context: &ResolveContext) -> Result<FileProjection> {
    let ids = if has_ids(parquet.root_schema()) {
        Ids::File
    } else {
        context.name_mapping.map_or(Ids::Absent, |mapping| Ids::Mapping(&mapping.fields))
    };
    let mut columns = file_columns(parquet, ids)?;
    if matches!(ids, Ids::Absent) {
        assign_positions(&mut columns, target, context)?;
    }
    let mut pairing = Pairing { context, leaves: Vec::new(), wishes: HashMap::new(), leaf_by_field: HashMap::new(), constant_row_bytes: 0 };
    let mut path = String::new();
    let sourced = pairing.siblings(&target.fields, &columns, &mut path)?;
    pairing.leaves.sort_unstable();
    pairing.leaves.dedup();
    let levels = hints::levels(parquet, &columns, &pairing.leaves, &pairing.wishes)?;
    Ok(FileProjection {
        file: context.file.to_owned(),
        levels,
        leaves: pairing.leaves,
        columns: sourced,
        leaf_by_field: pairing.leaf_by_field,
        strings: context.strings,
        constant_row_bytes: pairing.constant_row_bytes,
    })
}

/// The position fallback: ids of top-level columns by their place, of nested ones as [`fallback`] says, for the columns asked for.
fn assign_positions(columns: &mut [FileColumn], target: &Schema, context: &ResolveContext) -> Result<()> {
    let wanted: HashMap<i32, &Field> = target.fields.iter().map(|field| (field.id, field)).collect();
    for (at, column) in columns.iter_mut().enumerate() {
        let Ok(id) = i32::try_from(at + 1) else { break };
        column.id = Some(id);
        if let Some(field) = wanted.get(&id) {
            let whole = context.table_schema.field_by_id(id).unwrap_or(field);
            fallback::assign_nested_ids(column, whole, &field.name)?;
        }
    }
    Ok(())
}

struct Pairing<'a> {
    context: &'a ResolveContext<'a>,
    leaves: Vec<usize>,
    wishes: HashMap<usize, DataType>,
    leaf_by_field: HashMap<i32, usize>,
    constant_row_bytes: u64,
}

impl Pairing<'_> {
    /// Pairs the fields of one level by id. Sources are places among those siblings that are decoded.
    fn siblings(&mut self, fields: &[Field], columns: &[FileColumn], path: &mut String) -> Result<Vec<Sourced>> {
        let mut by_id: HashMap<i32, usize> = HashMap::with_capacity(columns.len());
        let mut claimed_twice: HashSet<i32> = HashSet::new();
        for (at, column) in columns.iter().enumerate() {
            let Some(id) = column.id.filter(|_| !column.leaves.is_empty()) else { continue };
            if by_id.insert(id, at).is_some() {
                claimed_twice.insert(id);
            }
        }
        let mut out: Vec<Sourced> = Vec::with_capacity(fields.len());
        for field in fields {
            let length = path.len();
            if length > 0 {
                path.push('.');
            }
            path.push_str(&field.name);
            if claimed_twice.contains(&field.id) {
                return Err(Error::corrupt(
                    Stage::Read,
                    format!("column '{path}': two columns of the file have its field id {}", field.id),
                ));
            }
            let found = by_id.get(&field.id).and_then(|at| Some((*at, columns.get(*at)?)));
            // By the whole type, so that what is selected of a column does not decide whether the file has it.
            let whole = self.context.table_schema.field_by_id(field.id).unwrap_or(field);
            let found = found.filter(|(_, column)| field.ty != Type::Primitive(PrimitiveType::Unknown) && holds(&whole.ty, column));
            let column = match found {
                Some((_, column)) => self.present(field, column, path)?,
                None => self.missing(field, path)?,
            };
            out.push(Sourced { source: found.map(|(at, _)| at), column });
            path.truncate(length);
        }
        number_sources(&mut out, columns.len());
        Ok(out)
    }

    fn present(&mut self, field: &Field, column: &FileColumn, path: &mut String) -> Result<Column> {
        let arrow = Arc::new(arrow_field(field, self.context.strings)?);
        let unreadable = || {
            Error::corrupt(
                Stage::Read,
                format!("column '{path}' is {} in the file, which cannot be read as {}", column.describe(), field.ty),
            )
            .advice("rewrite the file with the table's type, or leave the column out")
        };
        let recipe = match (&field.ty, &column.shape) {
            (Type::Primitive(primitive), Shape::Primitive(leaf)) => {
                let (conversion, decoded) = conversion(leaf, primitive, self.context.decode_views).ok_or_else(unreadable)?;
                let at = column.leaves.start;
                self.leaves.push(at);
                self.leaf_by_field.insert(field.id, at);
                if is_wish(&decoded, leaf) {
                    self.wishes.insert(at, decoded);
                }
                Recipe::Leaf(conversion)
            }
            (Type::Struct(s), Shape::Struct(children)) => {
                let sourced = self.siblings(&s.fields, children, path)?;
                if sourced.iter().all(|child| child.source.is_none()) {
                    self.leaves.extend(column.anchor());
                }
                Recipe::Struct(sourced)
            }
            (Type::List(list), Shape::List(element)) => Recipe::List(Box::new(self.fixed_child(&list.element, element, path)?)),
            (Type::Map(map), Shape::Map { key, value }) => {
                let key = Box::new(self.fixed_child(&map.key, key, path)?);
                let value = Box::new(self.fixed_child(&map.value, value, path)?);
                Recipe::Map { key, value }
            }
            _ => return Err(unreadable()),
        };
        Ok(Column { field: arrow, path: path.clone(), recipe })
    }

    /// An element, key or value: the only one its parent has, whatever its id; [`holds`] has told that the parent is the one meant.
    fn fixed_child(&mut self, field: &Field, column: &FileColumn, path: &mut String) -> Result<Column> {
        let length = path.len();
        path.push('.');
        path.push_str(&field.name);
        let out = if field.ty == Type::Primitive(PrimitiveType::Unknown) {
            self.leaves.extend(column.anchor());
            self.missing(field, path)?
        } else {
            self.present(field, column, path)?
        };
        path.truncate(length);
        Ok(out)
    }

    /// A field the file lacks (spec "Column Projection"): partition value, `initial-default`, NULL.
    fn missing(&mut self, field: &Field, path: &str) -> Result<Column> {
        let arrow = Arc::new(arrow_field(field, self.context.strings)?);
        let value = match self.context.constants.get(&field.id) {
            Some(value) => value.clone(),
            None => self.initial_default(field),
        };
        if value.is_none() && field.required {
            return Err(Error::corrupt(
                Stage::Read,
                format!(
                    "column '{path}' is required, and the file has neither a column with field id {} nor the table a default",
                    field.id
                ),
            )
            .advice("make the column optional in the table's schema, or give it an initial default"));
        }
        self.constant_row_bytes =
            self.constant_row_bytes.saturating_add(constant::row_bytes(value.as_ref(), &field.ty, self.context.strings));
        Ok(Column { field: arrow, path: path.to_owned(), recipe: Recipe::Constant { value, field: Box::new(field.clone()) } })
    }

    /// The default cut to the children that the target keeps: it is written for the whole field of the table.
    fn initial_default(&self, field: &Field) -> Option<Value> {
        let whole = self.context.table_schema.field_by_id(field.id).unwrap_or(field);
        cut(whole.initial_default.as_ref()?, &whole.ty, &field.ty)
    }
}

/// Whether a list or map of the file is the one the table means. Its own id is not enough: where the file has ids for what is in it,
/// one of them must be the table's, else the table's column is not in the file (spec "Column Projection", which goes by id; so the
/// Java reference prunes such columns). Children without an id are taken for the ones meant.
fn holds(ty: &Type, column: &FileColumn) -> bool {
    let child = |field: &Field, column: &FileColumn| match column.id {
        Some(id) => id == field.id || !matches!(field.ty, Type::Primitive(_)) && holds_below(&field.ty, column),
        None => true,
    };
    match (ty, &column.shape) {
        (Type::List(list), Shape::List(element)) => child(&list.element, element),
        (Type::Map(map), Shape::Map { key, value }) => child(&map.key, key) || child(&map.value, value),
        _ => true,
    }
}

/// Whether the file has one of the ids below a nested type whose own id it has not.
fn holds_below(ty: &Type, column: &FileColumn) -> bool {
    match (ty, &column.shape) {
        (Type::Struct(fields), Shape::Struct(children)) => {
            let ids: HashSet<i32> = fields.fields.iter().map(|field| field.id).collect();
            children.iter().any(|child| child.id.is_some_and(|id| ids.contains(&id)))
        }
        (Type::List(_), Shape::List(_)) | (Type::Map(_), Shape::Map { .. }) => holds(ty, column),
        _ => false,
    }
}

/// From places in the file to places among the siblings that are decoded.
fn number_sources(out: &mut [Sourced], columns: usize) {
    let mut place: Vec<Option<usize>> = vec![None; columns];
    for at in out.iter().filter_map(|sourced| sourced.source) {
        place[at] = Some(0);
    }
    for (next, slot) in place.iter_mut().filter(|slot| slot.is_some()).enumerate() {
        *slot = Some(next);
    }
    for sourced in out {
        sourced.source = sourced.source.and_then(|source| place[source]);
    }
}

/// Whether the decoder must be told to produce this type.
fn is_wish(decoded: &DataType, leaf: &parquet::schema::types::Type) -> bool {
    let views = matches!(decoded, DataType::Utf8View | DataType::BinaryView);
    views || leaf.get_physical_type() == parquet::basic::Type::INT96
}

/// A value of `whole` as a value of `kept`, whose structs may have fewer fields in another order.
fn cut(value: &Value, whole: &Type, kept: &Type) -> Option<Value> {
    match (value, whole, kept) {
        (Value::Struct(members), Type::Struct(whole), Type::Struct(kept)) => {
            let member = |field: &Field| {
                let at = whole.fields.iter().position(|f| f.id == field.id)?;
                cut(members.get(at)?.as_ref()?, &whole.fields[at].ty, &field.ty)
            };
            Some(Value::Struct(kept.fields.iter().map(member).collect()))
        }
        (Value::List(items), Type::List(whole), Type::List(kept)) => {
            Some(Value::List(items.iter().map(|item| cut(item.as_ref()?, &whole.element.ty, &kept.element.ty)).collect()))
        }
        (Value::Map(entries), Type::Map(whole), Type::Map(kept)) => {
            let entry = |(key, value): &(Value, Option<Value>)| {
                let value = value.as_ref().and_then(|value| cut(value, &whole.value.ty, &kept.value.ty));
                Some((cut(key, &whole.key.ty, &kept.key.ty)?, value))
            };
            entries.iter().map(entry).collect::<Option<Vec<_>>>().map(Value::Map)
        }
        _ => Some(value.clone()),
    }
}
