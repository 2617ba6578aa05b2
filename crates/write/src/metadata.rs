//! A table's metadata while it is being written, and its JSON form (spec "Table Metadata").

use crate::json;
use crate::manifest_list::ManifestFile;
use fastdata_types::metadata::{LogEntry, PartitionSpec, Snapshot, SnapshotRef};
use fastdata_types::{Schema, Value};
use serde_json::{Map, Value as Json, json as j};
use std::collections::BTreeMap;

/// A snapshot with the manifests it is made of.
#[derive(Debug, Clone)]
pub struct WrittenSnapshot {
    pub snapshot: Snapshot,
    pub manifests: Vec<ManifestFile>,
    /// v3: rows that were given ids in this snapshot.
    pub added_rows: i64,
}

#[derive(Debug, Clone)]
pub struct State {
    pub format_version: u8,
    pub uuid: String,
    pub location: String,
    pub last_sequence_number: i64,
    pub last_updated_ms: i64,
    pub last_column_id: i32,
    /// Oldest first.
    pub schemas: Vec<Schema>,
    pub current_schema_id: i32,
    pub write_defaults: BTreeMap<i32, Value>,
    pub specs: Vec<PartitionSpec>,
    pub default_spec_id: i32,
    pub last_partition_id: i32,
    pub properties: BTreeMap<String, String>,
    pub current_snapshot_id: Option<i64>,
    pub snapshots: Vec<WrittenSnapshot>,
    pub snapshot_log: Vec<LogEntry>,
    /// Time and location of each earlier metadata file.
    pub metadata_log: Vec<(i64, String)>,
    pub refs: BTreeMap<String, SnapshotRef>,
    pub next_row_id: i64,
}

impl State {
    pub fn snapshot(&self, id: i64) -> Option<&WrittenSnapshot> {
        self.snapshots.iter().find(|s| s.snapshot.id == id)
    }

    pub fn spec(&self, id: i32) -> Option<&PartitionSpec> {
        self.specs.iter().find(|s| s.id == id)
    }

    pub fn schema(&self, id: i32) -> Option<&Schema> {
        self.schemas.iter().find(|s| s.id == id)
    }

    pub fn to_json(&self) -> Json {
        let schema = |s: &Schema| json::schema(s, &self.write_defaults);
        let mut out = j!({
            "format-version": self.format_version,
            "table-uuid": self.uuid,
            "location": self.location,
            "last-updated-ms": self.last_updated_ms,
            "last-column-id": self.last_column_id,
            "schemas": self.schemas.iter().map(schema).collect::<Vec<_>>(),
            "current-schema-id": self.current_schema_id,
            "partition-specs": self.specs.iter().map(|s| j!({"spec-id": s.id, "fields": json::partition_fields(s)})).collect::<Vec<_>>(),
            "default-spec-id": self.default_spec_id,
            "last-partition-id": self.last_partition_id,
            "properties": self.properties,
            "current-snapshot-id": self.current_snapshot_id,
            "snapshots": self.snapshots.iter().map(|s| snapshot(s, self.format_version)).collect::<Vec<_>>(),
            "snapshot-log": self.snapshot_log.iter().map(|e| j!({"timestamp-ms": e.timestamp_ms, "snapshot-id": e.snapshot_id})).collect::<Vec<_>>(),
            "metadata-log": self.metadata_log.iter().map(|(ms, file)| j!({"timestamp-ms": ms, "metadata-file": file})).collect::<Vec<_>>(),
            "sort-orders": [{"order-id": 0, "fields": []}],
            "default-sort-order-id": 0,
            "refs": self.refs.iter().map(|(name, r)| (name.clone(), reference(r))).collect::<Map<_, _>>(),
            "statistics": [],
            "partition-statistics": [],
        });
        match self.format_version {
            1 => {
                out["schema"] = self.schema(self.current_schema_id).map_or(Json::Null, schema);
                out["partition-spec"] = self.spec(self.default_spec_id).map_or(Json::Null, json::partition_fields);
                if self.current_snapshot_id.is_none() {
                    out["current-snapshot-id"] = j!(-1);
                }
            }
            2 => out["last-sequence-number"] = j!(self.last_sequence_number),
            _ => {
                out["last-sequence-number"] = j!(self.last_sequence_number);
                out["next-row-id"] = j!(self.next_row_id);
            }
        }
        out
    }
}

fn reference(r: &SnapshotRef) -> Json {
    j!({"snapshot-id": r.snapshot_id, "type": if r.is_branch { "branch" } else { "tag" }})
}

fn snapshot(written: &WrittenSnapshot, format_version: u8) -> Json {
    use fastdata_types::metadata::ManifestSource;
    let s = &written.snapshot;
    let mut summary: Map<String, Json> = s.summary.iter().map(|(k, v)| (k.clone(), j!(v))).collect();
    if let Some(operation) = &s.operation {
        summary.insert("operation".to_owned(), j!(operation));
    }
    let mut out = j!({"snapshot-id": s.id, "timestamp-ms": s.timestamp_ms, "summary": summary});
    if let Some(schema_id) = s.schema_id {
        out["schema-id"] = j!(schema_id);
    }
    if let Some(parent) = s.parent_id {
        out["parent-snapshot-id"] = j!(parent);
    }
    match &s.manifests {
        ManifestSource::List(path) => out["manifest-list"] = j!(path),
        ManifestSource::Inline(paths) => out["manifests"] = j!(paths),
    }
    if format_version > 1 {
        out["sequence-number"] = j!(s.sequence_number);
    }
    if let (3.., Some(first)) = (format_version, s.first_row_id) {
        out["first-row-id"] = j!(first);
        out["added-rows"] = j!(written.added_rows);
    }
    out
}
