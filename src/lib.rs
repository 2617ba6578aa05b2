//! fastdata: rows out of Apache Iceberg tables.
//!
//! [`engine`] is the flow (resolve -> plan -> read) on one page and [`assemble`] the wiring; the stages themselves are the crates
//! below `crates/`, which know only `fastdata_types`. [`serve`] and [`cli`] are two surfaces over the same engine.

pub mod allocator;
pub mod assemble;
pub mod auth;
pub mod cli;
pub mod config;
pub mod engine;
pub mod facts;
pub mod lake;
mod seen;
pub mod serve;
pub mod telemetry;
