//! What fastdata says of a table and of a plan, apart from how it looks.
//!
//! Problem: the command line, the server's actions and other languages show the same facts, and must not each work them out. Contract: an
//! [`Answer`] is made from the engine alone; its JSON is what `-o json` prints and what the server's action of that name answers; text is
//! rendered from the struct and from nothing else, so that a served answer looks like a local one. Names are camelCase, but for the figures
//! of a plan, and 64-bit integers that may need all their digits are strings.

pub mod actions;
mod count;
mod files;
pub(crate) mod integer;
mod plan;
mod shards;
mod snapshots;
mod table;

pub use actions::{Answer, Body, TableOnly};
pub use count::{Count, Source};
pub use files::FileFacts;
pub use plan::{Explanation, SkippedSnapshot};
pub use shards::{Shard, Shards, ShardsRequest};
pub use snapshots::{ListedSnapshot, Reference, SnapshotFacts};
pub use table::{FieldFacts, PartitionSpecFacts, SortFieldFacts, TableFacts};

use crate::engine::Engine;
use fastdata_types::listing::TableEntry;
use fastdata_types::{Error, Result, Stage};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The one JSON form of an answer. Written straight from the struct: a tree of values would take many times its room, and a server has many callers.
pub fn json(answer: &impl Serialize) -> Result<String> {
    serde_json::to_string(answer).map_err(|e| Error::internal(Stage::Request, format!("encoding an answer: {e}")).source(e))
}

/// What a server answered to an action.
pub fn parsed<T: DeserializeOwned>(answer: &[u8], action: &str) -> Result<T> {
    serde_json::from_slice(answer).map_err(|e| {
        Error::corrupt(Stage::Client, format!("the server's answer to {action} does not decode: {e}"))
            .advice("check that a fastdata server of this version answers there")
    })
}

/// Every table of every catalog, or of one namespace.
pub async fn tables(engine: &Engine, namespace: Option<&str>) -> Result<Vec<TableEntry>> {
    let listed = engine.tables(namespace).await?.into_iter();
    let entry = |listed: crate::engine::ListedTable| TableEntry {
        table: listed.reference.to_string(),
        catalog: listed.catalog,
        namespace: listed.name.namespace,
        name: listed.name.name,
    };
    Ok(listed.map(entry).collect())
}
