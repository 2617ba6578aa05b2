//! SQL catalogs on SQLite files and on a private PostgreSQL server.

use super::{metadata, properties};
use crate::{embedded, open};
use fastdata_testkit::files::LocalFiles;
use fastdata_testkit::postgres::Postgres;
use fastdata_types::{Catalog, ErrorKind, TableName};
use std::path::Path;
use std::sync::Arc;

const V1: &str = "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5), PRIMARY KEY (catalog_name, table_namespace, table_name));";
const V0: &str = "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
    PRIMARY KEY (catalog_name, table_namespace, table_name));";

fn row(catalog: &str, namespace: &str, name: &str, location: &str, kind: &str) -> String {
    format!("INSERT INTO iceberg_tables VALUES ('{catalog}', '{namespace}', '{name}', '{location}', NULL{kind});")
}

fn write_table(directory: &Path, name: &str) -> String {
    let folder = directory.join(name).join("metadata");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("00000-x.metadata.json");
    let location = format!("file://{}", directory.join(name).display());
    std::fs::write(&file, metadata(&location).to_string()).unwrap();
    format!("file://{}", file.display())
}

fn sqlite(path: &Path, statements: &[String]) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(&statements.concat()).unwrap();
}

fn catalog(name: &str, file: &Path, warehouse: &Path, more: &[(&str, &str)]) -> (Arc<dyn Catalog>, Arc<LocalFiles>) {
    let (uri, warehouse) = (format!("sqlite:///{}", file.display()), warehouse.display().to_string());
    let mut all = vec![("uri", uri.as_str()), ("warehouse", warehouse.as_str())];
    all.extend(more);
    let files = LocalFiles::new();
    (open(name, properties(&all), vec![], vec![], files.clone()).unwrap(), files)
}

#[tokio::test]
async fn sqlite_catalogs_of_both_schemas_list_and_load_tables_and_leave_views_out() {
    for schema in [V0, V1] {
        let directory = tempfile::tempdir().unwrap();
        let location = write_table(directory.path(), "t");
        let (table, view, untyped) = if schema == V0 { ("", "", "") } else { (", 'TABLE'", ", 'VIEW'", ", NULL") };
        let mut statements =
            vec![schema.to_owned(), row("wh", "db.inner", "t", &location, table), row("wh", "db", "old", &location, untyped)];
        if schema == V1 {
            statements.push(row("wh", "db", "v", &location, view));
        }
        let file = directory.path().join("c.db");
        sqlite(&file, &statements);
        let (catalog, files) = catalog("anything", &file, directory.path(), &[]);
        let names: Vec<String> = catalog.list(None).await.unwrap().iter().map(TableName::to_string).collect();
        assert_eq!(names, ["db.old", "db.inner.t"]);
        assert_eq!(catalog.list(Some(&["db".into(), "inner".into()])).await.unwrap().len(), 1);
        assert_eq!(catalog.namespaces().await.unwrap(), [vec!["db".to_owned()], vec!["db".to_owned(), "inner".to_owned()]]);
        let properties = "CREATE TABLE iceberg_namespace_properties (catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL,
            property_key VARCHAR(255), property_value VARCHAR(1000), PRIMARY KEY (catalog_name, namespace, property_key));
            INSERT INTO iceberg_namespace_properties VALUES ('wh', 'empty', 'exists', 'true'), ('other', 'elsewhere', 'exists', 'true');";
        sqlite(&file, &[properties.to_owned()]);
        assert_eq!(catalog.namespaces().await.unwrap().last().unwrap(), &["empty"]);
        let state = catalog.load(&TableName::new(["db", "inner"], "t")).await.unwrap();
        assert_eq!((state.metadata_location.as_str(), state.display_name.as_str()), (location.as_str(), "anything.db.inner.t"));
        assert_eq!(files.last_scope().unwrap().allowed, [directory.path().display().to_string()]);
        let e = catalog.load(&TableName::new(["db"], "olt")).await.unwrap_err();
        assert!(e.kind() == ErrorKind::NotFound && e.advice_text().unwrap().contains("db.old"), "{e:?}");
        assert!(catalog.check().await.unwrap().contains("2 tables"));
    }
}

