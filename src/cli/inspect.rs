//! `tables`, `describe`, `snapshots`: what the metadata says, no data read.

use super::args::{Common, Listing, TableArgs, TablesArgs};
use super::output::print;
use super::{remote, text};
use crate::facts::{self, FieldFacts, ListedSnapshot, PartitionSpecFacts, SortFieldFacts, TableFacts, TableOnly};
use fastdata_types::listing::TableEntry;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::fmt::Write;

pub async fn tables(common: &Common, args: &TablesArgs) -> Result<()> {
    let namespace = args.namespace.as_deref();
    let tables = match remote::connect(&args.server).await? {
        Some(client) => client.tables(namespace).await.map_err(|e| remote::advised(e, &args.server))?,
        None => embedded_tables(common, namespace).await?,
    };
    if args.format == Listing::Json {
        return print(&format!("{}\n", facts::json(&tables)?));
    }
    let mut out = String::new();
    for table in &tables {
        let _ = writeln!(out, "{}", text::printable(&table.table));
    }
    if tables.is_empty() {
        out.push_str("no tables\n");
    }
    print(&out)
}

async fn embedded_tables(common: &Common, namespace: Option<&str>) -> Result<Vec<TableEntry>> {
    let engine = super::engine(common)?;
    if engine.catalogs().is_empty() {
        return Err(Error::new(ErrorKind::Config, Stage::Config, "no catalog is configured")
            .advice("give --warehouse DIR, or name catalogs in fastdata.toml"));
    }
    facts::tables(&engine, namespace).await
}

pub async fn describe(common: &Common, args: &TableArgs) -> Result<()> {
    let table: TableFacts = remote::facts(common, &args.server, &TableOnly { table: args.table.clone() }).await?;
    match args.format {
        Listing::Json => print(&format!("{}\n", facts::json(&table)?)),
        Listing::Table => print(&describe_text(&table)),
    }
}

fn describe_text(table: &TableFacts) -> String {
    let mut out = head_text(table);
    let _ = writeln!(out, "\nschema {}", table.schema.id);
    let mut fields = text::table(&["id", "name", "type", "", "doc"]);
    for field in &table.schema.fields {
        add_field(&mut fields, field, 0);
    }
    let _ = writeln!(out, "{}", fields.trim_fmt());
    for spec in &table.partition_specs {
        let default = if spec.default { ", used for new files" } else { "" };
        let _ = writeln!(out, "\npartition spec {}{default}: {}", spec.id, text::printable(&partition_text(spec)));
    }
    if let Some(order) = table.sort_order.as_ref().filter(|order| !order.is_empty()) {
        let parts: Vec<String> = order.iter().map(sort_text).collect();
        let _ = writeln!(out, "\nsort order {}: {}", table.sort_order_id, text::printable(&parts.join(", ")));
    }
    if !table.properties.is_empty() {
        let _ = writeln!(out, "\nproperties");
        for (key, value) in &table.properties {
            let _ = writeln!(out, "  {} = {}", text::printable(key), text::printable(&value.chars().take(200).collect::<String>()));
        }
    }
    out
}

fn head_text(table: &TableFacts) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<12} {}", text::printable(&value));
    };
    line("table", table.table.clone());
    line("metadata", table.metadata_location.clone());
    line("location", table.location.clone());
    line("format", format!("version {}", table.format_version));
    if let Some(uuid) = &table.uuid {
        line("uuid", uuid.clone());
    }
    match &table.current_snapshot {
        Some(s) => line(
            "snapshot",
            format!("{} ({}, {})", s.snapshot_id, s.operation.as_deref().unwrap_or("unknown operation"), text::time(s.timestamp_ms)),
        ),
        None => line("snapshot", "none: the table is empty".to_owned()),
    }
    if let Some(rows) = table.rows {
        let total = |key: &str| table.current_snapshot.as_ref().and_then(|snapshot| snapshot.total(key)).unwrap_or(0);
        let deletes = total("total-position-deletes").saturating_add(total("total-equality-deletes"));
        let note = if deletes > 0 { format!(" before {} deletes", text::count(deletes)) } else { String::new() };
        line("rows", format!("{}{note}", text::count(rows)));
    }
    if let Some(bytes) = table.bytes {
        line("bytes", text::bytes(bytes));
    }
    if let Some(files) = table.data_files {
        line("files", format!("{} data, {} delete", text::count(files), text::count(table.delete_files.unwrap_or(0))));
    }
    for reference in &table.refs {
        line(&reference.kind, format!("{} -> {}", reference.name, reference.snapshot_id));
    }
    for note in &table.notes {
        line("note", note.clone());
    }
    out
}

fn partition_text(spec: &PartitionSpecFacts) -> String {
    let source = |source: &Option<String>, id: i32| source.clone().unwrap_or_else(|| format!("#{id}"));
    let parts: Vec<String> =
        spec.fields.iter().map(|f| format!("{}({}) as {}", f.transform, source(&f.source, f.source_id), f.name)).collect();
    if parts.is_empty() { "unpartitioned".to_owned() } else { parts.join(", ") }
}

fn sort_text(field: &SortFieldFacts) -> String {
    let source = field.source.clone().unwrap_or_else(|| format!("#{}", field.source_id));
    let direction = if field.descending { "desc" } else { "asc" };
    let nulls = if field.nulls_first { "nulls first" } else { "nulls last" };
    format!("{}({source}) {direction} {nulls}", field.transform)
}

fn add_field(table: &mut comfy_table::Table, field: &FieldFacts, depth: usize) {
    // What a nested type holds stands in the rows below it.
    let nested = ["struct", "list", "map"].into_iter().find(|kind| field.ty.strip_prefix(kind).is_some_and(|rest| rest.starts_with('<')));
    table.add_row(vec![
        field.id.to_string(),
        format!("{}{}", "  ".repeat(depth), text::printable(&field.name)),
        nested.unwrap_or(&field.ty).to_owned(),
        if field.required { "required".to_owned() } else { String::new() },
        field.doc.as_deref().map(text::printable).unwrap_or_default(),
    ]);
    for child in &field.fields {
        add_field(table, child, depth + 1);
    }
}

pub async fn snapshots(common: &Common, args: &TableArgs) -> Result<()> {
    let mut listed: Vec<ListedSnapshot> = remote::facts(common, &args.server, &TableOnly { table: args.table.clone() }).await?;
    if args.format == Listing::Json {
        return print(&format!("{}\n", facts::json(&listed)?));
    }
    let mut rows = text::table(&["snapshot", "parent", "time", "operation", "added rows", "total rows", "refs"]);
    listed.sort_by_key(|listed| (listed.snapshot.timestamp_ms, listed.snapshot.sequence_number));
    for ListedSnapshot { snapshot, refs, .. } in &listed {
        let number = |key: &str| snapshot.summary.get(key).map(|value| text::printable(value)).unwrap_or_default();
        rows.add_row(vec![
            snapshot.snapshot_id.to_string(),
            snapshot.parent_snapshot_id.map(|id| id.to_string()).unwrap_or_default(),
            text::time(snapshot.timestamp_ms),
            text::printable(snapshot.operation.as_deref().unwrap_or("")),
            number("added-records"),
            number("total-records"),
            text::printable(&refs.join(", ")),
        ]);
    }
    print(&format!("{}\n", rows.trim_fmt()))
}
