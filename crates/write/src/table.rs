//! One table: its metadata, and every change to it but those of rows.
//!
//! Contract: each call that changes the table writes one metadata file, then moves the catalog on to it. The clock of the table is its own: it
//! starts where the options say and goes on by a minute with each commit.

use crate::catalog::SqlCatalog;
use crate::change::Change;
use crate::evolve::SchemaUpdate;
use crate::ids::Ids;
use crate::manifest::{Content, ContentFile, ManifestContext};
use crate::metadata::{State, WrittenSnapshot};
use crate::{cannot_write, json, misuse};
use fastdata_types::metadata::{LogEntry, PartitionField, PartitionSpec, Snapshot, SnapshotRef};
use fastdata_types::transform::Transform;
use fastdata_types::{Field, Result, Schema, TableName, Type, Value};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

const COMMIT_INTERVAL_MS: i64 = 60_000;
/// 2024-01-01T00:00:00Z.
const DEFAULT_FIRST_TIMESTAMP_MS: i64 = 1_704_067_200_000;

#[derive(Debug, Clone)]
pub struct TableOptions {
    /// Ids are taken as they are.
    pub schema: Schema,
    /// Source column by dotted path, and transform.
    pub partition: Vec<(String, Transform)>,
    /// 1, 2 or 3.
    pub format_version: u8,
    pub properties: BTreeMap<String, String>,
    /// All ids come from it.
    pub seed: u64,
    /// Time of the first commit, milliseconds from the epoch.
    pub first_timestamp_ms: i64,
    /// Metadata files are called `v<N>.metadata.json`, as in tables that live without a catalog.
    pub file_system_names: bool,
    /// v1 snapshots name their manifests themselves instead of a manifest list.
    pub inline_manifests: bool,
    /// Where the metadata says that the table lies, for one that is copied there afterwards; else its folder.
    pub location: Option<String>,
}

impl TableOptions {
    pub fn new(schema: Schema) -> Self {
        TableOptions {
            schema,
            partition: vec![],
            format_version: 2,
            properties: BTreeMap::new(),
            seed: 0,
            first_timestamp_ms: DEFAULT_FIRST_TIMESTAMP_MS,
            file_system_names: false,
            inline_manifests: false,
            location: None,
        }
    }
}

#[derive(Debug)]
pub struct Table {
    catalog: Arc<SqlCatalog>,
    name: TableName,
    folder: PathBuf,
    pub(crate) state: State,
    pub(crate) ids: Ids,
    pub(crate) inline_manifests: bool,
    file_system_names: bool,
    next_timestamp_ms: i64,
    /// Of the metadata file that the catalog points to.
    metadata_location: Option<String>,
    version: u32,
}

impl Table {
    pub(crate) fn create(catalog: Arc<SqlCatalog>, name: TableName, folder: PathBuf, options: TableOptions) -> Result<Self> {
        if !(1..=3).contains(&options.format_version) {
            return Err(misuse(format!("format version {} is not written", options.format_version)));
        }
        if options.inline_manifests && options.format_version > 1 {
            return Err(misuse("snapshots without a manifest list can only be in a table of format 1"));
        }
        for part in ["metadata", "data"] {
            fs::create_dir_all(folder.join(part)).map_err(|e| cannot_write(&folder, e))?;
        }
        let mut ids = Ids::new(options.seed);
        let state = State {
            format_version: options.format_version,
            uuid: ids.uuid(),
            location: options.location.unwrap_or_else(|| format!("file://{}", folder.display())),
            last_sequence_number: 0,
            last_updated_ms: options.first_timestamp_ms,
            last_column_id: options.schema.ids().max().unwrap_or(0),
            current_schema_id: options.schema.id,
            schemas: vec![options.schema],
            write_defaults: BTreeMap::new(),
            specs: vec![],
            default_spec_id: 0,
            last_partition_id: 999,
            properties: options.properties,
            current_snapshot_id: None,
            snapshots: vec![],
            snapshot_log: vec![],
            metadata_log: vec![],
            refs: BTreeMap::new(),
            next_row_id: 0,
        };
        let mut table = Table {
            catalog,
            name,
            folder,
            state,
            ids,
            inline_manifests: options.inline_manifests,
            file_system_names: options.file_system_names,
            next_timestamp_ms: options.first_timestamp_ms,
            metadata_location: None,
            version: u32::from(options.file_system_names),
        };
        table.set_spec(&options.partition)?;
        table.publish()?;
        Ok(table)
    }

    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// The table's folder as a `file://` location.
    pub fn location(&self) -> &str {
        &self.state.location
    }

