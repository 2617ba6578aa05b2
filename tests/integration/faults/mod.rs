//! A failing network between the engine and a real store: every scan is right or says why not, in time.
//!
//! How: tables lie in MinIO, with the testkit's fault proxy in front of it; a small REST catalog names them. Scans run in this process, so that what they count
//! can be held against what the proxy saw.

mod canaries;
mod catalogs;
mod hung;
mod outage;
mod replaced;
mod requests;
mod shaky;
mod throttled;

use crate::served::{request, text_of};
use fastdata::assemble::{self, Paths};
use fastdata::config::{self, Overrides};
use fastdata::engine::Engine;
use fastdata_testkit::proxy::{Conditions, Proxy};
use fastdata_testkit::rest::{RestOptions, RestServer};
use fastdata_testkit::services::minio::Minio;
use fastdata_testkit::table::{Built, Deletes, History, Layout, Shape, build};
use fastdata_types::stats::ScanStats;
use fastdata_types::{BatchStream, Error, Result};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Rows, and a checksum that does not depend on their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Rows {
    rows: u64,
    checksum: u64,
}

impl Rows {
    fn add(&mut self, batch: &arrow::array::RecordBatch) {
        for row in text_of(batch) {
            let mut hasher = DefaultHasher::new();
            row.hash(&mut hasher);
            self.checksum = self.checksum.wrapping_add(hasher.finish());
            self.rows += 1;
        }
    }
}

/// A MinIO that all tests share, or one that a test may kill.
enum Store {
    Shared(&'static Minio),
    Own(Minio),
}

impl Deref for Store {
    type Target = Minio;

    fn deref(&self) -> &Minio {
        match self {
            Store::Shared(minio) => minio,
            Store::Own(minio) => minio,
        }
    }
}

/// One table, `test.t`, its store, the proxy in front of it and its catalog.
struct Bay {
    proxy: Proxy,
    catalog: RestServer,
    built: Built,
    bucket: String,
    folder: TempDir,
    // Last: what is under way ends before it.
    store: Store,
}

/// Of many small files with deletes: more than two hundred requests.
fn many_files(files_per_partition: usize) -> Shape {
    Shape {
        format: 3,
        layout: Layout { rows: 12 * files_per_partition, files_per_partition, row_group_rows: 100, ..Layout::default() },
        deletes: Deletes { positions: true, ..Deletes::VECTORS },
        history: History { appends: 2, ..History::SINGLE },
        ..Shape::default()
    }
}

/// Of a few files with many row groups each, too large to be read in one request.
fn many_row_groups() -> Shape {
    Shape {
        layout: Layout { rows: 120_000, files_per_partition: 2, row_group_rows: 5_000, page_rows: 1_000, ..Layout::default() },
        ..Shape::default()
    }
}

impl Bay {
    /// `None` where MinIO is not installed.
    async fn open(store: Option<Store>, shape: Shape, conditions: Conditions) -> Option<Bay> {
        let store = store?;
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let bucket = format!("faults-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().unwrap();
        let location = format!("s3://{bucket}/test/t");
        let shape = Shape { layout: Layout { location: Some(location), ..shape.layout.clone() }, ..shape };
        let built = build(&shape, &folder.path().join("w")).unwrap();
        store.put_directory(&bucket, "test/t/", &built.table_folder());
        let proxy = Proxy::start(store.address(), conditions).await.unwrap();
        let catalog = RestServer::start(RestOptions::default()).await;
        let metadata = serde_json::from_slice(&std::fs::read(built.metadata_file()).unwrap()).unwrap();
        catalog.add_table(&["test"], "t", built.table.metadata_location(), metadata);
        Some(Bay { proxy, catalog, built, bucket, folder, store })
    }

    /// Behind the MinIO that all tests share.
    async fn shared(shape: Shape, conditions: Conditions) -> Option<Bay> {
        Bay::open(Minio::shared().map(Store::Shared), shape, conditions).await
    }

    /// The configuration of a catalog whose store is reached at `endpoint`, with more properties of it.
    fn configure(&self, endpoint: &str, more: &[(&str, &str)], memory: &str) {
        let mut properties: BTreeMap<String, String> = self.store.properties();
        properties.extend([("type", "rest"), ("uri", self.catalog.uri().as_str()), ("s3.endpoint", endpoint)].map(owned));
        properties.extend(more.iter().copied().map(owned));
        let mut text = format!("default-catalog = \"lake\"\nmemory = \"{memory}\"\n[catalogs.lake]\n");
        properties.iter().for_each(|(name, value)| text.push_str(&format!("\"{name}\" = {value:?}\n")));
        std::fs::write(self.folder.path().join("fastdata.toml"), text).unwrap();
    }

    /// An engine that reaches the store at `endpoint`.
    fn engine(&self, endpoint: &str, more: &[(&str, &str)]) -> Engine {
        self.engine_with_memory(endpoint, more, "16MiB")
    }

    fn engine_with_memory(&self, endpoint: &str, more: &[(&str, &str)], memory: &str) -> Engine {
        self.configure(endpoint, more, memory);
        let overrides = Overrides { config: Some(self.folder.path().join("fastdata.toml")), ..Overrides::default() };
        let settings = config::load(&overrides, &[]).unwrap();
        assemble::engine(&settings, None, Paths::Refused).unwrap()
    }

    /// What is in the table, read straight from the store.
    async fn truth(&self) -> Rows {
        let rows = read(&self.engine(self.store.endpoint(), &[]), "").await.unwrap().0;
        assert_eq!(rows.rows, self.built.current_rows().len() as u64);
        rows
    }

    /// The key of a data file.
    fn key(&self, path: &str) -> String {
        path.strip_prefix(&format!("s3://{}/", self.bucket)).unwrap().to_owned()
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

async fn open(engine: &Engine, more: &str) -> Result<BatchStream> {
    Ok(engine.scan(&request(&format!(r#"{{"table": "test.t"{more}}}"#))).await?.stream)
}

/// A whole scan, its rows and what it counted.
async fn read(engine: &Engine, more: &str) -> Result<(Rows, ScanStats), Error> {
    let mut stream = open(engine, more).await?;
    let stats = Arc::clone(&stream.stats);
    let mut rows = Rows::default();
    while let Some(batch) = stream.next().await {
        rows.add(&batch?);
    }
    drop(stream);
    Ok((rows, stats.snapshot()))
}

fn latency(milliseconds: u64) -> Conditions {
    Conditions { latency: Duration::from_millis(milliseconds), ..Conditions::default() }
}
