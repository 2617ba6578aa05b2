//! From a shape to a table and its model.
//!
//! How: appends with deletes after each but the last, evolution and the format upgrade halfway, then the rest of the history. Rows are grouped by
//! partition here, so that each file is written by a call of its own and the model knows what is in it.

use super::columns;
use super::model::{DataRows, DeleteRows, Model, ModelRow, ModelSnapshot, to_batch};
use super::shape::{Columns, FieldIds, Shape, Splits};
use arrow::array::RecordBatch;
use fastdata_types::transform::Transform;
use fastdata_types::{Field, PrimitiveType, Result, Schema, TableName, Type, Value};
use fastdata_write::{
    Change, Codec, Content, ContentFile, FileOptions, PositionDeletes, SplitOffsets, Table, TableOptions, Warehouse, values,
};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Row = Vec<Option<Value>>;

/// A table, and what is in it.
#[derive(Debug)]
pub struct Built {
    pub shape: Shape,
    /// Of the warehouse, with `catalog.db` in it.
    pub folder: PathBuf,
    pub name: TableName,
    /// Open for further changes; the model does not follow those.
    pub table: Table,
    pub model: Model,
    /// Branches and tags but `main`.
    pub refs: BTreeMap<String, i64>,
}

impl Built {
    pub fn schema(&self) -> &Schema {
        self.table.schema()
    }

    /// The table's folder on disk.
    pub fn table_folder(&self) -> PathBuf {
        self.folder.join(&self.name.namespace[0]).join(&self.name.name)
    }

    pub fn metadata_file(&self) -> PathBuf {
        let location = self.table.metadata_location();
        let below = location.strip_prefix(self.table.location()).unwrap_or(location);
        self.table_folder().join(below.trim_start_matches('/'))
    }

    /// The rows of the current snapshot in the current schema, in table order.
    pub fn current_rows(&self) -> Vec<ModelRow> {
        self.table.current_snapshot_id().map(|id| self.model.rows(id, self.schema())).unwrap_or_default()
    }

    /// The values of [`Built::current_rows`].
    pub fn current_values(&self) -> Vec<Row> {
        self.current_rows().into_iter().map(|row| row.values).collect()
    }

    pub fn current_batch(&self) -> Result<RecordBatch> {
        to_batch(&self.current_rows(), self.schema())
    }
}

/// Makes the table `test.t` in a warehouse in `folder`.
pub fn build(shape: &Shape, folder: &Path) -> Result<Built> {
    let shape = shape.clone().settled();
    let warehouse = Warehouse::open(folder)?;
    let name = TableName::new(["test"], "t");
    let schema = columns::schema(shape.columns, shape.first_format)?;
    let partition = shape.partitioning.fields().into_iter().map(|(path, t)| (path.to_owned(), t)).collect();
    let mut properties = BTreeMap::new();
    if shape.layout.gzip_metadata {
        properties.insert("write.metadata.compression-codec".to_owned(), "gzip".to_owned());
    }
    let options = TableOptions {
        partition,
        properties,
        format_version: shape.first_format,
        seed: shape.seed,
        file_system_names: shape.layout.file_system_names,
        inline_manifests: shape.layout.inline_manifests,
        location: shape.layout.location.clone(),
        ..TableOptions::new(schema)
    };
    let mut table = warehouse.create_table(&name, options)?;
    if shape.layout.field_ids == FieldIds::NameMapping {
        table.set_name_mapping()?;
    }
    let rng = StdRng::seed_from_u64(shape.seed ^ 0x5eed);
    let mut builder = Builder { table, shape, rng, model: Model::default(), next_id: 0, appends: 0 };
    builder.note_spec();
    let refs = builder.run()?;
    let Builder { table, shape, model, .. } = builder;
    Ok(Built { shape, folder: warehouse.folder().to_owned(), name, table, model, refs })
}

struct Builder {
    table: Table,
    shape: Shape,
    rng: StdRng,
    model: Model,
    /// Of the next row.
    next_id: i64,
    appends: usize,
}

