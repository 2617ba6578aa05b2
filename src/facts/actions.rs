//! The facts as a server's actions: a body in, JSON out.
//!
//! Contract: each action is one [`Answer`]; what an action answers is the JSON of what the command line shows of a local table.

use super::{Count, Explanation, FileFacts, ListedSnapshot, Reference, Shards, TableFacts};
use crate::engine::Engine;
use fastdata_types::{Error, Result, ScanRequest, Stage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;

pub const DESCRIBE: &str = "fastdata.v1.Describe";
pub const EXPLAIN: &str = "fastdata.v1.Explain";
pub const COUNT: &str = "fastdata.v1.Count";
pub const SNAPSHOTS: &str = "fastdata.v1.Snapshots";
pub const REFS: &str = "fastdata.v1.Refs";
pub const FILES: &str = "fastdata.v1.Files";
pub const SHARDS: &str = "fastdata.v1.Shards";

/// The type of each action, and what it answers.
pub const ACTIONS: &[(&str, &str)] = &[
    (DESCRIBE, "a table's schema, partitioning, order, properties and size"),
    (EXPLAIN, "what a scan would read, and what was ruled out by which rule"),
    (COUNT, "how many rows a scan returns, exactly"),
    (SNAPSHOTS, "a table's snapshots"),
    (REFS, "a table's branches and tags"),
    (FILES, "the data files that a scan would read"),
    (SHARDS, "a scan pinned to its snapshot and cut into lanes"),
];

/// Those that may read data files.
pub const READING: [&str; 2] = [COUNT, SHARDS];

/// Facts that an engine works out for a request.
pub trait Answer: Serialize + DeserializeOwned + Send {
    /// The action that answers it.
    const ACTION: &'static str;
    type Request: Body;

    fn of(engine: &Engine, request: &Self::Request) -> impl Future<Output = Result<Self>> + Send;
}

/// The body of an action.
pub trait Body: Sized + Sync {
    fn from_bytes(bytes: &[u8]) -> Result<Self>;
    fn to_bytes(&self) -> Result<Vec<u8>>;
}

impl Body for ScanRequest {
    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        ScanRequest::from_command(bytes)
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        self.to_json().map(String::into_bytes)
    }
}

/// A scan request that names a table and says no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOnly {
    pub table: String,
}

impl Body for TableOnly {
    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let request = ScanRequest::from_command(bytes)?;
        request.validate()?;
        if request != ScanRequest::table(&request.table) {
            return Err(Error::invalid(Stage::Request, "this action is about a table, and the request selects rows of it")
                .advice("send {\"table\": \"ns.table\"} and nothing else"));
        }
        Ok(TableOnly { table: request.table })
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        ScanRequest::table(&self.table).to_bytes()
    }
}

/// Answers an action; `None` where it is none of [`ACTIONS`].
pub async fn run(engine: &Engine, action: &str, body: &[u8]) -> Result<Option<Vec<u8>>> {
    let answer = match action {
        DESCRIBE => answer::<TableFacts>(engine, body).await,
        EXPLAIN => answer::<Explanation>(engine, body).await,
        COUNT => answer::<Count>(engine, body).await,
        SNAPSHOTS => answer::<Vec<ListedSnapshot>>(engine, body).await,
        REFS => answer::<Vec<Reference>>(engine, body).await,
        FILES => answer::<Vec<FileFacts>>(engine, body).await,
        SHARDS => answer::<Shards>(engine, body).await,
        _ => return Ok(None),
    };
    answer.map(Some)
}

async fn answer<T: Answer>(engine: &Engine, body: &[u8]) -> Result<Vec<u8>> {
    let answer = T::of(engine, &T::Request::from_bytes(body)?).await?;
    super::json(&answer).map(String::into_bytes)
}
