//! Iceberg schemas (spec "Schemas and Data Types"): fields with ids, nested types, defaults.
//!
//! Contract: ids are unique within a schema; lookups by id are O(1); `Schema` is immutable once built and shared by `Arc`.

use crate::catalog::dotted_parts;
use crate::error::{Error, ErrorKind, Result, Stage, nearest};
use crate::value::Value;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Deepest nesting of a type that is accepted. Deeper schemas are refused, never recursed into.
pub const MAX_TYPE_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PrimitiveType {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    /// Precision 1..=38 digits, scale 0..=precision.
    Decimal {
        precision: u8,
        scale: u8,
    },
    Date,
    /// Microseconds from midnight.
    Time,
    /// Microseconds, no zone.
    Timestamp,
    /// Microseconds from the Unix epoch, UTC.
    Timestamptz,
    /// Nanoseconds, no zone (v3).
    TimestampNs,
    /// Nanoseconds from the Unix epoch, UTC (v3).
    TimestamptzNs,
    String,
    Uuid,
    /// Length in bytes.
    Fixed(u32),
    Binary,
    /// Always null (v3).
    Unknown,
    /// Recognised so that it can be refused by name (v3).
    Variant,
    /// Recognised so that it can be refused by name (v3); holds the spelling, parameters included.
    Geometry(String),
    /// Recognised so that it can be refused by name (v3); holds the spelling, parameters included.
    Geography(String),
}

impl PrimitiveType {
    pub fn is_float(&self) -> bool {
        matches!(self, PrimitiveType::Float | PrimitiveType::Double)
    }
    pub fn is_integer(&self) -> bool {
        matches!(self, PrimitiveType::Int | PrimitiveType::Long)
    }
    pub fn is_numeric(&self) -> bool {
        self.is_float() || self.is_integer() || matches!(self, PrimitiveType::Decimal { .. })
    }
    /// Whether values of this type can be returned; the others are refused by name.
    pub fn is_readable(&self) -> bool {
        !matches!(self, PrimitiveType::Variant | PrimitiveType::Geometry(_) | PrimitiveType::Geography(_))
    }
}

