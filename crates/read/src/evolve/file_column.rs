//! The shape of a Parquet file's columns as the decoder will read them, each with its field id.
//!
//! Contract: the tree mirrors the decoder's own interpretation of groups (Parquet "LogicalTypes", "Nested Types", legacy lists and maps
//! included), so that a child's place among its selected siblings is its place in the decoded struct. Ids come from the file, or from the
//! name mapping, or are left out.

use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::metadata::MappedField;
use parquet::basic::{ConvertedType, Repetition};
use parquet::schema::types::{SchemaDescriptor, Type};
use std::collections::HashMap;
use std::ops::Range;

/// Deepest nesting of groups in a file that is accepted: a list takes two levels.
const MAX_DEPTH: usize = 200;

pub(super) struct FileColumn<'a> {
    pub name: &'a str,
    pub id: Option<i32>,
    /// The leaf columns below (or the one of a primitive).
    pub leaves: Range<usize>,
    pub shape: Shape<'a>,
}

pub(super) enum Shape<'a> {
    Primitive(&'a Type),
    Struct(Vec<FileColumn<'a>>),
    List(Box<FileColumn<'a>>),
    Map {
        key: Box<FileColumn<'a>>,
        value: Box<FileColumn<'a>>,
    },
    /// A group whose annotation and children contradict each other; says how.
    Malformed(&'static str),
}

/// Where the ids of a file's columns come from.
#[derive(Clone, Copy)]
pub(super) enum Ids<'a> {
    File,
    Mapping(&'a [MappedField]),
    Absent,
}

/// Whether any column at any level carries a field id.
pub(super) fn has_ids(ty: &Type) -> bool {
    let mut open: Vec<&Type> = children(ty).iter().map(AsRef::as_ref).collect();
    while let Some(ty) = open.pop() {
        if ty.get_basic_info().has_id() {
            return true;
        }
        open.extend(children(ty).iter().map(|child| child.as_ref()));
    }
    false
}

/// The top-level columns in file order.
pub(super) fn file_columns<'a>(parquet: &'a SchemaDescriptor, ids: Ids<'a>) -> Result<Vec<FileColumn<'a>>> {
    let mut reader = ShapeReader { next_leaf: 0 };
    let columns = reader.siblings(parquet.root_schema(), ids, 0)?;
    if reader.next_leaf != parquet.num_columns() {
        return Err(Error::internal(Stage::Read, "the file's leaf columns were counted wrongly"));
    }
    Ok(columns)
}

impl FileColumn<'_> {
    /// How messages describe the column's type.
    pub fn describe(&self) -> String {
        match &self.shape {
            Shape::Primitive(ty) => super::conversion::describe(ty),
            Shape::Struct(_) => "a struct".to_owned(),
            Shape::List(_) => "a list".to_owned(),
            Shape::Map { .. } => "a map".to_owned(),
            Shape::Malformed(why) => format!("a malformed group ({why})"),
        }
    }

    /// The fewest and cheapest leaves whose levels tell where this column is null and how long its lists are.
    pub fn anchor(&self) -> Vec<usize> {
        self.cheapest().map(|(_, leaves)| leaves).unwrap_or_default()
    }

    /// Cost first: repetition, then bytes a value.
    fn cheapest(&self) -> Option<((usize, usize), Vec<usize>)> {
        match &self.shape {
            Shape::Primitive(ty) => Some(((0, value_width(ty)), vec![self.leaves.start])),
            Shape::Struct(children) => children.iter().filter_map(|child| child.cheapest()).min_by_key(|(cost, _)| *cost),
            Shape::List(element) => element.cheapest().map(|((repeated, width), leaves)| ((repeated + 1, width), leaves)),
            Shape::Map { key, value } => {
                let ((key_repeated, key_width), mut leaves) = key.cheapest()?;
                let ((value_repeated, value_width), value_leaves) = value.cheapest()?;
                leaves.extend(value_leaves);
                Some(((key_repeated.max(value_repeated) + 1, key_width.saturating_add(value_width)), leaves))
            }
            Shape::Malformed(_) => None,
        }
    }
}

fn value_width(ty: &Type) -> usize {
    use parquet::basic::Type as Physical;
    match ty.get_physical_type() {
        Physical::BOOLEAN => 1,
        Physical::INT32 | Physical::FLOAT => 4,
        Physical::INT64 | Physical::DOUBLE => 8,
        Physical::INT96 => 12,
        Physical::FIXED_LEN_BYTE_ARRAY => 64,
        Physical::BYTE_ARRAY => 1024,
    }
}

fn children(ty: &Type) -> &[parquet::schema::types::TypePtr] {
    if ty.is_group() { ty.get_fields() } else { &[] }
}

fn repetition(ty: &Type) -> Repetition {
    let info = ty.get_basic_info();
    if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED }
}

fn file_id(ty: &Type) -> Option<i32> {
    let info = ty.get_basic_info();
    info.has_id().then(|| info.id())
}

/// The mapped children of one parent, by name.
struct MappedChildren<'a> {
    by_name: HashMap<&'a str, &'a MappedField>,
}

