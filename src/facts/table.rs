//! A table as its metadata describes it: schema, partitioning, order, properties, size.

use super::actions::{self, Answer, TableOnly};
use super::integer;
use super::snapshots::{Reference, SnapshotFacts, references};
use crate::engine::Engine;
use fastdata_types::metadata::{PartitionSpec, SortOrder, TableMetadata};
use fastdata_types::schema::{Field, Schema};
use fastdata_types::{Result, TableState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableFacts {
    /// The table's name, with its catalog.
    pub table: String,
    pub metadata_location: String,
    pub uuid: Option<String>,
    pub format_version: u8,
    pub location: String,
    /// The current one.
    pub schema: SchemaFacts,
    pub partition_specs: Vec<PartitionSpecFacts>,
    /// `None` where the metadata does not hold the order that it names.
    pub sort_order: Option<Vec<SortFieldFacts>>,
    pub sort_order_id: i32,
    pub properties: BTreeMap<String, String>,
    pub current_snapshot: Option<SnapshotFacts>,
    /// Totals of the current snapshot's summary, where it has them: rows are before deletes.
    #[serde(with = "integer::optional")]
    pub rows: Option<u64>,
    #[serde(with = "integer::optional")]
    pub bytes: Option<u64>,
    #[serde(with = "integer::optional")]
    pub data_files: Option<u64>,
    #[serde(with = "integer::optional")]
    pub delete_files: Option<u64>,
    pub refs: Vec<Reference>,
    /// What the user should know.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchemaFacts {
    pub id: i32,
    pub fields: Vec<FieldFacts>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldFacts {
    pub id: i32,
    pub name: String,
    pub required: bool,
    /// The whole type, that of nested fields included.
    #[serde(rename = "type")]
    pub ty: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_default: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionSpecFacts {
    pub id: i32,
    /// Whether new files are written under it.
    pub default: bool,
    pub fields: Vec<PartitionFieldFacts>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionFieldFacts {
    pub field_id: i32,
    pub source_id: i32,
    /// The source column's name, by its newest schema; `None` where no schema has it.
    pub source: Option<String>,
    pub name: String,
    pub transform: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SortFieldFacts {
    pub source_id: i32,
    /// The source column's dotted name in the current schema; `None` where it has none.
    pub source: Option<String>,
    pub transform: String,
    pub descending: bool,
    pub nulls_first: bool,
}

impl TableFacts {
    pub fn of(table: &TableState) -> TableFacts {
        let metadata = &table.metadata;
        let schema = metadata.current_schema();
        let snapshot = metadata.current_snapshot_id.and_then(|id| metadata.snapshot(id)).map(|snapshot| SnapshotFacts::of(snapshot));
        let total = |key: &str| snapshot.as_ref().and_then(|snapshot| snapshot.total(key));
        let order = metadata.sort_orders.get(&metadata.default_sort_order_id);
        TableFacts {
            table: table.display_name.clone(),
            metadata_location: table.metadata_location.clone(),
            uuid: metadata.uuid.clone(),
            format_version: metadata.format_version,
            location: metadata.location.clone(),
            schema: SchemaFacts { id: schema.id, fields: schema.fields.iter().map(FieldFacts::of).collect() },
            partition_specs: metadata.partition_specs.values().map(|spec| PartitionSpecFacts::of(spec, metadata)).collect(),
            sort_order: order.map(|order| sort_fields(order, schema)),
            sort_order_id: metadata.default_sort_order_id,
            properties: metadata.properties.clone(),
            rows: total("total-records"),
            bytes: total("total-files-size"),
            data_files: total("total-data-files"),
            delete_files: total("total-delete-files"),
            refs: references(metadata),
            notes: table.notes.clone(),
            current_snapshot: snapshot,
        }
    }
}

impl FieldFacts {
    fn of(field: &Field) -> FieldFacts {
        FieldFacts {
            id: field.id,
            name: field.name.clone(),
            required: field.required,
            ty: field.ty.to_string(),
            fields: field.ty.children().into_iter().map(FieldFacts::of).collect(),
            doc: field.doc.clone(),
            initial_default: field.initial_default.as_ref().map(|default| format!("{default:?}")),
        }
    }
}

impl PartitionSpecFacts {
    fn of(spec: &PartitionSpec, metadata: &TableMetadata) -> PartitionSpecFacts {
        let field = |field: &fastdata_types::metadata::PartitionField| PartitionFieldFacts {
            field_id: field.field_id,
            source_id: field.source_id,
            source: metadata.field_in_any_schema(field.source_id).map(|source| source.name.clone()),
            name: field.name.clone(),
            transform: field.transform.to_string(),
        };
        PartitionSpecFacts { id: spec.id, default: spec.id == metadata.default_spec_id, fields: spec.fields.iter().map(field).collect() }
    }
}

fn sort_fields(order: &SortOrder, schema: &Schema) -> Vec<SortFieldFacts> {
    let field = |field: &fastdata_types::metadata::SortField| SortFieldFacts {
        source_id: field.source_id,
        source: schema.full_name(field.source_id),
        transform: field.transform.to_string(),
        descending: field.descending,
        nulls_first: field.nulls_first,
    };
    order.fields.iter().map(field).collect()
}

impl Answer for TableFacts {
    const ACTION: &'static str = actions::DESCRIBE;
    type Request = TableOnly;

    async fn of(engine: &Engine, request: &TableOnly) -> Result<Self> {
        Ok(TableFacts::of(&engine.table(&request.table).await?))
    }
}
