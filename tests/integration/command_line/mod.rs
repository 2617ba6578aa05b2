//! The command as a person meets it: output formats, exit statuses, messages with the next step.

mod errors;
mod listing;
mod output;

use crate::support::succeed;
use std::path::Path;
use std::sync::OnceLock;
use tempfile::TempDir;

/// A small demo warehouse, made once for all tests here.
pub fn warehouse() -> &'static Path {
    static WAREHOUSE: OnceLock<TempDir> = OnceLock::new();
    WAREHOUSE
        .get_or_init(|| {
            let directory = tempfile::tempdir().unwrap();
            succeed(directory.path(), &["demo", "w", "--scale", "0.01"]);
            directory
        })
        .path()
}