impl<'a> MappedChildren<'a> {
    fn new(fields: &'a [MappedField]) -> Result<Self> {
        let mut by_name = HashMap::with_capacity(fields.len());
        for field in fields {
            for name in &field.names {
                let earlier = by_name.insert(name.as_str(), field);
                if earlier.is_some_and(|earlier| earlier.field_id != field.field_id) {
                    return Err(Error::corrupt(Stage::Read, format!("the table's name mapping gives the name '{name}' to two fields"))
                        .advice("correct the table property schema.name-mapping.default"));
                }
            }
        }
        Ok(MappedChildren { by_name })
    }
}

/// The ids of one column: its own, and where those of its children come from.
#[derive(Clone, Copy)]
struct OwnIds<'a> {
    id: Option<i32>,
    below: Ids<'a>,
}

impl<'a> Ids<'a> {
    /// For the single child that a list (`element`) or a map (`key`, `value`) has under a fixed name.
    fn of_fixed_child(self, ty: &Type, name: &str) -> OwnIds<'a> {
        match self {
            Ids::File => OwnIds { id: file_id(ty), below: Ids::File },
            Ids::Absent => OwnIds { id: None, below: Ids::Absent },
            Ids::Mapping(fields) => {
                let mapped = fields.iter().find(|field| field.names.iter().any(|n| n == name));
                OwnIds { id: mapped.and_then(|m| m.field_id), below: Ids::Mapping(mapped.map_or(&[], |m| &m.fields)) }
            }
        }
    }
}

struct ShapeReader {
    next_leaf: usize,
}

impl ShapeReader {
    fn siblings<'a>(&mut self, group: &'a Type, ids: Ids<'a>, depth: usize) -> Result<Vec<FileColumn<'a>>> {
        let mapped = match ids {
            Ids::Mapping(fields) => Some(MappedChildren::new(fields)?),
            _ => None,
        };
        let mut columns = Vec::with_capacity(children(group).len());
        for child in children(group) {
            let own = match (&mapped, ids) {
                (Some(mapped), _) => {
                    let field = mapped.by_name.get(child.name());
                    OwnIds { id: field.and_then(|f| f.field_id), below: Ids::Mapping(field.map_or(&[], |f| &f.fields)) }
                }
                (None, Ids::File) => OwnIds { id: file_id(child), below: Ids::File },
                (None, _) => OwnIds { id: None, below: Ids::Absent },
            };
            columns.push(self.column(child, own, depth + 1)?);
        }
        Ok(columns)
    }

