//! From a snapshot to its live files: manifest lists and manifests, fetched and decoded in parallel.
//!
//! Contract: manifests that their summaries rule out, or that hold no live file, are not opened. Sequence numbers, snapshot ids and row
//! ids are inherited as the specification says ("Manifest Entry Fields", "First Row ID Inheritance"). Deleted entries are never live. Entries, files and bytes
//! are capped for the whole plan, so that a manifest listed ten thousand times ends in a result or in `limit-exceeded`.

use crate::manifest::entry::{Entry, ManifestReader, Status};
use crate::manifest::list::{self, ManifestFile};
use crate::manifest::partition::PartitionReader;
use crate::prune::column::ColumnStats;
use crate::prune::{Domain, Pruner, partition};
use bytes::Bytes;
use fastdata_types::metadata::{ManifestSource, PartitionSpec, Snapshot};
use fastdata_types::plan::{DataFile, DeleteFile, DeleteKind, FileDeletes, FileFormat};
use fastdata_types::schema::{PrimitiveType, metadata_column};
use fastdata_types::{Error, ErrorKind, Result, Stage, TableState, Value};
use futures::{StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Manifests fetched and decoded at once: from a near and from a far store, where each costs a round trip and now and then two.
const CONCURRENT: (usize, usize) = (16, 64);
/// Of those that are larger than this, no more at once than from a near store.
const SMALL_BYTES: u64 = 1 << 20;
/// Most manifests are far below this; larger ones are fetched and decoded one at a time.
const ORDINARY_BYTES: u64 = 16 << 20;
const MAX_BYTES: u64 = 256 << 20;
/// Entries looked at in one plan.
const MAX_ENTRIES: u64 = 50_000_000;
/// Files kept in one plan.
const MAX_FILES: u64 = 4_000_000;
/// Partition tuples remembered per manifest.
const MAX_TUPLES: usize = 100_000;

/// The turns that a manifest was read in, to be kept as long as its bytes: one for what is not small, and one more for what is large.
type Turns<'a> = [Option<SemaphorePermit<'a>>; 2];

/// One manifest to open.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub manifest: ManifestFile,
    /// Incremental: only what this snapshot added.
    pub added_by: Option<i64>,
}

/// What every manifest of a plan is read with.
pub(crate) struct Reading {
    pub table: Arc<TableState>,
    /// Decodes manifests.
    pub pool: Arc<rayon::ThreadPool>,
    pub pruner: Option<Pruner>,
    not_small: Semaphore,
    one_large: Semaphore,
    entries: AtomicU64,
    files: AtomicU64,
}

/// The live files of a manifest that may match.
#[derive(Default)]
pub(crate) struct DataManifest {
    pub files: Vec<DataFile>,
    pub considered: u64,
    pub pruned_by_partition: u64,
    pub pruned_by_bounds: u64,
}

impl Reading {
    pub fn new(table: Arc<TableState>, pool: Arc<rayon::ThreadPool>, pruner: Option<Pruner>) -> Self {
        Reading {
            table,
            pool,
            pruner,
            not_small: Semaphore::new(CONCURRENT.0),
            one_large: Semaphore::new(1),
            entries: AtomicU64::new(0),
            files: AtomicU64::new(0),
        }
    }

    /// The manifests of a snapshot, as listed.
    pub async fn list(self: &Arc<Self>, snapshot: &Snapshot) -> Result<Vec<ManifestFile>> {
        match &snapshot.manifests {
            ManifestSource::Inline(paths) => Ok(paths.iter().map(|path| ManifestFile::inline(path)).collect()),
            ManifestSource::List(location) => {
                if snapshot.key_id.is_some() {
                    return Err(self.encrypted("manifest list", location));
                }
                let (bytes, _turns) = self.fetch(location, None).await?;
                let location = location.clone();
                on_pool(&self.pool, move || list::read(&location, &bytes)).await.map_err(|e| self.name_table(e))
            }
        }
    }

