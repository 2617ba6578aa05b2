//! A scan cut into lanes, for those who share it out among workers.
//!
//! Contract: the request that comes back is pinned: whoever reads one lane of it, on any machine, reads the lane that was described, or gets
//! another plan digest to compare with.

use super::actions::{self, Answer, Body};
use super::integer;
use crate::engine::Engine;
use fastdata_types::lanes::{Lane, PlanDigest};
use fastdata_types::plan::Block;
use fastdata_types::{Error, Result, ScanPlan, ScanRequest, Stage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardsRequest {
    pub request: ScanRequest,
    /// How many lanes; 1 to 4096.
    pub shards: u32,
    /// Whether the rows that each lane yields are counted, for runs that need equal steps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
}

impl Body for ShardsRequest {
    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| {
            Error::invalid(Stage::Request, format!("shards: {e}"))
                .advice("send JSON: {\"request\": {\"table\": \"ns.table\"}, \"shards\": 8}")
        })
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        super::json(self).map(String::into_bytes)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shards {
    /// As it was sent, with its lanes and its snapshot.
    pub request: ScanRequest,
    pub plan_digest: PlanDigest,
    /// `None` for a table without snapshots.
    #[serde(with = "integer::optional")]
    pub snapshot_id: Option<i64>,
    pub shards: Vec<Shard>,
    /// A policy hides rows from the caller: what counts them is 0, whatever it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rows_hidden: bool,
}

/// One lane, by the manifests: rows and bytes are before filters and deletes, and those of a part of a file its share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    pub lane: u32,
    #[serde(with = "integer")]
    pub rows: u64,
    #[serde(with = "integer")]
    pub bytes: u64,
    /// Data files that it reads of.
    pub files: u64,
    pub blocks: u64,
    /// Rows that it yields, where they were to be counted.
    #[serde(rename = "exactRows", default, skip_serializing_if = "Option::is_none", with = "integer::optional")]
    pub exact_rows: Option<u64>,
}

impl Answer for Shards {
    const ACTION: &'static str = actions::SHARDS;
    type Request = ShardsRequest;

    async fn of(engine: &Engine, asked: &ShardsRequest) -> Result<Self> {
        if asked.request.lanes.is_some_and(|lanes| lanes != asked.shards) {
            return Err(Error::invalid(Stage::Request, "the request has another number of lanes than shards are asked for")
                .advice("leave lanes out of the request"));
        }
        let mut request = ScanRequest { lanes: Some(asked.shards), ..asked.request.clone() };
        let plan = Arc::new(engine.plan(&request).await?);
        request = request.pinned(plan.snapshot_id, Some(plan.schema.id));
        let lanes = engine.lanes(Arc::clone(&plan), &request)?;
        let mut shards: Vec<Shard> = lanes.lanes.lanes.iter().map(|lane| Shard::of(&plan, lane)).collect();
        if asked.exact {
            let counts = engine.count_lanes(&lanes, engine.means(&lanes.plan)).await?;
            shards.iter_mut().zip(counts).for_each(|(shard, rows)| shard.exact_rows = Some(rows));
        }
        let rows_hidden = plan.grant.hides_rows();
        Ok(Shards { request, plan_digest: lanes.lanes.digest, snapshot_id: lanes.lanes.snapshot_id, shards, rows_hidden })
    }
}

impl Shard {
    /// Where rows are hidden from the caller, what counts them is 0.
    fn of(plan: &ScanPlan, lane: &Lane) -> Shard {
        if plan.grant.hides_rows() {
            return Shard { lane: lane.number, rows: 0, bytes: 0, files: 0, blocks: 0, exact_rows: None };
        }
        let blocks = || lane.parts.iter().flat_map(|part| &part.blocks);
        Shard {
            lane: lane.number,
            rows: lane.rows(),
            bytes: blocks().map(bytes_of).fold(0, u64::saturating_add),
            files: blocks().map(|block| block.file).collect::<BTreeSet<_>>().len() as u64,
            blocks: blocks().count() as u64,
            exact_rows: None,
        }
    }
}

/// Bytes of a block, or its share of them.
fn bytes_of(block: &Block) -> u64 {
    let whole = block.extent.end.saturating_sub(block.extent.start);
    match block.extent.share {
        None => whole,
        Some(share) => share.rows(whole).end - share.rows(whole).start,
    }
}
