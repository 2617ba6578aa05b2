//! Equality delete files (spec "Equality Delete Files"): which values delete a row.
//!
//! Problem: delete files come with id sets of their own, hold other columns too, and were written under other schemas than the data.
//! Contract: only the columns of `equality_ids` count; they are found by field id, in a file without ids through the table's name
//! mapping, else by position; a file that lacks one of them is `corrupt`. Delete files of one id set and one partition make
//! one [`KeyTable`], read once per scan and kept within the budget.

use super::delete_parquet::DeleteParquet;
use super::drain::{Reading, RowSink};
use super::equality_schema::KeyField;
use super::key_table::KeyTable;
use super::keys::KeyColumn;
use super::memory::{Asker, Reservation};
use crate::ReadContext;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::NullBuffer;
use fastdata_types::metadata::{MappedField, NameMapping};
use fastdata_types::plan::ScanPlan;
use fastdata_types::{Error, PrimitiveType, Result, Stage};
use parquet::schema::types::{Type as ParquetType, TypePtr};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Delete files that are opened ahead, or open and waiting to be decoded.
const FETCHES: usize = 8;

/// The keys of all delete files of one id set and one partition.
#[derive(Debug)]
pub(super) struct EqualitySet {
    pub(super) fields: Vec<KeyField>,
    pub(super) table: KeyTable,
    _memory: Reservation,
}

/// Reads the delete files `members` of the plan into one set.
pub(super) async fn load(
    plan: &Arc<ScanPlan>,
    context: &ReadContext,
    asker: &Asker,
    fields: Vec<KeyField>,
    members: &[u32],
    mut memory: Reservation,
) -> Result<EqualitySet> {
    let mut table = KeyTable::for_columns(
        matches!(fields.as_slice(), [only] if is_integer(&only.ty)),
        matches!(fields.as_slice(), [only] if is_bytes(&only.ty)),
    );
    let fields = Arc::new(fields);
    let mut members = members.iter().copied();
    // Each by a task of its own, which ends with this load. While a file is decoded nobody would poll the others here, and a request that is
    // under way, or whose turn has come, would keep its place at the store: from the next request of the file that is decoded, too.
    let (mut tasks, mut begun) = (JoinSet::new(), VecDeque::new());
    loop {
        while begun.len() < FETCHES
            && let Some(member) = members.next()
        {
            let (done, opened) = oneshot::channel();
            let (plan, context, asker, fields) = (Arc::clone(plan), context.clone(), asker.clone(), Arc::clone(&fields));
            tasks.spawn(async move {
                // Nobody waits where the load was dropped.
                let _ = done.send(open(&plan, &context, &asker, &fields, member).await);
            });
            begun.push_back(opened);
        }
        let Some(opened) = begun.pop_front() else { break };
        let opened = opened.await.unwrap_or_else(|_| Err(Error::internal(Stage::Read, "opening a delete file panicked")));
        let (reading, columns, sequence) = opened?;
        let sink = Keys { table, columns, fields: Arc::clone(&fields), sequence };
        table = reading.drain(plan.table.store.as_ref(), context, sink, &mut memory).await?.table;
        while tasks.try_join_next().is_some() {}
    }
    memory.shrink_to(table.bytes());
    Ok(EqualitySet { fields: Arc::unwrap_or_clone(fields), table, _memory: memory })
}

/// A delete file with its first rows fetched, where its key columns are, and its data sequence number.
async fn open(plan: &ScanPlan, context: &ReadContext, asker: &Asker, fields: &[KeyField], member: u32) -> Result<(Reading, Columns, i64)> {
    let delete =
        plan.deletes.get(member as usize).ok_or_else(|| Error::internal(Stage::Read, format!("the plan has no delete file {member}")))?;
    let store = plan.table.store.as_ref();
    let file = DeleteParquet::open(store, context, asker, delete).await?;
    let columns = Columns::find(&file, fields, plan.table.metadata.name_mapping.as_deref())?;
    let row_groups = (0..file.metadata.num_row_groups()).collect();
    let reading = Reading::start(file, store, asker, row_groups, columns.leaves.clone()).await?;
    Ok((reading, columns, delete.sequence_number))
}

/// The key table while one delete file is being decoded into it.
struct Keys {
    table: KeyTable,
    columns: Columns,
    fields: Arc<Vec<KeyField>>,
    sequence: i64,
}

impl RowSink for Keys {
    fn take(&mut self, batch: &RecordBatch, allowed: u64) -> Result<Option<u64>> {
        let columns = self.columns.of(batch, &self.fields)?;
        let inserted = self.table.insert(&columns, batch.num_rows(), self.sequence, allowed);
        inserted.map_err(|why| Error::corrupt(Stage::Read, why))
    }
}

fn is_integer(ty: &PrimitiveType) -> bool {
    use PrimitiveType::*;
    matches!(ty, Int | Long | Date | Time | Timestamp | Timestamptz | TimestampNs | TimestamptzNs)
}

