//! The contracts between the stages of fastdata.
//!
//! A stage (`catalog`, `plan`, `read`, `store`, `filter`) depends on this crate and on no other stage. What one stage hands to the
//! next is a plain value defined here; what a stage needs of another is a trait defined here. The stages meet in the
//! root package only (`src/engine.rs` is the flow, `src/assemble.rs` the wiring).
//!
//! Names are those of the Apache Iceberg table specification (cited below as "spec") wherever it has one.

pub mod access;
pub mod ahead;
pub mod arrow_type;
pub mod batch;
pub mod budget;
pub mod catalog;
pub mod error;
pub mod expr;
pub mod lanes;
pub mod listing;
pub mod metadata;
pub mod plan;
pub mod proto;
pub mod request;
pub mod schema;
pub mod size;
pub mod stats;
pub mod store;
mod text;
pub mod transform;
pub mod value;

pub use access::{Access, Everything, Grant};
pub use batch::BatchStream;
pub use budget::{MemoryBudget, Permit};
pub use catalog::{Catalog, TableName, TableState};
pub use error::{Error, ErrorKind, Result, Stage};
pub use expr::Expr;
pub use plan::ScanPlan;
pub use request::ScanRequest;
pub use schema::{Field, PrimitiveType, Schema, Type};
pub use stats::ScanStats;
pub use store::Store;
pub use value::Value;
