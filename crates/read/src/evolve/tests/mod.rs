//! Files are written here with the Arrow writer or, for forms it does not write, column by column, then resolved, decoded and transformed.

mod conversions;
mod foreign_files;
mod nested;
mod property;
mod rules;

use super::{FileProjection, ResolveContext, constant_array};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray};
use arrow::datatypes::*;
use bytes::Bytes;
use fastdata_types::arrow_type::{arrow_field, arrow_schema};
use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::metadata::{MappedField, NameMapping};
use fastdata_types::request::StringEncoding;
use fastdata_types::schema::{Field as IcebergField, PrimitiveType, Schema, Type};
use fastdata_types::value::Value;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::data_type as parquet_type;
use parquet::data_type::{ByteArray, Int96};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::collections::HashMap;
use std::sync::Arc;

type Row = Vec<Option<Value>>;

/// How a file is read in a test.
struct Reading<'a> {
    target: &'a Schema,
    table: Option<&'a Schema>,
    mapping: Option<NameMapping>,
    constants: HashMap<i32, Option<Value>>,
    strings: StringEncoding,
    views: bool,
    batch_rows: usize,
}

fn reading(target: &Schema) -> Reading<'_> {
    Reading { target, table: None, mapping: None, constants: HashMap::new(), strings: StringEncoding::Utf8, views: true, batch_rows: 3 }
}

impl Reading<'_> {
    fn resolve(&self, file: &dyn FileReader) -> Result<FileProjection> {
        let context = ResolveContext {
            file: "f.parquet",
            table_schema: self.table.unwrap_or(self.target),
            name_mapping: self.mapping.as_ref(),
            constants: &self.constants,
            strings: self.strings,
            decode_views: self.views,
        };
        FileProjection::resolve(file.metadata().file_metadata().schema_descr(), self.target, &context)
    }

    /// The target's columns batch by batch; each is checked to have exactly the target's Arrow schema.
    fn batches(&self, bytes: &Bytes) -> Result<Vec<RecordBatch>> {
        let file: Arc<dyn FileReader> = Arc::new(SerializedFileReader::new(bytes.clone()).map_err(undecodable)?);
        let projection = self.resolve(file.as_ref())?;
        let schema = Arc::new(arrow_schema(self.target, self.strings)?);
        let rows = file.metadata().row_groups().iter().map(|group| group.num_rows() as usize).sum();
        let batch = |arrays, rows| {
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options).expect("the arrays are of the target's types")
        };
        if projection.leaves().is_empty() {
            return Ok(vec![batch(projection.transform(&[], rows)?, rows)]);
        }
        let mut out = Vec::new();
        let reader = ParquetRecordBatchReader::try_new_with_row_groups(&projection.levels()?, &file, self.batch_rows, None);
        for decoded in reader.map_err(undecodable)? {
            let decoded = decoded.map_err(|e| Error::corrupt(Stage::Read, e.to_string()))?;
            out.push(batch(projection.transform(decoded.columns(), decoded.num_rows())?, decoded.num_rows()));
        }
        Ok(out)
    }

    fn rows(&self, bytes: &Bytes) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for batch in self.batches(bytes)? {
            rows.extend(rows_of(batch.columns(), batch.num_rows(), &self.target.fields));
        }
        Ok(rows)
    }

    fn column(&self, bytes: &Bytes) -> Result<Vec<Option<Value>>> {
        Ok(self.rows(bytes)?.into_iter().map(|mut row| row.remove(0)).collect())
    }
}

fn undecodable(error: parquet::errors::ParquetError) -> Error {
    Error::corrupt(Stage::Read, error.to_string())
}

fn rows_of(columns: &[ArrayRef], rows: usize, fields: &[IcebergField]) -> Vec<Row> {
    (0..rows).map(|row| columns.iter().zip(fields).map(|(array, field)| value_at(array, row, &field.ty)).collect()).collect()
}

