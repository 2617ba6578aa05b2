//! The command as a person meets it: output formats, exit statuses, messages with the next step.

mod errors;
mod listing;
mod output;

use crate::support::succeed;
use fastdata_testkit::folder;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A small demo warehouse, made once for all tests here.
pub fn warehouse() -> &'static Path {
    static WAREHOUSE: OnceLock<PathBuf> = OnceLock::new();
    WAREHOUSE.get_or_init(|| {
        let directory = folder::of_process();
        succeed(&directory, &["demo", "w", "--scale", "0.01"]);
        directory
    })
}
