//! Equality delete keys -> the highest data sequence number that deletes them.
//!
//! Problem: thousands of small equality delete files may apply to a data file, and others to the next. Contract: one table serves all
//! delete files of one id set and one partition: a row of a data file is deleted exactly if its key's sequence number is greater than
//! the file's (spec "Scan Planning": equality deletes apply where the data sequence number is strictly less). So memory grows with the
//! keys alone, and a row costs one lookup. How: single integer columns are a map of integers; all else is an open table over one
//! arena of key bytes. Hashes are seeded per process, so that no file can be made to collide.

use super::keys::{KeyColumn, KeyValues};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Keys of one set of columns.
#[derive(Debug)]
pub(super) struct KeyTable {
    keys: Keys,
    /// The sequence number that deletes rows whose only key column is NULL.
    null: Option<i64>,
    scratch: Vec<u8>,
    seed: u64,
}

#[derive(Debug)]
enum Keys {
    Integers(HashMap<i64, i64, Mixer>),
    /// The bytes of a single column.
    Bytes(ByteKeys),
    /// Several columns, or one that is neither integer nor bytes, in the form of [`KeyColumn::append`].
    Composite(ByteKeys),
}

impl KeyTable {
    /// A table for keys of such columns: a single integer column and a single bytes column have forms of their own.
    pub(super) fn for_columns(integers: bool, bytes: bool) -> Self {
        let seed = RandomState::new().build_hasher().finish();
        let keys = match (integers, bytes) {
            (true, _) => Keys::Integers(HashMap::with_hasher(Mixer { seed })),
            (_, true) => Keys::Bytes(ByteKeys::default()),
            _ => Keys::Composite(ByteKeys::default()),
        };
        KeyTable { keys, null: None, scratch: Vec::new(), seed }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.null.is_none()
            && match &self.keys {
                Keys::Integers(map) => map.is_empty(),
                Keys::Bytes(table) | Keys::Composite(table) => table.entries.is_empty(),
            }
    }

    /// Bytes held, not less than there are.
    pub(super) fn bytes(&self) -> u64 {
        let held = match &self.keys {
            Keys::Integers(map) => map_bytes(map.capacity()),
            Keys::Bytes(table) | Keys::Composite(table) => table.held(),
        };
        held + self.scratch.capacity() as u64
    }

    /// Bytes that may be held, a copy while growing included, once `rows` more rows with `key_bytes` of variable length are in.
    pub(super) fn bytes_after(&self, rows: usize, key_bytes: u64) -> u64 {
        match &self.keys {
            Keys::Integers(map) => match map.len() + rows > map.capacity() {
                true => map_bytes(map.capacity()) + map_bytes((map.len() + rows).max(map.capacity().saturating_mul(2))),
                false => map_bytes(map.capacity()),
            },
            Keys::Bytes(table) | Keys::Composite(table) => table.held_after(rows, key_bytes),
        }
    }

    /// Adds the rows of a batch of a delete file of this data sequence number.
    pub(super) fn insert(&mut self, columns: &[KeyColumn], rows: usize, sequence: i64) -> Result<(), String> {
        match (&mut self.keys, columns) {
            (Keys::Integers(map), [column]) => {
                let KeyValues::Integers(values) = &column.values else { return self.insert_nulls(columns, rows, sequence) };
                for (row, value) in values.iter().enumerate() {
                    match column.is_null(row) {
                        true => self.null = self.null.max(Some(sequence)),
                        false => {
                            let known = map.entry(*value).or_insert(sequence);
                            *known = sequence.max(*known);
                        }
                    }
                }
            }
            (Keys::Bytes(table), [column]) => {
                for row in 0..rows {
                    match column.bytes(row).filter(|_| !column.is_null(row)) {
                        None => self.null = self.null.max(Some(sequence)),
                        Some(key) => table.insert(hash(key, self.seed), key, sequence)?,
                    }
                }
            }
            (Keys::Composite(table), columns) => {
                for row in 0..rows {
                    compose(columns, row, &mut self.scratch);
                    table.insert(hash(&self.scratch, self.seed), &self.scratch, sequence)?;
                }
            }
            _ => return Err("its key has another number of columns".into()),
        }
        Ok(())
    }

    fn insert_nulls(&mut self, columns: &[KeyColumn], rows: usize, sequence: i64) -> Result<(), String> {
        if !columns.iter().all(|c| matches!(c.values, KeyValues::Nulls)) {
            return Err("its key column is no integer".into());
        }
        if rows > 0 {
            self.null = self.null.max(Some(sequence));
        }
        Ok(())
    }

