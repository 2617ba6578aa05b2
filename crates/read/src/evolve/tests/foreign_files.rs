//! Files that other engines wrote: every one is read as the decoder alone reads it, or refused by name.

use super::*;
use arrow::array::StructArray;
use arrow::datatypes::Field as ArrowField;
use fastdata_types::arrow_type::FIELD_ID_KEY;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

fn corpus() -> Option<PathBuf> {
    let found = std::env::var_os("FASTDATA_CORPUS").map(PathBuf::from).filter(|path| path.is_dir());
    if found.is_none() {
        eprintln!("skipped: FASTDATA_CORPUS names no directory");
    }
    found
}

fn parquet_files(below: &Path) -> Vec<PathBuf> {
    let mut open = vec![below.to_path_buf()];
    let mut files = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("a readable directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The Iceberg field that a column would be added to a table as; `None` where no type takes it.
struct Derivation {
    next_id: i32,
    by_ids: bool,
}

impl Derivation {
    fn field(&mut self, field: &ArrowField) -> Option<IcebergField> {
        let own = field.metadata().get(FIELD_ID_KEY).and_then(|id| id.parse().ok());
        let id = own.filter(|_| self.by_ids).unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id
        });
        Some(IcebergField::new(id, field.name(), !field.is_nullable(), self.ty(field.data_type())?))
    }

    fn has_no_place(&self, field: &ArrowField) -> bool {
        self.by_ids && !field.metadata().contains_key(FIELD_ID_KEY)
    }

    fn ty(&mut self, ty: &DataType) -> Option<Type> {
        Some(Type::Primitive(match ty {
            DataType::Null => PrimitiveType::Unknown,
            DataType::Boolean => PrimitiveType::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => PrimitiveType::Int,
            DataType::UInt32 | DataType::Int64 => PrimitiveType::Long,
            DataType::Float16 | DataType::Float32 => PrimitiveType::Float,
            DataType::Float64 => PrimitiveType::Double,
            DataType::Decimal128(p, s) | DataType::Decimal256(p, s) if *p <= 38 && *s >= 0 => {
                PrimitiveType::Decimal { precision: *p, scale: *s as u8 }
            }
            DataType::Date32 => PrimitiveType::Date,
            DataType::Time32(_) | DataType::Time64(_) => PrimitiveType::Time,
            DataType::Timestamp(_, None) => PrimitiveType::Timestamp,
            DataType::Timestamp(_, Some(_)) => PrimitiveType::Timestamptz,
            DataType::Utf8 => PrimitiveType::String,
            DataType::Binary => PrimitiveType::Binary,
            DataType::FixedSizeBinary(length) => PrimitiveType::Fixed(*length as u32),
            DataType::Struct(fields) => {
                let kept: Vec<&FieldRef> = fields.iter().filter(|field| !self.has_no_place(field)).collect();
                return Some(Type::structure(kept.into_iter().map(|field| self.field(field)).collect::<Option<_>>()?));
            }
            DataType::List(element) => {
                let element = self.field(element)?;
                return Some(Type::list(element.id, element.required, element.ty));
            }
            DataType::Map(entries, _) => {
                let DataType::Struct(entry) = entries.data_type() else { return None };
                let (key, value) = (self.field(&entry[0])?, self.field(&entry[1])?);
                return Some(Type::map(key.id, key.ty, value.id, value.required, value.ty));
            }
            _ => return None,
        }))
    }
}

/// The decoder's own array under the target's type: its children in the same places, its leaves cast.
fn cast_along(array: &ArrayRef, ty: &DataType) -> ArrayRef {
    match ty {
        DataType::Struct(fields) if fields.is_empty() => Arc::new(StructArray::new_empty_fields(array.len(), array.nulls().cloned())),
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let of = |field: &FieldRef| {
                let id = &field.metadata()[FIELD_ID_KEY];
                let by_id = array.fields().iter().position(|f| f.metadata().get(FIELD_ID_KEY) == Some(id));
                by_id.unwrap_or_else(|| array.fields().iter().position(|f| f.name() == field.name()).expect("the column"))
            };
            let children = fields.iter().map(|field| cast_along(array.column(of(field)), field.data_type())).collect();
            Arc::new(StructArray::new(fields.clone(), children, array.nulls().cloned()))
        }
        DataType::List(element) => {
            let array = array.as_list::<i32>();
            let values = cast_along(array.values(), element.data_type());
            Arc::new(ListArray::new(Arc::clone(element), array.offsets().clone(), values, array.nulls().cloned()))
        }
        DataType::Map(entry, _) => {
            let array = array.as_map();
            let DataType::Struct(fields) = entry.data_type() else { unreachable!("maps hold structs") };
            let children = array.entries().columns().iter().zip(fields).map(|(c, f)| cast_along(c, f.data_type())).collect();
            let entries = StructArray::new(fields.clone(), children, None);
            Arc::new(MapArray::new(Arc::clone(entry), array.offsets().clone(), entries, array.nulls().cloned(), false))
        }
        _ => arrow::compute::cast(array, ty).expect("a cast"),
    }
}

enum Outcome {
    Equal,
    /// The decoder itself cannot read the file or the column.
    Undecodable,
    NoIcebergType,
}

