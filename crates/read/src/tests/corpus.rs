//! Other people's Parquet files: the same values as the plain Parquet reader gives, or an error; never a crash.

use super::*;
use arrow::datatypes::TimeUnit;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// `FASTDATA_CORPUS`, where it is set.
fn corpus(of: &str) -> Option<PathBuf> {
    let found = std::env::var_os("FASTDATA_CORPUS").map(PathBuf::from).filter(|path| path.is_dir());
    if found.is_none() {
        eprintln!("skipped: FASTDATA_CORPUS is not set; '{of}' is not read");
    }
    Some(found?.join(of))
}

fn parquet_files(below: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            parquet_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "parquet") {
            into.push(path);
        }
    }
}

fn iceberg_type(ty: &DataType) -> Option<PrimitiveType> {
    Some(match ty {
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Int32 => PrimitiveType::Int,
        DataType::Int64 => PrimitiveType::Long,
        DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Utf8 => PrimitiveType::String,
        DataType::Binary => PrimitiveType::Binary,
        DataType::Date32 => PrimitiveType::Date,
        DataType::Timestamp(TimeUnit::Microsecond, None) => PrimitiveType::Timestamp,
        DataType::Decimal128(precision, scale) if *scale >= 0 => PrimitiveType::Decimal { precision: *precision, scale: *scale as u8 },
        DataType::FixedSizeBinary(length) => PrimitiveType::Fixed(*length as u32),
        _ => return None,
    })
}

/// The plain reader's rows of the top-level columns that have a type of ours, and those columns.
fn plainly(bytes: &Bytes) -> Option<(Schema, Vec<RecordBatch>)> {
    let metadata = ArrowReaderMetadata::load(bytes, Default::default()).ok()?;
    let ids = metadata.metadata().file_metadata().schema_descr().root_schema().get_fields().iter().any(|f| f.get_basic_info().has_id());
    let fields = metadata.schema().fields();
    let known: Vec<usize> = (0..fields.len()).filter(|at| !ids && iceberg_type(fields[*at].data_type()).is_some()).collect();
    let schema = known.iter().map(|at| Field::optional(*at as i32 + 1, fields[*at].name(), iceberg_type(fields[*at].data_type()).unwrap()));
    let schema = Schema::new(0, schema.collect()).ok()?;
    let mask = parquet::arrow::ProjectionMask::roots(metadata.metadata().file_metadata().schema_descr(), known);
    let read = catch_unwind(AssertUnwindSafe(|| {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), metadata).with_projection(mask);
        builder.build().ok()?.collect::<Result<Vec<_>, _>>().ok()
    }));
    Some((schema, read.ok().flatten()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encoding_and_codec_gives_what_the_plain_reader_gives() {
    let Some(corpus) = corpus("parquet-testing/data") else { return };
    let mut files = Vec::new();
    parquet_files(&corpus, &mut files);
    files.sort();
    let (mut same, mut refused) = (0, Vec::new());
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let Some((schema, batches)) = plainly(&Bytes::from(bytes.clone())) else { continue };
        if schema.fields.is_empty() {
            continue;
        }
        let mut world = World::new(schema);
        world.add(bytes, batches.iter().map(|batch| batch.num_rows() as u64).sum());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match tokio::time::timeout(std::time::Duration::from_secs(60), world.rows()).await.expect("a hang") {
            Err(error) => refused.push(format!("{name}: {error}")),
            Ok(rows) => {
                same += 1;
                let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
                assert_eq!(rows.num_rows(), count, "{name}");
                if let Some(first) = batches.first() {
                    let plain = concat_batches(&first.schema(), &batches).unwrap();
                    for (ours, theirs) in rows.columns().iter().zip(plain.columns()) {
                        assert_eq!(ours, &arrow::compute::cast(theirs, ours.data_type()).unwrap(), "{name}");
                    }
                }
            }
        }
    }
    eprintln!("{same} files alike; refused: {refused:#?}");
    assert!(same >= 30, "{same}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_whose_checksum_is_wrong_are_corrupt_and_name_the_file() {
    let Some(corpus) = corpus("parquet-testing/data") else { return };
    let ints = [("a", PrimitiveType::Int), ("b", PrimitiveType::Int)];
    let dictionaries = [("long_field", PrimitiveType::Long), ("binary_field", PrimitiveType::Binary)];
    for (name, columns, is_wrong) in [
        ("datapage_v1-corrupt-checksum.parquet", &ints, true),
        ("datapage_v1-uncompressed-checksum.parquet", &ints, false),
        ("rle-dict-uncompressed-corrupt-checksum.parquet", &dictionaries, true),
        ("rle-dict-snappy-checksum.parquet", &dictionaries, false),
    ] {
        let fields = columns.iter().zip(1..).map(|((name, ty), id)| Field::optional(id, *name, ty.clone())).collect();
        let mut world = World::new(Schema::new(0, fields).unwrap());
        let bytes = Bytes::from(std::fs::read(corpus.join(name)).unwrap());
        let rows = ArrowReaderMetadata::load(&bytes, Default::default()).unwrap().metadata().file_metadata().num_rows();
        world.add(bytes.to_vec(), rows as u64);
        match world.rows().await {
            Ok(rows) => assert!(!is_wrong && rows.num_rows() > 0, "{name}"),
            Err(error) => {
                assert!(is_wrong && error.kind() == ErrorKind::Corrupt, "{name}: {error}");
                assert!(error.message().contains("data/0.parquet") && error.message().contains("checksum"), "{name}: {error}");
            }
        }
    }
}

/// Encrypted footers and plain footers over encrypted columns.
#[tokio::test(flavor = "multi_thread")]
async fn encrypted_files_of_other_engines_are_refused_by_name() {
    let Some(corpus) = corpus("parquet-testing/data") else { return };
    let mut refused = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "encrypted") {
            let mut world = World::new(Schema::new(0, vec![Field::optional(1, "boolean_field", PrimitiveType::Boolean)]).unwrap());
            world.add(std::fs::read(&path).unwrap(), 0);
            let error = world.rows().await.unwrap_err();
            assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("encrypted"), "{}: {error}", path.display());
            refused += 1;
        }
    }
    assert!(refused >= 5, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_errors_or_rows_but_never_a_crash() {
    let Some(bad) = corpus("parquet-testing/bad_data") else { return };
    let mut files = Vec::new();
    parquet_files(&bad, &mut files);
    parquet_files(&bad.join("../../../hostile"), &mut files);
    assert!(files.len() >= 8, "{files:?}");
    for path in files {
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        let columns = catch_unwind(AssertUnwindSafe(|| ArrowReaderMetadata::load(&bytes, Default::default()).ok())).ok().flatten();
        let types: Vec<PrimitiveType> = match &columns {
            Some(metadata) => {
                metadata.schema().fields().iter().map(|f| iceberg_type(f.data_type()).unwrap_or(PrimitiveType::Binary)).collect()
            }
            None => vec![PrimitiveType::Long],
        };
        for (at, ty) in types.into_iter().enumerate() {
            let mut world = World::new(Schema::new(0, vec![Field::optional(at as i32 + 1, "c", ty)]).unwrap());
            world.add(bytes.to_vec(), 0);
            world.budget = 64 << 20;
            let outcome = tokio::time::timeout(std::time::Duration::from_secs(60), world.rows()).await.expect("a hang");
            if let Err(error) = outcome {
                assert!(error.message().contains("data/0.parquet"), "{}: {error}", path.display());
            }
        }
    }
}
