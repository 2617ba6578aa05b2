//! `tables`, `describe`, `snapshots`: what the metadata says, no data read.

use super::args::{Listing, TableArgs, TablesArgs};
use super::output::print;
use super::text;
use crate::engine::Engine;
use fastdata_types::metadata::{ManifestSource, Snapshot, TableMetadata};
use fastdata_types::schema::Field;
use fastdata_types::{Error, Result, Stage, TableState};
use serde_json::{Value as Json, json};
use std::fmt::Write;

pub async fn tables(engine: &Engine, args: &TablesArgs) -> Result<()> {
    if engine.catalogs().is_empty() {
        return Err(Error::new(fastdata_types::ErrorKind::Config, Stage::Config, "no catalog is configured")
            .advice("give --warehouse DIR, or name catalogs in fastdata.toml"));
    }
    let tables = engine.tables(args.namespace.as_deref()).await?;
    if args.format == Listing::Json {
        let rows: Vec<Json> = tables
            .iter()
            .map(|t| json!({"catalog": t.catalog, "namespace": t.name.namespace, "name": t.name.name, "table": t.reference.to_string()}))
            .collect();
        return print(&format!("{}\n", Json::Array(rows)));
    }
    let mut out = String::new();
    for table in &tables {
        let _ = writeln!(out, "{}", text::printable(&table.reference.to_string()));
    }
    if tables.is_empty() {
        out.push_str("no tables\n");
    }
    print(&out)
}

pub async fn describe(engine: &Engine, args: &TableArgs) -> Result<()> {
    let table = engine.table(&args.table).await?;
    match args.format {
        Listing::Json => print(&format!("{}\n", describe_json(&table))),
        Listing::Table => print(&describe_text(&table)),
    }
}

fn summary_number(snapshot: Option<&Snapshot>, key: &str) -> Option<u64> {
    snapshot?.summary.get(key)?.parse().ok()
}

fn current(metadata: &TableMetadata) -> Option<&Snapshot> {
    metadata.current_snapshot_id.and_then(|id| metadata.snapshot(id)).map(|s| s.as_ref())
}

fn field_json(field: &Field) -> Json {
    let mut out = json!({"id": field.id, "name": field.name, "required": field.required, "type": field.ty.to_string()});
    let children: Vec<Json> = field.ty.children().into_iter().map(field_json).collect();
    if !children.is_empty() {
        out["fields"] = Json::Array(children);
    }
    if let Some(doc) = &field.doc {
        out["doc"] = json!(doc);
    }
    if let Some(default) = &field.initial_default {
        out["initialDefault"] = json!(format!("{default:?}"));
    }
    out
}

