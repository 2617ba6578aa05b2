//! Servers and stores for tests: what the stages meet in the world, small, local and with faults on demand.

pub mod authority;
pub mod door;
pub mod files;
pub mod folder;
pub mod issuer;
pub mod loud;
pub mod rest;
pub mod s3;
pub mod services;
pub mod store;
pub mod table;

pub use fastdata_proxy as proxy;
pub use services::postgres;
