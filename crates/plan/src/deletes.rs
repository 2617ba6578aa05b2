//! Which deletes apply to which data file (spec "Scan Planning").
//!
//! Contract: equality deletes apply where the data sequence number is smaller than the delete's, position deletes and vectors where it is not
//! larger. Equality deletes under an unpartitioned spec are global; all else needs the same spec and the same partition tuple, except that a
//! delete of one data file is found by that file's path, in one spelling for both. A vector replaces every position delete of its file. Two vectors for one
//! file, or a delete of one file under another partition, are `corrupt`. Deletes that apply to nothing are dropped.
//! How: delete files are indexed by what they apply to, each list sorted by sequence number, so that a data file takes the tail of
//! each list it belongs to.

use fastdata_types::metadata::TableMetadata;
use fastdata_types::plan::{DataFile, DeleteFile, DeleteKind, FileDeletes, FileFormat};
use fastdata_types::{Error, Result, Stage, Store, Value};
use std::collections::HashMap;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Data files times the deletes that apply to each: what the plan must hold.
const MAX_PAIRS: usize = 64 << 20;

/// Matches `deletes` to `files` and gives those that apply to any; the files refer to them by index.
pub(crate) fn assign(
    files: &mut [DataFile],
    deletes: Vec<DeleteFile>,
    metadata: &TableMetadata,
    store: &dyn Store,
) -> Result<Vec<DeleteFile>> {
    if deletes.is_empty() || files.is_empty() {
        return Ok(Vec::new());
    }
    let mut partitions = Partitions::default();
    let index = Index::build(&deletes, metadata, store, &mut partitions)?;
    let mut used = vec![false; deletes.len()];
    let mut pairs = 0_usize;
    for file in files.iter_mut() {
        file.deletes = index.of_file(file, &deletes, store, &mut partitions)?;
        pairs += file.deletes.positions.len() + file.deletes.equality.len();
        if pairs > MAX_PAIRS {
            return Err(Error::limit(Stage::Plan, format!("the plan matches more than {MAX_PAIRS} pairs of data file and delete file"))
                .advice("compact the table's delete files, or filter on a partition column"));
        }
        for at in all(&file.deletes) {
            if let Some(used) = used.get_mut(*at as usize) {
                *used = true;
            }
        }
    }
    Ok(keep_used(files, deletes, &used))
}

fn all(deletes: &FileDeletes) -> impl Iterator<Item = &u32> {
    deletes.positions.iter().chain(&deletes.equality).chain(&deletes.vector)
}

fn keep_used(files: &mut [DataFile], deletes: Vec<DeleteFile>, used: &[bool]) -> Vec<DeleteFile> {
    let mut next = 0;
    let new_index: Vec<u32> = used
        .iter()
        .map(|used| {
            let index = next;
            next += u32::from(*used);
            index
        })
        .collect();
    let moved = |at: &mut u32| *at = new_index.get(*at as usize).copied().unwrap_or(u32::MAX);
    for file in files {
        file.deletes.positions.iter_mut().chain(&mut file.deletes.equality).chain(&mut file.deletes.vector).for_each(moved);
    }
    deletes.into_iter().zip(used).filter_map(|(delete, used)| used.then_some(delete)).collect()
}

/// Refuses the deletes that cannot be read. Skipping one would bring deleted rows back.
pub(crate) fn check_readable(deletes: &[DeleteFile], table: &str) -> Result<()> {
    for delete in deletes {
        let feature = match (&delete.kind, &delete.format) {
            _ if delete.encrypted => "it is encrypted".to_owned(),
            (DeleteKind::Vector { .. }, FileFormat::Puffin) => continue,
            (DeleteKind::Position { .. } | DeleteKind::Equality { .. }, FileFormat::Parquet) => continue,
            (_, other) => format!("its format is '{}'", other.name()),
        };
        return Err(Error::unsupported(Stage::Plan, format!("table '{table}': delete file '{}' cannot be read: {feature}", delete.path))
            .advice("Parquet delete files and Puffin deletion vectors are read; compact the table to apply its deletes"));
    }
    Ok(())
}

/// Delete files by sequence number: the later ones apply.
type BySequence = Vec<(i64, u32)>;

#[derive(Default)]
struct Index {
    global_equality: BySequence,
    /// By partition.
    equality: HashMap<PartitionId, BySequence>,
    positions: HashMap<PartitionId, BySequence>,
    /// By the spelling of the data file's location.
    file_positions: HashMap<String, BySequence>,
    vectors: HashMap<String, u32>,
}

