//! The plans of other people's tables.
//!
//! Every table is planned at its current snapshot; file, delete and row counts are held against what the snapshot's own summary says, and
//! row counts against what its owners and pyiceberg read.

use crate::support::corpus;
use async_trait::async_trait;
use bytes::Bytes;
use fastdata_catalog::parse_metadata;
use fastdata_plan::{plan, project, select};
use fastdata_types::store::StoreCounters;
use fastdata_types::{Error, ErrorKind, Result, ScanPlan, ScanRequest, Stage, Store, TableState};
use serde_json::Value as Json;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Local files; the location baked into the table stands for its folder.
#[derive(Debug)]
struct Folder {
    location: String,
    folder: PathBuf,
}

impl Folder {
    fn path(&self, location: &str) -> PathBuf {
        // Some metadata says s3a where its manifests say s3, and some has the scheme in one place only.
        let bare =
            |text: &str| text.split_once(':').map_or(text, |(_, rest)| rest).trim_start_matches('/').trim_start_matches("./").to_owned();
        let (location, prefix) = (bare(location), bare(self.location.trim_end_matches("/metadata")));
        let Some(below) = location.strip_prefix(&prefix) else {
            return self.folder.join("metadata").join(location.rsplit('/').next().unwrap_or_default());
        };
        let below = below.trim_start_matches('/').to_owned();
        let path = self.folder.join(&below);
        // Three tables are variants of another one, whose manifests they use.
        let original = prefix.rsplit('/').next().map(|name| self.folder.with_file_name(name).join(&below));
        original.filter(|original| !path.exists() && original.exists()).unwrap_or(path)
    }
}

#[async_trait]
impl Store for Folder {
    fn spelling(&self, location: &str) -> String {
        self.path(location).to_string_lossy().into_owned()
    }
    fn check(&self, _location: &str) -> Result<()> {
        Ok(())
    }
    async fn size(&self, location: &str) -> Result<u64> {
        Ok(self.read_all(location, u64::MAX).await?.len() as u64)
    }
    async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let all = self.read_all(location, u64::MAX).await?;
        Ok(ranges.iter().map(|range| all.slice(range.start as usize..range.end as usize)).collect())
    }
    async fn read_all(&self, location: &str, limit: u64) -> Result<Bytes> {
        assert!(!location.ends_with(".parquet"), "planning opened a data file: {location}");
        let path = self.path(location);
        let bytes =
            std::fs::read(&path).map_err(|e| Error::new(ErrorKind::MissingFile, Stage::Store, format!("'{}': {e}", path.display())))?;
        if bytes.len() as u64 > limit { Err(Error::limit(Stage::Store, "too large")) } else { Ok(bytes.into()) }
    }
    async fn read_tail(&self, location: &str, _length: u64) -> Result<(Bytes, u64)> {
        let all = self.read_all(location, u64::MAX).await?;
        let size = all.len() as u64;
        Ok((all, size))
    }
    async fn list(&self, _directory: &str) -> Result<Vec<String>> {
        Ok(vec![])
    }
    fn counters(&self) -> StoreCounters {
        StoreCounters::default()
    }
}

