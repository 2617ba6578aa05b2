//! What `fastdata demo` promises of a second, of an interrupted and of a foreign warehouse.

use super::*;
use fastdata_types::{ErrorKind, Field, PrimitiveType, Schema};
use fastdata_write::TableOptions;
use std::collections::BTreeMap;
use std::path::Path;

fn args(dir: &Path, scale: f64) -> DemoArgs {
    DemoArgs { dir: dir.to_owned(), scale }
}

/// Every file and its size.
fn files(dir: &Path, into: &mut BTreeMap<PathBuf, u64>) {
    for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
        match entry.path().is_dir() {
            true => files(&entry.path(), into),
            false => drop(into.insert(entry.path(), entry.metadata().unwrap().len())),
        }
    }
}

fn listing(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut out = BTreeMap::new();
    files(dir, &mut out);
    out
}

#[test]
fn a_second_run_keeps_everything_and_an_interrupted_one_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    run(&args(dir.path(), 0.001)).unwrap();
    let first = listing(dir.path());
    run(&args(dir.path(), 0.001)).unwrap();
    assert_eq!(listing(dir.path()), first);

    let warehouse = Warehouse::open(dir.path()).unwrap();
    let name = TableName::new(["tpch"], "orders");
    warehouse.drop_table(&name).unwrap();
    let schema = Schema::new(0, vec![Field::required(1, "x", PrimitiveType::Int)]).unwrap();
    let properties = BTreeMap::from([(MARK.to_owned(), UNFINISHED.to_owned())]);
    warehouse.create_table(&name, TableOptions { properties, ..TableOptions::new(schema) }).unwrap();
    run(&args(dir.path(), 0.001)).unwrap();
    assert_eq!(listing(dir.path()), first);
}

#[test]
fn another_scale_and_foreign_tables_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(dir.path()).unwrap();
    let schema = Schema::new(0, vec![Field::required(1, "x", PrimitiveType::Int)]).unwrap();
    warehouse.create_table(&TableName::new(["tpch"], "region"), TableOptions::new(schema)).unwrap();
    let before = listing(dir.path());
    assert_eq!(run(&args(dir.path(), 0.001)).unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert_eq!(listing(dir.path()), before);
    warehouse.drop_table(&TableName::new(["tpch"], "region")).unwrap();

    run(&args(dir.path(), 0.001)).unwrap();
    let error = run(&args(dir.path(), 0.002)).unwrap_err();
    assert!(error.message().contains("scale 0.001"), "{error}");
}