impl Builder {
    fn run(&mut self) -> Result<BTreeMap<String, i64>> {
        let history = self.shape.history;
        let mut refs = BTreeMap::new();
        let first = self.append(None)?;
        if history.tag {
            self.table.tag("first", first)?;
            refs.insert("first".to_owned(), first);
        }
        self.delete()?;
        if self.shape.format > self.shape.first_format {
            self.table.upgrade(self.shape.format)?;
        }
        self.evolve()?;
        if history.appends == 1 || self.shape.format > self.shape.first_format {
            self.delete()?;
        }
        for nth in 1..history.appends {
            self.append(None)?;
            if nth + 1 < history.appends {
                self.delete()?;
            }
        }
        if history.overwrite {
            self.overwrite()?;
        }
        if history.replace {
            self.replace()?;
        }
        if history.branch {
            let id = self.append(Some("audit"))?;
            refs.insert("audit".to_owned(), id);
        }
        if history.rollback {
            let before = self.table.current_snapshot_id();
            self.append(None)?;
            before.map_or(Ok(()), |id| self.table.set_current_snapshot(id))?;
            self.append(None)?;
        }
        if history.expire && self.table.current_snapshot_id() != Some(first) && !refs.values().any(|id| *id == first) {
            self.table.expire_snapshots(&[first])?;
            self.model.snapshots.retain(|s| s.id != first);
        }
        Ok(refs)
    }

    /// The spec may be new: remembers whether its equality deletes are global.
    fn note_spec(&mut self) {
        let spec = self.table.spec();
        if spec.is_unpartitioned() && !self.model.global_specs.contains(&spec.id) {
            self.model.global_specs.push(spec.id);
        }
    }

    fn file_options(&mut self) -> FileOptions {
        let layout = &self.shape.layout;
        let is_first = self.appends == 0;
        let identity = self.table.spec().fields.iter().filter(|f| f.transform == Transform::Identity);
        let omit_columns = if layout.omit_identity_columns { identity.map(|f| f.source_id).collect() } else { vec![] };
        let split_offsets = match layout.splits {
            Splits::RowGroups => SplitOffsets::RowGroups,
            Splits::Absent => SplitOffsets::Absent,
            Splits::Elsewhere => SplitOffsets::Given(vec![5, 100, 350]),
            Splits::Nonsense => SplitOffsets::Given(vec![i64::MAX, 4, -1]),
        };
        FileOptions {
            codec: layout.codec,
            row_group_rows: layout.row_group_rows,
            page_rows: layout.page_rows,
            page_v2: layout.page_v2,
            dictionary: layout.dictionary,
            encodings: layout.encodings,
            statistics: layout.statistics,
            metrics: layout.metrics,
            split_offsets,
            field_ids: layout.field_ids == FieldIds::InFile || !is_first,
            hive_lists: layout.hive_lists && is_first,
            omit_columns,
            ..FileOptions::default()
        }
    }

    fn new_rows(&mut self) -> Vec<Row> {
        let schema = self.table.schema().clone();
        let count = self.shape.layout.rows as i64;
        let rows = (self.next_id..self.next_id + count).map(|id| columns::row(&schema, id, &mut self.rng)).collect();
        self.next_id += count;
        rows
    }

    fn append(&mut self, branch: Option<&str>) -> Result<i64> {
        let rows = self.new_rows();
        let options = self.file_options();
        self.appends += 1;
        let files = self.shape.layout.files_per_partition;
        let groups = self.by_partition(rows);
        let written = self.model_rows(groups, files);
        let change = self.table.change();
        let mut change = match branch {
            Some(name) => change.on_branch(name),
            None => change,
        };
        let added = write_files(&mut change, written, &options, &mut self.model)?;
        let id = change.commit()?;
        self.note_snapshot(id, "append", added)
    }

