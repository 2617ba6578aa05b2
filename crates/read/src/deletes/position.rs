//! Position delete files (spec "Position Delete Files"): which rows of which data files.
//!
//! Problem: one file may name many data files, in any spelling and any order, among them files and rows that exist no more. Contract: the
//! file is decoded once into a bitmap per data file of the plan that lists it; rows for other files and rows without a path
//! are dropped; a row that names a data file without a position, or a negative one, is `corrupt`. Paths are compared by
//! [`Store::spelling`], so rewritten and original spellings are one.

use super::delete_parquet::{DeleteParquet, name_of};
use super::drain::{Reading, RowSink};
use super::memory::{Asker, Reservation};
use super::vector::treemap_bytes;
use crate::ReadContext;
use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use fastdata_types::plan::ScanPlan;
use fastdata_types::schema::metadata_column::{DELETE_FILE_PATH, DELETE_FILE_POS};
use fastdata_types::{Error, Result, Stage, Store};
use parquet::file::statistics::Statistics;
use roaring::RoaringTreemap;
use std::collections::HashMap;
use std::sync::Arc;

/// Distinct paths remembered while one file is decoded.
const REMEMBERED_PATHS: usize = 4096;
/// Bytes that one more position takes at most, until it is known better.
const WORST_POSITION: u64 = 96;

/// Which data files of the plan a spelling names: those that some position delete file applies to.
#[derive(Debug)]
pub(super) struct PathIndex {
    first: HashMap<String, u32>,
    /// The next data file with the same spelling.
    next: HashMap<u32, u32>,
}

impl PathIndex {
    pub(super) fn new(plan: &ScanPlan, store: &dyn Store) -> Self {
        let mut index = PathIndex { first: HashMap::new(), next: HashMap::new() };
        for (at, file) in plan.files.iter().enumerate() {
            if !file.deletes.positions.is_empty() && file.deletes.vector.is_none() {
                let at = at as u32;
                if let Some(earlier) = index.first.insert(store.spelling(&file.path), at) {
                    index.next.insert(at, earlier);
                }
            }
        }
        index
    }

    fn files(&self, spelling: &str) -> impl Iterator<Item = u32> + '_ {
        let first = self.first.get(spelling).copied();
        std::iter::successors(first, |at| self.next.get(at).copied())
    }
}

/// The decoded content of one position delete file.
#[derive(Debug)]
pub(super) struct PositionDeletes {
    pub(super) by_file: HashMap<u32, RoaringTreemap>,
    _memory: Reservation,
}

/// What finding the data files of a path takes.
#[derive(Clone)]
pub(super) struct Targets {
    pub(super) plan: Arc<ScanPlan>,
    pub(super) store: Arc<dyn Store>,
    pub(super) paths: Arc<PathIndex>,
    /// Index of the delete file in the plan.
    pub(super) delete: u32,
}

impl Targets {
    /// The data files that this path names and that list this delete file.
    fn of(&self, path: &[u8]) -> Vec<u32> {
        let Ok(path) = std::str::from_utf8(path) else { return Vec::new() };
        let listed = |at: &u32| self.plan.files.get(*at as usize).is_some_and(|f| f.deletes.positions.contains(&self.delete));
        self.paths.files(&self.store.spelling(path)).filter(listed).collect()
    }
}

pub(super) async fn load(targets: Targets, context: &ReadContext, asker: &Asker) -> Result<PositionDeletes> {
    let (plan, store) = (Arc::clone(&targets.plan), Arc::clone(&targets.store));
    let delete = plan
        .deletes
        .get(targets.delete as usize)
        .ok_or_else(|| Error::internal(Stage::Read, format!("the plan has no delete file {}", targets.delete)))?;
    let mut memory = asker.reservation(name_of(delete));
    let file = DeleteParquet::open(store.as_ref(), context, asker, delete).await?;
    let columns = Columns::find(&file)?;
    let row_groups = columns.row_groups(&file, &targets);
    let reading = Reading::start(file, store.as_ref(), asker, row_groups, columns.leaves()).await?;
    let sink = Positions { columns, targets, known: HashMap::new(), by_file: HashMap::new(), at_most: 0 };
    let sink = reading.drain(store.as_ref(), context, sink, &mut memory).await?;
    memory.shrink_to(sink.bytes());
    Ok(PositionDeletes { by_file: sink.by_file, _memory: memory })
}

/// The two columns of a position delete file, as leaf indexes.
#[derive(Debug, Clone, Copy)]
struct Columns {
    path: usize,
    pos: usize,
}

impl Columns {
    /// By field id, else by name.
    fn find(file: &DeleteParquet) -> Result<Self> {
        let schema = file.metadata.file_metadata().schema_descr();
        let find = |id: i32, name: &str| {
            let top = |leaf: &usize| schema.column(*leaf).path().parts().len() == 1;
            let has_id = |leaf: &usize| {
                let column = schema.column(*leaf);
                let info = column.self_type().get_basic_info();
                info.has_id() && info.id() == id
            };
            let leaves = || (0..schema.num_columns()).filter(top);
            leaves()
                .find(has_id)
                .or_else(|| leaves().find(|leaf| schema.column(*leaf).name() == name))
                .ok_or_else(|| Error::corrupt(Stage::Read, format!("{}: it has no column '{name}' (field id {id})", file.what)))
        };
        Ok(Columns { path: find(DELETE_FILE_PATH, "file_path")?, pos: find(DELETE_FILE_POS, "pos")? })
    }

