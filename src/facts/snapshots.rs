//! Snapshots, branches and tags.

use super::actions::{self, Answer, TableOnly};
use super::integer;
use crate::engine::Engine;
use fastdata_types::Result;
use fastdata_types::metadata::{ManifestSource, Snapshot, TableMetadata};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotFacts {
    #[serde(with = "integer")]
    pub snapshot_id: i64,
    #[serde(with = "integer::optional")]
    pub parent_snapshot_id: Option<i64>,
    pub sequence_number: i64,
    #[serde(with = "integer")]
    pub timestamp_ms: i64,
    /// `append`, `replace`, `overwrite` or `delete`, where the snapshot says so.
    pub operation: Option<String>,
    pub schema_id: Option<i32>,
    /// `None` where a v1 snapshot names its manifests itself.
    pub manifest_list: Option<String>,
    pub summary: BTreeMap<String, String>,
}

impl SnapshotFacts {
    pub fn of(snapshot: &Snapshot) -> SnapshotFacts {
        SnapshotFacts {
            snapshot_id: snapshot.id,
            parent_snapshot_id: snapshot.parent_id,
            sequence_number: snapshot.sequence_number,
            timestamp_ms: snapshot.timestamp_ms,
            operation: snapshot.operation.clone(),
            schema_id: snapshot.schema_id,
            manifest_list: match &snapshot.manifests {
                ManifestSource::List(location) => Some(location.clone()),
                ManifestSource::Inline(_) => None,
            },
            summary: snapshot.summary.clone(),
        }
    }

    /// A total of the summary, which writers may leave out or get wrong.
    pub fn total(&self, key: &str) -> Option<u64> {
        self.summary.get(key)?.parse().ok()
    }
}

/// A snapshot among the others of its table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedSnapshot {
    #[serde(flatten)]
    pub snapshot: SnapshotFacts,
    /// The branches and tags that name it.
    pub refs: Vec<String>,
    pub current: bool,
}

/// A branch or a tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    pub name: String,
    #[serde(with = "integer")]
    pub snapshot_id: i64,
    /// `branch` or `tag`.
    pub kind: String,
}

/// In the order of their names.
pub fn references(metadata: &TableMetadata) -> Vec<Reference> {
    let reference = |(name, reference): (&String, &fastdata_types::metadata::SnapshotRef)| Reference {
        name: name.clone(),
        snapshot_id: reference.snapshot_id,
        kind: if reference.is_branch { "branch" } else { "tag" }.to_owned(),
    };
    metadata.refs.iter().map(reference).collect()
}

/// In the order of the metadata file.
fn snapshots(metadata: &TableMetadata) -> Vec<ListedSnapshot> {
    let mut names: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (name, reference) in &metadata.refs {
        names.entry(reference.snapshot_id).or_default().push(name.clone());
    }
    let listed = |snapshot: &Snapshot| ListedSnapshot {
        refs: names.get(&snapshot.id).cloned().unwrap_or_default(),
        current: metadata.current_snapshot_id == Some(snapshot.id),
        snapshot: SnapshotFacts::of(snapshot),
    };
    metadata.snapshots.iter().map(|snapshot| listed(snapshot)).collect()
}

impl Answer for Vec<ListedSnapshot> {
    const ACTION: &'static str = actions::SNAPSHOTS;
    type Request = TableOnly;

    async fn of(engine: &Engine, request: &TableOnly) -> Result<Self> {
        Ok(snapshots(&engine.table(&request.table).await?.metadata))
    }
}

impl Answer for Vec<Reference> {
    const ACTION: &'static str = actions::REFS;
    type Request = TableOnly;

    async fn of(engine: &Engine, request: &TableOnly) -> Result<Self> {
        Ok(references(&engine.table(&request.table).await?.metadata))
    }
}