/// The spelling of the specification, `decimal(9,2)` and `fixed[16]` included.
impl fmt::Display for PrimitiveType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrimitiveType::Boolean => f.write_str("boolean"),
            PrimitiveType::Int => f.write_str("int"),
            PrimitiveType::Long => f.write_str("long"),
            PrimitiveType::Float => f.write_str("float"),
            PrimitiveType::Double => f.write_str("double"),
            PrimitiveType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            PrimitiveType::Date => f.write_str("date"),
            PrimitiveType::Time => f.write_str("time"),
            PrimitiveType::Timestamp => f.write_str("timestamp"),
            PrimitiveType::Timestamptz => f.write_str("timestamptz"),
            PrimitiveType::TimestampNs => f.write_str("timestamp_ns"),
            PrimitiveType::TimestamptzNs => f.write_str("timestamptz_ns"),
            PrimitiveType::String => f.write_str("string"),
            PrimitiveType::Uuid => f.write_str("uuid"),
            PrimitiveType::Fixed(length) => write!(f, "fixed[{length}]"),
            PrimitiveType::Binary => f.write_str("binary"),
            PrimitiveType::Unknown => f.write_str("unknown"),
            PrimitiveType::Variant => f.write_str("variant"),
            PrimitiveType::Geometry(text) | PrimitiveType::Geography(text) => f.write_str(text),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Primitive(PrimitiveType),
    Struct(StructType),
    List(Box<ListType>),
    Map(Box<MapType>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct StructType {
    pub fields: Vec<Field>,
}

/// The element is a field of its own: its name is `element`.
#[derive(Debug, Clone, PartialEq)]
pub struct ListType {
    pub element: Field,
}

/// Key and value are fields of their own, named `key` (always required) and `value`.
#[derive(Debug, Clone, PartialEq)]
pub struct MapType {
    pub key: Field,
    pub value: Field,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub id: i32,
    pub name: String,
    pub required: bool,
    pub ty: Type,
    pub doc: Option<String>,
    /// The value of rows written before the field was added (spec "Default Values"). `write-default` is never used on reading.
    pub initial_default: Option<Value>,
}

impl Field {
    pub fn new(id: i32, name: impl Into<String>, required: bool, ty: impl Into<Type>) -> Self {
        Field { id, name: name.into(), required, ty: ty.into(), doc: None, initial_default: None }
    }
    pub fn optional(id: i32, name: impl Into<String>, ty: impl Into<Type>) -> Self {
        Field::new(id, name, false, ty)
    }
    pub fn required(id: i32, name: impl Into<String>, ty: impl Into<Type>) -> Self {
        Field::new(id, name, true, ty)
    }
    pub fn with_default(mut self, value: Value) -> Self {
        self.initial_default = Some(value);
        self
    }
}

impl From<PrimitiveType> for Type {
    fn from(primitive: PrimitiveType) -> Self {
        Type::Primitive(primitive)
    }
}

impl Type {
    pub fn structure(fields: Vec<Field>) -> Type {
        Type::Struct(StructType { fields })
    }
    pub fn list(element_id: i32, element_required: bool, element: impl Into<Type>) -> Type {
        Type::List(Box::new(ListType { element: Field::new(element_id, "element", element_required, element) }))
    }
    pub fn map(key_id: i32, key: impl Into<Type>, value_id: i32, value_required: bool, value: impl Into<Type>) -> Type {
        Type::Map(Box::new(MapType {
            key: Field::new(key_id, "key", true, key),
            value: Field::new(value_id, "value", value_required, value),
        }))
    }
    pub fn as_primitive(&self) -> Option<&PrimitiveType> {
        match self {
            Type::Primitive(primitive) => Some(primitive),
            _ => None,
        }
    }
    /// One of [`children`](Type::children), without listing the others.
    fn child(&self, position: usize) -> Option<&Field> {
        match self {
            Type::Primitive(_) => None,
            Type::Struct(s) => s.fields.get(position),
            Type::List(l) => Some(&l.element).filter(|_| position == 0),
            Type::Map(m) => [&m.key, &m.value].get(position).copied(),
        }
    }
    /// The fields directly below, in order: struct fields, the element, or key and value.
    pub fn children(&self) -> Vec<&Field> {
        match self {
            Type::Primitive(_) => vec![],
            Type::Struct(s) => s.fields.iter().collect(),
            Type::List(l) => vec![&l.element],
            Type::Map(m) => vec![&m.key, &m.value],
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Primitive(primitive) => primitive.fmt(f),
            Type::Struct(s) => {
                f.write_str("struct<")?;
                for (i, field) in s.fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {}", field.name, field.ty)?;
                }
                f.write_str(">")
            }
            Type::List(l) => write!(f, "list<{}>", l.element.ty),
            Type::Map(m) => write!(f, "map<{}, {}>", m.key.ty, m.value.ty),
        }
    }
}

/// A schema: an id, top-level fields, and an index of every field at every level.
#[derive(Debug, Clone)]
pub struct Schema {
    pub id: i32,
    pub fields: Vec<Field>,
    /// Field ids that identify a row, empty where the table names none.
    pub identifier_field_ids: Vec<i32>,
    index: HashMap<i32, Vec<u32>>,
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.fields == other.fields
    }
}

impl Schema {
    /// Fails with `corrupt` where two fields share an id or types nest deeper than [`MAX_TYPE_DEPTH`].
    pub fn new(id: i32, fields: Vec<Field>) -> Result<Self> {
        let mut index = HashMap::new();
        let mut path = Vec::new();
        for (position, field) in fields.iter().enumerate() {
            path.push(position as u32);
            index_field(field, &mut path, &mut index)?;
            path.pop();
        }
        Ok(Schema { id, fields, identifier_field_ids: vec![], index })
    }

    pub fn with_identifier_field_ids(mut self, ids: Vec<i32>) -> Self {
        self.identifier_field_ids = ids;
        self
    }

