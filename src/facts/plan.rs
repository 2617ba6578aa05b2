//! What a scan would read, and what was ruled out by which rule.
//!
//! The figures have the names of [`PlanReport`](fastdata_types::plan::PlanReport), which says what they mean.

use super::actions::{self, Answer};
use super::integer;
use crate::engine::Engine;
use fastdata_types::{Result, ScanPlan, ScanRequest};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The table's name, with its catalog.
    pub table: String,
    /// `None` for a table without snapshots.
    #[serde(with = "integer::optional")]
    pub snapshot_id: Option<i64>,
    pub schema_id: i32,
    /// Top-level columns that are returned, in order.
    pub columns: Vec<String>,
    pub manifests_total: u64,
    pub manifests_read: u64,
    pub manifests_pruned_by_summary: u64,
    pub delete_manifests_total: u64,
    pub delete_manifests_read: u64,
    pub files_considered: u64,
    pub files_pruned_by_partition: u64,
    pub files_pruned_by_bounds: u64,
    pub files: u64,
    pub row_groups_estimated: u64,
    pub blocks: u64,
    pub bytes: u64,
    pub rows_estimated: u64,
    pub position_delete_files: u64,
    pub equality_delete_files: u64,
    pub deletion_vectors: u64,
    pub deleted_rows_estimated: u64,
    pub skipped_snapshots: Vec<SkippedSnapshot>,
    pub notes: Vec<String>,
    pub planning_us: u64,
    /// A policy hides rows from the caller: what counts them is 0, whatever it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rows_hidden: bool,
}

/// A snapshot of an incremental range that is no append, and so contributes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SkippedSnapshot {
    #[serde(with = "integer")]
    pub snapshot_id: i64,
    pub operation: String,
}

impl Explanation {
    /// Where rows are hidden from the caller, what counts them is 0.
    pub fn of(plan: &ScanPlan) -> Explanation {
        let report = plan.told();
        let skipped = |(id, operation): &(i64, String)| SkippedSnapshot { snapshot_id: *id, operation: operation.clone() };
        Explanation {
            table: plan.table.display_name.clone(),
            snapshot_id: report.snapshot_id,
            schema_id: report.schema_id,
            columns: plan.projection.fields.iter().map(|field| field.name.clone()).collect(),
            manifests_total: report.manifests_total,
            manifests_read: report.manifests_read,
            manifests_pruned_by_summary: report.manifests_pruned_by_summary,
            delete_manifests_total: report.delete_manifests_total,
            delete_manifests_read: report.delete_manifests_read,
            files_considered: report.files_considered,
            files_pruned_by_partition: report.files_pruned_by_partition,
            files_pruned_by_bounds: report.files_pruned_by_bounds,
            files: report.files,
            row_groups_estimated: report.row_groups_estimated,
            blocks: if plan.grant.hides_rows() { 0 } else { plan.blocks.len() as u64 },
            bytes: report.bytes,
            rows_estimated: report.rows_estimated,
            position_delete_files: report.position_delete_files,
            equality_delete_files: report.equality_delete_files,
            deletion_vectors: report.deletion_vectors,
            deleted_rows_estimated: report.deleted_rows_estimated,
            skipped_snapshots: report.skipped_snapshots.iter().map(skipped).collect(),
            notes: plan.notes(),
            planning_us: report.planning_us,
            rows_hidden: plan.grant.hides_rows(),
        }
    }
}

impl Answer for Explanation {
    const ACTION: &'static str = actions::EXPLAIN;
    type Request = ScanRequest;

    async fn of(engine: &Engine, request: &ScanRequest) -> Result<Self> {
        Ok(Explanation::of(&engine.plan(request).await?))
    }
}
