//! Catalogs: from a table's name, file or directory to its [`TableState`](fastdata_types::TableState).
//!
//! Contract: a state is pinned metadata and a store that may read that table's files and nothing else. Who may widen the places that
//! are read is settled here, for each kind of catalog: the configuration always, a REST catalog for what it vends, a table's
//! metadata never. Catalogs are read, never written.
//!
//! How: [`metadata`] parses metadata files of all format versions; [`sql`] and [`rest`] ask catalogs; [`files`] finds the
//! metadata of a table directory without one; [`open()`] chooses by the properties of the configuration.

mod files;
#[cfg(feature = "foreign")]
mod foreign;
mod local;
mod metadata;
mod open;
mod properties;
mod renew;
mod rest;
mod retries;
mod sql;
mod tables;
#[cfg(test)]
mod tests;
mod tls;

pub use files::{PathOptions, load_path};
pub use metadata::{MAX_METADATA_BYTES, parse_metadata};
pub use open::{embedded, open};
