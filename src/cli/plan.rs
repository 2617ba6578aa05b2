//! `plan` and `files`: what a scan would read and what it would skip.

use super::args::{Common, Listing, PlanArgs};
use super::output::print;
use super::{remote, text};
use crate::facts::{self, Explanation, FileFacts};
use fastdata_types::Result;
use std::fmt::Write;

pub async fn plan(common: &Common, args: &PlanArgs) -> Result<()> {
    let plan: Explanation = remote::facts(common, &args.server, &args.selection.request()?).await?;
    match args.format {
        Listing::Json => print(&format!("{}\n", facts::json(&plan)?)),
        Listing::Table => print(&plan_text(&plan)),
    }
}

/// As `fastdata plan` prints it.
pub fn plan_text(plan: &Explanation) -> String {
    let mut out = String::new();
    // A figure of 0 that stands for any would mislead.
    let told = |figures: String| if plan.rows_hidden { text::HIDDEN.to_owned() } else { figures };
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<10} {}", text::printable(&value));
    };
    line("table", plan.table.clone());
    match plan.snapshot_id {
        Some(id) => line("snapshot", format!("{id}, schema {}", plan.schema_id)),
        None => line("snapshot", "none: the table is empty".to_owned()),
    }
    line("columns", plan.columns.join(", "));
    line("manifests", told(manifests_text(plan)));
    line("files", told(files_text(plan)));
    line(
        "row groups",
        told(format!("{} by split offsets, in {} blocks", text::count(plan.row_groups_estimated), text::count(plan.blocks))),
    );
    line("bytes", told(format!("{} in whole files", text::bytes(plan.bytes))));
    line("rows", told(format!("{} before filters and deletes", text::count(plan.rows_estimated))));
    line("deletes", told(deletes_text(plan)));
    for skipped in &plan.skipped_snapshots {
        line("skipped", format!("snapshot {} is no append ({}) and contributes nothing", skipped.snapshot_id, skipped.operation));
    }
    for note in &plan.notes {
        line("note", note.clone());
    }
    line("planned in", text::micros(plan.planning_us));
    out
}

fn manifests_text(plan: &Explanation) -> String {
    format!(
        "{} of {} read, {} pruned by their summaries; {} of {} delete manifests read",
        text::count(plan.manifests_read),
        text::count(plan.manifests_total),
        text::count(plan.manifests_pruned_by_summary),
        text::count(plan.delete_manifests_read),
        text::count(plan.delete_manifests_total)
    )
}

fn files_text(plan: &Explanation) -> String {
    format!(
        "{} to read of {} considered; pruned: {} by partition, {} by column bounds",
        text::count(plan.files),
        text::count(plan.files_considered),
        text::count(plan.files_pruned_by_partition),
        text::count(plan.files_pruned_by_bounds)
    )
}

fn deletes_text(plan: &Explanation) -> String {
    format!(
        "{} position delete files, {} equality delete files, {} deletion vectors; about {} rows by position",
        text::count(plan.position_delete_files),
        text::count(plan.equality_delete_files),
        text::count(plan.deletion_vectors),
        text::count(plan.deleted_rows_estimated)
    )
}

pub async fn files(common: &Common, args: &PlanArgs) -> Result<()> {
    let files: Vec<FileFacts> = remote::facts(common, &args.server, &args.selection.request()?).await?;
    if args.format == Listing::Json {
        return print(&format!("{}\n", facts::json(&files)?));
    }
    let mut rows = text::table(&["file", "rows", "bytes", "partition", "deletes"]);
    for file in &files {
        rows.add_row(vec![
            text::printable(&file.path),
            text::count(file.rows),
            text::bytes(file.bytes),
            text::printable(&file.partition),
            file.deletes().to_string(),
        ]);
    }
    print(&format!("{}\n", rows.trim_fmt()))
}
