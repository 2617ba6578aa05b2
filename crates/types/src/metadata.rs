//! Table metadata (spec "Table Metadata"), as parsed from a metadata file of format version 1, 2 or 3.
//!
//! Contract: references between the parts are checked when it is built (the current schema, default spec and current snapshot
//! exist); locations are kept byte for byte as they stand in the file.

use crate::schema::{Field, PrimitiveType, SchemaRef, StructType, Type};
use crate::transform::Transform;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct TableMetadata {
    pub format_version: u8,
    pub uuid: Option<String>,
    pub location: String,
    pub last_updated_ms: i64,
    pub last_sequence_number: i64,
    pub schemas: BTreeMap<i32, SchemaRef>,
    pub current_schema_id: i32,
    pub partition_specs: BTreeMap<i32, Arc<PartitionSpec>>,
    pub default_spec_id: i32,
    pub sort_orders: BTreeMap<i32, SortOrder>,
    pub default_sort_order_id: i32,
    pub properties: BTreeMap<String, String>,
    /// `None` for an empty table; -1 in the file is `None` (spec "Appendix F").
    pub current_snapshot_id: Option<i64>,
    /// In the order of the file.
    pub snapshots: Vec<Arc<Snapshot>>,
    pub snapshot_index: HashMap<i64, usize>,
    /// What was current when, oldest first (spec "Point in Time Reads").
    pub snapshot_log: Vec<LogEntry>,
    /// Branches and tags. `main` always names the current snapshot where there is one.
    pub refs: BTreeMap<String, SnapshotRef>,
    pub next_row_id: Option<i64>,
    /// From the property `schema.name-mapping.default`.
    pub name_mapping: Option<Arc<NameMapping>>,
}

impl TableMetadata {
    pub fn current_schema(&self) -> &SchemaRef {
        &self.schemas[&self.current_schema_id]
    }

    pub fn snapshot(&self, id: i64) -> Option<&Arc<Snapshot>> {
        self.snapshot_index.get(&id).map(|at| &self.snapshots[*at])
    }

    /// The field with this id in any schema, newest schema first: equality deletes and partition specs may name columns that
    /// were dropped since.
    pub fn field_in_any_schema(&self, id: i32) -> Option<&Field> {
        self.current_schema().field_by_id(id).or_else(|| self.schemas.values().rev().find_map(|s| s.field_by_id(id)))
    }

    /// The union of the partition types of all specs, by partition field id (spec "Partition Evolution"): the type of `_partition`.
    pub fn unified_partition_type(&self) -> StructType {
        let mut fields: BTreeMap<i32, Field> = BTreeMap::new();
        for spec in self.partition_specs.values() {
            for field in &spec.fields {
                let ty = self.partition_field_type(field);
                let known = fields.entry(field.field_id).or_insert_with(|| Field::optional(field.field_id, &field.name, ty.clone()));
                // A field that was voided in a later spec keeps the type of its live transform.
                if field.transform != Transform::Void {
                    known.ty = Type::Primitive(ty);
                }
            }
        }
        StructType { fields: fields.into_values().collect() }
    }

    /// The type of this partition field's values; a source column that no schema knows makes it `unknown`.
    pub fn partition_field_type(&self, field: &PartitionField) -> PrimitiveType {
        match self.field_in_any_schema(field.source_id).and_then(|f| f.ty.as_primitive()) {
            Some(source) => field.transform.result_type(source),
            None => PrimitiveType::Unknown,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct PartitionSpec {
    pub id: i32,
    pub fields: Vec<PartitionField>,
}

impl PartitionSpec {
    /// No fields, or only void ones: equality deletes under such a spec are global.
    pub fn is_unpartitioned(&self) -> bool {
        self.fields.iter().all(|f| f.transform == Transform::Void)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct PartitionField {
    pub source_id: i32,
    pub field_id: i32,
    pub name: String,
    pub transform: Transform,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SortOrder {
    pub id: i32,
    pub fields: Vec<SortField>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SortField {
    pub source_id: i32,
    pub transform: Transform,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub id: i64,
    pub parent_id: Option<i64>,
    pub sequence_number: i64,
    pub timestamp_ms: i64,
    pub manifests: ManifestSource,
    /// `append`, `replace`, `overwrite` or `delete`; `None` where a v1 snapshot has no summary.
    pub operation: Option<String>,
    pub summary: BTreeMap<String, String>,
    pub schema_id: Option<i32>,
    /// v3 row lineage.
    pub first_row_id: Option<i64>,
    /// The key that the manifest list is encrypted with (spec "Snapshots"); `None` where it is plain.
    pub key_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ManifestSource {
    /// Location of the manifest list.
    List(String),
    /// v1: the manifests' own locations.
    Inline(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry {
    pub timestamp_ms: i64,
    pub snapshot_id: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRef {
    pub snapshot_id: i64,
    pub is_branch: bool,
}

/// Names for files without field ids (spec "Column Projection", name mapping). Children of lists and maps are called `element`, `key`
/// and `value` whatever the file calls them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NameMapping {
    pub fields: Vec<MappedField>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MappedField {
    pub field_id: Option<i32>,
    pub names: Vec<String>,
    pub fields: Vec<MappedField>,
}
