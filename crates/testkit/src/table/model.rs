//! What a table holds, by brute force: every row of every file, every delete, every snapshot.
//!
//! Contract: [`Model::rows`] is the answer that the specification gives. It shares no code with the stages: deletes are tried row by row, and each row
//! is brought to the wanted schema by field id. How: the builder tells the model what it wrote, and where.

use fastdata_types::{Field, Result, Schema, Type, Value};
use fastdata_write::{Content, ContentFile};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A row, and where it is.
#[derive(Debug, Clone)]
pub struct ModelRow {
    pub file: String,
    pub position: u64,
    pub spec_id: i32,
    pub sequence_number: i64,
    /// v3 row lineage.
    pub row_id: Option<i64>,
    /// One per top-level column of the schema that was asked for.
    pub values: Vec<Option<Value>>,
}

#[derive(Debug, Clone)]
pub struct ModelSnapshot {
    pub id: i64,
    pub parent_id: Option<i64>,
    pub timestamp_ms: i64,
    /// The table's schema when it was made.
    pub schema: Schema,
    pub operation: String,
    /// Live data and delete files.
    pub files: Vec<Arc<ContentFile>>,
    /// Locations of the data files it added.
    pub added: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct DataRows {
    pub schema: Schema,
    pub rows: Vec<Vec<Option<Value>>>,
}

/// The content of a delete file, by what its manifest entry is called: location, and offset for vectors.
#[derive(Debug, Clone)]
pub(super) enum DeleteRows {
    Positions(Vec<(Option<String>, i64)>),
    /// Of one data file.
    Vector(Vec<u64>),
    /// The schema of the keys, and the keys.
    Equality(Schema, Vec<Vec<Option<Value>>>),
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub snapshots: Vec<ModelSnapshot>,
    pub(super) data: BTreeMap<String, DataRows>,
    pub(super) deletes: BTreeMap<(String, Option<i64>), DeleteRows>,
    /// Specs without a live field, whose equality deletes are global.
    pub(super) global_specs: Vec<i32>,
}

impl Model {
    pub fn snapshot(&self, id: i64) -> Option<&ModelSnapshot> {
        self.snapshots.iter().find(|s| s.id == id)
    }

    /// The rows of a snapshot in the columns of `schema`, in table order: data sequence number, path, position.
    pub fn rows(&self, snapshot_id: i64, schema: &Schema) -> Vec<ModelRow> {
        let Some(snapshot) = self.snapshot(snapshot_id) else { return vec![] };
        let mut data: Vec<&Arc<ContentFile>> = snapshot.files.iter().filter(|f| f.content == Content::Data).collect();
        data.sort_by(|a, b| (a.sequence_number, &a.path).cmp(&(b.sequence_number, &b.path)));
        let mut out = Vec::new();
        for file in data {
            out.extend(self.file_rows(file, schema, |position, row| !self.is_deleted(snapshot, file, position, row)));
        }
        out
    }

    /// The rows that the appends after `from` (none: from the beginning) up to `to` added, deletes left aside.
    pub fn appended_rows(&self, from: Option<i64>, to: i64, schema: &Schema) -> Vec<ModelRow> {
        let mut out = Vec::new();
        let mut at = Some(to);
        while let Some(snapshot) = at.filter(|id| Some(*id) != from).and_then(|id| self.snapshot(id)) {
            if snapshot.operation == "append" {
                let added = snapshot.files.iter().filter(|f| snapshot.added.contains(&f.path));
                out.extend(added.flat_map(|file| self.file_rows(file, schema, |_, _| true)));
            }
            at = snapshot.parent_id;
        }
        out.sort_by(|a, b| (a.sequence_number, &a.file, a.position).cmp(&(b.sequence_number, &b.file, b.position)));
        out
    }

    fn file_rows(&self, file: &ContentFile, schema: &Schema, keep: impl Fn(u64, &[Option<Value>]) -> bool) -> Vec<ModelRow> {
        let Some(data) = self.data.get(&file.path) else { return vec![] };
        let rows = data.rows.iter().enumerate().filter(|(position, row)| keep(*position as u64, row));
        let located = |(position, row): (usize, &Vec<Option<Value>>)| ModelRow {
            file: file.path.clone(),
            position: position as u64,
            spec_id: file.spec_id,
            sequence_number: file.sequence_number,
            row_id: file.first_row_id.map(|first| first + position as i64),
            values: project_row(row, &data.schema, schema),
        };
        rows.map(located).collect()
    }