    pub fn metadata_location(&self) -> &str {
        self.metadata_location.as_deref().unwrap_or_default()
    }

    pub fn schema(&self) -> &Schema {
        self.state.schema(self.state.current_schema_id).unwrap_or(&self.state.schemas[0])
    }

    pub fn spec(&self) -> &PartitionSpec {
        self.state.spec(self.state.default_spec_id).unwrap_or(&self.state.specs[0])
    }

    /// All partition specs, oldest first.
    pub fn specs(&self) -> &[PartitionSpec] {
        &self.state.specs
    }

    pub fn format_version(&self) -> u8 {
        self.state.format_version
    }

    pub fn current_snapshot_id(&self) -> Option<i64> {
        self.state.current_snapshot_id
    }

    /// The live data and delete files of a snapshot, in the order of its manifests.
    pub fn files(&self, snapshot_id: i64) -> Result<Vec<Arc<ContentFile>>> {
        let written = self.written(snapshot_id)?;
        let entries = written.manifests.iter().flat_map(|m| m.entries.iter());
        Ok(entries.filter(|e| e.is_live()).map(|e| e.file.clone()).collect())
    }

    /// The live data files of the current snapshot.
    pub fn data_files(&self) -> Vec<Arc<ContentFile>> {
        let files = self.current_snapshot_id().and_then(|id| self.files(id).ok()).unwrap_or_default();
        files.into_iter().filter(|f| f.content == Content::Data).collect()
    }

    /// Which snapshot was the current one from when on, oldest first.
    pub fn snapshot_log(&self) -> &[LogEntry] {
        &self.state.snapshot_log
    }

    /// A snapshot as the metadata has it.
    pub fn snapshot(&self, id: i64) -> Result<&Snapshot> {
        self.written(id).map(|written| &written.snapshot)
    }

    pub(crate) fn written(&self, id: i64) -> Result<&WrittenSnapshot> {
        self.state.snapshot(id).ok_or_else(|| misuse(format!("table {} has no snapshot {id}", self.name)))
    }

    /// The columns with these ids, looked up in all schemas, with the structs around them and nothing else.
    pub fn projection(&self, ids: &[i32]) -> Result<Schema> {
        let newest_first = self.state.schemas.iter().rev();
        let mut candidates = std::iter::once(self.schema()).chain(newest_first);
        let schema = candidates.find(|s| ids.iter().all(|id| s.field_by_id(*id).is_some()));
        let schema = schema.ok_or_else(|| misuse(format!("no schema of table {} has all of the columns {ids:?}", self.name)))?;
        Schema::new(schema.id, schema.fields.iter().filter_map(|f| pruned(f, ids)).collect())
    }

