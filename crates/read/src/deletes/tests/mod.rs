//! A world for delete tests: objects in memory with every request counted, and plans that refer to them.

mod corpus;
mod equality;
mod once;
mod permits;
mod position;
pub(crate) mod vector;

use super::{AppliedDeletes, ScanDeletes};
use crate::ReadContext;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
use async_trait::async_trait;
use bytes::Bytes;
use fastdata_types::catalog::TableState;
use fastdata_types::metadata::{NameMapping, PartitionSpec, TableMetadata};
use fastdata_types::plan::{Block, DataFile, DeleteFile, DeleteKind, FileDeletes, FileFormat, PlanReport, ScanPlan};
use fastdata_types::schema::Field;
use fastdata_types::stats::StatsCollector;
use fastdata_types::store::StoreCounters;
use fastdata_types::{Error, ErrorKind, MemoryBudget, Result, Schema, Stage, Store};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Objects by their spelling, and the requests for each.
#[derive(Debug, Default)]
pub(super) struct World {
    objects: Mutex<HashMap<String, Bytes>>,
    requests: Mutex<HashMap<String, usize>>,
    bytes_read: AtomicU64,
    rewrites: Vec<(String, String)>,
    /// Requests that are answered at a time, where that is bounded: each then takes a while.
    permits: Option<Semaphore>,
}

