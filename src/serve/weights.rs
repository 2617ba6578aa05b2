//! About how many bytes plans and the metadata of tables take in memory.
//!
//! Contract: whatever grows with the table or with the request is counted, so that what bounds the sum bounds memory. What is a few hundred bytes
//! of any plan is not.

use crate::engine::Lanes;
use fastdata_types::lanes::Part;
use fastdata_types::metadata::{
    LogEntry, ManifestSource, MappedField, PartitionField, PartitionSpec, Snapshot, SnapshotRef, SortField, SortOrder, TableMetadata,
};
use fastdata_types::plan::{Block, DataFile, DeleteFile, DeleteKind};
use fastdata_types::{Expr, Field, Schema, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an allocation takes beside its bytes.
const ALLOCATION: usize = 16;
/// What a map takes for an entry, beside key and value.
const ENTRY: usize = 16;
/// What a schema's index takes for a field: its id, and the way to it.
const INDEXED: usize = 80;

type Tuple = Arc<Vec<Option<Value>>>;

/// What a plan takes, without the metadata of its table, which other plans share.
pub fn of_plan(lanes: &Lanes) -> usize {
    let Lanes { plan, lanes, request } = lanes;
    let files: usize = plan.files.iter().map(of_file).sum();
    let deletes: usize = plan.deletes.iter().map(of_delete).sum();
    let parts: usize = lanes.lanes.iter().flat_map(|lane| &lane.parts).map(of_part).sum();
    let blocks = plan.blocks.capacity() * size_of::<Block>();
    let schemas = of_schema(&plan.schema) + of_schema(&plan.projection);
    let filter = plan.filter.as_deref().map_or(0, of_filter);
    let report = &plan.report;
    let skipped: usize = report.skipped_snapshots.iter().map(|(_, operation)| size_of::<i64>() + string(operation)).sum();
    let texts = report.notes.iter().chain(&request.columns).chain([&request.table, &request.filter]);
    files + deletes + parts + blocks + schemas + filter + skipped + texts.map(|text| string(text)).sum::<usize>()
}

pub fn of_metadata(metadata: &TableMetadata) -> usize {
    let schemas: usize = metadata.schemas.values().map(|schema| of_schema(schema)).sum();
    let fields = |spec: &PartitionSpec| spec.fields.iter().map(|field| size_of::<PartitionField>() + text(&field.name)).sum::<usize>();
    let specs: usize = metadata.partition_specs.values().map(|spec| size_of::<PartitionSpec>() + ENTRY + fields(spec)).sum();
    let orders = metadata.sort_orders.values().map(|order| size_of::<SortOrder>() + ENTRY + order.fields.len() * size_of::<SortField>());
    let snapshots: usize = metadata.snapshots.iter().map(|snapshot| of_snapshot(snapshot)).sum();
    let log = metadata.snapshot_log.capacity() * size_of::<LogEntry>();
    let refs: usize = metadata.refs.keys().map(|name| size_of::<SnapshotRef>() + ENTRY + string(name)).sum();
    let mapping = metadata.name_mapping.as_ref().map_or(0, |mapping| of_mapping(&mapping.fields));
    let rest = size_of::<TableMetadata>() + orders.sum::<usize>() + of_texts(&metadata.properties);
    schemas + specs + snapshots + log + refs + mapping + rest
}

fn text(text: &str) -> usize {
    text.len() + ALLOCATION
}

/// A text that is an item of a list or a map.
fn string(item: &str) -> usize {
    size_of::<String>() + text(item)
}

fn of_file(file: &DataFile) -> usize {
    let pairs = (file.deletes.positions.capacity() + file.deletes.equality.capacity()) * size_of::<u32>();
    let offsets = file.split_offsets.capacity() * size_of::<i64>();
    size_of::<DataFile>() + text(&file.path) + pairs + offsets + of_tuple(&file.partition)
}

fn of_delete(delete: &DeleteFile) -> usize {
    let kind = match &delete.kind {
        DeleteKind::Position { referenced_data_file } => referenced_data_file.as_deref().map_or(0, text),
        DeleteKind::Equality { field_ids } => field_ids.capacity() * size_of::<i32>(),
        DeleteKind::Vector { referenced_data_file, .. } => text(referenced_data_file),
    };
    size_of::<DeleteFile>() + text(&delete.path) + kind + of_tuple(&delete.partition)
}

/// Files of one manifest share their tuples: each file counts for its part.
fn of_tuple(tuple: &Tuple) -> usize {
    let values: usize = tuple.iter().map(|value| size_of::<Option<Value>>() + value.as_ref().map_or(0, Value::heap_bytes)).sum();
    (values + ALLOCATION).div_ceil(Arc::strong_count(tuple).max(1))
}

fn of_part(part: &Part) -> usize {
    size_of::<Part>() + ALLOCATION + part.blocks.capacity() * size_of::<Block>()
}

fn of_schema(schema: &Schema) -> usize {
    size_of::<Schema>() + schema.fields.iter().map(of_field).sum::<usize>()
}

fn of_field(field: &Field) -> usize {
    let texts = text(&field.name) + field.doc.as_deref().map_or(0, text);
    let default = field.initial_default.as_ref().map_or(0, Value::heap_bytes);
    size_of::<Field>() + INDEXED + texts + default + field.ty.children().into_iter().map(of_field).sum::<usize>()
}

fn of_filter(filter: &Expr) -> usize {
    let mut bytes = 0;
    filter.walk(&mut |expr| {
        bytes += size_of::<Expr>() + ALLOCATION;
        bytes += match expr {
            Expr::Column(column) => column.path.iter().map(|name| string(name)).sum(),
            Expr::Literal(value, _) => value.as_ref().map_or(0, Value::heap_bytes),
            Expr::InList { values, .. } => values.iter().map(|value| size_of::<Value>() + value.heap_bytes()).sum(),
            Expr::Like { pattern, .. } => text(pattern),
            _ => 0,
        };
    });
    bytes
}

/// A snapshot and its place in the index by id.
fn of_snapshot(snapshot: &Snapshot) -> usize {
    let manifests = match &snapshot.manifests {
        ManifestSource::List(location) => text(location),
        ManifestSource::Inline(locations) => locations.iter().map(|location| string(location)).sum(),
    };
    let texts = [&snapshot.operation, &snapshot.key_id].into_iter().flatten().map(|value| text(value)).sum::<usize>();
    size_of::<Snapshot>() + ALLOCATION + 2 * ENTRY + manifests + texts + of_texts(&snapshot.summary)
}

fn of_texts(texts: &BTreeMap<String, String>) -> usize {
    texts.iter().map(|(key, value)| ENTRY + string(key) + string(value)).sum()
}

fn of_mapping(fields: &[MappedField]) -> usize {
    let names = |field: &MappedField| field.names.iter().map(|name| string(name)).sum::<usize>();
    fields.iter().map(|field| size_of::<MappedField>() + names(field) + of_mapping(&field.fields)).sum()
}
