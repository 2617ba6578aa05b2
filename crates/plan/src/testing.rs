//! Tables for tests: manifests written byte by byte, and a store in memory that remembers what was opened.

use async_trait::async_trait;
use bytes::Bytes;
use fastdata_types::catalog::TableState;
use fastdata_types::expr::{Column, CompareOp};
use fastdata_types::metadata::{LogEntry, ManifestSource, PartitionField, PartitionSpec, Snapshot, SnapshotRef, TableMetadata};
use fastdata_types::schema::{Field, PrimitiveType, Schema, Type};
use fastdata_types::store::StoreCounters;
use fastdata_types::transform::Transform;
use fastdata_types::{Error, ErrorKind, Expr, Result, ScanPlan, ScanRequest, Stage, Store, Value};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex};

pub(crate) fn long(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

pub(crate) fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    long(out, value.len() as i64);
    out.extend(value);
}

/// A value of `["null", T]`.
fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => long(out, 0),
        Some(value) => {
            long(out, 1);
            write(out, value);
        }
    }
}

/// An Avro container of blocks that are already compressed.
pub(crate) fn container(schema: &str, codec: &str, headers: &[(&str, &str)], blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"Obj\x01".to_vec();
    let headers: Vec<(&str, &str)> = [("avro.schema", schema), ("avro.codec", codec)].into_iter().chain(headers.iter().copied()).collect();
    long(&mut out, headers.len() as i64);
    for (key, value) in headers {
        bytes(&mut out, key.as_bytes());
        bytes(&mut out, value.as_bytes());
    }
    long(&mut out, 0);
    out.extend([7; 16]);
    for (count, block) in blocks {
        long(&mut out, *count);
        bytes(&mut out, block);
        out.extend([7; 16]);
    }
    out
}