fn table(corpus: &Path, entry: &Json) -> Arc<TableState> {
    let name = entry["table"].as_str().unwrap();
    let folder = corpus.join(name);
    let metadata_file = folder.join("metadata").join(entry["metadata"].as_str().unwrap());
    Arc::new(TableState {
        display_name: name.to_owned(),
        metadata_location: metadata_file.to_string_lossy().into_owned(),
        metadata: Arc::new(parse_metadata(&std::fs::read(&metadata_file).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"))),
        store: Arc::new(Folder { location: entry["location"].as_str().unwrap().to_owned(), folder }),
        notes: vec![],
        catalog_retries: 0,
    })
}

async fn plan_table(table: Arc<TableState>, request: ScanRequest) -> Result<ScanPlan> {
    let selection = select(&table.metadata, &request)?;
    let bindable = selection.bindable_schema(&table.metadata)?;
    let projection = project(&bindable, &request.columns, selection.schema())?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    plan(table, &request, selection, projection, None, &Arc::new(pool)).await
}

fn tables() -> Option<(PathBuf, Vec<Json>)> {
    let corpus = corpus()?;
    let tables: Json = serde_json::from_slice(&std::fs::read(corpus.join("TABLES.json")).unwrap()).unwrap();
    Some((corpus, tables.as_array().unwrap().clone()))
}

#[tokio::test]
async fn every_table_plans_to_the_counts_of_its_summary() {
    let Some((corpus, tables)) = tables() else { return };
    let mut wrong = Vec::new();
    let mut checked = 0;
    for entry in &tables {
        let name = entry["table"].as_str().unwrap();
        let state = table(&corpus, entry);
        let summary =
            state.metadata.current_snapshot_id.and_then(|id| state.metadata.snapshot(id)).map(|s| s.summary.clone()).unwrap_or_default();
        let plan = match plan_table(state, ScanRequest::table(name)).await {
            Ok(plan) => plan,
            Err(e) => {
                wrong.push(format!("{name}: {e}"));
                continue;
            }
        };
        if name.ends_with("performance/manifest_files") {
            // Its list was padded: one manifest of six files, ten thousand times.
            assert_eq!((plan.files.len(), plan.report.manifests_read), (60_000, 10_000));
            continue;
        }
        let (files, rows) = (plan.files.len() as u64, plan.report.rows_estimated);
        let mut check = |what: &str, stated: Option<u64>, found: u64| match stated {
            Some(stated) if stated != found => wrong.push(format!("{name}: {what} is {stated}, planned {found}")),
            Some(_) => checked += 1,
            None => {}
        };
        let stated = |key: &str| summary.get(key).and_then(|v| v.parse::<u64>().ok());
        check("total-data-files", stated("total-data-files"), files);
        check("total-records", stated("total-records"), rows);
        if plan.deletes.is_empty() {
            check("what pyiceberg reads", entry["pyiceberg_0_12"].as_u64(), rows);
            check("what its owners read", entry["expected_rows"].as_u64(), rows);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 200, "only {checked} figures were checked");
}

/// Position deletes, equality deletes and vectors that apply; the rows that positions and vectors claim.
#[tokio::test]
async fn deletes_of_other_engines_are_matched() {
    let Some((corpus, tables)) = tables() else { return };
    let expected = [
        ("equality_delete_cross_partition/warehouse/ns/t", (0, 1, 0)),
        ("equality_delete_extra_column/warehouse/ns/t", (0, 1, 0)),
        ("equality_deletes/warehouse/mydb/mytable_partitioned", (0, 3, 0)),
        ("legacy_bare_deletion_vector", (0, 0, 1)),
        ("iceberg-cxx/tests/tables/deletion_vectors", (0, 0, 2)),
        ("iceberg-cxx/tests/tables/granular_deletes", (2, 0, 0)),
        ("iceberg-cxx/tests/tables/dangling_deletes", (0, 0, 0)),
        ("iceberg-cxx/tests/tables/prod/db/refdeletes3", (6, 0, 0)),
    ];
    for (end, counts) in expected {
        let entry = tables.iter().find(|entry| entry["table"].as_str().unwrap().ends_with(end)).unwrap();
        let plan = plan_table(table(&corpus, entry), ScanRequest::table(end)).await.unwrap();
        let report = &plan.report;
        assert_eq!((report.position_delete_files, report.equality_delete_files, report.deletion_vectors), counts, "{end}");
        // Where only positions and vectors delete, the claims account for the rows that pyiceberg no longer sees.
        if let (0, Some(rows)) = (report.equality_delete_files, entry["pyiceberg_0_12"].as_u64()) {
            assert_eq!(report.rows_estimated - report.deleted_rows_estimated, rows, "{end}");
        }
    }
}

/// Every snapshot, every ref, and every pair of a snapshot and a descendant plans or says why not.
#[tokio::test]
async fn every_snapshot_of_every_table_plans_or_names_what_is_missing() {
    let Some((corpus, tables)) = tables() else { return };
    let mut planned = 0;
    for entry in &tables {
        let state = table(&corpus, entry);
        for snapshot in state.metadata.snapshots.iter().take(20) {
            let at = ScanRequest { snapshot_id: Some(snapshot.id), ..ScanRequest::table("t") };
            let after = ScanRequest { from_snapshot_id: snapshot.parent_id, to_snapshot_id: Some(snapshot.id), ..ScanRequest::table("t") };
            for request in [at, after] {
                match plan_table(Arc::clone(&state), request).await {
                    Ok(_) => planned += 1,
                    Err(e) => assert_eq!(e.kind(), ErrorKind::MissingFile, "{}: {e}", state.display_name),
                }
            }
        }
    }
    assert!(planned > 300, "only {planned} snapshots were planned");
}