    /// Calls `deleted` with each row whose key's sequence number is greater than `than`.
    pub(super) fn probe(&self, columns: &[KeyColumn], rows: usize, than: i64, mut deleted: impl FnMut(usize)) -> Result<(), String> {
        let null = self.null.is_some_and(|sequence| sequence > than);
        match (&self.keys, columns) {
            (Keys::Integers(map), [column]) => match &column.values {
                KeyValues::Integers(values) if column.nulls.is_none() => {
                    for (row, value) in values.iter().enumerate() {
                        if map.get(value).is_some_and(|sequence| *sequence > than) {
                            deleted(row);
                        }
                    }
                }
                KeyValues::Integers(values) => {
                    for (row, value) in values.iter().enumerate() {
                        let hit = match column.is_null(row) {
                            true => null,
                            false => map.get(value).is_some_and(|sequence| *sequence > than),
                        };
                        if hit {
                            deleted(row);
                        }
                    }
                }
                KeyValues::Nulls if null => (0..rows).for_each(deleted),
                KeyValues::Nulls => {}
                _ => return Err("its key column is no integer".into()),
            },
            (Keys::Bytes(table), [column]) => {
                for row in 0..rows {
                    let hit = match column.bytes(row).filter(|_| !column.is_null(row)) {
                        None => null,
                        Some(key) => table.get(hash(key, self.seed), key).is_some_and(|sequence| sequence > than),
                    };
                    if hit {
                        deleted(row);
                    }
                }
            }
            (Keys::Composite(table), columns) => {
                let mut key = Vec::new();
                for row in 0..rows {
                    compose(columns, row, &mut key);
                    if table.get(hash(&key, self.seed), &key).is_some_and(|sequence| sequence > than) {
                        deleted(row);
                    }
                }
            }
            _ => return Err("its key has another number of columns".into()),
        }
        Ok(())
    }
}

fn compose(columns: &[KeyColumn], row: usize, key: &mut Vec<u8>) {
    key.clear();
    for column in columns {
        column.append(row, key);
    }
}

fn hash(key: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(key, seed)
}

/// Bytes of a map of this capacity: two numbers and a control byte a bucket, a power of two of buckets, at most 7/8 full.
fn map_bytes(capacity: usize) -> u64 {
    match capacity {
        0 => 0,
        _ => ((capacity as u64).saturating_mul(8) / 7 + 1).next_power_of_two().saturating_mul(17) + 64,
    }
}

/// Key bytes in one arena, found through open addressing.
#[derive(Debug, Default)]
struct ByteKeys {
    /// Indexes into `entries`, or `EMPTY`; a power of two of them, at most half full.
    buckets: Vec<u32>,
    entries: Vec<Entry>,
    arena: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    start: usize,
    length: usize,
    sequence: i64,
}

const EMPTY: u32 = u32::MAX;

impl ByteKeys {
    fn held(&self) -> u64 {
        (self.buckets.capacity() * size_of::<u32>() + self.entries.capacity() * size_of::<Entry>() + self.arena.capacity()) as u64
    }

    fn held_after(&self, rows: usize, key_bytes: u64) -> u64 {
        let grown = |capacity: usize, length: u64| match length > capacity as u64 {
            true => capacity as u64 + length.max(capacity as u64 * 2),
            false => capacity as u64,
        };
        let entries = self.entries.len() as u64 + rows as u64;
        let buckets = (entries * 2).next_power_of_two();
        grown(self.buckets.len(), buckets) * size_of::<u32>() as u64
            + grown(self.entries.capacity(), entries) * size_of::<Entry>() as u64
            + grown(self.arena.capacity(), self.arena.len() as u64 + key_bytes)
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        self.arena.get(entry.start..entry.start + entry.length).unwrap_or_default()
    }

    /// The bucket that holds this key's entry, or the empty one where it belongs; `None` in a table without buckets.
    fn bucket(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let mask = self.buckets.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            match self.entries.get(*self.buckets.get(at)? as usize) {
                None => return Some(at),
                Some(entry) if entry.hash == hash && self.key(entry) == key => return Some(at),
                Some(_) => at = (at + 1) & mask,
            }
        }
    }

    fn get(&self, hash: u64, key: &[u8]) -> Option<i64> {
        let index = *self.buckets.get(self.bucket(hash, key)?)?;
        self.entries.get(index as usize).map(|entry| entry.sequence)
    }

    fn insert(&mut self, hash: u64, key: &[u8], sequence: i64) -> Result<(), String> {
        if self.entries.len() * 2 >= self.buckets.len() {
            self.grow();
        }
        let bucket = self.bucket(hash, key).and_then(|at| self.buckets.get_mut(at)).ok_or("its key table is broken")?;
        match self.entries.get_mut(*bucket as usize) {
            Some(entry) => entry.sequence = sequence.max(entry.sequence),
            None => {
                *bucket = u32::try_from(self.entries.len()).ok().filter(|at| *at != EMPTY).ok_or("it holds more than 2^32 keys")?;
                self.entries.push(Entry { hash, start: self.arena.len(), length: key.len(), sequence });
                self.arena.extend_from_slice(key);
            }
        }
        Ok(())
    }

    fn grow(&mut self) {
        let size = (self.buckets.len() * 2).max(16);
        self.buckets = vec![EMPTY; size];
        for (index, entry) in self.entries.iter().enumerate() {
            let mut at = entry.hash as usize & (size - 1);
            while self.buckets[at] != EMPTY {
                at = (at + 1) & (size - 1);
            }
            self.buckets[at] = index as u32;
        }
    }
}

/// A hash of one integer: a multiplication folded onto itself.
#[derive(Debug, Clone, Copy)]
struct Mixer {
    seed: u64,
}

impl BuildHasher for Mixer {
    type Hasher = Mixed;
    fn build_hasher(&self) -> Mixed {
        Mixed(self.seed)
    }
}

struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }
    fn write_i64(&mut self, value: i64) {
        let product = u128::from(value as u64 ^ self.0) * 0x9E37_79B9_7F4A_7C15;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}