impl Index {
    fn build(deletes: &[DeleteFile], metadata: &TableMetadata, store: &dyn Store, partitions: &mut Partitions) -> Result<Index> {
        let mut index = Index::default();
        for (delete, at) in deletes.iter().zip(0..) {
            let entry = (delete.sequence_number, at);
            match &delete.kind {
                DeleteKind::Equality { .. }
                    if metadata.partition_specs.get(&delete.spec_id).is_some_and(|spec| spec.is_unpartitioned()) =>
                {
                    index.global_equality.push(entry);
                }
                DeleteKind::Equality { .. } => {
                    index.equality.entry(partitions.id(delete.spec_id, &delete.partition)).or_default().push(entry)
                }
                DeleteKind::Position { referenced_data_file: None } => {
                    index.positions.entry(partitions.id(delete.spec_id, &delete.partition)).or_default().push(entry);
                }
                DeleteKind::Position { referenced_data_file: Some(path) } => {
                    index.file_positions.entry(store.spelling(path)).or_default().push(entry);
                }
                DeleteKind::Vector { referenced_data_file, .. } => {
                    if index.vectors.insert(store.spelling(referenced_data_file), at).is_some() {
                        let message = format!("data file '{referenced_data_file}' has more than one deletion vector");
                        return Err(Error::corrupt(Stage::Plan, message).advice("rewrite the data file, or roll the table back"));
                    }
                }
            }
        }
        let lists = index.equality.values_mut().chain(index.positions.values_mut()).chain(index.file_positions.values_mut());
        lists.chain([&mut index.global_equality]).for_each(|list| list.sort_unstable());
        Ok(index)
    }

    fn of_file(&self, file: &DataFile, deletes: &[DeleteFile], store: &dyn Store, partitions: &mut Partitions) -> Result<FileDeletes> {
        let partition = partitions.id(file.spec_id, &file.partition);
        let mut out = FileDeletes::default();
        let later = |list: Option<&BySequence>, out: &mut Vec<u32>| tail(list, |sequence| sequence > file.sequence_number, out);
        later(Some(&self.global_equality), &mut out.equality);
        later(self.equality.get(&partition), &mut out.equality);

        let spelling = if self.vectors.is_empty() && self.file_positions.is_empty() { None } else { Some(store.spelling(&file.path)) };
        let of_one_file = |at: u32| match deletes.get(at as usize) {
            Some(delete) => check_partition(file, delete),
            None => Ok(()),
        };
        let vector = spelling.as_ref().and_then(|spelling| self.vectors.get(spelling)).copied();
        if let Some(at) = vector {
            of_one_file(at)?;
            if deletes.get(at as usize).is_some_and(|vector| vector.sequence_number >= file.sequence_number) {
                out.vector = Some(at);
                return Ok(out);
            }
        }
        let not_earlier = |list: Option<&BySequence>, out: &mut Vec<u32>| tail(list, |sequence| sequence >= file.sequence_number, out);
        not_earlier(spelling.as_ref().and_then(|spelling| self.file_positions.get(spelling)), &mut out.positions);
        out.positions.iter().try_for_each(|at| of_one_file(*at))?;
        not_earlier(self.positions.get(&partition), &mut out.positions);
        Ok(out)
    }
}

/// Appends the deletes of a sorted list from the first whose sequence number applies.
fn tail(list: Option<&BySequence>, applies: impl Fn(i64) -> bool, out: &mut Vec<u32>) {
    let Some(list) = list else { return };
    let from = list.partition_point(|(sequence, _)| !applies(*sequence));
    out.extend(list.iter().skip(from).map(|(_, at)| *at));
}

fn check_partition(file: &DataFile, delete: &DeleteFile) -> Result<()> {
    if file.spec_id == delete.spec_id && key(&file.partition) == key(&delete.partition) {
        return Ok(());
    }
    let message = format!("delete file '{}' deletes from data file '{}', which is in another partition", delete.path, file.path);
    Err(Error::corrupt(Stage::Plan, message).advice("rewrite the data file, or roll the table back"))
}

type PartitionId = u32;
type Tuple = Arc<Vec<Option<Value>>>;

/// Numbers partitions, so that comparing two is comparing numbers.
#[derive(Default)]
struct Partitions {
    by_key: HashMap<(i32, Vec<u8>), PartitionId>,
    /// Files of one manifest share their tuples: by address, which stays taken as long as the tuple is held here.
    by_tuple: HashMap<(i32, usize), (PartitionId, Tuple)>,
}

impl Partitions {
    fn id(&mut self, spec_id: i32, tuple: &Tuple) -> PartitionId {
        let address = (spec_id, Arc::as_ptr(tuple) as usize);
        if let Some((id, _)) = self.by_tuple.get(&address) {
            return *id;
        }
        let next = self.by_key.len() as PartitionId;
        let id = *self.by_key.entry((spec_id, key(tuple))).or_insert(next);
        self.by_tuple.insert(address, (id, Arc::clone(tuple)));
        id
    }
}

/// Equal for equal tuples: every value with its kind and length; one NaN equals another.
fn key(tuple: &[Option<Value>]) -> Vec<u8> {
    let mut key = Vec::with_capacity(tuple.len() * 12);
    for value in tuple {
        let Some(value) = value else {
            key.push(0);
            continue;
        };
        let bytes = match value {
            Value::Float(v) if v.is_nan() => f32::NAN.to_le_bytes().to_vec(),
            Value::Double(v) if v.is_nan() => f64::NAN.to_le_bytes().to_vec(),
            value => value.to_bytes().unwrap_or_default(),
        };
        key.push(1);
        key.extend((bytes.len() as u64).to_le_bytes());
        key.extend(bytes);
    }
    key
}
