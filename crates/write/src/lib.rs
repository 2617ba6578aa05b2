//! Writes small Iceberg tables on local disk: for `fastdata demo`, and for tests that need a table of an exact shape.
//!
//! Problem: a reader is only as good as the tables it was tried on, and tables of an exact shape (this delete kind, under that evolved
//! spec, in this format version) are hard to get from other engines. Contract: what is written follows the Iceberg table
//! specification, formats 1 to 3, and the SQL catalog's own schema, so that other engines open it; the same calls with the same
//! seed write the same bytes (no clock and no random source is read). How: [`Warehouse`] is a folder with a SQLite catalog;
//! [`Table`] holds one table's metadata and publishes each new version of it; [`Change`] gathers the files of one snapshot.
//! There is one writer: a table that somebody else moved on since is refused at the next commit, not merged.

mod avro;
mod catalog;
mod change;
mod data_file;
mod evolve;
mod ids;
mod json;
mod manifest;
mod manifest_list;
mod metadata;
mod metrics;
mod parquet_schema;
mod partition;
mod puffin;
mod table;
pub mod values;
mod warehouse;

#[cfg(test)]
mod tests;

pub use catalog::SQL_CATALOG_TABLES;
pub use change::{Change, PositionDeletes};
pub use data_file::{Codec, Encodings, FileOptions, SplitOffsets};
pub use evolve::SchemaUpdate;
pub use manifest::{Content, ContentFile};
pub use metrics::{Metrics, MetricsMode};
pub use table::{Table, TableOptions};
pub use warehouse::Warehouse;

use fastdata_types::{Error, ErrorKind, Stage};
use std::path::Path;

/// A file that could not be written, named.
fn cannot_write(path: &Path, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let cause = cause.into();
    Error::new(ErrorKind::Output, Stage::Output, format!("cannot write {}: {cause}", path.display()))
        .source(cause)
        .advice("check that the disk has room and that you may write there")
}

/// A call that makes no sense for this table.
fn misuse(message: impl Into<String>) -> Error {
    Error::invalid(Stage::Output, message)
}
