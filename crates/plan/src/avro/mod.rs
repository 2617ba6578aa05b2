//! A reader of Avro object container files, as far as manifests and manifest lists need one.
//!
//! Problem: general Avro readers build every value of every entry, resolve fields by name where Iceberg means field ids, and
//! inflate whatever a block claims. Contract: a file is decoded against its own writer schema; wanted fields are found by field
//! id, then by name; everything else is stepped over without allocating; hostile bytes end in a typed error in bounded memory.
//! How: [`schema`] parses the writer schema into a flat arena, [`container`] finds the blocks and inflates them under caps, [`cursor`] reads
//! and steps over values, [`record`] turns a list of wanted fields into a program that fills one row of slots per record.

pub(crate) mod codec;
pub(crate) mod container;
pub(crate) mod cursor;
pub(crate) mod record;
pub(crate) mod schema;

#[cfg(test)]
mod tests;

/// What is wrong with the bytes; the caller adds the file's name.
pub(crate) type Fault = &'static str;
