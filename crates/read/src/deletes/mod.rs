//! Deletes: position delete files, equality delete files and deletion vectors, read once per scan and applied to batches.
//!
//! Problem: the planner says which delete files apply to which data files; one delete file may apply to thousands of them, and one
//! data file may have thousands of delete files. Contract: [`ScanDeletes::for_file`] gives what applies to a data file; each delete file
//! (each vector of a Puffin file) is read once per scan, however many callers ask and however many data files refer to it, and is kept within the
//! memory budget; a delete file that is missing, damaged, of another size than the manifest says or of a format that is not read fails the
//! scan with an error that names it: it is never skipped. Callers ask before they take memory of their own for the data file:
//! `for_file` may wait for memory.
//!
//! How: position delete files become a roaring bitmap per data file (`position`), deletion vectors one bitmap (`vector`, `vector_file`),
//! equality delete files of one id set and one partition one table from key to the highest deleting sequence number
//! (`equality`, `key_table`, `keys`). [`AppliedDeletes`] answers for rows. `memory` reserves, `work` decodes on the pool.

mod applied;
mod delete_parquet;
mod equality;
mod equality_schema;
mod key_table;
mod keys;
mod memory;
mod position;
#[cfg(test)]
mod tests;
mod vector;
mod vector_file;
mod work;

pub(crate) use applied::AppliedDeletes;
pub(crate) use equality_schema::equality_schema;
pub use vector::decode_deletion_vector;

use crate::ReadContext;
use applied::{AppliedSet, DeletedPositions};
use delete_parquet::name_of;
use equality::EqualitySet;
use equality_schema::key_fields;
use fastdata_types::plan::{DataFile, DeleteFile, DeleteKind, ScanPlan};
use fastdata_types::{Error, Result, Stage};
use futures::stream::{StreamExt, TryStreamExt};
use memory::{Holdings, Reservation};
use position::{PathIndex, PositionDeletes, Targets};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use tokio::sync::OnceCell;
use vector_file::Vector;

/// Position delete files of one data file that are read at once.
const FETCHES: usize = 8;

/// The deletes of one scan.
pub(crate) struct ScanDeletes {
    plan: Arc<ScanPlan>,
    context: ReadContext,
    holdings: Arc<Holdings>,
    paths: OnceLock<Arc<PathIndex>>,
    /// Per delete file of the plan; filled for those of its kind.
    positions: Vec<OnceCell<Arc<PositionDeletes>>>,
    vectors: Vec<OnceCell<Arc<Vector>>>,
    /// Per delete file of the plan its set, for equality deletes.
    set_of: HashMap<u32, usize>,
    sets: Vec<PlannedSet>,
}

/// Equality delete files of one id set and one partition.
struct PlannedSet {
    ids: BTreeSet<i32>,
    members: Vec<u32>,
    loaded: OnceCell<Arc<EqualitySet>>,
}

impl ScanDeletes {
    pub(crate) fn new(plan: Arc<ScanPlan>, context: ReadContext) -> Self {
        let (set_of, sets) = plan_sets(&plan);
        let holdings = Holdings::new(Arc::clone(&context.budget));
        let count = plan.deletes.len();
        ScanDeletes {
            holdings,
            paths: OnceLock::new(),
            positions: (0..count).map(|_| OnceCell::new()).collect(),
            vectors: (0..count).map(|_| OnceCell::new()).collect(),
            set_of,
            sets,
            plan,
            context,
        }
    }

    /// The deletes of one data file, by its index in the plan. Waits for memory where others hold it: callers hold none for this
    /// data file yet.
    pub(crate) async fn for_file(&self, file: u32) -> Result<Arc<AppliedDeletes>> {
        let data =
            self.plan.files.get(file as usize).ok_or_else(|| Error::internal(Stage::Read, format!("the plan has no data file {file}")))?;
        let positions = match data.deletes.vector {
            // A deletion vector replaces every position delete file of its data file.
            Some(vector) => vec![DeletedPositions::Vector(self.vector(vector).await?)],
            None => {
                let loads = data
                    .deletes
                    .positions
                    .iter()
                    .map(|delete| async move { Ok::<_, Error>(DeletedPositions::File(self.position(*delete).await?, file)) });
                futures::stream::iter(loads).buffered(FETCHES).try_collect().await?
            }
        };
        let equality = self.equality(data).await?;
        let field_ids = equality.iter().flat_map(|applied| applied.set.fields.iter().map(|f| f.id)).collect();
        Ok(Arc::new(AppliedDeletes { positions, equality, field_ids }))
    }

    fn delete(&self, at: u32) -> Result<&DeleteFile> {
        self.plan.deletes.get(at as usize).ok_or_else(|| Error::internal(Stage::Read, format!("the plan has no delete file {at}")))
    }

    fn reservation(&self, what: String) -> Reservation {
        Reservation::new(&self.holdings, what)
    }