    fn is_deleted(&self, snapshot: &ModelSnapshot, file: &ContentFile, position: u64, row: &[Option<Value>]) -> bool {
        let of = |delete: &ContentFile| self.deletes.get(&(delete.path.clone(), delete.content_offset));
        let not_before = |delete: &&Arc<ContentFile>| file.sequence_number <= delete.sequence_number;
        let deletes = || snapshot.files.iter().filter(|f| f.content != Content::Data);
        let vector = deletes()
            .filter(not_before)
            .filter(|d| d.content_offset.is_some() && d.referenced_data_file.as_ref() == Some(&file.path))
            .find_map(|d| of(d));
        let by_position = match vector {
            Some(DeleteRows::Vector(positions)) => positions.contains(&position),
            _ => deletes().filter(not_before).any(|d| match of(d) {
                Some(DeleteRows::Positions(rows)) => rows.contains(&(Some(file.path.clone()), position as i64)),
                _ => false,
            }),
        };
        by_position
            || deletes().any(|d| file.sequence_number < d.sequence_number && self.is_in_scope(d, file) && self.has_key(of(d), file, row))
    }

    fn is_in_scope(&self, delete: &ContentFile, file: &ContentFile) -> bool {
        let same_partition = delete.spec_id == file.spec_id && format!("{:?}", delete.partition) == format!("{:?}", file.partition);
        self.global_specs.contains(&delete.spec_id) || same_partition
    }

    fn has_key(&self, delete: Option<&DeleteRows>, file: &ContentFile, row: &[Option<Value>]) -> bool {
        let (Some(DeleteRows::Equality(schema, keys)), Some(data)) = (delete, self.data.get(&file.path)) else { return false };
        let key = widest(&project_row(row, &data.schema, schema));
        keys.iter().any(|k| widest(k) == key)
    }
}

/// Equal for equal keys whatever they were promoted from; NULL equals NULL. A null struct and one of nulls are the same key.
fn widest(key: &[Option<Value>]) -> String {
    fn leaf(value: Option<&Value>, out: &mut Vec<String>) {
        match value {
            Some(Value::Int(v)) => out.push(format!("{v}")),
            Some(Value::Long(v)) => out.push(format!("{v}")),
            Some(Value::Float(v)) => out.push(format!("{:?}", f64::from(*v))),
            Some(Value::Double(v)) => out.push(format!("{v:?}")),
            Some(Value::Decimal { unscaled, scale, .. }) => out.push(format!("{unscaled}e-{scale}")),
            Some(Value::Struct(members)) => members.iter().for_each(|m| leaf(m.as_ref(), out)),
            other => out.push(format!("{other:?}")),
        }
    }
    let mut out = Vec::new();
    key.iter().for_each(|value| leaf(value.as_ref(), &mut out));
    out.join("|")
}

/// A row of `from` in the columns of `to`, by field id (spec "Column Projection").
pub fn project_row(row: &[Option<Value>], from: &Schema, to: &Schema) -> Vec<Option<Value>> {
    project_members(row, &from.fields, &to.fields)
}

fn project_members(row: &[Option<Value>], from: &[Field], to: &[Field]) -> Vec<Option<Value>> {
    let member = |wanted: &Field| match from.iter().position(|f| f.id == wanted.id) {
        Some(at) => project(row[at].as_ref(), &from[at].ty, &wanted.ty),
        None => wanted.initial_default.clone(),
    };
    to.iter().map(member).collect()
}

fn project(value: Option<&Value>, from: &Type, to: &Type) -> Option<Value> {
    use fastdata_types::PrimitiveType as P;
    Some(match (value?, from, to) {
        (Value::Struct(members), Type::Struct(f), Type::Struct(t)) => Value::Struct(project_members(members, &f.fields, &t.fields)),
        (Value::List(items), Type::List(f), Type::List(t)) => {
            Value::List(items.iter().map(|item| project(item.as_ref(), &f.element.ty, &t.element.ty)).collect())
        }
        (Value::Map(entries), Type::Map(f), Type::Map(t)) => {
            let entry = |(key, value): &(Value, Option<Value>)| {
                Some((project(Some(key), &f.key.ty, &t.key.ty)?, project(value.as_ref(), &f.value.ty, &t.value.ty)))
            };
            Value::Map(entries.iter().filter_map(entry).collect())
        }
        (Value::Int(v), _, Type::Primitive(P::Long)) => Value::Long(i64::from(*v)),
        (Value::Float(v), _, Type::Primitive(P::Double)) => Value::Double(f64::from(*v)),
        (Value::Decimal { unscaled, scale, .. }, _, Type::Primitive(P::Decimal { precision, .. })) => {
            Value::Decimal { unscaled: *unscaled, precision: *precision, scale: *scale }
        }
        (other, _, _) => other.clone(),
    })
}

/// The rows as one batch of the schema's Arrow types.
pub fn to_batch(rows: &[ModelRow], schema: &Schema) -> Result<arrow::array::RecordBatch> {
    let values: Vec<Vec<Option<Value>>> = rows.iter().map(|row| row.values.clone()).collect();
    fastdata_write::values::batch(schema, &values)
}
