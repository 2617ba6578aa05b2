//! The deletes of one data file, ready to be asked about rows.

use super::equality::EqualitySet;
use super::equality_schema::KeyField;
use super::keys::KeyColumn;
use super::memory::Live;
use super::position::PositionDeletes;
use super::vector_file::Vector;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use fastdata_types::{Error, Field, Result, Schema, Stage, Type};
use roaring::{RoaringBitmap, RoaringTreemap};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// Deletes that apply to one data file.
#[derive(Debug)]
pub(crate) struct AppliedDeletes {
    pub(super) positions: Vec<DeletedPositions>,
    pub(super) equality: Vec<AppliedSet>,
    pub(super) field_ids: BTreeSet<i32>,
    pub(super) _live: Live,
}

/// Where deleted positions are held.
#[derive(Debug)]
pub(super) enum DeletedPositions {
    Vector(Arc<Vector>),
    /// The part of a position delete file that is about this data file.
    File(Arc<PositionDeletes>, u32),
}

impl DeletedPositions {
    fn positions(&self) -> Option<&RoaringTreemap> {
        match self {
            DeletedPositions::Vector(vector) => Some(&vector.positions),
            DeletedPositions::File(deletes, file) => deletes.by_file.get(file),
        }
        .filter(|positions| !positions.is_empty())
    }
}

/// A set of keys and the data file's sequence number: keys with a greater one delete.
#[derive(Debug)]
pub(super) struct AppliedSet {
    pub(super) set: Arc<EqualitySet>,
    pub(super) sequence_number: i64,
}

impl AppliedDeletes {
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.equality.is_empty() && self.positions.iter().all(|p| p.positions().is_none())
    }

    /// The columns that the equality deletes look at.
    pub(crate) fn equality_field_ids(&self) -> &BTreeSet<i32> {
        &self.field_ids
    }

    /// One bit per row of `rows` (positions in the data file), set where the row is deleted; `None` where none is.
    pub(crate) fn deleted_positions(&self, rows: Range<u64>) -> Option<BooleanBuffer> {
        let length = usize::try_from(rows.end.checked_sub(rows.start)?).ok()?;
        let last = rows.end.checked_sub(1)?;
        let mut words: Option<Vec<u64>> = None;
        for positions in self.positions.iter().filter_map(DeletedPositions::positions) {
            for (key, bitmap) in positions.bitmaps() {
                let base = u64::from(key) << 32;
                let (low, high) = (rows.start.max(base), last.min(base | u64::from(u32::MAX)));
                if low > high || length == 0 {
                    continue;
                }
                let within = (low - base) as u32..=(high - base) as u32;
                let count = bitmap.range_cardinality(within.clone());
                if count > 0 {
                    let words = words.get_or_insert_with(|| vec![0; length.div_ceil(64)]);
                    set_bits(bitmap, within, base.wrapping_sub(rows.start), count, words);
                }
            }
        }
        let words = words?.into_iter().map(u64::to_le).collect::<Vec<u64>>();
        Some(BooleanBuffer::new(Buffer::from_vec(words), 0, length))
    }

    /// One bit per row of the batch, set where an equality delete matches it; `None` where none does. `schema` is the batch's and holds
    /// the columns of [`Self::equality_field_ids`] at their paths.
    pub(crate) fn equality_deleted(&self, batch: &RecordBatch, schema: &Schema) -> Result<Option<BooleanBuffer>> {
        let rows = batch.num_rows();
        let mut words: Option<Vec<u64>> = None;
        for applied in &self.equality {
            let columns = applied.set.fields.iter().map(|field| key_column(batch, schema, field)).collect::<Result<Vec<_>>>()?;
            let set = |row: usize| {
                if let Some(word) = words.get_or_insert_with(|| vec![0; rows.div_ceil(64)]).get_mut(row / 64) {
                    *word |= 1 << (row % 64);
                }
            };
            let probed = applied.set.table.probe(&columns, rows, applied.sequence_number, set);
            probed.map_err(|why| Error::internal(Stage::Read, format!("equality deletes: {why}")))?;
        }
        let Some(words) = words else { return Ok(None) };
        let words = words.into_iter().map(u64::to_le).collect::<Vec<u64>>();
        Ok(Some(BooleanBuffer::new(Buffer::from_vec(words), 0, rows)))
    }
}

/// Sets the bits of a bitmap's values within a range; a value's bit is the value plus `shift`.
fn set_bits(bitmap: &RoaringBitmap, within: std::ops::RangeInclusive<u32>, shift: u64, count: u64, words: &mut [u64]) {
    let span = u64::from(*within.end() - *within.start()) + 1;
    let mut values = bitmap.range(within);
    let bit = |value: u32| u64::from(value).wrapping_add(shift) as usize;
    if count > span / 2 {
        while let Some(run) = values.next_range() {
            set_run(words, bit(*run.start()), bit(*run.end()));
        }
        return;
    }
    let mut chunk = [0u32; 256];
    loop {
        let taken = values.next_many(&mut chunk);
        if taken.is_empty() {
            return;
        }
        for value in taken {
            let at = bit(*value);
            words[at / 64] |= 1 << (at % 64);
        }
    }
}

/// Sets the bits from `first` to `last`, both included.
fn set_run(words: &mut [u64], first: usize, last: usize) {
    let (start, end) = (first / 64, last / 64);
    let head = u64::MAX << (first % 64);
    let tail = u64::MAX >> (63 - last % 64);
    if start == end {
        words[start] |= head & tail;
        return;
    }
    words[start] |= head;
    words[start + 1..end].fill(u64::MAX);
    words[end] |= tail;
}

/// The column of a field id in a batch of this schema; a null struct around it makes it null.
fn key_column(batch: &RecordBatch, schema: &Schema, field: &KeyField) -> Result<KeyColumn> {
    let missing = || Error::internal(Stage::Read, format!("equality column '{}' is not in the batch", field.name));
    let ancestry = schema.ancestry(field.id).ok_or_else(missing)?;
    let mut siblings: Vec<&Field> = schema.fields.iter().collect();
    let mut arrays: &[ArrayRef] = batch.columns();
    let mut outer: Option<NullBuffer> = None;
    for step in &ancestry {
        let at = siblings.iter().position(|f| f.id == step.id).ok_or_else(missing)?;
        let array = arrays.get(at).ok_or_else(missing)?;
        match &step.ty {
            Type::Primitive(_) => {
                return KeyColumn::new(array, outer.as_ref(), &field.ty)
                    .map_err(|why| Error::internal(Stage::Read, format!("equality column '{}': {why}", field.name)));
            }
            _ => {
                let structure = array.as_struct_opt().ok_or_else(missing)?;
                outer = NullBuffer::union(outer.as_ref(), structure.nulls());
                arrays = structure.columns();
                siblings = step.ty.children();
            }
        }
    }
    Err(missing())
}
