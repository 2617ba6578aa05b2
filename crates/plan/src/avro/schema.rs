//! The writer schema of an Avro file, parsed from its JSON into a flat arena.
//!
//! Contract: the JSON is at most [`MAX_JSON`] bytes and [`MAX_NODES`] types; names may refer back, to themselves too. Field ids are kept
//! where the file has them. Types whose values take no bytes are known as such, so that nobody loops over them.

use super::Fault;
use serde_json::{Map, Value as Json};
use std::collections::HashMap;

pub(crate) const MAX_JSON: usize = 1 << 20;
const MAX_NODES: usize = 50_000;
const MAX_DEPTH: usize = 64;

pub(crate) type NodeId = u32;

#[derive(Debug)]
pub(crate) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Enum,
    Fixed(usize),
    Array(NodeId),
    /// Keys are strings; this is the value.
    Map(NodeId),
    Union(Vec<NodeId>),
    Record(Vec<WriterField>),
}

#[derive(Debug)]
pub(crate) struct WriterField {
    pub name: String,
    pub id: Option<i32>,
    pub node: NodeId,
}

#[derive(Debug)]
pub(crate) struct WriterSchema {
    nodes: Vec<Node>,
    /// Whether values of the node take no bytes at all.
    empty: Vec<bool>,
    /// By node, for records: the fields whose values take bytes, in order.
    solid: Vec<Vec<NodeId>>,
    root: NodeId,
}

impl WriterSchema {
    pub fn parse(json: &[u8]) -> Result<Self, Fault> {
        if json.len() > MAX_JSON {
            return Err("the Avro schema is larger than 1 MiB");
        }
        let json: Json = serde_json::from_slice(json).map_err(|_| "the Avro schema is no JSON that can be parsed")?;
        let mut parser = Parser { nodes: Vec::new(), names: HashMap::new() };
        let root = parser.parse(&json, "", 0)?;
        let empty = empty_nodes(&parser.nodes);
        let solid = |node: &Node| match node {
            Node::Record(fields) => fields.iter().map(|f| f.node).filter(|node| !empty[*node as usize]).collect(),
            _ => Vec::new(),
        };
        Ok(WriterSchema { solid: parser.nodes.iter().map(solid).collect(), nodes: parser.nodes, empty, root })
    }

    pub fn root(&self) -> NodeId {
        self.root
    }

    #[inline]
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&Node::Null)
    }

    #[inline]
    pub fn is_empty(&self, id: NodeId) -> bool {
        self.empty.get(id as usize).copied().unwrap_or(true)
    }

    /// The fields of a record whose values take bytes, in order.
    pub fn solid_fields(&self, record: NodeId) -> &[NodeId] {
        self.solid.get(record as usize).map_or(&[], Vec::as_slice)
    }

    /// The type below unions with null: the node itself, or the only branch that is not null.
    pub fn unwrap_optional(&self, node: NodeId) -> NodeId {
        let Node::Union(branches) = self.node(node) else { return node };
        let mut present = branches.iter().filter(|branch| !matches!(self.node(**branch), Node::Null));
        match (present.next(), present.next()) {
            (Some(only), None) => *only,
            _ => node,
        }
    }
}

struct Parser {
    nodes: Vec<Node>,
    names: HashMap<String, NodeId>,
}

impl Parser {
    fn push(&mut self, node: Node) -> Result<NodeId, Fault> {
        if self.nodes.len() >= MAX_NODES {
            return Err("the Avro schema has too many types");
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as NodeId)
    }

