//! The decode floor: what raw parquet-rs costs to decode the same files, one row group per rayon task, Utf8, batches of 8192.
//!
//! usage: decode_floor [--views] PATH...        decode every Parquet file below the paths, drop the batches, print rows and seconds
//!        decode_floor --checksum PATH...       print an order-independent checksum of the rows of Parquet or Arrow files
//!
//! Nothing of fastdata is in here: it is the yardstick that `fastdata scan -o none` is held against in the same run.

#![expect(clippy::print_stdout, reason = "a program that prints its result")]

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::row::{RowConverter, SortField};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use rayon::prelude::*;
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| paths.iter().position(|p| p == name).map(|at| paths.remove(at)).is_some();
    let (views, checksum) = (flag("--views"), flag("--checksum"));
    let mut files = Vec::new();
    for path in &paths {
        collect(Path::new(path), &mut files)?;
    }
    files.sort();
    let started = Instant::now();
    if checksum {
        let sums = files.par_iter().map(|file| checksum_file(file)).collect::<Outcome<Vec<_>>>()?;
        let (rows, sum) = sums.into_iter().fold((0u64, 0u64), |(rows, sum), (r, s)| (rows + r, sum.wrapping_add(s)));
        println!("{{\"rows\": {rows}, \"checksum\": \"{sum:016x}\"}}");
        return Ok(());
    }
    let mut tasks = Vec::new();
    for file in &files {
        let metadata = metadata(file, views)?;
        tasks.extend((0..metadata.metadata().num_row_groups()).map(|row_group| (file.clone(), metadata.clone(), row_group)));
    }
    let row_groups = tasks.len();
    let rows: u64 = tasks.into_par_iter().map(|(file, metadata, row_group)| decode(&file, metadata, row_group)).sum::<Outcome<u64>>()?;
    println!(
        "{{\"rows\": {rows}, \"files\": {}, \"row_groups\": {row_groups}, \"seconds\": {:.4}}}",
        files.len(),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

fn collect(path: &Path, into: &mut Vec<PathBuf>) -> Outcome<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            collect(&entry?.path(), into)?;
        }
    } else if path.extension().is_some_and(|e| e == "parquet" || e == "arrow") {
        into.push(path.to_owned());
    }
    Ok(())
}

fn metadata(file: &Path, views: bool) -> Outcome<ArrowReaderMetadata> {
    let metadata = ArrowReaderMetadata::load(&File::open(file)?, ArrowReaderOptions::new())?;
    let wanted = if views { DataType::Utf8View } else { DataType::Utf8 };
    let fields: Vec<Field> = metadata
        .schema()
        .fields()
        .iter()
        .map(|f| match f.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => f.as_ref().clone().with_data_type(wanted.clone()),
            _ => f.as_ref().clone(),
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    Ok(ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), ArrowReaderOptions::new().with_schema(schema))?)
}

fn decode(file: &Path, metadata: ArrowReaderMetadata, row_group: usize) -> Outcome<u64> {
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(File::open(file)?, metadata)
        .with_batch_size(8192)
        .with_row_groups(vec![row_group])
        .build()?;
    let mut rows = 0;
    for batch in reader {
        rows += std::hint::black_box(batch?).num_rows() as u64;
    }
    Ok(rows)
}

fn checksum_file(file: &Path) -> Outcome<(u64, u64)> {
    if file.extension().is_some_and(|e| e == "arrow") {
        let reader = arrow::ipc::reader::FileReader::try_new(File::open(file)?, None)?;
        return checksum_batches(reader.map(|b| b.map_err(Into::into)));
    }
    let metadata = metadata(file, false)?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(File::open(file)?, metadata).with_batch_size(8192).build()?;
    checksum_batches(reader.map(|b| b.map_err(Into::into)))
}

/// The wrapping sum of a hash of each row: equal for equal multisets of rows.
fn checksum_batches(batches: impl Iterator<Item = Outcome<RecordBatch>>) -> Outcome<(u64, u64)> {
    let (mut rows, mut sum) = (0u64, 0u64);
    for batch in batches {
        let batch = batch?;
        let fields = batch.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let converted = RowConverter::new(fields)?.convert_columns(batch.columns())?;
        rows += batch.num_rows() as u64;
        sum = converted.iter().fold(sum, |sum, row| sum.wrapping_add(xxhash_rust::xxh3::xxh3_64(row.as_ref())));
    }
    Ok((rows, sum))
}
