//! Parquet files that crashed other readers, each as the data file of a table that the binary scans.
//!
//! Contract: rows, or an error of a documented kind that names the file; never a signal, a hang, a panic of our own (those of the Parquet
//! library's decoders become errors), or more memory than the budget and some. How: a table's schema is what the file's footer says,
//! nested columns included, or one column where it says nothing that can be read; its manifest states the file's true size. The
//! scans run under limits and without a network.

use crate::hostile::{BUDGET_MIB, HEADROOM_MIB, run_limited, scan};
use crate::support::{corpus, python};
use arrow::datatypes::{DataType, Field as ArrowField};
use bytes::Bytes;
use fastdata_types::{Field, PrimitiveType, Schema, TableName, Type};
use fastdata_write::{ContentFile, TableOptions, Warehouse};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Done, unsupported, corrupt or missing, limits: `docs/output.md`.
const STATUSES: [i64; 4] = [0, 3, 4, 6];
const MOST_SECONDS: f64 = 60.0;

fn files(below: &Path, wanted: &dyn Fn(&str) -> bool, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, wanted, into);
        } else if wanted(path.file_name().unwrap().to_str().unwrap()) {
            into.push(path);
        }
    }
}

/// Columns for what a footer describes. Ids are the file's where it has any.
#[derive(Default)]
struct Columns {
    last_id: i32,
}

impl Columns {
    fn field(&mut self, arrow: &ArrowField) -> Option<Field> {
        let own = arrow.metadata().get("PARQUET:field_id").and_then(|id| id.parse().ok());
        self.last_id += 1;
        let id = own.unwrap_or(self.last_id);
        let ty = self.column_type(arrow.data_type())?;
        Some(Field::optional(id, arrow.name(), ty))
    }

    fn column_type(&mut self, ty: &DataType) -> Option<Type> {
        use PrimitiveType as P;
        Some(Type::Primitive(match ty {
            DataType::Boolean => P::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::Int32 => P::Int,
            DataType::Int64 => P::Long,
            DataType::Float32 => P::Float,
            DataType::Float64 => P::Double,
            DataType::Utf8 => P::String,
            DataType::Binary => P::Binary,
            DataType::Date32 => P::Date,
            DataType::Time64(_) => P::Time,
            DataType::Timestamp(_, None) => P::Timestamp,
            DataType::Timestamp(_, Some(_)) => P::Timestamptz,
            DataType::Decimal128(precision, scale) => P::Decimal { precision: *precision, scale: u8::try_from(*scale).ok()? },
            DataType::FixedSizeBinary(length) => P::Fixed(u32::try_from(*length).ok()?),
            DataType::List(element) => {
                let element = self.field(element)?;
                return Some(Type::list(element.id, false, element.ty));
            }
            DataType::Struct(fields) => return Some(Type::structure(fields.iter().filter_map(|field| self.field(field)).collect())),
            DataType::Map(entries, _) => {
                let DataType::Struct(fields) = entries.data_type() else { return None };
                let (key, value) = (self.field(fields.first()?)?, self.field(fields.get(1)?)?);
                return Some(Type::map(key.id, key.ty, value.id, false, value.ty));
            }
            // Of another type than the file's: the reader has to notice.
            _ => P::Binary,
        }))
    }
}

/// The columns of a file and its rows, as far as its footer can be read.
fn footer(bytes: &Bytes) -> (Schema, u64) {
    let metadata = catch_unwind(|| ArrowReaderMetadata::load(bytes, Default::default()).ok()).ok().flatten();
    let read = metadata.and_then(|metadata| {
        let mut columns = Columns::default();
        let fields: Vec<Field> = metadata.schema().fields().iter().filter_map(|field| columns.field(field)).collect();
        let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).ok()?;
        Schema::new(0, fields).ok().filter(|schema| !schema.fields.is_empty()).map(|schema| (schema, rows))
    });
    read.unwrap_or_else(|| (Schema::new(0, vec![Field::optional(1, "c", PrimitiveType::Long)]).unwrap(), 1))
}

/// A table whose one data file is this one. Returns its folder.
fn table(warehouse: &Warehouse, name: &str, file: &Path) -> PathBuf {
    let bytes = Bytes::from(std::fs::read(file).unwrap());
    let (schema, rows) = footer(&bytes);
    let name = TableName { namespace: vec!["h".to_owned()], name: name.to_owned() };
    let options = TableOptions { file_system_names: true, properties: BTreeMap::new(), ..TableOptions::new(schema) };
    let mut table = warehouse.create_table(&name, options).unwrap();
    table.set_name_mapping().unwrap();
    let folder = warehouse.folder().join("h").join(&name.name);
    std::fs::write(folder.join("data/hostile.parquet"), &bytes).unwrap();
    let path = format!("{}/data/hostile.parquet", table.location());
    let mut change = table.change();
    change.added_files().push(ContentFile {
        path,
        format: "PARQUET".to_owned(),
        record_count: rows,
        // A manifest that says zero is refused before the file is looked at.
        file_size: (bytes.len() as u64).max(1),
        ..ContentFile::default()
    });
    change.commit().unwrap();
    folder
}

#[test]
fn files_that_crashed_other_readers_are_rows_or_errors_in_bounded_memory() {
    let (Some(corpus), Some(python)) = (corpus(), python()) else { return };
    let mut paths = Vec::new();
    files(&corpus.join("parquet-testing"), &|name| name.contains(".parquet"), &mut paths);
    files(&corpus.join("arrow-testing/data/parquet"), &|name| name != "README.md", &mut paths);
    files(&corpus.join("../hostile"), &|name| name.starts_with("parquet_footer"), &mut paths);
    assert!(paths.len() > 200, "{}", paths.len());
    let made = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(made.path()).unwrap();
    let tables: Vec<PathBuf> = paths.iter().enumerate().map(|(at, path)| table(&warehouse, &format!("t{at}"), path)).collect();
    let commands: Vec<Vec<String>> = tables.iter().map(|table| scan(table)).collect();
    let (first, second) = commands.split_at(commands.len() / 2);
    let answers = std::thread::scope(|scope| {
        let other = scope.spawn(|| run_limited(&python, second));
        let mut answers = run_limited(&python, first);
        answers.extend(other.join().unwrap());
        answers
    });
    let (mut wrong, mut statuses) = (Vec::new(), BTreeMap::<String, usize>::new());
    for (path, answer) in paths.iter().zip(&answers) {
        let (stderr, peak) = (answer["stderr"].as_str().unwrap(), answer["peak_mib"].as_u64().unwrap());
        *statuses.entry(answer["status"].to_string()).or_default() += 1;
        let ended = answer["status"].as_i64().is_some_and(|status| STATUSES.contains(&status));
        let named = answer["status"] == 0 || stderr.contains("data/hostile.parquet") || stderr.contains("column '");
        let bounded = peak <= BUDGET_MIB + HEADROOM_MIB && answer["seconds"].as_f64().unwrap() < MOST_SECONDS;
        let ours_panicked = stderr.lines().any(|line| line.contains("panicked at") && !line.contains("/parquet-"));
        if !ended || !named || !bounded || ours_panicked {
            wrong.push(format!("{}: {answer}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), paths.len(), wrong.join("\n"));
    // Many are good files: a scan that refuses everything would pass all of the above.
    assert!(statuses.get("0").is_some_and(|read| *read > 60), "{statuses:?}");
}
