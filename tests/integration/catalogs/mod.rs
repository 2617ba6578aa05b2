//! Catalogs and stores as people run them: the real programs, one suite for all.

mod compatibility;
mod lake;
mod local;
mod s3_tables;
mod s3_tls;
mod suite;
mod vended;

pub use lake::Kind;