fn value_at(array: &ArrayRef, row: usize, ty: &Type) -> Option<Value> {
    if array.data_type() == &DataType::Null || array.is_null(row) {
        return None;
    }
    Some(match ty {
        Type::Struct(s) => {
            let children = array.as_struct();
            Value::Struct(s.fields.iter().enumerate().map(|(at, f)| value_at(children.column(at), row, &f.ty)).collect())
        }
        Type::List(list) => {
            let items = array.as_list::<i32>().value(row);
            Value::List((0..items.len()).map(|at| value_at(&items, at, &list.element.ty)).collect())
        }
        Type::Map(map) => {
            let entries = array.as_map().value(row);
            let entry = |at| {
                (value_at(entries.column(0), at, &map.key.ty).expect("keys are never null"), value_at(entries.column(1), at, &map.value.ty))
            };
            Value::Map((0..entries.len()).map(entry).collect())
        }
        Type::Primitive(primitive) => match primitive {
            PrimitiveType::Boolean => Value::Boolean(array.as_boolean().value(row)),
            PrimitiveType::Int => Value::Int(array.as_primitive::<Int32Type>().value(row)),
            PrimitiveType::Long => Value::Long(array.as_primitive::<Int64Type>().value(row)),
            PrimitiveType::Float => Value::Float(array.as_primitive::<Float32Type>().value(row)),
            PrimitiveType::Double => Value::Double(array.as_primitive::<Float64Type>().value(row)),
            PrimitiveType::Decimal { precision, scale } => {
                Value::Decimal { unscaled: array.as_primitive::<Decimal128Type>().value(row), precision: *precision, scale: *scale }
            }
            PrimitiveType::Date => Value::Date(array.as_primitive::<Date32Type>().value(row)),
            PrimitiveType::Time => Value::Time(array.as_primitive::<Time64MicrosecondType>().value(row)),
            PrimitiveType::Timestamp => Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)),
            PrimitiveType::Timestamptz => Value::Timestamptz(array.as_primitive::<TimestampMicrosecondType>().value(row)),
            PrimitiveType::TimestampNs => Value::TimestampNs(array.as_primitive::<TimestampNanosecondType>().value(row)),
            PrimitiveType::TimestamptzNs => Value::TimestamptzNs(array.as_primitive::<TimestampNanosecondType>().value(row)),
            PrimitiveType::String => Value::String(match array.data_type() {
                DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
                DataType::Utf8View => array.as_string_view().value(row).to_owned(),
                _ => {
                    let dictionary = array.as_dictionary::<Int32Type>();
                    dictionary.values().as_string::<i32>().value(dictionary.key(row).expect("not null")).to_owned()
                }
            }),
            PrimitiveType::Uuid => Value::Uuid(array.as_fixed_size_binary().value(row).try_into().expect("16 bytes")),
            PrimitiveType::Fixed(_) => Value::Fixed(array.as_fixed_size_binary().value(row).to_vec()),
            PrimitiveType::Binary => Value::Binary(array.as_binary::<i32>().value(row).to_vec()),
            other => panic!("no values of {other}"),
        },
    })
}

/// A column of the field's Arrow type, one row after the other.
fn array_of<'a>(values: impl Iterator<Item = Option<&'a Value>>, field: &IcebergField) -> ArrayRef {
    let arrays: Vec<ArrayRef> = values.map(|v| constant_array(v, field, StringEncoding::Utf8, 1).expect("a value of the type")).collect();
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    arrow::compute::concat(&arrays).expect("arrays of one type")
}

/// A file with field ids at every level, as an Iceberg writer makes it.
fn write(schema: &Schema, rows: &[Row]) -> Bytes {
    let fields: Vec<FieldRef> = schema.fields.iter().map(|f| Arc::new(arrow_field(f, StringEncoding::Utf8).expect("readable"))).collect();
    let columns: Vec<ArrayRef> =
        schema.fields.iter().enumerate().map(|(at, field)| array_of(rows.iter().map(|row| row[at].as_ref()), field)).collect();
    write_arrow(fields, columns)
}

fn write_arrow(fields: Vec<FieldRef>, columns: Vec<ArrayRef>) -> Bytes {
    let batch = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).expect("columns of the fields' types");
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    out.into()
}

/// The same fields without ids, list and map children under names of the caller's choice.
fn without_ids(field: &Field, element: &str) -> Field {
    let child = |f: &FieldRef| Arc::new(without_ids(f, element));
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(child).collect()),
        DataType::List(item) => DataType::List(Arc::new(without_ids(item, element).with_name(element))),
        DataType::Map(entries, sorted) => DataType::Map(child(entries), *sorted),
        other => other.clone(),
    };
    Field::new(field.name(), data_type, field.is_nullable())
}

/// A file as `write` makes it but without any field id, its list elements under a name of their own.
fn write_without_ids(schema: &Schema, rows: &[Row]) -> Bytes {
    let fields: Vec<FieldRef> =
        schema.fields.iter().map(|f| Arc::new(without_ids(&arrow_field(f, StringEncoding::Utf8).expect("readable"), "bag_item"))).collect();
    let column = |(at, field): (usize, &IcebergField)| {
        let array = array_of(rows.iter().map(|row| row[at].as_ref()), field);
        retype(&array, fields[at].data_type())
    };
    let columns: Vec<ArrayRef> = schema.fields.iter().enumerate().map(column).collect();
    write_arrow(fields, columns)
}

