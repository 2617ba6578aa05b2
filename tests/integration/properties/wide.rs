//! The model's rows with every column a scan can return: the table's, then the metadata columns.

use super::{Row, Table};
use fastdata_testkit::table::{ModelRow, lines};
use fastdata_types::schema::{StructType, metadata_column};
use fastdata_types::transform::Transform;
use fastdata_types::{Field, PrimitiveType, Schema, Type, Value};
use fastdata_write::ContentFile;
use std::collections::BTreeMap;

pub struct Wide {
    /// The table's columns as the scan sees them, then the metadata columns.
    pub schema: Schema,
    pub rows: Vec<Row>,
}

impl Wide {
    /// The current state.
    pub fn current(table: &Table) -> Wide {
        let built = &table.built;
        Wide::of(table, built.schema(), built.current_rows())
    }

    /// `rows` are in the columns of `schema`.
    pub fn of(table: &Table, schema: &Schema, rows: Vec<ModelRow>) -> Wide {
        let partition = partition_type(table);
        let files = table.built.model.snapshots.iter().flat_map(|snapshot| &snapshot.files);
        let files: BTreeMap<&str, &ContentFile> = files.map(|file| (file.path.as_str(), file.as_ref())).collect();
        let wide = |row: ModelRow| {
            let file = files[row.file.as_str()];
            let tuple = partition_of(table, file, &partition);
            let mut values = row.values;
            values.extend([
                Some(Value::String(row.file)),
                Some(Value::Long(row.position as i64)),
                Some(Value::Int(row.spec_id)),
                Some(Value::Struct(tuple)),
                row.row_id.map(Value::Long),
                row.row_id.map(|_| Value::Long(row.sequence_number)),
            ]);
            values
        };
        let rows = rows.into_iter().map(wide).collect();
        let fields = schema.fields.iter().cloned().chain(metadata_column::fields(partition)).collect();
        Wide { schema: Schema::new(schema.id, fields).expect("ids are unique"), rows }
    }

    /// The names of all columns, as a request lists them.
    pub fn names(&self) -> Vec<String> {
        self.schema.fields.iter().map(|field| field.name.clone()).collect()
    }

    pub fn lines(&self) -> Vec<String> {
        lines(&self.rows)
    }
}

/// The union of the fields of all specs, by partition field id.
fn partition_type(table: &Table) -> StructType {
    let built = &table.built;
    let mut fields: BTreeMap<i32, Field> = BTreeMap::new();
    for field in built.table.specs().iter().flat_map(|spec| &spec.fields) {
        let source = built.schema().field_by_id(field.source_id).expect("no partition source is ever dropped");
        let ty = match field.transform {
            Transform::Identity | Transform::Truncate(_) | Transform::Void => source.ty.clone(),
            Transform::Bucket(_) | Transform::Year | Transform::Month | Transform::Hour => PrimitiveType::Int.into(),
            Transform::Day => PrimitiveType::Date.into(),
            Transform::Unknown(_) => PrimitiveType::String.into(),
        };
        let known = fields.entry(field.field_id).or_insert_with(|| Field::optional(field.field_id, &field.name, ty.clone()));
        if field.transform != Transform::Void {
            known.ty = ty;
        }
    }
    StructType { fields: fields.into_values().collect() }
}

fn partition_of(table: &Table, file: &ContentFile, ty: &StructType) -> Vec<Option<Value>> {
    let spec = table.built.table.specs().iter().find(|spec| spec.id == file.spec_id).expect("the file's spec");
    let value = |id: i32| spec.fields.iter().position(|field| field.field_id == id).and_then(|at| file.partition[at].clone());
    ty.fields.iter().map(|field| value(field.id)).collect()
}

/// A place in a row: the column, then members of structs.
#[derive(Debug, Clone)]
pub struct Place {
    pub names: Vec<String>,
    steps: Vec<usize>,
    pub ty: Type,
}

impl Place {
    /// Every place that a filter can name: what lies in no list and no map.
    pub fn all(schema: &Schema) -> Vec<Place> {
        let mut out = Vec::new();
        collect(&schema.fields, &Place { names: vec![], steps: vec![], ty: PrimitiveType::Unknown.into() }, &mut out);
        // Below `_partition` names are those of partition fields, which filters do not know.
        out.retain(|place| place.names[0] != "_partition");
        out
    }

    /// A null struct has null members.
    pub fn value<'r>(&self, row: &'r [Option<Value>]) -> Option<&'r Value> {
        let (first, rest) = self.steps.split_first()?;
        let mut value = row[*first].as_ref();
        for step in rest {
            let Some(Value::Struct(members)) = value else { return None };
            value = members[*step].as_ref();
        }
        value
    }

    pub fn primitive(&self) -> Option<&PrimitiveType> {
        self.ty.as_primitive()
    }

    /// As a filter writes it.
    pub fn sql(&self) -> String {
        self.names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(".")
    }
}

fn collect(fields: &[Field], above: &Place, out: &mut Vec<Place>) {
    for (at, field) in fields.iter().enumerate() {
        let names = above.names.iter().cloned().chain([field.name.clone()]).collect();
        let place = Place { names, steps: above.steps.iter().copied().chain([at]).collect(), ty: field.ty.clone() };
        if let Type::Struct(members) = &field.ty {
            collect(&members.fields, &place, out);
        }
        out.push(place);
    }
}