    pub async fn data(self: &Arc<Self>, listed: Vec<Listed>) -> Result<Vec<DataManifest>> {
        self.each(listed, |reading, listed, bytes| reading.decode_data(listed, bytes)).await
    }

    pub async fn deletes(self: &Arc<Self>, listed: Vec<Listed>) -> Result<Vec<Vec<DeleteFile>>> {
        self.each(listed, |reading, listed, bytes| reading.decode_deletes(&listed.manifest, bytes)).await
    }

    /// Fetches and decodes each manifest; results in the order listed.
    async fn each<T: Send + 'static>(
        self: &Arc<Self>,
        listed: Vec<Listed>,
        decode: impl Fn(&Reading, &Listed, &[u8]) -> Result<T> + Copy + Send + 'static,
    ) -> Result<Vec<T>> {
        let is_far = listed.first().is_some_and(|listed| self.table.store.is_far(&listed.manifest.path));
        let concurrent = if is_far { CONCURRENT.1 } else { CONCURRENT.0 };
        let jobs = listed.into_iter().map(|listed| {
            let reading = Arc::clone(self);
            async move {
                if listed.manifest.encrypted {
                    return Err(reading.encrypted("manifest", &listed.manifest.path));
                }
                let (bytes, _turns) = reading.fetch(&listed.manifest.path, listed.manifest.stated_length).await?;
                let decoding = Arc::clone(&reading);
                on_pool(&reading.pool, move || decode(&decoding, &listed, &bytes)).await.map_err(|e| reading.name_table(e))
            }
        });
        futures::stream::iter(jobs).buffered(concurrent).try_collect().await
    }

    /// A file that its metadata says needs a key (spec "Snapshots" and "Manifest Lists").
    fn encrypted(&self, what: &str, location: &str) -> Error {
        self.name_table(Error::unsupported(Stage::Plan, format!("{what} '{location}' is encrypted, and encrypted tables are not read")))
    }

    /// A feature that is not read is refused with the name of the table that uses it.
    fn name_table(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Unsupported => error.context(format!("table '{}'", self.table.display_name)),
            _ => error,
        }
    }

    /// The whole file, and the turns that it was read in. The length that the list states is not relied on.
    async fn fetch(&self, location: &str, stated_length: Option<u64>) -> Result<(Bytes, Turns<'_>)> {
        let store = &self.table.store;
        let closed = |_| Error::internal(Stage::Plan, "the turn for large manifests was closed");
        if stated_length.is_some_and(|length| length <= SMALL_BYTES) {
            match store.read_all(location, SMALL_BYTES).await {
                Err(e) if e.kind() == ErrorKind::LimitExceeded => {}
                other => return Ok((other?, [None, None])),
            }
        }
        let turn = self.not_small.acquire().await.map_err(closed)?;
        match store.read_all(location, ORDINARY_BYTES).await {
            Err(e) if e.kind() == ErrorKind::LimitExceeded => {
                let alone = self.one_large.acquire().await.map_err(closed)?;
                Ok((store.read_all(location, MAX_BYTES).await?, [Some(turn), Some(alone)]))
            }
            other => Ok((other?, [Some(turn), None])),
        }
    }

    /// Whether the summaries leave it possible that a file of the manifest holds a matching row.
    pub fn may_match(&self, manifest: &ManifestFile) -> bool {
        let Some(pruner) = &self.pruner else { return true };
        let spec = manifest.spec_id.and_then(|id| self.table.metadata.partition_specs.get(&id));
        let domains = match (&manifest.partitions, spec) {
            (Some(summaries), Some(spec)) => partition::of_summaries(pruner.columns(), spec, &self.types_of(spec), summaries),
            _ => pruner.columns().iter().map(|column| Domain::of_type(&column.ty)).collect(),
        };
        pruner.may_match(&domains)
    }

    fn types_of(&self, spec: &PartitionSpec) -> Vec<PrimitiveType> {
        spec.fields.iter().map(|field| self.table.metadata.partition_field_type(field)).collect()
    }

    fn open<'a>(&self, manifest: &'a ManifestFile, reader: &'a ManifestReader<'a>) -> Result<OpenManifest<'a>> {
        let metadata = &self.table.metadata;
        let id = manifest.spec_id.or_else(|| reader.header_spec_id()).unwrap_or(metadata.default_spec_id);
        // The manifest's own header may hold it, but whatever comes later asks the table's metadata what a partition means.
        let spec = metadata.partition_specs.get(&id).cloned().ok_or_else(|| {
            let message = format!(
                "table '{}': manifest '{}' has partition spec {id}, which the table's metadata does not hold",
                self.table.display_name, manifest.path
            );
            Error::corrupt(Stage::Plan, message).advice("restore the partition spec in the table's metadata")
        })?;
        let partition = reader.partition_reader(&spec, self.types_of(&spec));
        Ok(OpenManifest { manifest, reader, spec, partition, tuples: HashMap::new(), last: None })
    }

    fn decode_data(&self, listed: &Listed, bytes: &[u8]) -> Result<DataManifest> {
        let manifest = &listed.manifest;
        let reader = ManifestReader::open(&manifest.path, bytes)?;
        let mut open = self.open(manifest, &reader)?;
        let columns = self.pruner.as_ref().map_or(&[][..], Pruner::columns);
        let mut out = DataManifest::default();
        let mut next_row_id = manifest.first_row_id;
        let mut live = 0_u64;
        reader.for_each(|entry| {
            self.count_entry()?;
            let status = entry.status()?;
            if status == Status::Deleted {
                return Ok(());
            }
            live += 1;
            let record_count = entry.record_count()?;
            let first_row_id = inherit_row_id(entry, &mut next_row_id, record_count)?;
            if let Some(snapshot) = listed.added_by
                && (status != Status::Added || entry.snapshot_id().or(manifest.added_snapshot_id) != Some(snapshot))
            {
                return Ok(());
            }
            out.considered += 1;
            if entry.content() != 0 {
                return Err(entry.corrupt("a manifest of data files holds a delete file"));
            }
            let tuple = open.tuple(entry, self.pruner.as_ref())?;
            if !tuple.may_match {
                out.pruned_by_partition += 1;
                return Ok(());
            }
            if let Some(pruner) = &self.pruner {
                let mut stats = vec![ColumnStats::default(); columns.len()];
                reader.stats(entry, columns, &mut stats)?;
                let known = stats.iter().zip(columns).zip(&tuple.domains);
                let domains: Vec<Domain> =
                    known.map(|((stats, column), partition)| partition.and(&stats.domain(column, record_count))).collect();
                if !pruner.may_match(&domains) {
                    out.pruned_by_bounds += 1;
                    return Ok(());
                }
            }
            let partition = Arc::clone(&tuple.values);
            let file_size = entry.file_size()?;
            let file = DataFile {
                path: entry.path()?.to_owned(),
                format: FileFormat::parse(entry.format()?),
                file_size,
                record_count,
                spec_id: open.spec.id,
                partition,
                sequence_number: open.sequence_number(entry, status)?,
                first_row_id,
                sort_order_id: entry.sort_order_id(),
                split_offsets: entry.split_offsets(i64::try_from(file_size).unwrap_or(i64::MAX))?,
                encrypted: entry.encrypted(),
                deletes: FileDeletes::default(),
            };
            self.check_readable(&file)?;
            self.count_file()?;
            out.files.push(file);
            Ok(())
        })?;
        check_complete(manifest, live)?;
        Ok(out)
    }

    fn decode_deletes(&self, manifest: &ManifestFile, bytes: &[u8]) -> Result<Vec<DeleteFile>> {
        let reader = ManifestReader::open(&manifest.path, bytes)?;
        let mut open = self.open(manifest, &reader)?;
        let mut files = Vec::new();
        let mut live = 0_u64;
        reader.for_each(|entry| {
            self.count_entry()?;
            let status = entry.status()?;
            if status == Status::Deleted {
                return Ok(());
            }
            live += 1;
            let tuple = open.tuple(entry, self.pruner.as_ref())?;
            let partition = Arc::clone(&tuple.values);
            self.count_file()?;
            files.push(DeleteFile {
                path: entry.path()?.to_owned(),
                format: FileFormat::parse(entry.format()?),
                file_size: entry.file_size()?,
                record_count: entry.record_count()?,
                spec_id: open.spec.id,
                partition,
                sequence_number: open.sequence_number(entry, status)?,
                encrypted: entry.encrypted(),
                kind: delete_kind(&reader, entry)?,
            });
            Ok(())
        })?;
        check_complete(manifest, live)?;
        Ok(files)
    }

    fn check_readable(&self, file: &DataFile) -> Result<()> {
        let feature = match &file.format {
            _ if file.encrypted => "it is encrypted".to_owned(),
            FileFormat::Parquet => return Ok(()),
            other => format!("its format is '{}'", other.name()),
        };
        Err(Error::unsupported(Stage::Plan, format!("data file '{}' cannot be read: {feature}", file.path))
            .advice("plain Parquet data files are read; rewrite the file as one"))
    }

    fn count_entry(&self) -> Result<()> {
        match self.entries.fetch_add(1, Ordering::Relaxed) < MAX_ENTRIES {
            true => Ok(()),
            false => Err(Error::limit(Stage::Plan, format!("the snapshot's manifests hold more than {MAX_ENTRIES} entries"))
                .advice("filter on a partition column, so that fewer manifests are opened")),
        }
    }

    fn count_file(&self) -> Result<()> {
        match self.files.fetch_add(1, Ordering::Relaxed) < MAX_FILES {
            true => Ok(()),
            false => Err(Error::limit(Stage::Plan, format!("the scan has more than {MAX_FILES} files"))
                .advice("filter on a partition column, or compact the table's files")),
        }
    }
}

