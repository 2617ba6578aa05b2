//! A planned scan: which files, which row ranges, which deletes, in which order.
//!
//! Contract: a plan is a pure function of the table's metadata and the request; planning opens manifests and no data file. Blocks are in
//! table order (data sequence number, path, position), and each row group of each file belongs to exactly one block: the
//! one whose byte range holds the row group's start.

use crate::access::Grant;
use crate::catalog::TableState;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::expr::Expr;
use crate::schema::SchemaRef;
use crate::store::StoreCounters;
use crate::value::Value;
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct ScanPlan {
    pub table: Arc<TableState>,
    /// `None` for a table without snapshots: the scan is empty.
    pub snapshot_id: Option<i64>,
    /// The whole schema, hidden columns included: what is resolved in it is not shown.
    pub schema: SchemaRef,
    /// What is returned: a pruned copy of `schema`, in the order asked for, metadata columns included by their reserved ids.
    pub projection: SchemaRef,
    /// The caller's filter, guarded by that of the grant.
    pub filter: Option<Arc<Expr>>,
    /// What the caller may see of the table. Where rows are hidden, counts in `files`, `report` and lanes tell of them.
    pub grant: Grant,
    /// Shared: a lane reads the same files in blocks of its own.
    pub files: Arc<Vec<DataFile>>,
    /// Each delete file (each vector of a Puffin file) once; data files refer to them by index.
    pub deletes: Arc<Vec<DeleteFile>>,
    pub blocks: Vec<Block>,
    pub report: PlanReport,
}

impl ScanPlan {
    /// The same scan over other blocks.
    pub fn with_blocks(&self, blocks: Vec<Block>) -> ScanPlan {
        ScanPlan {
            blocks,
            table: Arc::clone(&self.table),
            snapshot_id: self.snapshot_id,
            schema: Arc::clone(&self.schema),
            projection: Arc::clone(&self.projection),
            filter: self.filter.clone(),
            grant: self.grant.clone(),
            files: Arc::clone(&self.files),
            deletes: Arc::clone(&self.deletes),
            report: self.report.clone(),
        }
    }

    /// The same plan, whose store counts for one reader alone, where it can.
    pub fn counted(self: Arc<Self>) -> Arc<ScanPlan> {
        match self.table.counted() {
            Some(table) => Arc::new(ScanPlan { table: Arc::new(table), ..Arc::unwrap_or_clone(self) }),
            None => self,
        }
    }

    /// What the person who asked should know about the table and about this plan.
    pub fn notes(&self) -> Vec<String> {
        let of_table = self.table.notes.iter().filter(|_| self.grant.is_whole());
        of_table.chain(&self.report.notes).cloned().collect()
    }

    /// The report as its caller may be told it: where rows are hidden, without what counts them.
    pub fn told(&self) -> PlanReport {
        if !self.grant.hides_rows() {
            return self.report.clone();
        }
        let PlanReport { snapshot_id, schema_id, skipped_snapshots, notes, planning_us, .. } = self.report.clone();
        PlanReport { snapshot_id, schema_id, skipped_snapshots, notes, planning_us, ..PlanReport::default() }
    }

    /// Refuses to list data files where a part of the table is hidden: their partition values, bounds and counts would tell of it.
    pub fn check_files_may_be_listed(&self) -> Result<()> {
        if self.grant.is_whole() {
            return Ok(());
        }
        let message = format!("the files of table '{}' are not listed for callers that see a part of it", self.table.display_name);
        Err(Error::new(ErrorKind::PermissionDenied, Stage::Request, message).advice("scan the table, or ask for a grant of all of it"))
    }
}

#[derive(Debug, Clone)]
pub struct DataFile {
    /// As it stands in the manifest.
    pub path: String,
    pub format: FileFormat,
    pub file_size: u64,
    pub record_count: u64,
    pub spec_id: i32,
    /// One value per field of the spec, in its order.
    pub partition: Arc<Vec<Option<Value>>>,
    /// Data sequence number (spec "Sequence Numbers").
    pub sequence_number: i64,
    /// v3 row lineage, inheritance applied.
    pub first_row_id: Option<i64>,
    pub sort_order_id: Option<i32>,
    pub split_offsets: Vec<i64>,
    pub encrypted: bool,
    pub deletes: FileDeletes,
}

