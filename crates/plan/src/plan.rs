//! The plan of a scan, from the selected snapshot to blocks in table order.

use crate::manifest::list::ManifestFile;
use crate::manifests::{DataManifest, Listed, Reading, on_pool};
use crate::prune::Pruner;
use crate::snapshot::Selection;
use crate::{blocks, deletes};
use fastdata_types::plan::{Block, DeleteFile, DeleteKind, PlanReport};
use fastdata_types::schema::{Schema, SchemaRef};
use fastdata_types::{ErrorKind, Expr, Grant, Result, ScanPlan, ScanRequest, TableState};
use std::sync::Arc;
use std::time::Instant;

#[cfg(test)]
mod tests;

/// Reads the manifests of the selection and decides what is left to read. `projection` and `filter` are bound to
/// [`Selection::bindable_schema`]. Opens no data file.
pub async fn plan(
    table: Arc<TableState>,
    request: &ScanRequest,
    selection: Selection,
    projection: Schema,
    filter: Option<Arc<Expr>>,
    pool: &Arc<rayon::ThreadPool>,
) -> Result<ScanPlan> {
    let started = Instant::now();
    check_location(&table)?;
    let schema = Arc::new(selection.bindable_schema(&table.metadata)?);
    let pruner = filter.as_ref().and_then(|filter| Pruner::new(filter, &schema, table.metadata.name_mapping.as_deref()));
    let reading = Arc::new(Reading::new(Arc::clone(&table), Arc::clone(pool), pruner));
    let mut report = PlanReport { snapshot_id: selection.snapshot_id(), schema_id: schema.id, ..Default::default() };

    let listed = list(&reading, &selection, &mut report).await?;
    let (data, deletes) = open(&reading, listed, &mut report).await?;

    let plan = ScanPlan {
        table,
        snapshot_id: selection.snapshot_id(),
        schema,
        projection: SchemaRef::new(projection),
        filter,
        grant: Grant::default(),
        files: Arc::default(),
        deletes: Arc::default(),
        blocks: Vec::new(),
        report,
    };
    let sample = request.sample;
    let mut plan = on_pool(pool, move || arrange(plan, data, deletes, sample)).await?;
    plan.report.planning_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    Ok(plan)
}

/// The table's own location is a reference like any other, though nothing is opened by it: a table that claims a place it may not
/// have was copied or tampered with. Old tables may have none.
fn check_location(table: &TableState) -> Result<()> {
    match table.metadata.location.as_str() {
        "" => Ok(()),
        location => match table.store.check(location) {
            Err(e) if e.kind() == ErrorKind::LocationNotAllowed => Err(e.context("the table's own location")),
            // Allowed, whether or not its kind of storage can be read: nothing is read there.
            _ => Ok(()),
        },
    }
}

/// The manifests that the selection consists of.
async fn list(reading: &Arc<Reading>, selection: &Selection, report: &mut PlanReport) -> Result<Vec<Listed>> {
    let Some(appends) = &selection.appends else {
        let Some(snapshot) = selection.snapshot() else { return Ok(Vec::new()) };
        let manifests = reading.list(snapshot).await?;
        return Ok(manifests.into_iter().map(|manifest| Listed { manifest, added_by: None }).collect());
    };
    let mut listed = Vec::new();
    for snapshot in &appends.snapshots {
        // What a snapshot added is in the manifests it added. Manifests without a list do not say who added them.
        let added = |manifest: &ManifestFile| !manifest.holds_deletes && manifest.added_snapshot_id.is_none_or(|id| id == snapshot.id);
        let manifests = reading.list(snapshot).await?.into_iter().filter(added);
        listed.extend(manifests.map(|manifest| Listed { manifest, added_by: Some(snapshot.id) }));
    }
    if !appends.skipped.is_empty() {
        report.notes.push(format!("{} snapshots of the range are no appends and contribute no rows", appends.skipped.len()));
        report.skipped_snapshots.clone_from(&appends.skipped);
    }
    Ok(listed)
}