    /// A change of rows, published by [`Change::commit`].
    pub fn change(&mut self) -> Change<'_> {
        Change::new(self)
    }

    pub fn update_schema(&mut self, edit: impl FnOnce(&mut SchemaUpdate) -> Result<()>) -> Result<()> {
        let current = self.schema();
        let identifiers = current.identifier_field_ids.clone();
        let mut update = SchemaUpdate::new(current.fields.clone(), self.state.last_column_id);
        edit(&mut update)?;
        let next_id = self.state.schemas.iter().map(|s| s.id).max().unwrap_or(0) + 1;
        let (schema, last_column_id) = update.finish(next_id, identifiers)?;
        self.state.last_column_id = last_column_id;
        self.state.current_schema_id = schema.id;
        self.state.schemas.push(schema);
        self.publish()
    }

    /// Replaces the default partition spec. v1 tables keep the fields they had, voided.
    pub fn update_spec(&mut self, partition: &[(&str, Transform)]) -> Result<()> {
        let owned: Vec<(String, Transform)> = partition.iter().map(|(path, t)| ((*path).to_owned(), t.clone())).collect();
        self.set_spec(&owned)?;
        self.publish()
    }

    fn set_spec(&mut self, partition: &[(String, Transform)]) -> Result<()> {
        let mut fields: Vec<PartitionField> = Vec::new();
        for (path, transform) in partition {
            let source = self.schema().resolve(path)?;
            let source_id = source.last().map_or(0, |f| f.id);
            let known = self.state.specs.iter().flat_map(|s| &s.fields);
            let known =
                known.into_iter().find(|f| f.source_id == source_id && f.transform == *transform).map(|f| (f.field_id, f.name.clone()));
            let (field_id, name) = known.unwrap_or_else(|| {
                self.state.last_partition_id += 1;
                let (id, name) = (self.state.last_partition_id, partition_name(path, transform));
                let is_taken = self.state.specs.iter().flat_map(|s| &s.fields).chain(&fields).any(|f| f.name == name);
                (id, if is_taken { format!("{name}_{id}") } else { name })
            });
            fields.push(PartitionField { source_id, field_id, name, transform: transform.clone() });
        }
        if self.state.format_version == 1 && !self.state.specs.is_empty() {
            let kept = |f: &PartitionField| fields.iter().find(|n| n.field_id == f.field_id).cloned();
            let voided = |f: &PartitionField| PartitionField { transform: Transform::Void, ..f.clone() };
            let mut all: Vec<PartitionField> = self.spec().fields.iter().map(|f| kept(f).unwrap_or_else(|| voided(f))).collect();
            all.extend(fields.into_iter().filter(|f| !self.spec().fields.iter().any(|old| old.field_id == f.field_id)));
            fields = all;
        }
        if let Some(same) = self.state.specs.iter().find(|s| s.fields == fields) {
            self.state.default_spec_id = same.id;
            return Ok(());
        }
        let id = self.state.specs.iter().map(|s| s.id + 1).max().unwrap_or(0);
        self.state.specs.push(PartitionSpec { id, fields });
        self.state.default_spec_id = id;
        Ok(())
    }

    pub fn upgrade(&mut self, format_version: u8) -> Result<()> {
        if !(self.state.format_version..=3).contains(&format_version) {
            return Err(misuse(format!("a table of format {} cannot become {format_version}", self.state.format_version)));
        }
        if self.inline_manifests && format_version > 1 {
            return Err(misuse("snapshots without a manifest list can only be in a table of format 1"));
        }
        self.state.format_version = format_version;
        self.publish()
    }

    pub fn tag(&mut self, name: &str, snapshot_id: i64) -> Result<()> {
        self.set_ref(name, snapshot_id, false)
    }

    pub fn branch(&mut self, name: &str, snapshot_id: i64) -> Result<()> {
        self.set_ref(name, snapshot_id, true)
    }

    fn set_ref(&mut self, name: &str, snapshot_id: i64, is_branch: bool) -> Result<()> {
        self.snapshot(snapshot_id)?;
        self.state.refs.insert(name.to_owned(), SnapshotRef { snapshot_id, is_branch });
        self.publish()
    }

    /// Makes an existing snapshot the current one: a rollback, or a publication of a branch.
    pub fn set_current_snapshot(&mut self, snapshot_id: i64) -> Result<()> {
        self.snapshot(snapshot_id)?;
        self.make_current(snapshot_id, self.next_timestamp_ms);
        self.publish()
    }

    pub(crate) fn make_current(&mut self, snapshot_id: i64, timestamp_ms: i64) {
        self.state.current_snapshot_id = Some(snapshot_id);
        self.state.refs.insert("main".to_owned(), SnapshotRef { snapshot_id, is_branch: true });
        self.state.snapshot_log.push(LogEntry { timestamp_ms, snapshot_id });
    }

    /// Forgets snapshots; their files stay.
    pub fn expire_snapshots(&mut self, snapshot_ids: &[i64]) -> Result<()> {
        if let Some((name, _)) = self.state.refs.iter().find(|(_, r)| snapshot_ids.contains(&r.snapshot_id)) {
            return Err(misuse(format!("'{name}' refers to a snapshot that is to expire")));
        }
        self.state.snapshots.retain(|s| !snapshot_ids.contains(&s.snapshot.id));
        // The log may only name what exists, and what came before a gap is gone too (spec "Table Metadata").
        let last_gap = self.state.snapshot_log.iter().rposition(|e| snapshot_ids.contains(&e.snapshot_id));
        self.state.snapshot_log.drain(..last_gap.map_or(0, |at| at + 1));
        self.publish()
    }

    pub fn set_properties(&mut self, properties: &[(&str, &str)]) -> Result<()> {
        self.state.properties.extend(properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        self.publish()
    }

    /// Sets the property `schema.name-mapping.default` to the names of the current schema.
    pub fn set_name_mapping(&mut self) -> Result<()> {
        let mapping = json::name_mapping(&self.schema().fields.iter().collect::<Vec<_>>()).to_string();
        self.set_properties(&[("schema.name-mapping.default", &mapping)])
    }

    /// Sets the default that writers fill in, which readers never use.
    pub fn set_write_default(&mut self, field_id: i32, value: Value) -> Result<()> {
        self.state.write_defaults.insert(field_id, value);
        self.publish()
    }

    /// The time of the next commit, milliseconds from the epoch.
    pub fn set_clock(&mut self, timestamp_ms: i64) {
        self.next_timestamp_ms = timestamp_ms;
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.next_timestamp_ms
    }

    /// The path of a new file of the table and its location.
    pub(crate) fn new_file(&self, relative: &str) -> Result<(PathBuf, String)> {
        let path = self.folder.join(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|e| cannot_write(parent, e))?;
        }
        Ok((path, format!("{}/{relative}", self.state.location)))
    }

    pub(crate) fn manifest_context<'a>(&'a self, spec: &'a PartitionSpec, is_deletes: bool, sync: [u8; 16]) -> ManifestContext<'a> {
        let source = |id: i32| self.state.schemas.iter().rev().find_map(|s| s.field_by_id(id)).and_then(|f| f.ty.as_primitive());
        let result =
            |f: &PartitionField| source(f.source_id).map_or(fastdata_types::PrimitiveType::Unknown, |ty| f.transform.result_type(ty));
        ManifestContext {
            format_version: self.state.format_version,
            schema: self.schema(),
            spec,
            partition_types: spec.fields.iter().map(result).collect(),
            is_deletes,
            sync,
        }
    }

    /// Writes the metadata file of the present state and moves the catalog to it.
    pub(crate) fn publish(&mut self) -> Result<()> {
        self.state.last_updated_ms = self.next_timestamp_ms;
        self.next_timestamp_ms += COMMIT_INTERVAL_MS;
        let gzip = self.state.properties.get("write.metadata.compression-codec").is_some_and(|codec| codec == "gzip");
        let stem = match self.file_system_names {
            true => format!("v{}", self.version),
            false => format!("{:05}-{}", self.version, self.ids.uuid()),
        };
        let suffix = if gzip { ".gz.metadata.json" } else { ".metadata.json" };
        let (path, location) = self.new_file(&format!("metadata/{stem}{suffix}"))?;
        let text = serde_json::to_vec_pretty(&self.state.to_json()).map_err(|e| cannot_write(&path, e))?;
        let bytes = if gzip { gzipped(&text).map_err(|e| cannot_write(&path, e))? } else { text };
        fs::write(&path, bytes).map_err(|e| cannot_write(&path, e))?;
        self.catalog.swap(&self.name, self.metadata_location.as_deref(), &location)?;
        let hint = if self.file_system_names { self.version.to_string() } else { stem };
        let (hint_path, _) = self.new_file("metadata/version-hint.text")?;
        fs::write(&hint_path, hint).map_err(|e| cannot_write(&hint_path, e))?;
        self.state.metadata_log.push((self.state.last_updated_ms, location.clone()));
        self.metadata_location = Some(location);
        self.version += 1;
        Ok(())
    }
}

fn gzipped(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text)?;
    encoder.finish()
}

fn pruned(field: &Field, ids: &[i32]) -> Option<Field> {
    if ids.contains(&field.id) {
        return Some(field.clone());
    }
    let Type::Struct(s) = &field.ty else { return None };
    let kept: Vec<Field> = s.fields.iter().filter_map(|f| pruned(f, ids)).collect();
    (!kept.is_empty()).then(|| Field { ty: Type::structure(kept), ..field.clone() })
}

fn partition_name(path: &str, transform: &Transform) -> String {
    let kind = match transform {
        Transform::Identity => return path.to_owned(),
        Transform::Bucket(_) => "bucket",
        Transform::Truncate(_) => "trunc",
        Transform::Year => "year",
        Transform::Month => "month",
        Transform::Day => "day",
        Transform::Hour => "hour",
        Transform::Void => "null",
        Transform::Unknown(_) => "unknown",
    };
    format!("{path}_{kind}")
}