    async fn vector(&self, at: u32) -> Result<Arc<Vector>> {
        let delete = self.delete(at)?;
        let DeleteKind::Vector { content_offset, content_size, .. } = delete.kind else { return Err(misplaced(delete)) };
        let cell = self.vectors.get(at as usize).ok_or_else(|| misplaced(delete))?;
        let load = || async {
            let store = self.plan.table.store.as_ref();
            let memory = self.reservation(name_of(delete));
            vector_file::load(store, &self.context, delete, content_offset, content_size, memory).await.map(Arc::new)
        };
        cell.get_or_try_init(load).await.map(Arc::clone)
    }

    async fn position(&self, at: u32) -> Result<Arc<PositionDeletes>> {
        let delete = self.delete(at)?;
        let DeleteKind::Position { .. } = delete.kind else { return Err(misplaced(delete)) };
        let cell = self.positions.get(at as usize).ok_or_else(|| misplaced(delete))?;
        let load = || async {
            let store = &self.plan.table.store;
            let paths = self.paths.get_or_init(|| Arc::new(PathIndex::new(&self.plan, store.as_ref())));
            let targets = Targets { plan: Arc::clone(&self.plan), store: Arc::clone(store), paths: Arc::clone(paths), delete: at };
            position::load(targets, &self.context, self.reservation(name_of(delete))).await.map(Arc::new)
        };
        cell.get_or_try_init(load).await.map(Arc::clone)
    }

    async fn equality(&self, data: &DataFile) -> Result<Vec<AppliedSet>> {
        let mut wanted = BTreeSet::new();
        for at in &data.deletes.equality {
            let delete = self.delete(*at)?;
            let set = self.set_of.get(at).ok_or_else(|| misplaced(delete))?;
            if delete.sequence_number <= data.sequence_number {
                return Err(Error::internal(
                    Stage::Read,
                    format!("{} is no newer than data file '{}', yet planned to apply to it", name_of(delete), data.path),
                ));
            }
            wanted.insert(*set);
        }
        let mut applied = Vec::with_capacity(wanted.len());
        for at in wanted {
            let Some(planned) = self.sets.get(at) else { continue };
            let set = planned.loaded.get_or_try_init(|| self.load_set(planned)).await.map(Arc::clone)?;
            if !set.table.is_empty() {
                applied.push(AppliedSet { set, sequence_number: data.sequence_number });
            }
        }
        Ok(applied)
    }

    async fn load_set(&self, planned: &PlannedSet) -> Result<Arc<EqualitySet>> {
        let first = planned.members.first().and_then(|at| self.plan.deletes.get(*at as usize));
        let what = first.map(name_of).unwrap_or_default();
        if planned.ids.is_empty() {
            return Err(Error::corrupt(Stage::Read, format!("{what} names no equality columns")));
        }
        let schema = equality_schema(&self.plan.table.metadata, &self.plan.schema, &planned.ids).map_err(|e| e.context(&what))?;
        let fields = key_fields(&schema, &planned.ids)?;
        let memory = self.reservation(match planned.members.len() {
            1 => what,
            more => format!("{what} with {} others of the same columns", more - 1),
        });
        let set = equality::load(&self.plan, &self.context, fields, &planned.members, memory, |what| self.reservation(what));
        set.await.map(Arc::new)
    }
}

fn misplaced(delete: &DeleteFile) -> Error {
    Error::internal(Stage::Read, format!("{} is planned as another kind of delete than it is", name_of(delete)))
}

/// Groups the equality delete files that a key table can serve together: same columns, and same reach (spec "Scan Planning": all data
/// files for an unpartitioned spec, else those of the same spec and partition).
fn plan_sets(plan: &ScanPlan) -> (HashMap<u32, usize>, Vec<PlannedSet>) {
    let mut groups: HashMap<(BTreeSet<i32>, Option<(i32, String)>), usize> = HashMap::new();
    let mut set_of = HashMap::new();
    let mut sets: Vec<PlannedSet> = Vec::new();
    for (at, delete) in plan.deletes.iter().enumerate() {
        let DeleteKind::Equality { field_ids } = &delete.kind else { continue };
        let at = at as u32;
        let ids: BTreeSet<i32> = field_ids.iter().copied().collect();
        let global = plan.table.metadata.partition_specs.get(&delete.spec_id).is_some_and(|spec| spec.is_unpartitioned());
        let reach = (!global).then(|| (delete.spec_id, format!("{:?}", delete.partition)));
        let set = *groups.entry((ids.clone(), reach)).or_insert_with(|| {
            sets.push(PlannedSet { ids, members: Vec::new(), loaded: OnceCell::new() });
            sets.len() - 1
        });
        set_of.insert(at, set);
        if let Some(planned) = sets.get_mut(set) {
            planned.members.push(at);
        }
    }
    (set_of, sets)
}
