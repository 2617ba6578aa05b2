//! The files of one snapshot: rows added, rows deleted in each of the three ways, files removed.
//!
//! Contract: nothing is visible before [`Change::commit`], which writes the manifests, the manifest list and the metadata file. Added files inherit
//! sequence numbers and row ids; manifests that lose files are rewritten with the rest as existing entries (spec "Manifest Entry Fields").

use crate::data_file::{FileOptions, write as write_parquet};
use crate::manifest::{self, Content, ContentFile, Entry, Status};
use crate::manifest_list::{self, ListContext, ManifestFile};
use crate::metadata::WrittenSnapshot;
use crate::metrics::MetricsMode;
use crate::partition::{Tuple, folder, key, split};
use crate::table::Table;
use crate::{cannot_write, misuse, puffin, values};
use arrow::array::RecordBatch;
use fastdata_types::metadata::{ManifestSource, Snapshot, SnapshotRef};
use fastdata_types::schema::metadata_column::{DELETE_FILE_PATH, DELETE_FILE_POS};
use fastdata_types::{Field, PrimitiveType, Result, Schema, Value};
use roaring::RoaringTreemap;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Fewer rows than this are written on the calling thread.
const PARALLEL_ROWS: usize = 50_000;

/// Deleted positions and how to lay them out.
#[derive(Debug, Clone)]
pub struct PositionDeletes {
    /// Data file and position. A null path, and a path that is no file of the table, deletes nothing and must do no harm.
    pub rows: Vec<(Option<String>, i64)>,
    /// One delete file per data file, which names it in the manifest; otherwise one per partition.
    pub file_scoped: bool,
    /// Lower and upper bound of the paths in the manifest.
    pub path_bounds: bool,
}

#[derive(Debug)]
pub struct Change<'t> {
    table: &'t mut Table,
    uuid: String,
    branch: Option<String>,
    operation: Option<String>,
    added: Vec<ContentFile>,
    removed: HashSet<String>,
    /// Data files whose vector is replaced or goes away.
    replaced_vectors: HashSet<String>,
    files_written: usize,
}

/// One file to be written.
struct Job {
    path: PathBuf,
    location: String,
    tuple: Tuple,
    batches: Vec<RecordBatch>,
}

impl<'t> Change<'t> {
    pub(crate) fn new(table: &'t mut Table) -> Self {
        let uuid = table.ids.uuid();
        Change {
            table,
            uuid,
            branch: None,
            operation: None,
            added: vec![],
            removed: HashSet::new(),
            replaced_vectors: HashSet::new(),
            files_written: 0,
        }
    }

    /// Commits to a branch instead of `main`. A branch that does not exist starts at the current snapshot.
    pub fn on_branch(mut self, name: &str) -> Self {
        self.branch = Some(name.to_owned());
        self
    }

