//! The maps of column statistics, and lists of numbers, read from where an entry keeps them.
//!
//! Contract: a map may be an array of key-value records (with or without field ids, optional or not) or an Avro map with the key
//! as text. Only the columns asked for are looked at; the others are stepped over.

use crate::avro::Fault;
use crate::avro::cursor::{Cursor, WRONG_TYPE};
use crate::avro::schema::{Node, NodeId, WriterSchema};
use crate::prune::column::PruneColumn;

/// How a file writes one of its maps.
pub(crate) struct MapShape {
    /// The type of the field, and the map in it.
    field: NodeId,
    map: NodeId,
    kind: Kind,
}

enum Kind {
    Records { record: NodeId, item: NodeId, fields: Vec<(Role, NodeId)> },
    Map { value: NodeId },
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Key,
    Value,
    Other,
}

impl MapShape {
    /// `None` where the type is no map of any kind: the statistics are treated as missing.
    pub fn of(schema: &WriterSchema, node: NodeId, key_id: i32, value_id: i32) -> Option<MapShape> {
        let map = schema.unwrap_optional(node);
        match schema.node(map) {
            Node::Map(value) => Some(MapShape { field: node, map, kind: Kind::Map { value: *value } }),
            Node::Array(item) => {
                let record = schema.unwrap_optional(*item);
                let Node::Record(fields) = schema.node(record) else { return None };
                let find = |id: i32, name: &str| {
                    let by_id = fields.iter().position(|f| f.id == Some(id));
                    by_id.or_else(|| fields.iter().position(|f| f.id.is_none() && f.name == name))
                };
                let (key, value) = (find(key_id, "key")?, find(value_id, "value")?);
                let role = |at: usize| {
                    if at == key {
                        Role::Key
                    } else if at == value {
                        Role::Value
                    } else {
                        Role::Other
                    }
                };
                let fields = fields.iter().enumerate().map(|(at, f)| (role(at), f.node)).collect();
                Some(MapShape { field: node, map, kind: Kind::Records { record, item: *item, fields } })
            }
            _ => None,
        }
    }

    pub fn longs(
        &self,
        schema: &WriterSchema,
        bytes: &[u8],
        columns: &[PruneColumn],
        mut set: impl FnMut(usize, Option<i64>),
    ) -> Result<(), Fault> {
        self.entries(schema, bytes, columns, |at, cursor, node| {
            set(at, cursor.nullable_long(schema, node)?);
            Ok(())
        })
    }

    pub fn bytes<'b>(
        &self,
        schema: &WriterSchema,
        bytes: &'b [u8],
        columns: &[PruneColumn],
        mut set: impl FnMut(usize, Option<&'b [u8]>),
    ) -> Result<(), Fault> {
        self.entries(schema, bytes, columns, |at, cursor, node| {
            set(at, cursor.nullable_bytes(schema, node)?);
            Ok(())
        })
    }

    /// Calls `visit` with the column's position and a cursor at its value.
    fn entries<'b>(
        &self,
        schema: &WriterSchema,
        bytes: &'b [u8],
        columns: &[PruneColumn],
        mut visit: impl FnMut(usize, &mut Cursor<'b>, NodeId) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut cursor = Cursor::new(bytes);
        if cursor.branch(schema, self.field)? != self.map {
            return Ok(());
        }
        let position = |key: i64| columns.iter().position(|column| i64::from(column.id) == key);
        cursor.items(|cursor| match &self.kind {
            Kind::Map { value } => {
                let key = std::str::from_utf8(cursor.bytes()?).ok().and_then(|key| key.parse::<i64>().ok());
                match key.and_then(position) {
                    Some(at) => visit(at, cursor, *value),
                    None => cursor.skip(schema, *value),
                }
            }
            Kind::Records { record, item, fields } => {
                if cursor.branch(schema, *item)? != *record {
                    return Ok(());
                }
                let mut key = None;
                let mut value = None;
                for (role, node) in fields {
                    match role {
                        Role::Key => key = cursor.nullable_long(schema, *node)?,
                        Role::Value => {
                            value = Some((cursor.clone(), *node));
                            cursor.skip(schema, *node)?;
                        }
                        Role::Other => cursor.skip(schema, *node)?,
                    }
                }
                match (key.and_then(position), value) {
                    (Some(at), Some((mut start, node))) => visit(at, &mut start, node),
                    _ => Ok(()),
                }
            }
        })
    }
}

/// Calls `take` for each number of a list that may be null.
pub(crate) fn list_of_longs(schema: &WriterSchema, field: NodeId, bytes: &[u8], take: &mut dyn FnMut(i64)) -> Result<(), Fault> {
    let mut cursor = Cursor::new(bytes);
    let node = cursor.branch(schema, field)?;
    match schema.node(node) {
        Node::Null => Ok(()),
        Node::Array(item) => cursor.items(|cursor| {
            if let Some(number) = cursor.nullable_long(schema, *item)? {
                take(number);
            }
            Ok(())
        }),
        _ => Err(WRONG_TYPE),
    }
}