    fn leaves(&self) -> Vec<usize> {
        let mut leaves = vec![self.path, self.pos];
        leaves.sort_unstable();
        leaves
    }

    /// The row groups that may name a data file of the plan: one whose rows all name one other file is left out.
    fn row_groups(&self, file: &DeleteParquet, targets: &Targets) -> Vec<usize> {
        let names_no_target = |statistics: &Statistics| {
            let bounds = statistics.min_bytes_opt().zip(statistics.max_bytes_opt());
            !statistics.is_min_max_deprecated() && bounds.is_some_and(|(min, max)| min == max && targets.of(min).is_empty())
        };
        let groups = file.metadata.row_groups().iter().enumerate();
        groups
            .filter(|(_, group)| !group.columns().get(self.path).and_then(|c| c.statistics()).is_some_and(names_no_target))
            .map(|(at, _)| at)
            .collect()
    }

    /// Path and position columns of a batch that holds these two leaves in file order.
    fn of(&self, batch: &RecordBatch) -> Result<(BinaryViewArray, Int64Array)> {
        let column = |at: usize| batch.columns().get(at).ok_or_else(|| Error::corrupt(Stage::Read, "a column is missing"));
        let (path, pos) = match self.path < self.pos {
            true => (column(0)?, column(1)?),
            false => (column(1)?, column(0)?),
        };
        Ok((paths_of(path)?, positions_of(pos)?))
    }
}

fn paths_of(array: &ArrayRef) -> Result<BinaryViewArray> {
    match array.data_type() {
        DataType::Utf8View => Ok(array.as_string_view().clone().to_binary_view()),
        DataType::BinaryView => Ok(array.as_binary_view().clone()),
        other => Err(Error::corrupt(Stage::Read, format!("column 'file_path' is {other}, not a string"))),
    }
}

fn positions_of(array: &ArrayRef) -> Result<Int64Array> {
    match array.data_type() {
        DataType::Int64 => Ok(array.as_primitive::<Int64Type>().clone()),
        DataType::Int32 => Ok(array.as_primitive::<Int32Type>().unary(i64::from)),
        other => Err(Error::corrupt(Stage::Read, format!("column 'pos' is {other}, not a long"))),
    }
}

/// The positions of a file that is being decoded.
struct Positions {
    columns: Columns,
    targets: Targets,
    /// Path -> its data files, none where it names no data file of the plan.
    known: HashMap<Vec<u8>, Vec<u32>>,
    by_file: HashMap<u32, RoaringTreemap>,
    /// Bytes that the positions take at most.
    at_most: u64,
}

impl RowSink for Positions {
    fn take(&mut self, batch: &RecordBatch, allowed: u64) -> Result<Option<u64>> {
        let more = (batch.num_rows() as u64).saturating_mul(WORST_POSITION);
        if self.at_most.saturating_add(more) > allowed {
            self.at_most = self.bytes();
            let needs = self.at_most.saturating_add(more);
            if needs > allowed {
                return Ok(Some(needs + needs / 2));
            }
        }
        self.at_most = self.at_most.saturating_add(more);
        self.take_rows(batch)?;
        Ok(None)
    }
}

impl Positions {
    fn bytes(&self) -> u64 {
        self.by_file.values().map(|positions| 128 + treemap_bytes(positions)).sum()
    }

    fn take_rows(&mut self, batch: &RecordBatch) -> Result<()> {
        let (paths, positions) = self.columns.of(batch)?;
        let views = paths.views();
        let mut start = 0;
        while start < paths.len() {
            let null = paths.is_null(start);
            // Views of a dictionary are equal where its values are; otherwise the bytes decide.
            let same = |row: &usize| {
                paths.is_null(*row) == null && (null || views[*row] == views[start] || paths.value(*row) == paths.value(start))
            };
            let run = 1 + (start + 1..paths.len()).take_while(same).count();
            if !null {
                self.take_run(paths.value(start), &positions.slice(start, run))?;
            }
            start += run;
        }
        Ok(())
    }

    fn take_run(&mut self, path: &[u8], positions: &Int64Array) -> Result<()> {
        if !self.known.contains_key(path) {
            if self.known.len() >= REMEMBERED_PATHS {
                self.known.clear();
            }
            self.known.insert(path.to_vec(), self.targets.of(path));
        }
        let files = self.known.get(path).map(Vec::as_slice).unwrap_or_default();
        if files.is_empty() {
            return Ok(());
        }
        let wrong = |why: &str| Error::corrupt(Stage::Read, format!("a row names a data file with {why} position"));
        if positions.null_count() > 0 {
            return Err(wrong("no"));
        }
        let values = positions.values();
        if values.iter().any(|v| *v < 0) {
            return Err(wrong("a negative"));
        }
        let ascending = values.windows(2).all(|pair| pair[0] < pair[1]);
        for file in files {
            let treemap = self.by_file.entry(*file).or_default();
            let follows = values.first().is_some_and(|first| treemap.max().is_none_or(|max| max < *first as u64));
            let appended = ascending && follows && treemap.append(values.iter().map(|v| *v as u64)).is_ok();
            if !appended {
                treemap.extend(values.iter().map(|v| *v as u64));
            }
        }
        Ok(())
    }
}
