//! Local files with the configuration of docs/stores/local.md.

use super::lake::{documented, filled, ran};
use fastdata_testkit::table::{Built, Layout, Shape, build};
use fastdata_write::SQL_CATALOG_TABLES;
use rusqlite::Connection;
use std::path::Path;

/// Builds a table that says where it is, and puts it below `data`.
fn placed(data: &Path, below: &str, location: &str, seed: u64) -> Built {
    let shape = Shape { seed, layout: Layout { location: Some(location.to_owned()), ..Layout::default() }, ..Shape::default() };
    let built = build(&shape, &data.join("built").join(below)).unwrap();
    let place = data.join(below);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::rename(built.table_folder(), place).unwrap();
    built
}

#[test]
fn a_moved_warehouse_and_a_shared_folder_are_read_and_nothing_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().canonicalize().unwrap().join("data");
    let root = data.display();
    let moved = placed(&data, "warehouse/sales/moved", "hdfs://old-cluster/warehouse/sales/moved", 1);
    let shared = placed(&data, "shared/orders", &format!("file://{root}/shared/orders"), 2);
    let private = placed(&data, "private/orders", &format!("file://{root}/private/orders"), 3);
    let connection = Connection::open(data.join("warehouse/catalog.db")).unwrap();
    connection.execute_batch(SQL_CATALOG_TABLES).unwrap();
    for (name, built) in [("moved", &moved), ("shared", &shared), ("private", &private)] {
        let sql = "INSERT INTO iceberg_tables VALUES ('lake', 'sales', ?1, ?2, NULL, 'TABLE')";
        connection.execute(sql, (name, built.table.metadata_location())).unwrap();
    }
    let page = filled(&documented("docs/stores/local.md", 0), &[("/data/", &format!("{root}/"))]);
    let configure = |text: &str| std::fs::write(folder.path().join("fastdata.toml"), text).unwrap();
    let count = |table: &str| ran(folder.path(), &["scan", table, "-o", "jsonl"]);

    configure(&page);
    for (table, built) in [("lake.sales.moved", &moved), ("lake.sales.shared", &shared)] {
        let ran = count(table);
        assert_eq!((ran.status, ran.stderr.as_str(), ran.lines().len()), (0, "", built.current_rows().len()), "{table}");
    }
    count("lake.sales.private").assert_refused("location-not-allowed", 5, &["private/orders"]);
    // Each of the two lines is what lets its table be read.
    let without = |key: &str| page.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect::<String>();
    configure(&without("rewrites"));
    assert_eq!((count("lake.sales.moved").status, count("lake.sales.shared").status), (5, 0));
    configure(&without("allow"));
    assert_eq!((count("lake.sales.moved").status, count("lake.sales.shared").status), (0, 5));
}
