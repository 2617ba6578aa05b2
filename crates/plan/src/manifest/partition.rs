//! Partition tuples, typed through the manifest's own spec.
//!
//! Contract: one value per field of the spec, in its order. Fields are found by their partition field id, else by name (plain or made
//! Avro-compatible), else, where the file has no ids at all and as many fields, by position. A value that cannot be of its
//! field's type is refused; where the type is not known (an unknown transform, a dropped source), the value is kept as it comes, since equality of
//! tuples must still hold.

use crate::avro::Fault;
use crate::avro::cursor::Cursor;
use crate::avro::schema::{Node, NodeId, WriterField, WriterSchema};
use fastdata_types::Value;
use fastdata_types::metadata::PartitionSpec;
use fastdata_types::schema::PrimitiveType;
use fastdata_types::transform::Transform;
use fastdata_types::value::i128_from_be_bytes;

const WRONG: Fault = "a partition value is not of the type that the partition spec gives it";

pub(crate) struct PartitionReader {
    /// The type of the `partition` field and the record in it; `None` where the file has no tuples.
    record: Option<(NodeId, NodeId)>,
    /// By field of the record: its type, and which field of the spec it is.
    fields: Vec<(NodeId, Option<usize>)>,
    /// By field of the spec; `None` for values that are kept as they come.
    types: Vec<Option<PrimitiveType>>,
    present: Vec<bool>,
}

impl PartitionReader {
    pub fn new(schema: &WriterSchema, field: Option<NodeId>, spec: &PartitionSpec, types: Vec<PrimitiveType>) -> Self {
        let record = field.map(|field| (field, schema.unwrap_optional(field)));
        let written = match record.map(|(_, record)| schema.node(record)) {
            Some(Node::Record(fields)) => fields.as_slice(),
            _ => &[],
        };
        let by_position = written.len() == spec.fields.len() && written.iter().all(|f| f.id.is_none());
        let mut present = vec![false; spec.fields.len()];
        let positions = spec.fields.iter().enumerate().map(|(at, field)| {
            let found = position_of(written, field.field_id, &field.name).or(by_position.then_some(at));
            present[at] = found.is_some();
            found
        });
        let mut fields: Vec<(NodeId, Option<usize>)> = written.iter().map(|f| (f.node, None)).collect();
        for (at, position) in positions.collect::<Vec<_>>().into_iter().enumerate() {
            if let Some(slot) = position.and_then(|position| fields.get_mut(position)) {
                slot.1 = Some(at);
            }
        }
        let types = types.into_iter().zip(&spec.fields).map(|(ty, field)| {
            let known = !matches!(field.transform, Transform::Unknown(_)) && ty != PrimitiveType::Unknown;
            known.then_some(ty)
        });
        PartitionReader { record, fields, types: types.collect(), present }
    }

    /// Whether the file holds a value for each field of the spec; fields without one must not be pruned by.
    pub fn present(&self) -> &[bool] {
        &self.present
    }

    pub fn read(&self, schema: &WriterSchema, bytes: &[u8]) -> Result<Vec<Option<Value>>, Fault> {
        let mut values = vec![None; self.types.len()];
        let Some((field, record)) = self.record else { return Ok(values) };
        let mut cursor = Cursor::new(bytes);
        if cursor.branch(schema, field)? != record {
            return Ok(values);
        }
        for (node, spec_field) in &self.fields {
            match spec_field {
                Some(at) => {
                    let value = typed(schema, &mut cursor, *node, self.types.get(*at).and_then(Option::as_ref))?;
                    if let Some(slot) = values.get_mut(*at) {
                        *slot = value;
                    }
                }
                None if schema.is_empty(*node) => {}
                None => cursor.skip(schema, *node)?,
            }
        }
        Ok(values)
    }
}

fn position_of(fields: &[WriterField], id: i32, name: &str) -> Option<usize> {
    let by_id = fields.iter().position(|f| f.id == Some(id));
    by_id.or_else(|| {
        let compatible = avro_name(name);
        fields.iter().position(|f| f.id.is_none() && (f.name == name || f.name == compatible))
    })
}

/// The name under which writers keep a field whose name Avro does not allow: odd characters become `_x` and their code in hexadecimal.
fn avro_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (at, c) in name.chars().enumerate() {
        match c {
            '0'..='9' if at == 0 => out.extend(['_', c]),
            '_' | 'a'..='z' | 'A'..='Z' | '0'..='9' => out.push(c),
            _ => out.push_str(&format!("_x{:X}", u32::from(c))),
        }
    }
    out
}

