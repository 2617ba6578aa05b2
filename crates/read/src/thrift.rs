//! The little of Thrift's compact protocol that reading Parquet needs beside the decoder: walking a struct, keeping its integers,
//! skipping the rest.
//!
//! Contract: bounded depth and no allocation, whatever the bytes say; a fault tells input that ends early from input that is wrong.
//! (Apache Thrift, "Thrift compact protocol encoding".)

/// Longer strings do not occur in what is read here.
pub(crate) const MAX_MEMBER_BYTES: u64 = 16 << 20;

/// Structs in structs deeper than this do not occur.
const MAX_DEPTH: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes end before the struct does.
    Truncated,
    Malformed(&'static str),
}

pub(crate) type Parsed<T> = Result<T, Fault>;

/// Whether the struct at the start of `bytes` has a member with this id.
pub(crate) fn has_member(bytes: &[u8], wanted: i64) -> Parsed<bool> {
    let mut found = false;
    Input::new(bytes).structure(0, &mut |input, id, ty| {
        found |= id == wanted;
        input.skip(ty, 1)
    })?;
    Ok(found)
}

pub(crate) const TRUE: u8 = 1;
pub(crate) const FALSE: u8 = 2;
pub(crate) const BYTE: u8 = 3;
pub(crate) const I16: u8 = 4;
pub(crate) const I32: u8 = 5;
pub(crate) const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
pub(crate) const STRUCT: u8 = 12;

pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Input { bytes, at: 0 }
    }

    /// Bytes taken so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Parsed<u8> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Parsed<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Malformed("a number is too long"))
    }

    fn zigzag(&mut self) -> Parsed<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn advance(&mut self, length: u64) -> Parsed<()> {
        let left = (self.bytes.len() - self.at) as u64;
        if length > MAX_MEMBER_BYTES {
            return Err(Fault::Malformed("a member is too long"));
        }
        if length > left {
            return Err(Fault::Truncated);
        }
        self.at += length as usize;
        Ok(())
    }

    pub(crate) fn keep(&mut self, slot: &mut Option<i64>, ty: u8) -> Parsed<()> {
        *slot = Some(match ty {
            TRUE => 1,
            FALSE => 0,
            BYTE => i64::from(self.byte()? as i8),
            I16 | I32 | I64 => self.zigzag()?,
            _ => return Err(Fault::Malformed("a member has the wrong type")),
        });
        Ok(())
    }

    /// Calls `member(input, field id, type)` for each member; it must consume the member.
    pub(crate) fn structure(&mut self, depth: usize, member: &mut dyn FnMut(&mut Self, i64, u8) -> Parsed<()>) -> Parsed<()> {
        if depth > MAX_DEPTH {
            return Err(Fault::Malformed("it nests too deep"));
        }
        let mut id = 0i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            id = match head >> 4 {
                0 => self.zigzag()?,
                delta => id.saturating_add(i64::from(delta)),
            };
            member(self, id, head & 0x0f)?;
        }
    }

    pub(crate) fn skip(&mut self, ty: u8, depth: usize) -> Parsed<()> {
        match ty {
            TRUE | FALSE => Ok(()),
            BYTE => self.advance(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.advance(8),
            BINARY => {
                let length = self.varint()?;
                self.advance(length)
            }
            STRUCT => self.structure(depth, &mut |input, _, ty| input.skip(ty, depth + 1)),
            LIST | SET => {
                let head = self.byte()?;
                let length = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                self.elements(length, &[head & 0x0f], depth)
            }
            MAP => {
                let length = self.varint()?;
                if length == 0 {
                    return Ok(());
                }
                let types = self.byte()?;
                self.elements(length, &[types >> 4, types & 0x0f], depth)
            }
            _ => Err(Fault::Malformed("a member has an unknown type")),
        }
    }

    fn elements(&mut self, count: u64, types: &[u8], depth: usize) -> Parsed<()> {
        if depth > MAX_DEPTH {
            return Err(Fault::Malformed("it nests too deep"));
        }
        for _ in 0..count {
            for ty in types {
                // Booleans take a byte each inside a collection, so every round consumes input.
                match *ty {
                    TRUE | FALSE => self.advance(1)?,
                    ty => self.skip(ty, depth + 1)?,
                }
            }
        }
        Ok(())
    }
}