#[tokio::test]
async fn the_location_of_a_table_allows_nothing() {
    let (warehouse, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let location = write_table(elsewhere.path(), "t");
    let file = warehouse.path().join("c.db");
    sqlite(&file, &[V1.to_owned(), row("wh", "db", "t", &location, ", 'TABLE'")]);
    let (catalog, _) = catalog("wh", &file, warehouse.path(), &[]);
    assert_eq!(catalog.load(&TableName::new(["db"], "t")).await.unwrap_err().kind(), ErrorKind::LocationNotAllowed);
}

#[tokio::test]
async fn one_database_may_hold_several_catalogs_and_the_right_one_is_named_or_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let location = write_table(directory.path(), "t");
    let file = directory.path().join("c.db");
    sqlite(&file, &[V1.to_owned(), row("prod", "db", "p", &location, ", NULL"), row("test", "db", "t", &location, ", NULL")]);
    let listed = async |name: &str, more: &[(&str, &str)]| catalog(name, &file, directory.path(), more).0.list(None).await;
    assert_eq!(listed("prod", &[]).await.unwrap()[0].name, "p");
    assert_eq!(listed("mine", &[("catalog-name", "test")]).await.unwrap()[0].name, "t");
    let e = listed("mine", &[]).await.unwrap_err();
    assert!(
        e.kind() == ErrorKind::Config && e.message().contains("prod, test") && e.advice_text().unwrap().contains("catalog-name"),
        "{e:?}"
    );
}

#[tokio::test]
async fn a_database_that_is_missing_foreign_damaged_or_locked_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.db");
    let (catalog, _) = catalog("wh", &file, directory.path(), &[]);
    assert_eq!(catalog.list(None).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!file.exists(), "reading creates nothing");
    sqlite(&file, &["CREATE TABLE other (x INT);".to_owned()]);
    let e = catalog.list(None).await.unwrap_err();
    assert!(e.kind() == ErrorKind::NotFound && e.message().contains("iceberg_tables"), "{e}");
    std::fs::write(&file, b"this is no database, but it is long enough to look at for one").unwrap();
    let e = catalog.list(None).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Corrupt && e.message().contains("c.db"), "{e}");
}

#[tokio::test]
async fn an_embedded_warehouse_is_a_directory_with_its_catalog() {
    let directory = tempfile::tempdir().unwrap();
    let location = write_table(directory.path(), "t");
    let e = embedded(directory.path(), properties(&[]), vec![], vec![], LocalFiles::new()).unwrap_err();
    assert!(e.kind() == ErrorKind::NotFound && e.advice_text().unwrap().contains("fastdata demo"), "{e:?}");
    let e = embedded(&directory.path().join("t"), properties(&[]), vec![], vec![], LocalFiles::new()).unwrap_err();
    assert!(e.advice_text().unwrap().contains("table"), "{e:?}");
    sqlite(&directory.path().join("catalog.db"), &[V1.to_owned(), row("default", "db", "t", &location, ", 'TABLE'")]);
    let catalog = embedded(directory.path(), properties(&[]), vec![], vec![], LocalFiles::new()).unwrap();
    assert!(catalog.load(&TableName::new(["db"], "t")).await.is_ok());
}