pub(crate) fn deflate(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[derive(Debug, Clone)]
pub(crate) struct EntrySpec {
    pub status: i64,
    pub snapshot_id: Option<i64>,
    pub sequence_number: Option<i64>,
    pub content: i64,
    pub path: String,
    pub format: &'static str,
    pub partition: Vec<Option<Value>>,
    pub record_count: i64,
    pub file_size: i64,
    pub value_counts: BTreeMap<i32, i64>,
    pub null_counts: BTreeMap<i32, i64>,
    pub nan_counts: BTreeMap<i32, i64>,
    pub lower: BTreeMap<i32, Vec<u8>>,
    pub upper: BTreeMap<i32, Vec<u8>>,
    pub key_metadata: Option<Vec<u8>>,
    pub split_offsets: Option<Vec<i64>>,
    pub equality_ids: Option<Vec<i64>>,
    pub first_row_id: Option<i64>,
    pub referenced: Option<String>,
    pub content_offset: Option<i64>,
    pub content_size: Option<i64>,
}

impl EntrySpec {
    pub fn data(path: &str) -> Self {
        EntrySpec {
            status: 1,
            snapshot_id: None,
            sequence_number: None,
            content: 0,
            path: path.to_owned(),
            format: "PARQUET",
            partition: vec![],
            record_count: 10,
            file_size: 1000,
            value_counts: BTreeMap::new(),
            null_counts: BTreeMap::new(),
            nan_counts: BTreeMap::new(),
            lower: BTreeMap::new(),
            upper: BTreeMap::new(),
            key_metadata: None,
            split_offsets: None,
            equality_ids: None,
            first_row_id: None,
            referenced: None,
            content_offset: None,
            content_size: None,
        }
    }

    pub fn positions(path: &str) -> Self {
        EntrySpec { content: 1, ..EntrySpec::data(path) }
    }

    pub fn equality(path: &str, ids: &[i64]) -> Self {
        EntrySpec { content: 2, equality_ids: Some(ids.to_vec()), ..EntrySpec::data(path) }
    }

    pub fn vector(path: &str, offset: i64, data_file: &str) -> Self {
        EntrySpec {
            content: 1,
            format: "PUFFIN",
            referenced: Some(data_file.to_owned()),
            content_offset: Some(offset),
            content_size: Some(40),
            ..EntrySpec::data(path)
        }
    }

    pub fn existing(mut self, sequence_number: i64) -> Self {
        self.status = 0;
        self.sequence_number = Some(sequence_number);
        self
    }

    pub fn partition(mut self, values: Vec<Option<Value>>) -> Self {
        self.partition = values;
        self
    }

    pub fn bounds(mut self, id: i32, lower: &Value, upper: &Value) -> Self {
        self.lower.insert(id, lower.to_bytes().unwrap());
        self.upper.insert(id, upper.to_bytes().unwrap());
        self
    }
}

/// A partition column as a manifest writes it: id, name, Avro type.
pub(crate) type PartitionColumn = (i32, &'static str, &'static str);

fn map_type(name: &str, ids: (i32, i32, i32), value: &str) -> String {
    format!(
        r#"{{"name":"{name}","field-id":{},"type":["null",{{"type":"array","logicalType":"map","items":{{"type":"record","name":"k{}","fields":[{{"name":"key","type":"int","field-id":{}}},{{"name":"value","type":"{value}","field-id":{}}}]}}}}]}}"#,
        ids.0, ids.1, ids.1, ids.2
    )
}

pub(crate) fn manifest_schema(partition: &[PartitionColumn]) -> String {
    let columns: Vec<String> =
        partition.iter().map(|(id, name, ty)| format!(r#"{{"name":"{name}","type":["null",{ty}],"field-id":{id}}}"#)).collect();
    let fields = [
        r#"{"name":"content","type":"int","field-id":134}"#.to_owned(),
        r#"{"name":"file_path","type":"string","field-id":100}"#.to_owned(),
        r#"{"name":"file_format","type":"string","field-id":101}"#.to_owned(),
        format!(r#"{{"name":"partition","field-id":102,"type":{{"type":"record","name":"r102","fields":[{}]}}}}"#, columns.join(",")),
        r#"{"name":"record_count","type":"long","field-id":103}"#.to_owned(),
        r#"{"name":"file_size_in_bytes","type":"long","field-id":104}"#.to_owned(),
        map_type("column_sizes", (108, 117, 118), "long"),
        map_type("value_counts", (109, 119, 120), "long"),
        map_type("null_value_counts", (110, 121, 122), "long"),
        map_type("nan_value_counts", (137, 138, 139), "long"),
        map_type("lower_bounds", (125, 126, 127), "bytes"),
        map_type("upper_bounds", (128, 129, 130), "bytes"),
        r#"{"name":"key_metadata","type":["null","bytes"],"field-id":131}"#.to_owned(),
        r#"{"name":"split_offsets","type":["null",{"type":"array","items":"long","element-id":133}],"field-id":132}"#.to_owned(),
        r#"{"name":"equality_ids","type":["null",{"type":"array","items":"int","element-id":136}],"field-id":135}"#.to_owned(),
        r#"{"name":"sort_order_id","type":["null","int"],"field-id":140}"#.to_owned(),
        r#"{"name":"first_row_id","type":["null","long"],"field-id":142}"#.to_owned(),
        r#"{"name":"referenced_data_file","type":["null","string"],"field-id":143}"#.to_owned(),
        r#"{"name":"content_offset","type":["null","long"],"field-id":144}"#.to_owned(),
        r#"{"name":"content_size_in_bytes","type":["null","long"],"field-id":145}"#.to_owned(),
    ];
    format!(
        r#"{{"type":"record","name":"manifest_entry","fields":[{{"name":"status","type":"int","field-id":0}},{{"name":"snapshot_id","type":["null","long"],"field-id":1}},{{"name":"sequence_number","type":["null","long"],"field-id":3}},{{"name":"file_sequence_number","type":["null","long"],"field-id":4}},{{"name":"data_file","field-id":2,"type":{{"type":"record","name":"r2","fields":[{}]}}}}]}}"#,
        fields.join(",")
    )
}

fn map<V>(out: &mut Vec<u8>, map: &BTreeMap<i32, V>, write: impl Fn(&mut Vec<u8>, &V)) {
    optional(out, (!map.is_empty()).then_some(map), |out, map| {
        long(out, map.len() as i64);
        for (key, value) in map {
            long(out, i64::from(*key));
            write(out, value);
        }
        long(out, 0);
    });
}

fn avro_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Boolean(v) => out.push(u8::from(*v)),
        Value::Int(v) | Value::Date(v) => long(out, i64::from(*v)),
        Value::Long(v) | Value::Timestamp(v) | Value::Timestamptz(v) | Value::Time(v) => long(out, *v),
        Value::Float(_) | Value::Double(_) | Value::Uuid(_) | Value::Fixed(_) => out.extend(value.to_bytes().unwrap()),
        other => bytes(out, &other.to_bytes().unwrap()),
    }
}

pub(crate) fn entry(out: &mut Vec<u8>, e: &EntrySpec) {
    long(out, e.status);
    optional(out, e.snapshot_id, long);
    optional(out, e.sequence_number, long);
    // Nothing may ever read the file sequence number.
    optional(out, Some(987_654_321), long);
    long(out, e.content);
    bytes(out, e.path.as_bytes());
    bytes(out, e.format.as_bytes());
    for value in &e.partition {
        optional(out, value.as_ref(), avro_value);
    }
    long(out, e.record_count);
    long(out, e.file_size);
    map(out, &BTreeMap::from([(1, 77)]), |out, v| long(out, *v));
    for counts in [&e.value_counts, &e.null_counts, &e.nan_counts] {
        map(out, counts, |out, v| long(out, *v));
    }
    for bounds in [&e.lower, &e.upper] {
        map(out, bounds, |out, v| bytes(out, v));
    }
    optional(out, e.key_metadata.as_deref(), bytes);
    for list in [&e.split_offsets, &e.equality_ids] {
        optional(out, list.as_ref(), |out, list| {
            if !list.is_empty() {
                long(out, list.len() as i64);
                list.iter().for_each(|v| long(out, *v));
            }
            long(out, 0);
        });
    }
    optional(out, None::<i64>, long);
    optional(out, e.first_row_id, long);
    optional(out, e.referenced.as_deref(), |out, v| bytes(out, v.as_bytes()));
    optional(out, e.content_offset, long);
    optional(out, e.content_size, long);
}

pub(crate) fn manifest(partition: &[PartitionColumn], entries: &[EntrySpec]) -> Vec<u8> {
    let blocks: Vec<(i64, Vec<u8>)> = entries
        .chunks(100)
        .map(|chunk| {
            let mut block = Vec::new();
            chunk.iter().for_each(|e| entry(&mut block, e));
            (chunk.len() as i64, deflate(&block))
        })
        .collect();
    container(&manifest_schema(partition), "deflate", &[("partition-spec-id", "0")], &blocks)
}

/// Contains null, contains NaN, lower and upper bound.
pub(crate) type Summary = (bool, Option<bool>, Option<Vec<u8>>, Option<Vec<u8>>);

#[derive(Debug, Clone, Default)]
pub(crate) struct ListedManifest {
    pub path: String,
    pub spec_id: i32,
    pub content: i64,
    pub sequence_number: i64,
    pub added_snapshot_id: i64,
    pub counts: Option<(i64, i64)>,
    /// By field.
    pub partitions: Option<Vec<Summary>>,
    pub first_row_id: Option<i64>,
    pub key_metadata: Option<Vec<u8>>,
}

pub(crate) fn manifest_list(manifests: &[ListedManifest]) -> Vec<u8> {
    let schema = r#"{"type":"record","name":"manifest_file","fields":[
        {"name":"manifest_path","type":"string","field-id":500},{"name":"manifest_length","type":"long","field-id":501},
        {"name":"partition_spec_id","type":"int","field-id":502},{"name":"content","type":"int","field-id":517},
        {"name":"sequence_number","type":"long","field-id":515},{"name":"min_sequence_number","type":"long","field-id":516},
        {"name":"added_snapshot_id","type":"long","field-id":503},
        {"name":"added_data_files_count","type":["null","int"],"field-id":504},{"name":"existing_files_count","type":["null","int"]},
        {"name":"partitions","field-id":507,"type":["null",{"type":"array","element-id":508,"items":{"type":"record","name":"r508","fields":[
            {"name":"contains_null","type":"boolean","field-id":509},{"name":"contains_nan","type":["null","boolean"],"field-id":518},
            {"name":"lower_bound","type":["null","bytes"],"field-id":510},{"name":"upper_bound","type":["null","bytes"],"field-id":511}]}}]},
        {"name":"key_metadata","type":["null","bytes"],"field-id":519},
        {"name":"first_row_id","type":["null","long"],"field-id":520}]}"#;
    let mut block = Vec::new();
    for m in manifests {
        bytes(&mut block, m.path.as_bytes());
        long(&mut block, 1 << 62);
        long(&mut block, i64::from(m.spec_id));
        long(&mut block, m.content);
        long(&mut block, m.sequence_number);
        long(&mut block, 0);
        long(&mut block, m.added_snapshot_id);
        optional(&mut block, m.counts.map(|c| c.0), long);
        optional(&mut block, m.counts.map(|c| c.1), long);
        optional(&mut block, m.partitions.as_ref(), |out, summaries| {
            long(out, summaries.len() as i64);
            for (null, nan, lower, upper) in summaries {
                out.push(u8::from(*null));
                optional(out, *nan, |out, v| out.push(u8::from(v)));
                optional(out, lower.as_deref(), bytes);
                optional(out, upper.as_deref(), bytes);
            }
            long(out, 0);
        });
        optional(&mut block, m.key_metadata.as_deref(), bytes);
        optional(&mut block, m.first_row_id, long);
    }
    container(schema, "null", &[], &[(manifests.len() as i64, block)])
}

