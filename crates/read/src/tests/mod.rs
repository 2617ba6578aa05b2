//! A small world to read from: files in memory with every request counted, and plans over them.

mod corpus;
mod far;
mod hostile;
mod limits;
mod order;
mod rows;
mod survivors;

use crate::{ReadContext, ReadOptions, read};
use arrow::array::{Array, ArrayRef, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field as ArrowField, Int32Type, Schema as ArrowSchema};
use async_trait::async_trait;
use bytes::Bytes;
use fastdata_types::arrow_type::arrow_schema;
use fastdata_types::catalog::TableState;
use fastdata_types::expr::Expr;
use fastdata_types::metadata::{PartitionSpec, TableMetadata};
use fastdata_types::plan::{Block, DataFile, DeleteFile, FileDeletes, FileFormat, PlanReport};
use fastdata_types::request::{Order, StringEncoding};
use fastdata_types::schema::{Field, PrimitiveType, Type};
use fastdata_types::stats::StatsCollector;
use fastdata_types::store::StoreCounters;
use fastdata_types::{BatchStream, Error, ErrorKind, MemoryBudget, Result, ScanPlan, Schema, Stage, Store};
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Objects in memory; every request and byte is counted.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    objects: HashMap<String, Bytes>,
    requests: AtomicU64,
    bytes: AtomicU64,
    /// What each read waits for; far with one.
    round_trip: Option<Duration>,
    under_way: AtomicU64,
    most_under_way: AtomicU64,
}

impl MemoryStore {
    pub(crate) fn new(objects: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        MemoryStore { objects: objects.into_iter().map(|(path, bytes)| (path, Bytes::from(bytes))).collect(), ..Default::default() }
    }