    /// The field with this id at any level.
    pub fn field_by_id(&self, id: i32) -> Option<&Field> {
        self.ancestry(id).and_then(|path| path.last().copied())
    }

    /// The fields from the top level down to the one with this id, that one included.
    pub fn ancestry(&self, id: i32) -> Option<Vec<&Field>> {
        let path = self.index.get(&id)?;
        let mut field = &self.fields[path[0] as usize];
        let mut out = vec![field];
        for step in &path[1..] {
            field = field.ty.child(*step as usize)?;
            out.push(field);
        }
        Some(out)
    }

    /// The dotted name of the field with this id, e.g. `user.address.city`.
    pub fn full_name(&self, id: i32) -> Option<String> {
        Some(self.ancestry(id)?.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join("."))
    }

    /// All ids at all levels.
    pub fn ids(&self) -> impl Iterator<Item = i32> + '_ {
        self.index.keys().copied()
    }

    /// The field a dotted path names, with its ancestors. A name that itself contains dots is matched before it is split.
    /// Names match exactly, else case-insensitively where that is unique. Paths go through structs; lists and maps are
    /// entered by the names `element`, `key` and `value`. Parts quote as in SQL; a path that means nothing so is taken as it stands, quotes
    /// and all.
    pub fn resolve(&self, path: &str) -> Result<Vec<&Field>> {
        if path.contains('"')
            && let Ok(names) = dotted_parts(path)
            && let Some(found) = self.resolve_names(&names)?
        {
            return Ok(found);
        }
        // Every dot may end a name: no column lies deeper, and no path costs more to look for.
        if path.matches('.').count() > MAX_TYPE_DEPTH {
            return Err(self.unknown_column(path));
        }
        resolve_in(&self.fields.iter().collect::<Vec<_>>(), path, Vec::new(), 0)
            .unwrap_or_else(Err)
            .map_err(|e| if e.kind() == ErrorKind::NotFound { self.unknown_column(path) } else { e })
    }

    /// The field that a path of whole names leads to, none of them split, if there is one. Names match as in [`resolve`](Schema::resolve).
    pub fn resolve_names(&self, names: &[impl AsRef<str>]) -> Result<Option<Vec<&Field>>> {
        let mut fields: Vec<&Field> = self.fields.iter().collect();
        let mut path = Vec::new();
        for name in names.iter().map(AsRef::as_ref) {
            let found = match fields.iter().find(|field| field.name == name) {
                Some(field) => *field,
                None => {
                    let wanted = name.to_lowercase();
                    let near: Vec<&Field> = fields.iter().filter(|field| field.name.to_lowercase() == wanted).copied().collect();
                    match near.as_slice() {
                        [] => return Ok(None),
                        [field] => *field,
                        several => {
                            let names: Vec<&str> = several.iter().map(|field| field.name.as_str()).collect();
                            return Err(Error::invalid(
                                Stage::Request,
                                format!("column '{}' is ambiguous: {}", short(name), listed(&names)),
                            )
                            .advice("write the name in its exact case"));
                        }
                    }
                }
            };
            path.push(found);
            fields = found.ty.children();
        }
        Ok(Some(path))
    }

    fn unknown_column(&self, path: &str) -> Error {
        let names: Vec<String> = self.ids().filter_map(|id| self.full_name(id)).collect();
        let near = nearest(path, names.iter().map(String::as_str));
        let error = Error::not_found(Stage::Request, format!("no column named '{}'", short(path)));
        if near.is_empty() {
            let top: Vec<&str> = self.fields.iter().map(|f| f.name.as_str()).collect();
            error.advice(format!("the columns are: {}", listed(&top)))
        } else {
            error.advice(format!("did you mean: {}", listed(&near)))
        }
    }
}

/// Names come from files and requests: a message shows at most this much of one.
fn short(name: &str) -> String {
    let cut: String = name.chars().take(80).collect();
    if cut.len() < name.len() { format!("{cut}...") } else { cut }
}