/// Objects by location. `s3a://` and `s3://` are one; below `secret/` nothing may be opened.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    pub objects: HashMap<String, Bytes>,
    pub opened: Mutex<Vec<String>>,
}

#[async_trait]
impl Store for MemoryStore {
    fn spelling(&self, location: &str) -> String {
        location.replacen("s3a://", "s3://", 1)
    }
    fn check(&self, location: &str) -> Result<()> {
        match location.starts_with("secret/") {
            true => Err(Error::new(ErrorKind::LocationNotAllowed, Stage::Store, format!("'{location}' is not allowed"))),
            false => Ok(()),
        }
    }
    async fn size(&self, location: &str) -> Result<u64> {
        Ok(self.read_all(location, u64::MAX).await?.len() as u64)
    }
    async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let all = self.read_all(location, u64::MAX).await?;
        Ok(ranges.iter().map(|range| all.slice(range.start as usize..range.end as usize)).collect())
    }
    async fn read_all(&self, location: &str, limit: u64) -> Result<Bytes> {
        self.check(location)?;
        self.opened.lock().unwrap().push(location.to_owned());
        let missing = || Error::new(ErrorKind::MissingFile, Stage::Store, format!("'{location}' is not there"));
        let object = self.objects.get(location).cloned().ok_or_else(missing)?;
        if object.len() as u64 > limit { Err(Error::limit(Stage::Store, "too large")) } else { Ok(object) }
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

/// A table of one snapshot (id 1) at `metadata`, whose manifests and store are filled in by the test.
pub(crate) struct TestTable {
    pub metadata: TableMetadata,
    pub store: MemoryStore,
    pub manifests: Vec<ListedManifest>,
}

pub(crate) fn snapshot(id: i64, parent_id: Option<i64>, operation: &str) -> Snapshot {
    Snapshot {
        id,
        parent_id,
        sequence_number: id,
        timestamp_ms: id * 1000,
        manifests: ManifestSource::List(format!("list-{id}")),
        operation: Some(operation.to_owned()),
        summary: BTreeMap::new(),
        schema_id: Some(0),
        first_row_id: None,
        key_id: None,
    }
}

pub(crate) fn metadata(schema: Schema, specs: Vec<PartitionSpec>, snapshots: Vec<Snapshot>) -> TableMetadata {
    let current = snapshots.last().map(|s| s.id);
    TableMetadata {
        format_version: 3,
        uuid: None,
        location: "s3://bucket/table".into(),
        last_updated_ms: 0,
        last_sequence_number: 0,
        current_schema_id: schema.id,
        schemas: BTreeMap::from([(schema.id, Arc::new(schema))]),
        default_spec_id: specs.last().map_or(0, |s| s.id),
        partition_specs: specs.into_iter().map(|s| (s.id, Arc::new(s))).collect(),
        sort_orders: BTreeMap::new(),
        default_sort_order_id: 0,
        properties: BTreeMap::new(),
        current_snapshot_id: current,
        snapshot_index: snapshots.iter().enumerate().map(|(at, s)| (s.id, at)).collect(),
        snapshot_log: snapshots.iter().map(|s| LogEntry { timestamp_ms: s.timestamp_ms, snapshot_id: s.id }).collect(),
        refs: current.map(|id| ("main".to_owned(), SnapshotRef { snapshot_id: id, is_branch: true })).into_iter().collect(),
        snapshots: snapshots.into_iter().map(Arc::new).collect(),
        next_row_id: None,
        name_mapping: None,
    }
}

/// `id` long, `name` string, `f` double, `day` date, `ts` timestamp, `u` uuid.
pub(crate) fn schema() -> Schema {
    Schema::new(
        0,
        vec![
            Field::required(1, "id", PrimitiveType::Long),
            Field::optional(2, "name", PrimitiveType::String),
            Field::optional(3, "f", PrimitiveType::Double),
            Field::optional(4, "day", PrimitiveType::Date),
            Field::optional(5, "ts", PrimitiveType::Timestamp),
            Field::optional(6, "u", PrimitiveType::Uuid),
            Field::optional(7, "s", Type::structure(vec![Field::optional(8, "x", PrimitiveType::Int)])),
            Field::optional(9, "l", Type::list(10, false, PrimitiveType::Int)),
        ],
    )
    .unwrap()
}

pub(crate) fn spec(id: i32, fields: &[(i32, &str)]) -> PartitionSpec {
    let field = |(at, (source, transform)): (usize, &(i32, &str))| PartitionField {
        source_id: *source,
        field_id: 1000 + at as i32,
        name: format!("p{at}"),
        transform: Transform::parse(transform),
    };
    PartitionSpec { id, fields: fields.iter().enumerate().map(field).collect() }
}

impl TestTable {
    pub fn new(specs: Vec<PartitionSpec>) -> Self {
        TestTable {
            metadata: metadata(schema(), specs, vec![snapshot(1, None, "append")]),
            store: MemoryStore::default(),
            manifests: vec![],
        }
    }

    pub fn unpartitioned() -> Self {
        TestTable::new(vec![spec(0, &[])])
    }

    /// Adds a manifest; `listed` says what its list says, path apart.
    pub fn manifest(mut self, listed: ListedManifest, partition: &[PartitionColumn], entries: &[EntrySpec]) -> Self {
        let path = format!("m{}", self.manifests.len());
        self.store.objects.insert(path.clone(), manifest(partition, entries).into());
        self.manifests.push(ListedManifest { path, ..listed });
        self
    }

    pub fn data(self, sequence_number: i64, entries: &[EntrySpec]) -> Self {
        self.manifest(ListedManifest { sequence_number, added_snapshot_id: 1, ..Default::default() }, &[], entries)
    }

    pub fn deletes(self, sequence_number: i64, entries: &[EntrySpec]) -> Self {
        self.manifest(ListedManifest { sequence_number, content: 1, added_snapshot_id: 1, ..Default::default() }, &[], entries)
    }

    pub fn state(mut self) -> Arc<TableState> {
        self.store.objects.entry("list-1".to_owned()).or_insert_with(|| manifest_list(&self.manifests).into());
        Arc::new(TableState {
            display_name: "ns.t".into(),
            metadata_location: "v1.metadata.json".into(),
            metadata: Arc::new(self.metadata),
            store: Arc::new(self.store),
            notes: vec![],
            catalog_retries: 0,
        })
    }

    pub async fn plan(self, filter: Option<Expr>) -> Result<ScanPlan> {
        plan(self.state(), &ScanRequest::table("ns.t"), filter).await
    }
}

pub(crate) async fn plan(table: Arc<TableState>, request: &ScanRequest, filter: Option<Expr>) -> Result<ScanPlan> {
    let selection = crate::select(&table.metadata, request)?;
    let projection = crate::project(&selection.bindable_schema(&table.metadata)?, &request.columns, selection.schema())?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().map_err(|e| Error::internal(Stage::Plan, e.to_string()))?;
    crate::plan(table, request, selection, projection, filter.map(Arc::new), &Arc::new(pool)).await
}

pub(crate) fn paths(plan: &ScanPlan) -> Vec<&str> {
    plan.files.iter().map(|file| file.path.as_str()).collect()
}

pub(crate) fn column(id: i32, ty: PrimitiveType) -> Expr {
    Expr::Column(Column { id, path: vec![format!("c{id}")], ty: ty.into() })
}

pub(crate) fn literal(value: Value) -> Expr {
    let ty = value.primitive_type().unwrap();
    Expr::Literal(Some(value), ty)
}

pub(crate) fn compare(left: Expr, op: CompareOp, right: Expr) -> Expr {
    Expr::Compare { op, left: Box::new(left), right: Box::new(right) }
}

/// `id op value`.
pub(crate) fn id_is(op: CompareOp, value: i64) -> Expr {
    compare(column(1, PrimitiveType::Long), op, literal(Value::Long(value)))
}