    /// The most reads of ranges that were under way at a time.
    pub(crate) fn most_under_way(&self) -> u64 {
        self.most_under_way.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn get(&self, location: &str) -> Result<&Bytes> {
        self.objects.get(location).ok_or_else(|| Error::new(ErrorKind::MissingFile, Stage::Store, format!("'{location}' does not exist")))
    }

    fn count(&self, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn spelling(&self, location: &str) -> String {
        location.to_owned()
    }
    fn check(&self, _: &str) -> Result<()> {
        Ok(())
    }
    fn is_far(&self, _: &str) -> bool {
        self.round_trip.is_some()
    }
    async fn size(&self, location: &str) -> Result<u64> {
        Ok(self.get(location)?.len() as u64)
    }
    async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let object = self.get(location)?;
        self.most_under_way.fetch_max(self.under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        tokio::time::sleep(self.round_trip.unwrap_or_default()).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.count(ranges.iter().map(|r| r.end - r.start).sum());
        let part = |r: &Range<u64>| {
            if r.end > object.len() as u64 {
                return Err(Error::corrupt(Stage::Store, format!("'{location}' is shorter than {}", r.end)));
            }
            Ok(object.slice(r.start as usize..r.end as usize))
        };
        ranges.iter().map(part).collect()
    }
    async fn read_all(&self, location: &str, _: u64) -> Result<Bytes> {
        Ok(self.get(location)?.clone())
    }
    async fn read_tail(&self, location: &str, length: u64) -> Result<(Bytes, u64)> {
        let object = self.get(location)?;
        let start = object.len().saturating_sub(length as usize);
        self.count((object.len() - start) as u64);
        Ok((object.slice(start..), object.len() as u64))
    }
    async fn list(&self, _: &str) -> Result<Vec<String>> {
        Ok(vec![])
    }
    fn counters(&self) -> StoreCounters {
        StoreCounters { requests: self.requests(), bytes: self.bytes.load(Ordering::Relaxed), retries: 0, hedges: 0 }
    }
}

/// The columns of [`sample`].
pub(crate) fn sample_schema() -> Schema {
    Schema::new(
        0,
        vec![
            Field::required(1, "id", PrimitiveType::Long),
            Field::optional(2, "name", PrimitiveType::String),
            Field::optional(3, "score", PrimitiveType::Double),
            Field::optional(4, "tags", Type::list(5, false, PrimitiveType::Int)),
            Field::optional(
                6,
                "place",
                Type::structure(vec![Field::optional(7, "city", PrimitiveType::String), Field::optional(8, "zip", PrimitiveType::Int)]),
            ),
        ],
    )
    .unwrap()
}

/// Rows whose every value follows from their number, nulls and nested columns included.
pub(crate) fn sample(rows: Range<i64>) -> RecordBatch {
    let schema = arrow_schema(&sample_schema(), StringEncoding::Utf8).unwrap();
    let child = |at: usize| match schema.field(at).data_type() {
        DataType::List(field) => vec![Arc::clone(field)],
        DataType::Struct(fields) => fields.iter().cloned().collect(),
        _ => vec![],
    };
    let name = |i: i64| (i % 7 != 0).then(|| format!("name-{}{}", i % 1000, "x".repeat((i % 13) as usize)));
    let tags = rows.clone().map(|i| (i % 5 != 0).then(|| (0..i % 4).map(|t| (t != 2).then_some((i + t) as i32)).collect::<Vec<_>>()));
    let tags = ListArray::from_iter_primitive::<Int32Type, _, _>(tags);
    let tags = ListArray::new(child(3)[0].clone(), tags.offsets().clone(), tags.values().clone(), tags.nulls().cloned());
    let nulls = rows.clone().map(|i| i % 11 != 0).collect::<Vec<_>>().into();
    let place = StructArray::new(
        child(4).into(),
        vec![
            Arc::new(StringArray::from_iter(rows.clone().map(|i| (i % 11 != 0 && i % 3 != 0).then(|| format!("city {}", i % 50)))))
                as ArrayRef,
            Arc::new(Int32Array::from_iter(rows.clone().map(|i| (i % 11 != 0).then_some(i as i32 / 2)))),
        ],
        Some(nulls),
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.clone())),
        Arc::new(StringArray::from_iter(rows.clone().map(name))),
        Arc::new(Float64Array::from_iter(rows.clone().map(|i| (i % 9 != 0).then_some(i as f64 / 3.0)))),
        Arc::new(tags),
        Arc::new(place),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

pub(crate) fn parquet_bytes(batches: &[RecordBatch], properties: WriterProperties) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

/// Row groups of this many rows.
pub(crate) fn row_groups_of(rows: usize) -> WriterProperties {
    WriterProperties::builder().set_max_row_group_row_count(Some(rows)).build()
}

pub(crate) fn table_metadata(schemas: Vec<Schema>) -> TableMetadata {
    let current = schemas.last().unwrap().id;
    TableMetadata {
        format_version: 3,
        uuid: None,
        location: "t".into(),
        last_updated_ms: 0,
        last_sequence_number: 1,
        schemas: schemas.into_iter().map(|s| (s.id, Arc::new(s))).collect(),
        current_schema_id: current,
        partition_specs: BTreeMap::from([(0, Arc::new(PartitionSpec { id: 0, fields: vec![] }))]),
        default_spec_id: 0,
        sort_orders: BTreeMap::new(),
        default_sort_order_id: 0,
        properties: BTreeMap::new(),
        current_snapshot_id: Some(1),
        snapshots: vec![],
        snapshot_index: HashMap::new(),
        snapshot_log: vec![],
        refs: BTreeMap::new(),
        next_row_id: None,
        name_mapping: None,
    }
}

/// A table in the making.
pub(crate) struct World {
    pub(crate) schema: Schema,
    pub(crate) projection: Schema,
    pub(crate) filter: Option<Expr>,
    pub(crate) objects: Vec<(String, Vec<u8>)>,
    pub(crate) files: Vec<DataFile>,
    pub(crate) deletes: Vec<DeleteFile>,
    /// Cuts each file into so many blocks of equal bytes.
    pub(crate) blocks_per_file: u64,
    pub(crate) options: ReadOptions,
    pub(crate) budget: u64,
    pub(crate) threads: usize,
    pub(crate) round_trip: Option<Duration>,
}

pub(crate) fn options() -> ReadOptions {
    ReadOptions { batch_rows: 65_536, batch_bytes: 8 << 20, order: Order::Stable, strings: StringEncoding::Utf8, limit: None }
}

impl World {
    pub(crate) fn new(schema: Schema) -> Self {
        World {
            projection: schema.clone(),
            schema,
            filter: None,
            objects: vec![],
            files: vec![],
            deletes: vec![],
            blocks_per_file: 1,
            options: options(),
            budget: 256 << 20,
            threads: 2,
            round_trip: None,
        }
    }

    /// A table of [`sample`] rows: files of so many rows each, in row groups of so many.
    pub(crate) fn of_samples(files: &[Range<i64>], row_group: usize) -> Self {
        let mut world = World::new(sample_schema());
        for rows in files {
            world.add(parquet_bytes(&[sample(rows.clone())], row_groups_of(row_group)), (rows.end - rows.start) as u64);
        }
        world
    }

    pub(crate) fn add(&mut self, bytes: Vec<u8>, record_count: u64) -> &mut DataFile {
        let path = format!("data/{}.parquet", self.files.len());
        self.files.push(DataFile {
            path: path.clone(),
            format: FileFormat::Parquet,
            file_size: bytes.len() as u64,
            record_count,
            spec_id: 0,
            partition: Arc::new(vec![]),
            sequence_number: 1,
            first_row_id: None,
            sort_order_id: None,
            split_offsets: vec![],
            encrypted: false,
            deletes: FileDeletes::default(),
        });
        self.objects.push((path, bytes));
        self.files.last_mut().unwrap()
    }

    pub(crate) fn select(mut self, names: &[&str]) -> Self {
        let fields = names.iter().map(|name| self.schema.resolve(name).unwrap()[0].clone()).collect();
        self.projection = Schema::new(0, fields).unwrap();
        self
    }

    pub(crate) fn plan(&self) -> (Arc<ScanPlan>, Arc<MemoryStore>) {
        let store = Arc::new(MemoryStore { round_trip: self.round_trip, ..MemoryStore::new(self.objects.clone()) });
        let mut blocks = Vec::new();
        for (number, file) in self.files.iter().enumerate() {
            let step = file.file_size.div_ceil(self.blocks_per_file).max(1);
            let mut start = 0;
            loop {
                let end = (start + step).min(file.file_size);
                blocks.push(Block::bytes(number as u32, start, end));
                start = end;
                if start >= file.file_size {
                    break;
                }
            }
        }
        let schema = Arc::new(self.schema.clone());
        let table = TableState {
            display_name: "t".into(),
            metadata_location: "m".into(),
            metadata: Arc::new(table_metadata(vec![self.schema.clone()])),
            store: store.clone(),
            notes: vec![],
            catalog_retries: 0,
        };
        let plan = ScanPlan {
            table: Arc::new(table),
            snapshot_id: Some(1),
            schema,
            projection: Arc::new(self.projection.clone()),
            filter: self.filter.clone().map(Arc::new),
            grant: fastdata_types::Grant::default(),
            files: Arc::new(self.files.clone()),
            deletes: Arc::new(self.deletes.clone()),
            blocks,
            report: PlanReport::default(),
        };
        (Arc::new(plan), store)
    }

    pub(crate) fn context(&self) -> ReadContext {
        ReadContext {
            budget: MemoryBudget::new(self.budget),
            pool: Arc::new(rayon::ThreadPoolBuilder::new().num_threads(self.threads).build().unwrap()),
            stats: Arc::new(StatsCollector::default()),
        }
    }

    pub(crate) fn open(&self) -> (BatchStream, ReadContext, Arc<MemoryStore>) {
        let (plan, store) = self.plan();
        let context = self.context();
        (read(plan, self.options.clone(), context.clone()).unwrap(), context, store)
    }

    pub(crate) async fn batches(&self) -> Result<Vec<RecordBatch>> {
        let (mut stream, context, _store) = self.open();
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        assert!(stream.next().await.is_none());
        drop(stream);
        settled(&context).await;
        Ok(batches)
    }

    /// All rows in one batch.
    pub(crate) async fn rows(&self) -> Result<RecordBatch> {
        let batches = self.batches().await?;
        let schema = arrow_schema(&self.projection, self.options.strings)?;
        Ok(concat_batches(&Arc::new(schema), &batches).unwrap())
    }
}

/// Waits until every permit is back: nothing of the scan is left.
pub(crate) async fn settled(context: &ReadContext) {
    let all = MemoryBudget::new(context.budget.total()).available();
    for _ in 0..2000 {
        if context.budget.available() == all {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{} of {all} bytes are back", context.budget.available());
}

/// A schema of plain columns with ids, and the Arrow schema of a file that stores them.
pub(crate) fn with_ids(schema: &Schema) -> Arc<ArrowSchema> {
    Arc::new(arrow_schema(schema, StringEncoding::Utf8).unwrap())
}

/// A column of its own.
pub(crate) fn one_column(id: i32, name: &str, ty: PrimitiveType, array: ArrayRef) -> (Schema, RecordBatch) {
    let schema = Schema::new(0, vec![Field::optional(id, name, ty)]).unwrap();
    let fields: Vec<ArrowField> = with_ids(&schema).fields().iter().map(|f| f.as_ref().clone()).collect();
    let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), vec![array]).unwrap();
    (schema, batch)
}
