//! Manifest lists (spec "Manifest Lists"): what a snapshot is made of, with the counts and partition ranges that planning prunes by.

use crate::avro::{Row, container};
use crate::cannot_write;
use crate::manifest::{Entry, Status, field};
use fastdata_types::{Result, Value};
use serde_json::{Value as Json, json as j};
use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

/// One manifest, and the entries in it.
#[derive(Debug, Clone)]
pub struct ManifestFile {
    pub path: String,
    pub length: u64,
    pub spec_id: i32,
    pub is_deletes: bool,
    /// Of the snapshot that added the manifest; 0 in v1.
    pub sequence_number: i64,
    pub added_snapshot_id: i64,
    /// Assigned when a v3 snapshot first lists the manifest; data manifests only.
    pub first_row_id: Option<i64>,
    pub entries: Arc<Vec<Entry>>,
}

impl ManifestFile {
    fn files_and_rows(&self, status: Status) -> (i64, i64) {
        let of_status = self.entries.iter().filter(|e| e.status == status);
        of_status.fold((0, 0), |(files, rows), e| (files + 1, rows + e.file.record_count as i64))
    }

    fn min_sequence_number(&self) -> i64 {
        self.entries.iter().filter(|e| e.is_live()).map(|e| e.file.sequence_number).min().unwrap_or(self.sequence_number)
    }

    pub fn live_rows(&self) -> i64 {
        self.entries.iter().filter(|e| e.is_live()).map(|e| e.file.record_count as i64).sum()
    }
}

struct Summary {
    contains_null: bool,
    contains_nan: bool,
    lower: Option<Value>,
    upper: Option<Value>,
}

/// Over all entries, deleted ones too: a summary may be wider than what is live, never narrower.
fn summaries(manifest: &ManifestFile) -> Vec<Summary> {
    let width = manifest.entries.iter().map(|e| e.file.partition.len()).max().unwrap_or(0);
    let mut out: Vec<Summary> =
        (0..width).map(|_| Summary { contains_null: false, contains_nan: false, lower: None, upper: None }).collect();
    for entry in manifest.entries.iter() {
        for (summary, value) in out.iter_mut().zip(&entry.file.partition) {
            match value {
                None => summary.contains_null = true,
                Some(v) if v.is_nan() => summary.contains_nan = true,
                Some(v) => {
                    let beyond = |bound: &Option<Value>, side: Ordering| bound.as_ref().is_none_or(|b| v.order(b) == Some(side));
                    if beyond(&summary.lower, Ordering::Less) {
                        summary.lower = Some(v.clone());
                    }
                    if beyond(&summary.upper, Ordering::Greater) {
                        summary.upper = Some(v.clone());
                    }
                }
            }
        }
    }
    out
}

pub struct ListContext<'a> {
    pub format_version: u8,
    pub snapshot_id: i64,
    pub parent_id: Option<i64>,
    pub sequence_number: i64,
    pub first_row_id: Option<i64>,
    pub manifests: &'a [ManifestFile],
    pub sync: [u8; 16],
}

pub fn write(path: &Path, context: &ListContext) -> Result<()> {
    let version = context.format_version;
    let mut metadata = vec![
        ("snapshot-id", context.snapshot_id.to_string()),
        ("parent-snapshot-id", context.parent_id.map_or("null".to_owned(), |id| id.to_string())),
        ("format-version", version.to_string()),
    ];
    if version > 1 {
        metadata.push(("sequence-number", context.sequence_number.to_string()));
    }
    if let Some(first) = context.first_row_id {
        metadata.push(("first-row-id", first.to_string()));
    }
    let rows: Vec<Row> = context.manifests.iter().map(|manifest| row(manifest, version)).collect();
    let bytes = container(&schema(version).to_string(), &metadata, &rows, context.sync).map_err(|e| cannot_write(path, e))?;
    std::fs::write(path, bytes).map_err(|e| cannot_write(path, e))
}

fn schema(version: u8) -> Json {
    let counted = |ty: &str| if version == 1 { j!(["null", ty]) } else { j!(ty) };
    let summary = j!({"type": "record", "name": "r508", "fields": [
        field(509, "contains_null", j!("boolean")),
        field(518, "contains_nan", j!(["null", "boolean"])),
        field(510, "lower_bound", j!(["null", "bytes"])),
        field(511, "upper_bound", j!(["null", "bytes"])),
    ]});
    let mut fields = vec![
        field(500, "manifest_path", j!("string")),
        field(501, "manifest_length", j!("long")),
        field(502, "partition_spec_id", j!("int")),
    ];
    if version > 1 {
        fields.extend([
            field(517, "content", j!("int")),
            field(515, "sequence_number", j!("long")),
            field(516, "min_sequence_number", j!("long")),
        ]);
    }
    fields.extend([
        field(503, "added_snapshot_id", j!("long")),
        field(504, "added_files_count", counted("int")),
        field(505, "existing_files_count", counted("int")),
        field(506, "deleted_files_count", counted("int")),
        field(512, "added_rows_count", counted("long")),
        field(513, "existing_rows_count", counted("long")),
        field(514, "deleted_rows_count", counted("long")),
        field(507, "partitions", j!(["null", {"type": "array", "element-id": 508, "items": summary}])),
        field(519, "key_metadata", j!(["null", "bytes"])),
    ]);
    if version > 2 {
        fields.push(field(520, "first_row_id", j!(["null", "long"])));
    }
    j!({"type": "record", "name": "manifest_file", "fields": fields})
}

fn row(manifest: &ManifestFile, version: u8) -> Row {
    let mut row = Row::default();
    row.string(&manifest.path).long(manifest.length as i64).long(i64::from(manifest.spec_id));
    if version > 1 {
        row.long(i64::from(manifest.is_deletes)).long(manifest.sequence_number).long(manifest.min_sequence_number());
    }
    row.long(manifest.added_snapshot_id);
    let counts = [Status::Added, Status::Existing, Status::Deleted].map(|status| manifest.files_and_rows(status));
    for count in counts.iter().map(|(files, _)| files).chain(counts.iter().map(|(_, rows)| rows)) {
        match version {
            1 => row.optional_long(Some(*count)),
            _ => row.long(*count),
        };
    }
    row.long(1).array(summaries(manifest).into_iter(), |row, summary| {
        row.boolean(summary.contains_null).optional(Some(summary.contains_nan), |row, nan| {
            row.boolean(nan);
        });
        for bound in [summary.lower, summary.upper] {
            row.optional(bound.and_then(|b| b.to_bytes()), |row, bytes| {
                row.bytes(&bytes);
            });
        }
    });
    row.long(0);
    if version > 2 {
        row.optional_long(manifest.first_row_id);
    }
    row
}
