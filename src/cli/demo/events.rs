//! `demo.events`: a table with a past, as tables have them after a year in production.
//!
//! Contract: format 2, partitioned by month. Three appends, a tag after the first; `client` renamed from `device`, `user_id` promoted from int to
//! long, `amount` widened, `user.country` and `campaign` added; a user who asked to be forgotten (equality deletes), duplicates removed by
//! position, in a delete file that names several data files and in ones of their own.

use super::{Example, Site};
use fastdata_types::transform::Transform;
use fastdata_types::{Field, PrimitiveType, Result, Schema, TableName, Type, Value};
use fastdata_write::{ContentFile, FileOptions, PositionDeletes, Table, TableOptions, values};
use std::collections::BTreeSet;
use std::ops::Range;

const ROWS_PER_APPEND: i64 = 20_000;
/// 2025-01-01T00:00:00Z.
const FIRST_EVENT_MICROS: i64 = 1_735_689_600_000_000;
const FORGOTTEN_USER: i64 = 42;
const CLIENTS: [&str; 4] = ["web", "ios", "android", "kiosk"];
const KINDS: [&str; 5] = ["view", "search", "cart", "buy", "return"];
const CITIES: [&str; 6] = ["Oslo", "Roma", "Lagos", "Lima", "Pune", "Kyoto"];
const COUNTRIES: [&str; 6] = ["NO", "IT", "NG", "PE", "IN", "JP"];

pub fn example() -> Example {
    Example { name: TableName::new(["demo"], "events"), rows: 3 * ROWS_PER_APPEND as u64, make: Box::new(make) }
}

fn first_schema() -> Result<Schema> {
    let user = vec![Field::optional(6, "city", PrimitiveType::String)];
    Schema::new(
        0,
        vec![
            Field::required(1, "event_id", PrimitiveType::Long),
            Field::required(2, "at", PrimitiveType::Timestamptz),
            Field::required(3, "kind", PrimitiveType::String),
            Field::optional(4, "user_id", PrimitiveType::Int),
            Field::optional(5, "user", Type::structure(user)),
            Field::optional(7, "device", PrimitiveType::String),
            Field::optional(8, "amount", PrimitiveType::Decimal { precision: 9, scale: 2 }),
            Field::optional(9, "tags", Type::list(10, false, PrimitiveType::String)),
        ],
    )
}

/// Looks random, depends on the event alone.
fn dice(event: i64, which: u64, sides: u64) -> u64 {
    let mixed = (event as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ which.wrapping_mul(0xd1b5_4a32_d192_ed03);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) % sides
}

fn user_of(event: i64) -> i64 {
    dice(event, 1, 500) as i64
}

/// The row in the columns of the table as they are when it is appended.
fn row(event: i64, schema: &Schema) -> Vec<Option<Value>> {
    // One event in four hundred was sent twice.
    let event_id = if dice(event, 9, 400) == 0 && event % ROWS_PER_APPEND > 0 { event - 1 } else { event };
    let pick = |from: &[&str], which: u64| Value::String(from[dice(event, which, from.len() as u64) as usize].to_owned());
    let value = |field: &Field| -> Option<Value> {
        Some(match field.id {
            1 => Value::Long(event_id),
            2 => Value::Timestamptz(FIRST_EVENT_MICROS + event * 180_000_000 + dice(event, 2, 60_000_000) as i64),
            3 => pick(&KINDS, 3),
            4 | 5 if dice(event, 4, 10) == 0 => return None,
            4 if field.ty == Type::Primitive(PrimitiveType::Int) => Value::Int(user_of(event) as i32),
            4 => Value::Long(user_of(event)),
            5 => {
                let Type::Struct(user) = &field.ty else { return None };
                Value::Struct(user.fields.iter().map(|f| home(event, f)).collect())
            }
            7 => pick(&CLIENTS, 5),
            8 if dice(event, 3, 5) < 2 => return None,
            8 => amount(event, &field.ty)?,
            9 => Value::List((0..dice(event, 6, 4)).map(|i| Some(Value::String(format!("t{}", dice(event, 20 + i, 30))))).collect()),
            _ if dice(event, 7, 3) > 0 => return None,
            _ => Value::String(format!("campaign-{}", dice(event, 8, 12))),
        })
    };
    schema.fields.iter().map(value).collect()
}