fn describe_json(table: &TableState) -> Json {
    let metadata = &table.metadata;
    let snapshot = current(metadata);
    let schema = metadata.current_schema();
    json!({
        "table": table.display_name,
        "metadataLocation": table.metadata_location,
        "uuid": metadata.uuid,
        "formatVersion": metadata.format_version,
        "location": metadata.location,
        "schema": {"id": schema.id, "fields": schema.fields.iter().map(field_json).collect::<Vec<_>>()},
        "partitionSpecs": metadata.partition_specs.values().map(|spec| json!({
            "id": spec.id,
            "default": spec.id == metadata.default_spec_id,
            "fields": spec.fields.iter().map(|f| json!({
                "fieldId": f.field_id, "sourceId": f.source_id, "name": f.name, "transform": f.transform.to_string(),
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "sortOrder": metadata.sort_orders.get(&metadata.default_sort_order_id).map(|order| order.fields.iter().map(|f| json!({
            "sourceId": f.source_id, "transform": f.transform.to_string(), "descending": f.descending, "nullsFirst": f.nulls_first,
        })).collect::<Vec<_>>()),
        "properties": metadata.properties,
        "currentSnapshot": snapshot.map(snapshot_json),
        "rows": summary_number(snapshot, "total-records").map(|n| n.to_string()),
        "bytes": summary_number(snapshot, "total-files-size").map(|n| n.to_string()),
        "dataFiles": summary_number(snapshot, "total-data-files").map(|n| n.to_string()),
        "deleteFiles": summary_number(snapshot, "total-delete-files").map(|n| n.to_string()),
        "refs": metadata.refs.iter().map(|(name, r)| json!({
            "name": name, "snapshotId": r.snapshot_id.to_string(), "kind": if r.is_branch { "branch" } else { "tag" },
        })).collect::<Vec<_>>(),
        "notes": table.notes,
    })
}

fn describe_text(table: &TableState) -> String {
    let metadata = &table.metadata;
    let snapshot = current(metadata);
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<12} {}", text::printable(&value));
    };
    line("table", table.display_name.clone());
    line("metadata", table.metadata_location.clone());
    line("location", metadata.location.clone());
    line("format", format!("version {}", metadata.format_version));
    if let Some(uuid) = &metadata.uuid {
        line("uuid", uuid.clone());
    }
    match snapshot {
        Some(s) => line(
            "snapshot",
            format!("{} ({}, {})", s.id, s.operation.as_deref().unwrap_or("unknown operation"), text::time(s.timestamp_ms)),
        ),
        None => line("snapshot", "none: the table is empty".to_owned()),
    }
    let total = |key: &str| summary_number(snapshot, key);
    if let Some(rows) = total("total-records") {
        let deletes = total("total-position-deletes").unwrap_or(0) + total("total-equality-deletes").unwrap_or(0);
        let note = if deletes > 0 { format!(" before {} deletes", text::count(deletes)) } else { String::new() };
        line("rows", format!("{}{note}", text::count(rows)));
    }
    if let Some(bytes) = total("total-files-size") {
        line("bytes", text::bytes(bytes));
    }
    if let Some(files) = total("total-data-files") {
        line("files", format!("{} data, {} delete", text::count(files), text::count(total("total-delete-files").unwrap_or(0))));
    }
    for (name, r) in &metadata.refs {
        line(if r.is_branch { "branch" } else { "tag" }, format!("{name} -> {}", r.snapshot_id));
    }
    for note in &table.notes {
        line("note", note.clone());
    }
    let schema = metadata.current_schema();
    let _ = writeln!(out, "\nschema {}", schema.id);
    let mut fields = text::table(&["id", "name", "type", "", "doc"]);
    for field in &schema.fields {
        add_field(&mut fields, field, 0);
    }
    let _ = writeln!(out, "{}", fields.trim_fmt());
    for spec in metadata.partition_specs.values() {
        let default = if spec.id == metadata.default_spec_id { ", used for new files" } else { "" };
        let parts: Vec<String> = spec
            .fields
            .iter()
            .map(|f| {
                let source =
                    metadata.field_in_any_schema(f.source_id).map_or_else(|| format!("#{}", f.source_id), |field| field.name.clone());
                format!("{}({source}) as {}", f.transform, f.name)
            })
            .collect();
        let parts = if parts.is_empty() { "unpartitioned".to_owned() } else { parts.join(", ") };
        let _ = writeln!(out, "\npartition spec {}{default}: {}", spec.id, text::printable(&parts));
    }
    if let Some(order) = metadata.sort_orders.get(&metadata.default_sort_order_id).filter(|order| !order.fields.is_empty()) {
        let parts: Vec<String> = order
            .fields
            .iter()
            .map(|f| {
                let source = schema.full_name(f.source_id).unwrap_or_else(|| format!("#{}", f.source_id));
                let direction = if f.descending { "desc" } else { "asc" };
                let nulls = if f.nulls_first { "nulls first" } else { "nulls last" };
                format!("{}({source}) {direction} {nulls}", f.transform)
            })
            .collect();
        let _ = writeln!(out, "\nsort order {}: {}", order.id, text::printable(&parts.join(", ")));
    }
    if !metadata.properties.is_empty() {
        let _ = writeln!(out, "\nproperties");
        for (key, value) in &metadata.properties {
            let _ = writeln!(out, "  {} = {}", text::printable(key), text::printable(&value.chars().take(200).collect::<String>()));
        }
    }
    out
}

fn add_field(table: &mut comfy_table::Table, field: &Field, depth: usize) {
    let ty = match &field.ty {
        fastdata_types::Type::Primitive(primitive) => primitive.to_string(),
        fastdata_types::Type::Struct(_) => "struct".to_owned(),
        fastdata_types::Type::List(_) => "list".to_owned(),
        fastdata_types::Type::Map(_) => "map".to_owned(),
    };
    table.add_row(vec![
        field.id.to_string(),
        format!("{}{}", "  ".repeat(depth), text::printable(&field.name)),
        ty,
        if field.required { "required".to_owned() } else { String::new() },
        field.doc.as_deref().map(text::printable).unwrap_or_default(),
    ]);
    for child in field.ty.children() {
        add_field(table, child, depth + 1);
    }
}

fn snapshot_json(s: &Snapshot) -> Json {
    json!({
        "snapshotId": s.id.to_string(),
        "parentSnapshotId": s.parent_id.map(|id| id.to_string()),
        "sequenceNumber": s.sequence_number,
        "timestampMs": s.timestamp_ms.to_string(),
        "operation": s.operation,
        "schemaId": s.schema_id,
        "manifestList": match &s.manifests { ManifestSource::List(location) => Some(location), ManifestSource::Inline(_) => None },
        "summary": s.summary,
    })
}

pub async fn snapshots(engine: &Engine, args: &TableArgs) -> Result<()> {
    let table = engine.table(&args.table).await?;
    let metadata = &table.metadata;
    let refs_of =
        |id: i64| -> Vec<&str> { metadata.refs.iter().filter(|(_, r)| r.snapshot_id == id).map(|(name, _)| name.as_str()).collect() };
    if args.format == Listing::Json {
        let rows: Vec<Json> = metadata
            .snapshots
            .iter()
            .map(|s| {
                let mut row = snapshot_json(s);
                row["refs"] = json!(refs_of(s.id));
                row["current"] = json!(metadata.current_snapshot_id == Some(s.id));
                row
            })
            .collect();
        return print(&format!("{}\n", Json::Array(rows)));
    }
    let mut rows = text::table(&["snapshot", "parent", "time", "operation", "added rows", "total rows", "refs"]);
    let mut ordered: Vec<&Snapshot> = metadata.snapshots.iter().map(|s| s.as_ref()).collect();
    ordered.sort_by_key(|s| (s.timestamp_ms, s.sequence_number));
    for s in ordered {
        let number = |key: &str| s.summary.get(key).cloned().unwrap_or_default();
        rows.add_row(vec![
            s.id.to_string(),
            s.parent_id.map(|id| id.to_string()).unwrap_or_default(),
            text::time(s.timestamp_ms),
            text::printable(s.operation.as_deref().unwrap_or("")),
            text::printable(&number("added-records")),
            text::printable(&number("total-records")),
            text::printable(&refs_of(s.id).join(", ")),
        ]);
    }
    print(&format!("{}\n", rows.trim_fmt()))
}