/// Opens the manifests that may hold something of use.
async fn open(reading: &Arc<Reading>, listed: Vec<Listed>, report: &mut PlanReport) -> Result<(Vec<DataManifest>, Vec<DeleteFile>)> {
    let (delete_manifests, data_manifests): (Vec<Listed>, Vec<Listed>) =
        listed.into_iter().partition(|listed| listed.manifest.holds_deletes);
    report.manifests_total = data_manifests.len() as u64;
    report.delete_manifests_total = delete_manifests.len() as u64;

    let mut data_manifests: Vec<Listed> = data_manifests.into_iter().filter(|listed| !listed.manifest.is_empty()).collect();
    let before = data_manifests.len();
    data_manifests.retain(|listed| reading.may_match(&listed.manifest));
    report.manifests_pruned_by_summary = (before - data_manifests.len()) as u64;
    report.manifests_read = data_manifests.len() as u64;
    if data_manifests.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    // The summaries of a delete manifest cover the tuples of its delete files. Where no row of those partitions can match, their
    // data files are ruled out by their own tuples, and nobody needs the deletes. An unpartitioned spec has no summaries to rule
    // anything out by, so that global deletes are always read.
    let mut delete_manifests = delete_manifests;
    delete_manifests.retain(|listed| !listed.manifest.is_empty() && reading.may_match(&listed.manifest));
    report.delete_manifests_read = delete_manifests.len() as u64;

    let (data, deletes) = futures::try_join!(reading.data(data_manifests), reading.deletes(delete_manifests))?;
    Ok((data, deletes.into_iter().flatten().collect()))
}

/// Puts the files in table order, gives them their deletes, and cuts them into blocks.
fn arrange(
    mut plan: ScanPlan,
    data: Vec<DataManifest>,
    deletes: Vec<DeleteFile>,
    sample: Option<fastdata_types::request::Sample>,
) -> Result<ScanPlan> {
    let report = &mut plan.report;
    let mut files = Vec::with_capacity(data.iter().map(|manifest| manifest.files.len()).sum());
    for manifest in data {
        report.files_considered += manifest.considered;
        report.files_pruned_by_partition += manifest.pruned_by_partition;
        report.files_pruned_by_bounds += manifest.pruned_by_bounds;
        files.extend(manifest.files);
    }
    files.sort_by(|a, b| (a.sequence_number, &a.path).cmp(&(b.sequence_number, &b.path)));
    let mut cut = blocks::of_files(&files)?;
    if let Some(sample) = sample {
        blocks::sample(&mut files, &mut cut, sample);
    }
    let table = &plan.table;
    let deletes = deletes::assign(&mut files, deletes, &table.metadata, table.store.as_ref())?;
    deletes::check_readable(&deletes, &table.display_name)?;
    let locations = files.iter().map(|file| &file.path).chain(deletes.iter().map(|delete| &delete.path));
    locations.into_iter().try_for_each(|location| table.store.check(location))?;

    report.files = files.len() as u64;
    report.row_groups_estimated = cut.len() as u64;
    report.bytes = cut.iter().map(bytes_of).fold(0, u64::saturating_add);
    report.rows_estimated = files.iter().map(|file| file.record_count).fold(0, u64::saturating_add);
    for delete in &deletes {
        match delete.kind {
            DeleteKind::Position { .. } => report.position_delete_files += 1,
            DeleteKind::Equality { .. } => report.equality_delete_files += 1,
            DeleteKind::Vector { .. } => report.deletion_vectors += 1,
        }
        if !matches!(delete.kind, DeleteKind::Equality { .. }) {
            report.deleted_rows_estimated = report.deleted_rows_estimated.saturating_add(delete.record_count);
        }
    }
    plan.files = Arc::new(files);
    plan.deletes = Arc::new(deletes);
    plan.blocks = cut;
    Ok(plan)
}

/// Bytes of a file that a block covers.
fn bytes_of(block: &Block) -> u64 {
    block.extent.end - block.extent.start
}