/// Reads a value of any Avro type as `ty`, promotions included; as what it is where `ty` is not known.
fn typed(schema: &WriterSchema, cursor: &mut Cursor<'_>, node: NodeId, ty: Option<&PrimitiveType>) -> Result<Option<Value>, Fault> {
    let node = cursor.branch(schema, node)?;
    let value = match schema.node(node) {
        Node::Null => return Ok(None),
        Node::Boolean => Value::Boolean(cursor.take(1)?.first().is_some_and(|b| *b != 0)),
        Node::Int => return integer(cursor.long()?, true, ty).map(Some),
        Node::Long | Node::Enum => return integer(cursor.long()?, false, ty).map(Some),
        Node::Float => {
            let value = cursor.take(4)?.try_into().map(f32::from_le_bytes).map_err(|_| WRONG)?;
            if ty == Some(&PrimitiveType::Double) { Value::Double(f64::from(value)) } else { Value::Float(value) }
        }
        Node::Double => Value::Double(cursor.take(8)?.try_into().map(f64::from_le_bytes).map_err(|_| WRONG)?),
        Node::String => text(cursor.bytes()?, ty)?,
        Node::Bytes => binary(cursor.bytes()?, ty)?,
        Node::Fixed(length) => binary(cursor.take(*length)?, ty)?,
        Node::Array(_) | Node::Map(_) | Node::Record(_) | Node::Union(_) => return Err(WRONG),
    };
    match ty {
        Some(ty) if !same_kind(&value, ty) => Err(WRONG),
        _ => Ok(Some(value)),
    }
}

fn same_kind(value: &Value, ty: &PrimitiveType) -> bool {
    match (value, ty) {
        (Value::Fixed(bytes), PrimitiveType::Fixed(length)) => bytes.len() == *length as usize,
        (Value::Decimal { .. }, PrimitiveType::Decimal { .. }) => true,
        _ => value.primitive_type().as_ref() == Some(ty),
    }
}

/// `day` comes as an int or as a date, and a field whose source was promoted still comes in its old form.
fn integer(value: i64, is_int: bool, ty: Option<&PrimitiveType>) -> Result<Value, Fault> {
    let narrow = || i32::try_from(value).map_err(|_| WRONG);
    // An Avro int where a timestamp is due counts days: the source was a date once.
    let ticks = |per_second: i64| if is_int { value.checked_mul(86_400 * per_second).ok_or(WRONG) } else { Ok(value) };
    Ok(match ty {
        None if is_int => Value::Int(narrow()?),
        None | Some(PrimitiveType::Long) => Value::Long(value),
        Some(PrimitiveType::Int) => Value::Int(narrow()?),
        Some(PrimitiveType::Date) => Value::Date(narrow()?),
        Some(PrimitiveType::Time) => Value::Time(value),
        Some(PrimitiveType::Timestamp) => Value::Timestamp(ticks(1_000_000)?),
        Some(PrimitiveType::Timestamptz) => Value::Timestamptz(ticks(1_000_000)?),
        Some(PrimitiveType::TimestampNs) => Value::TimestampNs(ticks(1_000_000_000)?),
        Some(PrimitiveType::TimestamptzNs) => Value::TimestamptzNs(ticks(1_000_000_000)?),
        Some(_) => return Err(WRONG),
    })
}

fn text(bytes: &[u8], ty: Option<&PrimitiveType>) -> Result<Value, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| WRONG)?;
    if ty == Some(&PrimitiveType::Uuid) {
        let json = serde_json::Value::String(text.to_owned());
        return Value::from_json(&json, &PrimitiveType::Uuid.into()).ok().flatten().ok_or(WRONG);
    }
    Ok(Value::String(text.to_owned()))
}

fn binary(bytes: &[u8], ty: Option<&PrimitiveType>) -> Result<Value, Fault> {
    Ok(match ty {
        Some(PrimitiveType::Decimal { precision, scale }) => {
            Value::Decimal { unscaled: i128_from_be_bytes(bytes).ok_or(WRONG)?, precision: *precision, scale: *scale }
        }
        Some(PrimitiveType::Uuid) => Value::Uuid(bytes.try_into().map_err(|_| WRONG)?),
        Some(PrimitiveType::Fixed(_)) => Value::Fixed(bytes.to_vec()),
        Some(PrimitiveType::String) => text(bytes, None)?,
        _ => Value::Binary(bytes.to_vec()),
    })
}