    /// Names the operation in the summary; without it, it follows from what was done.
    pub fn operation(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    /// What the manifests will say of the files added so far, to be edited.
    pub fn added_files(&mut self) -> &mut Vec<ContentFile> {
        &mut self.added
    }

    /// Writes rows of the table's current schema under its current spec, one file (or more, by the options) per partition. Returns the
    /// locations of the new data files.
    pub fn append(&mut self, batches: &[RecordBatch], options: &FileOptions) -> Result<Vec<String>> {
        let (schema, spec) = (self.table.schema().clone(), self.table.spec().clone());
        let mut partitions: Vec<(Tuple, Vec<RecordBatch>)> = Vec::new();
        let mut by_key: HashMap<Vec<u8>, usize> = HashMap::new();
        for batch in batches.iter().filter(|b| b.num_rows() > 0) {
            for (tuple, part) in split(batch, &schema, &spec)? {
                let at = *by_key.entry(key(&tuple)).or_insert_with(|| {
                    partitions.push((tuple, Vec::new()));
                    partitions.len() - 1
                });
                partitions[at].1.push(part);
            }
        }
        let mut jobs = Vec::new();
        for (tuple, batches) in partitions {
            let below = match spec.fields.is_empty() {
                true => "data".to_owned(),
                false => format!("data/{}", folder(&tuple, &spec)),
            };
            for batches in cut(batches, options.file_rows.max(1)) {
                let (path, location) = self.new_file(&below, "", "parquet")?;
                jobs.push(Job { path, location, tuple: tuple.clone(), batches });
            }
        }
        let written = write_all(&jobs, &schema.fields, options)?;
        let locations = jobs.iter().map(|job| job.location.clone()).collect();
        for (job, written) in jobs.into_iter().zip(written) {
            self.added.push(ContentFile {
                path: job.location,
                format: "PARQUET".to_owned(),
                spec_id: spec.id,
                partition: job.tuple,
                record_count: written.rows,
                file_size: written.bytes,
                metrics: written.metrics,
                split_offsets: written.split_offsets,
                sort_order_id: Some(0),
                ..ContentFile::default()
            });
        }
        Ok(locations)
    }

    /// Writes position delete files. Data files added by this same change may be named.
    pub fn delete_positions(&mut self, deletes: &PositionDeletes) -> Result<()> {
        let known: HashMap<String, (i32, Tuple)> = self.data_files()?.into_iter().map(|f| (f.path, (f.spec_id, f.partition))).collect();
        let named = |path: &Option<String>| path.as_ref().and_then(|p| known.get(p));
        let fallback = deletes.rows.iter().find_map(|(path, _)| named(path));
        let fallback = fallback.ok_or_else(|| misuse("none of the deleted positions is in a data file of the table"))?;
        type Group = (i32, Tuple, Option<String>, Vec<(Option<String>, i64)>);
        let mut groups: BTreeMap<(i32, Vec<u8>, Option<String>), Group> = BTreeMap::new();
        for (path, position) in &deletes.rows {
            let (spec_id, tuple) = named(path).unwrap_or(fallback);
            let scope = path.clone().filter(|_| deletes.file_scoped);
            let group = groups.entry((*spec_id, key(tuple), scope.clone())).or_insert_with(|| (*spec_id, tuple.clone(), scope, vec![]));
            group.3.push((path.clone(), *position));
        }
        let metrics = if deletes.path_bounds { MetricsMode::Full } else { MetricsMode::Counts };
        let options = FileOptions { metrics, ..FileOptions::default() };
        for (spec_id, tuple, scope, mut rows) in groups.into_values() {
            rows.sort();
            let required = rows.iter().all(|(path, _)| path.is_some());
            let fields = vec![
                Field::new(DELETE_FILE_PATH, "file_path", required, PrimitiveType::String),
                Field::required(DELETE_FILE_POS, "pos", PrimitiveType::Long),
            ];
            let schema = Schema::new(0, fields)?;
            let rows: Vec<Vec<Option<Value>>> =
                rows.into_iter().map(|(path, position)| vec![path.map(Value::String), Some(Value::Long(position))]).collect();
            let batch = values::batch(&schema, &rows)?;
            let file = ContentFile {
                content: Content::PositionDeletes,
                spec_id,
                partition: tuple,
                referenced_data_file: scope,
                ..Default::default()
            };
            self.add_delete_file(file, &schema, batch, &options)?;
        }
        Ok(())
    }

    /// Writes one equality delete file over the columns `ids`. The batch's columns are those of [`Table::projection`]. `scope` is the spec and the
    /// partition it belongs to; without one it is the default spec, which must be unpartitioned then.
    pub fn delete_equal(&mut self, ids: &[i32], rows: RecordBatch, scope: Option<(i32, Tuple)>) -> Result<()> {
        let schema = self.table.projection(ids)?;
        let (spec_id, partition) = match scope {
            Some(scope) => scope,
            None if self.table.spec().is_unpartitioned() => (self.table.spec().id, vec![None; self.table.spec().fields.len()]),
            None => return Err(misuse("equality deletes of a partitioned table need a partition")),
        };
        let file = ContentFile { content: Content::EqualityDeletes, spec_id, partition, equality_ids: ids.to_vec(), ..Default::default() };
        self.add_delete_file(file, &schema, rows, &FileOptions::default())
    }

    fn add_delete_file(&mut self, mut file: ContentFile, schema: &Schema, rows: RecordBatch, options: &FileOptions) -> Result<()> {
        if self.table.format_version() == 1 {
            return Err(misuse("format 1 has no delete files"));
        }
        let (path, location) = self.new_file("data", "-deletes", "parquet")?;
        let written = write_parquet(&path, &schema.fields, &[rows], options)?;
        file.path = location;
        file.format = "PARQUET".to_owned();
        file.record_count = written.rows;
        file.file_size = written.bytes;
        file.metrics = written.metrics;
        file.split_offsets = written.split_offsets;
        self.added.push(file);
        Ok(())
    }

    /// Writes one Puffin file with a deletion vector per data file, in place of the vectors these files had. The positions are all that are
    /// deleted: earlier vectors and position deletes no longer count.
    pub fn delete_vectors(&mut self, vectors: &[(String, Vec<u64>)]) -> Result<()> {
        if self.table.format_version() < 3 {
            return Err(misuse("deletion vectors need format 3"));
        }
        let known: HashMap<String, ContentFile> = self.data_files()?.into_iter().map(|f| (f.path.clone(), f)).collect();
        let bitmaps: Vec<(&str, RoaringTreemap)> = vectors.iter().map(|(path, rows)| (path.as_str(), rows.iter().collect())).collect();
        let (path, location) = self.new_file("data", "-vectors", "puffin")?;
        let (bytes, blobs) = puffin::deletion_vectors(&bitmaps).map_err(|e| cannot_write(&path, e))?;
        std::fs::write(&path, &bytes).map_err(|e| cannot_write(&path, e))?;
        for ((data_file, _), blob) in bitmaps.iter().zip(blobs) {
            let target = known.get(*data_file).ok_or_else(|| misuse(format!("{data_file} is no data file of the table")))?;
            self.replaced_vectors.insert((*data_file).to_owned());
            self.added.push(ContentFile {
                content: Content::PositionDeletes,
                path: location.clone(),
                format: "PUFFIN".to_owned(),
                spec_id: target.spec_id,
                partition: target.partition.clone(),
                record_count: blob.cardinality,
                file_size: bytes.len() as u64,
                referenced_data_file: Some((*data_file).to_owned()),
                content_offset: Some(blob.offset as i64),
                content_size: Some(blob.length as i64),
                ..ContentFile::default()
            });
        }
        Ok(())
    }

    /// Takes files out of the table, data or delete files, by location; the vectors of data files go with them.
    pub fn remove_files(&mut self, locations: &[String]) {
        self.removed.extend(locations.iter().cloned());
        self.replaced_vectors.extend(locations.iter().cloned());
    }

    /// Publishes the snapshot and returns its id.
    pub fn commit(mut self) -> Result<i64> {
        let parent = self.parent()?;
        let version = self.table.format_version();
        let snapshot_id = self.table.ids.snapshot_id();
        let sequence_number = if version == 1 { 0 } else { self.table.state.last_sequence_number + 1 };
        let carried = parent.map(|id| self.table.written(id).map(|s| s.manifests.clone())).transpose()?.unwrap_or_default();
        let before = live(&carried);
        let mut manifests = self.new_manifests(snapshot_id, sequence_number)?;
        for manifest in carried {
            manifests.extend(self.without_removed(manifest, snapshot_id, sequence_number)?);
        }
        let first_row_id = (version >= 3).then_some(self.table.state.next_row_id);
        let added_rows = if version >= 3 { self.assign_row_ids(&mut manifests) } else { 0 };
        let source = self.write_list(&manifests, snapshot_id, parent, sequence_number, first_row_id)?;
        let timestamp_ms = self.table.now_ms();
        let (operation, summary) = self.summary(&before, &live(&manifests));
        let snapshot = Snapshot {
            id: snapshot_id,
            parent_id: parent,
            sequence_number,
            timestamp_ms,
            manifests: source,
            operation: Some(operation),
            summary,
            schema_id: Some(self.table.state.current_schema_id),
            first_row_id,
            key_id: None,
        };
        self.table.state.snapshots.push(WrittenSnapshot { snapshot, manifests, added_rows });
        self.table.state.last_sequence_number = self.table.state.last_sequence_number.max(sequence_number);
        match self.branch.as_deref() {
            None | Some("main") => self.table.make_current(snapshot_id, timestamp_ms),
            Some(name) => drop(self.table.state.refs.insert(name.to_owned(), SnapshotRef { snapshot_id, is_branch: true })),
        }
        self.table.publish()?;
        Ok(snapshot_id)
    }

    fn parent(&self) -> Result<Option<i64>> {
        let current = self.table.current_snapshot_id();
        match self.branch.as_deref() {
            None | Some("main") => Ok(current),
            Some(name) => match self.table.state.refs.get(name) {
                Some(r) if !r.is_branch => Err(misuse(format!("'{name}' is a tag"))),
                Some(r) => Ok(Some(r.snapshot_id)),
                None => Ok(current),
            },
        }
    }

    /// Live data files of the snapshot the change builds on, and those it adds.
    fn data_files(&self) -> Result<Vec<ContentFile>> {
        let base = self.parent()?.map(|id| self.table.files(id)).transpose()?.unwrap_or_default();
        let all = base.iter().map(|f| f.as_ref()).chain(&self.added);
        Ok(all.filter(|f| f.content == Content::Data).cloned().collect())
    }

    fn new_file(&mut self, below: &str, kind: &str, extension: &str) -> Result<(PathBuf, String)> {
        let name = format!("{below}/{:05}-{}{kind}.{extension}", self.files_written, self.uuid);
        self.files_written += 1;
        self.table.new_file(&name)
    }

    /// Manifests for the added files: one for each kind of content and spec.
    fn new_manifests(&mut self, snapshot_id: i64, sequence_number: i64) -> Result<Vec<ManifestFile>> {
        let mut groups: BTreeMap<(bool, i32), Vec<Entry>> = BTreeMap::new();
        for mut file in self.added.clone() {
            file.sequence_number = sequence_number;
            let group = groups.entry((file.content != Content::Data, file.spec_id)).or_default();
            group.push(Entry { status: Status::Added, snapshot_id, file: Arc::new(file) });
        }
        let write = |((is_deletes, spec_id), entries)| self.write_manifest(entries, is_deletes, spec_id, snapshot_id, sequence_number);
        groups.into_iter().map(write).collect()
    }

    fn write_manifest(
        &mut self,
        entries: Vec<Entry>,
        is_deletes: bool,
        spec_id: i32,
        added_snapshot_id: i64,
        sequence_number: i64,
    ) -> Result<ManifestFile> {
        let sync = self.table.ids.bytes();
        let (file, path) = self.table.new_file(&format!("metadata/{}-m{}.avro", self.uuid, self.files_written))?;
        self.files_written += 1;
        let spec = self.table.state.spec(spec_id).ok_or_else(|| misuse(format!("no partition spec {spec_id}")))?;
        let length = manifest::write(&file, &entries, &self.table.manifest_context(spec, is_deletes, sync))?;
        Ok(ManifestFile {
            path,
            length,
            spec_id,
            is_deletes,
            sequence_number,
            added_snapshot_id,
            first_row_id: None,
            entries: Arc::new(entries),
        })
    }

    /// The manifest as it is, rewritten without what is removed, or nothing where nothing in it lives any more.
    fn without_removed(&mut self, manifest: ManifestFile, snapshot_id: i64, sequence_number: i64) -> Result<Option<ManifestFile>> {
        let goes = |file: &ContentFile| {
            self.removed.contains(&file.path)
                || (file.content_offset.is_some() && file.referenced_data_file.as_ref().is_some_and(|f| self.replaced_vectors.contains(f)))
        };
        if !manifest.entries.iter().any(Entry::is_live) {
            return Ok(None);
        }
        if !manifest.entries.iter().any(|e| e.is_live() && goes(&e.file)) {
            return Ok(Some(manifest));
        }
        let rewritten = |e: &Entry| match goes(&e.file) {
            true => Entry { status: Status::Deleted, snapshot_id, file: e.file.clone() },
            false => Entry { status: Status::Existing, ..e.clone() },
        };
        let entries = manifest.entries.iter().filter(|e| e.is_live()).map(rewritten).collect();
        self.write_manifest(entries, manifest.is_deletes, manifest.spec_id, snapshot_id, sequence_number).map(Some)
    }

    /// Gives row ids to every data manifest that has none yet (spec "First Row ID Assignment"); returns how many rows got room.
    fn assign_row_ids(&mut self, manifests: &mut [ManifestFile]) -> i64 {
        let mut assigned = 0;
        for manifest in manifests.iter_mut().filter(|m| !m.is_deletes && m.first_row_id.is_none()) {
            let mut next = self.table.state.next_row_id + assigned;
            manifest.first_row_id = Some(next);
            let mut entries = manifest.entries.as_ref().clone();
            for entry in entries.iter_mut().filter(|e| e.is_live() && e.file.first_row_id.is_none()) {
                let mut file = entry.file.as_ref().clone();
                file.first_row_id = Some(next);
                next += file.record_count as i64;
                entry.file = Arc::new(file);
            }
            manifest.entries = Arc::new(entries);
            assigned += manifest.live_rows();
        }
        self.table.state.next_row_id += assigned;
        assigned
    }

    fn write_list(
        &mut self,
        manifests: &[ManifestFile],
        snapshot_id: i64,
        parent_id: Option<i64>,
        sequence_number: i64,
        first_row_id: Option<i64>,
    ) -> Result<ManifestSource> {
        if self.table.inline_manifests {
            return Ok(ManifestSource::Inline(manifests.iter().map(|m| m.path.clone()).collect()));
        }
        let sync = self.table.ids.bytes();
        let (path, location) = self.table.new_file(&format!("metadata/snap-{snapshot_id}-{}.avro", self.uuid))?;
        let format_version = self.table.format_version();
        manifest_list::write(
            &path,
            &ListContext { format_version, snapshot_id, parent_id, sequence_number, first_row_id, manifests, sync },
        )?;
        Ok(ManifestSource::List(location))
    }

    fn summary(&self, before: &[Arc<ContentFile>], after: &[Arc<ContentFile>]) -> (String, BTreeMap<String, String>) {
        let of = |files: &[&ContentFile], content: Content| files.iter().filter(|f| f.content == content).count();
        let rows = |files: &[&ContentFile], content: Content| {
            files.iter().filter(|f| f.content == content).map(|f| f.record_count).sum::<u64>() as usize
        };
        let identity = |f: &ContentFile| (f.path.clone(), f.content_offset);
        let kept: HashSet<_> = after.iter().map(|f| identity(f)).collect();
        let added: Vec<&ContentFile> = self.added.iter().collect();
        let gone: Vec<&ContentFile> = before.iter().map(Arc::as_ref).filter(|f| !kept.contains(&identity(f))).collect();
        let all: Vec<&ContentFile> = after.iter().map(Arc::as_ref).collect();
        let deletes = |files: &[&ContentFile]| files.len() - of(files, Content::Data);
        let derived = match (of(&added, Content::Data), deletes(&added), gone.len()) {
            (_, 0, 0) => "append",
            (0, _, _) => "delete",
            _ => "overwrite",
        };
        let size = |files: &[&ContentFile]| files.iter().map(|f| f.file_size).sum::<u64>() as usize;
        let changes = [
            ("added-data-files", of(&added, Content::Data)),
            ("deleted-data-files", of(&gone, Content::Data)),
            ("added-records", rows(&added, Content::Data)),
            ("deleted-records", rows(&gone, Content::Data)),
            ("added-delete-files", deletes(&added)),
            ("removed-delete-files", deletes(&gone)),
            ("added-position-deletes", rows(&added, Content::PositionDeletes)),
            ("added-equality-deletes", rows(&added, Content::EqualityDeletes)),
            ("added-files-size", size(&added)),
            ("removed-files-size", size(&gone)),
        ];
        let totals = [
            ("total-data-files", of(&all, Content::Data)),
            ("total-records", rows(&all, Content::Data)),
            ("total-delete-files", deletes(&all)),
            ("total-position-deletes", rows(&all, Content::PositionDeletes)),
            ("total-equality-deletes", rows(&all, Content::EqualityDeletes)),
            ("total-files-size", size(&all)),
        ];
        let shown = changes.into_iter().filter(|(_, n)| *n > 0).chain(totals);
        (self.operation.clone().unwrap_or(derived.to_owned()), shown.map(|(k, n)| (k.to_owned(), n.to_string())).collect())
    }
}

fn live(manifests: &[ManifestFile]) -> Vec<Arc<ContentFile>> {
    manifests.iter().flat_map(|m| m.entries.iter()).filter(|e| e.is_live()).map(|e| e.file.clone()).collect()
}

/// The batches, cut into files of at most `rows` rows.
fn cut(batches: Vec<RecordBatch>, rows: usize) -> Vec<Vec<RecordBatch>> {
    let (mut files, mut file, mut room) = (Vec::new(), Vec::new(), rows);
    for batch in batches {
        let mut start = 0;
        while start < batch.num_rows() {
            let take = room.min(batch.num_rows() - start);
            file.push(batch.slice(start, take));
            (start, room) = (start + take, room - take);
            if room == 0 {
                files.push(std::mem::take(&mut file));
                room = rows;
            }
        }
    }
    if !file.is_empty() {
        files.push(file);
    }
    files
}

/// Writes the files, on all cores where it is worth it. Results are in the order of the jobs.
fn write_all(jobs: &[Job], fields: &[Field], options: &FileOptions) -> Result<Vec<crate::data_file::Written>> {
    let write = |job: &Job| write_parquet(&job.path, fields, &job.batches, options);
    let rows: usize = jobs.iter().flat_map(|job| &job.batches).map(RecordBatch::num_rows).sum();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    if rows < PARALLEL_ROWS || threads < 2 {
        return jobs.iter().map(write).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, job)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, jobs.get(at)?))) {
                    let written = write(job);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, written));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, written)| written).collect()
}