/// The deletes that apply to one data file, as indexes into [`ScanPlan::deletes`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileDeletes {
    pub positions: Vec<u32>,
    pub equality: Vec<u32>,
    /// Replaces every position delete file of the data file.
    pub vector: Option<u32>,
}

impl FileDeletes {
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.equality.is_empty() && self.vector.is_none()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFormat {
    Parquet,
    Orc,
    Avro,
    Puffin,
    /// The spelling in the manifest.
    Other(String),
}

impl FileFormat {
    pub fn parse(text: &str) -> FileFormat {
        match text.to_ascii_lowercase().as_str() {
            "parquet" => FileFormat::Parquet,
            "orc" => FileFormat::Orc,
            "avro" => FileFormat::Avro,
            "puffin" => FileFormat::Puffin,
            _ => FileFormat::Other(text.chars().take(32).collect()),
        }
    }
    pub fn name(&self) -> &str {
        match self {
            FileFormat::Parquet => "parquet",
            FileFormat::Orc => "orc",
            FileFormat::Avro => "avro",
            FileFormat::Puffin => "puffin",
            FileFormat::Other(text) => text,
        }
    }
}

#[derive(Debug, Clone)]
pub struct DeleteFile {
    /// As it stands in the manifest.
    pub path: String,
    pub format: FileFormat,
    pub file_size: u64,
    pub record_count: u64,
    pub spec_id: i32,
    pub partition: Arc<Vec<Option<Value>>>,
    pub sequence_number: i64,
    pub encrypted: bool,
    pub kind: DeleteKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum DeleteKind {
    Position {
        /// The one data file it names, if it is file-scoped; as stored.
        referenced_data_file: Option<String>,
    },
    Equality {
        /// Field ids, looked up in all schemas.
        field_ids: Vec<i32>,
    },
    /// A deletion vector: one blob of a Puffin file.
    Vector { referenced_data_file: String, content_offset: u64, content_size: u64 },
}

/// A part of one data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Index into [`ScanPlan::files`].
    pub file: u32,
    pub extent: Extent,
}

/// Which part, half open: the row groups that start in a range of bytes, or a share of their rows. The ranges of a file's blocks tile it: the first
/// starts at 0, the last ends at the size the manifest states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub start: u64,
    pub end: u64,
    /// `None` is all rows.
    pub share: Option<Share>,
}

/// Of n rows in the order of the file, those from n * from / of to n * to / of, rounded down: shares tile the rows however many there turn out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub from: u64,
    pub to: u64,
    pub of: u64,
}

impl Share {
    pub fn rows(&self, rows: u64) -> Range<u64> {
        let at = |place: u64| u64::try_from(u128::from(rows) * u128::from(place) / u128::from(self.of.max(1))).unwrap_or(u64::MAX);
        at(self.from)..at(self.to)
    }
}

impl Block {
    pub fn bytes(file: u32, start: u64, end: u64) -> Block {
        Block { file, extent: Extent { start, end, share: None } }
    }
}

/// What planning looked at and what it ruled out, by rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PlanReport {
    pub snapshot_id: Option<i64>,
    pub schema_id: i32,
    pub manifests_total: u64,
    pub manifests_read: u64,
    pub manifests_pruned_by_summary: u64,
    pub delete_manifests_total: u64,
    pub delete_manifests_read: u64,
    /// Live data files in the manifests that were read.
    pub files_considered: u64,
    pub files_pruned_by_partition: u64,
    pub files_pruned_by_bounds: u64,
    pub files: u64,
    /// From split offsets: what the files' footers will say is known when they are read.
    pub row_groups_estimated: u64,
    pub bytes: u64,
    /// Rows in the files that are left, before filters and deletes.
    pub rows_estimated: u64,
    pub position_delete_files: u64,
    pub equality_delete_files: u64,
    pub deletion_vectors: u64,
    /// Rows that position deletes and vectors claim to delete.
    pub deleted_rows_estimated: u64,
    /// Snapshots of an incremental range that are no appends and so contribute nothing: (id, operation).
    pub skipped_snapshots: Vec<(i64, String)>,
    pub notes: Vec<String>,
    pub planning_us: u64,
    /// What the store did for it.
    pub storage: StoreCounters,
}
