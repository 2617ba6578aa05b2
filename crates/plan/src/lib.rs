//! Planning: from a table's metadata and a request to the files, blocks and deletes of a scan.
//!
//! Contract: manifests are opened, data files never. The engine calls [`select`] (which snapshot, which schema), [`project()`] (which columns) and
//! [`plan()`] in this order; the first two do no I/O. The same metadata and request give the same plan on every machine.
//! How: [`manifest`] decodes manifests with the projecting Avro reader in [`avro`], [`manifests`] fetches and filters them
//! in parallel, [`prune`] decides what cannot match, [`deletes`] matches delete files to data files, [`blocks`] cuts files into blocks;
//! [`lanes()`] deals them to lanes.

mod avro;
mod blocks;
mod deletes;
mod lanes;
pub mod manifest;
mod manifests;
mod plan;
mod project;
mod prune;
mod snapshot;
#[cfg(test)]
mod testing;

pub use lanes::{NAME_MAPPING, lanes};
pub use plan::plan;
pub use project::project;
pub use snapshot::{Selection, select, select_pinned};
