//! An example table in each running catalog, so that there is something to read at once.
//!
//! Contract: `demo.events`, partitioned, evolved, with position and equality deletes, made from a fixed seed. Its format is 2, the newest that every
//! catalog here knows. [`make`] and [`make_sql`] leave a table of that name alone, with what somebody did to it since.

use super::catalog::Catalog;
use super::http::wait;
use super::minio::S3;
use crate::table::{Built, Columns, Deletes, Evolution, History, Layout, Partitioning, Shape, build};
use std::path::Path;

pub const NAMESPACE: &str = "demo";
pub const TABLE: &str = "events";
/// Of every demo table's location.
pub const BUCKET: &str = "lake";

/// Makes the table in a local folder; its files call their place `s3://BUCKET/FOLDER/demo/events`.
pub fn build_table(local: &Path, bucket: &str, folder: &str) -> Built {
    let shape = Shape {
        first_format: 2,
        format: 2,
        columns: Columns::Nested,
        partitioning: Partitioning::Identity,
        layout: Layout { location: Some(format!("s3://{bucket}/{}", key(folder))), ..Layout::default() },
        deletes: Deletes { positions: true, ..Deletes::EQUALITY },
        evolution: Evolution { spec: false, ..Evolution::ALL },
        history: History { appends: 3, ..History::SINGLE },
        ..Shape::default()
    };
    build(&shape, local).expect("the table is built")
}

fn key(folder: &str) -> String {
    format!("{folder}/{NAMESPACE}/{TABLE}")
}

/// Puts the table's files below `s3://BUCKET/FOLDER/demo/events`, and gives the location of its metadata file.
pub fn put_table(store: &S3, bucket: &str, folder: &str) -> String {
    let local = tempfile::tempdir().expect("a temporary directory");
    let built = build_table(local.path(), bucket, folder);
    store.put_directory(bucket, &format!("{}/", key(folder)), &built.table_folder());
    built.table.metadata_location().to_owned()
}

/// Makes the table where a REST catalog has none of its name; its files lie below `s3://BUCKET/FOLDER`.
pub fn make(store: &S3, catalog: &Catalog, folder: &str) {
    if !catalog.has(&[NAMESPACE], TABLE) {
        register(catalog, &put_table(store, BUCKET, folder));
    }
}

/// Names the table in a REST catalog.
pub fn register(catalog: &Catalog, metadata_location: &str) {
    catalog.create_namespace(&[NAMESPACE]);
    catalog.register(&[NAMESPACE], TABLE, metadata_location);
}

/// The same in an SQL catalog on PostgreSQL, which is made where it is missing too.
pub fn make_sql(store: &S3, uri: &str, catalog_name: &str, folder: &str) {
    wait(async {
        let (client, connection) = tokio_postgres::connect(uri, tokio_postgres::NoTls).await.unwrap_or_else(|e| panic!("{uri}: {e}"));
        let served = tokio::spawn(connection);
        client.batch_execute(fastdata_write::SQL_CATALOG_TABLES).await.expect("the tables of an SQL catalog");
        let statement = "SELECT 1 FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";
        let found = client.query(statement, &[&catalog_name, &NAMESPACE, &TABLE]).await.expect("the tables of a catalog");
        if found.is_empty() {
            let metadata_location = put_table(store, BUCKET, folder);
            let statement = "INSERT INTO iceberg_tables VALUES ($1, $2, $3, $4, NULL, 'TABLE')";
            client.execute(statement, &[&catalog_name, &NAMESPACE, &TABLE, &metadata_location]).await.expect("a table is named");
        }
        let statement = "INSERT INTO iceberg_namespace_properties VALUES ($1, $2, 'exists', 'true') ON CONFLICT DO NOTHING";
        client.execute(statement, &[&catalog_name, &NAMESPACE]).await.expect("a namespace is named");
        drop(client);
        served.await.expect("the connection's task").expect("the connection ends well");
    });
}