/// A manifest with what is known of its partition tuples.
struct OpenManifest<'a> {
    manifest: &'a ManifestFile,
    reader: &'a ManifestReader<'a>,
    spec: Arc<PartitionSpec>,
    partition: PartitionReader,
    /// By encoded tuple: most manifests hold few different ones.
    tuples: HashMap<Vec<u8>, Arc<Tuple>>,
    last: Option<(Vec<u8>, Arc<Tuple>)>,
}

struct Tuple {
    values: Arc<Vec<Option<Value>>>,
    /// By column of the pruner.
    domains: Vec<Domain>,
    may_match: bool,
}

impl OpenManifest<'_> {
    fn tuple(&mut self, entry: &Entry<'_>, pruner: Option<&Pruner>) -> Result<Arc<Tuple>> {
        let bytes = entry.partition_bytes();
        if let Some((last, tuple)) = &self.last
            && last == bytes
        {
            return Ok(Arc::clone(tuple));
        }
        let tuple = match self.tuples.get(bytes) {
            Some(tuple) => Arc::clone(tuple),
            None => {
                let values = self.reader.partition_value(&self.partition, bytes)?;
                let columns = pruner.map_or(&[][..], Pruner::columns);
                let domains = partition::of_tuple(columns, &self.spec, &values, self.partition.present());
                let may_match = pruner.is_none_or(|pruner| pruner.may_match(&domains));
                let tuple = Arc::new(Tuple { values: Arc::new(values), domains, may_match });
                if self.tuples.len() < MAX_TUPLES {
                    self.tuples.insert(bytes.to_vec(), Arc::clone(&tuple));
                }
                tuple
            }
        };
        self.last = Some((bytes.to_vec(), Arc::clone(&tuple)));
        Ok(tuple)
    }

    /// Only added entries inherit (spec "Sequence Number Inheritance"); before version 2 every number is 0.
    fn sequence_number(&self, entry: &Entry<'_>, status: Status) -> Result<i64> {
        match (entry.sequence_number(), status) {
            (Some(number), _) => Ok(number),
            (None, Status::Added) => Ok(self.manifest.sequence_number),
            (None, _) if self.manifest.sequence_number == 0 || !self.reader.has_sequence_numbers() => Ok(0),
            (None, _) => Err(entry.corrupt("an existing entry has no sequence number")),
        }
    }
}