fn home(event: i64, field: &Field) -> Option<Value> {
    let at = (user_of(event) % CITIES.len() as i64) as usize;
    match field.id {
        6 => (dice(event, 10, 8) > 0).then(|| Value::String(CITIES[at].to_owned())),
        _ => Some(Value::String(COUNTRIES[at].to_owned())),
    }
}

fn amount(event: i64, ty: &Type) -> Option<Value> {
    let Type::Primitive(PrimitiveType::Decimal { precision, scale }) = ty else { return None };
    Some(Value::Decimal { unscaled: i128::from(100 + dice(event, 11, 50_000)), precision: *precision, scale: *scale })
}

fn append(site: &Site, table: &mut Table, nth: i64) -> Result<i64> {
    let schema = table.schema().clone();
    let rows: Vec<_> = (nth * ROWS_PER_APPEND..(nth + 1) * ROWS_PER_APPEND).map(|event| row(event, &schema)).collect();
    let batch = values::batch(&schema, &rows)?;
    let mut change = table.change();
    change.append(&[batch], &FileOptions { row_group_rows: 4_000, page_rows: 1_000, ..FileOptions::default() })?;
    site.progress(rows.len());
    change.commit()
}

fn make(site: &Site) -> Result<Table> {
    let options = TableOptions { partition: vec![("at".to_owned(), Transform::Month)], seed: 3, ..TableOptions::new(first_schema()?) };
    let mut table = site.create(options)?;
    let first = append(site, &mut table, 0)?;
    table.tag("first-import", first)?;
    table.update_schema(|schema| {
        schema.rename("device", "client")?;
        schema.promote("user_id", PrimitiveType::Long)?;
        schema.promote("amount", PrimitiveType::Decimal { precision: 12, scale: 2 })?;
        schema.add("user", Field::optional(0, "country", PrimitiveType::String))?;
        schema.add("", Field::optional(0, "campaign", PrimitiveType::String)).map(|_| ())
    })?;
    append(site, &mut table, 1)?;
    remove_duplicates(&mut table, 0..2, false)?;
    forget_user(&mut table)?;
    append(site, &mut table, 2)?;
    remove_duplicates(&mut table, 2..3, true)?;
    Ok(table)
}

/// Deletes, by position, the second copies among the events of these appends.
fn remove_duplicates(table: &mut Table, appends: Range<i64>, file_scoped: bool) -> Result<()> {
    let schema = table.schema().clone();
    // Events come in the order of time, so each month's file goes on where the last one of the same append ended.
    let month = |file: &ContentFile| match file.partition.first() {
        Some(Some(Value::Int(month))) => *month,
        _ => 0,
    };
    let mut files = table.data_files();
    files.sort_by_key(|file| (file.sequence_number, month(file)));
    let (mut event, mut rows) = (0, Vec::new());
    for file in files {
        for position in 0..file.record_count as i64 {
            let is_copy = row(event, &schema).first() != Some(&Some(Value::Long(event)));
            if is_copy && appends.contains(&(event / ROWS_PER_APPEND)) {
                rows.push((Some(file.path.clone()), position));
            }
            event += 1;
        }
    }
    let mut change = table.change();
    change.delete_positions(&PositionDeletes { rows, file_scoped, path_bounds: file_scoped })?;
    change.commit().map(|_| ())
}

/// Deletes every row of one user so far, in each partition.
fn forget_user(table: &mut Table) -> Result<()> {
    let id = table.schema().resolve("user_id")?.last().map_or(0, |f| f.id);
    let projection = table.projection(&[id])?;
    let keys = values::batch(&projection, &[vec![Some(Value::Long(FORGOTTEN_USER))]])?;
    let mut seen = BTreeSet::new();
    let mut partitions = Vec::new();
    for file in table.data_files() {
        let month = file.partition.first().and_then(|v| v.as_ref()).and_then(Value::to_bytes);
        if seen.insert((file.spec_id, month)) {
            partitions.push((file.spec_id, file.partition.clone()));
        }
    }
    let mut change = table.change();
    for scope in partitions {
        change.delete_equal(&[id], keys.clone(), Some(scope))?;
    }
    change.commit().map(|_| ())
}
