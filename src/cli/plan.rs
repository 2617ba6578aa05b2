//! `plan` and `files`: what a scan would read and what it would skip.

use super::args::{Listing, PlanArgs};
use super::output::print;
use super::text;
use crate::engine::Engine;
use fastdata_types::plan::{DataFile, PlanReport};
use fastdata_types::{Result, ScanPlan};
use serde_json::{Value as Json, json};
use std::fmt::Write;

pub async fn plan(engine: &Engine, args: &PlanArgs) -> Result<()> {
    let plan = engine.plan(&args.selection.request()?).await?;
    if args.format == Listing::Json {
        let mut report = serde_json::to_value(&plan.report).unwrap_or_default();
        report["table"] = json!(plan.table.display_name);
        report["notes"] = json!(plan.notes());
        report["columns"] = json!(plan.projection.fields.iter().map(|f| &f.name).collect::<Vec<_>>());
        report["blocks"] = json!(plan.blocks.len());
        // Ids need all 64 bits, which a JSON number loses in many readers.
        report["snapshot_id"] = json!(plan.report.snapshot_id.map(|id| id.to_string()));
        report["skipped_snapshots"] = plan
            .report
            .skipped_snapshots
            .iter()
            .map(|(id, operation)| json!({"snapshot_id": id.to_string(), "operation": operation}))
            .collect();
        return print(&format!("{report}\n"));
    }
    print(&plan_text(&plan))
}

fn plan_text(plan: &ScanPlan) -> String {
    let report = &plan.report;
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<10} {}", text::printable(&value));
    };
    line("table", plan.table.display_name.clone());
    match report.snapshot_id {
        Some(id) => line("snapshot", format!("{id}, schema {}", report.schema_id)),
        None => line("snapshot", "none: the table is empty".to_owned()),
    }
    line("columns", plan.projection.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", "));
    line("manifests", manifests_text(report));
    line(
        "files",
        format!(
            "{} to read of {} considered; pruned: {} by partition, {} by column bounds",
            text::count(report.files),
            text::count(report.files_considered),
            text::count(report.files_pruned_by_partition),
            text::count(report.files_pruned_by_bounds)
        ),
    );
    line(
        "row groups",
        format!("{} by split offsets, in {} blocks", text::count(report.row_groups_estimated), text::count(plan.blocks.len() as u64)),
    );
    line("bytes", format!("{} in whole files", text::bytes(report.bytes)));
    line("rows", format!("{} before filters and deletes", text::count(report.rows_estimated)));
    line(
        "deletes",
        format!(
            "{} position delete files, {} equality delete files, {} deletion vectors; about {} rows by position",
            text::count(report.position_delete_files),
            text::count(report.equality_delete_files),
            text::count(report.deletion_vectors),
            text::count(report.deleted_rows_estimated)
        ),
    );
    for (id, operation) in &report.skipped_snapshots {
        line("skipped", format!("snapshot {id} is no append ({operation}) and contributes nothing"));
    }
    for note in plan.notes() {
        line("note", note);
    }
    line("planned in", text::micros(report.planning_us));
    out
}

fn manifests_text(report: &PlanReport) -> String {
    format!(
        "{} of {} read, {} pruned by their summaries; {} of {} delete manifests read",
        text::count(report.manifests_read),
        text::count(report.manifests_total),
        text::count(report.manifests_pruned_by_summary),
        text::count(report.delete_manifests_read),
        text::count(report.delete_manifests_total)
    )
}

pub async fn files(engine: &Engine, args: &PlanArgs) -> Result<()> {
    let plan = engine.plan(&args.selection.request()?).await?;
    if args.format == Listing::Json {
        let rows: Vec<Json> = plan.files.iter().map(|file| file_json(&plan, file)).collect();
        return print(&format!("{}\n", Json::Array(rows)));
    }
    let mut rows = text::table(&["file", "rows", "bytes", "partition", "deletes"]);
    for file in plan.files.iter() {
        rows.add_row(vec![
            text::printable(&file.path),
            text::count(file.record_count),
            text::bytes(file.file_size),
            text::printable(&partition_text(&plan, file)),
            delete_count(file).to_string(),
        ]);
    }
    print(&format!("{}\n", rows.trim_fmt()))
}

fn delete_count(file: &DataFile) -> usize {
    file.deletes.positions.len() + file.deletes.equality.len() + usize::from(file.deletes.vector.is_some())
}

fn partition_text(plan: &ScanPlan, file: &DataFile) -> String {
    let Some(spec) = plan.table.metadata.partition_specs.get(&file.spec_id) else { return String::new() };
    let parts: Vec<String> = spec
        .fields
        .iter()
        .zip(file.partition.iter())
        .map(|(field, value)| match value {
            Some(value) => format!("{}={}", field.name, value_text(value)),
            None => format!("{}=NULL", field.name),
        })
        .collect();
    parts.join(", ")
}

fn value_text(value: &fastdata_types::Value) -> String {
    use fastdata_types::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Boolean(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Long(v) => v.to_string(),
        Value::Date(days) => chrono::NaiveDate::from_ymd_opt(1970, 1, 1)
            .and_then(|epoch| epoch.checked_add_signed(chrono::Duration::try_days(i64::from(*days))?))
            .map_or_else(|| format!("{days} days"), |date| date.to_string()),
        other => format!("{other:?}"),
    }
}

fn file_json(plan: &ScanPlan, file: &DataFile) -> Json {
    json!({
        "path": file.path,
        "format": file.format.name(),
        "rows": file.record_count.to_string(),
        "bytes": file.file_size.to_string(),
        "specId": file.spec_id,
        "partition": partition_text(plan, file),
        "sequenceNumber": file.sequence_number.to_string(),
        "positionDeleteFiles": file.deletes.positions.len(),
        "equalityDeleteFiles": file.deletes.equality.len(),
        "deletionVector": file.deletes.vector.is_some(),
    })
}
