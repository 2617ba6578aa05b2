//! What one caller may see: the question that the engine asks for every table, whatever surface the caller came by.
//!
//! Contract: a table without a [`Grant`] does not exist for the caller. A grant's columns are names of the table's *current* schema and stand
//! for field ids from then on, so that no rename makes an older snapshot show more; a column that is not granted does not exist either.
//! A grant's filter is bound by the engine against the whole schema, and only rows for which it is true exist.

use crate::catalog::TableName;
use crate::error::Result;
use crate::schema::{Field, ListType, MapType, Schema, StructType, Type};
use std::collections::HashSet;
use std::fmt::Debug;

/// What one caller may see of the tables.
pub trait Access: Send + Sync + Debug {
    /// `None`: the table does not exist for the caller. It is asked of names that no catalog has, too.
    fn grant(&self, catalog: &str, table: &TableName) -> Option<Grant>;

    /// Whether any table of the catalog may be visible. One of which nothing is does not exist for the caller.
    fn sees_catalog(&self, catalog: &str) -> bool;

    /// Whether every catalog, namespace and table is visible and whole: nothing needs to be asked then.
    fn is_everything(&self) -> bool {
        false
    }
}

/// The access of the command line, and of a server without rules.
#[derive(Debug, Clone, Copy, Default)]
pub struct Everything;

impl Access for Everything {
    fn grant(&self, _: &str, _: &TableName) -> Option<Grant> {
        Some(Grant::default())
    }

    fn sees_catalog(&self, _: &str) -> bool {
        true
    }

    fn is_everything(&self) -> bool {
        true
    }
}

/// What a caller may see of one table. The default is all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Dotted paths, those of metadata columns included; `None` is every column.
    pub columns: Option<Vec<String>>,
    /// A SQL expression: only rows for which it is true. `None` is every row.
    pub filter: Option<String>,
}

impl Grant {
    pub fn is_whole(&self) -> bool {
        !self.hides_columns() && !self.hides_rows()
    }

    pub fn hides_columns(&self) -> bool {
        self.columns.is_some()
    }

    /// Counts of rows tell of hidden ones then.
    pub fn hides_rows(&self) -> bool {
        self.filter.is_some()
    }

    /// What is granted of the columns of `schema`, one of the schemas of a table whose current one is `current`. An ambiguous name grants nothing.
    pub fn table_fields(&self, current: &Schema, schema: &Schema) -> Vec<Field> {
        match &self.columns {
            None => schema.fields.clone(),
            Some(columns) => Chosen::of(columns, current).part_of(&schema.fields),
        }
    }

    /// What is granted of the metadata columns (`_file`, `_pos`, ...) that a table offers.
    pub fn metadata_fields(&self, offered: &[Field]) -> Result<Vec<Field>> {
        match &self.columns {
            None => Ok(offered.to_vec()),
            Some(columns) => Ok(Chosen::of(columns, &Schema::new(0, offered.to_vec())?).part_of(offered)),
        }
    }
}

/// The fields of `schema` that are still in `current`, under the names that they have there: what a grant's filter is bound to, so that its names mean
/// the same columns at every snapshot.
pub fn by_current_names(current: &[Field], schema: &[Field]) -> Vec<Field> {
    let same = |now: &Field| schema.iter().find(|field| field.id == now.id).map(|then| renamed(now, then));
    current.iter().filter_map(same).collect()
}

fn renamed(now: &Field, then: &Field) -> Field {
    let ty = match (&now.ty, &then.ty) {
        (Type::Struct(now), Type::Struct(then)) => Type::structure(by_current_names(&now.fields, &then.fields)),
        (Type::List(now), Type::List(then)) => Type::List(Box::new(ListType { element: renamed(&now.element, &then.element) })),
        (Type::Map(now), Type::Map(then)) => {
            Type::Map(Box::new(MapType { key: renamed(&now.key, &then.key), value: renamed(&now.value, &then.value) }))
        }
        (_, then) => then.clone(),
    };
    Field { name: now.name.clone(), ty, ..then.clone() }
}

/// Columns by field id.
struct Chosen {
    /// Taken with all that is below them.
    whole: HashSet<i32>,
    /// These, and those above them.
    entered: HashSet<i32>,
}