    /// Rows by partition tuple, as the specification's transforms give it.
    fn by_partition(&self, rows: Vec<Row>) -> Vec<Vec<Row>> {
        let (schema, spec) = (self.table.schema(), self.table.spec());
        let mut groups: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in rows {
            let source = |id: i32| {
                let mut path = schema.ancestry(id)?.into_iter();
                let first = path.next()?;
                let at = schema.fields.iter().position(|f| f.id == first.id)?;
                let (mut value, mut ty) = (row[at].clone()?, &first.ty);
                for step in path {
                    let (Value::Struct(members), Type::Struct(s)) = (value, ty) else { return None };
                    value = members[s.fields.iter().position(|f| f.id == step.id)?].clone()?;
                    ty = &step.ty;
                }
                Some(value)
            };
            let tuple: Vec<Option<Value>> = spec.fields.iter().map(|f| source(f.source_id).and_then(|v| f.transform.apply(&v))).collect();
            groups.entry(format!("{tuple:?}")).or_default().push(row);
        }
        groups.into_values().collect()
    }

    fn model_rows(&self, groups: Vec<Vec<Row>>, files: usize) -> Vec<DataRows> {
        let schema = self.table.schema();
        let cut = |rows: Vec<Row>| {
            let size = rows.len().div_ceil(files.max(1)).max(1);
            rows.chunks(size).map(|rows| DataRows { schema: schema.clone(), rows: rows.to_vec() }).collect::<Vec<_>>()
        };
        groups.into_iter().flat_map(cut).collect()
    }

    fn note_snapshot(&mut self, id: i64, operation: &str, added: Vec<String>) -> Result<i64> {
        let info = self.table.snapshot(id)?.clone();
        self.model.snapshots.push(ModelSnapshot {
            id,
            parent_id: info.parent_id,
            timestamp_ms: info.timestamp_ms,
            schema: self.table.schema().clone(),
            operation: operation.to_owned(),
            files: self.table.files(id)?,
            added,
        });
        Ok(id)
    }

    fn evolve(&mut self) -> Result<()> {
        let (evolution, nested, has_defaults) = (self.shape.evolution, self.shape.columns == Columns::Nested, self.shape.format >= 3);
        let default = |field: Field, value: Value| if has_defaults { field.with_default(value) } else { field };
        if evolution.any_column() {
            self.table.update_schema(|s| {
                if evolution.promote {
                    s.promote("small", PrimitiveType::Long)?;
                    s.promote("ratio", PrimitiveType::Double)?;
                    s.promote("price", PrimitiveType::Decimal { precision: 18, scale: 2 })?;
                }
                if evolution.readd {
                    s.drop("score")?;
                    s.add("", Field::optional(0, "score", PrimitiveType::Int))?;
                }
                if evolution.columns {
                    s.add("", default(Field::optional(0, "added", PrimitiveType::Int), Value::Int(7)))?;
                    s.add("", default(Field::optional(0, "greeting", PrimitiveType::String), Value::String("héllo".to_owned())))?;
                    s.add("", Field::optional(0, "late", Type::list(0, false, PrimitiveType::Binary)))?;
                    s.rename("category", "kind")?;
                    s.drop("note")?;
                    s.reorder("day", 0)?;
                }
                if evolution.nested && nested {
                    s.rename("user.name", "full_name")?;
                    s.add("user.address", default(Field::optional(0, "country", PrimitiveType::String), Value::String("NO".to_owned())))?;
                    s.add("user", Field::optional(0, "extra", Type::structure(vec![Field::optional(0, "a", PrimitiveType::Time)])))?;
                    s.reorder("user.labels", 0)?;
                    s.drop("points.element.y")?;
                    s.add("points.element", default(Field::optional(0, "z", PrimitiveType::Long), Value::Long(-3)))?;
                    s.add("measures.value", Field::optional(0, "at", PrimitiveType::Timestamp))?;
                    if evolution.promote {
                        s.promote("measures.value.n", PrimitiveType::Long)?;
                    }
                }
                Ok(())
            })?;
        }
        if evolution.spec {
            let category = if evolution.columns { "kind" } else { "category" };
            let next: Vec<(&str, Transform)> = match self.rng.random_range(0..4) {
                0 => vec![],
                1 => vec![(category, Transform::Identity)],
                2 => vec![("id", Transform::Bucket(2)), (category, Transform::Truncate(1))],
                _ => vec![("at", Transform::Month), ("id", Transform::Bucket(3))],
            };
            self.table.update_spec(&next)?;
            self.note_spec();
        }
        Ok(())
    }

