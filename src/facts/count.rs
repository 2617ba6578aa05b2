//! How many rows a scan returns, read from as little as gives the exact figure.

use super::actions::{self, Answer};
use super::integer;
use crate::engine::Engine;
use fastdata_types::plan::DeleteKind;
use fastdata_types::{Result, ScanPlan, ScanRequest};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    #[serde(with = "integer")]
    pub rows: u64,
    /// Always true: what cannot be had from metadata exactly is counted.
    pub exact: bool,
    pub source: Source,
}

/// What was read for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Manifests: the record counts of data files, less the cardinalities of deletion vectors.
    Metadata,
    /// Footers of data files, and position deletes.
    Footers,
    /// The columns of the filter and of equality deletes.
    Rows,
}

impl Answer for Count {
    const ACTION: &'static str = actions::COUNT;
    type Request = ScanRequest;

    async fn of(engine: &Engine, request: &ScanRequest) -> Result<Self> {
        request.validate()?;
        // Lanes and their order change no number of rows.
        let request = ScanRequest { lanes: None, shuffle: None, ..request.clone() };
        let plan = Arc::new(engine.plan(&request).await?);
        let (rows, source) = match of_manifests(&plan, &request) {
            Some(rows) => (rows, Source::Metadata),
            None => {
                let lane = engine.lanes(Arc::clone(&plan), &request)?;
                let rows = engine.count_lanes(&lane, engine.means(&lane.plan)).await?.into_iter().fold(0, u64::saturating_add);
                (rows, if reads_values(&plan) { Source::Rows } else { Source::Footers })
            }
        };
        let limit = request.limit.and_then(|limit| u64::try_from(limit).ok());
        Ok(Count { rows: limit.map_or(rows, |limit| rows.min(limit)), exact: true, source })
    }
}

fn reads_values(plan: &ScanPlan) -> bool {
    plan.filter.is_some() || plan.deletes.iter().any(|delete| matches!(delete.kind, DeleteKind::Equality { .. }))
}

/// The sum over whole files without filter and without deletes, but for deletion vectors, whose cardinality the manifest states and reading checks.
/// `None` where manifests leave it open.
fn of_manifests(plan: &ScanPlan, request: &ScanRequest) -> Option<u64> {
    // A sample is of blocks, whose rows only footers know.
    if plan.filter.is_some() || request.sample.is_some() {
        return None;
    }
    let mut rows = 0u64;
    for file in plan.files.iter() {
        if !file.deletes.positions.is_empty() || !file.deletes.equality.is_empty() {
            return None;
        }
        let vector = file.deletes.vector.map(|at| plan.deletes.get(at as usize)).map_or(Some(0), |delete| Some(delete?.record_count))?;
        rows = rows.checked_add(file.record_count.checked_sub(vector)?)?;
    }
    Some(rows)
}
