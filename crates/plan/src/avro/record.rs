//! Which fields of a record to read: a list of wanted fields, compiled against the writer schema into a program.
//!
//! Contract: a wanted field is found by its field id, else by one of its names among the fields without an id; where the file lacks it, its slot stays
//! null. A field of the wrong type is refused when the program is compiled, not per record. Lists and maps are stepped over
//! and their place is kept ([`Slot::Span`]), so that they cost nothing until somebody asks for them.

use super::Fault;
use super::cursor::{Cursor, WRONG_TYPE};
use super::schema::{Node, NodeId, WriterField, WriterSchema};

/// A field that a reader wants.
pub(crate) struct Wanted {
    pub id: i32,
    pub names: &'static [&'static str],
    pub want: Want,
}

pub(crate) enum Want {
    /// An int, long or boolean into this slot.
    Long(usize),
    /// The content of a string, bytes or fixed value into this slot.
    Bytes(usize),
    /// The place of the whole encoded value, union branch included, into this slot.
    Span(usize),
    /// The fields of a record.
    Record(&'static [Wanted]),
}

/// One value of a record; spans are offsets into the block's content.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Slot {
    #[default]
    Null,
    Long(i64),
    Span(usize, usize),
}

enum Step {
    Skip(NodeId),
    Long(usize, NodeId),
    Bytes(usize, NodeId),
    Span(usize, NodeId),
    Record { node: NodeId, record: NodeId, steps: Vec<Step> },
}

/// Reads one record after another into `N` slots.
pub(crate) struct Program<const N: usize> {
    steps: Vec<Step>,
    /// The writer's type of each slot that the file has.
    nodes: [Option<NodeId>; N],
}

impl<const N: usize> Program<N> {
    /// `record` is the record type or a union of it with null.
    pub fn compile(schema: &WriterSchema, record: NodeId, wanted: &'static [Wanted]) -> Result<Self, Fault> {
        let mut nodes = [None; N];
        let steps = compile(schema, schema.unwrap_optional(record), wanted, &mut nodes)?;
        Ok(Program { steps, nodes })
    }

    /// The writer's type of a slot; `None` where the file has no such field.
    pub fn node(&self, slot: usize) -> Option<NodeId> {
        self.nodes.get(slot).copied().flatten()
    }

    pub fn read(&self, schema: &WriterSchema, cursor: &mut Cursor<'_>, slots: &mut [Slot; N]) -> Result<(), Fault> {
        *slots = [Slot::Null; N];
        run(&self.steps, schema, cursor, slots)
    }
}

fn compile(schema: &WriterSchema, record: NodeId, wanted: &'static [Wanted], nodes: &mut [Option<NodeId>]) -> Result<Vec<Step>, Fault> {
    let Node::Record(fields) = schema.node(record) else { return Err(WRONG_TYPE) };
    let chosen: Vec<(usize, &'static Wanted)> = wanted.iter().filter_map(|want| Some((position_of(fields, want)?, want))).collect();
    let mut steps = Vec::with_capacity(fields.len());
    for (at, field) in fields.iter().enumerate() {
        let node = field.node;
        let Some((_, want)) = chosen.iter().find(|(position, _)| *position == at) else {
            if !schema.is_empty(node) {
                steps.push(Step::Skip(node));
            }
            continue;
        };
        let mut keep = |slot: usize| {
            if let Some(place) = nodes.get_mut(slot) {
                *place = Some(node);
            }
            slot
        };
        steps.push(match want.want {
            Want::Long(slot) if branches(schema, node, |n| matches!(n, Node::Int | Node::Long | Node::Boolean | Node::Enum)) => {
                Step::Long(keep(slot), node)
            }
            Want::Bytes(slot) if branches(schema, node, |n| matches!(n, Node::String | Node::Bytes | Node::Fixed(_))) => {
                Step::Bytes(keep(slot), node)
            }
            Want::Span(slot) => Step::Span(keep(slot), node),
            Want::Record(inner) => {
                let record = schema.unwrap_optional(node);
                Step::Record { node, record, steps: compile(schema, record, inner, nodes)? }
            }
            _ => return Err(WRONG_TYPE),
        });
    }
    Ok(steps)
}

fn position_of(fields: &[WriterField], wanted: &Wanted) -> Option<usize> {
    let by_id = fields.iter().position(|field| field.id == Some(wanted.id));
    by_id.or_else(|| fields.iter().position(|field| field.id.is_none() && wanted.names.contains(&field.name.as_str())))
}

/// Whether each type that a value may have, null apart, passes the test.
fn branches(schema: &WriterSchema, node: NodeId, test: impl Fn(&Node) -> bool) -> bool {
    match schema.node(node) {
        Node::Union(branches) => branches.iter().map(|branch| schema.node(*branch)).all(|n| matches!(n, Node::Null) || test(n)),
        node => test(node),
    }
}

fn run(steps: &[Step], schema: &WriterSchema, cursor: &mut Cursor<'_>, slots: &mut [Slot]) -> Result<(), Fault> {
    for step in steps {
        let (slot, value) = match step {
            Step::Skip(node) => {
                cursor.skip(schema, *node)?;
                continue;
            }
            Step::Long(slot, node) => (*slot, cursor.nullable_long(schema, *node)?.map_or(Slot::Null, Slot::Long)),
            Step::Bytes(slot, node) => {
                let content = cursor.nullable_bytes(schema, *node)?;
                let end = cursor.position();
                (*slot, content.map_or(Slot::Null, |content| Slot::Span(end - content.len(), end)))
            }
            Step::Span(slot, node) => {
                let start = cursor.position();
                cursor.skip(schema, *node)?;
                (*slot, Slot::Span(start, cursor.position()))
            }
            Step::Record { node, record, steps } => {
                let branch = cursor.branch(schema, *node)?;
                if branch == *record {
                    run(steps, schema, cursor, slots)?;
                } else if !matches!(schema.node(branch), Node::Null) {
                    return Err(WRONG_TYPE);
                }
                continue;
            }
        };
        if let Some(place) = slots.get_mut(slot) {
            *place = value;
        }
    }
    Ok(())
}