/// Reads one column both ways.
fn compare(path: &Path, bytes: &Bytes, at: usize, arrow: &ArrowField, by_ids: bool) -> Outcome {
    if by_ids && !arrow.metadata().contains_key(FIELD_ID_KEY) {
        return Outcome::NoIcebergType;
    }
    let mut derivation = Derivation { next_id: 1_000_000, by_ids };
    let Some(mut field) = derivation.field(arrow) else { return Outcome::NoIcebergType };
    if !by_ids {
        field.id = at as i32 + 1;
    }
    let target = schema(vec![field]);
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let alone = catch_unwind(AssertUnwindSafe(|| {
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options).ok()?;
        let mask = parquet::arrow::ProjectionMask::roots(builder.parquet_schema(), [at]);
        let batches = builder.with_projection(mask).with_batch_size(1000).build().ok()?.collect::<Result<Vec<_>, _>>();
        batches.ok()
    }));
    let Ok(Some(alone)) = alone else { return Outcome::Undecodable };
    for views in [true, false] {
        let reading = Reading { views, batch_rows: 1000, ..reading(&target) };
        let ours = reading.batches(bytes).unwrap_or_else(|e| panic!("{}: column '{}': {e:?}", path.display(), arrow.name()));
        // A footer may count no rows where its row groups do; then the decoder alone reads none.
        assert!(alone.is_empty() || ours.len() == alone.len(), "{}", path.display());
        for (ours, alone) in ours.iter().zip(&alone) {
            let expected = cast_along(alone.column(0), ours.column(0).data_type());
            assert_eq!(ours.column(0), &expected, "{}: column '{}'", path.display(), arrow.name());
        }
    }
    Outcome::Equal
}

#[test]
fn files_of_other_engines_read_as_the_decoder_alone_reads_them() {
    let Some(corpus) = corpus() else { return };
    let (mut equal, mut undecodable, mut untyped) = (0, 0, 0);
    for path in parquet_files(&corpus) {
        let bytes = Bytes::from(std::fs::read(&path).expect("a readable file"));
        // The instants of the Spark file leave the nanoseconds that the decoder alone reads INT96 in; see the test below.
        let skipped = ["bad_data", "int96_from_spark.parquet"];
        if path.components().any(|part| skipped.iter().any(|skipped| part.as_os_str() == *skipped)) || bytes.len() > 1 << 20 {
            continue;
        }
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let Ok(metadata) = ArrowReaderMetadata::load(&bytes, options) else {
            undecodable += 1;
            continue;
        };
        let by_ids = super::super::file_column::has_ids(metadata.parquet_schema().root_schema());
        for (at, field) in metadata.schema().fields().iter().enumerate() {
            match compare(&path, &bytes, at, field, by_ids) {
                Outcome::Equal => equal += 1,
                Outcome::Undecodable => undecodable += 1,
                Outcome::NoIcebergType => untyped += 1,
            }
        }
    }
    eprintln!("{equal} columns equal, {undecodable} undecodable, {untyped} without an Iceberg type");
    assert!(equal > 500, "{equal} columns equal, {undecodable} undecodable, {untyped} without an Iceberg type");
}

#[test]
fn int96_of_spark_beyond_the_year_2262_keeps_its_instants() {
    let Some(corpus) = corpus() else { return };
    let bytes = Bytes::from(std::fs::read(corpus.join("parquet-testing/data/int96_from_spark.parquet")).expect("a readable file"));
    let target = schema(vec![IcebergField::optional(1, "a", PrimitiveType::Timestamptz)]);
    let micros = [1_704_141_296_123_456, 1_704_070_800_000_000, 253_402_225_200_000_000, 1_735_599_600_000_000];
    let expected: Vec<_> = micros
        .into_iter()
        .map(|v| Some(Value::Timestamptz(v)))
        .chain([None, Some(Value::Timestamptz(9_089_380_393_200_000_000))])
        .collect();
    assert_eq!(reading(&target).column(&bytes).unwrap(), expected);
}

#[test]
fn malformed_schemas_resolve_or_are_refused_without_a_panic() {
    let Some(corpus) = corpus() else { return };
    let target = schema((1..6).map(|id| IcebergField::optional(id, format!("c{id}"), PrimitiveType::Long)).collect());
    for path in parquet_files(&corpus.join("parquet-testing")) {
        let bytes = Bytes::from(std::fs::read(&path).expect("a readable file"));
        if let Ok(file) = SerializedFileReader::new(bytes) {
            let _ = reading(&target).resolve(&file);
        }
    }
    for message in [
        "optional group c (MAP) { repeated group e { required int32 a; required int32 b; required int32 d; } }",
        "optional group c (MAP) { optional int32 a; }",
        "optional group c (MAP) { repeated group e { repeated int32 a; required int32 b; } }",
        "optional group c (LIST) { optional int32 a; }",
        "optional group c (LIST) { repeated int32 a; repeated int32 b; }",
        "repeated group c (LIST) { repeated group list { optional int32 element; } }",
        "optional group c (MAP) { repeated group e { required int32 key; } }",
    ] {
        let root = Arc::new(parse_message_type(&format!("message m {{ {message} required int64 d; }}")).expect("a Parquet schema"));
        let parquet = parquet::schema::types::SchemaDescriptor::new(root);
        let context = |constants| ResolveContext {
            file: "f",
            table_schema: &target,
            name_mapping: None,
            constants,
            strings: StringEncoding::Utf8,
            decode_views: true,
        };
        let constants = HashMap::new();
        let error = FileProjection::resolve(&parquet, &target, &context(&constants)).err().expect("no long is in there");
        assert!(error.message().contains("'c1'"), "{error}");
    }
}