/// The entry's own first row id, else the next one of the manifest, where that has any.
fn inherit_row_id(entry: &Entry<'_>, next: &mut Option<i64>, record_count: u64) -> Result<Option<i64>> {
    if let Some(own) = entry.first_row_id() {
        return Ok(Some(own));
    }
    let Some(first) = *next else { return Ok(None) };
    let after = i64::try_from(record_count).ok().and_then(|count| first.checked_add(count));
    *next = Some(after.ok_or_else(|| entry.corrupt("row ids do not fit 64 bits"))?);
    Ok(Some(first))
}

/// A manifest cut exactly between two blocks is still an Avro file: the list's counts tell.
fn check_complete(manifest: &ManifestFile, live: u64) -> Result<()> {
    match manifest.live_files() {
        Some(stated) if live < stated => {
            let message =
                format!("manifest '{}' is corrupt: it holds {live} live files where its manifest list says {stated}", manifest.path);
            Err(Error::corrupt(Stage::Plan, message).advice("restore the manifest from a backup"))
        }
        _ => Ok(()),
    }
}

fn delete_kind(reader: &ManifestReader<'_>, entry: &Entry<'_>) -> Result<DeleteKind> {
    match entry.content() {
        1 => {}
        2 => {
            let field_ids = entry.equality_ids()?;
            if field_ids.is_empty() {
                return Err(entry.corrupt("an equality delete file names no columns"));
            }
            return Ok(DeleteKind::Equality { field_ids });
        }
        0 => return Err(entry.corrupt("a manifest of delete files holds a data file")),
        _ => return Err(Error::unsupported(Stage::Plan, format!("'{}' holds files of a kind that is not known", reader.container.name()))),
    }
    let referenced = entry.referenced_data_file()?.map(str::to_owned);
    if entry.content_offset().is_none() && FileFormat::parse(entry.format()?) != FileFormat::Puffin {
        let referenced_data_file = match referenced {
            Some(path) => Some(path),
            None => path_of_bounds(reader, entry)?,
        };
        return Ok(DeleteKind::Position { referenced_data_file });
    }
    let unsigned = |value: Option<i64>| value.and_then(|v| u64::try_from(v).ok());
    match (referenced, unsigned(entry.content_offset()), unsigned(entry.content_size())) {
        (Some(referenced_data_file), Some(content_offset), Some(content_size)) => {
            Ok(DeleteKind::Vector { referenced_data_file, content_offset, content_size })
        }
        _ => Err(entry.corrupt("a deletion vector lacks its data file, offset or size")),
    }
}

/// The one data file of a position delete file whose path bounds are equal.
fn path_of_bounds(reader: &ManifestReader<'_>, entry: &Entry<'_>) -> Result<Option<String>> {
    let path = crate::prune::PruneColumn { id: metadata_column::DELETE_FILE_PATH, ty: PrimitiveType::String, trust_null_count: true };
    let mut stats = [ColumnStats::default()];
    reader.stats(entry, std::slice::from_ref(&path), &mut stats)?;
    let [ColumnStats { lower, upper, .. }] = stats;
    Ok(lower.filter(|_| lower == upper).and_then(|path| std::str::from_utf8(path).ok()).map(str::to_owned))
}

/// Runs CPU work on the decode pool; a panic there is an error here.
pub(crate) async fn on_pool<T: Send + 'static>(pool: &rayon::ThreadPool, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (send, receive) = tokio::sync::oneshot::channel();
    pool.spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Error::internal(Stage::Plan, "planning panicked")));
        // Nobody waits any more: the scan was given up.
        let _ = send.send(result);
    });
    receive.await.unwrap_or_else(|_| Err(Error::internal(Stage::Plan, "the decode pool went away")))
}

#[cfg(test)]
mod tests;