#[tokio::test]
async fn every_problem_of_a_configuration_is_reported_at_once_without_secrets() {
    let refused = |pairs: &[(&str, &str)]| open("c", properties(pairs), vec![], vec![], LocalFiles::new()).unwrap_err();
    let e = refused(&[("uri", "postgresql://u:hunter2@h/db?gssencmode=x"), ("warehose", "s3://b"), ("token", "hunter2")]);
    assert_eq!(e.kind(), ErrorKind::Config);
    for part in ["gssencmode", "warehose", "did you mean: warehouse", "'warehouse' is missing", "'token'"] {
        assert!(e.message().contains(part), "{part}: {e}");
    }
    assert!(!e.message().contains("hunter2"), "{e}");
    assert!(refused(&[("type", "rest"), ("uri", "sqlite:////x.db")]).message().contains("another kind"));
    assert!(refused(&[("type", "nessie")]).message().contains("sql, rest, glue or hms"));
    assert!(refused(&[("uri", "ftp://x")]).message().contains("'type' is missing"));
    assert!(refused(&[]).message().contains("'type' and 'uri' are missing"));
    let e = refused(&[("uri", "http://catalog.example.com"), ("token", "hunter2")]);
    assert!(e.message().contains("https") && !e.message().contains("hunter2"), "{e}");
    let e = refused(&[("uri", "http://catalog.example.com"), ("header.X-Api-Key", "hunter2")]);
    assert!(e.message().contains("https") && !e.message().contains("hunter2"), "{e}");
    let delegation = [("uri", "http://catalog.example.com"), ("header.X-Iceberg-Access-Delegation", "vended-credentials")];
    assert!(open("c", properties(&delegation), vec![], vec![], LocalFiles::new()).is_ok());
    assert!(
        open(
            "c",
            properties(&[("uri", "http://c.example.com"), ("token", "x"), ("fastdata.allow-plaintext", "true")]),
            vec![],
            vec![],
            LocalFiles::new()
        )
        .is_ok()
    );
}

#[tokio::test]
async fn postgresql_catalogs_list_and_load_and_survive_a_lost_connection() {
    let Some(server) = Postgres::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let location = write_table(directory.path(), "t");
    let warehouse = directory.path().display().to_string();
    let uri = server.uri().replacen("postgresql:", "postgresql+psycopg2:", 1);
    let made = || open("wh", properties(&[("uri", &uri), ("warehouse", &warehouse)]), vec![], vec![], LocalFiles::new()).unwrap();
    let catalog = made();
    let e = catalog.list(None).await.unwrap_err();
    assert!(e.kind() == ErrorKind::NotFound && e.message().contains("iceberg_tables"), "{e}");
    let insisting = properties(&[("uri", &format!("{uri}?sslmode=require")), ("warehouse", &warehouse)]);
    let e = open("wh", insisting, vec![], vec![], LocalFiles::new()).unwrap().list(None).await.unwrap_err();
    assert!(e.message().contains("does not support TLS") && e.advice_text().unwrap().contains("sslmode=disable"), "{e:?}");
    server.execute(V0);
    assert_eq!(catalog.list(None).await.unwrap(), []);
    server.execute(&row("wh", "a.b", "t", &location, ""));
    assert!(catalog.load(&TableName::new(["a", "b"], "t")).await.is_ok());
    server.execute("ALTER TABLE iceberg_tables ADD COLUMN iceberg_type VARCHAR(5)");
    server.execute(&row("wh", "a", "v", &location, ", 'VIEW'"));
    assert_eq!(catalog.list(None).await.unwrap().len(), 1);
    server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
    );
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(catalog.check().await.unwrap().contains("1 tables"));
    drop(server);
    let e = made().list(None).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Unavailable && e.retryable() && e.message().contains("127.0.0.1"), "{e}");
}

#[tokio::test]
async fn postgresql_over_tls_is_verified_against_the_roots_given() {
    let Some(server) = Postgres::start_with_tls() else { return };
    server.execute(V0);
    let uri = server.uri().replace("127.0.0.1", "localhost");
    let asked = async |uri: String| {
        let made = open("wh", properties(&[("uri", &uri), ("warehouse", "/wh")]), vec![], vec![], LocalFiles::new())?;
        made.list(None).await
    };
    let root = server.root_certificate().display().to_string();
    assert_eq!(asked(format!("{uri}?sslmode=verify-full&sslrootcert={root}")).await.unwrap(), []);
    // The system's roots do not know that authority.
    let e = asked(format!("{uri}?sslmode=require")).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Unavailable && e.message().contains("certificate"), "{e:?}");
    let e = asked(format!("{uri}?sslmode=require&sslrootcert={root}.none")).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Config && e.message().contains("root.crt.none"), "{e:?}");
}
