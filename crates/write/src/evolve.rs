//! Schema changes by id (spec "Schema Evolution"): add, drop, rename, move, promote and relax, at any level.
//!
//! Contract: a field keeps its id through every change but a drop; an added one gets ids that were never used. Paths are dotted names; lists and
//! maps are entered by `element`, `key` and `value`.

use crate::misuse;
use fastdata_types::{Field, PrimitiveType, Result, Schema, Type};

/// The fields of the next schema, while they are changed.
#[derive(Debug)]
pub struct SchemaUpdate {
    fields: Vec<Field>,
    last_column_id: i32,
}

impl SchemaUpdate {
    pub(crate) fn new(fields: Vec<Field>, last_column_id: i32) -> Self {
        SchemaUpdate { fields, last_column_id }
    }

    pub(crate) fn finish(self, id: i32, identifier_field_ids: Vec<i32>) -> Result<(Schema, i32)> {
        Ok((Schema::new(id, self.fields)?.with_identifier_field_ids(identifier_field_ids), self.last_column_id))
    }

    /// Adds a field as the last one of the struct at `parent` (empty for the top level). Its ids, and those inside its type, are new;
    /// those it comes with are ignored. Returns its id.
    pub fn add(&mut self, parent: &str, field: Field) -> Result<i32> {
        let field = self.with_fresh_ids(field);
        let id = field.id;
        let siblings = self.members(parent)?;
        if siblings.iter().any(|f| f.name == field.name) {
            return Err(misuse(format!("there is a column '{}' already", field.name)));
        }
        siblings.push(field);
        Ok(id)
    }

    pub fn drop(&mut self, path: &str) -> Result<()> {
        let (siblings, at) = self.locate(path)?;
        siblings.remove(at);
        Ok(())
    }

    pub fn rename(&mut self, path: &str, name: &str) -> Result<()> {
        let (siblings, at) = self.locate(path)?;
        siblings[at].name = name.to_owned();
        Ok(())
    }

    /// Moves a field to another place among its siblings.
    pub fn reorder(&mut self, path: &str, position: usize) -> Result<()> {
        let (siblings, at) = self.locate(path)?;
        let field = siblings.remove(at);
        siblings.insert(position.min(siblings.len()), field);
        Ok(())
    }

    /// Widens a primitive type; whether the promotion is allowed is not checked.
    pub fn promote(&mut self, path: &str, ty: PrimitiveType) -> Result<()> {
        let field = self.field(path)?;
        if field.ty.as_primitive().is_none() {
            return Err(misuse(format!("'{path}' is no primitive column")));
        }
        field.ty = Type::Primitive(ty);
        Ok(())
    }

    pub fn make_optional(&mut self, path: &str) -> Result<()> {
        self.field(path)?.required = false;
        Ok(())
    }

    fn with_fresh_ids(&mut self, mut field: Field) -> Field {
        self.last_column_id += 1;
        field.id = self.last_column_id;
        match &mut field.ty {
            Type::Primitive(_) => {}
            Type::Struct(s) => s.fields = std::mem::take(&mut s.fields).into_iter().map(|f| self.with_fresh_ids(f)).collect(),
            Type::List(l) => l.element = self.with_fresh_ids(l.element.clone()),
            Type::Map(m) => {
                m.key = self.with_fresh_ids(m.key.clone());
                m.value = self.with_fresh_ids(m.value.clone());
            }
        }
        field
    }

    /// The field at `path`, elements, keys and values of lists and maps included.
    fn field(&mut self, path: &str) -> Result<&mut Field> {
        let missing = || misuse(format!("there is no column '{path}'"));
        let mut steps = path.split('.');
        let first = steps.next().unwrap_or_default();
        let mut field = self.fields.iter_mut().find(|f| f.name == first).ok_or_else(missing)?;
        for step in steps {
            field = match (&mut field.ty, step) {
                (Type::Struct(s), name) => s.fields.iter_mut().find(|f| f.name == name).ok_or_else(missing)?,
                (Type::List(l), "element") => &mut l.element,
                (Type::Map(m), "key") => &mut m.key,
                (Type::Map(m), "value") => &mut m.value,
                _ => return Err(missing()),
            };
        }
        Ok(field)
    }

    fn members(&mut self, parent: &str) -> Result<&mut Vec<Field>> {
        if parent.is_empty() {
            return Ok(&mut self.fields);
        }
        match &mut self.field(parent)?.ty {
            Type::Struct(s) => Ok(&mut s.fields),
            _ => Err(misuse(format!("'{parent}' is no struct"))),
        }
    }

    fn locate(&mut self, path: &str) -> Result<(&mut Vec<Field>, usize)> {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        let siblings = self.members(parent)?;
        let at = siblings.iter().position(|f| f.name == name).ok_or_else(|| misuse(format!("there is no column '{path}'")))?;
        Ok((siblings, at))
    }
}
