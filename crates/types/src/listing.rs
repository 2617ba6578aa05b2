//! One table of a listing, as it crosses the wire and as `-o json` prints it.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    pub catalog: String,
    /// The levels of its namespace in that catalog.
    pub namespace: Vec<String>,
    pub name: String,
    /// The reference that opens it where it was listed; parts quote as in SQL.
    pub table: String,
}
