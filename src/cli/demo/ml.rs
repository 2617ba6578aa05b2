//! `ml.embeddings` and `ml.features`: what training reads. Vectors as lists of floats, and wide rows of numbers and categories.
//!
//! Contract: at scale 1 200 000 vectors of 256 floats, and 400 000 rows of 79 columns (an id, 60 floats, 10 longs, 8 categories). A value depends on its row and
//! column alone. They are reference tables of `fastdata bench`.

use super::{Example, Site};
use arrow::array::{ArrayRef, Float32Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use fastdata_types::arrow_type::arrow_schema;
use fastdata_types::request::StringEncoding;
use fastdata_types::{Error, Field, PrimitiveType, Result, Schema, Stage, TableName, Type};
use fastdata_write::{FileOptions, Table, TableOptions};
use std::ops::Range;
use std::sync::Arc;

const NAMESPACE: &str = "ml";
const WIDTH: u64 = 256;
const EMBEDDINGS_AT_ONCE: u64 = 40_000;
const FEATURES_AT_ONCE: u64 = 100_000;
const FLOATS: u64 = 60;
const LONGS: u64 = 10;
const CATEGORIES: u64 = 8;

pub fn examples(scale: f64) -> Vec<Example> {
    let example = |name: &str, base: f64, at_once: u64, schema: fn() -> Result<Schema>, column: Column| {
        let rows = ((base * scale) as u64).max(1);
        let make = move |site: &Site| make(site, rows, at_once, schema()?, column);
        Example { name: TableName::new([NAMESPACE], name), rows, make: Box::new(make) }
    };
    vec![
        example("embeddings", 200_000.0, EMBEDDINGS_AT_ONCE, embeddings, embedding),
        example("features", 400_000.0, FEATURES_AT_ONCE, features, feature),
    ]
}

/// The values of one column, told by its position, of these rows; the Arrow type is the schema's.
type Column = fn(u64, Range<u64>, &DataType) -> Result<ArrayRef>;

fn make(site: &Site, rows: u64, at_once: u64, schema: Schema, column: Column) -> Result<Table> {
    let arrow = Arc::new(arrow_schema(&schema, StringEncoding::Utf8)?);
    let mut table = site.create(TableOptions { seed: rows, ..TableOptions::new(schema) })?;
    let mut change = table.change();
    for first in (0..rows).step_by(at_once as usize) {
        let batch = batch(&arrow, first..(first + at_once).min(rows), column)?;
        change.append(&[batch], &FileOptions::default())?;
        site.progress(at_once as usize);
    }
    change.commit()?;
    Ok(table)
}

fn batch(arrow: &Arc<ArrowSchema>, rows: Range<u64>, column: Column) -> Result<RecordBatch> {
    let columns = arrow.fields().iter().zip(0..).map(|(field, nth)| column(nth, rows.clone(), field.data_type()));
    RecordBatch::try_new(Arc::clone(arrow), columns.collect::<Result<_>>()?).map_err(impossible)
}

fn embeddings() -> Result<Schema> {
    let vector = Type::list(4, true, PrimitiveType::Float);
    Schema::new(
        0,
        vec![
            Field::required(1, "id", PrimitiveType::Long),
            Field::required(2, "label", PrimitiveType::Int),
            Field::required(3, "embedding", vector),
        ],
    )
}

fn embedding(nth: u64, rows: Range<u64>, kind: &DataType) -> Result<ArrayRef> {
    Ok(match (nth, kind) {
        (0, _) => ids(rows),
        (_, DataType::List(element)) => {
            let values = Float32Array::from_iter_values((rows.start * WIDTH..rows.end * WIDTH).map(|at| float(nth, at)));
            let offsets = OffsetBuffer::from_lengths(rows.map(|_| WIDTH as usize));
            Arc::new(ListArray::try_new(Arc::clone(element), offsets, Arc::new(values), None).map_err(impossible)?)
        }
        _ => Arc::new(Int32Array::from_iter_values(rows.map(|row| (noise(nth, row) % 1000) as i32))),
    })
}

fn features() -> Result<Schema> {
    let mut fields = vec![Field::required(1, "id", PrimitiveType::Long)];
    let mut add = |stem: &str, count: u64, kind: PrimitiveType| {
        (0..count).for_each(|n| fields.push(Field::required(fields.len() as i32 + 1, format!("{stem}{n}"), kind.clone())));
    };
    add("f", FLOATS, PrimitiveType::Float);
    add("i", LONGS, PrimitiveType::Long);
    add("c", CATEGORIES, PrimitiveType::String);
    Schema::new(0, fields)
}

fn feature(nth: u64, rows: Range<u64>, kind: &DataType) -> Result<ArrayRef> {
    Ok(match kind {
        _ if nth == 0 => ids(rows),
        DataType::Float32 => Arc::new(Float32Array::from_iter_values(rows.map(|row| float(nth, row)))),
        DataType::Int64 => {
            let values = 10_u64.pow((nth % 6) as u32 + 1);
            Arc::new(Int64Array::from_iter_values(rows.map(|row| (noise(nth, row) % values) as i64)))
        }
        _ => {
            let category = nth - FLOATS - LONGS;
            let words: Vec<String> = (0..50 * category).map(|word| format!("cat_{category}_{word}")).collect();
            let word = |row| words[(noise(nth, row) % words.len() as u64) as usize].as_str();
            Arc::new(StringArray::from_iter_values(rows.map(word)))
        }
    })
}

fn ids(rows: Range<u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.map(|row| row as i64)))
}

/// From -1 to 1, more often near 0.
fn float(column: u64, row: u64) -> f32 {
    let noise = noise(column, row);
    let half = |bits: u64| (bits & 0xff_ffff) as f32 / 16_777_216.0;
    half(noise) - half(noise >> 32)
}

/// Looks random: the finaliser of SplitMix64 over a position.
fn noise(column: u64, row: u64) -> u64 {
    let mut mixed = (row ^ (column << 48)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn impossible(cause: arrow::error::ArrowError) -> Error {
    Error::internal(Stage::Output, format!("building reference rows: {cause}"))
}
