//! Reads and steps over Avro binary values (Avro specification, "Binary Encoding").
//!
//! Contract: never reads past its slice, never recurses deeper than [`MAX_DEPTH`], and does work bounded by the slice's
//! length: values that take no bytes are never looped over.

use super::Fault;
use super::schema::{Node, NodeId, WriterSchema};

/// Deepest nesting of a value that is followed.
const MAX_DEPTH: usize = 64;

const TRUNCATED: Fault = "a value runs past the end of its block";
const BAD_COUNT: Fault = "an item count is larger than the bytes that are left";
const BAD_LENGTH: Fault = "a length is negative or larger than the bytes that are left";
const BAD_VARINT: Fault = "an integer is longer than ten bytes";
const BAD_BRANCH: Fault = "a union names a branch that its schema does not have";
const EMPTY_ITEM: Fault = "an item of a list takes no bytes";
const TOO_DEEP: Fault = "values nest too deep";
pub(crate) const WRONG_TYPE: Fault = "a value has another type than its field may have";

#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(length).ok_or(TRUNCATED)?;
        let taken = self.bytes.get(self.at..end).ok_or(TRUNCATED)?;
        self.at = end;
        Ok(taken)
    }

    /// An int or a long.
    #[inline]
    pub fn long(&mut self) -> Result<i64, Fault> {
        let first = *self.bytes.get(self.at).ok_or(TRUNCATED)?;
        self.at += 1;
        let raw = if first < 0x80 { u64::from(first) } else { self.long_tail(first)? };
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    fn long_tail(&mut self, first: u8) -> Result<u64, Fault> {
        let mut raw = u64::from(first & 0x7f);
        for shift in (7..=63).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(TRUNCATED)?;
            self.at += 1;
            // Some writers let larger numbers run over; the bits beyond 64 are dropped, as the Java reader does.
            raw |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(raw);
            }
        }
        Err(BAD_VARINT)
    }

    /// The content of a string or bytes value.
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.long()?).map_err(|_| BAD_LENGTH)?;
        self.take(length).map_err(|_| BAD_LENGTH)
    }

    /// Follows unions down to the branch that is present.
    #[inline]
    pub fn branch(&mut self, schema: &WriterSchema, mut node: NodeId) -> Result<NodeId, Fault> {
        for _ in 0..MAX_DEPTH {
            let Node::Union(branches) = schema.node(node) else { return Ok(node) };
            let index = usize::try_from(self.long()?).map_err(|_| BAD_BRANCH)?;
            node = *branches.get(index).ok_or(BAD_BRANCH)?;
        }
        Err(TOO_DEEP)
    }

    pub fn skip(&mut self, schema: &WriterSchema, node: NodeId) -> Result<(), Fault> {
        self.skip_at(schema, node, 0)
    }

    fn skip_at(&mut self, schema: &WriterSchema, node: NodeId, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(TOO_DEEP);
        }
        match schema.node(node) {
            Node::Null => Ok(()),
            Node::Boolean => self.take(1).map(|_| ()),
            Node::Int | Node::Long | Node::Enum => self.long().map(|_| ()),
            Node::Float => self.take(4).map(|_| ()),
            Node::Double => self.take(8).map(|_| ()),
            Node::Bytes | Node::String => self.bytes().map(|_| ()),
            Node::Fixed(length) => self.take(*length).map(|_| ()),
            Node::Union(_) => {
                let branch = self.branch(schema, node)?;
                self.skip_at(schema, branch, depth + 1)
            }
            Node::Record(_) => {
                for field in schema.solid_fields(node) {
                    self.skip_at(schema, *field, depth + 1)?;
                }
                Ok(())
            }
            Node::Array(item) => self.skip_blocks(schema, None, *item, depth),
            Node::Map(value) => self.skip_blocks(schema, Some(()), *value, depth),
        }
    }

    /// Steps over an array (or a map, where each item begins with a string key).
    fn skip_blocks(&mut self, schema: &WriterSchema, keyed: Option<()>, item: NodeId, depth: usize) -> Result<(), Fault> {
        let empty = keyed.is_none() && schema.is_empty(item);
        while let Some(block) = self.item_block()? {
            if let Some(size) = block.size {
                self.take(size)?;
                continue;
            }
            if empty {
                continue;
            }
            self.check_count(block.count)?;
            for _ in 0..block.count {
                if keyed.is_some() {
                    self.bytes()?;
                }
                self.skip_at(schema, item, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Calls `visit` at the start of each item of an array. `visit` must consume the item, which must take at least one byte: a few bytes
    /// could claim any number of items that take none.
    pub fn items(&mut self, mut visit: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        while let Some(block) = self.item_block()? {
            self.check_count(block.count)?;
            for _ in 0..block.count {
                let start = self.at;
                visit(self)?;
                if self.at == start {
                    return Err(EMPTY_ITEM);
                }
            }
        }
        Ok(())
    }

    fn check_count(&self, count: u64) -> Result<(), Fault> {
        if count > self.remaining() as u64 { Err(BAD_COUNT) } else { Ok(()) }
    }

    /// The header of the next run of items; `None` at the end. A negative count is followed by the run's size in bytes.
    fn item_block(&mut self) -> Result<Option<ItemBlock>, Fault> {
        let count = self.long()?;
        if count == 0 {
            return Ok(None);
        }
        let size = if count < 0 { Some(usize::try_from(self.long()?).map_err(|_| BAD_LENGTH)?) } else { None };
        Ok(Some(ItemBlock { count: count.unsigned_abs(), size }))
    }

    /// An int, long, boolean or enum, `None` for null.
    #[inline]
    pub fn nullable_long(&mut self, schema: &WriterSchema, node: NodeId) -> Result<Option<i64>, Fault> {
        let node = self.branch(schema, node)?;
        match schema.node(node) {
            Node::Int | Node::Long | Node::Enum => self.long().map(Some),
            Node::Boolean => Ok(Some(i64::from(self.take(1)?[0] != 0))),
            Node::Null => Ok(None),
            _ => Err(WRONG_TYPE),
        }
    }

    /// The content of a string, bytes or fixed value, `None` for null.
    #[inline]
    pub fn nullable_bytes(&mut self, schema: &WriterSchema, node: NodeId) -> Result<Option<&'a [u8]>, Fault> {
        let node = self.branch(schema, node)?;
        match schema.node(node) {
            Node::String | Node::Bytes => self.bytes().map(Some),
            Node::Fixed(length) => self.take(*length).map(Some),
            Node::Null => Ok(None),
            _ => Err(WRONG_TYPE),
        }
    }
}

struct ItemBlock {
    count: u64,
    size: Option<usize>,
}