    /// About a tenth of the rows, in each of the ways that the shape asks for; the kinds take turns in one commit each.
    fn delete(&mut self) -> Result<()> {
        let deletes = self.shape.deletes;
        if deletes.positions && self.table.format_version() == 2 {
            self.delete_positions()?;
        }
        if deletes.equality && self.table.format_version() >= 2 {
            self.delete_equal()?;
        }
        if deletes.vectors && self.table.format_version() >= 3 {
            self.delete_vectors()?;
        }
        Ok(())
    }

    fn delete_positions(&mut self) -> Result<()> {
        let deletes = self.shape.deletes;
        let mut rows = Vec::new();
        for file in self.table.data_files() {
            let count = file.record_count as usize;
            let chosen = (0..count as i64).choose_multiple(&mut self.rng, count.div_ceil(10));
            rows.extend(chosen.into_iter().map(|position| (Some(file.path.clone()), position)));
        }
        if deletes.odd_rows {
            rows.push((None, 0));
            rows.push((Some(format!("{}/data/gone.parquet", self.table.location())), 0));
            let beyond = rows.first().and_then(|(path, _)| path.clone());
            rows.push((beyond, 1 << 40));
        }
        let before = self.delete_files();
        let mut change = self.table.change();
        change.delete_positions(&PositionDeletes {
            rows: rows.clone(),
            file_scoped: deletes.file_scoped,
            path_bounds: deletes.path_bounds,
        })?;
        let id = change.commit()?;
        // Which delete file a row went to does not matter: any that is live deletes it.
        for file in self.delete_files().iter().filter(|f| !before.iter().any(|b| b.path == f.path)) {
            self.model.deletes.insert((file.path.clone(), None), DeleteRows::Positions(rows.clone()));
        }
        self.note_snapshot(id, "delete", vec![]).map(|_| ())
    }

    fn delete_files(&self) -> Vec<Arc<ContentFile>> {
        let files = self.table.current_snapshot_id().and_then(|id| self.table.files(id).ok()).unwrap_or_default();
        files.into_iter().filter(|f| f.content != Content::Data).collect()
    }

    /// The columns of one equality delete: by themselves, together, and through structs.
    fn key_columns(&mut self) -> Vec<i32> {
        let id_of = |name: &str| self.table.schema().resolve(name).ok().and_then(|path| path.last().map(|f| f.id));
        let id = columns::ID;
        let candidates: Vec<Vec<Option<i32>>> = vec![
            vec![Some(id)],
            vec![Some(columns::CATEGORY), Some(columns::DAY), id_of("small")],
            vec![id_of("small"), Some(id)],
            vec![id_of("note"), Some(columns::DAY)],
            vec![Some(id), id_of("added")],
            vec![id_of("user.address.zip"), Some(columns::DAY)],
        ];
        let known = candidates.into_iter().filter_map(|ids| ids.into_iter().collect::<Option<Vec<i32>>>());
        known.choose(&mut self.rng).unwrap_or_else(|| vec![id])
    }

