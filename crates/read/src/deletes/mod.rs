//! Deletes: position delete files, equality delete files and deletion vectors, read once per scan and applied to batches.
//!
//! Problem: the planner says which delete files apply to which data files; one delete file may apply to thousands of them, and one
//! data file may have thousands of delete files. Contract: [`ScanDeletes::for_file`] gives what applies to a data file; each delete file
//! (each vector of a Puffin file) is read once, however many callers ask and however many data files refer to it, and is kept within the
//! memory budget until the last of them was read. A data file whose blocks lie apart is opened more than once, and what it refers to may then
//! be read again where memory is short. A delete file that is missing, damaged, of another size than the manifest says or of a
//! format that is not read fails the scan with an error that names it: it is never skipped.
//!
//! How: position delete files become a roaring bitmap per data file (`position`), deletion vectors one bitmap (`vector`, `vector_file`),
//! equality delete files of one id set and one partition one table from key to the highest deleting sequence number
//! (`equality`, `key_table`, `keys`). [`AppliedDeletes`] answers for rows. `delete_parquet` and `drain` read Parquet, `cell` keeps each
//! set once, `memory` reserves, `work` decodes on the pool.

mod applied;
mod cell;
mod delete_parquet;
mod drain;
mod equality;
mod equality_schema;
mod key_table;
mod keys;
mod memory;
mod position;
#[cfg(test)]
pub(crate) mod tests;
mod vector;
mod vector_file;
mod work;

pub(crate) use applied::AppliedDeletes;
pub(crate) use equality_schema::equality_schema;
pub(crate) use memory::Opening;
pub use vector::decode_deletion_vector;

use crate::ReadContext;
use crate::schedule::openings;
use applied::{AppliedSet, DeletedPositions};
use cell::{SetCell, Users};
use delete_parquet::name_of;
use equality::EqualitySet;
use equality_schema::key_fields;
use fastdata_types::plan::{DataFile, DeleteFile, DeleteKind, ScanPlan};
use fastdata_types::{Error, Result, Stage};
use futures::stream::{StreamExt, TryStreamExt};
use memory::Holdings;
use position::{PathIndex, PositionDeletes, Targets};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use vector_file::Vector;

/// Position delete files of one data file that are read at once.
const FETCHES: usize = 8;

/// The deletes of one scan.
pub(crate) struct ScanDeletes {
    plan: Arc<ScanPlan>,
    context: ReadContext,
    holdings: Arc<Holdings>,
    paths: OnceLock<Arc<PathIndex>>,
    loads: Vec<Load>,
    sets: Vec<PlannedSet>,
    /// Per data file whether its deletes were handed out.
    asked: Vec<AtomicBool>,
}

/// How one delete file of the plan is loaded.
enum Load {
    Position(SetCell<PositionDeletes>),
    Vector(SetCell<Vector>),
    /// As part of this set.
    Equality(usize),
}

/// Equality delete files of one id set and one partition.
struct PlannedSet {
    ids: BTreeSet<i32>,
    members: Vec<u32>,
    cell: SetCell<EqualitySet>,
}

impl std::fmt::Debug for ScanDeletes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScanDeletes").field("delete_files", &self.loads.len()).field("sets", &self.sets.len()).finish_non_exhaustive()
    }
}

impl ScanDeletes {
    pub(crate) fn new(plan: Arc<ScanPlan>, context: ReadContext) -> Self {
        let holdings = Holdings::new(Arc::clone(&context.budget), openings(&plan.blocks).count());
        let (loads, sets) = plan_loads(&plan, &holdings);
        let asked = plan.files.iter().map(|_| AtomicBool::new(false)).collect();
        ScanDeletes { plan, context, holdings, paths: OnceLock::new(), loads, sets, asked }
    }

    /// Announces an opening, by its number among those of the plan's blocks. Those behind it leave room for its deletes until it has them.
    pub(crate) fn opening(&self, number: u32) -> Opening {
        self.holdings.begin(number)
    }

