//! Catalogs against what they meet: metadata of other engines, SQLite files, a PostgreSQL server, a REST server, directories.

mod corpus;
mod files;
mod rest;
mod rest_faults;
mod sql;

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Metadata of an empty table.
fn metadata(location: &str) -> Value {
    json!({
        "format-version": 2, "table-uuid": "u", "location": location, "last-sequence-number": 0, "last-updated-ms": 1, "last-column-id": 1,
        "current-schema-id": 0, "schemas": [{"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "a", "required": true, "type": "long"}]}],
        "default-spec-id": 0, "partition-specs": [{"spec-id": 0, "fields": []}], "last-partition-id": 999,
        "default-sort-order-id": 0, "sort-orders": [{"order-id": 0, "fields": []}], "current-snapshot-id": -1
    })
}

fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