    fn delete_equal(&mut self) -> Result<()> {
        let Some(current) = self.table.current_snapshot_id() else { return Ok(()) };
        let ids = self.key_columns();
        let key_schema = self.table.projection(&ids)?;
        let alive = self.model.rows(current, &key_schema);
        let chosen = alive.iter().choose_multiple(&mut self.rng, alive.len().div_ceil(12));
        let keys: Vec<Row> = chosen.into_iter().map(|row| row.values.clone()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let batch = values::batch(&key_schema, &keys)?;
        let mut scopes: BTreeMap<String, (i32, Row)> = BTreeMap::new();
        for file in self.table.data_files() {
            scopes.insert(format!("{} {:?}", file.spec_id, file.partition), (file.spec_id, file.partition.clone()));
        }
        // A global one where some spec allows it; otherwise some of the partitions.
        if let Some(spec_id) = self.model.global_specs.first().copied().filter(|_| self.rng.random_bool(0.5)) {
            let width = self.table.specs().iter().find(|s| s.id == spec_id).map_or(0, |s| s.fields.len());
            scopes = BTreeMap::from([(String::new(), (spec_id, vec![None; width]))]);
        }
        let before = self.delete_files();
        let mut change = self.table.change();
        for (nth, scope) in scopes.into_values().enumerate() {
            if nth == 0 || self.rng.random_bool(0.7) {
                change.delete_equal(&ids, batch.clone(), Some(scope))?;
            }
        }
        let id = change.commit()?;
        for file in self.delete_files().iter().filter(|f| !before.iter().any(|b| b.path == f.path)) {
            self.model.deletes.insert((file.path.clone(), None), DeleteRows::Equality(key_schema.clone(), keys.clone()));
        }
        self.note_snapshot(id, "delete", vec![]).map(|_| ())
    }

    /// Vectors for half of the files. They do not repeat the position deletes of their files, which must not count any more.
    fn delete_vectors(&mut self) -> Result<()> {
        let files = self.table.data_files();
        let wanted = files.len().div_ceil(2);
        let mut vectors = Vec::new();
        for file in files.iter().choose_multiple(&mut self.rng, wanted) {
            let positions = (0..file.record_count).choose_multiple(&mut self.rng, (file.record_count as usize).div_ceil(8));
            vectors.push((file.path.clone(), positions));
        }
        let mut change = self.table.change();
        change.delete_vectors(&vectors)?;
        let added: Vec<ContentFile> = change.added_files().clone();
        let id = change.commit()?;
        for ((_, positions), file) in vectors.into_iter().zip(added) {
            self.model.deletes.insert((file.path.clone(), file.content_offset), DeleteRows::Vector(positions));
        }
        self.note_snapshot(id, "delete", vec![]).map(|_| ())
    }

    fn overwrite(&mut self) -> Result<()> {
        let gone: Vec<String> = self.table.data_files().iter().take(1).map(|f| f.path.clone()).collect();
        let rows = self.new_rows();
        let options = self.file_options();
        let written = self.model_rows(self.by_partition(rows), 1);
        let mut change = self.table.change();
        change.remove_files(&gone);
        let added = write_files(&mut change, written, &options, &mut self.model)?;
        let id = change.commit()?;
        self.note_snapshot(id, "overwrite", added).map(|_| ())
    }

    /// Puts the live rows of the two oldest files into new files.
    fn replace(&mut self) -> Result<()> {
        let Some(current) = self.table.current_snapshot_id() else { return Ok(()) };
        let mut files = self.table.data_files();
        files.sort_by(|a, b| (a.sequence_number, &a.path).cmp(&(b.sequence_number, &b.path)));
        let gone: Vec<String> = files.iter().take(2).map(|f| f.path.clone()).collect();
        let schema = self.table.schema().clone();
        let alive = self.model.rows(current, &schema).into_iter().filter(|row| gone.contains(&row.file));
        let rows: Vec<Row> = alive.map(|row| row.values).collect();
        let options = FileOptions { codec: Codec::Snappy, ..self.file_options() };
        let written = self.model_rows(self.by_partition(rows), 1);
        let mut change = self.table.change().operation("replace");
        change.remove_files(&gone);
        let added = write_files(&mut change, written, &options, &mut self.model)?;
        let id = change.commit()?;
        self.note_snapshot(id, "replace", added).map(|_| ())
    }
}

/// Writes each group of rows to a file of its own, and tells the model.
fn write_files(change: &mut Change<'_>, files: Vec<DataRows>, options: &FileOptions, model: &mut Model) -> Result<Vec<String>> {
    let mut locations = Vec::new();
    for file in files {
        let batch = values::batch(&file.schema, &file.rows)?;
        let written = change.append(&[batch], options)?;
        assert_eq!(written.len(), 1, "rows of one partition went to {written:?}");
        locations.extend(written.iter().cloned());
        model.data.extend(written.into_iter().map(|location| (location, file.clone())));
    }
    Ok(locations)
}
