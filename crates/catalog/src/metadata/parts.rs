//! The parts of table metadata, each checked against itself and given the defaults of the older format versions.

use super::schema::{Schemas, short};
use super::{ById, SnapshotIndex, missing, raw};
use fastdata_types::metadata::{LogEntry, ManifestSource, PartitionField, PartitionSpec, Snapshot, SnapshotRef, SortField, SortOrder};
use fastdata_types::schema::SchemaRef;
use fastdata_types::transform::Transform;
use fastdata_types::{Error, Result, Stage};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The id of the first partition field of a version 1 spec that gives none (spec "Partition Specs").
const FIRST_PARTITION_FIELD_ID: i32 = 1000;
const MAIN: &str = "main";
/// Schemas of one table, and partition fields of all its specs together. The source of each field is looked for in each schema, and each
/// partition of each file has a value for each field of its spec.
const MAX_SCHEMAS: usize = 100_000;
const MAX_PARTITION_FIELDS: usize = 10_000;

fn corrupt(message: String) -> Error {
    Error::corrupt(Stage::Catalog, message)
}

fn too_many(what: &str, most: usize) -> Error {
    Error::limit(Stage::Catalog, format!("the table has more than {most} {what}"))
        .advice("expire old schemas and partition specs of the table")
}

pub fn schemas(version: u8, list: Option<Vec<raw::Schema>>, single: Option<raw::Schema>, current: Option<i32>) -> Result<ById<SchemaRef>> {
    if version >= 2 {
        list.as_ref().ok_or_else(|| missing("schemas"))?;
        current.ok_or_else(|| missing("current-schema-id"))?;
    }
    let list = list.unwrap_or_default();
    if list.len() > MAX_SCHEMAS {
        return Err(too_many("schemas", MAX_SCHEMAS));
    }
    let mut converter = Schemas::default();
    let mut schemas = BTreeMap::new();
    for raw in list {
        let schema = converter.convert(raw)?;
        let id = schema.id;
        if schemas.insert(id, Arc::new(schema)).is_some() {
            return Err(corrupt(format!("two schemas have the id {id}")));
        }
    }
    let current = match current.filter(|_| version >= 2 || !schemas.is_empty()) {
        Some(id) => id,
        // Version 1 may name its one schema in `schema` only.
        None => {
            let schema = converter.convert(single.ok_or_else(|| missing("schema"))?)?;
            let id = schema.id;
            schemas.insert(id, Arc::new(schema));
            id
        }
    };
    if !schemas.contains_key(&current) {
        return Err(corrupt(format!("the current schema {current} is not among the table's schemas")));
    }
    Ok((schemas, current))
}

pub fn partition_specs(
    version: u8,
    list: Option<Vec<raw::PartitionSpec>>,
    single: Option<Vec<raw::PartitionField>>,
    default: Option<i32>,
) -> Result<ById<Arc<PartitionSpec>>> {
    if version >= 2 {
        list.as_ref().ok_or_else(|| missing("partition-specs"))?;
        default.ok_or_else(|| missing("default-spec-id"))?;
    }
    let list = list.unwrap_or_default();
    let fields: usize = list.iter().map(|spec| spec.fields.len()).sum();
    if fields + single.as_ref().map_or(0, Vec::len) > MAX_PARTITION_FIELDS {
        return Err(too_many("partition fields", MAX_PARTITION_FIELDS));
    }
    let mut specs = BTreeMap::new();
    for raw in list {
        let spec = partition_spec(raw.spec_id, raw.fields)?;
        if specs.insert(raw.spec_id, Arc::new(spec)).is_some() {
            return Err(corrupt(format!("two partition specs have the id {}", raw.spec_id)));
        }
    }
    if specs.is_empty() && version == 1 {
        let id = default.unwrap_or(0);
        specs.insert(id, Arc::new(partition_spec(id, single.unwrap_or_default())?));
    }
    // Specs are added with rising ids, so the last one is the default of a version 1 table that does not say.
    let default = default.or_else(|| specs.last_key_value().map(|(id, _)| *id)).unwrap_or(0);
    if !specs.contains_key(&default) {
        return Err(corrupt(format!("the default partition spec {default} is not among the table's specs")));
    }
    Ok((specs, default))
}

fn partition_spec(id: i32, raw: Vec<raw::PartitionField>) -> Result<PartitionSpec> {
    let without_id = raw.iter().filter(|f| f.field_id.is_none()).count();
    if without_id != 0 && without_id != raw.len() {
        return Err(corrupt(format!("partition spec {id} gives ids to some of its fields only")));
    }
    let mut seen = HashSet::new();
    let mut fields = Vec::with_capacity(raw.len());
    for (field, counted) in raw.into_iter().zip(FIRST_PARTITION_FIELD_ID..) {
        let field_id = field.field_id.unwrap_or(counted);
        if !seen.insert(field_id) {
            return Err(corrupt(format!("partition spec {id} has two fields with the id {field_id}")));
        }
        let (source_id, transform) = source(field.source_id, field.source_ids, &field.transform)
            .ok_or_else(|| corrupt(format!("partition field '{}' of spec {id} names no source column", short(&field.name))))?;
        fields.push(PartitionField { source_id, field_id, name: field.name, transform });
    }
    Ok(PartitionSpec { id, fields })
}