/// The first twenty names.
fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(20).map(|name| short(name)).collect();
    let more = if names.len() > 20 { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn index_field(field: &Field, path: &mut Vec<u32>, index: &mut HashMap<i32, Vec<u32>>) -> Result<()> {
    if path.len() > MAX_TYPE_DEPTH {
        return Err(Error::limit(Stage::Catalog, format!("schema nests deeper than {MAX_TYPE_DEPTH} levels")));
    }
    if index.insert(field.id, path.clone()).is_some() {
        return Err(Error::corrupt(Stage::Catalog, format!("two fields share the id {} (one is '{}')", field.id, short(&field.name))));
    }
    for (position, child) in field.ty.children().into_iter().enumerate() {
        path.push(position as u32);
        index_field(child, path, index)?;
        path.pop();
    }
    Ok(())
}

/// `Err` is a hard refusal (ambiguity); `Ok(Err)` with kind not-found means "no such path here".
fn resolve_in<'a>(fields: &[&'a Field], path: &str, above: Vec<&'a Field>, depth: usize) -> Result<Result<Vec<&'a Field>>, Error> {
    let not_found = || Error::not_found(Stage::Request, format!("no column named '{}'", short(path)));
    if depth > MAX_TYPE_DEPTH {
        return Ok(Err(not_found()));
    }
    for exact in [true, false] {
        let named = |wanted: &str| -> Vec<&&Field> {
            let lower = wanted.to_lowercase();
            fields.iter().filter(|f| if exact { f.name == wanted } else { f.name.to_lowercase() == lower }).collect()
        };
        let whole = named(path);
        if whole.len() > 1 {
            let names: Vec<&str> = whole.iter().map(|f| f.name.as_str()).collect();
            return Err(Error::invalid(Stage::Request, format!("column '{}' is ambiguous: {}", short(path), listed(&names)))
                .advice("write the name in its exact case"));
        }
        if let Some(field) = whole.first() {
            let mut out = above;
            out.push(field);
            return Ok(Ok(out));
        }
        for (dot, _) in path.match_indices('.') {
            let (head, tail) = (&path[..dot], &path[dot + 1..]);
            let heads = named(head);
            if heads.len() > 1 {
                return Err(Error::invalid(Stage::Request, format!("column '{}' is ambiguous in '{}'", short(head), short(path)))
                    .advice("write the name in its exact case"));
            }
            if let Some(field) = heads.first() {
                let mut next = above.clone();
                next.push(field);
                if let Ok(found) = resolve_in(&field.ty.children(), tail, next, depth + 1)? {
                    return Ok(Ok(found));
                }
            }
        }
    }
    Ok(Err(not_found()))
}

/// Metadata columns (spec "Reserved Field IDs"), returned on request by name.
pub mod metadata_column {
    use super::*;

    pub const FILE: i32 = 2147483646;
    pub const POS: i32 = 2147483645;
    pub const SPEC_ID: i32 = 2147483643;
    pub const PARTITION: i32 = 2147483642;
    pub const ROW_ID: i32 = 2147483540;
    pub const LAST_UPDATED_SEQUENCE_NUMBER: i32 = 2147483539;
    /// `file_path` of a position delete file.
    pub const DELETE_FILE_PATH: i32 = 2147483546;
    /// `pos` of a position delete file.
    pub const DELETE_FILE_POS: i32 = 2147483545;

    pub fn is_metadata_column(id: i32) -> bool {
        matches!(id, FILE | POS | SPEC_ID | PARTITION | ROW_ID | LAST_UPDATED_SEQUENCE_NUMBER)
    }

    /// The metadata columns of a table; `partition` is the union of the partition types of all its specs.
    pub fn fields(partition: StructType) -> Vec<Field> {
        vec![
            Field::required(FILE, "_file", PrimitiveType::String),
            Field::required(POS, "_pos", PrimitiveType::Long),
            Field::required(SPEC_ID, "_spec_id", PrimitiveType::Int),
            Field::optional(PARTITION, "_partition", Type::Struct(partition)),
            Field::optional(ROW_ID, "_row_id", PrimitiveType::Long),
            Field::optional(LAST_UPDATED_SEQUENCE_NUMBER, "_last_updated_sequence_number", PrimitiveType::Long),
        ]
    }
}

