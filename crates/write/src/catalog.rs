//! The SQLite file that names the tables, in the Iceberg SQL catalog's own schema.
//!
//! Contract: the two tables are exactly those that other implementations make and expect; a table moves from one metadata file to the next
//! only if it still points to the one that the change was based on.

use crate::misuse;
use fastdata_types::{Error, ErrorKind, Result, Stage, TableName};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The catalog's name in the `catalog_name` column.
const CATALOG_NAME: &str = "local";

// The files that the catalog points to are not synced to disk either: a crash of the machine may cost a table that can be made again.
const UNSYNCED: &str = "PRAGMA synchronous = OFF;";

/// The tables of an SQL catalog, as the Iceberg project's own catalogs make them; SQLite and PostgreSQL take it.
pub const SQL_CATALOG_TABLES: &str = "
CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
);";

#[derive(Debug)]
pub struct SqlCatalog {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl SqlCatalog {
    pub fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)
            .and_then(|c| {
                c.busy_timeout(Duration::from_secs(10))
                    .and_then(|()| c.execute_batch(UNSYNCED))
                    .and_then(|()| c.execute_batch(SQL_CATALOG_TABLES))
                    .map(|()| c)
            })
            .map_err(|e| fault(path, e))?;
        Ok(SqlCatalog { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the namespace and its parents where they are missing.
    pub fn ensure_namespace(&self, namespace: &[String]) -> Result<()> {
        let connection = self.connection();
        for depth in 1..=namespace.len() {
            connection
                .execute(
                    "INSERT OR IGNORE INTO iceberg_namespace_properties VALUES (?1, ?2, 'exists', 'true')",
                    params![CATALOG_NAME, namespace[..depth].join(".")],
                )
                .map_err(|e| fault(&self.path, e))?;
        }
        Ok(())
    }

    /// The metadata file that the name points to, if there is such a table.
    pub fn location(&self, name: &TableName) -> Result<Option<String>> {
        self.connection()
            .query_row(
                "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3",
                params![CATALOG_NAME, name.namespace.join("."), name.name],
                |row| row.get(0),
            )
            .optional()
            .map_err(|e| fault(&self.path, e))
    }

    /// Points the name to `next` if it points to `previous` now; without a previous one the table must be new.
    pub fn swap(&self, name: &TableName, previous: Option<&str>, next: &str) -> Result<()> {
        let (namespace, connection) = (name.namespace.join("."), self.connection());
        let changed = match previous {
            None => connection.execute(
                "INSERT OR IGNORE INTO iceberg_tables VALUES (?1, ?2, ?3, ?4, NULL, 'TABLE')",
                params![CATALOG_NAME, namespace, name.name, next],
            ),
            Some(previous) => connection.execute(
                "UPDATE iceberg_tables SET metadata_location = ?4, previous_metadata_location = ?5
                 WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3 AND metadata_location = ?5",
                params![CATALOG_NAME, namespace, name.name, next, previous],
            ),
        };
        match changed.map_err(|e| fault(&self.path, e))? {
            1 => Ok(()),
            _ if previous.is_none() => Err(misuse(format!("table {name} exists already")).advice("drop it first, or choose another name")),
            _ => Err(Error::new(ErrorKind::Unavailable, Stage::Catalog, format!("table {name} was changed by another writer meanwhile"))
                .advice("run the command again")),
        }
    }

    pub fn remove(&self, name: &TableName) -> Result<()> {
        self.connection()
            .execute(
                "DELETE FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3",
                params![CATALOG_NAME, name.namespace.join("."), name.name],
            )
            .map(|_| ())
            .map_err(|e| fault(&self.path, e))
    }
}

fn fault(path: &Path, cause: rusqlite::Error) -> Error {
    Error::new(ErrorKind::Unavailable, Stage::Catalog, format!("catalog {}: {cause}", path.display()))
        .source(cause)
        .advice("check that the file is a SQLite database that you may write, and that no other program holds it locked")
}
