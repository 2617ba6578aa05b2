//! `demo.readings`: format 3, with deletion vectors, row lineage, nanoseconds and a default value.
//!
//! Contract: two appends. `unit` was added between them with the initial default `C`, so the rows of the first have it without storing it. Faulty readings
//! are deleted by vectors, of which one Puffin file holds several.

use super::{Example, Site};
use fastdata_types::transform::Transform;
use fastdata_types::{Field, PrimitiveType, Result, Schema, TableName, Value};
use fastdata_write::{ContentFile, FileOptions, Table, TableOptions, values};

const ROWS_PER_APPEND: i64 = 10_000;
/// 2025-06-01T00:00:00Z.
const FIRST_READING_NANOS: i64 = 1_748_736_000_000_000_000;

pub fn example() -> Example {
    Example { name: TableName::new(["demo"], "readings"), rows: 2 * ROWS_PER_APPEND as u64, make: Box::new(make) }
}

fn row(reading: i64, schema: &Schema) -> Vec<Option<Value>> {
    let value = |field: &Field| match field.id {
        1 => Some(Value::TimestamptzNs(FIRST_READING_NANOS + reading * 7_000_000_123)),
        2 => Some(Value::Int((reading % 16) as i32)),
        3 if reading % 97 == 0 => None,
        3 if reading % 89 == 0 => Some(Value::Double(f64::NAN)),
        3 => Some(Value::Double(20.0 + (reading % 113) as f64 / 8.0 - (reading % 31) as f64 / 4.0)),
        _ => Some(Value::String(if reading % 2 == 0 { "C" } else { "F" }.to_owned())),
    };
    schema.fields.iter().map(value).collect()
}

fn append(site: &Site, table: &mut Table, nth: i64) -> Result<()> {
    let schema = table.schema().clone();
    let rows: Vec<_> = (nth * ROWS_PER_APPEND..(nth + 1) * ROWS_PER_APPEND).map(|reading| row(reading, &schema)).collect();
    let batch = values::batch(&schema, &rows)?;
    let mut change = table.change();
    change.append(&[batch], &FileOptions::default())?;
    site.progress(rows.len());
    change.commit().map(|_| ())
}

fn make(site: &Site) -> Result<Table> {
    let schema = Schema::new(
        0,
        vec![
            Field::required(1, "at", PrimitiveType::TimestamptzNs),
            Field::required(2, "sensor", PrimitiveType::Int),
            Field::optional(3, "celsius", PrimitiveType::Double),
        ],
    )?;
    let options = TableOptions {
        partition: vec![("sensor".to_owned(), Transform::Bucket(3))],
        format_version: 3,
        seed: 4,
        ..TableOptions::new(schema)
    };
    let mut table = site.create(options)?;
    append(site, &mut table, 0)?;
    let files = table.data_files();
    let faulty = |file: &ContentFile, every: usize| (file.path.clone(), (0..file.record_count).step_by(every).collect::<Vec<u64>>());
    let mut change = table.change();
    change.delete_vectors(&files.iter().map(|file| faulty(file, 100)).collect::<Vec<_>>())?;
    change.commit()?;
    let unit = Field::optional(0, "unit", PrimitiveType::String).with_default(Value::String("C".to_owned()));
    table.update_schema(|schema| {
        schema.rename("celsius", "value")?;
        schema.add("", unit).map(|_| ())
    })?;
    append(site, &mut table, 1)?;
    let mut change = table.change();
    change.delete_vectors(&files.iter().take(1).map(|file| faulty(file, 50)).collect::<Vec<_>>())?;
    change.commit()?;
    Ok(table)
}