/// A transform of several columns is one we cannot compute: unknown, never pruned by.
fn source(single: Option<i32>, several: Option<Vec<i32>>, transform: &str) -> Option<(i32, Transform)> {
    match (several.as_deref(), single) {
        (Some([first, _, ..]), _) => Some((*first, Transform::Unknown(format!("{transform} of several columns")))),
        (Some([only]), _) => Some((*only, Transform::parse(transform))),
        (_, Some(id)) => Some((id, Transform::parse(transform))),
        _ => None,
    }
}

pub fn sort_orders(version: u8, list: Option<Vec<raw::SortOrder>>, default: Option<i32>) -> Result<ById<SortOrder>> {
    if version >= 2 {
        list.as_ref().ok_or_else(|| missing("sort-orders"))?;
    }
    let mut orders = BTreeMap::from([(0, SortOrder { id: 0, fields: vec![] })]);
    for raw in list.unwrap_or_default() {
        let id = raw.order_id;
        let fields = raw.fields.into_iter().map(|field| sort_field(id, field)).collect::<Result<_>>()?;
        orders.insert(id, SortOrder { id, fields });
    }
    let default = default.unwrap_or(0);
    if !orders.contains_key(&default) {
        return Err(corrupt(format!("the default sort order {default} is not among the table's sort orders")));
    }
    Ok((orders, default))
}

fn sort_field(order: i32, raw: raw::SortField) -> Result<SortField> {
    let wrong = |what: &str| corrupt(format!("a field of sort order {order} has {what}"));
    let (source_id, transform) = source(raw.source_id, raw.source_ids, &raw.transform).ok_or_else(|| wrong("no source column"))?;
    let descending = match raw.direction.as_str() {
        "asc" => false,
        "desc" => true,
        _ => return Err(wrong("an unknown direction")),
    };
    let nulls_first = match raw.null_order.as_str() {
        "nulls-first" => true,
        "nulls-last" => false,
        _ => return Err(wrong("an unknown null order")),
    };
    Ok(SortField { source_id, transform, descending, nulls_first })
}

pub fn text_map(raw: Option<raw::Map<Option<raw::Text>>>) -> BTreeMap<String, String> {
    raw.map(|map| map.0).unwrap_or_default().into_iter().filter_map(|(key, value)| Some((key, value?.0))).collect()
}

pub fn snapshots(raw: Vec<raw::Snapshot>) -> Result<SnapshotIndex> {
    let mut index = HashMap::with_capacity(raw.len());
    let mut snapshots = Vec::with_capacity(raw.len());
    for (position, raw) in raw.into_iter().enumerate() {
        let id = raw.snapshot_id.0;
        if index.insert(id, position).is_some() {
            return Err(corrupt(format!("two snapshots have the id {id}")));
        }
        let manifests = match (raw.manifest_list, raw.manifests) {
            (Some(location), _) => ManifestSource::List(location),
            (None, Some(locations)) => ManifestSource::Inline(locations),
            (None, None) => return Err(corrupt(format!("snapshot {id} has neither a manifest list nor manifests"))),
        };
        let mut summary = text_map(raw.summary);
        snapshots.push(Arc::new(Snapshot {
            id,
            parent_id: raw.parent_snapshot_id.map(|parent| parent.0).filter(|parent| *parent != -1),
            sequence_number: raw.sequence_number.unwrap_or(0),
            timestamp_ms: raw.timestamp_ms,
            manifests,
            operation: summary.remove("operation"),
            summary,
            schema_id: raw.schema_id,
            first_row_id: raw.first_row_id,
            key_id: raw.key_id,
        }));
    }
    Ok((snapshots, index))
}

pub fn snapshot_log(raw: Vec<raw::LogEntry>) -> Vec<LogEntry> {
    raw.into_iter().map(|entry| LogEntry { timestamp_ms: entry.timestamp_ms, snapshot_id: entry.snapshot_id.0 }).collect()
}

/// A ref to a snapshot that expired stays in the list: who asks for it is told so.
pub fn refs(raw: Option<raw::Map<raw::Ref>>, current: Option<i64>) -> Result<BTreeMap<String, SnapshotRef>> {
    let mut refs = BTreeMap::new();
    for (name, raw) in raw.map(|map| map.0).unwrap_or_default() {
        let is_branch = match raw.kind.to_ascii_lowercase().as_str() {
            "branch" => true,
            "tag" => false,
            _ => return Err(corrupt(format!("ref '{}' is neither a branch nor a tag", short(&name)))),
        };
        refs.insert(name, SnapshotRef { snapshot_id: raw.snapshot_id.0, is_branch });
    }
    match (refs.get(MAIN), current) {
        (None, Some(id)) => {
            refs.insert(MAIN.to_owned(), SnapshotRef { snapshot_id: id, is_branch: true });
        }
        (Some(main), _) if !main.is_branch || current != Some(main.snapshot_id) => {
            return Err(corrupt("the branch main does not name the current snapshot".to_owned()));
        }
        _ => {}
    }
    Ok(refs)
}