    /// The deletes of one data file, by its index in the plan, for one opening of it. Waits for memory where others hold it: callers hold none
    /// for this opening yet, and drop what they get when its blocks are read.
    pub(crate) async fn for_file(&self, file: u32, opening: Opening) -> Result<Arc<AppliedDeletes>> {
        let data =
            self.plan.files.get(file as usize).ok_or_else(|| Error::internal(Stage::Read, format!("the plan has no data file {file}")))?;
        let number = opening.number();
        let (positions, mut equality) = futures::try_join!(self.positions(data, file, number), self.equality(data, number))?;
        let is_first = self.asked.get(file as usize).is_some_and(|asked| !asked.swap(true, Ordering::Relaxed));
        // While all sets are held nobody loads one of them, and so none is locked for long.
        self.note_asked(data, is_first).await;
        equality.retain(|applied| !applied.set.table.is_empty());
        let field_ids = equality.iter().flat_map(|applied| applied.set.fields.iter().map(|f| f.id)).collect();
        Ok(Arc::new(AppliedDeletes { positions, equality, field_ids, _live: self.holdings.hand_out(number) }))
    }

    async fn positions(&self, data: &DataFile, file: u32, opening: u32) -> Result<Vec<DeletedPositions>> {
        // A deletion vector replaces every position delete file of its data file.
        if let Some(vector) = data.deletes.vector {
            return Ok(vec![DeletedPositions::Vector(self.vector(vector, opening).await?)]);
        }
        let loads = distinct(&data.deletes.positions).into_iter().map(|delete| self.part_of_file(delete, file, opening));
        futures::stream::iter(loads.collect::<Vec<_>>()).buffered(FETCHES).try_collect().await
    }

    async fn note_asked(&self, data: &DataFile, is_first: bool) {
        for used in used_by(data) {
            match self.loads.get(used as usize) {
                Some(Load::Position(cell)) => cell.asked(is_first).await,
                Some(Load::Vector(cell)) => cell.asked(is_first).await,
                _ => {}
            }
        }
        for set in self.sets_of(data) {
            if let Some(planned) = self.sets.get(set) {
                planned.cell.asked(is_first).await;
            }
        }
    }

    fn sets_of(&self, data: &DataFile) -> BTreeSet<usize> {
        let set = |at: &u32| match self.loads.get(*at as usize) {
            Some(Load::Equality(set)) => Some(*set),
            _ => None,
        };
        data.deletes.equality.iter().filter_map(set).collect()
    }

    fn delete(&self, at: u32) -> Result<(&DeleteFile, &Load)> {
        let known = self.plan.deletes.get(at as usize).zip(self.loads.get(at as usize));
        known.ok_or_else(|| Error::internal(Stage::Read, format!("the plan has no delete file {at}")))
    }

    async fn vector(&self, at: u32, opening: u32) -> Result<Arc<Vector>> {
        let (delete, Load::Vector(cell)) = self.delete(at)? else { return Err(misplaced(at)) };
        let DeleteKind::Vector { content_offset, content_size, .. } = delete.kind else { return Err(misplaced(at)) };
        let store = self.plan.table.store.as_ref();
        cell.get(opening, || vector_file::load(store, &self.context, delete, content_offset, content_size, cell.asker())).await
    }

    async fn part_of_file(&self, at: u32, file: u32, opening: u32) -> Result<DeletedPositions> {
        let (_, Load::Position(cell)) = self.delete(at)? else { return Err(misplaced(at)) };
        let load = move || async move {
            let store = &self.plan.table.store;
            let paths = self.paths.get_or_init(|| Arc::new(PathIndex::new(&self.plan, store.as_ref())));
            let targets = Targets { plan: Arc::clone(&self.plan), store: Arc::clone(store), paths: Arc::clone(paths), delete: at };
            position::load(targets, &self.context, cell.asker()).await
        };
        Ok(DeletedPositions::File(cell.get(opening, load).await?, file))
    }

    async fn equality(&self, data: &DataFile, opening: u32) -> Result<Vec<AppliedSet>> {
        for at in &data.deletes.equality {
            let (delete, Load::Equality(_)) = self.delete(*at)? else { return Err(misplaced(*at)) };
            if delete.sequence_number <= data.sequence_number {
                return Err(Error::internal(
                    Stage::Read,
                    format!("{} is no newer than data file '{}', yet planned to apply to it", name_of(delete), data.path),
                ));
            }
        }
        let mut applied = Vec::new();
        for set in self.sets_of(data) {
            let Some(planned) = self.sets.get(set) else { continue };
            let set = planned.cell.get(opening, || self.load_set(planned)).await?;
            applied.push(AppliedSet { set, sequence_number: data.sequence_number });
        }
        Ok(applied)
    }