/// The same values under a type that differs in names and metadata only.
fn retype(array: &ArrayRef, ty: &DataType) -> ArrayRef {
    match ty {
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let children = array.columns().iter().zip(fields).map(|(child, field)| retype(child, field.data_type())).collect();
            Arc::new(StructArray::new(fields.clone(), children, array.nulls().cloned()))
        }
        DataType::List(item) => {
            let array = array.as_list::<i32>();
            let values = retype(array.values(), item.data_type());
            Arc::new(ListArray::new(Arc::clone(item), array.offsets().clone(), values, array.nulls().cloned()))
        }
        DataType::Map(entry, sorted) => {
            let array = array.as_map();
            let entries: ArrayRef = Arc::new(array.entries().clone());
            let entries = retype(&entries, entry.data_type()).as_struct().clone();
            Arc::new(MapArray::new(Arc::clone(entry), array.offsets().clone(), entries, array.nulls().cloned(), *sorted))
        }
        _ => Arc::clone(array),
    }
}

/// The values of one leaf column with their levels.
struct Leaf {
    values: LeafValues,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

enum LeafValues {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Bytes(Vec<Vec<u8>>),
    Fixed(Vec<Vec<u8>>),
}

impl LeafValues {
    /// A required top-level column.
    fn required(self) -> Leaf {
        self.levels(&[], &[])
    }

    fn levels(self, definition: &[i16], repetition: &[i16]) -> Leaf {
        Leaf { values: self, definition: definition.to_vec(), repetition: repetition.to_vec() }
    }
}

fn bytes(values: &[&[u8]]) -> LeafValues {
    LeafValues::Bytes(values.iter().map(|v| v.to_vec()).collect())
}

/// A file of exactly this Parquet schema.
fn write_message(message: &str, leaves: Vec<Leaf>) -> Bytes {
    let schema = Arc::new(parse_message_type(message).expect("a Parquet schema"));
    let mut out = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut out, schema, Arc::default()).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    for leaf in leaves {
        let mut column = group.next_column().expect("a writer").expect("as many leaves as the schema has");
        let some = |levels: &Vec<i16>| (!levels.is_empty()).then(|| levels.clone());
        let (def, rep) = (some(&leaf.definition), some(&leaf.repetition));
        let (def, rep) = (def.as_deref(), rep.as_deref());
        let byte_arrays = |values: Vec<Vec<u8>>| values.into_iter().map(ByteArray::from).collect::<Vec<_>>();
        match leaf.values {
            LeafValues::Int32(values) => column.typed::<parquet_type::Int32Type>().write_batch(&values, def, rep),
            LeafValues::Int64(values) => column.typed::<parquet_type::Int64Type>().write_batch(&values, def, rep),
            LeafValues::Int96(values) => column.typed::<parquet_type::Int96Type>().write_batch(&values, def, rep),
            LeafValues::Bytes(values) => column.typed::<parquet_type::ByteArrayType>().write_batch(&byte_arrays(values), def, rep),
            LeafValues::Fixed(values) => {
                let values: Vec<_> = byte_arrays(values).into_iter().map(parquet_type::FixedLenByteArray::from).collect();
                column.typed::<parquet_type::FixedLenByteArrayType>().write_batch(&values, def, rep)
            }
        }
        .expect("written");
        column.close().expect("closed");
    }
    group.close().expect("closed");
    writer.close().expect("closed");
    out.into()
}

/// A name mapping that gives each field of the schema its own name and list and map children the names of the specification.
fn mapping_of(fields: &[IcebergField]) -> Vec<MappedField> {
    let mapped = |field: &IcebergField| MappedField {
        field_id: Some(field.id),
        names: vec![field.name.clone()],
        fields: mapping_of(&field.ty.children().into_iter().cloned().collect::<Vec<_>>()),
    };
    fields.iter().map(mapped).collect()
}

fn s(text: &str) -> Option<Value> {
    Some(Value::String(text.to_owned()))
}

fn int(value: i32) -> Option<Value> {
    Some(Value::Int(value))
}

fn structure(values: Vec<Option<Value>>) -> Option<Value> {
    Some(Value::Struct(values))
}

fn list(values: Vec<Option<Value>>) -> Option<Value> {
    Some(Value::List(values))
}

fn schema(fields: Vec<IcebergField>) -> Schema {
    Schema::new(0, fields).expect("unique ids")
}