impl World {
    async fn answering(&self) {
        match &self.permits {
            None => tokio::task::yield_now().await,
            Some(permits) => {
                let _permit = permits.acquire().await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    fn object(&self, location: &str) -> Result<Bytes> {
        let spelling = self.spelling(location);
        *self.requests.lock().unwrap().entry(spelling.clone()).or_default() += 1;
        let found = self.objects.lock().unwrap().get(&spelling).cloned();
        found.ok_or_else(|| Error::new(ErrorKind::MissingFile, Stage::Store, format!("no object '{location}'")))
    }

    fn requests(&self, location: &str) -> usize {
        self.requests.lock().unwrap().get(&self.spelling(location)).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Store for World {
    fn spelling(&self, location: &str) -> String {
        let rewritten = self.rewrites.iter().find_map(|(from, to)| location.strip_prefix(from.as_str()).map(|rest| format!("{to}{rest}")));
        rewritten.unwrap_or_else(|| location.to_owned())
    }
    fn check(&self, _location: &str) -> Result<()> {
        Ok(())
    }
    async fn size(&self, location: &str) -> Result<u64> {
        Ok(self.object(location)?.len() as u64)
    }
    async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.answering().await;
        let object = self.object(location)?;
        let slice = |r: &Range<u64>| {
            let beyond = || Error::corrupt(Stage::Store, format!("'{location}' ends before byte {}", r.end));
            if r.end > object.len() as u64 { Err(beyond()) } else { Ok(object.slice(r.start as usize..r.end as usize)) }
        };
        self.bytes_read.fetch_add(ranges.iter().map(|r| r.end - r.start).sum(), Ordering::Relaxed);
        ranges.iter().map(slice).collect()
    }
    async fn read_all(&self, location: &str, _limit: u64) -> Result<Bytes> {
        self.object(location)
    }
    async fn read_tail(&self, location: &str, length: u64) -> Result<(Bytes, u64)> {
        self.answering().await;
        let object = self.object(location)?;
        Ok((object.slice(object.len().saturating_sub(length as usize)..), object.len() as u64))
    }
    async fn list(&self, _directory: &str) -> Result<Vec<String>> {
        Ok(vec![])
    }
    fn counters(&self) -> StoreCounters {
        StoreCounters::default()
    }
}

/// A plan in the making.
pub(super) struct Builder {
    pub(super) world: World,
    pub(super) schemas: Vec<Schema>,
    pub(super) specs: Vec<PartitionSpec>,
    pub(super) mapping: Option<NameMapping>,
    pub(super) files: Vec<DataFile>,
    pub(super) deletes: Vec<DeleteFile>,
    pub(super) budget: u64,
    /// How often every data file is opened, one after the other.
    pub(super) rounds: u32,
}

/// A scan over the world that the builder made.
pub(super) struct Scan {
    pub(super) world: Arc<World>,
    pub(super) deletes: ScanDeletes,
    pub(super) context: ReadContext,
}

impl Builder {
    /// A table of these columns; the last schema given is the current one.
    pub(super) fn new(columns: Vec<Field>) -> Self {
        Builder {
            world: World::default(),
            schemas: vec![Schema::new(0, columns).unwrap()],
            specs: vec![PartitionSpec { id: 0, fields: vec![] }],
            mapping: None,
            files: vec![],
            deletes: vec![],
            budget: 64 << 20,
            rounds: 1,
        }
    }

    pub(super) fn evolve(&mut self, columns: Vec<Field>) -> &mut Self {
        self.schemas.push(Schema::new(self.schemas.len() as i32, columns).unwrap());
        self
    }

    pub(super) fn rewrite(&mut self, from: &str, to: &str) -> &mut Self {
        self.world.rewrites.push((from.to_owned(), to.to_owned()));
        self
    }

    pub(super) fn data(&mut self, path: &str, sequence: i64, deletes: FileDeletes) -> u32 {
        self.files.push(DataFile {
            path: path.to_owned(),
            format: FileFormat::Parquet,
            file_size: 1000,
            record_count: 1000,
            spec_id: 0,
            partition: Arc::new(vec![]),
            sequence_number: sequence,
            first_row_id: None,
            sort_order_id: None,
            split_offsets: vec![],
            encrypted: false,
            deletes,
        });
        self.files.len() as u32 - 1
    }

    pub(super) fn object(&mut self, path: &str, bytes: Vec<u8>) {
        let spelling = self.world.spelling(path);
        self.world.objects.lock().unwrap().insert(spelling, Bytes::from(bytes));
    }

    /// A delete file with this content.
    pub(super) fn delete(&mut self, path: &str, bytes: Vec<u8>, kind: DeleteKind, sequence: i64, records: u64) -> u32 {
        let format = match kind {
            DeleteKind::Vector { .. } => FileFormat::Puffin,
            _ => FileFormat::Parquet,
        };
        self.deletes.push(DeleteFile {
            path: path.to_owned(),
            format,
            file_size: bytes.len() as u64,
            record_count: records,
            spec_id: 0,
            partition: Arc::new(vec![]),
            sequence_number: sequence,
            encrypted: false,
            kind,
        });
        self.object(path, bytes);
        self.deletes.len() as u32 - 1
    }

    pub(super) fn positions(&mut self, path: &str, batches: &[RecordBatch]) -> u32 {
        let kind = DeleteKind::Position { referenced_data_file: None };
        let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
        self.delete(path, parquet(batches), kind, 2, rows)
    }

    pub(super) fn equality(&mut self, path: &str, ids: &[i32], sequence: i64, batch: &RecordBatch) -> u32 {
        let kind = DeleteKind::Equality { field_ids: ids.to_vec() };
        self.delete(path, parquet(std::slice::from_ref(batch)), kind, sequence, batch.num_rows() as u64)
    }

    pub(super) fn build(self) -> Scan {
        let world = Arc::new(self.world);
        let schemas: BTreeMap<i32, _> = self.schemas.into_iter().map(|s| (s.id, Arc::new(s))).collect();
        let current = *schemas.keys().last().unwrap();
        let metadata = TableMetadata {
            format_version: 3,
            uuid: None,
            location: "mem://t".into(),
            last_updated_ms: 0,
            last_sequence_number: 100,
            current_schema_id: current,
            partition_specs: self.specs.into_iter().map(|s| (s.id, Arc::new(s))).collect(),
            default_spec_id: 0,
            sort_orders: BTreeMap::new(),
            default_sort_order_id: 0,
            properties: BTreeMap::new(),
            current_snapshot_id: None,
            snapshots: vec![],
            snapshot_index: HashMap::new(),
            snapshot_log: vec![],
            refs: BTreeMap::new(),
            next_row_id: None,
            name_mapping: self.mapping.map(Arc::new),
            schemas,
        };
        let schema = Arc::clone(metadata.current_schema());
        let table = TableState {
            display_name: "t".into(),
            metadata_location: "mem://t/metadata.json".into(),
            metadata: Arc::new(metadata),
            store: world.clone(),
            notes: vec![],
            catalog_retries: 0,
        };
        let files = self.files.len() as u32;
        let blocks = (0..self.rounds).flat_map(|_| (0..files).map(|file| Block::bytes(file, 0, 1000))).collect();
        let plan = ScanPlan {
            table: Arc::new(table),
            snapshot_id: None,
            projection: Arc::clone(&schema),
            schema,
            filter: None,
            grant: fastdata_types::Grant::default(),
            files: Arc::new(self.files),
            deletes: Arc::new(self.deletes),
            blocks,
            report: PlanReport::default(),
        };
        let context = ReadContext {
            budget: MemoryBudget::new(self.budget),
            pool: Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()),
            stats: Arc::new(StatsCollector::default()),
        };
        Scan { world, deletes: ScanDeletes::new(Arc::new(plan), context.clone()), context }
    }
}

impl Scan {
    /// In the first round a data file has the number of its opening.
    pub(super) async fn ask(&self, file: u32) -> Result<Arc<AppliedDeletes>> {
        self.deletes.for_file(file, self.deletes.opening(file)).await
    }

    pub(super) async fn file(&self, file: u32) -> Arc<AppliedDeletes> {
        self.ask(file).await.unwrap()
    }

    pub(super) async fn refusal(&self, file: u32) -> Error {
        self.ask(file).await.expect_err("a refusal")
    }
}

pub(super) fn lists(positions: &[u32], equality: &[u32], vector: Option<u32>) -> FileDeletes {
    FileDeletes { positions: positions.to_vec(), equality: equality.to_vec(), vector }
}

/// The set bits.
pub(super) fn bits(buffer: Option<BooleanBuffer>) -> Vec<usize> {
    buffer.map(|b| b.set_indices().collect()).unwrap_or_default()
}

/// A batch whose columns carry field ids; an id of 0 stands for none.
pub(super) fn batch(columns: Vec<(&str, i32, ArrayRef)>) -> RecordBatch {
    let fields: Vec<ArrowField> = columns.iter().map(|(name, id, array)| arrow_field(name, *id, array.data_type().clone())).collect();
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns.into_iter().map(|c| c.2).collect()).unwrap()
}

pub(super) fn arrow_field(name: &str, id: i32, data_type: DataType) -> ArrowField {
    let field = ArrowField::new(name, data_type, true);
    match id {
        0 => field,
        id => field.with_metadata(HashMap::from([("PARQUET:field_id".to_owned(), id.to_string())])),
    }
}

/// One row group per batch.
pub(super) fn parquet(batches: &[RecordBatch]) -> Vec<u8> {
    parquet_with(batches, WriterProperties::builder().build())
}

pub(super) fn parquet_with(batches: &[RecordBatch], properties: WriterProperties) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batches[0].schema(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
    bytes
}
