//! What a catalog gives: the names of tables, and the state of one.

use crate::error::{Error, Result, Stage, nearest};
use crate::metadata::TableMetadata;
use crate::store::Store;
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the search for the names to suggest takes at most.
pub const SUGGESTED_WITHIN: Duration = Duration::from_secs(2);

/// A table's name within one catalog: namespace levels and the table, never split again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    pub namespace: Vec<String>,
    pub name: String,
}

impl TableName {
    pub fn new(namespace: impl IntoIterator<Item = impl Into<String>>, name: impl Into<String>) -> Self {
        TableName { namespace: namespace.into_iter().map(Into::into).collect(), name: name.into() }
    }

    /// Splits `a.b."odd.name"` at its dots; parts quote as in SQL (`"` doubled inside).
    pub fn parse_parts(text: &str) -> Result<Vec<String>> {
        dotted_parts(text).map_err(|why| {
            Error::invalid(Stage::Request, format!("table name '{text}': {why}"))
                .advice("write namespace.table or catalog.namespace.table; quote parts with odd characters as in SQL: ns.\"odd.name\"")
        })
    }
}

/// The parts of a dotted name, which quote as in SQL, or what is wrong with it.
pub(crate) fn dotted_parts(text: &str) -> Result<Vec<String>, String> {
    let wrong = |why: &str| Err(why.to_owned());
    let mut parts = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        let mut part = String::new();
        if chars.peek() == Some(&'"') {
            chars.next();
            loop {
                match chars.next() {
                    Some('"') if chars.peek() == Some(&'"') => part.push(chars.next().unwrap_or('"')),
                    Some('"') => break,
                    Some(c) => part.push(c),
                    None => return wrong("a quote is not closed"),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != '.') {
                if c == '"' {
                    return wrong("a quote inside an unquoted part");
                }
                part.push(c);
            }
        }
        if part.is_empty() {
            return wrong("an empty part");
        }
        parts.push(part);
        match chars.next() {
            None => return Ok(parts),
            Some('.') => {}
            Some(c) => return wrong(&format!("'{c}' after a closing quote")),
        }
    }
}

/// The dotted spelling, quoted where it must be, so that it parses back to the same name.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.namespace.iter().chain([&self.name]) {
            if !std::ptr::eq(part, self.namespace.first().unwrap_or(&self.name)) {
                f.write_str(".")?;
            }
            if part.is_empty() || part.contains(['.', '"', '/', '\\']) || part.contains(char::is_whitespace) {
                write!(f, "\"{}\"", part.replace('"', "\"\""))?;
            } else {
                f.write_str(part)?;
            }
        }
        Ok(())
    }
}

/// A table as a catalog names it now: pinned metadata and the store that may read its files.
#[derive(Debug, Clone)]
pub struct TableState {
    /// How the user would write it, for messages.
    pub display_name: String,
    pub metadata_location: String,
    pub metadata: Arc<TableMetadata>,
    /// Scoped to this table: location policy, rewrites and credentials applied.
    pub store: Arc<dyn Store>,
    /// Things the user should know, e.g. that the newest metadata file was a guess.
    pub notes: Vec<String>,
    /// Requests to the catalog that were repeated after a fault while this was loaded.
    pub catalog_retries: u64,
}

impl TableState {
    /// The same table, whose store counts for one reader alone. `None` where its store counts for all together.
    pub fn counted(&self) -> Option<TableState> {
        self.store.counted().map(|store| TableState { store, ..self.clone() })
    }
}

#[async_trait]
pub trait Catalog: Send + Sync + fmt::Debug {
    /// Every table, sorted, in all namespaces or below one.
    async fn list(&self, namespace: Option<&[String]>) -> Result<Vec<TableName>>;

    /// Every namespace, at any level, whether or not it holds tables.
    async fn namespaces(&self) -> Result<Vec<Vec<String>>>;

    /// Some tables to suggest, whichever name was meant: those that a few requests bring within [`SUGGESTED_WITHIN`]; none where they fail.
    async fn some_tables(&self) -> Vec<TableName>;

    /// The current state of a table. `not-found` names the nearest tables.
    async fn load(&self, name: &TableName) -> Result<TableState>;

    /// Reaches the catalog and says in one line what answered, for `doctor`.
    async fn check(&self) -> Result<String>;
}

/// `not-found` with the nearest names, or with some of those there are.
pub fn unknown_table(catalog: &str, wanted: &TableName, known: &[TableName]) -> Error {
    let names: Vec<String> = known.iter().map(TableName::to_string).collect();
    let near = nearest(&wanted.to_string(), names.iter().map(String::as_str));
    let error = Error::not_found(Stage::Catalog, format!("catalog '{catalog}' has no table '{wanted}'"));
    if !near.is_empty() {
        error.advice(format!("did you mean: {}", near.join(", ")))
    } else if names.is_empty() {
        error.advice("the catalog lists no tables there; `fastdata tables` shows all it has")
    } else {
        let some = names.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
        error.advice(format!("there are: {some}; `fastdata tables` shows all"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_quote_as_in_sql_and_round_trip() {
        assert_eq!(TableName::parse_parts("a.b.c").unwrap(), ["a", "b", "c"]);
        assert_eq!(TableName::parse_parts(r#"a."b.""c".d"#).unwrap(), ["a", r#"b."c"#, "d"]);
        for bad in ["", "a..b", ".a", "a.", r#""a"#, r#""a"b"#, r#"a"b"#] {
            assert!(TableName::parse_parts(bad).is_err(), "{bad}");
        }
        let name = TableName::new(["n.s", "x"], "t\"t");
        assert_eq!(TableName::parse_parts(&name.to_string()).unwrap(), ["n.s", "x", "t\"t"]);
        assert_eq!(TableName::new(["a", "a"], "a").to_string(), "a.a.a");
    }
}