fn is_bytes(ty: &PrimitiveType) -> bool {
    use PrimitiveType::*;
    matches!(ty, String | Binary | Uuid | Fixed(_))
}

/// Where the key columns are in a delete file.
#[derive(Debug)]
struct Columns {
    /// Leaf indexes, ascending.
    leaves: Vec<usize>,
    /// Per key field its place in `leaves`.
    places: Vec<usize>,
}

impl Columns {
    fn find(file: &DeleteParquet, fields: &[KeyField], mapping: Option<&NameMapping>) -> Result<Columns> {
        let root = file.metadata.file_metadata().schema_descr().root_schema();
        let mut found = Vec::new();
        let naming = match has_ids(root.get_fields()) {
            true => Naming::Ids,
            false => mapping.map_or(Naming::Positions, |mapping| Naming::Mapped(&mapping.fields)),
        };
        let mut leaf = 0;
        for (position, field) in root.get_fields().iter().enumerate() {
            find_leaves(field, naming, position, true, &mut leaf, &mut found);
        }
        let mut of_fields = Vec::with_capacity(fields.len());
        for field in fields {
            let leaf = found.iter().find(|(id, _)| *id == field.id).map(|(_, leaf)| *leaf).ok_or_else(|| {
                Error::corrupt(Stage::Read, format!("{}: it lacks the equality column '{}' (field id {})", file.what, field.name, field.id))
            })?;
            of_fields.push(leaf);
        }
        let mut leaves = of_fields.clone();
        leaves.sort_unstable();
        leaves.dedup();
        let places = of_fields.iter().filter_map(|leaf| leaves.binary_search(leaf).ok()).collect();
        Ok(Columns { leaves, places })
    }

    fn of(&self, batch: &RecordBatch, fields: &[KeyField]) -> Result<Vec<KeyColumn>> {
        let mut arrays = Vec::new();
        for column in batch.columns() {
            leaf_arrays(column, None, &mut arrays);
        }
        let column = |(place, field): (&usize, &KeyField)| {
            let (array, outer) = arrays.get(*place).ok_or_else(|| Error::corrupt(Stage::Read, "a column is missing"))?;
            KeyColumn::new(array, outer.as_ref(), &field.ty)
                .map_err(|why| Error::corrupt(Stage::Read, format!("equality column '{}': {why}", field.name)))
        };
        self.places.iter().zip(fields).map(column).collect()
    }
}

/// How the columns of a file get their ids.
#[derive(Clone, Copy)]
enum Naming<'a> {
    Ids,
    Mapped(&'a [MappedField]),
    /// Top-level column i, counted from 1, has id i.
    Positions,
    Nothing,
}

fn has_ids(fields: &[TypePtr]) -> bool {
    fields.iter().any(|f| f.get_basic_info().has_id() || (f.is_group() && has_ids(f.get_fields())))
}

/// Collects (field id, leaf index) of the primitive columns that lie in structs alone; counts all leaves.
fn find_leaves(ty: &ParquetType, naming: Naming, position: usize, reachable: bool, leaf: &mut usize, found: &mut Vec<(i32, usize)>) {
    let info = ty.get_basic_info();
    let (id, below) = match naming {
        Naming::Ids => (info.has_id().then(|| info.id()), Naming::Ids),
        Naming::Mapped(fields) => match fields.iter().find(|f| f.names.iter().any(|name| name == info.name())) {
            Some(mapped) => (mapped.field_id, Naming::Mapped(&mapped.fields)),
            None => (None, Naming::Nothing),
        },
        Naming::Positions => (i32::try_from(position + 1).ok(), Naming::Nothing),
        Naming::Nothing => (None, Naming::Nothing),
    };
    let repeated = info.has_repetition() && info.repetition() == parquet::basic::Repetition::REPEATED;
    let reachable = reachable && !repeated;
    if ty.is_group() {
        let plain = reachable && info.converted_type() == parquet::basic::ConvertedType::NONE && info.logical_type_ref().is_none();
        for (position, field) in ty.get_fields().iter().enumerate() {
            find_leaves(field, below, position, plain, leaf, found);
        }
        return;
    }
    if let (true, Some(id)) = (reachable, id) {
        found.push((id, *leaf));
    }
    *leaf += 1;
}

/// The leaves of a projected column in the file's order, each with the nulls of the structs around it.
fn leaf_arrays(array: &ArrayRef, outer: Option<&NullBuffer>, out: &mut Vec<(ArrayRef, Option<NullBuffer>)>) {
    match array.as_struct_opt() {
        Some(structure) => {
            let nulls = NullBuffer::union(structure.nulls(), outer);
            for column in structure.columns() {
                leaf_arrays(column, nulls.as_ref(), out);
            }
        }
        None => out.push((Arc::clone(array), outer.cloned())),
    }
}
