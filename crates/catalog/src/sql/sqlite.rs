//! Reads the Iceberg SQL catalog's tables from a SQLite file.
//!
//! Contract: the file is opened read-only and never created; it is waited for while a writer holds it. Nothing blocks the async
//! threads.

use super::Row;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use rusqlite::{Connection, ErrorCode, OpenFlags, types::ValueRef};
use std::path::{Path, PathBuf};
use std::time::Duration;

const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs one query on a thread of its own and gives its rows, each value as text.
pub async fn query(path: PathBuf, sql: String, parameters: Vec<String>) -> Result<Vec<Row>> {
    let run = move || run(&path, &sql, &parameters).map_err(|e| failure(&path, e));
    tokio::task::spawn_blocking(run).await.map_err(|e| Error::internal(Stage::Catalog, "a catalog query was broken off").source(e))?
}

/// The columns of a table; empty where there is no such table.
pub async fn columns(path: PathBuf, table: &'static str) -> Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_info(?1)".to_owned();
    let rows = query(path, sql, vec![table.to_owned()]).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

fn run(path: &Path, sql: &str, parameters: &[String]) -> rusqlite::Result<Vec<Row>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mut statement = connection.prepare(sql)?;
    let width = statement.column_count();
    let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| {
        (0..width)
            .map(|at| match row.get_ref(at)? {
                ValueRef::Null => Ok(None),
                ValueRef::Text(text) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
                other => Err(rusqlite::Error::InvalidColumnType(at, String::new(), other.data_type())),
            })
            .collect::<rusqlite::Result<Row>>()
    })?;
    rows.take(super::MAX_ROWS + 1).collect()
}

fn failure(path: &Path, e: rusqlite::Error) -> Error {
    let error = |kind, what: &str| Error::new(kind, Stage::Catalog, format!("SQLite catalog {}: {what}", path.display()));
    let error = match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            error(ErrorKind::Unavailable, "another program has locked it").advice("try again when the writer is done")
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            error(ErrorKind::PermissionDenied, "it cannot be opened for reading")
                .advice("check the rights on the file and on its directory")
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            error(ErrorKind::Corrupt, "this is no SQLite database, or a damaged one").advice("check the catalog's `uri`")
        }
        _ => error(ErrorKind::Corrupt, "its tables are not those of an Iceberg SQL catalog").advice("check the catalog's `uri`"),
    };
    error.source(e)
}