impl Chosen {
    fn of(columns: &[String], schema: &Schema) -> Chosen {
        let mut chosen = Chosen { whole: HashSet::new(), entered: HashSet::new() };
        for path in columns.iter().filter_map(|column| schema.resolve(column).ok()) {
            chosen.whole.extend(path.last().map(|field| field.id));
            chosen.entered.extend(path.iter().map(|field| field.id));
        }
        chosen
    }

    fn part_of(&self, fields: &[Field]) -> Vec<Field> {
        fields.iter().filter_map(|field| self.prune(field)).collect()
    }

    fn prune(&self, field: &Field) -> Option<Field> {
        if self.whole.contains(&field.id) {
            return Some(field.clone());
        }
        if !self.entered.contains(&field.id) {
            return None;
        }
        let ty = match &field.ty {
            Type::Primitive(_) => return None,
            Type::Struct(inner) => {
                let fields = self.part_of(&inner.fields);
                (!fields.is_empty()).then_some(Type::Struct(StructType { fields }))?
            }
            Type::List(list) => Type::List(Box::new(ListType { element: self.prune(&list.element)? })),
            // Values cannot be told without their keys; keys alone are no map.
            Type::Map(map) => Type::Map(Box::new(MapType { key: map.key.clone(), value: self.prune(&map.value)? })),
        };
        Some(Field { ty, ..field.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::PrimitiveType as P;

    fn current() -> Schema {
        let address = Type::structure(vec![Field::optional(4, "city", P::String), Field::optional(5, "street", P::String)]);
        let point = Type::structure(vec![Field::optional(8, "x", P::Int), Field::optional(9, "y", P::Int)]);
        Schema::new(
            1,
            vec![
                Field::required(1, "id", P::Long),
                Field::optional(2, "note", P::String),
                Field::optional(3, "address", address),
                Field::optional(6, "points", Type::list(7, false, point.clone())),
                Field::optional(10, "named", Type::map(11, P::String, 12, false, P::Int)),
            ],
        )
        .unwrap()
    }

    fn granted(columns: &[&str], schema: &Schema) -> Vec<String> {
        let grant = Grant { columns: Some(columns.iter().map(|c| (*c).to_owned()).collect()), filter: None };
        let schema = Schema::new(0, grant.table_fields(&current(), schema)).unwrap();
        let mut names: Vec<String> = schema.ids().filter_map(|id| schema.full_name(id)).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_granted_is_not_in_the_schema_at_any_level() {
        let schema = current();
        assert_eq!(granted(&["id"], &schema), ["id"]);
        assert_eq!(granted(&["ADDRESS.city"], &schema), ["address", "address.city"]);
        assert_eq!(granted(&["points.element.y"], &schema), ["points", "points.element", "points.element.y"]);
        assert_eq!(granted(&["named.value"], &schema), ["named", "named.key", "named.value"]);
        assert_eq!(granted(&["address"], &schema), ["address", "address.city", "address.street"]);
        assert!(granted(&["named.key"], &schema).is_empty(), "keys alone would bring their values");
        assert!(granted(&["missing", "address.missing", "_file"], &schema).is_empty());
    }

    /// What is called `note` now was called otherwise once, and another column was called `note` then.
    #[test]
    fn names_are_those_of_the_current_schema_whatever_an_older_one_called_them() {
        let old = Schema::new(0, vec![Field::required(1, "note", P::Int), Field::optional(2, "text", P::String)]).unwrap();
        assert_eq!(granted(&["note"], &old), ["text"]);
        let names: Vec<(i32, String, Type)> =
            by_current_names(&current().fields, &old.fields).into_iter().map(|field| (field.id, field.name, field.ty)).collect();
        assert_eq!(names, [(1, "id".to_owned(), P::Int.into()), (2, "note".to_owned(), P::String.into())]);
    }

    #[test]
    fn the_default_grant_is_everything() {
        let grant = Everything.grant("lake", &TableName::new(["a"], "b")).unwrap();
        assert!(grant.is_whole());
        assert_eq!(grant.table_fields(&current(), &current()), current().fields);
    }
}