pub type SchemaRef = Arc<Schema>;

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::new(
            0,
            vec![
                Field::required(1, "id", PrimitiveType::Long),
                Field::optional(2, "User", Type::structure(vec![Field::optional(3, "city", PrimitiveType::String)])),
                Field::optional(4, "a.b", PrimitiveType::Int),
                Field::optional(5, "tags", Type::list(6, false, PrimitiveType::String)),
                Field::optional(7, "ID", PrimitiveType::Long),
                Field::optional(8, "odd, \"q\"", Type::structure(vec![Field::optional(9, "x.y", PrimitiveType::Int)])),
                Field::optional(10, "a", Type::structure(vec![Field::optional(11, "b", PrimitiveType::Int)])),
            ],
        )
        .unwrap()
    }

    #[test]
    fn names_match_exactly_then_case_insensitively_if_unique() {
        let s = schema();
        assert_eq!(s.resolve("id").unwrap().last().unwrap().id, 1);
        assert_eq!(s.resolve("ID").unwrap().last().unwrap().id, 7);
        assert_eq!(s.resolve("user.CITY").unwrap().last().unwrap().id, 3);
        assert_eq!(s.resolve("a.b").unwrap().last().unwrap().id, 4);
        assert_eq!(s.resolve("tags.element").unwrap().last().unwrap().id, 6);
        assert_eq!(s.resolve("Id").unwrap_err().kind(), ErrorKind::InvalidRequest);
        let unknown = s.resolve("user.cite").unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
        assert!(unknown.advice_text().unwrap().contains("User.city"), "{unknown:?}");
    }

    #[test]
    fn parts_quote_as_in_sql_and_a_quoted_part_is_one_name() {
        let s = schema();
        for (path, id) in [
            (r#""odd, ""q""""#, 8),
            (r#""Odd, ""Q"""."x.y""#, 9),
            (r#""a.b""#, 4),
            (r#""a".b"#, 11),
            (r#"odd, "q""#, 8),
            (r#"odd, "q".x.y"#, 9),
        ] {
            assert_eq!(s.resolve(path).unwrap().last().unwrap().id, id, "{path}");
        }
        for path in [r#""odd, ""q""".z"#, r#""tags.element""#, r#""odd, ""q""".x.y"#] {
            assert_eq!(s.resolve(path).unwrap_err().kind(), ErrorKind::NotFound, "{path}");
        }
    }

    /// Names come from tables and from requests, of any length and any number.
    #[test]
    fn what_is_said_about_names_has_a_bounded_length() {
        let long = "b".repeat(1 << 20);
        let many = (0..5000).map(|id| Field::optional(id, if id % 2 == 0 { "Many" } else { "MANY" }, PrimitiveType::Int));
        let fields = many.chain([Field::optional(5000, &long, PrimitiveType::Int)]).collect();
        let s = Schema::new(0, fields).unwrap();
        for path in ["many", "x", &format!("{long}x"), &format!("many.{long}"), &"a.".repeat(5000)] {
            let error = s.resolve(path).unwrap_err();
            let length = error.message().len() + error.advice_text().map_or(0, str::len);
            assert!(length < 3000, "{length} bytes about {}", short(path));
        }
    }

    #[test]
    fn duplicate_ids_are_corrupt() {
        let fields = vec![Field::required(1, "a", PrimitiveType::Int), Field::required(1, "b", PrimitiveType::Int)];
        assert_eq!(Schema::new(0, fields).unwrap_err().kind(), ErrorKind::Corrupt);
        let long = || Field::required(1, "a".repeat(1 << 20), PrimitiveType::Int);
        assert!(Schema::new(0, vec![long(), long()]).unwrap_err().message().len() < 200, "names are cut before they are quoted");
    }

    #[test]
    fn ancestry_walks_down_to_the_field() {
        let s = schema();
        let names: Vec<&str> = s.ancestry(3).unwrap().iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["User", "city"]);
        assert_eq!(s.full_name(6).unwrap(), "tags.element");
    }
}