    async fn load_set(&self, planned: &PlannedSet) -> Result<EqualitySet> {
        let first = planned.members.first().and_then(|at| self.plan.deletes.get(*at as usize));
        let what = first.map(name_of).unwrap_or_default();
        if planned.ids.is_empty() {
            return Err(Error::corrupt(Stage::Read, format!("{what} names no equality columns")));
        }
        let schema = equality_schema(&self.plan.table.metadata, &self.plan.schema, &planned.ids).map_err(|e| e.context(&what))?;
        let fields = key_fields(&schema, &planned.ids)?;
        let memory = planned.cell.asker().reservation(match planned.members.len() {
            1 => what,
            more => format!("{what} with {} others of the same columns", more - 1),
        });
        equality::load(&self.plan, &self.context, planned.cell.asker(), fields, &planned.members, memory).await
    }
}

fn misplaced(at: u32) -> Error {
    Error::internal(Stage::Read, format!("delete file {at} of the plan is listed as another kind of delete than it is"))
}

fn distinct(indexes: &[u32]) -> BTreeSet<u32> {
    indexes.iter().copied().collect()
}

/// The position delete files and the vector that a data file uses.
fn used_by(data: &DataFile) -> BTreeSet<u32> {
    data.deletes.vector.map_or_else(|| distinct(&data.deletes.positions), |vector| BTreeSet::from([vector]))
}

/// Spec id and partition tuple of deletes that are not global.
type Reach = (i32, String);

/// How each delete file is loaded, and the sets of equality delete files: a key table serves those with the same columns and the same
/// reach (spec "Scan Planning": all data files for an unpartitioned spec, else those of the same spec and partition).
fn plan_loads(plan: &ScanPlan, holdings: &Arc<Holdings>) -> (Vec<Load>, Vec<PlannedSet>) {
    let mut groups: HashMap<(BTreeSet<i32>, Option<Reach>), usize> = HashMap::new();
    let mut members: Vec<(BTreeSet<i32>, Vec<u32>)> = Vec::new();
    let mut set_of: HashMap<u32, usize> = HashMap::new();
    for (at, delete) in plan.deletes.iter().enumerate() {
        let DeleteKind::Equality { field_ids } = &delete.kind else { continue };
        let at = at as u32;
        let ids: BTreeSet<i32> = field_ids.iter().copied().collect();
        let global = plan.table.metadata.partition_specs.get(&delete.spec_id).is_some_and(|spec| spec.is_unpartitioned());
        let reach = (!global).then(|| (delete.spec_id, format!("{:?}", delete.partition)));
        let set = *groups.entry((ids.clone(), reach)).or_insert_with(|| {
            members.push((ids, Vec::new()));
            members.len() - 1
        });
        set_of.insert(at, set);
        if let Some((_, members)) = members.get_mut(set) {
            members.push(at);
        }
    }
    let (users, set_users) = count_users(plan, &set_of);
    let count = |at: usize| users.get(&(at as u32)).copied().unwrap_or_default();
    let load = |(at, delete): (usize, &DeleteFile)| match delete.kind {
        DeleteKind::Position { .. } => Load::Position(SetCell::new(holdings, count(at))),
        DeleteKind::Vector { .. } => Load::Vector(SetCell::new(holdings, count(at))),
        DeleteKind::Equality { .. } => Load::Equality(set_of.get(&(at as u32)).copied().unwrap_or(usize::MAX)),
    };
    let loads = plan.deletes.iter().enumerate().map(load).collect();
    let set = |(at, (ids, members)): (usize, (BTreeSet<i32>, Vec<u32>))| {
        let users = set_users.get(&at).copied().unwrap_or_default();
        PlannedSet { ids, members, cell: SetCell::new(holdings, users) }
    };
    (loads, members.into_iter().enumerate().map(set).collect())
}

/// How many of the data files that will be read refer to each delete file and each set, and how often those are opened.
fn count_users(plan: &ScanPlan, set_of: &HashMap<u32, usize>) -> (HashMap<u32, Users>, HashMap<usize, Users>) {
    let mut opened = vec![0usize; plan.files.len()];
    for block in openings(&plan.blocks).filter_map(<[_]>::first) {
        if let Some(times) = opened.get_mut(block.file as usize) {
            *times += 1;
        }
    }
    let (mut users, mut set_users): (HashMap<u32, Users>, HashMap<usize, Users>) = (HashMap::new(), HashMap::new());
    for (data, times) in plan.files.iter().zip(opened).filter(|(_, times)| *times > 0) {
        for used in used_by(data) {
            users.entry(used).or_default().add(times);
        }
        for set in data.deletes.equality.iter().filter_map(|at| set_of.get(at).copied()).collect::<BTreeSet<usize>>() {
            set_users.entry(set).or_default().add(times);
        }
    }
    (users, set_users)
}
