//! Table metadata.
//!
//! Promises: metadata whose references hold, or an error; what is accepted can be asked for a snapshot, its schema and
//! its columns; white space around it changes nothing; memory in proportion to the file.

use super::{refused, within_bytes};
use fastdata_catalog::parse_metadata;
use fastdata_types::metadata::TableMetadata;
use fastdata_types::{ErrorKind, ScanRequest, Schema};

/// An object of a default value is the most that a few bytes become: a node of a tree.
const PER_BYTE: usize = 160;
/// What default values may come to, however short their JSON: those of a table together, and the one that is too much.
const DEFAULTS: usize = 81 << 20;
/// What unfolds to 128 MiB may take this.
const COMPRESSED: usize = 2 << 30;

pub fn metadata(bytes: &[u8]) {
    let compressed = bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let outcome = match compressed {
        true => within_bytes(COMPRESSED, bytes, || parse_metadata(bytes)),
        false => within_bytes(DEFAULTS + PER_BYTE * bytes.len(), bytes, || parse_metadata(bytes)),
    };
    let table = match outcome {
        Ok(table) => table,
        Err(error) => return refused(&error, &[ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::LimitExceeded]),
    };
    references_hold(&table);
    can_be_asked(&table);
    if !compressed {
        let spaced = parse_metadata(&[b" \n", bytes, b"\t "].concat()).expect("white space is no part of JSON");
        assert_eq!(format!("{:?}", spaced.properties), format!("{:?}", table.properties));
        assert_eq!((spaced.location, spaced.snapshots), (table.location, table.snapshots));
    }
}

fn references_hold(table: &TableMetadata) {
    assert!((1..=3).contains(&table.format_version));
    assert!(table.schemas.contains_key(&table.current_schema_id), "no current schema");
    assert!(table.partition_specs.contains_key(&table.default_spec_id), "no default spec");
    assert!(table.sort_orders.contains_key(&table.default_sort_order_id), "no default sort order");
    assert!(table.schemas.iter().all(|(id, schema)| schema.id == *id), "a schema under another id");
    assert!(table.partition_specs.iter().all(|(id, spec)| spec.id == *id), "a spec under another id");
    assert_eq!(table.snapshot_index.len(), table.snapshots.len(), "two snapshots with one id");
    for snapshot in &table.snapshots {
        assert_eq!(table.snapshot(snapshot.id), Some(snapshot), "a snapshot that is not found by its id");
    }
    let main = table.refs.get("main").filter(|main| main.is_branch).map(|main| main.snapshot_id);
    assert_eq!(main, table.current_snapshot_id, "main is not the current snapshot");
    assert!(table.current_snapshot_id.is_none_or(|id| table.snapshot(id).is_some()), "no current snapshot");
    table.schemas.values().for_each(|schema| ids_are_found(schema));
}

fn ids_are_found(schema: &Schema) {
    for id in schema.ids().take(1000) {
        assert_eq!(schema.field_by_id(id).map(|field| field.id), Some(id), "a field that is not found by its id");
        assert!(schema.full_name(id).is_some());
    }
}

/// What planning does first with metadata. It may refuse, in words.
fn can_be_asked(table: &TableMetadata) {
    table.unified_partition_type();
    let request = ScanRequest::table("t");
    let asked = fastdata_plan::select(table, &request).and_then(|selection| {
        let bindable = selection.bindable_schema(table)?;
        fastdata_plan::project(&bindable, &request.columns, selection.schema())
    });
    if let Err(error) = asked {
        assert_ne!(error.kind(), ErrorKind::Internal, "{error:?}");
    }
}
