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

    /// Adds the rows of a batch of a delete file of this data sequence number. Where the table would take more than `allowed` bytes, a
    /// copy while growing included, it stops and says how many; the same rows may then be added again.
    pub(super) fn insert(&mut self, columns: &[KeyColumn], rows: usize, sequence: i64, allowed: u64) -> Result<Option<u64>, &'static str> {
        match (&mut self.keys, columns) {
            (Keys::Integers(map), [column]) => match &column.values {
                KeyValues::Integers(values) => {
                    for row in 0..rows {
                        let Some(value) = values.get(row).filter(|_| !column.is_null(row)) else {
                            self.null = self.null.max(Some(sequence));
                            continue;
                        };
                        if map.len() == map.capacity() && !map.contains_key(value) {
                            let needs = map_bytes(map.capacity()) + map_bytes((map.capacity() * 2).max(16));
                            if needs > allowed {
                                return Ok(Some(needs));
                            }
                        }
                        let known = map.entry(*value).or_insert(sequence);
                        *known = sequence.max(*known);
                    }
                }
                KeyValues::Nulls if rows == 0 => {}
                KeyValues::Nulls => self.null = self.null.max(Some(sequence)),
                _ => return Err(NO_INTEGER),
            },
            (Keys::Bytes(table), [column]) => {
                for row in 0..rows {
                    if column.repeats(row) {
                        continue;
                    }
                    match column.bytes(row).filter(|_| !column.is_null(row)) {
                        None => self.null = self.null.max(Some(sequence)),
                        Some(key) => {
                            if let Some(needs) = table.insert(hash(key, self.seed), key, sequence, allowed)? {
                                return Ok(Some(needs));
                            }
                        }
                    }
                }
            }
            (Keys::Composite(table), columns) => {
                for row in 0..rows {
                    if columns.iter().all(|column| column.repeats(row)) {
                        continue;
                    }
                    compose(columns, row, &mut self.scratch);
                    if let Some(needs) = table.insert(hash(&self.scratch, self.seed), &self.scratch, sequence, allowed)? {
                        return Ok(Some(needs));
                    }
                }
            }
            _ => return Err(WRONG_COLUMNS),
        }
        Ok(None)
    }

    /// Calls `deleted` with each row whose key's sequence number is greater than `than`.
    pub(super) fn probe(&self, columns: &[KeyColumn], rows: usize, than: i64, mut deleted: impl FnMut(usize)) -> Result<(), &'static str> {
        let null = self.null.is_some_and(|sequence| sequence > than);
        match (&self.keys, columns) {
            (Keys::Integers(map), [column]) => {
                let hit = |value: &i64| map.get(value).is_some_and(|sequence| *sequence > than);
                match (&column.values, &column.nulls) {
                    (KeyValues::Integers(values), None) => {
                        values.iter().enumerate().filter(|(_, value)| hit(value)).for_each(|(row, _)| deleted(row));
                    }
                    (KeyValues::Integers(values), Some(nulls)) => {
                        let rows = values.iter().enumerate();
                        rows.filter(|(row, value)| if nulls.is_null(*row) { null } else { hit(value) }).for_each(|(row, _)| deleted(row));
                    }
                    (KeyValues::Nulls, _) if null => (0..rows).for_each(deleted),
                    (KeyValues::Nulls, _) => {}
                    _ => return Err(NO_INTEGER),
                }
            }
            (Keys::Bytes(table), [column]) => {
                let hit = |row: usize| match column.bytes(row).filter(|_| !column.is_null(row)) {
                    None => null,
                    Some(key) => table.get(hash(key, self.seed), key).is_some_and(|sequence| sequence > than),
                };
                probe_rows(columns, rows, hit, deleted);
            }
            (Keys::Composite(table), columns) => {
                let mut key = Vec::new();
                let hit = |row: usize| {
                    compose(columns, row, &mut key);
                    table.get(hash(&key, self.seed), &key).is_some_and(|sequence| sequence > than)
                };
                probe_rows(columns, rows, hit, deleted);
            }
            _ => return Err(WRONG_COLUMNS),
        }
        Ok(())
    }
}

const NO_INTEGER: &str = "its key column is no integer";
const WRONG_COLUMNS: &str = "its key has another number of columns";

/// Asks about each row, and about a row that repeats the one before only once.
fn probe_rows(columns: &[KeyColumn], rows: usize, mut hit: impl FnMut(usize) -> bool, mut deleted: impl FnMut(usize)) {
    let mut last = false;
    for row in 0..rows {
        if !columns.iter().all(|column| column.repeats(row)) {
            last = hit(row);
        }
        if last {
            deleted(row);
        }
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

    /// Bytes held, a copy while growing included, once another key of this length is in.
    fn held_with(&self, key_bytes: usize) -> u64 {
        let grown = |capacity: usize, length: usize| match length > capacity {
            true => capacity + length.max(capacity.saturating_mul(2)).max(16),
            false => capacity,
        };
        let entries = self.entries.len() + 1;
        let buckets = grown(self.buckets.len(), entries * 2).saturating_mul(size_of::<u32>());
        let entries = grown(self.entries.capacity(), entries).saturating_mul(size_of::<Entry>());
        let arena = grown(self.arena.capacity(), self.arena.len().saturating_add(key_bytes));
        buckets.saturating_add(entries).saturating_add(arena) as u64
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

    /// Adds a key, or says how many bytes that takes where they are more than `allowed`.
    fn insert(&mut self, hash: u64, key: &[u8], sequence: i64, allowed: u64) -> Result<Option<u64>, &'static str> {
        if let Some(at) = self.bucket(hash, key)
            && let Some(entry) = self.buckets.get(at).and_then(|index| self.entries.get_mut(*index as usize))
        {
            entry.sequence = sequence.max(entry.sequence);
            return Ok(None);
        }
        let needs = self.held_with(key.len());
        if needs > allowed {
            return Ok(Some(needs));
        }
        if (self.entries.len() + 1) * 2 > self.buckets.len() {
            self.grow();
        }
        let index = u32::try_from(self.entries.len()).ok().filter(|at| *at != EMPTY).ok_or("it holds more than 2^32 keys")?;
        let bucket = self.bucket(hash, key).and_then(|at| self.buckets.get_mut(at)).ok_or("its key table is broken")?;
        *bucket = index;
        self.entries.push(Entry { hash, start: self.arena.len(), length: key.len(), sequence });
        self.arena.extend_from_slice(key);
        Ok(None)
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