    fn parse(&mut self, json: &Json, namespace: &str, depth: usize) -> Result<NodeId, Fault> {
        if depth > MAX_DEPTH {
            return Err("the Avro schema nests too deep");
        }
        match json {
            Json::String(name) => self.named(name, namespace),
            Json::Array(branches) => {
                let branches = branches.iter().map(|branch| self.parse(branch, namespace, depth + 1)).collect::<Result<Vec<_>, _>>()?;
                self.push(Node::Union(branches))
            }
            Json::Object(object) => self.object(object, namespace, depth),
            _ => Err("the Avro schema holds a type that is neither a name, a list nor an object"),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<NodeId, Fault> {
        let primitive = match name {
            "null" => Node::Null,
            "boolean" => Node::Boolean,
            "int" => Node::Int,
            "long" => Node::Long,
            "float" => Node::Float,
            "double" => Node::Double,
            "bytes" => Node::Bytes,
            "string" => Node::String,
            _ => {
                let known = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
                return known.copied().ok_or("the Avro schema refers to a type that it does not define");
            }
        };
        self.push(primitive)
    }

    fn object(&mut self, object: &Map<String, Json>, namespace: &str, depth: usize) -> Result<NodeId, Fault> {
        const NO_TYPE: Fault = "the Avro schema holds an object without a type";
        let kind = match object.get("type").ok_or(NO_TYPE)? {
            Json::String(kind) => kind.as_str(),
            nested => return self.parse(nested, namespace, depth + 1),
        };
        match kind {
            "record" | "error" => {
                let id = self.push(Node::Record(Vec::new()))?;
                let inner = self.define(object, namespace, id);
                let fields = object.get("fields").and_then(Json::as_array).ok_or("the Avro schema holds a record without fields")?;
                let fields = fields.iter().map(|field| self.field(field, &inner, depth)).collect::<Result<Vec<_>, _>>()?;
                if let Some(slot) = self.nodes.get_mut(id as usize) {
                    *slot = Node::Record(fields);
                }
                Ok(id)
            }
            "enum" => {
                let id = self.push(Node::Enum)?;
                self.define(object, namespace, id);
                Ok(id)
            }
            "fixed" => {
                let size = object.get("size").and_then(Json::as_u64).and_then(|size| usize::try_from(size).ok());
                let id = self.push(Node::Fixed(size.ok_or("the Avro schema holds a fixed without a size")?))?;
                self.define(object, namespace, id);
                Ok(id)
            }
            "array" => {
                let items = self.parse(object.get("items").ok_or("the Avro schema holds an array without items")?, namespace, depth + 1)?;
                self.push(Node::Array(items))
            }
            "map" => {
                let values = self.parse(object.get("values").ok_or("the Avro schema holds a map without values")?, namespace, depth + 1)?;
                self.push(Node::Map(values))
            }
            name => self.named(name, namespace),
        }
    }

    fn field(&mut self, json: &Json, namespace: &str, depth: usize) -> Result<WriterField, Fault> {
        const BAD_FIELD: Fault = "the Avro schema holds a field without name and type";
        let object = json.as_object().ok_or(BAD_FIELD)?;
        let name = object.get("name").and_then(Json::as_str).ok_or(BAD_FIELD)?.to_owned();
        let id = object.get("field-id").and_then(Json::as_i64).and_then(|id| i32::try_from(id).ok());
        let node = self.parse(object.get("type").ok_or(BAD_FIELD)?, namespace, depth + 1)?;
        Ok(WriterField { name, id, node })
    }

    /// Registers a named type and returns the namespace that holds inside it.
    fn define(&mut self, object: &Map<String, Json>, namespace: &str, id: NodeId) -> String {
        let own = object.get("namespace").and_then(Json::as_str).unwrap_or(namespace);
        let Some(name) = object.get("name").and_then(Json::as_str) else { return own.to_owned() };
        let full = full_name(name, own);
        let inner = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
        self.names.insert(full, id);
        inner
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// Null, `fixed` of no bytes, and records of nothing else. A record that holds itself is never finished, hence not empty.
fn empty_nodes(nodes: &[Node]) -> Vec<bool> {
    let mut empty: Vec<bool> = nodes.iter().map(|node| matches!(node, Node::Null | Node::Fixed(0))).collect();
    // Each record waits for as many fields as it has; every type that turns out empty releases the records that hold it.
    let mut waiting: Vec<usize> = vec![usize::MAX; nodes.len()];
    let mut holders: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    let mut found: Vec<NodeId> = Vec::new();
    for (at, node) in (0..).zip(nodes) {
        match node {
            Node::Record(fields) => {
                waiting[at as usize] = fields.len();
                fields.iter().for_each(|field| holders.entry(field.node).or_default().push(at));
                if fields.is_empty() {
                    found.push(at);
                }
            }
            _ if empty[at as usize] => found.push(at),
            _ => {}
        }
    }
    while let Some(node) = found.pop() {
        empty[node as usize] = true;
        for holder in holders.remove(&node).unwrap_or_default() {
            let left = &mut waiting[holder as usize];
            *left = left.saturating_sub(1);
            if *left == 0 {
                found.push(holder);
            }
        }
    }
    empty
}