    /// A column where a bare `repeated` is a list of required elements.
    fn column<'a>(&mut self, ty: &'a Type, own: OwnIds<'a>, depth: usize) -> Result<FileColumn<'a>> {
        if depth > MAX_DEPTH {
            return Err(Error::limit(Stage::Read, format!("its schema nests deeper than {MAX_DEPTH} levels")));
        }
        let start = self.next_leaf;
        let shape = if is_annotated_list(ty) {
            self.list(ty, own.below, depth)?
        } else if is_annotated_map(ty) {
            self.map(ty, own.below, depth)?
        } else if repetition(ty) == Repetition::REPEATED {
            // The id of a bare repeated field names the list; its element has no place for one of its own.
            let element_ids = match own.below {
                Ids::Mapping(_) => own.below.of_fixed_child(ty, "element"),
                below => OwnIds { id: None, below },
            };
            Shape::List(Box::new(self.plain(ty, element_ids, depth)?))
        } else {
            return self.plain(ty, own, depth);
        };
        Ok(FileColumn { name: ty.name(), id: own.id, leaves: start..self.next_leaf, shape })
    }

    /// A primitive or a struct, whatever its repetition.
    fn plain<'a>(&mut self, ty: &'a Type, own: OwnIds<'a>, depth: usize) -> Result<FileColumn<'a>> {
        let start = self.next_leaf;
        let shape = if ty.is_primitive() {
            self.next_leaf += 1;
            Shape::Primitive(ty)
        } else {
            Shape::Struct(self.siblings(ty, own.below, depth)?)
        };
        Ok(FileColumn { name: ty.name(), id: own.id, leaves: start..self.next_leaf, shape })
    }

    /// Counts the leaves of a group that cannot be read.
    fn malformed<'a>(&mut self, ty: &'a Type, why: &'static str) -> Shape<'a> {
        let mut open = vec![ty];
        while let Some(ty) = open.pop() {
            if ty.is_primitive() {
                self.next_leaf += 1;
            }
            open.extend(children(ty).iter().map(|child| child.as_ref()));
        }
        Shape::Malformed(why)
    }

    fn list<'a>(&mut self, ty: &'a Type, ids: Ids<'a>, depth: usize) -> Result<Shape<'a>> {
        let [repeated] = children(ty) else {
            return Ok(self.malformed(ty, "a list with other than one child"));
        };
        if repetition(repeated) != Repetition::REPEATED || repetition(ty) == Repetition::REPEATED {
            return Ok(self.malformed(ty, "a list whose repetition is no list's"));
        }
        let is_element = match children(repeated) {
            [] => true,
            [only] => {
                let legacy_name = repeated.name() == "array" || repeated.name().strip_suffix("_tuple") == Some(ty.name());
                legacy_name && !is_annotated_list(repeated) && repetition(only) != Repetition::REPEATED
            }
            _ => true,
        };
        let element = if is_element {
            self.plain(repeated, ids.of_fixed_child(repeated, "element"), depth + 1)?
        } else {
            let item = &children(repeated)[0];
            self.column(item, ids.of_fixed_child(item, "element"), depth + 2)?
        };
        Ok(Shape::List(Box::new(element)))
    }

    fn map<'a>(&mut self, ty: &'a Type, ids: Ids<'a>, depth: usize) -> Result<Shape<'a>> {
        let [entries] = children(ty) else {
            return Ok(self.malformed(ty, "a map with other than one child"));
        };
        if repetition(entries) != Repetition::REPEATED || repetition(ty) == Repetition::REPEATED {
            return Ok(self.malformed(ty, "a map whose repetition is no map's"));
        }
        match children(entries) {
            [_] => self.list(ty, ids, depth),
            [key, value] if repetition(key) != Repetition::REPEATED && repetition(value) != Repetition::REPEATED => {
                let key = self.column(key, ids.of_fixed_child(key, "key"), depth + 2)?;
                let value = self.column(value, ids.of_fixed_child(value, "value"), depth + 2)?;
                Ok(Shape::Map { key: Box::new(key), value: Box::new(value) })
            }
            _ => Ok(self.malformed(ty, "map entries that are no pair of key and value")),
        }
    }
}

fn is_annotated_list(ty: &Type) -> bool {
    ty.is_group() && ty.get_basic_info().converted_type() == ConvertedType::LIST
}

fn is_annotated_map(ty: &Type) -> bool {
    ty.is_group() && matches!(ty.get_basic_info().converted_type(), ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE)
}
