//! Tables of every shape, with the rows that a correct scan of them must return.
//!
//! Problem: what breaks readers is not one feature but two at once: a promoted column in a file without statistics under an evolved
//! partition spec. Contract: a [`Shape`] is a point on orthogonal axes (format, columns, partitioning, file layout, deletes, evolution,
//! history); [`build()`] makes the table with `fastdata-write` and, beside it, a [`Model`] that knows each row by brute force. Equal shapes give equal
//! tables, byte for byte: everything comes from the seed, no clock and no random source is read.
//!
//! ```no_run
//! use fastdata_testkit::table::{Shape, build};
//! let folder = tempfile::tempdir().unwrap();
//! let built = build(&Shape::random(7), folder.path()).unwrap();
//! let wanted = built.current_rows();
//! ```

mod build;
mod columns;
mod compare;
mod model;
mod shape;

#[cfg(test)]
mod tests;

pub use build::{Built, build};
pub use compare::{differences, lines};
pub use model::{Model, ModelRow, ModelSnapshot, project_row};
pub use shape::{Columns, Deletes, Evolution, FieldIds, History, Layout, Partitioning, Shape, Splits};
